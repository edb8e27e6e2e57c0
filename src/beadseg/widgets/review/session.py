"""A person's way through the samples of a dataset: what is decided goes through the review's store. No Qt."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from beadseg.annotation.edit import tidied
from beadseg.annotation.review import Review
from beadseg.data.fingerprint import fingerprint
from beadseg.errors import ImageError, InputError
from beadseg.widgets.review.autosave import Autosave
from beadseg.widgets.review.page import Page, mark_of, read_page
from beadseg.widgets.review.queue import Filter, Item, items_of, sample_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import Literal

    from numpy.typing import NDArray

    from beadseg.annotation.audit import Audit
    from beadseg.annotation.edit.patch import Labels
    from beadseg.annotation.review import State, Step
    from beadseg.data.dataset import Dataset

SIZED = 20
"""So many samples tell how large a bead is, where no audit has measured it."""
USUAL_PX = 7.0
"""Bead diameter where nothing is annotated yet, px."""


class Session:
    """Decisions of one person about one dataset.

    Parameters
    ----------
    dataset : Dataset
        Opened with ``require_masks=False``.
    by : str
        Who decides.

    Raises
    ------
    InputError
        A newer version of beadseg wrote the review.
    """

    def __init__(self, dataset: Dataset, by: str) -> None:
        self.dataset, self.by = dataset, by
        self.review = Review.open(dataset)
        self.states = self.review.states()
        self.audit: Audit | None = None
        self.audit_folder: Path | None = None
        self.items: list[Item] = items_of(self.states, None)
        self.autosave = Autosave(self.review, by)
        self._size: tuple[float, Literal["dark", "bright"]] | None = None

    def use_audit(self, audit: Audit, folder: Path) -> None:
        """Put the samples with the worst findings first.

        Raises
        ------
        InputError
            The audit is about other samples: one of another dataset.
        """
        audited = {sample.sample.rsplit("/", 1)[0] for sample in audit.samples}
        strangers = sorted(audited - set(self.states))
        if audited and len(strangers) == len(audited):
            what = f"Is about other samples than this dataset ({strangers[0]} …), found in {audit.dataset}."
            raise InputError(what, folder, "Choose the audit of this dataset, or run it again.")
        known = tuple(finding for finding in audit.findings if sample_of(finding) in self.states)
        self.audit, self.audit_folder = audit.replace(findings=known), folder
        self._size = None
        self._arrange()

    def queue(self, wanted: Filter) -> list[Item]:
        """Return the samples that pass a filter, worst finding first."""
        return [item for item in self.items if item.passes(wanted)]

    def item(self, name: str) -> Item:
        """Return one sample of the queue."""
        return next(item for item in self.items if item.name == name)

    @property
    def counts(self) -> dict[State, int]:
        """How many samples are in each state."""
        found: dict[State, int] = {"pending": 0, "accepted": 0, "rejected": 0, "corrected": 0}
        for item in self.items:
            found[item.state] += 1
        return found

    def bead_size(self) -> tuple[float, Literal["dark", "bright"]]:
        """Return the diameter of a bead of this dataset, px, and what beads are against the background."""
        if self._size is None:
            self._size = self._measured_size()
        return self._size

    def read(self, name: str) -> Page:
        """Read a sample from the disk; may be called from any thread. Raises `ImageError`."""
        return read_page(self.states[name], self.dataset, self.audit, self.audit_folder)

    def accept(self, page: Page, why: str = "") -> tuple[Step, ...]:
        """Accept the mask as it is on the disk. Raises `BeadsegError`, also where the image was exchanged meanwhile."""
        self._check(page)
        steps = self.review.decide(page.name, "accepted", by=self.by, why=why, seen=page.review)
        self.autosave.set_aside(page.name)
        return self._done([page.name], steps)

    def reject(self, name: str, why: str = "") -> tuple[Step, ...]:
        """Reject a sample, also one whose image cannot be read."""
        steps = self.review.decide(name, "rejected", by=self.by, why=why, seen=self.states[name])
        self.autosave.set_aside(name)
        return self._done([name], steps)

    def correct(self, page: Page, labels: Labels, why: str = "") -> tuple[Step, ...]:
        """Use these labels from now on; pieces that were painted get ids of their own. Raises as `accept`."""
        self._check(page)
        size = labels.shape[-2:]
        planes = zip(page.labels.reshape(-1, *size), labels.reshape(-1, *size), strict=True)
        values = np.stack([tidied(before, after) for before, after in planes]).reshape(labels.shape)
        step = self.review.correct(page.name, values, by=self.by, why=why, kind="labels", seen=page.review)
        self.autosave.drop(page.name)
        return self._done([page.name], (step,))

    def ignore(self, page: Page, region: NDArray[np.bool_]) -> Page:
        """Mark a region as neither bead nor background; strokes in hand stay. Raises as `accept`.

        Returns
        -------
        Page
            The same page with the region in it.
        """
        self._check(page)
        self.review.ignore(page.name, region, by=self.by)
        self.states[page.name] = self.review.state(page.name)
        self._arrange()
        return replace(page, ignored=region if page.ignored is None else region | page.ignored)

    def undo(self) -> tuple[Step, ...]:
        """Take back what this person decided last, also before the program was started. Raises `InputError`."""
        steps = self.review.undo(by=self.by)
        for step in steps:
            self.autosave.bring_back(step.sample)
        return self._done([step.sample for step in steps], steps)

    def redo(self) -> tuple[Step, ...]:
        """Put in force again what the last undo took back. Raises `InputError`."""
        steps = self.review.redo(by=self.by)
        for step in steps:
            if self.review.state(step.sample).state != "pending":
                self.autosave.set_aside(step.sample)
        return self._done([step.sample for step in steps], steps)

    def refresh(self) -> bool:
        """Take over what others decided meanwhile; return whether there was anything."""
        if not self.review.refresh():
            return False
        self.states = self.review.states()
        self._arrange()
        return True

    def _done(self, names: Sequence[str], steps: tuple[Step, ...]) -> tuple[Step, ...]:
        for name in names:
            self.states[name] = self.review.state(name)
        self._arrange()
        return steps

    def _arrange(self) -> None:
        self.items = items_of(self.states, self.audit)

    def _check(self, page: Page) -> None:
        """Refuse to decide on what is not what was looked at: another image under the same name."""
        path = page.review.sample.image_path
        if mark_of(path) != page.mark:
            what = "The image on the disk is not the one that is shown: it was exchanged meanwhile."
            raise ImageError(what, path, "Nothing was decided; open the dataset again.")

    def _measured_size(self) -> tuple[float, Literal["dark", "bright"]]:
        if self.audit is not None and self.audit.baseline is not None:
            return self.audit.baseline.bead_diameter_px, self.audit.baseline.polarity
        marked = [state.sample for state in self.states.values() if state.sample.mask_path is not None]
        step = max(1, len(marked) // SIZED)
        chosen = self.dataset.subset(sample.name for sample in marked[::step][:SIZED])
        try:
            found = fingerprint(chosen)
        except InputError:
            return USUAL_PX, "dark"
        return found.bead_diameter_px, found.polarity
