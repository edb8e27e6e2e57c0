"""Every stroke on the disk; strokes that were left, in this session or by one that did not end well, offered again."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from beadseg.annotation.edit import difference
from beadseg.annotation.review.fold import in_force
from beadseg.annotation.review.strokes import Strokes, Unsaved, abandoned, read_unsaved
from beadseg.errors import InputError, MachineError

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.annotation.edit.patch import Labels
    from beadseg.annotation.review import Review


class Autosave:
    """Keeps the strokes on the sample in hand.

    Parameters
    ----------
    review : Review
        Of the dataset.
    by : str
        Who paints.
    """

    def __init__(self, review: Review, by: str) -> None:
        self._root, self._by = review.root, by
        self._sample = ""
        self._on_disk: Labels | None = None
        self._file: Strokes | None = None
        self._files, self._aside = _left_behind(review, by)

    @property
    def left(self) -> tuple[str, ...]:
        """Names of samples with strokes that nobody decided on."""
        return tuple(self._files)

    def begin(self, sample: str, labels: Labels) -> Unsaved | None:
        """Watch a sample whose mask is `labels`; return the strokes that were painted on it before, if they fit."""
        found = self._found(sample, labels)
        self._sample, self._file = sample, None
        self._on_disk = labels.copy() if found is None else found.labels.copy()
        return found

    def save(self, labels: Labels) -> bool:
        """Write what changed since the last time; return whether anything did.

        Raises
        ------
        MachineError
            The disk is full, or the folder not writable; the next call tries again with all of it.
        """
        if self._on_disk is None:
            return False
        patch = difference(self._on_disk, labels)
        if patch is None:
            return False
        try:
            if self._file is None:
                self._file = Strokes(self._root, self._sample, self._on_disk, self._by)
                self._files.setdefault(self._sample, []).append(self._file.path)
            self._file.add(patch)
        except MachineError:
            self._file = None  # perhaps half a line is there: the next stroke begins a new file
            raise
        patch.apply(self._on_disk)
        return True

    def drop(self, sample: str) -> None:
        """Forget the strokes on a sample: they are decided on, or not wanted."""
        if sample == self._sample:
            self._file = None
        for path in (*self._files.pop(sample, ()), *self._aside.pop(sample, ())):
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def set_aside(self, sample: str) -> None:
        """Leave the strokes on a sample that was decided on without them; `bring_back` offers them again."""
        if sample == self._sample:
            self._file = None
        paths = self._files.pop(sample, [])
        if paths:
            self._aside.setdefault(sample, []).extend(paths)

    def bring_back(self, sample: str) -> None:
        """Offer the strokes again that a decision had left out: it was taken back."""
        paths = self._aside.pop(sample, [])
        if paths:
            self._files[sample] = [*paths, *self._files.get(sample, ())]

    def _found(self, sample: str, labels: Labels) -> Unsaved | None:
        for path in reversed(self._files.get(sample, ())):
            with suppress(InputError):
                found = read_unsaved(path)
                if found.labels.shape == labels.shape and (found.labels != labels).any():
                    return found
        return None


def _left_behind(review: Review, by: str) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """Return the files of sessions that ended: those of samples to decide on, and those that a decision left out.

    What was marked as ignored is not a decision, and a decision that was taken back does not hold.
    """
    offered: dict[str, list[Path]] = {}
    aside: dict[str, list[Path]] = {}
    for sample, paths in abandoned(review.root, by).items():
        with suppress(InputError):
            unsaved = read_unsaved(paths[-1])
            decided = [step for step in in_force(review.history(sample)) if step.state and step.time > unsaved.when]
            if unsaved.strokes:
                (aside if decided else offered)[sample] = paths
    return offered, aside
