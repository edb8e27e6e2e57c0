from __future__ import annotations

from pathlib import Path

import pytest

from beadseg.config.train import (
    BlockSplitConfig,
    FieldSplitConfig,
    FileSplitConfig,
    RandomSplitConfig,
    SplitConfig,
    StratifiedSplitConfig,
)
from beadseg.data.dataset import Dataset, Sample
from beadseg.data.split import Split, folds, leave_one_field_out, make_split
from beadseg.errors import ConfigError, InputError

CONFIGS = [RandomSplitConfig(), StratifiedSplitConfig(), FieldSplitConfig(), BlockSplitConfig()]


def dataset(*tiles: int) -> Dataset:
    """One field of view per number, with so many tiles."""
    samples = [
        Sample(f"f{f}_grid_r0_c{c}", Path(f"f{f}_grid_r0_c{c}.png"), field=f"f{f}")
        for f, count in enumerate(tiles)
        for c in range(count)
    ]
    return Dataset(Path("beads"), tuple(samples))


def objects(data: Dataset) -> dict[str, int]:
    """Densities that differ between fields more than inside them."""
    return {s.name: 10 * 2 ** int(s.field[1:]) + i % 5 for i, s in enumerate(data)}


def fields(data: Dataset, names: tuple[str, ...]) -> set[str]:
    return {data[name].field for name in names}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
@pytest.mark.parametrize("tiles", [(2, 2), (1, 2), (7, 14, 10, 4, 7, 7), (3,) * 12])
def test_every_sample_once_and_no_side_empty(config: SplitConfig, tiles: tuple[int, ...]) -> None:
    data = dataset(*tiles)
    for seed in range(5):
        split = make_split(config, data, objects(data), seed)
        assert sorted(split.train + split.val) == sorted(data.names)
        assert split.train
        assert split.val
        assert split.test == ()
        assert split == make_split(config, data, objects(data), seed)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_seeds_differ(config: SplitConfig) -> None:
    data = dataset(*[4] * 12)
    assert len({make_split(config, data, objects(data), seed).val for seed in range(8)}) > 1


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_one_sample_cannot_be_divided(config: SplitConfig) -> None:
    data = dataset(1)
    with pytest.raises(ConfigError):
        make_split(config, data, objects(data), 0)


def test_sizes() -> None:
    data = dataset(*[10] * 10)
    for config, size in ((RandomSplitConfig(), 10), (StratifiedSplitConfig(), 15), (FieldSplitConfig(), 20)):
        assert len(make_split(config, data, objects(data), 0).val) == size
    assert len(make_split(FieldSplitConfig(val_fraction=0.7), data, objects(data), 0).val) in (60, 70)


def test_stratified_takes_from_every_class() -> None:
    data = dataset(100)
    counts = {name: i for i, name in enumerate(data.names)}
    split = make_split(StratifiedSplitConfig(), data, counts, 0)
    assert sorted(counts[name] // 20 for name in split.val) == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    assert split.notes == ()


def test_stratified_with_few_or_equal_densities() -> None:
    data = dataset(12)
    same = dict.fromkeys(data.names, 5)
    split = make_split(StratifiedSplitConfig(), data, same, 0)
    assert len(split.val) == 2
    assert "1 instead of 5" in split.notes[0]
    outlier = same | {data.names[0]: 500}
    assert len(make_split(StratifiedSplitConfig(), data, outlier, 0).val) == 2


def test_field_split_keeps_fields_together_and_says_when_they_are_few() -> None:
    for tiles in ((7, 14, 10, 4, 7, 7), (5,) * 12):
        data = dataset(*tiles)
        split = make_split(FieldSplitConfig(), data, objects(data), 0)
        assert not fields(data, split.train) & fields(data, split.val)
        assert bool(split.notes) == (len(tiles) < 10)
    with pytest.raises(ConfigError, match="block"):
        make_split(FieldSplitConfig(), dataset(9), objects(dataset(9)), 0)


def test_field_split_balances_densities() -> None:
    data = dataset(*[4] * 20)
    dense = {s.name: 1000 if int(s.field[1:]) % 2 else 10 for s in data}
    for seed in range(5):
        split = make_split(FieldSplitConfig(), data, dense, seed)
        assert sum(dense[name] == 1000 for name in split.val) == len(split.val) / 2


def test_block_is_contiguous_in_every_field() -> None:
    data = dataset(12, 5, 1)
    split = make_split(BlockSplitConfig(), data, {}, 0)
    for field, count in (("f0", 2), ("f1", 1)):
        columns = sorted(int(name.rpartition("c")[2]) for name in split.val if data[name].field == field)
        assert len(columns) == count
        assert columns == list(range(columns[0], columns[0] + count))
    assert "f2_grid_r0_c0" in split.train
    assert "1 field of view with a single tile" in split.notes[0]
    with pytest.raises(ConfigError, match="one tile only"):
        make_split(BlockSplitConfig(), dataset(1, 1, 1), {}, 0)


def test_given_file(tmp_path: Path) -> None:
    data = dataset(4)
    path = tmp_path / "split.csv"
    rows = [f"{name}.png,{fold}" for name, fold in zip(data.names, ["train", "Val", "test", "train"], strict=True)]
    path.write_text("\n".join(["sample,fold", *rows, "other,train"]), encoding="utf-8")
    split = make_split(FileSplitConfig(path=path), data, {}, 0)
    assert (split.train, split.val, split.test) == ((data.names[0], data.names[3]), (data.names[1],), (data.names[2],))
    assert "other" in split.notes[0]


@pytest.mark.parametrize(
    ("folds_", "error", "message"),
    [
        ("train val", InputError, "no fold for f0_grid_r0_c2"),
        ("train val valit", InputError, "folds valit"),
        ("train train train", ConfigError, "no sample for validation"),
        ("val val test", ConfigError, "no sample for training"),
    ],
)
def test_given_file_that_does_not_fit(tmp_path: Path, folds_: str, error: type[Exception], message: str) -> None:
    data = dataset(3)
    path = tmp_path / "split.csv"
    rows = [f"{name},{fold}" for name, fold in zip(data.names, folds_.split(), strict=False)]
    path.write_text("\n".join(["sample,fold", *rows]), encoding="utf-8")
    with pytest.raises(error, match=message):
        make_split(FileSplitConfig(path=path), data, {}, 0)


def test_csv_round_trip(tmp_path: Path) -> None:
    split = Split(("a", "b10"), ("b2",), ("c",))
    split.to_csv(tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text(encoding="utf-8").splitlines()[1:] == [
        "a,train", "b2,val", "b10,train", "c,test"
    ]  # fmt: skip
    assert Split.from_csv(tmp_path / "split.csv") == split


@pytest.mark.parametrize("tiles", [(7, 14, 10, 4, 7, 7), (1, 30, 1), (2,) * 15])
def test_folds_hold_every_sample_once(tiles: tuple[int, ...]) -> None:
    data = dataset(*tiles)
    for k in (2, 3):
        parts = folds(data, objects(data), k, 0)
        assert len(parts) == k
        assert sorted(name for part in parts for name in part.val) == sorted(data.names)
        for part in parts:
            assert part.train
            assert part.val
            assert not fields(data, part.train) & fields(data, part.val)


def test_too_many_folds() -> None:
    data = dataset(5, 5)
    with pytest.raises(ConfigError, match="at least 3 fields"):
        folds(data, objects(data), 3, 0)
    with pytest.raises(ConfigError, match="Use at least 2"):
        folds(data, objects(data), 1, 0)


def test_leave_one_field_out() -> None:
    data = dataset(3, 1, 2)
    parts = leave_one_field_out(data)
    assert [(field, len(split.val)) for field, split in parts] == [("f0", 3), ("f1", 1), ("f2", 2)]
    for field, split in parts:
        assert fields(data, split.val) == {field}
        assert field not in fields(data, split.train)
    with pytest.raises(ConfigError, match="only one field"):
        leave_one_field_out(dataset(4))
