"""The checkpoint that a run is continued from: all that the next step depends on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from beadseg import files
from beadseg.config import GENERAL, TrainConfig
from beadseg.data.hashes import sha256_of
from beadseg.errors import ConfigError, RunError
from beadseg.events import log
from beadseg.model.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from beadseg.model.inputs import BT601
from beadseg.predict.model_file import model_file, model_name, named_model

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from beadseg.model.networks import Network
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
        tensor = torch.cat([tensor * share for share in BT601], dim=1)
    return tensor[: len(like)] if tensor.ndim else tensor
