"""The audit on disk: its files, its schema, resuming, and inputs that are hostile or broken."""

from __future__ import annotations

import csv
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from audit_helpers import Folder, scene

from beadseg import files
from beadseg.annotation.audit import Audit, audit
from beadseg.annotation.audit.document import MEANING
from beadseg.annotation.audit.measurement import decode_points, encode_points
from beadseg.annotation.audit.run import Store
from beadseg.data.dataset import Dataset
from beadseg.data.masks import label_objects
from beadseg.errors import Cancelled, InputError
from beadseg.events import Event, StopFlag

FIRST = "field0_grid_r0_c0"
HOSTILE = "=cmd|' calc'!A0 <script>alert(1)< & ü"


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / files.AUDIT_TABLE).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_code_is_in_the_guide() -> None:
    page = (Path(__file__).parents[3] / "docs" / "audit.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    assert sorted(code for row in rows for code in row.replace("`", "").replace(" ", "").split(",")) == sorted(MEANING)


def test_written_audit_reads_back(folder: Folder, tmp_path: Path) -> None:
    folder.masks[FIRST] = np.roll(folder.masks[FIRST], 4, 0)
    out = tmp_path / "out"
    result = folder.audit(out=out)
    assert Audit.read(out) == result
    assert [(row["sample"], row["code"]) for row in rows(out)] == [(f.sample, f.code) for f in result.findings]
    assert result.flagged == (FIRST,)


def test_newer_audit_is_refused(tmp_path: Path) -> None:
    (tmp_path / files.AUDIT).write_text('{"schema_version": 99}')
    with pytest.raises(InputError, match="99"):
        Audit.read(tmp_path)
    with pytest.raises(InputError, match="no audit"):
        Audit.read(tmp_path / "nothing")


def test_nothing_is_written_without_a_folder(folder: Folder) -> None:
    folder.write()
    before = sorted(folder.root.rglob("*"))
    folder.audit()
    assert sorted(folder.root.rglob("*")) == before


def test_formulas_are_defused_in_the_table(folder: Folder, tmp_path: Path) -> None:
    folder.images[HOSTILE] = folder.images.pop(FIRST)
    folder.masks[HOSTILE] = np.roll(folder.masks.pop(FIRST), 4, 0)
    folder.audit(out=tmp_path / "out")
    found = [row["sample"] for row in rows(tmp_path / "out")]
    assert found
    assert all(name.startswith("'=cmd") for name in found)


def test_stopped_audit_continues(folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beadseg.annotation.audit.run.BATCH", 2)
    dataset, out, stop = folder.write(), tmp_path / "out", StopFlag()

    def stop_at_two(event: Event) -> None:
        if event.data.get("task") == "audit" and event.data["done"] == 2:
            stop.set()

    with pytest.raises(Cancelled):
        audit(dataset, out, on_event=stop_at_two, stop=stop)
    kept = sum(len(json.loads(path.read_text())) for path in (out / files.MEASUREMENTS).glob("*.json"))
    assert kept == 2
    assert not (out / files.AUDIT).exists()
    first = {path.name for path in (out / files.MEASUREMENTS).iterdir()}
    result = audit(dataset, out)
    assert result == audit(dataset)
    new = [path for path in (out / files.MEASUREMENTS).iterdir() if path.name not in first]
    assert sum(len(json.loads(path.read_text())) for path in new) == len(dataset) - 2


def test_only_changed_files_are_measured_again(folder: Folder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder.audit(out=out)
    before = set((out / files.MEASUREMENTS).iterdir())
    folder.masks[FIRST] = np.roll(folder.masks[FIRST], 4, 0)
    assert folder.audit(out=out).flagged == (FIRST,)
    new = set((out / files.MEASUREMENTS).iterdir()) - before
    assert [len(json.loads(path.read_text())) for path in new] == [1]


def test_damaged_store_is_measured_again(folder: Folder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    expected = folder.audit(out=out)
    for path in (out / files.MEASUREMENTS).iterdir():
        path.write_text(path.read_text()[:200])
    assert Store(out / files.MEASUREMENTS)._known == {}
    assert folder.audit(out=out) == expected


def test_threads_give_the_same_audit(folder: Folder) -> None:
    before = threading.active_count()
    assert folder.audit(workers=3) == folder.audit()
    assert threading.active_count() <= before


@pytest.mark.slow
def test_processes_give_the_same_audit(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = folder.audit()
    monkeypatch.setattr("beadseg.annotation.audit.run.PROCESSES_FROM", 1)
    assert folder.audit(workers=2) == expected


def test_unreadable_files_are_failures_and_the_rest_is_audited(folder: Folder) -> None:
    folder.masks[FIRST] = np.roll(folder.masks[FIRST], 4, 0)
    dataset = folder.write()
    broken = dataset.root / "images" / "field1_grid_r0_c0.png"
    broken.write_bytes(broken.read_bytes()[:500])
    (dataset.root / "masks" / "field1_grid_r0_c1.png").write_bytes(b"")
    result = audit(Dataset.open(dataset.root))
    assert set(result.failures) == {"field1_grid_r0_c0", "field1_grid_r0_c1"}
    assert {f.code for name in result.failures for f in result.of(name)} == {"unreadable"}
    assert [f.code for f in result.of(FIRST)] == ["shift"]


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((1, 1), np.uint8),
        np.zeros((64, 64), np.uint8),
        np.full((3, 200), 255, np.uint8),
        np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8),
    ],
    ids=["one pixel", "black", "thin and white", "noise"],
)
@pytest.mark.parametrize("marked", [0, 255])
def test_odd_images_do_not_stop_the_audit(folder: Folder, image: np.ndarray, marked: int) -> None:
    folder.images[FIRST], folder.masks[FIRST] = image, np.full(image.shape[:2], marked, np.uint8)
    result = folder.audit()
    assert result.failures == {}
    assert set(result.flagged) <= {FIRST}


def test_16_bit_grey_stack(folder: Folder, tmp_path: Path) -> None:
    dataset = folder.write()
    planes = np.stack([scene(i, channels="grey", bit_depth=16).image for i in (20, 21)])
    masks = np.stack([np.where(scene(i).labels > 0, 255, 0) for i in (20, 21)]).astype(np.uint8)
    masks[1] = np.roll(masks[1], 5, 0)
    for kind, array in (("images", planes), ("masks", masks)):
        tifffile.imwrite(dataset.root / kind / "stack.tif", array, metadata={"axes": "ZYX"}, imagej=True)
    result = audit(Dataset.open(dataset.root))
    shifted = [f.sample for f in result.findings if f.code == "shift"]
    assert shifted == ["stack/z001"]


def test_no_visible_bead_is_an_input_error(folder: Folder) -> None:
    for name, mask in folder.masks.items():
        folder.masks[name] = np.zeros_like(mask)
    with pytest.raises(InputError, match="--diameter"):
        folder.audit()


def test_points_survive_storage() -> None:
    points = np.random.default_rng(0).uniform(0, 511, (200, 2))
    assert np.abs(decode_points(encode_points(points)) - points).max() <= 1 / 32
    large = points * 40
    assert np.abs(decode_points(encode_points(large)) - large).max() <= 1 / 2
    assert len(decode_points(encode_points(np.empty((0, 2))))) == 0


def test_networks_that_contradict_come_first(folder: Folder, tmp_path: Path) -> None:
    folder.masks[FIRST] = np.roll(folder.masks[FIRST], 3, 0)
    second = "field0_grid_r0_c1"
    folder.masks[second] = np.roll(folder.masks[second], 3, 0)
    predictions = tmp_path / "crossval" / files.PREDICTIONS / files.LABELS
    predictions.mkdir(parents=True)
    for name, mask in folder.masks.items():
        predicted = np.roll(mask, 5, 0) if name == second else mask
        tifffile.imwrite(predictions / f"{name}.tif", label_objects(predicted))
    plain, told = folder.audit(), folder.audit(crossval=tmp_path / "crossval")
    assert {f.badness for f in plain.of(FIRST)} != {f.badness for f in told.of(second)}
    assert told.findings[0].sample == second
    assert [f.code for f in told.of(second)] == ["shift", "contradicted"]
    assert [f.code for f in told.of(FIRST)] == ["shift"]
    with pytest.raises(InputError, match="out-of-fold"):
        folder.audit(crossval=tmp_path)
