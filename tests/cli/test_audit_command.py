"""`beadseg-batch audit`: files, page, proposals, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from beadseg import files
from beadseg.annotation.review import Review
from beadseg.cli.app import main
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import ExitCode

SHIFTED = "<script>alert('x')< & a"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Five tiles, of which one, with a hostile name, has a shifted mask."""
    root = tmp_path / "beads & <b>"
    for kind in (files.IMAGES, files.MASKS):
        (root / kind).mkdir(parents=True)
    for index, name in enumerate((SHIFTED, "b", "c", "d", "e")):
        scene = simulate(SceneConfig(height=160, width=160, beads=50, poisson=False, debris=0), index)
        mask = np.where(scene.labels > 0, 255, 0).astype(np.uint8)
        iio.imwrite(root / files.IMAGES / f"{name}.png", scene.image)
        iio.imwrite(root / files.MASKS / f"{name}.png", np.roll(mask, 4, 0) if name == SHIFTED else mask)
    return root


def run(dataset: Path, out: Path, *options: str) -> int:
    return main(["audit", str(dataset), "--out", str(out), "--threads", "1", "--quiet", *options])


def test_writes_everything(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(dataset, out, "--propose") == ExitCode.OK
    assert "4.0 px below" in capsys.readouterr().out.replace("3.9", "4.0").replace("4.1", "4.0")
    page = (out / files.AUDIT_PAGE).read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert page.count("data:image/jpeg") == 1
    assert (out / files.PROPOSALS / f"{SHIFTED}.png").is_file()
    assert (out / files.AUDIT_TABLE).read_text(encoding="utf-8").count("\n") == 2
    assert not Review.exists(dataset)


def test_apply_accepts_in_the_review(dataset: Path, tmp_path: Path) -> None:
    assert run(dataset, tmp_path / "out", "--apply", "shift", "--by", "Ada") == ExitCode.OK
    assert Review.open(dataset).state(SHIFTED).state == "corrected"


def test_wrong_code_starts_nothing(dataset: Path, tmp_path: Path) -> None:
    assert run(dataset, tmp_path / "out", "--apply", "partial") == ExitCode.INPUT
    assert not (tmp_path / "out").exists()


def test_unreadable_sample_is_exit_code_3(dataset: Path, tmp_path: Path) -> None:
    (dataset / files.IMAGES / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    out = tmp_path / "out"
    assert run(dataset, out) == ExitCode.SOME_FAILED
    assert list(json.loads((out / files.AUDIT).read_text(encoding="utf-8"))["failures"]) == ["b"]
    assert "could not be read" in (out / files.AUDIT_PAGE).read_text(encoding="utf-8")


def test_clean_data_set_has_an_empty_table(dataset: Path, tmp_path: Path) -> None:
    for kind in (files.IMAGES, files.MASKS):
        (dataset / kind / f"{SHIFTED}.png").unlink()
    out = tmp_path / "out"
    assert run(dataset, out) == ExitCode.OK
    assert "Nothing wrong was found" in (out / files.AUDIT_PAGE).read_text(encoding="utf-8")
