"""What a person changes of the beads that were counted in one plane: undone, redone, on the disk after every step.

The automatic result stays as it is beside it. Every change, an undo too, is a line of a journal
(`beadseg.annotation.review.autosave`) before it is shown, so that a viewer that is killed loses nothing.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from threading import RLock, Thread
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg.annotation.edit import Patch, difference
from beadseg.annotation.review.autosave import Strokes, Unsaved, abandoned, read_unsaved
from beadseg.annotation.review.steps import now
from beadseg.errors import InputError, MachineError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.annotation.edit import Labels


@dataclass(frozen=True, eq=False)
class Change:
    """A change of one or more beads, and what undoes it.

    Attributes
    ----------
    after, before : Patch
        Of the same window.
    beads : int
        How many more beads there are after it.
    """

    after: Patch
    before: Patch
    beads: int


class Correction:
    """The labels of one plane as a person corrects them.

    Parameters
    ----------
    labels : (Y, X) uint32
        What was found automatically; it stays as it is.
    folder : pathlib.Path
        Where unsaved changes are kept.
    key : str
        What the plane is known by there; see `key_of`.
    by : str
        Who corrects.
    """

    def __init__(self, labels: Labels, folder: Path, key: str, by: str) -> None:
        self.automatic, self.by = labels, by
        self.labels = labels.copy()
        self.count = self.automatic_count = len(ids_of(labels))
        self.when = ""
        self._folder, self._key = folder, key
        self._done: list[Change] = []
        self._undone: list[Change] = []
        self._changed: bool | None = False
        self._files = abandoned(folder, by).get(key, [])
        self._journal = _Journal(folder, key, by)
        self._lock = RLock()

    @property
    def changed(self) -> bool:
        """Whether the labels are others than those that were found automatically."""
        if self._changed is None:
            self._changed = bool(self._done) and bool((self.labels != self.automatic).any())
        return self._changed

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._done)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to make again."""
        return bool(self._undone)

    @property
    def steps(self) -> int:
        """How many changes hold."""
        return len(self._done)

    def prepare(self) -> None:
        """Begin the journal in a thread: it starts with the whole mask, which takes a moment for a large image."""
        self._journal.begin(self.labels)

    def recover(self) -> Unsaved | None:
        """Take over what an earlier session left, as one change; None where it left nothing, or of another size."""
        for path in reversed(self._files):
            with suppress(InputError):
                found = read_unsaved(path)
                patch = difference(self.labels, found.labels) if found.labels.shape == self.labels.shape else None
                if found.strokes and patch is not None:
                    self._take(_change(self.labels, patch))
                    self.when = found.when
                    return found
        return None

    def apply(self, patch: Patch) -> None:
        """Change the labels; when this returns it is on the disk.

        Raises
        ------
        MachineError
            The disk is full, or the folder not writable; nothing was changed.
        """
        with self._lock:
            change = _change(self.labels, patch)
            self._journal.add(self.labels, change.after)
            self._take(change)
            self._undone = []

    def undo(self) -> bool:
        """Take back the last change; return whether there was one. Raises as `apply`."""
        if not self._done:
            return False
        with self._lock:
            change = self._done[-1]
            self._journal.add(self.labels, change.before)
            change.before.apply(self.labels)
            self.count -= change.beads
            self._undone.append(self._done.pop())
            self.when, self._changed = now(), None
        return True

    def redo(self) -> bool:
        """Make again what was undone last; return whether there was anything. Raises as `apply`."""
        if not self._undone:
            return False
        with self._lock:
            self._journal.add(self.labels, self._undone[-1].after)
            self._take(self._undone.pop())
        return True

    def discard(self) -> None:
        """Go back to what was found automatically, as one change that can be undone. Raises as `apply`."""
        patch = difference(self.labels, self.automatic)
        if patch is not None:
            self.apply(patch)

    def forget_saved(self, when: str) -> None:
        """Forget the journal: what held at the time `when` is saved elsewhere; nothing where it was changed since."""
        with self._lock:
            if when != self.when:
                return
            self._journal.drop()
            for path in self._files:
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            self._files = []

    def close(self) -> None:
        """End; a journal with changes stays, to be offered again."""
        if not self.changed:
            self.forget_saved(self.when)
        self._journal.close()

    def _take(self, change: Change) -> None:
        change.after.apply(self.labels)
        self.count += change.beads
        self._done.append(change)
        self.when, self._changed = now(), None


class _Journal:
    """The file of the changes of this session, begun in a thread."""

    def __init__(self, folder: Path, key: str, by: str) -> None:
        self._folder, self._key, self._by = folder, key, by
        self._strokes: Strokes | None = None
        self._error: MachineError | None = None
        self._thread: Thread | None = None

    def begin(self, labels: Labels) -> None:
        """Write the whole mask, unless that was done."""
        if self._strokes is None and self._thread is None:
            self._thread = Thread(target=self._write, args=(labels.copy(),), name="beadseg journal")
            self._thread.start()

    def add(self, labels: Labels, patch: Patch) -> None:
        """Add a change to labels; raises `MachineError`, after which the next call tries again with all of it."""
        self.begin(labels)
        self.close()
        error, self._error = self._error, None
        if self._strokes is None:
            raise error or MachineError("Cannot be written.", self._folder)
        try:
            self._strokes.add(patch)
        except MachineError:
            self._strokes = None  # perhaps half a line is there: the next change begins a new file
            raise

    def drop(self) -> None:
        """Delete the file."""
        self.close()
        if self._strokes is not None:
            with suppress(OSError):
                self._strokes.drop()
            self._strokes = None

    def close(self) -> None:
        """Wait until the mask is written."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _write(self, labels: Labels) -> None:
        try:
            self._strokes = Strokes(self._folder, self._key, labels, self._by)
        except MachineError as error:
            self._error = error


def _change(labels: Labels, patch: Patch) -> Change:
    before = Patch(patch.window, labels[patch.window].copy())
    more = len(ids_of(patch.values)) - len(ids_of(before.values))
    return Change(patch, before, more)


def ids_of(labels: Labels) -> NDArray[np.int64]:
    """Return the ids of beads in labels, ascending."""
    largest = int(labels.max(initial=0))
    if largest <= 4 * labels.size:  # a count needs no sorting of millions of pixels
        found = np.flatnonzero(np.bincount(labels.reshape(-1), minlength=1))
    else:
        found = np.unique(labels).astype(np.int64)
    return found[found > 0]


def count_of(labels: Labels) -> int:
    """Return the beads of labels (Y, X); of a stack, of all planes."""
    return sum(len(ids_of(plane)) for plane in labels.reshape(-1, *labels.shape[-2:]))


def without_gaps(labels: Labels) -> tuple[Labels, NDArray[np.int64]]:
    """Return labels with ids from 1 without gaps, in the order of the ids, and the ids that they had."""
    ids = ids_of(labels)
    number = np.zeros(int(labels.max(initial=0)) + 1, np.uint32)
    number[ids] = np.arange(1, len(ids) + 1, dtype=np.uint32)
    return number[labels], ids


def key_of(name: str, planes: Iterable[NDArray[Any]], plane: str = "") -> str:
    """Return what a plane of an image is known by, wherever the image lies: its name, and its pixels' digest."""
    digest = hashlib.sha256()
    for pixels in planes:
        digest.update(str((pixels.dtype.str, pixels.shape)).encode())
        digest.update(np.ascontiguousarray(pixels).data)
    return f"{name}{f'_{plane}' if plane else ''}-{digest.hexdigest()[:16]}"
