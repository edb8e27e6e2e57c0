"""Splits, matching, separation of touching beads, tables and names: what holds for every input."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching
from skimage.measure import label, regionprops
from sklearn.metrics import f1_score, jaccard_score
from strategies import LABELS, SIZES, TEXTS

from beadseg.config.predict import ObjectConfig, SeedConfig
from beadseg.config.train import (  # fmt: skip
    BlockSplitConfig,
    FieldSplitConfig,
    RandomSplitConfig,
    SplitConfig,
    StratifiedSplitConfig,
)
from beadseg.data.dataset import Dataset, Sample
from beadseg.data.documents import LONGEST_NAME, is_plain_name, name_key, names_of, plain_name
from beadseg.data.split import Split, folds, leave_one_field_out, make_split
from beadseg.errors import ConfigError
from beadseg.measure.beads import bead_table
from beadseg.measure.matching import Detection, match_labels, match_points, overlap_table
from beadseg.measure.scores import dice, jaccard
from beadseg.predict.instances import peaks, separate
from beadseg.text import csv_text, from_line, original, original_cells, safe_cell, to_line

SPLITS: list[SplitConfig] = [RandomSplitConfig(), StratifiedSplitConfig(), FieldSplitConfig(), BlockSplitConfig()]
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@st.composite
def datasets(draw: st.DrawFn) -> tuple[Dataset, dict[str, int]]:
    tiles = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    samples = [
        Sample(f"f{f}_c{c}", Path(f"f{f}_c{c}.png"), field=f"f{f}")
        for f, count in enumerate(tiles)
        for c in range(count)
    ]
    objects = {sample.name: draw(st.integers(0, 5) | st.integers(0, 5000)) for sample in samples}
    return Dataset(Path("beads"), tuple(samples)), objects


def fields(data: Dataset, names: Sequence[str]) -> set[str]:
    return {data[name].field for name in names}


@given(datasets(), st.sampled_from(SPLITS), st.floats(0.05, 0.9), st.integers(0, 9))
def test_a_split_holds_every_sample_once_and_no_side_is_empty(
    given_: tuple[Dataset, dict[str, int]], config: SplitConfig, fraction: float, seed: int
) -> None:
    data, objects = given_
    config = config.replace(val_fraction=fraction)
    try:
        split = make_split(config, data, objects, seed)
    except ConfigError as error:
        assert error.remedy
        return
    assert sorted(split.train + split.val) == sorted(data.names)
    assert split.train
    assert split.val
    assert split == make_split(config, data, objects, seed)
    if config.kind == "fields":
        assert not fields(data, split.train) & fields(data, split.val)


@given(datasets(), st.integers(2, 5), st.integers(0, 9))
def test_folds_divide_whole_fields_of_view(given_: tuple[Dataset, dict[str, int]], k: int, seed: int) -> None:
    data, objects = given_
    assume(len(data.fields) >= k)
    parts = folds(data, objects, k, seed)
    assert sorted(name for part in parts for name in part.val) == sorted(data.names)
    for part in [*parts, *(split for _, split in leave_one_field_out(data))]:
        assert part.train
        assert part.val
        assert not fields(data, part.train) & fields(data, part.val)


@given(st.dictionaries(TEXTS.map(plain_name), st.sampled_from(["train", "val", "test"]), min_size=1, max_size=6))
def test_a_split_file_is_read_as_written(parts: dict[str, str]) -> None:
    split = Split(
        *(tuple(sorted(name for name, part in parts.items() if part == fold)) for fold in ("train", "val", "test"))
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "split.csv"
        split.to_csv(path)
        read = Split.from_csv(path)
    assert [set(part) for part in (read.train, read.val, read.test)] == [
        set(part) for part in (split.train, split.val, split.test)
    ]


POINTS = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 12), st.just(2)), elements=st.integers(0, 60).map(lambda n: n / 2)
)


@given(POINTS, POINTS, st.floats(0.5, 12))
def test_points_are_matched_one_to_one_within_reach_and_as_many_as_can_be(
    found: np.ndarray, true: np.ndarray, tolerance: float
) -> None:
    matching = match_points(found, true, tolerance)
    assert len(set(matching.predicted.tolist())) == len(set(matching.true.tolist())) == len(matching.cost)
    apart = np.hypot(*(found[matching.predicted] - true[matching.true]).T)
    assert (apart <= tolerance).all()
    assert matching.cost == pytest.approx(apart, abs=1e-6)
    near = np.linalg.norm(found[:, None] - true[None], axis=2) <= tolerance
    most = int((maximum_bipartite_matching(csr_array(near)) >= 0).sum()) if near.size else 0
    assert matching.counts.tp == most
    assert match_points(true, found, tolerance).counts.tp == most
    for score in (
        matching.counts.precision,
        matching.counts.recall,
        matching.counts.f1,
        matching.counts.average_precision,
    ):
        assert 0 <= score <= 1


@given(POINTS, POINTS, st.floats(0.5, 12), st.randoms(use_true_random=False))
def test_matching_does_not_depend_on_the_order(
    found: np.ndarray, true: np.ndarray, reach: float, random: object
) -> None:
    order = np.random.default_rng(random.randrange(99)).permutation(len(found))  # type: ignore[attr-defined]
    one, other = match_points(found, true, reach), match_points(found[order], true, reach)
    assert one.counts == other.counts
    assert one.cost.sum() == pytest.approx(other.cost.sum())


@given(st.data(), st.floats(0.05, 1.0))
def test_labels_are_matched_by_their_overlap(data: st.DataObject, iou: float) -> None:
    true = data.draw(LABELS)
    found = data.draw(hnp.arrays(np.uint32, true.shape, elements=st.sampled_from([0, 1, 2, 3, 9])))
    table = overlap_table(found, true)
    for one, other, value in zip(table.predicted, table.true, table.iou, strict=True):
        a, b = found == table.predicted_ids[one], true == table.true_ids[other]
        assert value == pytest.approx((a & b).sum() / (a | b).sum())
    matching = match_labels(found, true, iou)
    assert len(set(matching.predicted.tolist())) == len(set(matching.true.tolist())) == len(matching.cost)
    assert (matching.cost <= 1 - iou + 1e-9).all()
    assert match_labels(true, true, iou).counts.f1 == 1.0
    numbers = np.array([0, 5, 3, 8, 4, 0, 0, 0, 0, 1], np.uint32)
    assert match_labels(numbers[found], true, iou).counts == matching.counts, "which ids objects have does not matter"


@given(st.data())
def test_scores_and_measures_agree_with_scikit_learn_and_scikit_image(data: st.DataObject) -> None:
    labels = data.draw(hnp.arrays(np.uint32, SIZES, elements=st.sampled_from([0, 0, 1, 2, 7])))
    found = data.draw(hnp.arrays(bool, labels.shape))
    assert jaccard(found, labels) == pytest.approx(jaccard_score(labels.ravel() > 0, found.ravel(), zero_division=1.0))
    assert dice(found, labels) == pytest.approx(f1_score(labels.ravel() > 0, found.ravel(), zero_division=1.0))
    grey = data.draw(hnp.arrays(np.uint8, labels.shape))
    table, regions = bead_table(labels, grey), regionprops(labels.astype(np.int32), grey)
    assert table["id"].tolist() == [region.label for region in regions]
    assert table["area_px"].tolist() == [region.area for region in regions]
    assert table[["y", "x"]].to_numpy() == pytest.approx(np.array([each.centroid for each in regions]).reshape(-1, 2))
    for column, name in (("equivalent_diameter_px", "equivalent_diameter_area"), ("mean_intensity", "intensity_mean")):
        assert table[column].tolist() == pytest.approx([region[name] for region in regions])


@given(st.data(), st.floats(0.05, 0.95))
def test_as_many_objects_are_matched_as_the_hungarian_method_can(data: st.DataObject, iou: float) -> None:
    true = data.draw(LABELS)
    found = data.draw(hnp.arrays(np.uint32, true.shape, elements=st.sampled_from([0, 1, 2, 3, 9])))
    table = overlap_table(found, true)
    enough = np.zeros((len(table.predicted_ids), len(table.true_ids)))
    enough[table.predicted, table.true] = table.iou >= iou
    rows, columns = linear_sum_assignment(enough, maximize=True)
    assert match_labels(found, true, iou).counts.tp == int(enough[rows, columns].sum())


MAPS = hnp.arrays(np.float32, SIZES, elements=st.integers(0, 20).map(lambda n: np.float32(n / 20)))


@given(MAPS, st.booleans(), st.booleans(), st.floats(2, 8), st.data())
def test_beads_are_separated_once_and_thresholds_only_choose(
    probability: np.ndarray, with_centre: bool, apart: bool, diameter: float, data: st.DataObject
) -> None:
    centre = (
        data.draw(hnp.arrays(np.float32, probability.shape, elements=st.floats(0, 1, width=32)))
        if with_centre
        else None
    )
    config = ObjectConfig(diameter=diameter, separate=apart, seeds=SeedConfig(lowest=0.1))
    found = separate(probability, config, centre)
    assert np.array_equal(found.pixels, np.flatnonzero(probability >= np.float32(0.1)))
    assert (found.owner > 0).all(), "every pixel that can be bead belongs to a candidate"
    assert set(found.owner.tolist()) == set(range(1, len(found.positions) + 1)), "every candidate has its seed at least"
    low, high = sorted(data.draw(st.tuples(st.floats(0.1, 0.95), st.floats(0.1, 0.95))))
    few, many = found.select(threshold=high), found.select(threshold=low)
    assert not (few.astype(bool) & ~many.astype(bool)).any(), "a higher threshold adds no pixel"
    assert np.array_equal(many > 0, probability >= np.float32(low))
    least = data.draw(st.integers(1, 9))
    chosen = found.select(threshold=low, min_area=least)
    areas = np.bincount(chosen.ravel())[1:]
    assert (areas >= least).all(), "ids have no gaps and every object is large enough"
    pieces, count = label(many > 0, connectivity=2, return_num=True)
    for number in range(1, int(many.max(initial=0)) + 1):
        assert len(np.unique(pieces[many == number])) >= 1
    if not apart:
        assert int(many.max(initial=0)) == count


@given(hnp.arrays(bool, SIZES), st.floats(2, 8))
def test_every_basin_is_in_one_piece_and_every_component_has_a_bead(mask: np.ndarray, diameter: float) -> None:
    found = separate(mask.astype(np.float32), ObjectConfig(diameter=diameter))
    labels = found.select(threshold=0.5)
    components = label(mask, connectivity=2)
    for number in range(1, int(labels.max(initial=0)) + 1):
        assert len(np.unique(components[labels == number])) == 1, "a bead never spans two components"
    assert len(found.positions) >= int(components.max(initial=0))


TABLES = st.lists(st.tuples(TEXTS.filter(lambda text: "\x00" not in text), st.integers(-9, 9)), max_size=5)


@given(TABLES)
def test_no_cell_of_a_table_is_a_formula_and_texts_come_back(rows: list[tuple[str, int]]) -> None:
    table = pd.DataFrame(rows, columns=["=name", "n"])
    text = csv_text(table)
    cells = list(csv.reader(io.StringIO(text, newline="")))
    assert not any(row[0].startswith(FORMULA) for row in cells[1:] if row)
    read = original_cells(pd.read_csv(io.StringIO(text, newline=""), dtype=str, keep_default_na=False))
    assert read.iloc[:, 0].tolist() == [name for name, _ in rows]
    assert read.iloc[:, 1].tolist() == [str(number) for _, number in rows]


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_a_line_of_a_journal_is_one_line_and_comes_back(texts: list[str]) -> None:
    line = to_line(texts)
    assert line.count("\n") == 1
    assert "\r" not in line
    assert from_line(line.rstrip("\n")) == texts


@given(TEXTS)
def test_a_safe_cell_is_no_formula_and_comes_back(text: str) -> None:
    assert not safe_cell(text).startswith(FORMULA)
    assert original(safe_cell(text)) == text


@given(st.text(max_size=400))
def test_a_plain_name_is_one_name_of_a_file_and_stays_itself(text: str) -> None:
    name = plain_name(text)
    assert is_plain_name(name)
    assert plain_name(name) == name
    assert 0 < len(name.encode()) <= LONGEST_NAME
    assert name.isprintable() or not any(ord(letter) < 32 for letter in name)
    assert not name.startswith((".", "-", "=", "+", "@"))


SOURCES = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "A/x", "a/x"]),
        st.sampled_from(["p.png", "P.png", "p.tif", "p", "a_p.png", "é.png", "e\u0301.png"]),
    ),
    unique=True,
    max_size=9,
)


@given(SOURCES, st.integers(0, 9))
def test_images_of_one_stem_get_different_names_and_keep_them(sources: list[tuple[str, str]], kept: int) -> None:
    paths = [Path("/nowhere", *source) for source in sources]
    names = names_of(paths)
    assert len({name_key(name) for name in names.values()}) == len(names) == len(paths)
    known = {names[path]: str(path) for path in paths[:kept]}
    again = names_of(paths, known)
    assert {path: again[path] for path in paths[:kept]} == {path: names[path] for path in paths[:kept]}
    assert len({name_key(name) for name in again.values()}) == len(paths)


@given(MAPS, st.floats(1.5, 8))
def test_of_near_peaks_the_highest_stay(height: np.ndarray, apart: float) -> None:
    """The same as taking peaks from the highest to the lowest, each unless one that was taken is near."""
    pixels = np.arange(height.size)
    every = peaks(height, pixels, distance=0.5, reach=0.5, valley=0.0)
    taken: list[int] = []
    for at in every[np.argsort(-height.reshape(-1)[every], kind="stable")].tolist():
        places = np.array([divmod(other, height.shape[1]) for other in taken]).reshape(-1, 2)
        if not (np.hypot(*(places - divmod(at, height.shape[1])).T) < apart).any():
            taken.append(at)
    assert peaks(height, pixels, distance=apart, reach=apart, valley=0.0).tolist() == sorted(taken)


@given(st.tuples(*[st.integers(0, 99)] * 6))
def test_counts_of_images_add_up(numbers: tuple[int, ...]) -> None:
    one, other = Detection(*numbers[:3]), Detection(*numbers[3:])
    both = one + other
    assert (both.tp, both.fp, both.fn) == tuple(a + b for a, b in zip(numbers[:3], numbers[3:], strict=True))
