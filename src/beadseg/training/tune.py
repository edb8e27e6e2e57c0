"""After training: the settings that separate and choose beads, fitted to images whose beads are known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beadseg.measure.counting import Counted, count_scores
from beadseg.predict.inference import probabilities
from beadseg.predict.prediction import Maps
from beadseg.training.scores import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from beadseg.config import ObjectConfig, PredictConfig
    from beadseg.events import StopFlag
    from beadseg.model.device import Precision
    from beadseg.model.networks import Network
    from beadseg.training.samples import TrainingImage

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4)
"""Seed thresholds tried, for networks with a centre map."""
DISTANCES = (0.3, 0.4)
"""Distances of seeds tried, share of a bead diameter."""
CONFIDENCES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Least confidences tried."""
TIE = 0.0005
"""Differences of F1 below this are chance: the smaller count bias decides."""
ENOUGH = 50
"""With fewer true beads nothing is fitted."""


@dataclass(frozen=True)
class Tuning:
    """What was fitted.

    Attributes
    ----------
    objects : ObjectConfig
        The settings that count best.
    tried : tuple of dict
        One row per setting, the one before tuning first: its values and its `COUNT_METRICS`.
    beads : int
        True beads that it was fitted to.
    """

    objects: ObjectConfig
    tried: tuple[dict[str, Any], ...]
    beads: int


def tune(
    network: Network,
    images: Sequence[TrainingImage],
    config: PredictConfig,
    precision: Precision,
    stop: StopFlag | None = None,
) -> Tuning:
    """Return the settings of `config.objects` that detect best the beads of `images`, by F1 and then by count bias.

    Fitted are the distance of seeds, for networks with a centre map also the height of a seed, and the least
    confidence. Foreground threshold and smallest area stay, since they decide what the areas are.

    Raises
    ------
    Cancelled
        `stop` was set.
    """
    objects = config.objects
    maps = [Maps.of_heads(probabilities(network, image.image, config.tiling, precision, stop=stop)) for image in images]
    beads = sum(len(image.beads) for image in images)
    found = [(objects, _counts(objects, maps, images))]
    if beads >= ENOUGH and objects.separate:
        for settings in _grid(objects, centre=maps[0].centre is not None):
            if stop is not None:
                stop.check()
            separations = [view.separated(settings) for view in maps]
            for confidence in CONFIDENCES:
                choice = settings.replace(min_confidence=confidence)
                pairs = zip(separations, images, strict=True)
                found.append((choice, [counted(separation, choice, image) for separation, image in pairs]))
    scores = [count_scores(counts) for _, counts in found]
    top = max(score["f1"] for score in scores)
    best = min(
        (at for at, score in enumerate(scores) if score["f1"] >= top - TIE),
        key=lambda at: abs(scores[at]["count_bias"]),
    )
    rows = tuple({**_settings(choice), **score} for (choice, _), score in zip(found, scores, strict=True))
    return Tuning(found[best][0], rows, beads)


def _counts(objects: ObjectConfig, maps: Sequence[Maps], images: Sequence[TrainingImage]) -> list[Counted]:
    return [counted(view.separated(objects), objects, image) for view, image in zip(maps, images, strict=True)]


def _grid(objects: ObjectConfig, *, centre: bool) -> Iterator[ObjectConfig]:
    for threshold in THRESHOLDS if centre else (objects.seeds.threshold,):
        for distance in DISTANCES:
            yield objects.replace(seeds=objects.seeds.replace(threshold=threshold, distance=distance))


def _settings(objects: ObjectConfig) -> dict[str, float]:
    return {
        "seed_threshold": objects.seeds.threshold,
        "seed_distance": objects.seeds.distance,
        "min_confidence": objects.min_confidence,
    }
