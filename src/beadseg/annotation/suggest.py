"""Which images to annotate next (where a model is least sure, and images differ), and whether more of them pay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg import files
from beadseg.data.dataset import Dataset
from beadseg.data.documents import read_document, read_table
from beadseg.data.image_io import read_image
from beadseg.data.scan import stem_of
from beadseg.errors import BeadsegError, Cancelled, InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, ignore, track
from beadseg.files import ensure_folder, write_atomically
from beadseg.measure.beads import bead_table
from beadseg.measure.matching import Detection, match_points
from beadseg.model.inputs import luminance
from beadseg.predict.prediction import Maps
from beadseg.text import plural, to_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from beadseg.data.image_io import Image
    from beadseg.predict.bead_size import Size
    from beadseg.predict.segmenter import Segmenter

COLUMNS = ("rank", "image", "score", "novelty", "disagreement", "entropy", "count_spread", "beads")
"""Columns of the table; see `Suggestion` and `Uncertainty`."""

ENTROPY_SHARE = 0.05
"""What a bit of entropy per pixel adds to the score, whose first part is at most 1."""

THRESHOLDS = (0.35, 0.65)
"""Between these the count should stay."""
PLATEAU = 0.005
"""Further annotation no longer pays where the last images raised F1 by less."""
PRIOR_BEADS = 5.0
"""Added to the number of beads that a measure is divided by: two doubtful specks do not make an image the worst."""


@dataclass(frozen=True)
class Suggestion:
    """An image's place in the order.

    Attributes
    ----------
    index : int
        Of the image in the list that was ranked.
    score : float
        How unsure the model is of it: its disagreement, and a little of its entropy.
    novelty : float
        How far it is from all that come before it, 1 for the usual distance of two images or more; 0 for a copy.
    """

    index: int
    score: float
    novelty: float


@dataclass(frozen=True)
class Uncertainty:
    """How unsure a model is of an image, and what the image is like.

    Attributes
    ----------
    disagreement, entropy, count_spread : float
        See the module; 0 where the model is sure. Means over the planes of a stack.
    beads : float
        Beads found, mean over planes.
    features : tuple of float
        Density, size, certainty, brightness and contrast: near for images that are alike.
    """

    disagreement: float
    entropy: float
    count_spread: float
    beads: float
    features: tuple[float, ...]


@dataclass(frozen=True)
class SuggestResult:
    """Images in the order in which to annotate them.

    Attributes
    ----------
    images : tuple of path
        Best first.
    suggestions : tuple of Suggestion
        Of each of these.
    measures : tuple of Uncertainty
        Of each of these.
    failures : dict of str to str
        Reason by path of the images that could not be looked at.
    """

    images: tuple[Path, ...]
    suggestions: tuple[Suggestion, ...]
    measures: tuple[Uncertainty, ...]
    failures: dict[str, str]

    def to_csv(self) -> str:
        """Return the table as CSV, best first, columns as in `COLUMNS`."""
        return to_line(COLUMNS) + "".join(to_line(row) for row in self.rows())

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of the table as text."""
        return [
            (
                str(place),
                files.printable(path),
                f"{one.score:.4f}",
                f"{one.novelty:.4f}",
                f"{measured.disagreement:.4f}",
                f"{measured.entropy:.4f}",
                f"{measured.count_spread:.4f}",
                f"{measured.beads:g}",
            )
            for place, (path, one, measured) in enumerate(
                zip(self.images, self.suggestions, self.measures, strict=True), start=1
            )
        ]


def suggest(
    segmenter: Segmenter, images: Sequence[Path], on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> SuggestResult:
    """Order images by what annotating them would teach the model.

    Parameters
    ----------
    segmenter : Segmenter
        The model as it is.
    images : sequence of path
        Image files without annotation.
    on_event, stop
        Progress, and the flag that ends the work between images.

    Raises
    ------
    InputError
        No image could be looked at.
    Cancelled
        `stop` was set.
    """
    looked: list[tuple[Path, Uncertainty]] = []
    failures: dict[str, str] = {}
    for path in track(images, "images", len(images), on_event, stop):
        try:
            looked.append((path, uncertainty(segmenter, read_image(path), stop)))
        except (Cancelled, MachineError):
            raise
        except BeadsegError as error:  # one bad image never stops the rest
            failures[files.printable(path)] = str(error)
            on_event(Event("failure", f"Failed: {error}", "error", {"image": str(path)}))
    if not looked:
        raise InputError("None of the images could be looked at.", next(iter(failures), "suggest"), "See above.")
    order = rank([measured for _, measured in looked])
    return SuggestResult(
        tuple(looked[one.index][0] for one in order),
        tuple(order),
        tuple(looked[one.index][1] for one in order),
        failures,
    )


def least_certain_first(
    segmenter: Segmenter,
    images: Sequence[Path],
    dataset: Path,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> list[Path]:
    """Order images that are about to be drafted, and keep the order for the review of their dataset.

    What is annotated there already keeps its place at the end, and is not looked at.
    """
    annotated = (
        {sample.name for sample in Dataset.open(dataset, require_masks=False) if sample.annotated}
        if (dataset / files.IMAGES).is_dir()
        else set()
    )
    new = [path for path in images if stem_of(path) not in annotated]
    if not new:
        return list(images)
    result = suggest(segmenter, new, on_event, stop)
    write_atomically(ensure_folder(dataset / files.REVIEW) / files.SUGGESTIONS, result.to_csv())
    ranked = list(result.images)
    return [*ranked, *(path for path in images if path not in set(ranked))]


def suggested(dataset: Path) -> dict[str, int]:
    """Return the rank of every sample that `least_certain_first` has ordered, by name; empty where nothing was."""
    try:
        rows = read_table(dataset / files.REVIEW / files.SUGGESTIONS, "rank", "image")
    except BeadsegError:
        return {}
    return {stem_of(Path(row["image"])): place for place, row in enumerate(rows)}


def improvements(root: Path) -> list[dict[str, Any]]:
    """Return what was improved by the images of a dataset so far, oldest first; nothing where that cannot be read."""
    try:
        found = read_document(root / files.REVIEW / files.IMPROVEMENTS).get("improvements", [])
    except BeadsegError:
        return []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def curve(found: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    """Return F1 on the images left out against annotated images: before the first improvement, then after each.

    Of several with as many images the last one counts.
    """
    scored = [each for each in found if each.get("f1_after") is not None]
    points = {0: float(scored[0]["f1_before"])} if scored else {}
    for each in scored:
        points[int(each["trained"]) + int(each["held"])] = float(each["f1_after"])
    return sorted(points.items())


def curve_text(found: Sequence[dict[str, Any]]) -> str:
    """Return in words how F1 grew with the images, and whether further annotation still pays; empty without scores."""
    points = curve(found)
    if len(points) < 2:
        return ""
    steps = ", ".join(f"{f1:.3f} ({plural(count, 'image')})" if count else f"{f1:.3f} at first" for count, f1 in points)
    text = f"F1 on images left out: {steps}."
    if len(points) < 3:
        return text
    (before, first), (after, last) = points[-2], points[-1]
    gained = last - first
    pays = "further annotation no longer pays" if gained < PLATEAU else "further annotation pays"
    return f"{text} The last {plural(after - before, 'image')} raised it by {max(0.0, gained):.3f}: {pays}."


def rank(images: Sequence[Uncertainty]) -> list[Suggestion]:
    """Order images by how much they would teach: unsure ones first, but none that is like one before it.

    The next one is always that of the largest score times novelty: a k-centre choice (Sener and Savarese 2018) weighed
    by uncertainty. Uncertainty is the disagreement with mirror images; entropy decides where the model agrees with
    itself. How closely each measure follows the model's true error, ``benchmarks/suggest.py`` prints.

    Returns
    -------
    list of Suggestion
        All images, best first.
    """
    if not images:
        return []
    scores = np.array([image.disagreement + ENTROPY_SHARE * min(image.entropy, 1.0) for image in images])
    places = _standardised(np.array([image.features for image in images]))
    usual = _usual_distance(places)
    novelty = np.ones(len(images))
    waiting = np.ones(len(images), bool)
    order: list[Suggestion] = []
    for _ in images:
        # Copies have no novelty: they come last, by their score.
        worth = np.where(waiting, scores * novelty + 1e-9 * scores, -1.0)
        best = int(np.argmax(worth))
        order.append(Suggestion(best, float(scores[best]), float(novelty[best])))
        waiting[best] = False
        novelty = np.minimum(novelty, np.linalg.norm(places - places[best], axis=1) / usual)
    return order


def _standardised(features: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = features.std(axis=0)
    return np.asarray((features - features.mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0), np.float64)


def _usual_distance(places: NDArray[np.float64]) -> float:
    """Return the median distance of two different images, of at most 500 of them."""
    some = places[np.unique(np.linspace(0, len(places) - 1, 500).round().astype(int))]
    distances = np.linalg.norm(some[:, None] - some[None], axis=2)[np.triu_indices(len(some), 1)]
    distances = distances[distances > 1e-9]
    return float(np.median(distances)) if len(distances) else 1.0


def uncertainty(segmenter: Segmenter, image: Image, stop: StopFlag | None = None) -> Uncertainty:
    """Predict an image and its mirror images, and tell how far they agree.

    Raises
    ------
    ImageError
        The image has not the channels that the model needs.
    Cancelled
        `stop` was set.
    """
    planes = [_plane(segmenter, plane, stop) for _, plane in image.planes()]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    features = np.mean([plane.features for plane in planes], axis=0)
    return Uncertainty(
        mean([plane.disagreement for plane in planes]),
        mean([plane.entropy for plane in planes]),
        mean([plane.count_spread for plane in planes]),
        mean([plane.beads for plane in planes]),
        tuple(float(value) for value in features),
    )


def _plane(segmenter: Segmenter, plane: NDArray[np.generic], stop: StopFlag | None) -> Uncertainty:
    objects = segmenter.options.objects
    size = segmenter.size(plane, stop=stop)
    views = [_mirrored(segmenter, plane, axes, size, stop) for axes in ((), (-1,), (-2,))]
    diameter = views[0].diameter(objects)
    found = [view.separated(objects).chosen(objects) for view in views]
    tables = [bead_table(labels, probability=view.probability) for labels, view in zip(found, views, strict=True)]
    centres = [table[["y", "x"]].to_numpy(np.float64) for table in tables]
    votes = sum((match_points(other, centres[0], diameter / 2).counts for other in centres[1:]), Detection(0, 0, 0))
    alone = votes.fp + votes.fn
    together = _mean(views)
    mean = together.probability
    area = float((mean >= objects.threshold).sum()) + PRIOR_BEADS * math.pi * diameter**2 / 4
    candidates = together.separated(objects)
    thresholds = (max(at, candidates.lowest) for at in THRESHOLDS)
    counts = [int(candidates.chosen(objects.replace(threshold=at)).max(initial=0)) for at in thresholds]
    return Uncertainty(
        disagreement=alone / (2 * votes.tp + alone + PRIOR_BEADS * len(centres[1:])),
        entropy=float(_entropy(mean).sum()) / area,
        count_spread=abs(counts[1] - counts[0]) / (sum(counts) / 2 + PRIOR_BEADS),
        beads=float(len(tables[0])),
        features=_features(plane, tables[0], diameter),
    )


def _mirrored(
    segmenter: Segmenter, plane: NDArray[np.generic], axes: tuple[int, ...], size: Size, stop: StopFlag | None
) -> Maps:
    """Return the maps (Y, X) as predicted from the image mirrored along `axes`, mirrored back."""
    seen = segmenter.maps(np.ascontiguousarray(np.flip(plane, axes)), stop=stop, size=size)
    centre = None if seen.centre is None else np.flip(seen.centre, axes)
    return Maps(np.flip(seen.probability, axes), centre, seen.scale)


def _mean(views: Sequence[Maps]) -> Maps:
    """Return the mean of several views of one plane."""
    probability = np.mean(np.stack([view.probability for view in views]), axis=0)
    centres = [view.centre for view in views if view.centre is not None]
    return Maps(probability, np.mean(np.stack(centres), axis=0) if centres else None, views[0].scale)


def _entropy(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the binary entropy, bits."""
    p = np.clip(probability, 1e-6, 1 - 1e-6)
    return np.asarray(-(p * np.log2(p) + (1 - p) * np.log2(1 - p)), np.float32)


def _features(plane: NDArray[np.generic], beads: pd.DataFrame, diameter: float) -> tuple[float, ...]:
    grey = luminance(plane).astype(np.float64)
    ground = float(np.median(grey))
    spread = float(np.mean(np.abs(grey - ground)))
    known = len(beads) > 0
    return (
        math.log1p(1e6 * len(beads) / grey.size),
        float(beads["equivalent_diameter_px"].median()) / diameter if known else 1.0,
        float(beads["mean_probability"].mean()) if known else 1.0,
        math.copysign(math.log1p(abs(ground)), ground),
        math.log1p(spread),
    )
