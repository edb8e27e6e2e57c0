"""Unsaved strokes survive the end of their session, up to a torn last line; a stranger's file does nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from beadseg import files
from beadseg.annotation.edit import Patch
from beadseg.annotation.review.autosave import Strokes, abandoned, read_unsaved, unsaved_folder
from beadseg.errors import InputError, MachineError

SESSION = """
import os, sys, numpy as np
from pathlib import Path
from beadseg.annotation.edit import Patch
from beadseg.annotation.review.autosave import Strokes
labels = np.zeros((48, 64), np.uint32)
strokes = Strokes(Path(sys.argv[1]), "a", labels, "ada")
for n in range(1, 6):
    strokes.add(Patch((slice(n, n + 1), slice(0, 9)), np.full((1, 9), n, np.uint32)))
os.kill(os.getpid(), 9)
"""


def killed(root: Path) -> Path:
    subprocess.run([sys.executable, "-c", SESSION, str(root)], check=False)
    return abandoned(root, "ada")["a"][-1]


def test_killed_session_leaves_every_stroke(root: Path) -> None:
    path = killed(root)
    found = read_unsaved(path)
    assert (found.sample, found.by, found.strokes) == ("a", "ada", 5)
    assert found.labels[5, 8] == 5
    assert abandoned(root, "ben") == {}


def test_torn_line_loses_that_stroke_only(root: Path) -> None:
    path = killed(root)
    path.write_bytes(path.read_bytes()[:-9])
    assert read_unsaved(path).strokes == 4


def test_what_this_process_left_is_found_again_and_dropped_is_gone(root: Path) -> None:
    strokes = Strokes(root, "b", np.zeros((2, 48, 64), np.uint32), "ada")
    assert abandoned(root, "ada") == {"b": [strokes.path]}
    strokes.add(Patch((slice(1, 2), slice(0, 2), slice(0, 2)), np.ones((1, 2, 2), np.uint32)))
    assert read_unsaved(strokes.path).labels.sum() == 4
    strokes.drop()
    strokes.drop()
    assert not strokes.path.exists()
    assert abandoned(root, "ada") == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"shape": [48, -1]}, "no unsaved strokes"),
        ({"sample": 3}, "no unsaved strokes"),
        ({"shape": [47, 64]}, "no whole mask"),
    ],
)
def test_wrong_files_are_refused(root: Path, change: dict[str, object], message: str) -> None:
    path = killed(root)
    first, *rest = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps(json.loads(first) | change) + "\n" + "".join(rest))
    with pytest.raises(InputError, match=message):
        read_unsaved(path)


def test_what_is_no_file_of_strokes(root: Path) -> None:
    folder = unsaved_folder(root)
    folder.mkdir(parents=True)
    for number, content in enumerate((b"", b"\xff\x00", b"[]\n", b"{}\n", b'{"version": 1}\n')):
        (folder / f"x--{number}.jsonl").write_bytes(content)
    assert abandoned(folder, "ada") == {}
    with pytest.raises(InputError, match="Cannot be read"):
        read_unsaved(folder / "x--1.jsonl")


def test_folder_in_the_way(root: Path) -> None:
    (root / files.REVIEW).write_text("a file")
    with pytest.raises(MachineError, match="in the way"):
        Strokes(unsaved_folder(root), "a", np.zeros((4, 4), np.uint32), "ada")


def test_a_folder_that_cannot_be_listed_says_so(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be listed"):
        abandoned(tmp_path / ("x" * 300), "ada")
