from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from beadseg.config import ImageConfig
from beadseg.errors import ImageError
from beadseg.model.inputs import input_channels, luminance, prepare


def config(channels: str = "grey", norm: str = "background", **more: Any) -> ImageConfig:
    return ImageConfig.parse({"channels": {"kind": channels}, "norm": {"kind": norm, **more}})


def bright_field(beads: int, side: int = 256, seed: int = 0) -> np.ndarray:
    """Dark disks of radius 4 on an unevenly lit, slightly noisy background, never in the upper left quarter."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:side, :side]
    image = 160 + 40 * xx / side + rng.normal(0, 2, (side, side))
    for y, x in rng.uniform(side // 2 + 8, side - 8, (beads, 2)):
        image[(yy - y) ** 2 + (xx - x) ** 2 <= 16] *= 0.6
    return np.clip(image, 0, 255).astype(np.uint8)


def dark_field(beads: int, side: int = 256) -> np.ndarray:
    """Bright disks on a grid over a nearly black background."""
    rng = np.random.default_rng(0)
    yy, xx = np.mgrid[:side, :side]
    image = rng.normal(3, 1, (side, side))
    for number in range(beads):
        y, x = 16 + 24 * (number // 9), 16 + 24 * (number % 9)
        image += 180 * ((yy - y) ** 2 + (xx - x) ** 2 <= 16)
    return np.clip(image, 0, 255).astype(np.uint8)


def test_grey_is_bt601_luminance() -> None:
    rgb = np.zeros((3, 4, 4), np.uint8)
    rgb[0], rgb[1], rgb[2] = 100, 200, 50
    expected = (0.299 * 100 + 0.587 * 200 + 0.114 * 50) / 255
    assert prepare(rgb, config(norm="range"))[0] == pytest.approx(expected, abs=1e-6)


def test_luminance_keeps_the_images_units() -> None:
    rgb = np.stack([np.full((4, 4), value, np.uint16) for value in (1000, 2000, 500)])
    assert luminance(rgb) == pytest.approx(0.299 * 1000 + 0.587 * 2000 + 0.114 * 500)
    assert np.array_equal(luminance(rgb[1:2]), np.full((4, 4), 2000, np.float32))
    assert luminance(rgb[:2]) == pytest.approx(1500)
    with pytest.raises(ImageError):
        luminance(rgb[0])


def test_rgb_repeats_grey_and_keeps_three() -> None:
    grey = bright_field(5)[np.newaxis]
    out = prepare(grey, config("rgb"))
    assert out.shape == (3, 256, 256)
    assert np.array_equal(out[0], out[2])
    colour = np.stack([bright_field(5, seed=s) for s in range(3)])
    out = prepare(colour, config("rgb"))
    assert not np.array_equal(out[0], out[1])
    assert input_channels(config("rgb").channels) == 3
    assert input_channels(config("grey").channels) == 1


def test_single_takes_that_channel_alone() -> None:
    stack = np.stack([bright_field(5, seed=s) for s in range(5)])
    single = ImageConfig.parse({"channels": {"kind": "single", "index": 3}})
    assert np.array_equal(prepare(stack, single), prepare(stack[3:4], config()))
    stack[0] = 255  # a channel that is not asked for has no influence
    assert np.array_equal(prepare(stack, single), prepare(stack[3:4], config()))


@pytest.mark.parametrize(("kind", "count"), [("grey", 2), ("grey", 4), ("rgb", 2), ("rgb", 5)])
def test_other_channel_counts_name_the_remedy(kind: str, count: int) -> None:
    with pytest.raises(ImageError, match=r"channels\.kind=single"):
        prepare(np.zeros((count, 8, 8), np.uint8), config(kind))


def test_single_index_out_of_range_is_refused() -> None:
    with pytest.raises(ImageError, match="Has 2 channels, counted from 0; channel 2 is not there"):
        prepare(np.zeros((2, 8, 8)), ImageConfig.parse({"channels": {"kind": "single", "index": 2}}))


@pytest.mark.parametrize("plane", [np.zeros((8, 8)), np.zeros((1, 0, 8)), np.zeros((1, 8, 8), complex)])
def test_what_is_no_plane_is_refused(plane: np.ndarray) -> None:
    with pytest.raises(ImageError):
        prepare(plane, config())


@pytest.mark.parametrize("norm", ["background", "range", "zscore", "percentile"])
def test_dtypes_agree(norm: str) -> None:
    plane = bright_field(20)[np.newaxis]
    reference = prepare(plane, config(norm=norm))
    wide = plane.astype(np.uint16) * 257
    np.testing.assert_allclose(prepare(wide, config(norm=norm)), reference, atol=1e-4)
    if norm != "range":
        for scaled in (plane.astype(np.uint32) * 16_000_000, plane * np.float32(1e-3), plane * 1e300, plane * 1e-300):
            np.testing.assert_allclose(prepare(scaled, config(norm=norm)), reference, atol=1e-4)


@pytest.mark.parametrize("norm", ["background", "zscore", "percentile"])
@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_constant_image_is_zero(norm: str, value: int) -> None:
    for dtype in (np.uint8, np.uint16, np.float32, np.float64):
        assert not prepare(np.full((1, 150, 70), value, dtype), config(norm=norm)).any()


@pytest.mark.parametrize("shape", [(1, 1), (300, 1), (1, 300), (5, 5), (63, 65), (100, 130)])
def test_any_size_works(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    for norm in ("background", "range", "zscore", "percentile"):
        out = prepare(plane, config(norm=norm))
        assert out.shape == (1, *shape)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()


def test_values_that_are_not_finite_are_background() -> None:
    plane = bright_field(20).astype(np.float64)[np.newaxis]
    clean = prepare(plane, config())
    plane[0, 10, 10], plane[0, 20, 20], plane[0, 30, 30] = np.nan, np.inf, -np.inf
    out = prepare(plane, config())
    assert out[0, 10, 10] == out[0, 20, 20] == out[0, 30, 30] == 0
    changed = np.abs(out - clean) > 0.02
    assert changed.sum() <= 3
    with pytest.raises(ImageError, match="no finite pixel"):
        prepare(np.full((1, 8, 8), np.nan), config())


def test_background_normalisation_is_the_weber_contrast() -> None:
    image = np.full((1, 128, 128), 200, np.uint8)
    image[0, 60:68, 60:68] = 150
    out = prepare(image, config(gain=4.0))
    assert out[0, 64, 64] == pytest.approx(-1.0, abs=1e-5)
    assert out[0, 10, 10] == 0


def test_uneven_light_disappears() -> None:
    ramp = np.linspace(60, 240, 512)[np.newaxis, np.newaxis].repeat(256, axis=1)
    assert np.abs(prepare(ramp, config())[..., 64:-64]).max() < 0.05


def test_beads_covering_nearly_half_a_block_do_not_move_the_background() -> None:
    image = np.full((1, 256, 256), 200, np.uint8)
    image[0, :, ::16] = image[0, :, 1::16] = image[0, :, 2::16] = 100
    for column in range(3, 7):
        image[0, :, column::16] = 100
    assert prepare(image, config())[0, 100, 10] == 0


@pytest.mark.parametrize("factor", [10.0, 1e3, 1e6, 1e30])
@pytest.mark.parametrize("light", [1.0, 0.0])
def test_a_hot_pixel_moves_nothing_but_itself(factor: float, light: float) -> None:
    image = np.abs(bright_field(20) - (0.0 if light else 200.0))[np.newaxis].astype(np.float64)
    hot = image.copy()
    hot[0, 5, 9] = hot[0, 40, 30] = factor * image.max()
    difference = np.abs(prepare(hot, config()) - prepare(image, config()))
    difference[hot != image] = 0
    assert np.isfinite(difference).all()
    assert difference.max() < 0.05


def test_beads_elsewhere_change_nothing_here_but_a_zscore_does() -> None:
    few, many = bright_field(2)[np.newaxis], bright_field(150)[np.newaxis]
    here = np.s_[0, :96, :96]

    def change(norm: str) -> float:
        return float(np.abs(prepare(few, config(norm=norm))[here] - prepare(many, config(norm=norm))[here]).max())

    assert change("background") < 0.01
    assert change("zscore") > 0.5


def test_dark_field_contrast_does_not_depend_on_the_number_of_beads() -> None:
    values = []
    for beads in (1, 10, 80):
        out = prepare(dark_field(beads)[np.newaxis], config(gain=4.0))[0]
        values.append(out[16, 16])
        assert np.abs(out[240:, 240:]).max() < 0.2
    assert values == pytest.approx([1.0] * 3, rel=0.1)


def test_an_image_with_its_background_subtracted_keeps_the_scale_of_its_beads() -> None:
    beads = 100.0 - 25.0 * (dark_field(10) > 100)
    usual = prepare(beads[np.newaxis], config(gain=4.0))[0]
    subtracted = prepare(beads[np.newaxis] - 150.0, config(gain=4.0))[0]
    assert usual.min() == pytest.approx(-1.0, rel=0.1)
    assert subtracted.min() == pytest.approx(-1.0, rel=0.1)


def test_a_dark_field_without_beads_stays_calm() -> None:
    out = prepare(dark_field(0)[np.newaxis], config(gain=4.0))
    assert out.std() < 1.1


def test_percentiles_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ImageError, match=r"norm\.low"):
        prepare(bright_field(1)[np.newaxis], config(norm="percentile", low=90.0, high=10.0))
