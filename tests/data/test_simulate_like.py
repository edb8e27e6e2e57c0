"""The simulator after a data set: what is measured is what is there, and what is drawn shows what was measured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from beadseg.cli.simulate import simulate as command
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.data.simulate.like import (
    Likeness,
    LikeSeriesConfig,
    background,
    jpeg_artifacts,
    measure,
    plan_like,
    templates,
    write_like,
)
from beadseg.data.simulate.like.document import Array, Compression, Noise
from beadseg.data.simulate.like.templates import arrange
from beadseg.errors import ConfigError, InputError

if TYPE_CHECKING:
    from pathlib import Path

SIDE = 192
SCENE = SceneConfig(height=SIDE, width=SIDE, beads=40, cluster_probability=0, debris=0, jpeg_quality=None, tilt_px=0)
KINDS = {
    "colour": {},
    "grey 16 bit": {"channels": "grey", "bit_depth": 16},
    "bright": {"polarity": "bright", "channels": "grey", "contrast": 2.0, "background_min": 40, "background_max": 60},
}


def dataset(folder: Path, **changes: object) -> Dataset:
    """Simulate four tiles of two dilutions, 40 and 20 beads each."""
    series = SeriesConfig(scene=SCENE.replace(**changes), tiles=4, dilutions=(10, 20), fields=1, seed=3)
    write_dataset(folder, series)
    return Dataset.open(folder)


@pytest.fixture(scope="module", params=list(KINDS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, Likeness]:
    """A data set of each kind, and what was measured on it."""
    data = dataset(tmp_path_factory.mktemp("beads"), **KINDS[request.param])
    return data, measure(data)


def densities(data: Dataset, likeness: Likeness) -> np.ndarray:
    """Return the measured over the true number of beads of every tile."""
    truth = pd.read_csv(data.root / "truth.csv")["sample"].value_counts()
    area = SIDE * SIDE / 1e6
    looks = [look for field in likeness.fields for look in field.looks]
    return np.array([look.beads_per_mpx * area / truth[look.tile] for look in looks])


def test_measured_is_what_is_there(pair: tuple[Dataset, Likeness]) -> None:
    data, likeness = pair
    first = data.samples[0].read_image()
    assert (likeness.channels, likeness.height, likeness.width) == (first.channels, SIDE, SIDE)
    assert likeness.bit_depth == 8 * first.data.dtype.itemsize
    assert [field.dilution for field in likeness.fields] == [10, 20]
    assert likeness.diameter_px == pytest.approx(7.0, rel=0.15)
    np.testing.assert_allclose(densities(data, likeness), 1, atol=0.15)
    assert likeness.bead_mean.numpy().mean(axis=0).argmax() == likeness.bead_mean.shape[1] ** 2 // 2
    assert all(field.compression is None for field in likeness.fields)


def test_drawn_again_the_same_is_measured(pair: tuple[Dataset, Likeness], tmp_path: Path) -> None:
    data, likeness = pair
    write_like(tmp_path / "like", likeness, LikeSeriesConfig(tiles=4, seed=1))
    drawn = Dataset.open(tmp_path / "like")
    again = measure(drawn)
    assert (again.channels, again.bit_depth, again.polarity) == (
        likeness.channels, likeness.bit_depth, likeness.polarity,
    )  # fmt: skip
    before, after = likeness.bead_mean.numpy(), again.bead_mean.numpy()
    reach = min(before.shape[1], after.shape[1]) // 2
    middle = [slice(mean.shape[1] // 2 - reach, mean.shape[1] // 2 + reach + 1) for mean in (before, after)]
    before, after = (mean[:, part, part] for mean, part in zip((before, after), middle, strict=True))
    assert np.abs(after - before).max() < 0.15 * before.max()
    for old, new in zip(likeness.fields, again.fields, strict=True):
        assert new.dilution == old.dilution
        counts = [np.mean([look.beads_per_mpx for look in field.looks]) for field in (old, new)]
        assert counts[1] == pytest.approx(counts[0], rel=0.35)
        spread = [np.sqrt(field.noise.spectrum.numpy()[0, :64].mean()) for field in (old, new)]
        assert spread[1] == pytest.approx(spread[0], rel=0.25)
    assert len(drawn) == len(data)


def test_labels_lie_on_the_beads(pair: tuple[Dataset, Likeness]) -> None:
    _, likeness = pair
    sign = -1 if likeness.polarity == "dark" else 1
    tile = plan_like(likeness, LikeSeriesConfig(tiles=2, seed=2))[0]
    scene = tile.simulate()
    image = np.atleast_3d(scene.image).mean(axis=2)
    assert scene.labels.max() == len(scene.beads)
    assert np.bincount(scene.labels.ravel())[1:].tolist() == scene.beads["visible_area"].tolist()
    assert sign * (image[scene.labels > 0].mean() - np.median(image)) > 0.1 * np.median(image)
    alone = cKDTree(scene.beads[["y", "x"]]).query(scene.beads[["y", "x"]], k=2)[0][:, 1] > 18
    inner = scene.beads[alone].query(f"10 < y < {SIDE - 10} and 10 < x < {SIDE - 10}")
    off = []
    for y, x in inner[["y", "x"]].to_numpy():
        top, left = round(y) - 6, round(x) - 6
        weight = np.clip(sign * (image[top : top + 13, left : left + 13] - np.median(image)), 0, None)
        rows, columns = np.mgrid[top : top + 13, left : left + 13]
        off.append([(weight * rows).sum() / weight.sum() - y, (weight * columns).sum() / weight.sum() - x])
    assert len(off) >= 4
    np.testing.assert_allclose(np.median(off, axis=0), 0, atol=0.35)


def test_same_seed_same_image(pair: tuple[Dataset, Likeness]) -> None:
    _, likeness = pair
    series = [LikeSeriesConfig(tiles=2, height=96, width=96, seed=seed) for seed in (5, 5, 6)]
    first, again, other = (plan_like(likeness, each)[0].simulate() for each in series)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.image, other.image)


def test_document_round_trip(pair: tuple[Dataset, Likeness], tmp_path: Path) -> None:
    _, likeness = pair
    likeness.write(tmp_path / "likeness.json")
    assert Likeness.read(tmp_path / "likeness.json") == likeness
    values = json.loads((tmp_path / "likeness.json").read_text())
    for change in ({"schema_version": 2}, {"channels": 2}, {"bead_mean": {"shape": [1, 2, 2], "values": [0] * 4}}):
        (tmp_path / "wrong.json").write_text(json.dumps({**values, **change}))
        with pytest.raises(ConfigError, match="Measure the data set again"):
            Likeness.read(tmp_path / "wrong.json")


def test_too_few_beads_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    series = SeriesConfig(scene=SCENE.replace(beads=5, poisson=False), tiles=2, dilutions=(1,), fields=1)
    write_dataset(tmp_path, series)
    with pytest.raises(InputError, match=r"12 are needed.*Give more images"):
        measure(Dataset.open(tmp_path))


def test_mixed_kinds_are_refused(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    path = data.samples[0].image_path
    iio.imwrite(path, iio.imread(path)[..., 0])
    with pytest.raises(InputError, match=r"RGB of 8 bits.*Choose those of one"):
        measure(data)


def test_shifted_masks_do_no_harm(tmp_path: Path) -> None:
    data = dataset(tmp_path)
    straight = measure(data)
    for path in (tmp_path / "labels").iterdir():
        image = iio.imread(path)
        iio.imwrite(path, np.roll(image, (3, -2), (0, 1)))
    moved = measure(data)
    means = [each.bead_mean.numpy() for each in (moved, straight)]
    middle = [mean[:, mean.shape[1] // 2 - 3 :, mean.shape[1] // 2 - 3 :][:, :7, :7] for mean in means]
    np.testing.assert_allclose(*middle, atol=0.05)


def test_series_follows_what_is_asked_for(pair: tuple[Dataset, Likeness]) -> None:
    _, likeness = pair
    tiles = plan_like(likeness, LikeSeriesConfig(tiles=6, height=96, width=128, beads=30, dilutions=(10, 20, 40)))
    assert [tile.name for tile in tiles[:2]] == ["10x_like-s0-001_grid_r0_c0", "10x_like-s0-001_grid_r0_c1"]
    assert tiles[0].simulate().labels.shape == (96, 128)
    expected = pd.DataFrame([(tile.dilution, tile.config.beads) for tile in tiles]).groupby(0)[1].mean()
    assert expected[10] == pytest.approx(30, rel=0.5)
    assert expected[40] == pytest.approx(expected[20] / 2, rel=0.3)
    assert {tile.appearance.field.dilution for tile in tiles if tile.dilution == 40} == {20}
    clean = plan_like(likeness, LikeSeriesConfig(tiles=2, noise=0, contrast=0, debris=0))[0].simulate().image
    assert np.abs(np.diff(clean.astype(float), axis=0)).max() <= 0.02 * clean.max() + 1
    for change in ({"tiles": 1}, {"dilutions": (10, 10)}):
        with pytest.raises(InputError, match=r"Ask for|Name each"):
            plan_like(likeness, LikeSeriesConfig(**{"tiles": 4, **change}))


STEPS = np.rint(0.5 * jpeg_artifacts.LUMA)


@pytest.mark.parametrize("step", [(1, 1), (1, 2), (2, 2)])
def test_compression_is_recognised_by_its_traces(step: tuple[int, int]) -> None:
    packed = Compression(
        luma=Array.of(STEPS),
        chroma=Array.of(np.rint(0.4 * jpeg_artifacts.CHROMA)),
        chroma_step=step,
        shift=(0, 0, 0),
        offsets=((0, 0),),
    )
    rng = np.random.default_rng(0)
    rough = 100 + gaussian_filter(rng.standard_normal((3, 256, 256)), (0, 1.5, 1.5)) * 40
    images = []
    for offset in ((0, 8), (5, 3)):
        rgb = np.rint(background.to_rgb(background.jpeg_round_trip(background.to_ycc(rough), packed, offset)))
        images.append(background.to_ycc(rgb))
    found = jpeg_artifacts.find_compression(images)
    assert found is not None
    assert found.chroma_step == step
    assert [tuple(at % 8 for at in offset) for offset in sorted(found.offsets)] == [(0, 0), (5, 3)]
    np.testing.assert_array_equal(found.luma.numpy()[:3, :3], STEPS[:3, :3])
    assert jpeg_artifacts.find_compression([background.to_ycc(rough)]) is None


def test_noise_before_compression_is_found_behind_it() -> None:
    weights = np.zeros((1, 67))
    weights[0, [0, 1, 2, 8, 9, 10, 16, 17]] = 9.0
    flat = Array.of(np.ones((1, 1)))
    grain = Noise(spectrum=Array.of(weights), correlation=flat)
    packed = Compression(
        luma=Array.of(np.full((8, 8), 5.0)), chroma=Array.of(STEPS), chroma_step=(1, 1), shift=(0,), offsets=((0, 0),)
    )
    field = background.draw_noise(grain, (256, 256), (1, 1), (0, 0), np.random.default_rng(0))
    image = background.jpeg_round_trip(field, packed, (0, 0))
    bare = np.ones((256, 256), dtype=bool)
    moments = background.measure_noise(image, image, bare, packed, (0, 0))
    plain = background.measure_noise(field, field, bare, None, (0, 0))
    assert moments is not None
    assert plain is not None
    before, sure = background.power_before(moments, packed)
    assert sure[0, :2, :2].all()
    np.testing.assert_allclose(before[0, :2, :2], plain.power[0, :2, :2], rtol=0.15)
    again = background.matched_noise(moments, np.ones((1, 1)), packed)
    drawn = background.jpeg_round_trip(
        background.draw_noise(again, (256, 256), (1, 1), (0, 0), np.random.default_rng(1)), packed, (0, 0)
    )
    assert drawn.std() == pytest.approx(image.std(), rel=0.1)


def test_ground_is_found_below_beads() -> None:
    rows, columns = np.mgrid[-1:1:128j, -1:1:160j]
    level = 100 + 20 * rows - 10 * columns**2
    image = np.stack([level, 0.9 * level])
    image[:, ::9, ::9] *= 0.5
    found = background.surface(background.fit_background(image, -1.0), (128, 160))
    np.testing.assert_allclose(found, np.stack([level, 0.9 * level]), rtol=0.01)


def test_stamps_lie_where_they_are_laid() -> None:
    reach = np.arange(-12, 13)
    bead = np.exp(-(reach[:, None] ** 2 + reach[None, :] ** 2) / 8.0)[None, None]
    y, x = np.array([30.3, 30.6]), np.array([25.75, 60.1])
    off = templates.lay_stamps((64, 90), bead.repeat(2, axis=0), y, x)
    found = templates.find_peaks(off, 7.0)
    np.testing.assert_allclose(found.centres[np.argsort(found.centres[:, 1])], np.stack((y, x), axis=1), atol=0.1)
    cut, centres = templates.cut_stamps(off, np.rint(found.centres), 7.0)
    np.testing.assert_allclose(np.sort(centres[:, 1]), x, atol=0.1)
    middle = cut.shape[-1] // 2
    np.testing.assert_allclose(cut[:, 0, middle, middle], 1, atol=0.05)


def test_crowding_is_told_apart() -> None:
    reach = np.arange(-12, 13)
    bead = np.exp(-(reach[:, None] ** 2 + reach[None, :] ** 2) / 14.0)[None, None]
    rng = np.random.default_rng(4)

    def fitted(clustered: float, stacked: float) -> templates.Packing:
        config = SceneConfig(height=640, width=640, beads=450, cluster_probability=clustered, max_overlap=0.1)
        beads = arrange(config, 1.12, stacked, rng)
        off = templates.lay_stamps((640, 640), bead.repeat(len(beads), axis=0), beads.y, beads.x)
        found = templates.find_peaks(off, 7.0).at_least(0.45)
        target = templates.describe_packing([found], 7.0)
        return templates.fit_packing(target, len(found.height), len(found.height) / 640**2, bead, 7.0)

    loose, clumped = fitted(0.0, 0.0), fitted(0.35, 0.1)
    assert loose.cluster_probability <= 0.1
    assert loose.stacked <= 0.03
    assert clumped.cluster_probability >= 0.25
    assert clumped.stacked >= 0.06
    assert clumped.found < loose.found


def test_command_measures_writes_and_repeats(tmp_path: Path) -> None:
    data = dataset(tmp_path / "beads")
    command(tmp_path / "a", like=data.root, tiles=2, quiet=True)
    command(tmp_path / "b", like=tmp_path / "a" / "likeness.json", tiles=2, quiet=True)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(names) == 7
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)
    scenes = json.loads((tmp_path / "a" / "scenes.json").read_text())
    assert scenes["like"] == "likeness.json"
    likeness = Likeness.read(tmp_path / "a" / scenes["like"])
    planned = plan_like(likeness, LikeSeriesConfig.parse(scenes["like_series"]))
    assert [image["sample"] for image in scenes["images"]] == [tile.name for tile in planned]
    assert [image["beads"] for image in scenes["images"]] == [len(tile.simulate().beads) for tile in planned]


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"like": "x.json", "polarity": "dark"}, "--polarity"),
        ({"like": "x.json", "include": ["a"]}, "--include"),
        ({"exclude": ["a"]}, "--exclude"),
    ],
)
def test_options_without_meaning_are_refused(tmp_path: Path, options: dict[str, object], where: str) -> None:
    if "like" in options:
        options = {**options, "like": tmp_path / str(options["like"])}
    with pytest.raises(ConfigError, match=where):
        command(tmp_path / "out", quiet=True, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
