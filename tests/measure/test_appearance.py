"""What an image looks like, measured at beads and off them: what changes moves, and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from appearance_helpers import COLOUR, CONFIG, SCENE, changed, measured, view
from beadseg.config.train import ImageConfig
from beadseg.data.simulate import simulate
from beadseg.measure.appearance import SAMPLED, Appearance, PixelStats, TrainingAppearance, appearance, sample_of
from beadseg.model.inputs import prepare


def value(found: Appearance, name: str) -> float:
    return found.values[name].value


@pytest.fixture(scope="module")
def plain() -> Appearance:
    return measured(SCENE, 1)


def test_numbers_do_not_depend_on_how_many_beads_there_are(plain: Appearance) -> None:
    sparse = measured(SCENE.replace(beads=20), 1)
    assert sparse.measured < plain.measured / 3
    for name in ("contrast", "diameter", "sharpness", "noise"):
        assert value(sparse, name) == pytest.approx(value(plain, name), rel=0.12)


def test_measured_numbers_are_those_of_the_scene(plain: Appearance) -> None:
    assert value(plain, "diameter") == pytest.approx(SCENE.diameter_px, rel=0.15)
    assert -SCENE.contrast < value(plain, "contrast") < -SCENE.contrast / 3
    assert plain.pixels.channels == 3
    assert plain.found == plain.candidates > 50
    assert value(plain, "left_out") == 0


@pytest.mark.parametrize(
    ("change", "name", "low", "high"),
    [
        ("contrast / 3", "contrast", 0.25, 0.45),
        ("blur", "sharpness", 0.5, 0.95),
        ("blur", "noise", 0.0, 0.5),
        ("gamma 1/2.2", "contrast", 0.4, 0.65),
        ("gamma 2.2", "contrast", 1.5, 2.2),
        ("half as bright", "contrast", 0.97, 1.03),
        ("half as bright", "noise", 0.9, 1.2),
        ("offset", "variation", 0.0, 0.02),
    ],
)
def test_a_change_moves_its_property(plain: Appearance, change: str, name: str, low: float, high: float) -> None:
    assert low < value(changed(change, 1), name) / value(plain, name) < high


def test_noise_and_size_are_told(plain: Appearance) -> None:
    loud = measured(SCENE.replace(read_noise=4 * SCENE.read_noise, shot_noise=4 * SCENE.shot_noise), 1)
    assert value(loud, "noise") > 2.5 * value(plain, "noise")
    large = measured(SCENE.replace(diameter_px=9.8, beads=40), 1)
    assert value(large, "diameter") > 1.15 * value(plain, "diameter")


@pytest.mark.parametrize("change", ["grey", "grey as colour", "green"])
def test_one_colour_is_one_channel(change: str) -> None:
    assert changed(change, 1).pixels.channels == 1


def test_a_network_that_sees_luminance_sees_one_channel() -> None:
    pixels = np.moveaxis(simulate(SCENE, 1).image, -1, 0)
    assert PixelStats.of(pixels, ImageConfig()).channels == 1


def test_subtracted_and_clipped_images_are_told(plain: Appearance) -> None:
    assert value(changed("subtracted", 1), "variation") > 20 * value(plain, "variation")
    assert value(changed("overexposed", 1), "clipped") > 0.2 > 100 * value(plain, "clipped")


def test_beads_that_were_not_found_are_spots() -> None:
    plane, labels = view(SCENE, 3)
    few = np.where(labels % 2 == 0, labels, 0)
    x = prepare(plane, COLOUR)
    sample = sample_of(plane, x, COLOUR, SCENE.diameter_px)
    dark, bright = appearance(sample, few, (few > 0).astype(np.float32), None, np.zeros((0, 2)), 7.0).spots
    strength = abs(measured(SCENE, 3).values["response"].value) / 2
    assert sum(spot > strength for spot in dark) > 0.3 * len(np.unique(few))
    assert sum(spot > strength for spot in bright) < 4


def test_of_a_large_image_a_part_is_looked_at(plain: Appearance) -> None:
    large = measured(SCENE.replace(height=1600, width=1400, beads=2500, debris=0), 2)
    assert large.area <= 1.1 * SAMPLED < 1600 * 1400
    for name in ("contrast", "diameter", "sharpness"):
        assert value(large, name) == pytest.approx(value(plain, name), rel=0.15)


@pytest.mark.parametrize("plane", [np.zeros((1, 40, 40), np.uint8), np.full((3, 9, 300), 7.5, np.float32)])
def test_an_image_without_anything_is_measured(plane: np.ndarray) -> None:
    empty = np.zeros(plane.shape[1:], np.uint32)
    sample = sample_of(plane, prepare(plane, COLOUR), COLOUR, 7.0)
    found = appearance(sample, empty, empty.astype(np.float32), None, np.zeros((0, 2)), 7.0)
    assert (found.found, found.spots) == (0, ((), ()))
    assert value(found, "variation") == 0
    assert value(found, "clipped") == 1


def test_values_that_are_no_numbers_do_not_count() -> None:
    plane = np.moveaxis(simulate(SCENE, 1).image, -1, 0).astype(np.float32)
    whole = PixelStats.of(plane, COLOUR)
    plane[:, :20] = np.nan
    part = PixelStats.of(plane, COLOUR)
    assert part.background == pytest.approx(whole.background, rel=0.05)
    assert part.variation == pytest.approx(whole.variation, rel=0.2)


def test_what_was_measured_is_stored_and_read(plain: Appearance) -> None:
    known = TrainingAppearance.of([plain, measured(SCENE, 2)], COLOUR, 7.0)
    assert TrainingAppearance.parse(known.model_dump(mode="json")) == known
    low, high = known.ranges["contrast"].low, known.ranges["contrast"].high
    assert low <= value(plain, "contrast") <= high
    assert known.relative
    assert (known.channels_min, known.channels_max) == (3, 3)


def test_a_network_sees_an_enlarged_image(plain: Appearance) -> None:
    plane, labels = view(SCENE, 1)
    large, wide = ndimage.zoom(plane, (1, 2, 2), order=1), labels.repeat(2, 0).repeat(2, 1)
    config = CONFIG.seen_at(0.5)
    sample = sample_of(large, prepare(large, config), config, 14.0)
    found = appearance(sample, wide, (wide > 0).astype(np.float32), None, np.zeros((0, 2)), 14.0).seen_at(0.5)
    assert "noise" not in found.values
    assert found.area == pytest.approx(plain.area, rel=0.01)
    for name in ("contrast", "diameter"):
        assert value(found, name) == pytest.approx(value(plain, name), rel=0.1)
