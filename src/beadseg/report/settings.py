"""The settings of a training in the words and the order of the laboratory's hyperparameter table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.config import ImageEpochConfig, TrainConfig
from beadseg.config.loss import DiceCELossConfig, DiceFocalLossConfig, FocalLossConfig, LossConfig, TverskyLossConfig
from beadseg.config.split import (
    BlockSplitConfig,
    FieldSplitConfig,
    FileSplitConfig,
    SplitConfig,
    StratifiedSplitConfig,
)
from beadseg.report.text_table import TIMES
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

PLANNED = "planned from the data"
"""Stands for a value that a preset leaves open."""

LEARNING_RATE, BATCH, DROPOUT, LOSS, SPLIT = (
    "Learning rate", "Batch size", "Dropout", "Loss function", "Train/val split",
)  # fmt: skip
"""The settings that the laboratory's document changes between sparse and dense images."""


def settings_of(config: TrainConfig) -> dict[str, str]:
    """Return every setting of the table by its name, as text."""
    network = config.network
    return {
        LEARNING_RATE: number(config.optimizer.lr),
        BATCH: PLANNED if config.batch is None else str(config.batch),
        DROPOUT: f"{network.dropout:g}",
        LOSS: _loss(config.loss),
        SPLIT: _split(config.split),
        "Optimizer": {"adam": "Adam", "adamw": "AdamW"}[config.optimizer.name],
        "Image size": _size(config),
        "Max epochs": str(config.epochs),
        "Early stopping": "none" if config.stop.patience is None else plural(config.stop.patience, "epoch"),
        "An epoch is": _epoch(config),
        "Schedule": _schedule(config),
        "Network": network.kind,
        "Input": f"{config.image.channels.kind}, norm {config.image.norm.kind}",
        "Seed": str(config.seed),
    }


def preset_settings(name: str) -> dict[str, str]:
    """Return the settings of a preset; where its networks differ, each value with the networks that have it.

    Raises
    ------
    ConfigError
        There is no such preset.
    """
    return joined({network: settings_of(TrainConfig.preset(name, network)) for network in TrainConfig.networks(name)})


def joined(by_network: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return one value per setting of several networks, e.g. ``1e-3 (unet), 1e-4 (others)``."""
    first = next(iter(by_network.values()))
    together: dict[str, str] = {}
    for name in first:
        networks: dict[str, list[str]] = {}
        for network, settings in by_network.items():
            networks.setdefault(settings[name], []).append(network)
        if len(networks) == 1:
            together[name] = first[name]
        elif name == "Network":
            together[name] = ", ".join(networks)
        else:
            *groups, (value, having) = networks.items()
            rest = "others" if len(having) > 1 else having[0]
            shown = [f"{value} ({', '.join(having)})" for value, having in groups]
            together[name] = ", ".join([*shown, f"{value} ({rest})"])
    return together


def number(value: float) -> str:
    """Return a rate as the laboratory writes it: ``1e-3``, ``2.5e-4``; values from 0.1 on as they are."""
    if value >= 0.1 or value <= 0:
        return f"{value:g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _loss(loss: LossConfig) -> str:
    if isinstance(loss, FocalLossConfig):
        return f"Focal (gamma={loss.gamma:g})"
    if isinstance(loss, DiceCELossConfig):
        per_area = ", per bead area" if loss.ce_per_area is not None else ""
        return f"Dice {loss.dice_weight:g} + cross-entropy {loss.ce_weight:g}{per_area}"
    if isinstance(loss, DiceFocalLossConfig):
        return f"Dice {loss.dice_weight:g} + focal {loss.focal_weight:g} (gamma={loss.gamma:g})"
    if isinstance(loss, TverskyLossConfig):
        return f"Tversky ({loss.alpha:g}, {loss.beta:g})"
    return "Dice"


def _split(split: SplitConfig) -> str:
    if isinstance(split, FileSplitConfig):
        return f"given ({split.path.name})"
    held = round(100 * split.val_fraction)
    shares = f"{100 - held}/{held}"
    if isinstance(split, StratifiedSplitConfig):
        return f"stratified {shares}"
    if isinstance(split, FieldSplitConfig):
        return f"whole fields {shares}"
    return f"blocks of tiles {shares}" if isinstance(split, BlockSplitConfig) else f"random {shares}"


def _size(config: TrainConfig) -> str:
    size = config.epoch.size
    if size is None:
        return PLANNED
    kind = "crop" if isinstance(config.epoch, ImageEpochConfig) else "patch"
    return f"{size}{TIMES}{size} ({kind})"


def _epoch(config: TrainConfig) -> str:
    if isinstance(config.epoch, ImageEpochConfig):
        return "every image once"
    return PLANNED if config.epoch.steps is None else plural(config.epoch.steps, "step")


def _schedule(config: TrainConfig) -> str:
    warmup = f"warm-up {config.schedule.warmup:.0%}, " if config.schedule.warmup else ""
    return f"{warmup}{config.schedule.decay}"
