"""The last step of a run: fit what separates beads, and store it in the model."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.events import Event, OnEvent, StopFlag, log
from beadseg.files import write_atomically
from beadseg.model.checkpoint import load_checkpoint, save_checkpoint
from beadseg.text import plural
from beadseg.training.scores import spread
from beadseg.training.tune import ENOUGH, Tuning, tune

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.training.trainer import Trainer

MOST_TRAINING_IMAGES = 16
"""Number of training images, spread over the densities, that stand in for validation images."""


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
    on_event(_told(found, fold, len(images)))


def give_objects(source: Path, target: Path) -> None:
    """Write the settings that are stored in the model `source`, if any, into the model `target` too."""
    objects = {name: value for name, value in load_checkpoint(source)[1].items() if name == "objects"}
    tensors, meta = load_checkpoint(target)
    save_checkpoint(target, tensors, {**meta, **objects})


def _told(found: Tuning, fold: str, images: int) -> Event:
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
