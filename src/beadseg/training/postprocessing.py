"""The last step of a run: fit what separates and selects beads, learn how counts are to be read, and store both."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from beadseg import files
from beadseg.errors import BeadsegError
from beadseg.events import Event, OnEvent, StopFlag, ignore, log, track
from beadseg.files import write_atomically
from beadseg.measure.appearance import APPEARANCE, TrainingAppearance, appearance, sample_of_input
from beadseg.measure.beads import bead_table
from beadseg.measure.calibration import CALIBRATION, Calibration, KnownImage
from beadseg.measure.matching import Counted, count_scores, match_points
from beadseg.measure.scores import visible_objects
from beadseg.model.backends import TorchBackend
from beadseg.model.checkpoint import load_checkpoint, save_checkpoint
from beadseg.predict.blocks import probabilities
from beadseg.predict.instances import needed_diameter
from beadseg.predict.prediction import Maps
from beadseg.predict.segmenter import Segmenter
from beadseg.text import plural
from beadseg.training.trainer import start_weights
from beadseg.training.validation import counted, score, spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from beadseg.config import ObjectConfig, PredictConfig
    from beadseg.measure.appearance import Appearance
    from beadseg.model.backends import Precision
    from beadseg.model.networks import Network
    from beadseg.training.batches import TrainingImage
    from beadseg.training.trainer import Trainer

MOST_TRAINING_IMAGES = 16
"""Number of training images, spread over the densities, that stand in for validation images."""

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

WAYS = (1.0, 0.7, 0.5, 0.3)
"""Shares of the way from the weights that training started from to the trained ones; tried in this order."""

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


def keep_what_it_knew(trainer: Trainer, folder: Path, on_event: OnEvent, stop: StopFlag | None) -> None:
    """Move the best model's weights back towards those that training started from, as far as that scores better.

    Few annotated images, or wrong ones, make a network forget what it could before; weights between both models keep
    it (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models"). Jaccard and F1 of the validation images decide
    together. Nothing is changed without such images, or where training started from random weights.

    Raises
    ------
    RunError
        The model file is damaged.
    Cancelled
        `stop` was set.
    """
    config = trainer.config
    path = folder / files.BEST
    trained, meta = load_checkpoint(path)
    finished = {"way", "objects", CALIBRATION} & meta.keys()
    if config.start_from == "none" or not trainer.validation or finished:
        return
    network = copy.deepcopy(trainer.average).eval()
    try:
        start = started_from(network, config.start_from)
    except BeadsegError as error:  # a run that is gone by now
        on_event(log(f"The trained weights are kept as they are: {error}", "warning"))
        return
    images = spread(trainer.validation, MOST_TRAINING_IMAGES)
    found: dict[float, dict[str, float]] = {}
    for way in track(WAYS, "what it knew before", len(WAYS), on_event, stop):
        network.load_state_dict(between(start, trained, way))
        scores = score(network, images, trainer.loss, config.predict, trainer.precision, stop)
        found[way] = {key: scores[key] for key in ("jaccard_images", "f1") if key in scores}
    way = max(WAYS, key=lambda way: float(np.nan_to_num(np.mean([*found[way].values()]))))
    save_checkpoint(path, between(start, trained, way), {**meta, "way": way})
    if way < 1:
        before, after = (", ".join(f"{value:.3f}" for value in found[at].values()) for at in (1.0, way))
        names = " and ".join({"jaccard_images": "Jaccard", "f1": "F1"}[key] for key in found[way])
        on_event(log(f"Weights {way:.0%} of the way from {config.start_from} to the trained ones are kept: they score "
                     f"better on the validation images ({names}: {before}, then {after})."))  # fmt: skip


def go_as_far(source: Path, target: Path, trainer: Trainer) -> None:
    """Move the weights of the model `target` back as far as those of the model `source` were."""
    way = load_checkpoint(source)[1].get("way", 1.0)
    tensors, meta = load_checkpoint(target)
    if way < 1 and "way" not in meta:
        start = started_from(copy.deepcopy(trainer.average), trainer.config.start_from)
        save_checkpoint(target, between(start, tensors, way), {**meta, "way": way})


def started_from(network: Network, start_from: str) -> dict[str, Tensor]:
    """Give `network` the weights that training started from, and return them, on the CPU."""
    start_weights(network, start_from)
    return {name: value.cpu().clone() for name, value in network.state_dict().items()}


def between(start: Mapping[str, Tensor], trained: Mapping[str, Tensor], way: float) -> dict[str, Tensor]:
    """Return weights that are a share `way` of the way from `start` to `trained`, of the type of `trained`."""
    if way == 1.0:
        return dict(trained)
    return {
        name: torch.lerp(start[name].float(), value.float(), way).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in trained.items()
    }


def fit_objects(trainer: Trainer, folder: Path, on_event: OnEvent, stop: StopFlag | None) -> None:
    """Fit the settings that separate and choose beads, and write them into the best model and ``separation.json``.

    Fitted to the validation images, or to training images where there are none. A model that has them keeps them.

    Raises
    ------
    RunError
        The model file is damaged.
    Cancelled
        `stop` was set.
    """
    path = folder / files.BEST
    tensors, meta = load_checkpoint(path)
    if "objects" in meta and (folder / files.SEPARATION).exists():
        return
    if not trainer.config.tune:
        return
    images = trainer.validation or spread(trainer.sampler.images, MOST_TRAINING_IMAGES)
    fold = "validation" if trainer.validation else "training"
    network = copy.deepcopy(trainer.average)
    network.load_state_dict(tensors)
    found = tune(network.eval(), images, trainer.config.predict, trainer.precision, stop)
    objects = found.objects.model_dump(mode="json")
    save_checkpoint(path, tensors, {**meta, "objects": objects})
    document = {"schema_version": 1, "fitted_to": fold, "images": len(images), "beads": found.beads, "objects": objects,
                "tried": list(found.tried)}  # fmt: skip
    write_atomically(folder / files.SEPARATION, json.dumps(document, indent=2))
    on_event(_tuning_event(found, fold, len(images)))


def give_objects(source: Path, target: Path) -> None:
    """Write the settings that are stored in the model `source`, if any, into the model `target` too."""
    objects = {name: value for name, value in load_checkpoint(source)[1].items() if name == "objects"}
    tensors, meta = load_checkpoint(target)
    save_checkpoint(target, tensors, {**meta, **objects})


def _tuning_event(found: Tuning, fold: str, images: int) -> Event:
    if found.beads < ENOUGH:
        return log(f"Separation is not fitted: too few beads in the {fold} images ({found.beads}).")
    seeds, confidence = found.objects.seeds, found.objects.min_confidence
    chosen = {"seed_threshold": seeds.threshold, "seed_distance": seeds.distance, "min_confidence": confidence}
    before, after = found.tried[0], next(row for row in found.tried if chosen.items() <= row.items())
    return log(
        f"Separation fitted to {plural(found.beads, 'bead')} in {images} {fold} images: "
        f"seeds from {seeds.threshold:g}, "
        f"{seeds.distance:g} diameters apart, confidence from {confidence:g}. F1 {before['f1']:.4f}, then "
        f"{after['f1']:.4f}; count bias {before['count_bias']:+.2f}, then {after['count_bias']:+.2f} beads per image."
    )


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
    backend = TorchBackend(network, precision)
    maps = [Maps.of_heads(probabilities(backend, image.image, config.tiling, stop=stop)) for image in images]
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
    on_event(log(_calibration_text(calibration)))


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


def _calibration_text(calibration: Calibration) -> str:
    """Return in one line what was learned."""
    beads = calibration.beads
    misses, false = (100 * count / max(1, beads) for count in (calibration.misses, calibration.false_finds))
    return (
        f"Counts calibrated on {calibration.images} {calibration.source} images with {beads} beads: "
        f"{misses:.1f} % missed, {false:.1f} % found where none is."
    )
