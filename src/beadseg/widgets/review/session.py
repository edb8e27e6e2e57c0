"""A person's way through the samples of a dataset: in which order, what is decided, and how far it is. No Qt.

What is decided goes through the review's store; every stroke before that is saved on the disk.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from beadseg.annotation.edit import bead_size_at, difference, tidied
from beadseg.annotation.review import Review
from beadseg.annotation.review.autosave import (
    Strokes,
    Unsaved,
    abandoned,
    read_unsaved,
    save_comment,
    saved_comment,
    unsaved_folder,
)
from beadseg.annotation.review.steps import in_force
from beadseg.annotation.suggest import suggested
from beadseg.data.fingerprint import fingerprint
from beadseg.errors import BeadsegError, ImageError, InputError, MachineError
from beadseg.widgets.review.sample import ReviewSample, mark_of, planes_with_centres, read_sample

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Literal

    from numpy.typing import NDArray

    from beadseg.annotation.audit import Audit, Finding
    from beadseg.annotation.edit import Labels
    from beadseg.annotation.review import SampleReview, State, Step
    from beadseg.data.dataset import Dataset

SIZED = 20
"""So many samples tell how large a bead is, where no audit has measured it."""
USUAL_PX = 7.0
"""Bead diameter where nothing is annotated yet, px."""

ANY = ""
"""Filter by state or finding: all of them."""
NO_FINDING = "no finding"
"""Filter by finding: samples of which the audit has nothing to say."""


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
        self.ranks = suggested(dataset.root)
        """In which order drafts come, by what the model was least sure of."""
        self.items: list[Item] = items_of(self.states, None, self.ranks)
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

    def read(self, name: str) -> ReviewSample:
        """Read a sample from the disk; may be called from any thread. Raises `ImageError`."""
        return read_sample(self.states[name], self.dataset, self.audit, self.audit_folder, self.bead_size())

    def accept(self, sample: ReviewSample, why: str = "") -> tuple[Step, ...]:
        """Accept the mask as it is on the disk. Raises `BeadsegError`, also where the image was exchanged meanwhile."""
        self._check(sample)
        steps = self.review.decide(sample.name, "accepted", by=self.by, why=why, seen=sample.review)
        self.autosave.set_aside(sample.name)
        return self._done([sample.name], steps)

    def reject(self, name: str, why: str = "") -> tuple[Step, ...]:
        """Reject a sample, also one whose image cannot be read."""
        steps = self.review.decide(name, "rejected", by=self.by, why=why, seen=self.states[name])
        self.autosave.set_aside(name)
        return self._done([name], steps)

    def correct(self, sample: ReviewSample, labels: Labels, why: str = "") -> tuple[Step, ...]:
        """Use these labels from now on; pieces that were painted get ids of their own. Raises as `accept`."""
        self._check(sample)
        size = labels.shape[-2:]
        planes = zip(sample.labels.reshape(-1, *size), labels.reshape(-1, *size), strict=True)
        values = np.stack([tidied(before, after) for before, after in planes]).reshape(labels.shape)
        step = self.review.correct(sample.name, values, by=self.by, why=why, kind="labels", seen=sample.review)
        self.autosave.drop(sample.name)
        return self._done([sample.name], (step,))

    def ignore(self, sample: ReviewSample, region: NDArray[np.bool_]) -> ReviewSample:
        """Mark a region as neither bead nor background; unsaved strokes stay. Raises as `accept`.

        Returns
        -------
        Page
            The same page with the region in it.
        """
        self._check(sample)
        self.review.ignore(sample.name, region, by=self.by)
        self.states[sample.name] = self.review.state(sample.name)
        self._arrange()
        return replace(sample, ignored=region if sample.ignored is None else region | sample.ignored)

    def comment(self, name: str) -> str:
        """Return the comment on a sample that was written and not decided with."""
        return saved_comment(self.review.root, name, self.by)

    def keep_comment(self, name: str, text: str) -> None:
        """Keep a comment on a sample until the decision; raises `MachineError`."""
        save_comment(self.review.root, name, self.by, text)

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
            with suppress(OSError):
                self.keep_comment(name, "")
        for name in names:
            self.states[name] = self.review.state(name)
        self._arrange()
        return steps

    def _arrange(self) -> None:
        self.items = items_of(self.states, self.audit, self.ranks)

    def _check(self, sample: ReviewSample) -> None:
        """Refuse to decide on what is not what was looked at: another image under the same name."""
        path = sample.review.sample.image_path
        if mark_of(path) != sample.mark:
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
            return self._size_at_centres()
        return found.bead_diameter_px, found.polarity

    def _size_at_centres(self) -> tuple[float, Literal["dark", "bright"]]:
        """Return the size of the beads whose centres are marked, where there are some."""
        for state in self.states.values():
            with suppress(BeadsegError):
                for grey, centres in planes_with_centres(state.sample, state.sample.read_image()):
                    found = bead_size_at(grey, centres) if len(centres) else None
                    if found is not None:
                        return found
        return USUAL_PX, "dark"


@dataclass(frozen=True)
class Filter:
    """Which samples are in the queue.

    Attributes
    ----------
    state : str
        One of the states, or `ANY`.
    finding : str
        A code of a finding, `NO_FINDING`, or `ANY`.
    """

    state: State | str = ANY
    finding: str = ANY


@dataclass(frozen=True)
class Item:
    """A sample in the queue.

    Attributes
    ----------
    name : str
        Of the sample.
    state : str
        What was decided.
    findings : tuple of Finding
        Worst first.
    """

    name: str
    state: State
    findings: tuple[Finding, ...] = ()

    @property
    def headline(self) -> str:
        """Code of the worst finding, and how many more there are."""
        if not self.findings:
            return ""
        more = len(self.findings) - 1
        return self.findings[0].code + (f", {more} more" if more else "")

    def passes(self, wanted: Filter) -> bool:
        """Tell whether the sample belongs to the queue."""
        codes: set[str] = {finding.code for finding in self.findings}
        codes = codes or {NO_FINDING}
        return wanted.state in (ANY, self.state) and (wanted.finding == ANY or wanted.finding in codes)


def items_of(
    states: Mapping[str, SampleReview], audit: Audit | None, ranks: Mapping[str, int] | None = None
) -> list[Item]:
    """Return every sample: the worst findings first, then drafts by their rank, then the rest in their order."""
    found: dict[str, list[Finding]] = {}
    for finding in () if audit is None else audit.findings:
        found.setdefault(sample_of(finding), []).append(finding)
    order = {name: place for place, name in enumerate(found)}
    last = len(states)

    def place(name: str) -> tuple[int, int]:
        drafted = states[name].origin == "draft" and ranks is not None
        return order.get(name, len(order)), ranks.get(name, last) if ranks is not None and drafted else last

    names = sorted(states, key=place)
    return [Item(name, states[name].state, tuple(found.get(name, ()))) for name in names]


def sample_of(finding: Finding) -> str:
    """Return the name of the sample that a finding, perhaps about one plane of it, belongs to."""
    return finding.sample.rsplit("/", 1)[0]


def plane_of(finding: Finding) -> str:
    """Return the name of the plane of a stack that a finding is about; empty for a single image."""
    return finding.sample.rsplit("/", 1)[1] if "/" in finding.sample else ""


def codes_in(items: list[Item]) -> dict[str, int]:
    """Return how many samples have each code, in the order of the queue; those without any at the end."""
    counts: dict[str, int] = {}
    for item in items:
        for code in dict.fromkeys(finding.code for finding in item.findings):
            counts[code] = counts.get(code, 0) + 1
    without = sum(not item.findings for item in items)
    return counts | ({NO_FINDING: without} if counts and without else {})


def next_after(items: list[Item], current: str | None, *, only_pending: bool) -> str | None:
    """Return the sample after the current one, from the beginning again after the last; None where none is left."""
    names = [item.name for item in items]
    start = names.index(current) + 1 if current in names else 0
    for item in items[start:] + items[:start]:
        if item.name != current and (item.state == "pending" or not only_pending):
            return item.name
    return None


def before(items: list[Item], current: str | None) -> str | None:
    """Return the sample before the current one; None at the beginning."""
    names = [item.name for item in items]
    place = names.index(current) if current in names else 0
    return names[place - 1] if place > 0 else None


class Autosave:
    """Keeps the strokes on the current sample.

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
                self._file = Strokes(unsaved_folder(self._root), self._sample, self._on_disk, self._by)
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
    for sample, paths in abandoned(unsaved_folder(review.root), by).items():
        with suppress(InputError):
            unsaved = read_unsaved(paths[-1])
            decided = [step for step in in_force(review.history(sample)) if step.state and step.time > unsaved.when]
            if unsaved.strokes:
                (aside if decided else offered)[sample] = paths
    return offered, aside


def progress_text(session: Session) -> str:
    """Return how many samples are decided on and how many are left."""
    left, total = session.counts["pending"], len(session.items)
    return f"{total - left} of {total} decided, {left} left"


def summary(session: Session) -> str:
    """Return what came of a review that has nothing left to decide."""
    counts = session.counts
    parts = [f"{counts[state]} {state}" for state in ("accepted", "corrected", "rejected")]
    people = Counter(state.by for state in session.states.values() if state.by)
    by = ", ".join(f"{name} {count}" for name, count in people.most_common())
    lines = [f"All {len(session.items)} samples are decided on: {', '.join(parts)}.", f"By whom: {by}."]
    conflicts = sum(bool(state.conflicts) for state in session.states.values())
    if conflicts:
        lines.append(f"{conflicts} in conflict with somebody else's decision: look at them again.")
    lines.append("Training uses the accepted and corrected ones; every decision can still be undone (U).")
    return "\n".join(lines)


def state_text(state: SampleReview) -> str:
    """Return who decided what on a sample and when."""
    by = f" by {state.by}, {state.when[:16].replace('T', ' ')} UTC" if state.by else ""
    text = f"pending, last change{by}" if state.state == "pending" and by else f"{state.state}{by}"
    if state.why:
        text += f": {state.why}"
    if state.origin == "draft":
        text += " (draft made by a machine)"
    alone = state.sample.mask_path is None and state.sample.points_path is not None
    centres = ["annotated by centres, shown as beads: Correct (C) saves these as labels"] if alone else []
    ignored = ["part of it is ignored"] if state.sample.ignore_path is not None else []
    return "; ".join([text, *centres, *ignored, *state.notes])


def finding_text(finding: Finding) -> str:
    """Return a finding in words."""
    plane = f" ({finding.sample.rsplit('/', 1)[1]})" if "/" in finding.sample else ""
    return f"{finding.severity}, {finding.code}{plane}: {finding.message}"
