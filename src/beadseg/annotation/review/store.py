"""The review of a dataset: states, decisions, corrected masks, undo. Everything is kept, nothing is overwritten."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from beadseg import files
from beadseg.annotation.review import steps
from beadseg.annotation.review.journal import BYTE_ORDER_MARK, Journal
from beadseg.annotation.review.steps import ACTION_OF, Kind, State, Step, new_id, now, who
from beadseg.data.dataset import Dataset, Sample
from beadseg.data.image_io import read_mask
from beadseg.data.masks import Mask, interpret_labels, interpret_mask
from beadseg.data.scan import Problem, natural_key, sha256_of
from beadseg.data.tiff import png_bytes, tiff_bytes
from beadseg.errors import ImageError, InputError
from beadseg.files import ensure_folder, write_atomically
from beadseg.text import to_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from beadseg.annotation.review.steps import Outcome

Origin = Literal["annotated", "draft"]
"""Whether people or a machine made the annotation that the sample began with."""

NAME_BYTES = 150
"""So much of a sample's name goes into the names of its files, which many systems limit to 255 bytes."""

REVIEW_COLUMNS = ("sample", "field", "state", "origin", "by", "when", "why", "notes", "mask", "ignore", "steps")
"""Columns of ``review.csv``. ``when``: UTC. ``notes``: what to know before trusting the state. ``steps``: how many."""
_ROUNDS = 10


class Review:
    """Decisions about the samples of a dataset, in the folder ``review/`` of the dataset.

    Several people may have it open at once, on one machine or on several that share the folder. What the others do is
    seen at the next call. A decision that a method returned from is on the disk.

    Parameters
    ----------
    dataset : Dataset
        What is decided about; open it with ``require_masks=False`` to see samples without a mask too.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.root = dataset.root
        self._samples = {sample.name: sample for sample in dataset}
        self._journal = Journal(self.root / files.REVIEW / files.JOURNAL)
        self._of_sample: dict[str, list[Step]] = {}
        self._ordered: dict[str, list[Step]] = {}
        self._hashes: dict[Path, tuple[tuple[int, int], str]] = {}
        self.refresh()

    @classmethod
    def open(cls, dataset: Dataset | Path | str) -> Review:
        """Open the review of a dataset or of a dataset folder; nothing is written before the first decision.

        Raises
        ------
        InputError
            There is no such dataset, or a newer version of beadseg wrote its review.
        """
        return cls(dataset if isinstance(dataset, Dataset) else Dataset.open(dataset, require_masks=False))

    @staticmethod
    def exists(root: Path) -> bool:
        """Tell whether anything was ever decided about the dataset in the folder `root`."""
        return (root / files.REVIEW / files.JOURNAL).is_dir()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What of the review's files cannot be understood."""
        return self._journal.problems

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names that were decided about and that the dataset does not have (any more)."""
        return tuple(sorted(set(self._of_sample) - set(self._samples), key=natural_key))

    def refresh(self) -> bool:
        """Read what others wrote since; return whether there was anything."""
        new = self._journal.refresh()
        self._remember(new)
        return bool(new)

    def states(self) -> dict[str, SampleReview]:
        """Return the state of every sample, in the dataset's order, as of now."""
        self.refresh()
        return {name: self._state(sample) for name, sample in self._samples.items()}

    def state(self, sample: str) -> SampleReview:
        """Return the state of one sample, as of now."""
        self.refresh()
        return self._state(self._named(sample))

    def counts(self) -> dict[State, int]:
        """Return how many samples are in each state."""
        found = Counter(review.state for review in self.states().values())
        return {state: found[state] for state in ACTION_OF}

    def history(self, sample: str) -> tuple[Step, ...]:
        """Return every step of a sample, oldest first, undone ones too."""
        self.refresh()
        return tuple(self._order(self._named(sample).name))

    def decide(
        self,
        samples: str | Sequence[str],
        state: State,
        *,
        by: str | None = None,
        why: str = "",
        seen: SampleReview | None = None,
    ) -> tuple[Step, ...]:
        """Accept or reject samples as they are now, or take them back to pending.

        Parameters
        ----------
        samples : str or sequence of str
            Names; those of one call are undone together.
        state : {"accepted", "rejected", "pending"}
            For ``corrected`` see `correct`.
        by : str, optional
            Who; `who()` when not given.
        why : str
            Reason, any text.
        seen : SampleReview, optional
            What the person had before their eyes, where somebody else may have decided since: it is this that is
            accepted or rejected, and a decision that they had not seen is a conflict.

        Raises
        ------
        InputError
            A name is unknown, an accepted sample has no mask or its file is missing, or the state cannot be set.
            Nothing was written.
        MachineError
            The disk is full, or the folder not writable.
        """
        if state not in ("accepted", "rejected", "pending"):
            remedy = "Use correct() with the new mask." if state == "corrected" else "Give accepted, rejected, pending."
            raise InputError(f"{state!r} is not a decision.", remedy=remedy)
        self.refresh()
        names = [samples] if isinstance(samples, str) else list(dict.fromkeys(samples))
        group = new_id()
        steps = []
        for name in names:
            current = seen if seen is not None and seen.name == name else self._state(self._named(name))
            if state == "accepted":
                _refuse_nothing(current)
            steps.append(self._decision(current, state, by, why, group))
        return self._write(steps)

    def correct(
        self,
        sample: str,
        mask: NDArray[np.generic],
        *,
        by: str | None = None,
        why: str = "",
        kind: Kind = "",
        seen: SampleReview | None = None,
        group: str = "",
    ) -> Step:
        """Replace a sample's mask by a better one, kept as a new file beside the original.

        Parameters
        ----------
        sample : str
            Its name.
        mask : (Y, X), or as many planes as the image has
            Foreground where not 0, or one id per bead.
        by, why, seen
            As for `decide`.
        kind : {"", "mask", "labels"}
            How to take the values; told from them when empty.
        group : str
            Corrections with the same group (any text of your own, such as `new_id()`) are undone together.

        Raises
        ------
        ImageError
            The mask has another size than the image, or its values are unclear.
        """
        self.refresh()
        current = self._named(sample)
        saved = save_mask(self.root, files.MASKS, sample, understood(np.asarray(mask), kind, current))
        after = (seen or self._state(current)).heads
        step = self._new(
            sample, after, by, why, group, action="correct", state="corrected", mask=saved.path, kind=saved.kind,
            mask_sha256=saved.sha256,
        )  # fmt: skip
        return self._write([step])[0]

    def ignore(self, sample: str, region: NDArray[np.generic], *, by: str | None = None, why: str = "") -> Step:
        """Mark a region as neither bead nor background, besides what is marked already; the state stays.

        Parameters
        ----------
        sample : str
            Its name.
        region : (Y, X), or as many planes as the image has
            Not 0 where it is to be ignored.
        by, why
            As for `decide`.

        Raises
        ------
        ImageError
            The region has another size than the image.
        """
        self.refresh()
        current = self._state(self._named(sample))
        marked = understood(np.asarray(region), "mask", current.sample)
        if current.sample.ignore_path is not None:
            before = read_mask(current.sample.ignore_path).foreground
            marked = Mask(marked.foreground | before.reshape(marked.foreground.shape), None, "binary", marked.axes)
        saved = save_mask(self.root, files.IGNORE, sample, marked)
        step = self._new(sample, current.heads, by, why, action="ignore", ignore=saved.path, ignore_sha256=saved.sha256)
        return self._write([step])[0]

    def draft(self, sample: str, mask: Path, sha256: str, *, by: str | None = None, why: str = "") -> Step:
        """Note that a machine makes the annotation of a sample: it is pending until a person decides.

        Parameters
        ----------
        sample : str
            Its name; the dataset need not have it yet.
        mask : pathlib.Path
            Where the annotation (instance labels) will be. Write it afterwards, so that it never stands there unmarked.
        sha256 : str
            Of its bytes.
        by, why
            As for `decide`; `why` should tell what made it.
        """
        self.refresh()
        step = self._new(
            sample, self._heads(sample), by, why, action="draft", state="pending", mask=self._relative(mask),
            kind="labels", mask_sha256=sha256,
        )  # fmt: skip
        return self._write([step])[0]

    def undo(self, sample: str | None = None, *, by: str | None = None) -> tuple[Step, ...]:
        """Take back the last step of a sample, or, without one, what `by` did last (all samples of one call).

        Raises
        ------
        InputError
            There is nothing to undo.
        """
        self.refresh()
        name = by or who()
        if sample is not None:
            targets = steps.undo_of_sample(self._order(self._named(sample).name))
        else:
            targets = steps.undo_of_person(self._all_ordered(), name)
        return self._reverse("undo", targets, sample, name)

    def redo(self, sample: str | None = None, *, by: str | None = None) -> tuple[Step, ...]:
        """Put in force again what the last undo of a sample, or of `by`, took back.

        Raises
        ------
        InputError
            There is nothing to redo: nothing was undone, or something was decided since.
        """
        self.refresh()
        name = by or who()
        if sample is not None:
            targets = steps.redo_of_sample(self._order(self._named(sample).name))
        else:
            targets = steps.redo_of_person(self._all_ordered(), name)
        return self._reverse("redo", targets, sample, name)

    def _reverse(
        self, action: Literal["undo", "redo"], targets: Sequence[Step], sample: str | None, by: str
    ) -> tuple[Step, ...]:
        if not targets:
            remedy = "See the history." if sample else f"Name a sample, or sign with another name than {by!r}."
            raise InputError(f"There is nothing to {action}.", sample or self.root / files.REVIEW, remedy)
        group = new_id()
        steps = [
            self._new(target.sample, self._heads(target.sample), by, "", group, action=action, target=target.step)
            for target in targets
        ]
        return self._write(steps)

    def _decision(self, current: SampleReview, state: State, by: str | None, why: str, group: str) -> Step:
        path = current.sample.mask_path
        kind: Kind = "" if path is None else "labels" if current.sample.has_labels else "mask"
        return self._new(
            current.name,
            current.heads,
            by,
            why,
            group,
            action=ACTION_OF[state],
            state=state,
            mask="" if path is None else self._relative(path),
            kind=kind,
            mask_sha256="" if path is None else self._sha256(path),
        )

    @staticmethod
    def _new(sample: str, after: tuple[str, ...], by: str | None, why: str, group: str = "", **values: str) -> Step:
        """Return a step of now: who, why, behind which others, and the values of its action."""
        step = new_id()
        known = {"sample": sample, "why": why, "after": after, "step": step, "group": group or step}
        return Step.parse({**known, "time": now(), "by": by or who(), **values})

    def _heads(self, sample: str) -> tuple[str, ...]:
        return steps.heads(self._order(sample))

    def _write(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        self._journal.append(steps)
        self._remember(steps)
        return tuple(steps)

    def _remember(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._of_sample.setdefault(step.sample, []).append(step)
            self._ordered.pop(step.sample, None)

    def _order(self, name: str) -> list[Step]:
        if name not in self._ordered:
            self._ordered[name] = steps.in_order(self._of_sample.get(name, ()))
        return self._ordered[name]

    def _all_ordered(self) -> list[list[Step]]:
        return [self._order(name) for name in self._of_sample if name in self._samples]

    def _named(self, name: str) -> Sample:
        return self._samples[name] if name in self._samples else self.dataset[name]

    def _state(self, sample: Sample) -> SampleReview:
        ordered = self._order(sample.name)
        if not ordered:
            return SampleReview(sample, "pending", "annotated")
        holds = steps.outcome(ordered)
        current = self._with_files(sample, holds)
        used = [current.mask_path] if is_review_file(holds.mask) else []
        used += [current.ignore_path] if holds.ignore else []
        return SampleReview(
            sample=current,
            state=holds.state,
            origin="draft" if holds.draft else "annotated",
            by=holds.by,
            when=holds.when,
            why=holds.why,
            stale=self._is_stale(current, holds),
            missing=tuple(path for path in used if path is not None and not path.exists()),
            conflicts=steps.conflicts(ordered),
            heads=steps.heads(ordered),
            steps=len(ordered),
        )

    def _with_files(self, sample: Sample, outcome: steps.Outcome) -> Sample:
        """Return the sample with its corrected mask and its ignore mask of the review."""
        if is_review_file(outcome.mask):
            sample = replace(sample, mask_path=self.root / outcome.mask, has_labels=outcome.kind == "labels")
        return replace(sample, ignore_path=self.root / outcome.ignore) if outcome.ignore else sample

    def _is_stale(self, sample: Sample, outcome: steps.Outcome) -> bool:
        if sample.mask_path is None or not sample.mask_path.exists():
            return bool(outcome.mask_sha256)
        if outcome.by == "" or (outcome.state == "pending" and not outcome.mask_sha256):
            return False
        return self._sha256(sample.mask_path) != outcome.mask_sha256

    def _sha256(self, path: Path) -> str:
        """Return the SHA-256 of a mask, computed again only when its file's size or time changed."""
        status = path.stat()
        if not path.is_file():  # an OME-Zarr folder, whose time says nothing of the files inside
            return sha256_of(path)
        mark = (status.st_mtime_ns, status.st_size)
        if path not in self._hashes or self._hashes[path][0] != mark:
            self._hashes[path] = (mark, sha256_of(path))
        return self._hashes[path][1]

    def _relative(self, path: Path) -> str:
        """Return a path relative to the dataset folder, with slashes; as it is where there is none."""
        try:
            return Path(os.path.relpath(path, self.root)).as_posix()
        except ValueError:  # another drive
            return path.as_posix()


def _refuse_nothing(current: SampleReview) -> None:
    """Raise `InputError` where there is no mask that could be accepted."""
    if current.sample.mask_path is None:
        raise InputError("Has no mask that could be accepted.", current.name, "Correct it: give it a mask.")
    lost = [*current.missing, *([] if current.sample.mask_path.exists() else [current.sample.mask_path])]
    if lost:
        raise InputError(f"Its file {lost[0].name} is missing.", current.name, "Copy it back, or undo the correction.")


@dataclass(frozen=True)
class SampleReview:
    """State of one sample.

    Attributes
    ----------
    sample : Sample
        With the files that hold now: the corrected mask and the ignore mask of the review where there are some.
    state : {"pending", "accepted", "rejected", "corrected"}
        What was decided.
    origin : {"annotated", "draft"}
        Who made the annotation that it began with.
    by, when, why : str
        Who decided last, at what time (UTC), for what reason; empty where nothing was done.
    stale : bool
        The mask's file is not the one any more that was decided on.
    missing : tuple of pathlib.Path
        Files of the review that are needed and not there.
    conflicts : tuple of Outcome
        What others decided who did not know of this decision.
    heads : tuple of str
        Ids of its newest steps: what a decision about this state comes after.
    steps : int
        Length of its history.
    """

    sample: Sample
    state: State
    origin: Origin
    by: str = ""
    when: str = ""
    why: str = ""
    stale: bool = False
    missing: tuple[Path, ...] = ()
    conflicts: tuple[Outcome, ...] = ()
    heads: tuple[str, ...] = ()
    steps: int = 0

    @property
    def name(self) -> str:
        """Name of the sample."""
        return self.sample.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before trusting the state; empty when there is nothing."""
        notes = [f"{path.name} is missing from {path.parent}" for path in self.missing]
        if self.stale and not self.missing:
            notes.append("its mask changed since")
        notes += [f"in conflict: {other.state} by {other.by} at {other.when}" for other in self.conflicts]
        return tuple(notes)


def is_review_file(path: str) -> bool:
    """Tell whether a mask's path, relative to the dataset folder, lies in the review: a correction."""
    return path.startswith(f"{files.REVIEW}/")


def understood(values: NDArray[np.generic], kind: Kind, sample: Sample) -> Mask:
    """Return what a corrected mask says, checked against its image.

    Parameters
    ----------
    values : (Y, X), or as many planes as the image has
        Foreground where not 0, or one id per bead.
    kind : {"", "mask", "labels"}
        How to take the values; told from them as for a mask file when empty.
    sample : Sample
        What it belongs to.

    Raises
    ------
    ImageError
        It has another size than the image, or values of which it is not clear what they mean.
    """
    image = sample.read_image()
    expected = (*image.stack_shape, *image.size)
    if values.shape != expected:
        text = f"The mask has the shape {values.shape}, its image {expected}."
        raise ImageError(text, sample.image_path, "Give a mask of the same size; resizing one moves its edges.")
    axes = image.axes.replace("C", "")
    if kind == "mask":
        return Mask(values != 0, None, "binary", axes)
    if kind == "labels":
        return interpret_labels(values, axes, sample.image_path)
    return interpret_mask(values, axes, sample.image_path)


@dataclass(frozen=True)
class SavedMask:
    """A mask file of the review.

    Attributes
    ----------
    path : str
        Relative to the dataset folder, with slashes.
    kind : {"mask", "labels"}
        How to read it.
    sha256 : str
        Of its bytes.
    """

    path: str
    kind: Kind
    sha256: str


def save_mask(root: Path, folder: str, name: str, mask: Mask) -> SavedMask:
    """Write a mask of the sample `name` as a new file in a folder of the review.

    Raises
    ------
    MachineError
        The disk is full, or the folder not writable.
    """
    kind: Kind = "mask" if mask.labels is None else "labels"
    values = np.where(mask.foreground, 255, 0).astype(np.uint8) if mask.labels is None else mask.labels
    flat = mask.labels is None and values.ndim == 2
    content = png_bytes(values) if flat else tiff_bytes(values, mask.axes)
    short = name.encode()[:NAME_BYTES].decode(errors="ignore")
    path = ensure_folder(root / files.REVIEW / folder) / f"{short}--{new_id()}{'.png' if flat else '.tif'}"
    write_atomically(path, content)
    return SavedMask(path.relative_to(root).as_posix(), kind, hashlib.sha256(content).hexdigest())


def table_text(states: Iterable[SampleReview]) -> str:
    """Return the table as CSV text that a spreadsheet reads as UTF-8 and takes no cell of for a formula."""
    return BYTE_ORDER_MARK + to_line(REVIEW_COLUMNS) + "".join(to_line(_row(state)) for state in states)


def write_table(review: Review) -> Path:
    """Write ``review.csv`` where it is not as it should be, and return its path.

    Raises
    ------
    MachineError
        The disk is full, or the folder not writable.
    """
    path = files.ensure_folder(review.root / files.REVIEW) / files.REVIEW_TABLE
    for _ in range(_ROUNDS):
        text = table_text(review.states().values())
        if not path.is_file() or path.read_bytes() != text.encode():
            files.write_atomically(path, text)
        if not review.refresh():  # else somebody decided meanwhile, and may have written their table before this one
            break
    return path


def _row(review: SampleReview) -> tuple[str, ...]:
    sample = review.sample
    return (
        sample.name,
        sample.field,
        review.state,
        review.origin,
        review.by,
        review.when,
        review.why,
        "; ".join(review.notes),
        "" if sample.mask_path is None else sample.mask_path.name,
        "" if sample.ignore_path is None else sample.ignore_path.name,
        str(review.steps),
    )
