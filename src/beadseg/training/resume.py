"""The checkpoint that a run is continued from: all that the next step depends on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.errors import RunError
from beadseg.events import log
from beadseg.model.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
    without_prefix,
)

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.training.trainer import Trainer


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
