"""Pictures of evaluated images: hits, misses and false alarms of the worst, the middle and the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg import files
from beadseg.data.dataset import Dataset, natural_key
from beadseg.data.predictions import pair
from beadseg.errors import BeadsegError, Cancelled, InputError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.report.blocks import Block, Gallery, Items, Text
from beadseg.report.html import Section, missing_pictures
from beadseg.report.picture import Picture, picture_of
from beadseg.report.predicted import predicted_planes
from beadseg.report.samples import LEGEND, fullest_window, match, matched_picture
from beadseg.text import score_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.measure.evaluation import Evaluation
    from beadseg.measure.score import ImageScore

MOST_SAMPLES = 8
"""So many images are shown: the worst, those in the middle, and the best."""


def sample_section(
    evaluation: Evaluation,
    folder: Path,
    dataset: Dataset | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> Section:
    """Return pictures of the worst, middle and best images, and what could not be shown and why.

    Parameters
    ----------
    evaluation : Evaluation
        The scores. A picture is shown only where matching gives the same counts again: nothing changed since.
    folder : pathlib.Path
        The evaluation folder; predictions that were moved are looked for around it.
    dataset : Dataset, optional
        The truth; opened from where the evaluation found it when not given.
    on_event, stop
        Progress, and the flag that ends the work.

    Raises
    ------
    Cancelled
        `stop` was set.
    """
    title = "Samples"
    try:
        truth = evaluation.open_dataset(folder) if dataset is None else dataset
        predictions = evaluation.find_predictions(folder)
    except InputError as error:
        on_event(missing_pictures([str(error)]))
        return Section(title, (Text(f"Left out, because the images or predictions are missing: {error}"),))
    names = _names(predictions, truth)
    chosen = worst_middle_best(evaluation.images)
    pictures, missing = [], []
    for image in track(chosen, "samples", len(chosen), on_event, stop):
        try:
            pictures.append(_picture(image, truth, predictions, names))
        except Cancelled:
            raise
        except (BeadsegError, OSError, ValueError, IndexError) as error:  # files that changed since the evaluation
            missing.append(f"{image.image}: {error}")
    if missing:
        on_event(missing_pictures(missing))
    blocks: list[Block] = [Gallery(pictures, LEGEND)] if pictures else []
    if missing:
        blocks.append(Items(missing, "Not shown"))
    intro = "The worst by F1 first, then those in the middle, then the best." if len(chosen) > 2 else ""
    return Section(title, blocks, intro)


def worst_middle_best(images: Sequence[ImageScore]) -> list[ImageScore]:
    """Return up to `MOST_SAMPLES` images by F1 and Jaccard: three worst, two in the middle, three best, in order."""
    order = sorted(images, key=lambda image: (image.f1, image.jaccard or 0.0, natural_key(image.image)))
    if len(order) <= MOST_SAMPLES:
        return order
    middle = len(order) // 2
    return [*order[:3], *order[middle - 1 : middle + 1], *order[-3:]]


def _names(predictions: Path, truth: Dataset) -> dict[str, str]:
    """Return what the samples are called in the prediction folder."""
    stored = {path.stem for kind in (files.MASKS, files.LABELS) for path in (predictions / kind).glob("*.*")}
    return pair(predictions, stored, [(sample.name, sample.image_path) for sample in truth]).names


def _picture(image: ImageScore, truth: Dataset, predictions: Path, predicted: dict[str, str]) -> Picture:
    planes = list(truth[image.sample].planes())
    names = [f"{image.sample}_{plane}" if plane else image.sample for plane, _, _ in planes]
    index = names.index(image.image)
    _, pixels, target = planes[index]
    foreground, labels = predicted_planes(predictions, predicted.get(image.sample, image.sample))[index]
    matched = match(foreground, labels, target, image.tolerance_px)
    if matched.counts != (image.tp, image.fp, image.fn):
        what = "The image, its annotation or its prediction has changed since then."
        raise InputError(what, remedy="Evaluate again.")
    shape = target.foreground.shape
    window = fullest_window(matched.errors if len(matched.errors) else matched.centres, shape)
    caption = (
        f"F1 {image.f1:.3f}, Jaccard {score_text(image.jaccard)}; {image.predicted_count:,} found, "
        f"{image.true_count:,} true: {matched.told()}. {window.told(shape)}"
    )
    return picture_of(matched_picture(pixels, matched, window), image.image, caption.strip())
