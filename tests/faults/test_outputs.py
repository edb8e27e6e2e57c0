"""What is written: no formula in a table, nothing good replaced by less, nothing scored against itself."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from fault_helpers import Cli

from beadseg import files
from beadseg.data.fields import read_table
from beadseg.predict.tables import earlier_tables

FORMULAS = ["=1+2", "+3", "-4x", "@sum"]


@pytest.fixture(scope="session")
def predicted(run_folder: Path, beads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions of all images of the dataset `beads`; not to be changed."""
    from beadseg.predict import Segmenter, find_images, predict_folder

    out = tmp_path_factory.mktemp("faults") / "predicted"
    segmenter = Segmenter.load(run_folder, device="cpu")
    predict_folder(segmenter, find_images([beads / "images"]), out, source=str(run_folder))
    return out


@pytest.fixture
def predictions(predicted: Path, tmp_path: Path) -> Path:
    """A copy of the predictions, to be spoiled."""
    return Path(shutil.copytree(predicted, tmp_path / "predictions"))


def cells(folder: Path) -> set[str]:
    """Return every cell of every CSV below a folder."""
    found: set[str] = set()
    for path in folder.rglob("*.csv"):
        with path.open(encoding="utf-8-sig", newline="") as file:
            found |= {cell for row in csv.reader(file) for cell in row}
    return found


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_no_table_holds_a_formula(cli: Cli, run_folder: Path, dataset: Path, tmp_path: Path):
    for folder in ("images", "labels"):
        paths = sorted((dataset / folder).iterdir())
        for name, path in zip(FORMULAS, paths, strict=False):
            path.rename(path.with_name(name + path.suffix))
    (dataset / "images" / "=broken.png").write_bytes(b"none")
    shutil.copy(dataset / "labels" / "=1+2.tif", dataset / "labels" / "=broken.tif")
    out = tmp_path / "out"
    assert cli("predict", run_folder, dataset / "images", "--out", out / "p").code == 3
    assert cli("evaluate", out / "p", dataset, "--fields", "own").code == 3
    assert cli("density", out / "p", "--group-by", r"^(.*)$").code == 0
    assert cli("analyze", dataset, "--out", out / "a").code == 3
    assert cli("audit", dataset, "--out", out / "audit").code == 3
    assert cli("export", "labels", dataset, "--format", "fiji-roi", "--out", out / "e").code in (0, 3)
    assert [cell for cell in cells(out) if cell.startswith(("=", "+", "-", "@")) and not is_number(cell)] == []
    # What was written is read back under the names that were given.
    tables = earlier_tables(out / "p", {})
    assert set(FORMULAS) < set(tables.counts["image"])
    assert set(FORMULAS) < set(read_table(out / "p" / files.COUNTS, ("image", "beads"))["image"])
    assert cli("report", out / "p").code == 0
    assert FORMULAS[0] in (out / "p" / files.REPORT_PAGE).read_text(encoding="utf-8")
    assert "'=1+2" not in (out / "p" / files.REPORT_PAGE).read_text(encoding="utf-8")
