"""Learn how a trained model's counts are to be read and what its images look like, and store both in the model file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import numpy as np

from beadseg.events import OnEvent, StopFlag, ignore, log, track
from beadseg.measure.appearance import APPEARANCE, TrainingAppearance, appearance, sample_of_input
from beadseg.measure.beads import bead_table
from beadseg.measure.calibration import CALIBRATION, Calibration, KnownImage
from beadseg.measure.matching import match_points
from beadseg.measure.score import visible_objects
from beadseg.model.checkpoint import load_checkpoint, save_checkpoint
from beadseg.predict.segmenter import Segmenter
from beadseg.predict.separation import needed_diameter
from beadseg.training.scores import spread

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.measure.appearance import Appearance
    from beadseg.training.samples import TrainingImage

MOST_IMAGES = 60
"""So many images, spread over the densities, are enough."""
LEAST_PARTS = 20
"""Fewer images than this are cut into equal parts until there are this many."""
SMALLEST_PART = 6.0
"""Smallest height and width of a part, bead diameters."""
MOST_MEASURED = 30
"""Number of validation, and of training images whose look is measured."""
LARGEST_MEASURED = 1024
"""Side of the central square that is measured in larger images, px."""


def calibrate_model(
    path: Path,
    validation: Sequence[TrainingImage],
    training: Sequence[TrainingImage],
    device: str = "auto",
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> None:
    """Add to a model file what it lacks: a calibration of its counts, and what the images look like.

    Counts are calibrated by validation images, or without any by training images. A calibration that was made for other
    settings of `objects` is replaced. What images look like is measured in both.

    Parameters
    ----------
    path : pathlib.Path
        The model file.
    validation, training : sequence of TrainingImage
        Images whose beads are known.
    device : str
        Where to compute.
    on_event, stop
        Progress, and the flag that ends the work.

    Raises
    ------
    Cancelled
        `stop` was set; the model file is as it was.
    """
    segmenter = Segmenter.load(path, device=device)
    if segmenter.calibration is None or not segmenter.calibration.fits(segmenter.options.objects):
        _calibrate(path, segmenter, validation, training, on_event, stop)
    if segmenter.appearance is None:
        _describe_images(path, segmenter, validation, training, on_event, stop)


def _calibrate(
    path: Path,
    segmenter: Segmenter,
    validation: Sequence[TrainingImage],
    training: Sequence[TrainingImage],
    on_event: OnEvent,
    stop: StopFlag | None,
) -> None:
    source: Literal["validation", "training"] = "validation" if validation else "training"
    images = spread(validation or training, MOST_IMAGES)
    parts: list[KnownImage] = []
    for image in track(images, "calibrating counts", len(images), on_event, stop):
        parts += known_parts(segmenter, image, math.ceil(math.sqrt(LEAST_PARTS / len(images))), on_event, stop)
    if not parts:
        on_event(log("Counts are not calibrated: all of the images is ignored.", "warning"))
        return
    calibration = Calibration.of(segmenter.options.objects, source, len(images), parts)
    tensors, meta = load_checkpoint(path)
    save_checkpoint(path, tensors, {**meta, CALIBRATION: calibration.model_dump(mode="json")})
    on_event(log(_told(calibration)))


def _describe_images(
    path: Path,
    segmenter: Segmenter,
    validation: Sequence[TrainingImage],
    training: Sequence[TrainingImage],
    on_event: OnEvent,
    stop: StopFlag | None,
) -> None:
    """Measure what training and validation images look like, and add it to the fingerprint in the model file."""
    config, objects = segmenter.config.image, segmenter.options.objects
    diameter = needed_diameter(objects)
    images = [*spread(validation, MOST_MEASURED), *spread(training, MOST_MEASURED)]
    measured: list[Appearance] = []
    for image in track(images, "measuring images", len(images), on_event, stop):
        if image.pixels is None:
            continue
        x = _middle(image.image, LARGEST_MEASURED)
        maps = segmenter.prepared_maps(x, on_event, stop)
        separation = maps.separated(objects)
        sample = sample_of_input(image.pixels, x, config, diameter)
        labels, candidates = separation.chosen(objects), separation.positions
        measured.append(appearance(sample, labels, maps.probability, maps.centre, candidates, diameter))
    if not measured:
        return
    found = TrainingAppearance.of(measured, config, diameter)
    tensors, meta = load_checkpoint(path)
    fingerprint = {**meta["fingerprint"], APPEARANCE: found.model_dump(mode="json")}
    save_checkpoint(path, tensors, {**meta, "fingerprint": fingerprint})
    on_event(log(f"Measured what {found.images} images look like; images that look different are flagged."))


def _middle(x: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return the middle (C, Y, X) of a large image, of at most `side` by `side` px."""
    top, left = (max(0, (size - side) // 2) for size in x.shape[1:])
    return x[:, top : top + side, left : left + side]


def known_parts(
    segmenter: Segmenter, image: TrainingImage, cuts: int, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> list[KnownImage]:
    """Return what the model makes of an image, cut into `cuts` by `cuts` parts as far as these do not become tiny.

    A pair of a found and a true bead belongs to the part that the found one lies in.
    """
    objects = segmenter.options.objects
    diameter = needed_diameter(objects)
    separation = segmenter.prepared_maps(image.image, on_event, stop).separated(objects)
    hidden = image.judged == 0
    labels = separation.chosen(objects)
    found = bead_table(visible_objects(labels > 0, labels, hidden))[["y", "x"]].to_numpy(np.float64)
    matched = match_points(found, image.beads, diameter / 2)
    grid = _Grid(image.counted.shape, [_cut(side, cuts, diameter) for side in image.counted.shape])
    lone = np.ones(len(found), bool)
    lone[matched.predicted] = False
    missed = np.ones(len(image.beads), bool)
    missed[matched.true] = False
    seen = ~hidden.reshape(-1)[separation.pixels]
    places = np.stack(np.divmod(separation.pixels[seen], image.counted.shape[1]), axis=1)
    columns = (
        grid.sums(np.argwhere(~hidden)),
        grid.sums(found),
        grid.sums(image.beads[missed]),
        grid.sums(found[lone]),
        grid.sums(places, separation.probability[seen]),
    )
    return [
        KnownImage(int(pixels), int(beads), int(misses), int(false), float(integral))
        for pixels, beads, misses, false, integral in zip(*columns, strict=True)
        if pixels > 0
    ]


def _cut(side: int, cuts: int, diameter: float) -> int:
    return max(1, min(cuts, int(side / (SMALLEST_PART * diameter))))


class _Grid:
    """An image cut into equal parts."""

    def __init__(self, shape: tuple[int, ...], cuts: Sequence[int]) -> None:
        self.shape, self.cuts = shape, cuts

    def sums(
        self, places: NDArray[np.floating] | NDArray[np.integer], weights: NDArray[np.floating] | None = None
    ) -> NDArray[np.float64]:
        """Return how many of the `places` (N, 2), or what sum of their weights, lies in each part."""
        rows, columns = (
            np.clip(places[:, axis] * self.cuts[axis] // self.shape[axis], 0, self.cuts[axis] - 1).astype(np.int64)
            for axis in (0, 1)
        )
        return np.bincount(
            rows * self.cuts[1] + columns, weights=weights, minlength=self.cuts[0] * self.cuts[1]
        ).astype(np.float64)


def _told(calibration: Calibration) -> str:
    """Return in one line what was learned."""
    beads = calibration.beads
    misses, false = (100 * count / max(1, beads) for count in (calibration.misses, calibration.false_finds))
    return (
        f"Counts calibrated on {calibration.images} {calibration.source} images with {beads} beads: "
        f"{misses:.1f} % missed, {false:.1f} % found where none is."
    )
