"""Spaces, and sweeps whose trials have ended with known scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from beadseg.config import TrainConfig
from beadseg.config.sweep import SweepConfig
from beadseg.sweep.plan import Result, Sweep, begin

SPACE = """
method: {kind: sobol, trials: 16}
metric: f1
seed: 7
parameters:
  optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
  network.width: {low: 4, high: 32, integer: true}
  loss: [{kind: dice-ce}, {kind: tversky, alpha: 0.2}]
  augment.flip: {low: 0, high: 1}
"""


def space(text: str = SPACE, **changes: Any) -> SweepConfig:
    return SweepConfig.parse({**yaml.safe_load(text), **changes}, "space.yaml")


def begun(folder: Path, text: str = SPACE, **changes: Any) -> Sweep:
    return begin(folder, space(text, **changes), TrainConfig.preset("dense", "unet"), "space.yaml")


def near_a_rate(values: dict[str, Any]) -> float:
    """Return a score that is best at a learning rate of 0.003, a little better with one loss, and else indifferent."""
    return (
        0.8
        - 0.2 * abs(math.log10(values["optimizer.lr"] / 0.003))
        + (0.02 if values["loss"]["kind"] == "tversky" else 0)
    )


def end(sweep: Sweep, score: Callable[[dict[str, Any]], float] = near_a_rate) -> None:
    """Let every planned trial end with its score."""
    for trial in sweep.trials:
        sweep.keep(Result(trial=trial.number, score=score(trial.values), best_epoch=3, epochs=5))
