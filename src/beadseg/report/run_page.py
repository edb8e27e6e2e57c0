"""The page of a training run: what was asked, what came out, what the run noticed, and pictures of its samples."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.config import ImageEpochConfig
from beadseg.data.dataset import Sample, Target
from beadseg.data.documents import inner, read_document, read_table
from beadseg.data.scan import natural_key, stem_of
from beadseg.errors import BeadsegError, Cancelled, ImageError, RunError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.measure.matching import DENSITIES
from beadseg.predict.segmenter import Segmenter
from beadseg.report.figure import count_panels, curve_panels, draw_curves, has_counts
from beadseg.report.html import (
    Badge,
    Block,
    Chart,
    Charts,
    Column,
    Gallery,
    Notice,
    Page,
    Picture,
    Row,
    Section,
    Table,
    Text,
    Tone,
    Verbatim,
    missing_pictures,
    picture_of,
)
from beadseg.report.samples import LEGEND, Matched, fullest_window, match, matched_picture
from beadseg.text import duration, plural
from beadseg.training.records import SAMPLE_COLUMNS, read_history, sample_files, score_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from beadseg.training.run import Run

_TONES: dict[str, Tone] = {"met": "good", "not met": "bad", "not applicable": "neutral"}

MOST_SAMPLES = 6
"""So many validation samples are predicted: evenly from the sparsest to the densest."""
MOST_PIXELS = 4_000_000
"""Larger images take too long for a page, px."""


def write_run_page(
    run: Run,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    *,
    dataset: Path | None = None,
    keep_fuller: str = "",
) -> Path:
    """Write ``report.html`` into a run folder, and ``curves.png`` beside it; return the page's path.

    A run that is not finished gets a page too, which says so. Where the images of the run are
    still in their place, up to `beadseg.report.run_page.MOST_SAMPLES` validation samples are predicted with its best
    weights and shown. `dataset` says where the images are now, when they were moved without the run; `keep_fuller` is
    that of `Page.write`.

    Raises
    ------
    RunError
        The run has not finished an epoch, or one of its files is damaged.
    MachineError
        The folder is not writable.
    Cancelled
        `stop` was set.
    """
    history = run.history
    if not history:
        raise RunError("Has not finished an epoch yet.", run.folder, "Wait until the first epoch has ended.")
    samples = _sample_rows(run.folder / files.SAMPLES)
    if (run.folder / files.CRITERIA).exists():
        draw_curves(history, run.folder / files.CURVES)
    pictures = validation_gallery(run.folder, samples, on_event, stop, dataset)
    page = Page(
        title=run.folder.resolve().name,
        kind="Training run",
        lead=_lead(run, history),
        facts=_facts(run, history, samples),
        notices=_notices(run, history),
        sections=(
            _curves(history),
            _criteria(run),
            _samples(pictures),
            _planned(run),
            _split(samples),
            _how(run),
        ),
        source=run.folder.resolve(),
    )
    return page.write(run.folder / files.REPORT_PAGE, keep_fuller and (_lost(run.folder) or keep_fuller))


def _lost(folder: Path) -> str:
    """Return what a run folder lacks for pictures, and what to do; empty where that is not the reason."""
    lacking = next((name for name in (files.SAMPLES, files.BEST) if not (folder / name).is_file()), None)
    return f"{lacking} of the run is not there: copy it back." if lacking else ""


def _lead(run: Run, history: list[dict[str, Any]]) -> str:
    config, best, last = run.config, run.best, history[-1]
    score = f"val_{config.stop.metric}"
    if score not in best:
        return f"Trained for {plural(last['epoch'], 'epoch')} without validation samples: there is no score to report."
    label = score_name(config.stop.metric)
    return (
        f"Validation {label} {best[score]:.3f} at best (epoch {best['epoch']}), {last[score]:.3f} at the end "
        f"(epoch {last['epoch']})."
    )


def _facts(run: Run, history: list[dict[str, Any]], samples: list[dict[str, str]]) -> list[tuple[str, str]]:
    config, last = run.config, history[-1]
    by_fold = {fold: [row for row in samples if row["fold"] == fold] for fold in ("train", "val", "test")}
    names = {"train": "training", "val": "validation", "test": "test"}
    counts = ", ".join(f"{len(rows)} {names[fold]}" for fold, rows in by_fold.items() if rows)
    objects = sum(int(row["objects"]) for row in samples)
    times = run.folder / files.TIMES
    seconds = sum(sum(row.get(name, 0.0) for name in ("train_seconds", "validation_seconds"))
                  for row in (read_history(times) if times.exists() else []))  # fmt: skip
    machine = _document(run.folder / files.ENVIRONMENT)
    steps = None if isinstance(config.epoch, ImageEpochConfig) else config.epoch.steps
    epoch = "one pass over the images" if steps is None else plural(steps, "step")
    return [
        ("Preset", config.based_on),
        ("Network", config.network.kind),
        ("Samples", counts or "unknown"),
        ("Fields of view", str(len({row["field"] for row in samples}))),
        ("Annotated objects", f"{objects:,}"),
        ("Epochs", f"{last['epoch']} of {config.epochs} ({epoch} each)"),
        ("Optimizer steps", f"{last['step']:,}"),
        ("Time", duration(seconds)),
        ("Device", str(machine.get("device", "unknown"))),
        ("Seed", str(config.seed)),
    ]


def _notices(run: Run, history: list[dict[str, Any]]) -> list[Notice]:
    noticed = run.noticed if (run.folder / files.DIAGNOSIS).exists() else []
    notices = [Notice(item.message, f"Likely cause: {item.cause} Remedy: {item.remedy}") for item in noticed]
    if not (run.folder / files.CRITERIA).exists():
        text = f"This run has not finished: {history[-1]['epoch']} of {plural(run.config.epochs, 'epoch')} are done."
        notices.insert(0, Notice(text, "The same train command continues it.", "info"))
    elif not noticed:
        notices.append(Notice("The run noticed nothing wrong with itself.", level="info"))
    return notices


def _curves(history: list[dict[str, Any]]) -> Section:
    losses, scores, rates = curve_panels(history)
    charts = (
        Chart(scores, "Jaccard over the epochs; the grey band is what the laboratory's document expects.",
              "Jaccard of training and validation images over the epochs"),
        Chart(losses, "Loss over the epochs: training patches are augmented, validation images are whole.",
              "Training and validation loss over the epochs"),
        Chart(rates, "Learning rate at the end of each epoch.", "Learning rate over the epochs"),
    )  # fmt: skip
    return Section("Training curves", (Charts(charts), *_count_blocks(history)))


def _count_blocks(history: list[dict[str, Any]]) -> tuple[Block, ...]:
    """Return the curves of detection and counts, and the best epoch's counts by density."""
    if not has_counts(history):
        return ()
    detection, errors = count_panels(history)
    charts = (
        Chart(detection, "F1 of beads: centres matched one to one within half a bead diameter.",
              "F1 of beads of training and validation images over the epochs"),
        Chart(errors, "Error of the counts of validation images.", "Bias and mean absolute error over the epochs"),
    )  # fmt: skip
    last = history[-1]
    rows = [
        (name, last.get(f"val_f1{end}"), last.get(f"val_count_bias{end}"), last.get(f"val_count_mae{end}"))
        for name, end in (("all", ""), *((f"{third} third", f"_{third}") for third in DENSITIES))
        if f"val_f1{end}" in last
    ]
    columns = (Column("Validation images, last epoch"), Column("F1", ".3f"), Column("Count bias", "+.2f"),
               Column("Mean absolute error", ".2f"))  # fmt: skip
    return (Charts(charts), Table(columns, rows))


def _criteria(run: Run) -> Section:
    judged = run.criteria if (run.folder / files.CRITERIA).exists() else []
    rows = [
        (item.name, Badge(item.verdict, _TONES.get(item.verdict, "neutral")), item.measured, item.note, item.group)
        for item in judged
    ]
    columns = (Column("Criterion"), Column("Verdict"), Column("Measured", ".3f"), Column("What was measured"),
               Column("List"))  # fmt: skip
    blocks = (Table(columns, rows),) if rows else ()
    note = str(_document(run.folder / files.CRITERIA).get("note", ""))
    intro = " ".join(["From the laboratory's hyperparameter document.", note])
    return Section("The laboratory's success criteria", blocks, intro.strip())


def _samples(pictures: tuple[Gallery, str]) -> Section:
    gallery, note = pictures
    blocks: list[Block] = [*([gallery] if gallery.pictures else []), *([Text(note)] if note else [])]
    intro = "Predicted with the best weights; none of these images was trained on." if gallery.pictures else ""
    return Section("Validation samples", blocks, intro)


def _planned(run: Run) -> Section:
    path = run.folder / files.PLAN
    planned = [(item.field, str(item.value), item.reason) for item in (run.planned if path.exists() else [])]
    found = [(name.replace("_", " "), _plain(value)) for name, value in inner(_document(path), "fingerprint").items()]
    blocks = (
        Table((Column("Setting"), Column("Value"), Column("Reason")), planned) if planned
        else Text("Nothing was planned: every value was given."),
        Table((Column("Training samples"), Column("Value")), found, "What the plan is made from", folded_from=0),
    )  # fmt: skip
    return Section("Planned from the training samples", blocks)


def _split(samples: list[dict[str, str]]) -> Section:
    by_field: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row in samples:
        by_field[row["field"]][row["fold"]].append(int(row["objects"]))
    folds = ("train", "val", *(["test"] if any("test" in folds for folds in by_field.values()) else []))
    names = {"train": "Training", "val": "Validation", "test": "Test"}
    columns = [Column("Field of view")]
    for fold in folds:
        columns += [Column(f"{names[fold]} images", "d"), Column("objects", ",d")]
    rows: list[Row] = []
    for field in sorted(by_field, key=natural_key):
        counts = [(len(by_field[field][fold]), sum(by_field[field][fold])) for fold in folds]
        rows.append((field, *(number for pair in counts for number in pair)))
    shared = [row[0] for row in rows if row[1] and row[3]]
    intro = "No field of view is on both sides."
    if shared:
        intro = (
            f"{len(shared)} of {plural(len(rows), 'field of view')} are on both sides: "
            "their tiles share light and beads, so "
            "that validation scores are higher than on new fields."
        )
    if not any(row[3] for row in rows):
        intro = ""
    return Section("Split by field of view", (Table(columns, rows),) if rows else (), intro)


def _how(run: Run) -> Section:
    machine = _document(run.folder / files.ENVIRONMENT)
    command = machine.get("command", "")
    machine["command"] = " ".join(map(str, command)) if isinstance(command, list) else str(command)
    shown = [name for name, value in machine.items() if name not in ("schema_version", "versions") and value != ""]
    facts = [(name, str(machine[name])) for name in shown]
    facts += [(f"version of {name}", str(value)) for name, value in inner(machine, "versions").items()]
    config = (run.folder / files.CONFIG).read_text(encoding="utf-8")
    table = Table((Column("Environment"), Column("Value")), facts)
    return Section("How to repeat it", (table, Verbatim("Complete configuration", config)))


def _sample_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of the run's list of samples; none where it is missing."""
    if not path.exists():
        return []
    rows = read_table(path, *SAMPLE_COLUMNS)
    for row in rows:
        if not row["objects"].isdecimal():
            text = f"The number of objects of {row['sample']!r} is not a number: {row['objects']!r}."
            raise RunError(text, path, "Copy it again from where it was trained.")
    return rows


def _document(path: Path) -> dict[str, Any]:
    """Return one of the run's JSON documents; empty where it is not written yet."""
    return read_document(path) if path.exists() else {}


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def validation_gallery(
    folder: Path,
    rows: Sequence[dict[str, str]],
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    dataset: Path | None = None,
) -> tuple[Gallery, str]:
    """Return pictures of validation samples, the worst first, and a sentence on what could not be shown.

    Parameters
    ----------
    folder : pathlib.Path
        The run folder.
    rows : sequence of dict
        Rows of its ``samples.csv``.
    on_event, stop
        Progress, and an event ``"missing-pictures"`` for files that changed or are gone; the flag that ends the work.
    dataset : pathlib.Path, optional
        Where the dataset is now, when it was moved without the run.

    Raises
    ------
    Cancelled
        `stop` was set.
    """
    validation = sorted((row for row in rows if row["fold"] == "val"), key=lambda row: int(row["objects"]))
    chosen = _spread(validation)
    if not chosen:
        return Gallery(()), "The run has no validation samples."
    try:
        segmenter = Segmenter.load(folder / files.BEST)
    except BeadsegError as error:
        return Gallery(()), f"Left out: {error}"
    shown: list[tuple[float, Picture]] = []
    missing: list[str] = []
    gone: list[str] = []
    for row in track(chosen, "validation samples", len(chosen), on_event, stop):
        try:
            shown.append(_picture(row, _files(row, folder, dataset), segmenter, stop))
        except Cancelled:
            raise
        except (BeadsegError, OSError) as error:
            missing.append(f"{row['sample']} ({getattr(error, 'what', error)})")
            gone += [] if isinstance(error, _TooLargeError) else [missing[-1]]
    if gone:
        on_event(missing_pictures(gone))
    shown.sort(key=lambda item: item[0])
    note = f"{len(chosen)} of {len(validation)} validation samples, from the sparsest to the densest; worst first. "
    left_out = f"Left out: {'; '.join(missing)}" if missing else ""
    return Gallery([picture for _, picture in shown], LEGEND), (note if shown else "") + left_out


def _spread(rows: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Return up to `MOST_SAMPLES` rows, evenly spaced, the first and the last among them."""
    if len(rows) <= MOST_SAMPLES:
        return list(rows)
    return [rows[round(at * (len(rows) - 1) / (MOST_SAMPLES - 1))] for at in range(MOST_SAMPLES)]


class _TooLargeError(ImageError):
    """An image that is left out by rule."""


def _picture(
    row: dict[str, str],
    found: tuple[Path, Path | None, Path | None, Path | None],
    segmenter: Segmenter,
    stop: StopFlag | None,
) -> tuple[float, Picture]:
    """Return the F1 and the picture of one sample."""
    pixels, target = _read(row, found)
    if pixels[0].size > MOST_PIXELS:
        raise _TooLargeError(f"Larger than {MOST_PIXELS / 1e6:g} megapixels.", row["image"])
    prediction = segmenter.predict(pixels, stop=stop)
    matched = match(prediction.labels > 0, prediction.labels, target)
    return matched.f1, _drawn(row["sample"], pixels, matched)


def _drawn(name: str, pixels: NDArray[np.generic], matched: Matched) -> Picture:
    shape = (pixels.shape[1], pixels.shape[2])
    window = fullest_window(matched.errors if len(matched.errors) else matched.centres, shape)
    caption = f"F1 {matched.f1:.3f}: {matched.caption()}. {window.caption(shape)}"
    return picture_of(matched_picture(pixels, matched, window), name, caption.strip())


def _read(
    row: dict[str, str], found: tuple[Path, Path | None, Path | None, Path | None]
) -> tuple[NDArray[np.generic], Target]:
    """Read the first plane of a sample as the run saw it.

    The run's list does not say whether an annotation has ids; the reading that has the recorded number of objects is
    the right one. Files that changed since are refused.
    """
    problem = ImageError("Its files have changed or are missing.", row["image"], "Train again to see it.")
    for has_labels in (True, False):
        image, mask, ignored, points = found
        sample = Sample(row["sample"], image, mask, ignored, row["field"], has_labels, points)
        hashes = sample.sha256()
        roles = ("image", "mask", "ignore", "points")
        if any(hashes.get(role, "") != (row.get(f"{role}_sha256") or "") for role in roles):
            raise problem
        planes = _planes(sample)
        if planes and sum(target.objects for _, _, target in planes) == int(row["objects"]):
            return planes[0][1], planes[0][2]
    raise problem


def _planes(sample: Sample) -> list[tuple[str, Any, Target]]:
    try:
        return list(sample.planes())
    except ImageError:  # read as the other kind of annotation
        return []


def _files(row: dict[str, str], run: Path, dataset: Path | None) -> tuple[Path, Path | None, Path | None, Path | None]:
    """Return where image, annotation, ignore mask and points are now; the last two lie in folders beside the others."""
    image, mask = sample_files(row, run, dataset)
    root = image.parent.parent if mask is None else mask.parent.parent
    ignored, points = (
        _beside(root / folder, row["sample"]) if row.get(f"{role}_sha256") else None
        for role, folder in (("ignore", files.IGNORE), ("points", files.POINTS))
    )
    return image, mask, ignored, points


def _beside(folder: Path, name: str) -> Path | None:
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return next((path for path in found if stem_of(path).removesuffix(f"_{folder.name}") == name), None)
