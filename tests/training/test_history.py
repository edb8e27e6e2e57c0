"""The history is read back as it was written, and a damaged one is said to be so."""

from __future__ import annotations

from pathlib import Path

import pytest

from beadseg.errors import RunError
from beadseg.training.history import read_history, write_rows


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "step": 10, "train_loss": 0.1}, {"epoch": 2, "step": 20, "train_loss": 1 / 3, "val_loss": 2.5}]
    write_rows(tmp_path / "history.csv", rows, ("epoch", "step", "train_loss", "val_loss"))
    assert read_history(tmp_path / "history.csv") == rows


@pytest.mark.parametrize("content", [b"epoch,step\none,2\n", b"epoch,step\n1,2,3\n", b"\xff\xfe\x00"])
def test_damage_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"history\.csv: The history cannot be read"):
        read_history(path)


def test_a_missing_history_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="No history"):
        read_history(tmp_path / "history.csv")
