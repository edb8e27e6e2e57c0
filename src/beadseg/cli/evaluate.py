"""`beadseg-batch evaluate`: score predictions against a dataset's masks or labels."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadseg.cli.console import STOP, HeldLater, reporter
from beadseg.cli.options import (
    DatasetFolder,
    Exclude,
    Fields,
    IgnoreFolder,
    ImagesFolder,
    Include,
    Json,
    LabelsFolder,
    MasksFolder,
    PointsFolder,
    Quiet,
    Reviewed,
    writable_folder,
)
from beadseg.errors import ConfigError, ExitCode, InputError
from beadseg.text import plural, score_text

if TYPE_CHECKING:
    from beadseg.data.dataset import Dataset
    from beadseg.measure.evaluation import Evaluation
    from beadseg.measure.scores import GroupScore

OUT = "evaluation"
"""Folder inside the prediction folder that results go to when no other is named."""
MOST_FLAGGED = 20
"""Flagged images that are named on the terminal; evaluation.csv has all."""


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(metavar="PREDICTIONS", help="Folder that `predict` wrote.", show_default=False)
    ],
    dataset: DatasetFolder,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help=f"Folder to write to; PREDICTIONS/{OUT} when not given."),
    ] = None,
    bins: Annotated[
        str | None,
        typer.Option(
            "--density-bins", metavar="N,N,…", help="Lower bounds of density classes, beads per image; else quintiles."
        ),
    ] = None,
    diameter: Annotated[
        float | None,
        typer.Option(
            "--diameter", help="Bead diameter, px: centres match within half of it; else from each image's truth."
        ),
    ] = None,
    include: Include = None,
    exclude: Exclude = None,
    samples: Reviewed = "not-rejected",
    images: ImagesFolder = "images",
    masks: MasksFolder = "masks",
    labels: LabelsFolder = "labels",
    ignore: IgnoreFolder = "ignore",
    points: PointsFolder = "points",
    fields: Fields = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score predictions against a dataset's masks, labels or points.

    Pixels (Jaccard, Dice), beads matched one to one (precision, recall, F1, AP) and counts (bias, error), per image, by
    field of view and by density. Writes evaluation.json, evaluation.csv, evaluation_groups.csv and figures in report/,
    and report.html, one page with all of it and pictures of hits and misses.
    Samples without a prediction are named and end the command with exit code 3. Annotations that do not look like
    what they claim (inverted, outlines, several pieces per id) are flagged and end it with exit code 5, and so do
    predictions that equal all annotations in every pixel.
    """
    from beadseg import files
    from beadseg.cli.config_options import earlier_size, open_dataset, warn_if_less
    from beadseg.data.documents import seen_in_training
    from beadseg.data.fields import listed
    from beadseg.events import Event, log
    from beadseg.measure.evaluation import evaluate as score
    from beadseg.measure.evaluation import refuse_output
    from beadseg.report.evaluation_page import write_evaluation_page
    from beadseg.report.pages import report_or_warn

    with reporter(json, quiet) as on_event:
        folder = predictions / OUT if out is None else out
        refuse_output(folder)
        writable_folder(folder if out is not None or predictions.is_dir() else None)
        _refuse_predictions(dataset, predictions, images)
        truth = open_dataset(
            dataset, on_event, images=images, masks=masks, labels=labels, ignore=ignore, points=points,
            include=include, exclude=exclude, fields=fields, samples=samples,
        )  # fmt: skip
        evaluation = score(
            predictions, truth, density_bins=_numbers(bins), diameter_px=diameter, on_event=on_event, stop=STOP
        )
        _refuse_empty(evaluation, predictions, truth)
        seen = seen_in_training(predictions) & {image.image for image in evaluation.images}
        if seen:
            known = f"{len(seen)} of {plural(len(evaluation.images), 'scored image')} ({listed(sorted(seen), 2)})"
            text = f"The model was trained or chosen with {known}. Score images that it has not seen."
            on_event(log(text, "warning"))
        earlier = earlier_size(folder, files.EVALUATION, "images")
        held = HeldLater()
        with held():
            evaluation.write(folder)
        warn_if_less(folder / files.EVALUATION, earlier, len(evaluation.images), "scored image", on_event)
        make = partial(write_evaluation_page, folder, evaluation, truth, on_event, STOP)
        page = report_or_warn(make, folder, on_event)
        overall = evaluation.overall.model_dump()
        text = f"{table(evaluation)}\nWritten to {folder}. {page}".strip()
        on_event(Event("result", text, data={"out": str(folder), "flagged": list(evaluation.flagged), **overall}))
        held.tell()
    if evaluation.failed_samples:
        raise typer.Exit(ExitCode.SOME_FAILED)
    if evaluation.flagged or evaluation.scored_itself:
        raise typer.Exit(ExitCode.FLAGGED)


def _refuse_predictions(dataset: Path, predictions: Path, images: str) -> None:
    """Raise `InputError` where a prediction folder is given as the dataset."""
    from beadseg import files

    remedy = f"Give a dataset folder: {images}/ with masks/ or labels/ that a person made or corrected."
    if predictions.is_dir() and dataset.is_dir() and predictions.samefile(dataset):
        raise InputError("Predictions cannot be scored against themselves.", dataset, remedy)
    if (dataset / files.PREDICTION).is_file() and not (dataset / images).is_dir():
        raise InputError("Holds predictions, not annotations.", dataset, remedy)


def _refuse_empty(evaluation: Evaluation, predictions: Path, truth: Dataset) -> None:
    """Raise `InputError` where nothing was scored, with names of both sides; an earlier evaluation stays."""
    from beadseg.data.fields import listed

    if evaluation.images:
        return
    unknown = [failure.name for failure in evaluation.failures if failure.kind == "unknown"]
    if unknown and all(failure.kind in ("missing", "unknown", "unpaired") for failure in evaluation.failures):
        text = f"No prediction has the name of a sample (predictions: {listed(unknown, 2)}; samples: "
        text += f"{listed(list(truth.names), 2)})."
        raise InputError(text, predictions, "Name both alike, or give the dataset that was predicted.")
    reason = next(f.reason for f in evaluation.failures if f.kind in ("missing", "unreadable"))
    text = f"None of the samples could be scored (the first: {reason})"
    raise InputError(text, predictions, "Predict again; nothing was written.")


def table(evaluation: Evaluation) -> str:
    """Return the scores of all groups as lines of text, the same on a terminal and in a log."""
    from beadseg.text import plain_table

    header = ("group", "images", "Jaccard", "pooled", "Dice", "F1", "AP50", "true", "found", "bias", "MAE")
    rows = [header, *(_row(group) for group in evaluation.groups)]
    failed = len(evaluation.failed_samples)
    scored = f"{evaluation.samples - failed} of {plural(evaluation.samples, 'sample')} scored"
    overall = evaluation.overall
    return "\n".join(
        [
            plain_table(rows),
            f"{scored}; {failed} failed." if failed else f"{scored}.",
            *_flagged(evaluation),
            f"Mean over fields: Jaccard {score_text(overall.jaccard_fields)}, Dice {score_text(overall.dice_fields)}, "
            f"F1 {overall.f1_fields:.3f}.",
            "Jaccard, Dice and AP50: mean over images. pooled: Jaccard of all pixels. F1: all beads. "
            "bias, MAE: beads per image.",
        ]
    )


def _flagged(evaluation: Evaluation) -> list[str]:
    flags = [f"flagged: {image.image}: {image.flags}" for image in evaluation.images if image.flags]
    more = [f"… and {plural(len(flags) - MOST_FLAGGED, 'more flagged image')}"] if len(flags) > MOST_FLAGGED else []
    return [*flags[:MOST_FLAGGED], *more]


def _row(group: GroupScore) -> tuple[str, ...]:
    name = {"all": "all", "field": group.group, "density": f"beads {group.group}"}[group.by]
    scores = (group.jaccard_images, group.jaccard_pooled, group.dice_images, group.f1, group.ap50)
    return (
        name,
        str(group.images),
        *map(score_text, scores),
        str(group.true_count),
        str(group.predicted_count),
        f"{group.bias:+.1f}",
        f"{group.mae:.1f}",
    )


def _numbers(text: str | None) -> tuple[int, ...] | None:
    """Read ``"50,200"``."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"{text!r} is not a list of counts.", "--density-bins", "Write e.g. 50,200,800.") from None
