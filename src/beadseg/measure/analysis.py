"""The analysis of an annotated dataset: what one image is like, what all of them hold, and how they vary."""

from __future__ import annotations

import math
from statistics import fmean, median, pstdev
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from beadseg import files
from beadseg.config.base import Config
from beadseg.data.fingerprint import beads_and_ring, fingerprint
from beadseg.data.image_io import open_image
from beadseg.data.masks import Doubts, label_objects
from beadseg.errors import InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, ignore, track
from beadseg.measure.beads import equivalent_diameter
from beadseg.measure.spots import Marks, PartialMask, judge_masks, mark_spots
from beadseg.model.inputs import luminance
from beadseg.text import csv_text, plural

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.data.dataset import Dataset, Sample, Target

LOOKED_AT = 40
"""Number of samples, evenly spread, from which bead diameter and polarity are measured."""
SMALLEST_DIAMETER = 2.0
"""Smaller beads than this are not spots that could be looked for, px."""

CLUMP = 1.6
"""Without ids, an object larger than this many times the image's median area counts as several touching beads."""

PARTIAL_COLUMNS = {
    "mask": "verdict",
    "beads_marked": "marked",
    "beads_unmarked": "unmarked",
    "unmarked_share": "unmarked_share",
    "stray_marks": "stray_marks",
    "unmarked_region_share": "region_share",
    "unmarked_region_beads": "region_spots",
    "calibrated_on": "calibrated_on",
    "shift_y": "shift_y",
    "shift_x": "shift_x",
}
"""Columns of the table about partial masks, and the fields of `PartialMask` they hold."""


class Spread(Config):
    """How a quantity is spread over the images."""

    mean: float
    """Mean."""
    sd: float
    """Standard deviation of these images."""
    min: float
    """Smallest value."""
    median: float
    """Median."""
    max: float
    """Largest value."""


class PartialMasks(Config):
    """Which masks seem to leave beads out."""

    assessed: int
    """Images where it could be told."""
    suspects: int
    """Partial masks: beads are visible that are not marked (the rule of `beadseg.measure.spots`)."""
    suspect_ratio: float
    """Suspects over assessed images."""
    names: tuple[str, ...]
    """The suspects, largest share of unmarked beads first."""
    misplaced: tuple[str, ...]
    """Images whose masks leave beads out because they are misplaced: they also mark places without a bead."""


class Summary(Config):
    """A dataset in numbers, named as in the laboratory's analysis; every plane of a stack counts as an image."""

    schema_version: Literal[1] = 1
    """Version of this document."""
    dataset: str
    """Name of the dataset's folder."""
    path: str
    """The dataset's folder."""
    dataset_size: int
    """Analysed images."""
    fields_of_view: int
    """Fields of view."""
    total_objects: int
    """Objects in all images."""
    instances: bool
    """All objects have ids; else touching beads of some images count as one."""
    positive_ratio: Spread
    """Share of the pixels on beads."""
    objects_per_image: Spread
    """Annotated objects in an image."""
    objects_per_mpx: Spread
    """Annotated objects per million pixels."""
    object_size: Spread | None
    """Median area of the objects of an image, px²."""
    object_diameter: Spread | None
    """Equivalent diameter of that area, px."""
    touching: Spread | None
    """Share of the objects that touch another one."""
    brightness: Spread
    """Mean luminance of an image, grey levels."""
    brightness_sd: Spread
    """Standard deviation of the luminance in an image, grey levels."""
    contrast: Spread | None
    """Weber contrast of the beads; negative for dark ones."""
    partial_masks: PartialMasks
    """Which masks seem to leave beads out."""
    failed: tuple[str, ...]
    """Samples that could not be read."""


class Failure(Config):
    """A file that could not be analysed."""

    name: str
    """Name of the sample or file."""
    reason: str
    """One sentence for a person."""


class ImageStats(Config):
    """One annotated image, or plane of a stack, in numbers."""

    image: str
    """Name of the sample, with the plane's name in a stack."""
    sample: str
    """Name of the sample."""
    field: str
    """Field of view."""
    height: int
    """Rows, px."""
    width: int
    """Columns, px."""
    instances: bool
    """Objects are ids of a label image; else 8-connected components of the mask, in which touching beads are one."""
    positive_ratio: float
    """Share of the pixels on beads, ignored ones left out."""
    objects: int
    """Annotated objects."""
    objects_per_mpx: float
    """Objects per million pixels."""
    object_area_px: float | None
    """Median area of an object, px²."""
    object_diameter_px: float | None
    """Diameter of the circle of that area, px."""
    touching: float | None
    """Share of the objects that touch another one. With ids: that have a neighbour of another id (8-connected).
    Without: whose area is more than 1.6 times the image's median, since beads in touch are one object there."""
    brightness: float
    """Mean luminance (BT.601), grey levels of the file."""
    brightness_sd: float
    """Standard deviation of the luminance over the image, grey levels: light, noise and beads together."""
    contrast: float | None
    """Weber contrast of the beads: mean luminance on them less that of a ring 2 to 4 px around the mask, over the
    ring's. Negative for dark beads."""
    partial: PartialMask | None
    """Whether the mask seems to leave beads out; None where it cannot be told."""

    def row(self) -> dict[str, Any]:
        """Return all numbers in one level, for a table."""
        flat = self.model_dump(exclude={"partial"})
        for column, name in PARTIAL_COLUMNS.items():
            flat[column] = None if self.partial is None else getattr(self.partial, name)
        return flat


class Analysis(Config):
    """Everything that was measured of a dataset."""

    summary: Summary
    """All images together."""
    images: tuple[ImageStats, ...]
    """One per image."""
    failures: tuple[Failure, ...]
    """Samples that could not be read, then files that were left out."""

    @property
    def suspects(self) -> tuple[ImageStats, ...]:
        """The images whose masks are partial, then those whose masks are misplaced, largest share first."""
        by_name = {image.image: image for image in self.images}
        found = self.summary.partial_masks
        return tuple(by_name[name] for name in (*found.names, *found.misplaced))

    def image_table(self) -> pd.DataFrame:
        """Return one row per image."""
        return pd.DataFrame([image.row() for image in self.images])

    def write(self, out: Path) -> None:
        """Write ``summary.json``, ``images.csv`` and any ``failures.csv``; raises as `claim_folder`."""
        claim_folder(out)
        again = (out / files.SUMMARY).exists()
        texts: dict[Path, str | None] = {
            out / files.SUMMARY: self.summary.model_dump_json(indent=2) + "\n",
            out / files.IMAGE_STATS: csv_text(self.image_table()),
        }
        if self.failures or again:
            table = pd.DataFrame([failure.model_dump() for failure in self.failures])
            texts[out / files.FAILURES] = csv_text(table) if len(table) else None
        files.write_together(texts)


def claim_folder(out: Path) -> None:
    """Make the folder of an analysis.

    Raises
    ------
    InputError
        It holds a dataset, a run or predictions, whose files must not mix with ours.
    MachineError
        It cannot be made.
    """
    for name in (files.IMAGES, files.MASKS, files.LABELS, files.PREDICTION, files.COUNTS, files.CONFIG):
        if (out / name).exists():
            text = f"Holds {name}, so that an analysis cannot be written there."
            raise InputError(text, out, "Give a new --out folder; nothing was written.")
    files.ensure_folder(out)


def analyze(
    dataset: Dataset,
    *,
    diameter_px: float | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> Analysis:
    """Measure every annotated image of a dataset.

    Parameters
    ----------
    dataset : Dataset
        Annotated samples. Objects are labels where there are some, else the 8-connected components of the mask.
    diameter_px : float, optional
        Bead diameter that the search for unmarked beads uses, px; when not given, the median of a sample of the masks.
    on_event, stop
        Progress and warnings; the flag that ends the work.

    Returns
    -------
    Analysis
        What could not be read is in ``failures``.

    Raises
    ------
    InputError
        No sample can be read, or the diameter is not positive or wider than half of the first image.
    Cancelled
        `stop` was set.
    """
    dataset = dataset.with_areas("The analysis", on_event)
    _refuse_diameter(dataset, diameter_px)
    typical = _typical_beads(dataset, stop)
    diameter = diameter_px or (typical[0] if typical else None)
    stats: list[ImageStats] = []
    marks: list[Marks | None] = []
    failures: list[Failure] = []
    doubts = Doubts(len(dataset))
    for sample in track(dataset.samples, "analyze", len(dataset), on_event, stop):
        try:
            measured = _measure(sample, diameter, typical[1] if typical else -1.0, doubts)
        except MachineError:
            raise
        except InputError as error:
            reason = files.printable(str(error))
            failures.append(Failure(name=sample.name, reason=reason))
            on_event(Event("failure", f"{sample.name}: {reason}", "warning", {"sample": sample.name}))
            continue
        stats += [image for image, _ in measured]
        marks += [spots for _, spots in measured]
    doubts.report(on_event)
    if not stats:
        reason = failures[0].reason if failures else "There is no sample."
        raise InputError(
            f"None of its {plural(len(dataset), 'sample')} can be read ({reason})", dataset.root, "Check the files."
        )
    judged = judge_masks([(image.field, spots) for image, spots in zip(stats, marks, strict=True)])
    images = tuple(image.model_copy(update={"partial": found}) for image, found in zip(stats, judged, strict=True))
    summary = _summary(dataset, images, tuple(failure.name for failure in failures))
    failures += [Failure(name=files.printable(p.path.name), reason=p.message) for p in dataset.problems]
    return Analysis(summary=summary, images=images, failures=tuple(failures))


def _refuse_diameter(dataset: Dataset, diameter_px: float | None) -> None:
    """Raise `InputError` for a diameter that no bead of this dataset can have."""
    if diameter_px is None:
        return
    if not SMALLEST_DIAMETER <= diameter_px < math.inf:
        raise InputError(f"The bead diameter is {diameter_px} px.", remedy=f"Give {SMALLEST_DIAMETER:g} px or more.")
    for sample in dataset:
        try:
            side = min(open_image(sample.image_path).size)
        except InputError:
            continue  # the analysis itself names it
        if diameter_px > side / 2:
            text = f"The bead diameter is {diameter_px:g} px, its images are {side} px high or wide."
            raise InputError(text, dataset.root, "Give the diameter of one bead in pixels.")
        return


def _typical_beads(dataset: Dataset, stop: StopFlag | None) -> tuple[float, float] | None:
    """Return diameter, px, and sign of the contrast of the beads; None where hardly any is marked."""
    names = dataset.names
    chosen = np.unique(np.linspace(0, len(names) - 1, min(LOOKED_AT, len(names))).round().astype(int)) if names else ()
    found = []
    for at in chosen:
        try:
            found.append(fingerprint(dataset.subset([names[int(at)]]), stop=stop))
        except InputError:
            continue  # unreadable, or no bead in it: the analysis itself names it
    if not found:
        return None
    diameter = median(one.bead_diameter_px for one in found)
    dark = sum(one.polarity == "dark" for one in found)
    return max(SMALLEST_DIAMETER, diameter), -1.0 if 2 * dark >= len(found) else 1.0


def _measure(
    sample: Sample, diameter: float | None, sign: float, doubts: Doubts
) -> list[tuple[ImageStats, Marks | None]]:
    measured = []
    for plane, pixels, target in sample.planes():
        doubts.add(sample.name, target.doubts())
        spots = None if diameter is None else mark_spots(pixels, target.foreground, target.ignore, diameter, sign)
        measured.append((image_stats(sample, plane, pixels, target), spots))
    return measured


def _summary(dataset: Dataset, images: tuple[ImageStats, ...], failed: tuple[str, ...]) -> Summary:
    def over(values: Iterable[float | None]) -> Spread | None:
        known = [value for value in values if value is not None]
        return _spread(known) if known else None

    judged = sorted((-image.partial.unmarked_share, image.image, image.partial.verdict)
                    for image in images if image.partial is not None)  # fmt: skip
    partial = tuple(name for _, name, verdict in judged if verdict == "partial")
    root = dataset.root.resolve()
    return Summary(
        dataset=root.name or str(root),
        path=str(dataset.root),
        dataset_size=len(images),
        fields_of_view=len({image.field for image in images}),
        total_objects=sum(image.objects for image in images),
        instances=all(image.instances for image in images),
        positive_ratio=_spread([image.positive_ratio for image in images]),
        objects_per_image=_spread([image.objects for image in images]),
        objects_per_mpx=_spread([image.objects_per_mpx for image in images]),
        object_size=over(image.object_area_px for image in images),
        object_diameter=over(image.object_diameter_px for image in images),
        touching=over(image.touching for image in images),
        brightness=_spread([image.brightness for image in images]),
        brightness_sd=_spread([image.brightness_sd for image in images]),
        contrast=over(image.contrast for image in images),
        partial_masks=PartialMasks(
            assessed=len(judged),
            suspects=len(partial),
            suspect_ratio=len(partial) / max(1, len(judged)),
            names=partial,
            misplaced=tuple(name for _, name, verdict in judged if verdict == "misplaced"),
        ),
        failed=failed,
    )


def _spread(values: list[float] | list[int]) -> Spread:
    return Spread(mean=fmean(values), sd=pstdev(values), min=min(values), median=median(values), max=max(values))


def image_stats(sample: Sample, plane: str, pixels: NDArray[np.generic], target: Target) -> ImageStats:
    """Measure one plane (C, Y, X) with its annotation; `ImageStats.partial` is left None."""
    labels = label_objects(target.foreground) if target.labels is None else target.labels
    counted = np.ones(labels.shape, bool) if target.ignore is None else ~target.ignore
    labels = np.where(counted, labels, 0)
    ids, areas = np.unique(labels[labels > 0], return_counts=True)
    grey = luminance(pixels)
    size = int(counted.sum())
    median = float(np.median(areas)) if len(ids) else None
    return ImageStats(
        image=f"{sample.name}_{plane}" if plane else sample.name,
        sample=sample.name,
        field=sample.field,
        height=labels.shape[0],
        width=labels.shape[1],
        instances=target.labels is not None,
        positive_ratio=float(np.count_nonzero(target.foreground & counted)) / max(1, size),
        objects=len(ids),
        objects_per_mpx=1e6 * len(ids) / max(1, size),
        object_area_px=median,
        object_diameter_px=None if median is None else float(equivalent_diameter(np.array(median))),
        touching=None if median is None else _touching(labels, areas, median, target.labels is not None),
        brightness=float(grey.mean(dtype=np.float64)),
        brightness_sd=float(grey.std(dtype=np.float64)),
        contrast=_contrast(grey, target.foreground & counted, counted),
        partial=None,
    )


def _touching(labels: NDArray[np.integer], areas: NDArray[np.integer], median: float, instances: bool) -> float:
    if not instances:
        return float((areas > CLUMP * median).mean())
    height, width = labels.shape
    touching: set[int] = set()
    for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
        here = labels[: height - down, max(0, -across) : width - max(0, across)]
        there = labels[down:, max(0, across) : width + min(0, across)]
        pairs = (here != there) & (here > 0) & (there > 0)
        touching.update(np.unique(here[pairs]).tolist(), np.unique(there[pairs]).tolist())
    return len(touching) / len(areas)


def _contrast(grey: NDArray[np.float32], beads: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float | None:
    means = beads_and_ring(grey, beads, counted)
    return means[0] / means[1] - 1.0 if means and means[1] > 0 else None
