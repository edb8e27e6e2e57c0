"""The README's Python runs as it stands, and what it says about the command line is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from beadseg.cli.app import COMMANDS, main
from beadseg.errors import ExitCode

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_runs(code: str) -> None:
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("line", re.findall(r"^beadseg-batch .*$", README, re.MULTILINE))
def test_options_are_known(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = line.split()[1]
    assert command in COMMANDS
    assert main([command, "--help"]) == ExitCode.OK
    known = capsys.readouterr().out
    for option in re.findall(r"--[a-z-]+", line):
        assert option in known


def test_exit_codes_are_all_there() -> None:
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)} == {int(code) for code in ExitCode}
