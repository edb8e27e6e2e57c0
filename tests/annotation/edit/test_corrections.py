"""Corrections of a count: undone, redone, on the disk after every step, offered again after a kill."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from beadseg.annotation.corrections import Correction, key_of, without_gaps
from beadseg.annotation.edit import Bead, added, merged, removed, separated
from beadseg.errors import MachineError

CORRECTING = """
import sys, numpy as np
from pathlib import Path
from beadseg.annotation.corrections import Correction
from beadseg.annotation.edit import Bead, added
labels = np.zeros((200, 300), np.uint32)
correction = Correction(labels, Path(sys.argv[1]), "a-1", "ada")
correction.prepare()
n = 0
while True:
    n += 1
    patch = added(correction.labels, Bead(5.0 + 9 * (n // 30 % 20), 5.0 + 9 * (n % 30), 3.0))
    if patch is None or n % 7 == 0:
        correction.undo()
    else:
        correction.apply(patch)
    print(correction.count, flush=True)
"""


def beads() -> np.ndarray:
    """Two beads that touch, and one alone."""
    labels = np.zeros((40, 60), np.uint32)
    y, x = np.mgrid[:40, :60]
    for number, (row, column) in enumerate(((20, 12), (20, 20), (20, 45)), start=1):
        labels[(np.hypot(y - row, x - column) <= 4) & (labels == 0)] = number
    return labels


def test_count_follows_every_step_and_the_automatic_result_stays(tmp_path: Path) -> None:
    automatic = beads()
    correction = Correction(automatic, tmp_path, "a-1", "ada")
    assert (correction.count, correction.changed) == (3, False)
    steps = (
        lambda labels: added(labels, Bead(8.0, 30.0, 4.0)),
        lambda labels: removed(labels, 20, 45),
        lambda labels: merged(labels, (20, 12), (20, 20)),
        lambda labels: separated(labels, (12, 16), (28, 16)),
    )
    for step, count in zip(steps, (4, 3, 2, 3), strict=True):
        patch = step(correction.labels)
        assert patch is not None
        correction.apply(patch)
        assert correction.count == count == len(np.unique(correction.labels)) - 1
    assert correction.changed
    assert (correction.automatic == beads()).all()
    for count in (2, 3, 4, 3):
        assert correction.undo()
        assert correction.count == count
    assert not correction.undo()
    assert not correction.changed
    assert (correction.labels == automatic).all()
    assert correction.redo()
    assert correction.count == 4
    correction.discard()
    assert (correction.count, correction.changed) == (3, False)
    assert correction.undo()
    assert correction.count == 4
    correction.close()


def test_beads_that_lie_apart_are_not_merged() -> None:
    labels = beads()
    assert merged(labels, (20, 20), (20, 45)) is None
    assert merged(labels, (20, 12), (20, 13)) is None
    assert merged(labels, (20, 12), (2, 2)) is None
    labels[:, 16] = 0  # a gap of one pixel is closed
    near = merged(labels, (20, 12), (20, 20))
    assert near is not None
    near.apply(labels)
    assert set(np.unique(labels)) == {0, 1, 3}
    assert labels[20, 16] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("steps", [1, 4, 23])
def test_killed_at_any_moment_nothing_is_lost(tmp_path: Path, steps: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CORRECTING, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    counts = [int(process.stdout.readline()) for _ in range(steps)]
    process.send_signal(signal.SIGKILL)
    rest = process.communicate()[0].splitlines()
    counts += [int(line) for line in rest if line]
    correction = Correction(np.zeros((200, 300), np.uint32), tmp_path, "a-1", "ada")
    found = correction.recover()
    assert found is not None
    assert found.by == "ada"
    assert abs(correction.count - counts[-1]) <= 1  # one more step may be on the disk, which was not said any more
    assert found.strokes >= len(counts)
    assert correction.changed
    assert correction.undo()
    assert correction.count == 0
    correction.close()


def test_saved_is_not_offered_again_but_what_came_later_is(tmp_path: Path) -> None:
    correction = Correction(beads(), tmp_path, "a-1", "ada")
    one, two = (added(beads(), Bead(8.0, x, 3.0)) for x in (30.0, 50.0))
    assert one is not None
    assert two is not None
    correction.apply(one)
    saved = correction.when
    correction.forget_saved("another time")
    correction.forget_saved(saved)
    assert not list(tmp_path.iterdir())
    correction.apply(two)
    correction.forget_saved(saved)  # what is being saved does not hold the last one
    correction.close()
    again = Correction(beads(), tmp_path, "a-1", "ada")
    assert again.recover() is not None
    assert again.count == 4
    again.undo()
    again.close()
    assert not list(tmp_path.iterdir())
    assert Correction(beads(), tmp_path, "a-1", "ben").recover() is None


def test_what_cannot_be_kept_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    correction = Correction(beads(), tmp_path / "file", "a-1", "ada")
    patch = removed(correction.labels, 20, 45)
    assert patch is not None
    with pytest.raises(MachineError):
        correction.apply(patch)
    assert correction.count == 3
    assert (correction.labels == beads()).all()


def test_names_and_gaps() -> None:
    labels = np.array([[0, 7, 7], [3, 0, 900]], np.uint32)
    whole, ids = without_gaps(labels)
    assert ids.tolist() == [3, 7, 900]
    assert whole.tolist() == [[0, 2, 2], [1, 0, 3]]
    one, other = (key_of("a", [np.full((1, 4, 4), value, np.uint8)]) for value in (1, 2))
    assert one != other
    assert one == key_of("a", [np.full((1, 4, 4), 1, np.uint8)])
    assert key_of("a", [np.zeros((1, 2, 8), np.uint8)]) != key_of("a", [np.zeros((1, 4, 4), np.uint8)])
