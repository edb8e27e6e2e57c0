"""The actions of `beadseg-batch review`: each makes one or two calls of the API and says in lines what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from beadseg.annotation.review import Review, SampleReview, Step, reviewed, write_table
from beadseg.annotation.review.agreement import Agreement, agreement, other_annotations
from beadseg.annotation.review.selection import samples_with_findings
from beadseg.annotation.review.steps import STATES
from beadseg.data.dataset import Dataset
from beadseg.data.fields import composed, listed
from beadseg.data.image_io import read_mask
from beadseg.errors import InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, log
from beadseg.files import IMAGES, write_atomically
from beadseg.text import csv_text, score_text

_HEADER = ("sample", "state", "origin", "by", "when (UTC)", "why")


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line; see `beadseg.cli.review.review`."""

    action: str
    samples: tuple[str, ...] = ()
    state: str | None = None
    why: str = ""
    by: str | None = None
    mask: Path | None = None
    without_findings: Path | None = None
    other: Path | None = None
    out: Path | None = None


def perform(dataset: Dataset, request: Request, on_event: OnEvent, stop: StopFlag) -> int:
    """Do what was asked for; return how many samples it failed for.

    Raises
    ------
    InputError
        Something in the request is wrong; nothing was written.
    """
    review = Review.open(dataset)
    for problem in review.problems:
        on_event(log(f"Left out: {problem}", "warning"))
    failed = _ACTIONS[request.action](review, request, on_event, stop)
    if Review.exists(review.root):
        try:
            write_table(review)
        except MachineError as error:  # the decisions themselves are in the journal
            on_event(log(f"The table is not up to date: {error}", "warning"))
    return failed


def _list(review: Review, request: Request, on_event: OnEvent, stop: StopFlag) -> int:
    if request.state not in (None, *STATES):
        raise InputError(f"{request.state!r} is not a state.", "--state", f"Choose one of {', '.join(STATES)}.")
    states = review.states()
    shown = set(_names(review, request.samples)) if request.samples else set(states)
    chosen = [one for one in states.values() if one.name in shown and request.state in (None, one.state)]
    counts = review.counts()
    lines = [f"{state:<10}{count:>7}" for state, count in counts.items()]
    lines.append(f"{'total':<10}{len(states):>7}")
    drafts = [one.name for one in states.values() if one.origin == "draft" and one.state == "pending"]
    lines += [f"Drafts that nobody decided on: {listed(drafts)}"] if drafts else []
    lines += [f"{one.name}: {note}" for one in states.values() for note in one.notes]
    lines += [f"Decided on, but not in this dataset: {listed(list(review.unknown))}"] if review.unknown else []
    pending = next((one.name for one in states.values() if one.state == "pending"), None)
    lines.append("Next pending: " + pending if pending else "Nothing is pending.")
    if request.samples or request.state:
        lines += ["", *_columns([_HEADER, *map(_row, chosen)])]
    data = {"counts": counts, "next": pending, "samples": [_as_dict(one) for one in chosen]}
    on_event(Event("result", "\n".join(lines), data=data))
    return 0


def _decide(review: Review, request: Request, on_event: OnEvent, stop: StopFlag) -> int:
    state = {"accept": "accepted", "reject": "rejected", "pending": "pending"}[request.action]
    names = _asked(review, request)
    states = review.states()
    possible = [name for name in names if state != "accepted" or _can_be_accepted(states[name])]
    failed = [name for name in names if name not in set(possible)]
    for name in failed:
        on_event(Event("failure", f"{name}: has no mask that could be accepted.", "error", {"sample": name}))
    if possible:
        review.decide(possible, state, by=request.by, why=request.why)  # type: ignore[arg-type]
    _report_decision(review, f"{len(possible)} {state}{_which(possible)}.", on_event, possible)
    return len(failed)


def _change(review: Review, request: Request, on_event: OnEvent, stop: StopFlag) -> int:
    names = _names(review, request.samples)
    if request.mask is None or len(names) != 1:
        what = "Needs one sample and its --mask."
        raise InputError(what, request.action, f"Write: review DATASET {request.action} SAMPLE --mask FILE.")
    found = read_mask(request.mask)
    values = found.foreground if found.labels is None or request.action == "ignore" else found.labels
    if request.action == "ignore":
        review.ignore(names[0], values, by=request.by, why=request.why)
        _report_decision(review, f"{names[0]}: a region is ignored.", on_event, names)
    else:
        kind = "mask" if found.labels is None else "labels"
        review.correct(names[0], values, by=request.by, why=request.why, kind=kind)  # type: ignore[arg-type]
        _report_decision(review, f"{names[0]}: corrected.", on_event, names)
    return 0


def _reverse(review: Review, request: Request, on_event: OnEvent, stop: StopFlag) -> int:
    reverse: Callable[..., tuple[Step, ...]] = review.undo if request.action == "undo" else review.redo
    failed = 0
    done: list[Step] = []
    for name in _names(review, request.samples) if request.samples else (None,):
        try:
            done += reverse(name, by=request.by)
        except InputError as error:
            if len(request.samples) < 2:
                raise
            on_event(Event("failure", str(error), "error", {"sample": name}))
            failed += 1
    names = [step.sample for step in done]
    lines = [f"{name}: {request.action} done, now {review.state(name).state}." for name in names[:10]]
    lines += [f"… and {len(names) - 10} more."] if len(names) > 10 else []
    _report_decision(review, "\n".join(lines), on_event, names)
    return failed


def _history(review: Review, request: Request, on_event: OnEvent, stop: StopFlag) -> int:
    header = ("time (UTC)", "who", "what", "mask", "why")
    for name in _asked(review, request):
        steps = review.history(name)
        by_id = {step.step: step for step in steps}
        rows = [(step.time[:19].replace("T", " "), step.by, _what(step, by_id), step.mask or step.ignore, step.why)
                for step in steps]  # fmt: skip
        current = review.state(name)
        lines = [f"{name}: {current.state}, {current.origin}", *(f"  {note}" for note in current.notes)]
        lines += _columns([header, *rows]) if rows else ["  no steps"]
        data = {"sample": name, "steps": [step.model_dump() for step in steps]}
        on_event(Event("result", "\n".join(lines), data=data))
    return 0


def _agree(review: Review, request: Request, on_event: OnEvent, stop: StopFlag) -> int:
    data = review.dataset
    wanted = _names(review, request.samples) if request.samples else data.names
    ours = _annotated(reviewed(data, "all"), wanted)
    if request.other is None:
        corrected = [one.name for one in review.states().values()
                     if one.sample.mask_path != review.dataset[one.name].mask_path]  # fmt: skip
        theirs = _annotated(data, [name for name in corrected if name in set(wanted)])
        if not len(theirs):
            raise InputError("No sample has a corrected mask.", review.root, "Give somebody else's masks with --other.")
        ours = ours.subset(theirs.names)
    else:
        theirs = _theirs(ours, request.other)
    found = agreement(ours, theirs, on_event, stop)
    for name, reason in found.failures.items():
        on_event(Event("failure", f"{name}: {reason}", "error", {"sample": name}))
    if request.out is not None:
        write_atomically(request.out, csv_text(found.table()))
    result = {"groups": [group.model_dump() for group in found.groups], "out": str(request.out or "")}
    on_event(Event("result", "\n".join(_agreement_lines(found)), data=result))
    return len(found.failures)


_ACTIONS: dict[str, Callable[[Review, Request, OnEvent, StopFlag], int]] = {
    "list": _list,
    "accept": _decide,
    "reject": _decide,
    "pending": _decide,
    "correct": _change,
    "ignore": _change,
    "undo": _reverse,
    "redo": _reverse,
    "history": _history,
    "agreement": _agree,
}


def _asked(review: Review, request: Request) -> list[str]:
    """Return the names that were asked for, by name, by pattern or by an audit."""
    if request.without_findings is None:
        if not request.samples:
            raise InputError("Names no sample.", request.action, "Name samples, or give a pattern such as '320x_*'.")
        return _names(review, request.samples)
    if request.action != "accept":
        raise InputError("--without-findings goes with accept only.", request.action, "Name the samples.")
    names = _names(review, request.samples) if request.samples else list(review.dataset.names)
    found = samples_with_findings(request.without_findings, review.dataset.names)
    states = review.states()
    return [name for name in names if name not in found
            and states[name].state == "pending" and states[name].origin == "annotated"]  # fmt: skip


def _names(review: Review, words: tuple[str, ...]) -> list[str]:
    """Return the samples that `words` name, or as patterns match, in the dataset's order."""
    known = set(review.dataset.names)
    chosen: set[str] = set()
    for word in words:
        plain = word if word in known else composed(word)
        matched = {plain} if plain in known else {name for name in known if fnmatchcase(name, plain)}
        if not matched:
            raise InputError(
                f"Has no sample {word!r}.", review.root, f"Its samples: {listed([*review.dataset.names])}."
            )
        chosen |= matched
    return [name for name in review.dataset.names if name in chosen]


def _can_be_accepted(one: SampleReview) -> bool:
    return one.sample.mask_path is not None and one.sample.mask_path.exists() and not one.missing


def _annotated(dataset: Dataset, names: tuple[str, ...] | list[str]) -> Dataset:
    kept = set(names)
    return replace(dataset, samples=tuple(one for one in dataset if one.name in kept and one.mask_path is not None))


def _theirs(ours: Dataset, folder: Path) -> Dataset:
    """Return the masks of another folder; where it is a dataset of its own, those that its review holds."""
    if not (folder / IMAGES).is_dir():
        return other_annotations(ours, folder)
    return _annotated(reviewed(Dataset.open(folder, require_masks=False), "all"), ours.names)


def _report_decision(review: Review, text: str, on_event: OnEvent, names: list[str]) -> None:
    counts = review.counts()
    progress = ", ".join(f"{count} {state}" for state, count in counts.items())
    on_event(Event("result", f"{text}\n{progress}", data={"samples": names, "counts": counts}))


def _which(names: list[str]) -> str:
    return f" ({listed(names)})" if names else ""


def _row(one: SampleReview) -> tuple[str, ...]:
    return (one.name, one.state, one.origin, one.by, one.when[:19].replace("T", " "), one.why)


def _as_dict(one: SampleReview) -> dict[str, object]:
    return {
        "sample": one.name,
        "state": one.state,
        "origin": one.origin,
        "by": one.by,
        "when": one.when,
        "why": one.why,
        "notes": one.notes,
        "mask": None if one.sample.mask_path is None else str(one.sample.mask_path),
        "ignore": None if one.sample.ignore_path is None else str(one.sample.ignore_path),
    }


def _what(step: Step, by_id: dict[str, Step]) -> str:
    undone = by_id.get(step.target)
    return f"{step.action} {undone.action}" if undone else step.action


def _agreement_lines(found: Agreement) -> list[str]:
    header = ("group", "images", "Jaccard", "Dice", "F1", "beads", "other's", "difference")
    rows = []
    for group in found.groups:
        scores = map(score_text, (group.jaccard_images, group.dice_images, group.f1))
        counts = (str(group.true_count), str(group.predicted_count))
        rows.append(
            (group.group, str(group.images), *scores, *counts, f"{group.predicted_count - group.true_count:+d}")
        )
    lines = _columns([header, *rows])
    lines += [f"Only in the first: {listed(list(found.only_one))}"] if found.only_one else []
    lines += [f"Only in the other: {listed(list(found.only_other))}"] if found.only_other else []
    return [*lines, "Jaccard, Dice: mean over images. F1: all beads, by centres within half a diameter."]


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows as lines of aligned columns; what would break a line is shown as a space."""
    plain = [tuple(" ".join(cell.split()) for cell in row) for row in rows]
    widths = [max(len(row[at]) for row in plain) for at in range(len(plain[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in plain]
