"""The training loop: one visible loop whose every random choice depends on seed, epoch and step only.

A run is continued from a checkpoint with all that the next step depends on.
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from beadseg import files
from beadseg.config import GENERAL, TrainConfig
from beadseg.data.scan import sha256_of
from beadseg.errors import Cancelled, ConfigError, RunError, TrainingError
from beadseg.events import Event, OnEvent, StopFlag, ignore, log, progress
from beadseg.model.backends import TorchBackend, choose_precision
from beadseg.model.checkpoint import (
    load_checkpoint,
    model_file,
    model_name,
    named_model,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from beadseg.model.inputs import BT601
from beadseg.model.losses import build_heads_loss
from beadseg.model.networks import Network, build_network
from beadseg.predict.blocks import probabilities
from beadseg.predict.prediction import Maps
from beadseg.predict.segmenter import same_beads
from beadseg.training.batches import Batch, Sampler, crop
from beadseg.training.diagnosis import Diagnosis, Watch, few_steps, not_finite
from beadseg.training.distributed import Team
from beadseg.training.records import DENSITY_SCORES, HISTORY_COLUMNS, SCORES, Row, describe, gain, write_rows
from beadseg.training.step import Stepper, digest, sync_norms
from beadseg.training.validation import score, spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from torch import Tensor, nn

    from beadseg.training.batches import TrainingImage

TIME_COLUMNS = ("epoch", "train_seconds", "validation_seconds")

PRECISION_PX = 384
"""Side of the piece of an image on which a reduced precision is compared with fp32, px."""

MOST_DRAWING = 6
"""Threads that draw batches for a GPU, at most."""

CHECKPOINT_SECONDS = 600.0
"""Longest time between two checkpoints, s."""


class Trainer:
    """Trains one network on images in memory, in a run folder.

    Parameters
    ----------
    training, validation : sequence of TrainingImage
        Without validation images the last weights count as the best.
    config : TrainConfig
        Complete: nothing left to plan.
    folder : pathlib.Path
        Where checkpoints and history go; what is there is continued.
    description : dict
        JSON-serialisable; stored in the model file for whoever predicts with it.
    device : torch.device
        Where to compute.
    checkpoint_seconds : float
        Longest time between two checkpoints, s: what a sudden end can cost at most.
    team : Team, optional
        The processes that train together. The first one writes; every random choice, and what is decided, is the same
        in all. Their batch is the configured one, of which each computes its share.

    Raises
    ------
    ConfigError
        The configuration does not fit the network, or the batch the processes.
    """

    def __init__(
        self,
        training: Sequence[TrainingImage],
        validation: Sequence[TrainingImage],
        config: TrainConfig,
        folder: Path,
        description: dict[str, Any],
        device: torch.device,
        on_event: OnEvent = ignore,
        stop: StopFlag | None = None,
        checkpoint_seconds: float = CHECKPOINT_SECONDS,
        team: Team | None = None,
    ) -> None:
        self.team = Team() if team is None else team
        self.config, self.folder, self.description = config, folder, description
        self.device, self.on_event, self.stop = device, on_event, StopFlag() if stop is None else stop
        self.sampler = Sampler(training, config, self.team.rank, self.team.size)
        _check_batch(self.sampler.batch, self.team)
        self.validation = list(validation)
        scored = len(self.validation) if config.train_scores is None else config.train_scores
        self.scored_training = spread(training, scored) if scored else []
        self.precision = choose_precision(config.precision, device)
        if device.type == "cuda":
            torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
        self.loss = build_heads_loss(config.loss, config.centre, config.network.heads)
        self.watch = Watch(config.stop.metric)
        torch.manual_seed(config.seed)
        network = build_network(config.network, training[0].image.shape[0])
        if started := start_weights(network, config.start_from):
            self.description = {**description, "started_from": started}
        _check_size(config, network.size_multiple)
        sync_norms(network, self.team, device)
        self.network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average: Network = copy.deepcopy(self.network) if config.ema else self.network
        self.stepper = Stepper(self.network, self.loss, config, self.precision, device, self.team, on_event)
        self.between_steps = True
        self.epoch = 0
        self.losses: list[float] = []
        self.seconds = 0.0
        self.checkpoint_seconds, self.saved = checkpoint_seconds, time.monotonic()
        self.rows: list[Row] = []
        self.times: list[Row] = []
        self.best: Row | None = None

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.sampler.steps * self.config.epochs

    @property
    def finished(self) -> bool:
        """Whether no epoch is left to do."""
        return self.epoch >= self.config.epochs or self.stopped_early

    @property
    def stopped_early(self) -> bool:
        """Whether the score has not improved for `patience` epochs."""
        patience = self.config.stop.patience
        return bool(patience and self.best and self.epoch - self.best["epoch"] >= patience)

    def run(self) -> None:
        """Train to the end; continue where the folder's last checkpoint stands.

        Raises
        ------
        Cancelled
            The stop flag was set; every step is kept.
        TrainingError
            The loss became NaN or infinite; the checkpoints from before are kept.
        """
        try:
            self._train()
        finally:
            self.stepper.replica.leave()

    def _train(self) -> None:
        self._resume()
        if not (self.epoch or self.losses) and (found := few_steps(self.sampler.steps, self.config.epochs)):
            self._warn(found)
        while not self.finished:
            try:
                self._run_epoch()
            except Cancelled:
                if self.between_steps:  # half a step cannot be continued exactly: the last checkpoint can
                    self._save_in_between()
                raise
        if self.stopped_early and self.best is not None:
            self.on_event(log(f"Stopped early: no better score for {self.config.stop.patience} epochs."))
        if self.team.several:
            weights = digest(self.network)
            self.team.check_same(weights, "weights after training")
            self.on_event(log(f"The weights of all {self.team.size} processes are equal (SHA-256 {weights})."))

    @contextmanager
    def _indivisible(self) -> Iterator[None]:
        """Mark what must be done whole before the next checkpoint; after an exception within it none is written.

        A second Ctrl-C raises anywhere.
        """
        self.between_steps = False
        yield
        self.between_steps = True

    def _run_epoch(self) -> None:
        """Train and score one epoch, or what is left of it, and record it."""
        self._train_epoch(self.epoch + 1)
        self._check_precision()
        began = time.perf_counter()
        scores = self._scores()
        with self._indivisible():
            self.epoch += 1
            step = self.epoch * self.sampler.steps
            row = {"epoch": self.epoch, "step": step, "lr": learning_rate(self.config, step - 1, self.total_steps),
                   "train_loss": float(np.mean(self.losses))}  # fmt: skip
            self.rows.append(self.team.from_first({**row, **scores}))
            seconds = {
                "train_seconds": round(self.seconds, 3),
                "validation_seconds": round(time.perf_counter() - began, 3),
            }
            self.times.append({"epoch": self.epoch, **seconds})
            self.losses, self.seconds = [], 0.0
            self._finish_epoch()

    def _train_epoch(self, epoch: int) -> None:
        """Do the epoch's steps that are not done yet; keep the loss of each."""
        for step, batch in self._batches(epoch, len(self.losses)):
            where = f" in epoch {epoch}, step {step + 1} of {self.sampler.steps}"
            self.team.check(self.stop.ended(where, self.folder) if self.stop else None)
            began = time.perf_counter()
            at = (epoch - 1) * self.sampler.steps + step
            torch.manual_seed(_mix(self.config.seed, epoch, step, *([self.team.rank] if self.team.rank else [])))
            with self._indivisible():
                loss = self.stepper.step(batch, learning_rate(self.config, at, self.total_steps))
                if not math.isfinite(loss):
                    self._end_not_finite(at, loss, where)
                move_average(self.average, self.network, self.config.ema, at)
                self.losses.append(loss)
            self.seconds += time.perf_counter() - began
            if time.monotonic() - self.saved >= self.checkpoint_seconds:
                self._save_in_between()
            self.on_event(progress(f"epoch {epoch}/{self.config.epochs}", step + 1, self.sampler.steps))

    def _batches(self, epoch: int, start: int) -> Iterator[tuple[int, Batch]]:
        """Yield the epoch's steps from `start` on; the batches of the next ones are drawn in threads meanwhile.

        A batch depends on its epoch and step only, so the number of threads changes nothing.
        """
        steps = iter(range(start, self.sampler.steps))
        threads = self._drawing_threads
        with ThreadPoolExecutor(threads, thread_name_prefix="beadseg-batches") as pool:

            def draw(step: int) -> Future[Batch]:
                return pool.submit(self.sampler.draw, epoch, step, pin=self.device.type == "cuda")

            waiting = deque((step, draw(step)) for step in islice(steps, threads))
            while waiting:
                step, batch = waiting.popleft()
                ready = batch.result()
                waiting.extend((later, draw(later)) for later in islice(steps, 1))
                yield step, ready

    @property
    def _drawing_threads(self) -> int:
        """How many threads draw batches: several for a GPU that waits for them, one where the processor computes."""
        if self.device.type == "cpu":
            return 1
        return max(1, min(MOST_DRAWING, torch.get_num_threads() // self.team.local_size - 1))

    def _scores(self) -> Row:
        """Score the averaged weights on whole validation and training images."""
        self.average.eval()
        scores: Row = {}
        for name, images in (("val", self.validation), ("train", self.scored_training)):
            if images:
                settings = (self.config.predict, self.precision, self.stop, self.team)
                found = score(self.average, images, self.loss, *settings)
                kept = (*SCORES, *DENSITY_SCORES) if name == "val" else SCORES
                scores.update({f"{name}_{key}": found[key] for key in kept if key in found})
                scores[f"{name}_loss" if name == "val" else "train_eval_loss"] = found["loss"]
        return scores

    def _finish_epoch(self) -> None:
        """Save, record and report the epoch that just ended."""
        row = self.rows[-1]
        metric = self.config.stop.metric
        key = f"val_{metric}"
        if self.best is None or key not in row or gain(metric, row[key]) > gain(metric, self.best[key]):
            self.best = row
            self._save_model(self.folder / files.BEST)
        self._save_last()
        self._write_history()
        self.on_event(Event("epoch", describe(row, self.config.epochs, key, self.best is row), data=dict(row)))
        for found in self.watch.new(self.rows):
            self._warn(found)

    def _end_not_finite(self, at: int, loss: float, where: str) -> None:
        """End the training at the step whose loss is not a number; no checkpoint is written after it."""
        rate = learning_rate(self.config, at, self.total_steps)
        self.rows.append({"epoch": self.epoch + 1, "step": at + 1, "lr": rate, "train_loss": loss})
        found = not_finite(self.rows)
        if found is not None:
            self._warn(found)
            remedy = f"{found.remedy.capitalize()} Earlier checkpoints are kept."
            raise TrainingError(f"Training failed: the loss became {loss}{where}.", self.folder, remedy)

    def _warn(self, found: Diagnosis) -> None:
        self.on_event(Event("diagnosis", str(found), "warning", found.model_dump()))

    def _save_model(self, path: Path) -> None:
        """Write the averaged weights with all that prediction needs."""
        if not self.team.first:
            return
        meta = {"kind": "model", "epoch": self.epoch, "scores": self.rows[-1], "in_channels": self._in_channels}
        save_checkpoint(path, self.average.state_dict(), {**meta, "config": self._config, **self.description})

    def _save_in_between(self) -> None:
        """Save in the middle of an epoch, but never weights that are NaN or infinite."""
        if all(bool(tensor.isfinite().all()) for tensor in self.network.parameters()):
            self._save_last()

    def _save_last(self) -> None:
        """Write the checkpoint that the run is continued from."""
        if self.team.first:
            save_state(self)
            self.saved = time.monotonic()

    def _resume(self) -> None:
        """Take up the folder's last checkpoint, if there is one, in every process."""
        if self.team.first:
            files.remove_unfinished(self.folder)
        path = self.folder / files.LAST
        self.team.check(self._lost_checkpoint() if self.team.first else None)
        if path.exists():
            load_state(self, path)
            self.team.check(self._lost_model() if self.team.first else None)
            self._write_history()
            within = f", step {len(self.losses)} of {self.sampler.steps} of the next" if self.losses else ""
            self.on_event(log(f"Continuing after epoch {self.epoch} of {self.config.epochs}{within}."))
        self.team.check_same((self.epoch, len(self.losses), digest(self.network)), f"checkpoint {path}")

    def _lost_checkpoint(self) -> RunError | None:
        """Return what is wrong where epochs are recorded, but the checkpoint is gone from which training resumes."""
        if (self.folder / files.LAST).exists() or not (self.folder / files.HISTORY).is_file():
            return None
        text = f"{files.LAST} is missing, from which training would resume."
        return RunError(text, self.folder, "Copy it back, or train in a new --out folder; predict works without it.")

    def _lost_model(self) -> RunError | None:
        """Make the best model again where it is gone and its weights are those of the checkpoint; else an error."""
        if self.best is None or (self.folder / files.BEST).exists():
            return None
        if self.best["epoch"] == self.epoch and not self.losses:
            self._save_model(self.folder / files.BEST)
        elif self.validation:  # otherwise the next epoch writes it
            text = f"{files.BEST}, the model of epoch {self.best['epoch']}, is missing."
            remedy = f"Copy it back, or train in a new --out folder: {files.LAST} holds later weights only."
            return RunError(text, self.folder, remedy)
        return None

    def _write_history(self) -> None:
        if not self.team.first:
            return
        write_rows(self.folder / files.HISTORY, self.rows, HISTORY_COLUMNS, self.on_event)
        write_rows(self.folder / files.TIMES, self.times, TIME_COLUMNS, self.on_event)

    @property
    def _config(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.config.model_dump_json())
        return values

    def _check_precision(self) -> None:
        """Go on in fp32 where the reduced precision finds other beads, with the weights that an epoch has trained.

        Looked at is a piece of the training image with most beads; an untrained network would tell nothing.
        """
        if self.precision == "fp32":
            return
        image = max(self.sampler.images, key=lambda image: len(image.beads))
        x = crop(image, PRECISION_PX, np.random.default_rng(0), None)[: len(image.image)]
        self.average.eval()
        tiling = self.config.predict.tiling
        exact = Maps.of_heads(probabilities(TorchBackend(self.average), x, tiling))
        fast = Maps.of_heads(probabilities(TorchBackend(self.average, self.precision), x, tiling))
        if self.team.any(not same_beads(exact, fast, self.config.predict.objects)):
            self.on_event(log(f"{self.precision} does not find the beads that fp32 finds: fp32 is used.", "warning"))
            self.use_fp32()

    def use_fp32(self) -> None:
        """Compute all that follows in fp32."""
        self.precision = self.stepper.precision = "fp32"
        self.stepper.scaler = torch.amp.GradScaler(self.device.type, enabled=False)

    @property
    def _in_channels(self) -> int:
        return int(self.sampler.images[0].image.shape[0])


def _check_size(config: TrainConfig, multiple: int) -> None:
    """Raise `ConfigError` for patches that the network cannot take, before anything is computed."""
    size = config.epoch.size
    if size is not None and size % multiple:
        raise ConfigError(
            f"Patches of {size} px do not fit the network.", "epoch.size", f"Use a multiple of {multiple}."
        )


def _check_batch(batch: int, team: Team) -> None:
    """Raise `ConfigError` for a batch of which not every process gets something."""
    if batch < team.size:
        text = f"A batch of {batch} cannot be shared by {team.size} processes."
        raise ConfigError(text, "batch", f"Set it to {team.size} or more, it is that of all together, or start fewer.")


def _mix(*numbers: int) -> int:
    """Return one 63-bit seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def save_state(trainer: Trainer) -> None:
    """Write all that resuming needs, in the middle of an epoch with the losses of its steps so far."""
    stepper = trainer.stepper
    tensors = with_prefix("network", trainer.network.state_dict())
    tensors |= with_prefix("average", trainer.average.state_dict())
    tensors |= with_prefix("optimizer", optimizer_tensors(stepper.optimizer))
    meta = {
        "kind": "training",
        "epoch": trainer.epoch,
        "losses": trainer.losses,
        "seconds": trainer.seconds,
        "rows": trainer.rows,
        "times": trainer.times,
        "best_epoch": trainer.best["epoch"] if trainer.best else 0,
        "accumulate": stepper.accumulate,
        "scaler": stepper.scaler.state_dict(),
        "machine": _machine(trainer),
        "config": json.loads(trainer.config.model_dump_json()),
    }
    save_checkpoint(trainer.folder / files.LAST, tensors, meta)


def load_state(trainer: Trainer, path: Path) -> None:
    """Take up a checkpoint; say so where it cannot be continued exactly.

    Raises
    ------
    RunError
        It is damaged, or of another configuration.
    """
    tensors, meta = load_checkpoint(path)
    if TrainConfig.parse(meta["config"], path) != trainer.config:
        raise RunError("This run was begun with another configuration.", trainer.folder, "Give a new --out folder.")
    stepper = trainer.stepper
    trainer.network.load_state_dict(without_prefix("network", tensors))
    trainer.average.load_state_dict(without_prefix("average", tensors))
    restore_optimizer(stepper.optimizer, without_prefix("optimizer", tensors))
    if meta["machine"]["precision"] == "fp32" and meta["machine"]["device"] == trainer.device.type:
        trainer.use_fp32()  # found out in an earlier epoch
    if meta["scaler"] and trainer.precision == "fp16":
        stepper.scaler.load_state_dict(meta["scaler"])
    trainer.epoch, trainer.rows, trainer.times = meta["epoch"], meta["rows"], meta["times"]
    trainer.losses, trainer.seconds = meta.get("losses", []), meta.get("seconds", 0.0)
    stepper.accumulate = meta["accumulate"]
    trainer.best = next((row for row in trainer.rows if row["epoch"] == meta["best_epoch"]), None)
    before, now = {"processes": 1, **meta["machine"]}, _machine(trainer)
    changed = [f"{name} {then} then, {now[name]} now" for name, then in before.items() if now[name] != then]
    if changed:
        trainer.on_event(log(f"Not continued exactly: {', '.join(changed)}.", "warning"))


def _machine(trainer: Trainer) -> dict[str, Any]:
    """Return what the exact result depends on beside configuration and data."""
    return {
        "device": trainer.device.type,
        "threads": torch.get_num_threads(),
        "precision": trainer.precision,
        "processes": trainer.team.size,
    }


def start_weights(network: Network, start_from: str) -> dict[str, str]:
    """Give a network the weights that training starts from; return which model they are of, and its SHA-256.

    A network that sees three colours starts from one that sees grey by the shares of luminance; of outputs only those
    that it has are taken.

    Raises
    ------
    RunError
        There is no such model.
    ConfigError
        Its network has another shape.
    """
    if start_from == "none":
        return {}
    path = model_file(named_model(start_from))
    tensors = load_checkpoint(path)[0]
    own = network.state_dict()
    try:
        network.load_state_dict({name: _fitted(tensors[name], value) for name, value in own.items()})
    except (KeyError, RuntimeError):
        text = f"The network of {start_from} has another shape than this one."
        raise ConfigError(text, "start_from", "Set start_from=none, or train with --model half-unet.") from None
    return {"model": model_name(path if start_from == GENERAL else path.parent), "sha256": sha256_of(path)}


def _fitted(tensor: Tensor, like: Tensor) -> Tensor:
    """Return weights for inputs of three colours where `like` has them, and for as many outputs."""
    if tensor.ndim == 4 and like.shape[1] == 3 * tensor.shape[1]:
        tensor = torch.cat([tensor.float() * share for share in BT601], dim=1)  # the file has half precision
    return tensor[: len(like)] if tensor.ndim else tensor


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step (from 0) of a run of `steps`."""
    schedule, peak = config.schedule, config.optimizer.lr
    warmup = int(schedule.warmup * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule.decay == "constant":
        return peak
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, ema: float, step: int) -> None:
    """Move the averaged weights towards the present ones; faster at the start of a run."""
    if average is network:
        return
    keep = min(ema, (step + 1) / (step + 10))
    for mean, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(now, 1 - keep)
        else:
            mean.copy_(now)
