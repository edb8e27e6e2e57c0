"""How unsure a model is of one image, without any annotation of it.

Three measures, each per bead, so that an image does not lead because it is dense:

============  =======================================================================================================
disagreement  Beads found in the image and in its mirror images, matched one to one by centres: the share without a
              partner. The model votes against itself (query by committee: Seung et al. 1992; with augmented views as
              the committee: Gaillochet et al. 2023).
entropy       Binary entropy of the mean probability of these views, bits per pixel of a bead: unsure outlines and
              half-seen objects (uncertainty sampling: Lewis and Gale 1994).
count spread  How far the count goes between a threshold of 0.35 and 0.65: what is asked for in the end.
============  =======================================================================================================
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from beadseg.measure.beads import bead_table
from beadseg.measure.matching import Detection, match_points
from beadseg.model.inputs import luminance
from beadseg.predict.prediction import Maps

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from beadseg.data.image_io import Image
    from beadseg.events import StopFlag
    from beadseg.predict.bead_size import Size
    from beadseg.predict.segmenter import Segmenter

THRESHOLDS = (0.35, 0.65)
"""Between these the count should stay."""
PRIOR_BEADS = 5.0
"""Added to the number of beads that a measure is divided by: two doubtful specks do not make an image the worst."""


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
