from __future__ import annotations

import json
from pathlib import Path

import pytest

from beadseg.cli.app import main
from beadseg.errors import ExitCode


def test_presets_as_a_table_in_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "mitochondria", "microbeads"]) == ExitCode.OK
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if "Dropout" in line)
    assert [cell.strip() for cell in line.split("|")[1:-1]] == ["Dropout", "0", "0.3", "differs"]
    assert "┌" not in printed


def test_files_are_written_without_a_figure_where_nothing_was_measured(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["compare", "mitochondria", "microbeads", "--out", str(out)]) == ExitCode.OK
    assert {path.name for path in out.iterdir()} == {"comparison.md", "comparison.csv"}


def test_a_wrong_name_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "nowhere")]) == ExitCode.INPUT
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert "Neither a run folder nor a preset" in err


def test_one_wrong_name_of_several_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path / "nowhere"), "dense", "--json"]) == ExitCode.SOME_FAILED
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert "nowhere" in next(event["message"] for event in events if event["kind"] == "failure")
    assert [column["name"] for column in events[-1]["data"]["columns"]] == ["preset dense"]
