"""The simulator: what is drawn, what the truth says, and what lies on disk."""

from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter
from scipy.ndimage import label as connected

from beadseg.data.simulate import SceneConfig, SeriesConfig, Window, plan, simulate, write_dataset
from beadseg.data.simulate.scene import FieldOfView
from beadseg.errors import Cancelled, ConfigError, InputError
from beadseg.events import Event, StopFlag

if TYPE_CHECKING:
    from pathlib import Path

SMALL = SceneConfig(height=128, width=160, beads=30)
CLEAN = SMALL.replace(
    debris=0, read_noise=0, shot_noise=0, jpeg_quality=None, gradient=0, vignetting=0, upscaling=1, halo=0
)


def gaps(beads: pd.DataFrame) -> np.ndarray:
    """Distance of every pair of beads in units of their mean diameter."""
    rows = beads[["y", "x", "diameter_px"]].to_numpy()
    return np.array([np.hypot(*(a - b)[:2]) / ((a[2] + b[2]) / 2) for a, b in combinations(rows, 2)])


@pytest.mark.parametrize(("channels", "shape"), [("grey", (128, 160)), ("rgb", (128, 160, 3))])
@pytest.mark.parametrize(("depth", "dtype", "white"), [(8, np.uint8, 255), (16, np.uint16, 65535)])
def test_type_and_shape(channels: str, shape: tuple[int, ...], depth: int, dtype: type, white: int) -> None:
    scene = simulate(SMALL.replace(channels=channels, bit_depth=depth), 1)
    assert scene.image.shape == shape
    assert scene.image.dtype == dtype
    assert 75 / 255 < np.median(scene.image) / white < 160 / 255
    assert scene.labels.shape == (128, 160)
    assert scene.labels.dtype == np.uint32


def test_sixteen_bits_hold_more_than_eight() -> None:
    values = np.unique(simulate(SMALL.replace(bit_depth=16), 1).image)
    assert len(values) > 1000


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.9])
def test_labels_and_table_agree(overlap: float) -> None:
    scene = simulate(SMALL.replace(beads=80, max_overlap=overlap, diameter_spread=0.2), 3)
    beads = scene.beads
    assert len(beads) > 50
    assert beads["id"].tolist() == list(range(1, len(beads) + 1))
    assert np.bincount(scene.labels.ravel())[1:].tolist() == beads["visible_area"].tolist()
    rows, columns = np.nonzero(scene.labels)
    owner = beads.iloc[scene.labels[rows, columns] - 1]
    distance = np.hypot(rows - owner["y"].to_numpy(), columns - owner["x"].to_numpy())
    assert (distance <= owner["diameter_px"].to_numpy() / 2 + 1e-9).all()


def test_visible_area_is_that_of_the_disc_where_nothing_covers_it() -> None:
    scene = simulate(SMALL.replace(height=256, width=256, beads=25, cluster_probability=0, max_overlap=0), 4)
    inner = scene.beads.query("6 < x < 250 and 6 < y < 250")
    disc = np.pi * inner["diameter_px"] ** 2 / 4
    assert inner["visible_area"].sum() / disc.sum() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
def test_overlap_bound_holds_and_is_used(overlap: float) -> None:
    closest = gaps(simulate(SMALL.replace(beads=90, max_overlap=overlap, cluster_probability=0.5), 5).beads).min()
    assert closest >= 1 - overlap
    assert closest < 1 - 0.8 * overlap + 1e-6


def test_cluster_probability_makes_contacts() -> None:
    def contacts(probability: float) -> int:
        config = SMALL.replace(height=512, width=512, beads=200, poisson=False, cluster_probability=probability)
        return int(np.count_nonzero(gaps(simulate(config, 6).beads) <= 1 + 1e-6))

    assert contacts(0.5) >= 95
    assert contacts(0.5) > contacts(0.0) + 60


def test_truth_separates_what_touches() -> None:
    labels = simulate(SMALL.replace(beads=100, cluster_probability=0.7), 7).labels
    _, blobs = connected(labels > 0, structure=np.ones((3, 3)))
    assert blobs < 0.7 * labels.max()


@pytest.mark.parametrize(("polarity", "sign"), [("dark", -1), ("bright", 1)])
def test_polarity(polarity: str, sign: int) -> None:
    scene = simulate(CLEAN.replace(polarity=polarity, channels="grey", bit_depth=16, cluster_probability=0), 8)
    ground = float(np.median(scene.image))
    inside = scene.image[scene.labels > 0].astype(float)
    assert sign * (inside.mean() - ground) > 0.2 * ground


def test_sharp_bead_has_the_contrast_asked_for() -> None:
    config = CLEAN.replace(
        channels="grey", bit_depth=16, diameter_px=30, defocus_px=0, defocus_spread_px=0, tilt_px=0, contrast=0.4,
        contrast_spread=0, cluster_probability=0, max_overlap=0, beads=4, poisson=False,
    )  # fmt: skip
    scene = simulate(config, 9)
    ground = float(np.median(scene.image[scene.labels == 0]))
    core = gaussian_filter((scene.labels > 0).astype(float), 3) > 0.999
    assert core.any()
    np.testing.assert_allclose(scene.image[core] / ground, 0.6, atol=0.005)


def test_blurred_bead_keeps_its_light() -> None:
    config = CLEAN.replace(
        polarity="bright", channels="grey", bit_depth=16, beads=6, poisson=False, cluster_probability=0, max_overlap=0,
        background_min=40, background_max=40, defocus_spread_px=0, tilt_px=0, contrast_spread=0,
    )  # fmt: skip
    sharp, blurred = (simulate(config.replace(defocus_px=sigma), 11) for sigma in (0.3, 2.5))
    light = [(scene.image.astype(float) - 40 * 257).sum() / (40 * 257 * config.contrast) for scene in (sharp, blurred)]
    peaks = [scene.image.max() - 40 * 257 for scene in (sharp, blurred)]
    assert peaks[1] < 0.8 * peaks[0]
    assert light[0] == pytest.approx((np.pi / 4 * sharp.beads["diameter_px"] ** 2).sum(), rel=0.15)
    assert light[1] == pytest.approx(light[0], rel=0.15)


def test_halo_is_a_rim_of_the_other_sign() -> None:
    config = CLEAN.replace(channels="grey", bit_depth=16, defocus_px=0.8, tilt_px=0, beads=8)
    without, rim = (simulate(config.replace(halo=halo), 10).image for halo in (0.0, 0.2))
    ground = float(np.median(without))
    assert without.max() <= ground * 1.001
    assert rim.max() > ground * 1.03


def test_tilt_and_defocus_are_in_the_table() -> None:
    config = SMALL.replace(beads=60, defocus_px=2, defocus_spread_px=0, tilt_px=3)
    defocus = simulate(config, 12).beads["defocus_px"]
    assert defocus.min() >= 2 - 1e-9
    assert defocus.max() <= 5 + 1e-9
    assert defocus.max() - defocus.min() > 1.5


def test_lateral_colour_moves_red_and_blue_apart() -> None:
    config = CLEAN.replace(
        beads=10, cluster_probability=0, lateral_scale=0, lateral_shift_px=1.5, bit_depth=16, channel_contrast=(1, 1, 1)
    )
    scene = simulate(config, 13)
    field = FieldOfView.draw(config, 13)
    weight = np.median(scene.image, axis=(0, 1)) - scene.image
    rows, columns = np.indices(scene.labels.shape)
    centre = np.array(
        [
            [(weight[..., colour] * at).sum() / weight[..., colour].sum() for at in (rows, columns)]
            for colour in range(3)
        ]
    )
    direction = np.array([np.sin(field.colour_angle), np.cos(field.colour_angle)])
    np.testing.assert_allclose(centre[2] - centre[0], 3 * direction, atol=0.4)


def test_noise_has_the_strength_asked_for() -> None:
    config = CLEAN.replace(beads=0, channels="grey", bit_depth=16, background_min=100, background_max=100, read_noise=3)
    assert np.std(simulate(config, 1).image / 257) == pytest.approx(3, rel=0.05)
    shot = config.replace(read_noise=0, shot_noise=5)
    assert np.std(simulate(shot, 1).image / 257) == pytest.approx(5 * (100 / 255) ** 0.5, rel=0.05)


def test_uneven_light() -> None:
    config = CLEAN.replace(beads=0, channels="grey", bit_depth=16)
    flat = simulate(config, 2).image
    graded = simulate(config.replace(gradient=0.4), 2).image
    vignetted = simulate(config.replace(vignetting=0.3), 2).image
    assert np.ptp(flat) == 0
    assert np.ptp(graded.astype(float)) / graded.mean() == pytest.approx(0.4, abs=0.02)
    assert vignetted[0, 0] / vignetted[64, 80] == pytest.approx(0.7, abs=0.01)


def test_jpeg_and_upscaling_change_the_image_only() -> None:
    plain = simulate(SMALL.replace(jpeg_quality=None, upscaling=1), 3)
    for change in ({"jpeg_quality": 30}, {"upscaling": 3.0}):
        other = simulate(SMALL.replace(**{"jpeg_quality": None, "upscaling": 1.0, **change}), 3)
        assert not np.array_equal(other.image, plain.image)
        np.testing.assert_array_equal(other.labels, plain.labels)


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0, 3.7])
def test_image_and_truth_stay_aligned_when_enlarged(factor: float) -> None:
    config = CLEAN.replace(
        upscaling=factor, lateral_shift_px=0, lateral_scale=0, channels="grey", bit_depth=16, height=256, width=256,
        beads=30, cluster_probability=0,
    )  # fmt: skip
    scene = simulate(config, 14)
    light = float(np.median(scene.image)) - scene.image.astype(float)
    positions = scene.beads[["y", "x"]].to_numpy()
    differences = []
    for position in positions:
        nearest = np.sort(np.hypot(*(positions - position).T))[1]
        top, left = np.rint(position).astype(int) - 10
        if nearest > 24 and min(top, left) >= 0 and max(top, left) <= 235:
            patch = light[top : top + 21, left : left + 21]
            rows, columns = np.mgrid[top : top + 21, left : left + 21]
            centre = np.array([(patch * rows).sum(), (patch * columns).sum()]) / patch.sum()
            differences.append(centre - position)
    assert len(differences) >= 5
    np.testing.assert_allclose(np.mean(differences, axis=0), 0, atol=0.1)


@pytest.mark.parametrize("share", [0.0, 1.0], ids=["specks", "fibres"])
def test_debris_is_seen_but_not_in_the_truth(share: float) -> None:
    clean = simulate(CLEAN, 15)
    dirty = simulate(CLEAN.replace(debris=6, fibre_share=share), 15)
    changed = np.abs(dirty.image.astype(int) - clean.image).max(axis=2) > 5
    assert changed.mean() > 0.003
    np.testing.assert_array_equal(dirty.labels, clean.labels)
    pd.testing.assert_frame_equal(dirty.beads, clean.beads)


def test_same_seed_same_scene_and_another_seed_another() -> None:
    first, again, other = simulate(SMALL, 16), simulate(SMALL, 16), simulate(SMALL, 17)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.labels, other.labels)


def test_hidden_beads_are_not_listed() -> None:
    config = SceneConfig(
        height=64, width=64, diameter_px=12, diameter_spread=0.5, beads=120, max_overlap=0.9, poisson=False
    )
    scene = simulate(config, 18)
    assert len(scene.beads) < 120
    assert (scene.beads["visible_area"] > 0).all()
    assert scene.labels.max() == len(scene.beads)


def test_no_bead_at_all() -> None:
    scene = simulate(SMALL.replace(beads=0), 19)
    assert scene.beads.empty
    assert not scene.labels.any()


def test_no_room_is_an_error_with_a_remedy() -> None:
    with pytest.raises(InputError, match=r"room for \d+ beads only.*Choose fewer"):
        simulate(SceneConfig(height=64, width=64, beads=500, max_overlap=0), 0)


@pytest.mark.parametrize(
    "change",
    [{"contrast": 1.0}, {"background_min": 200.0}, {"max_overlap": 0.95}, {"diametre_px": 7}, {"bit_depth": 12}],
)
def test_wrong_fields_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        SMALL.replace(**change)
    with pytest.raises(ValidationError):
        SceneConfig(**change)  # type: ignore[arg-type]


def test_every_field_has_title_and_description() -> None:
    for model in (SceneConfig, SeriesConfig):
        for name, field in model.model_fields.items():
            assert field.description, name
            assert field.title or name == "scene", name


def test_window_is_a_part_of_the_field() -> None:
    config = CLEAN.replace(beads=0, channels="grey", bit_depth=16, gradient=0.3, vignetting=0.2)
    field = FieldOfView.draw(config, 3, rows=1, columns=2)
    left, right = (simulate(config, seed, Window(field, 0, seed * config.width)).image.astype(int) for seed in (0, 1))
    whole = simulate(config.replace(width=2 * config.width), 0, Window(field)).image
    np.testing.assert_allclose(np.hstack((left, right)), whole, atol=1)


def test_dilution_series_follows_one_over_f() -> None:
    series = SeriesConfig(scene=SMALL, tiles=60, dilutions=(1, 2, 4), fields=2)
    counts = pd.DataFrame([(tile.dilution, len(tile.simulate().beads)) for tile in plan(series)], columns=["f", "n"])
    for dilution, group in counts.groupby("f")["n"]:
        expected = 30 / dilution * len(group)
        assert abs(group.sum() - expected) < 4 * expected**0.5
    assert counts.groupby("f")["n"].var().gt(0).all()


def test_plan_names_and_spreads_the_tiles() -> None:
    tiles = plan(SeriesConfig(tiles=11, dilutions=(320, 640), fields=2, seed=5))
    assert len({tile.name for tile in tiles}) == 11
    sizes = pd.Series([tile.field for tile in tiles]).value_counts()
    assert sorted(sizes) == [2, 3, 3, 3]
    assert tiles[0].name == "320x_simulated-s5-001_grid_r0_c0"
    assert all(tile.name.startswith(tile.field + "_grid_r") for tile in tiles)
    assert len({tile.window.field for tile in tiles}) == 4
    assert len({tile.seed for tile in tiles}) == 11


def test_one_more_dilution_does_not_change_the_others() -> None:
    few = plan(SeriesConfig(tiles=4, dilutions=(10, 20), fields=1))
    more = plan(SeriesConfig(tiles=6, dilutions=(10, 20, 40), fields=1))
    assert few == more[:4]


@pytest.mark.parametrize("change", [{"tiles": 5}, {"dilutions": (320, 320)}])
def test_impossible_series_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"Ask for|Name each"):
        plan(SeriesConfig.parse({"tiles": 24, **change}))


@pytest.mark.parametrize(("depth", "suffix"), [(8, ".png"), (16, ".tif")])
def test_written_dataset_is_what_was_simulated(tmp_path: Path, depth: int, suffix: str) -> None:
    out = tmp_path / "beads"
    events: list[Event] = []
    series = SeriesConfig(scene=SMALL.replace(bit_depth=depth), tiles=3, dilutions=(1, 8, 1000), fields=1)
    truth = write_dataset(out, series, events.append)
    assert sorted(path.name for path in out.iterdir()) == ["images", "labels", "scenes.json", "truth.csv"]
    for tile in plan(series):
        scene = tile.simulate()
        np.testing.assert_array_equal(iio.imread(out / "images" / f"{tile.name}{suffix}"), scene.image)
        labels = tifffile.imread(out / "labels" / f"{tile.name}.tif")
        assert labels.dtype == np.uint32
        np.testing.assert_array_equal(labels, scene.labels)
        assert (truth["sample"] == tile.name).sum() == len(scene.beads)
    read = pd.read_csv(out / "truth.csv")
    pd.testing.assert_frame_equal(read, truth, check_dtype=False, atol=1e-4, rtol=0)
    scenes = json.loads((out / "scenes.json").read_text())
    assert SeriesConfig.parse(scenes["series"]) == series
    assert [image["beads"] for image in scenes["images"]] == [len(tile.simulate().beads) for tile in plan(series)]
    assert events[-1].kind == "result"
    assert str(out) in events[-1].message


def test_two_writes_are_equal_to_the_byte(tmp_path: Path) -> None:
    series = SeriesConfig(scene=SMALL, tiles=2, dilutions=(1, 2), fields=1)
    for name in ("a", "b"):
        write_dataset(tmp_path / name, series)
    first, second = (sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("a", "b"))
    assert len(first) == 6
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_without_any_bead_the_table_has_its_header(tmp_path: Path) -> None:
    write_dataset(tmp_path, SeriesConfig(scene=SMALL.replace(beads=0), tiles=1, dilutions=(1,), fields=1))
    assert (tmp_path / "truth.csv").read_text().startswith("sample,field,dilution,id,y,x,")


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not empty.*Choose a new"):
        write_dataset(tmp_path, SeriesConfig(scene=SMALL))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_stop_ends_between_images(tmp_path: Path) -> None:
    stop = StopFlag()
    with pytest.raises(Cancelled):
        write_dataset(tmp_path, SeriesConfig(scene=SMALL), lambda event: stop.set(), stop)
    assert list(tmp_path.iterdir()) == []
    assert not [path for path in tmp_path.parent.iterdir() if path.name.startswith(".beadseg-")]
