"""Improve a model by the few images that a person has accepted or corrected: within a minute, and measured.

One image in four is left out, always the same ones; both models are scored on these. The model continues from the
present one's weights, at a low learning rate and with simulated patches among the others, so that it does not forget
what it could count before. How far it may go is decided on simulated looks: weights halfway between both models keep
more of the first one (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").
"""

from __future__ import annotations

import copy
import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from beadseg import files
from beadseg.annotation.review import Review, reviewed
from beadseg.annotation.suggest import improvements
from beadseg.config import GENERAL, TrainConfig
from beadseg.config.train import AugmentConfig, OptimizerConfig, PatchEpochConfig, StopConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate.look_config import LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.data.split import Split
from beadseg.events import OnEvent, StopFlag, ignore, log, progress, track
from beadseg.files import write_atomically
from beadseg.measure.beads import bead_table
from beadseg.measure.matching import Detection, match_points
from beadseg.measure.scores import score_image
from beadseg.model.backends import torch_only
from beadseg.model.checkpoint import load_checkpoint, save_checkpoint
from beadseg.predict.segmenter import Segmenter
from beadseg.runtime.locking import new_folder
from beadseg.text import plural
from beadseg.training.postprocessing import between
from beadseg.training.run import train

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.config.predict import PredictConfig
    from beadseg.data.dataset import Sample
    from beadseg.data.simulate.looks import Look

SECONDS = 30.0
"""Steps of training take about so long."""
STEPS = (20, 160)
"""Fewest and most."""
BATCH, SIDE = 4, 128
"""Patches of a step, and their side, px."""
SIMULATED = 0.4
"""Share of simulated patches."""
RATE = 5e-4
"""Peak learning rate."""
HELD = 4
"""One accepted image in so many is left out."""
MOST_HELD = 8
"""More images are not scored."""
LOOKS, LOOK_SIDE, FIRST_LOOK = 40, 128, 7_000_000_000
"""Simulated images that show what the model could before; px; seed of the first."""
FORGOTTEN = 0.004
"""F1 on these may fall by so much."""
WAYS = (1.0, 0.6, 0.35, 0.2)
"""How far to go from the present model's weights to the trained ones; the first that forgets nothing."""
GAIN = 0.002
"""F1 must rise by more than this to be called better."""
FEW_BEADS = 30
"""Fewer in the images left out say little."""


@dataclass(frozen=True)
class Improvement:
    """What came of it.

    Attributes
    ----------
    model, before : str
        The new run folder, and the model that it started from.
    trained, held : int
        Images trained on, and left out.
    beads : int
        Beads in the images left out.
    f1_before, f1_after : float or None
        Of both models on the images left out; None where there are none.
    looks_before, looks_after : float
        Of both models on simulated looks.
    way : float
        How far the weights went from the present model's to the trained ones; 0: they are the present ones.
    seconds : float
        All of it.
    when : str
        UTC.
    """

    model: str
    before: str
    trained: int
    held: int
    beads: int
    f1_before: float | None
    f1_after: float | None
    looks_before: float
    looks_after: float
    way: float
    seconds: float
    when: str

    @property
    def better(self) -> bool | None:
        """Whether the new model is better on the images left out; None where none are."""
        if self.f1_before is None or self.f1_after is None:
            return None
        return self.f1_after > self.f1_before + GAIN

    def text(self) -> str:
        """Return what a person decides by."""
        images = plural(self.trained, "image")
        if self.better is None:
            return (
                f"Trained on {images}. No accepted image was left out, so nobody can say whether the new model is "
                "better: accept a second image, or look at what it counts."
            )
        scores = f"F1 {self.f1_before:.3f} before, {self.f1_after:.3f} now"
        where = f"on {plural(self.held, 'accepted image')} left out ({plural(self.beads, 'bead')})"
        verdict = "The new model is better" if self.better else "The new model is not better"
        few = " So few beads say little." if self.beads < FEW_BEADS else ""
        return f"{verdict}: {scores}, {where}; trained on {images}.{few}"


@torch_only()
def improve(
    dataset: Dataset | Path | str,
    out: Path,
    model: Path | str = GENERAL,
    *,
    seconds: float = SECONDS,
    device: str = "auto",
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> Improvement:
    """Train a model further on the accepted samples of a dataset, and score it beside the present one.

    Parameters
    ----------
    dataset : Dataset or path
        A reviewed dataset; only accepted and corrected samples are used.
    out : path
        Folder of the new run.
    model : path or str
        The present model: ``general``, or a run folder.
    seconds : float
        About so long the steps of training take.
    device : str
        ``auto``, ``cpu``, ``cuda`` …
    on_event, stop
        Progress, and the flag that ends the work.

    Raises
    ------
    InputError
        No sample is accepted, or `out` is not empty.
    RunError
        There is no such model.
    Cancelled
        `stop` was set.
    """
    begun = time.monotonic()
    stop = StopFlag() if stop is None else stop
    files.refuse_full(out)
    opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset, require_masks=False)
    accepted = reviewed(opened, "accepted", on_event)
    split = left_out(Review.open(opened), accepted)
    present = Segmenter.load(model, device=device)
    steps = _steps(present, seconds)
    config = _config(present, model, steps)
    on_event(log(f"{len(split.train)} images to train on, {len(split.val)} left out; {steps} steps."))
    with new_folder(out) as unfinished:
        train(accepted, config, unfinished, split=Split(split.train, ()), device=device, on_event=on_event, stop=stop)
        held = [accepted[name] for name in split.val[:MOST_HELD]]
        kept, present.options = present.options, present.options.replace(precision="fp32")
        new, way, looks = _settle(unfinished, present, kept, on_event, stop)
        before, after = (_f1(one, held, on_event, stop) for one in (present, new))
        found = Improvement(
            model=str(out), before=str(model),
            trained=len(split.train), held=len(held), beads=before.tp + before.fn,
            f1_before=before.f1 if held else None, f1_after=after.f1 if held else None,
            looks_before=looks[0], looks_after=looks[1], way=way, seconds=round(time.monotonic() - begun, 1),
            when=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )  # fmt: skip
        _note(opened.root, found)
    return found


def left_out(review: Review, accepted: Dataset) -> Split:
    """Divide the accepted samples: of every four, in the order of their first acceptance, the second is left out.

    So an image that was left out once is never trained on later, nor the other way round.
    """

    def first(name: str) -> str:
        steps = review.history(name)
        return min((step.time for step in steps if step.state in ("accepted", "corrected")), default="")

    order = sorted(accepted.names, key=lambda name: (first(name), name))
    held = tuple(order[1::HELD])
    return Split(tuple(name for name in order if name not in held), held)


def _config(present: Segmenter, model: Path | str, steps: int) -> TrainConfig:
    """Return how to train further: the present model's network, image and loss, few steps at a low rate."""
    own = present.config
    preset = TrainConfig.preset("dense")
    size = present.options.size.replace(diameter=None, search=False)
    source = GENERAL if model == GENERAL else str(model)
    return own.replace(
        based_on="dense", start_from=source, loss=preset.loss, centre=preset.centre, augment=AugmentConfig(
            intensity=0.2, noise=0.1, blur=0.05), annotations="trust", tune=False, train_scores=0, ema=0.9,
        epochs=1, batch=BATCH, accumulate=1, optimizer=OptimizerConfig(lr=RATE), stop=StopConfig(metric="f1"),
        epoch=PatchEpochConfig(steps=steps, size=SIDE, on_bead=0.8, simulated=SIMULATED if own.image.bead_px else 0.0),
        predict=present.options.replace(size=size),
    )  # fmt: skip


def _steps(present: Segmenter, seconds: float) -> int:
    """Return how many steps take so long here, by one that is tried on a copy."""
    network = copy.deepcopy(present.network).train()
    channels = 3 if present.config.image.channels.kind == "rgb" else 1
    batch = torch.zeros(BATCH, channels, SIDE, SIDE, device=present.device)
    took = []
    for _ in range(2):
        begun = time.monotonic()
        network(batch).float().mean().backward()
        took.append(time.monotonic() - begun)
    return int(np.clip(seconds / (1.3 * min(took)), *STEPS))


def _settle(
    out: Path, present: Segmenter, kept: PredictConfig, on_event: OnEvent, stop: StopFlag
) -> tuple[Segmenter, float, tuple[float, float]]:
    """Keep as much of the trained weights as forgets nothing, and how the present model is used (`kept`).

    Returns the new model, how far it went, and F1 of both on simulated looks.
    """
    path = out / files.BEST
    trained, meta = load_checkpoint(path)
    old = {name: value.cpu() for name, value in present.network.state_dict().items()}
    looks = [draw_look(LookConfig(side=LOOK_SIDE, empty=0.0, cells=0.0), FIRST_LOOK + n) for n in range(LOOKS)]
    new = Segmenter.load(out, device=str(present.device), options=present.options)
    before = looks_found(present, looks, stop).f1
    for number, way in enumerate((*WAYS, 0.0)):
        on_event(progress("what it could before", number, len(WAYS) + 1))
        tensors = between(old, trained, way)
        new.network.load_state_dict(tensors)
        after = looks_found(new, looks, stop).f1
        if after >= before - FORGOTTEN:
            break
    config = {**meta["config"], "predict": kept.model_dump(mode="json")}
    save_checkpoint(path, tensors, {**meta, "config": config, "objects": kept.objects.model_dump(mode="json")})
    return new, way, (before, after)


def looks_found(segmenter: Segmenter, looks: Sequence[Look], stop: StopFlag) -> Detection:
    """Return hits and misses on simulated looks, at the size that their beads have."""
    total = Detection(0, 0, 0)
    for look in looks:
        stop.check()
        size = float(np.median(look.diameters))
        labels = segmenter.predict(look.image, diameter_px=size, stop=stop).labels
        found = bead_table(labels)[["y", "x"]].to_numpy(np.float64)
        y, x = np.rint(found).astype(int).T
        matched = match_points(found, look.centres.astype(np.float64), np.maximum(look.diameters / 2, 1.5))
        alone = np.setdiff1d(np.arange(len(found)), matched.predicted)
        wrong = int((~look.ignore[y[alone], x[alone]]).sum())
        total = total + Detection(matched.counts.tp, wrong, matched.counts.fn)
    return total


def _f1(segmenter: Segmenter, held: Sequence[Sample], on_event: OnEvent, stop: StopFlag) -> Detection:
    """Return hits and misses on the images left out, as `evaluate` counts them."""
    total = Detection(0, 0, 0)
    for sample in track(held, "images left out", len(held), on_event, stop):
        for name, pixels, target in sample.planes():
            found = segmenter.predict(pixels, stop=stop).labels
            score = score_image(name, sample.name, sample.field, found > 0, found, target)
            total = total + Detection(score.tp, score.fp, score.fn)
    return total


def _note(root: Path, found: Improvement) -> None:
    """Keep what came of it beside the review: the curve of F1 against annotated images."""
    others = [each for each in improvements(root) if each.get("model") != found.model]  # of a call that was killed
    document = {"schema_version": 1, "improvements": [*others, asdict(found)]}
    write_atomically(root / files.REVIEW / files.IMPROVEMENTS, json.dumps(document, indent=2))
