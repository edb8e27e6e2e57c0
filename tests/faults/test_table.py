"""The table of faults names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
ROW = re.compile(r"^\| \S+ \| .+ \| (\S+\.py)::(\w+) \|$", re.MULTILINE)


def test_every_test_of_the_table_exists() -> None:
    rows = ROW.findall((HERE / "README.md").read_text(encoding="utf-8"))
    lines = [line for line in (HERE / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert len(rows) == len(lines) - 1 > 60
    names: dict[str, set[str]] = {}
    for file, name in rows:
        if file not in names:
            tree = ast.parse((HERE.parent / file).read_text(encoding="utf-8"))
            names[file] = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        assert name in names[file], f"{file}::{name}"
