"""Validation samples of a run, predicted with its best weights: hits and misses to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.data.dataset import Sample, Target, stem_of
from beadseg.errors import BeadsegError, Cancelled, ImageError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.predict.segmenter import Segmenter
from beadseg.report.blocks import Gallery
from beadseg.report.html import missing_pictures
from beadseg.report.picture import Picture, picture_of
from beadseg.report.samples import LEGEND, Matched, fullest_window, match, matched_picture
from beadseg.training.frozen import sample_files

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

MOST_SAMPLES = 6
"""So many validation samples are predicted: evenly from the sparsest to the densest."""
MOST_PIXELS = 4_000_000
"""Larger images take too long for a page, px."""


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
    caption = f"F1 {matched.f1:.3f}: {matched.told()}. {window.told(shape)}"
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
