"""Train one cell with the package's own loop and say how it went."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from beadseg.config import TrainConfig
from beadseg.training.batches import load_images
from beadseg.training.diagnosis import collapse
from beadseg.training.prepare import prepare
from beadseg.training.trainer import Trainer
from beadseg.training.validation import score

if TYPE_CHECKING:
    from pathlib import Path

    from study_cells import Cell

    from beadseg.data.dataset import Dataset

LAST = 10
"""Epochs over which the document asks for a standard deviation below 0.05."""


def run_cell(cell: Cell, seed: int, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Train in `folder` (continued where it was interrupted); return what is kept of it."""
    started = time.process_time()
    trainer = _trainer(cell, seed, dataset, folder)
    trainer.run()
    values = [row["val_jaccard_images"] for row in trainer.rows]
    late = torch.tensor(values[-LAST:])
    return {
        "group": cell.group,
        "name": cell.name,
        "data": cell.data,
        "preset": cell.preset,
        "changes": list(cell.settings),
        "momentum": cell.momentum,
        "seed": seed,
        "steps": trainer.total_steps,
        "best": max(values),
        "best_epoch": values.index(max(values)) + 1,
        "final": values[-1],
        "train_final": trainer.rows[-1]["train_jaccard_images"],
        "late_sd": float(late.std()) if len(late) > 1 else 0.0,
        "collapsed": collapse(trainer.rows, "jaccard_images") is not None,
        "with_batch_statistics": _with_batch_statistics(trainer),
        "curve": values,
        "cpu_seconds": time.process_time() - started,
    }


def _trainer(cell: Cell, seed: int, dataset: Dataset, folder: Path) -> Trainer:
    made = prepare(dataset, TrainConfig.preset(cell.preset).with_overrides([f"seed={seed}", *cell.settings]))
    folds = (made.split.train, made.split.val)
    images = [load_images([dataset[name] for name in names], made.config) for names in folds]
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(*images, made.config, folder, {}, torch.device("cpu"))
    if cell.momentum is not None:
        for module in _batch_norms(trainer):
            module.momentum = cell.momentum
    return trainer


def _batch_norms(trainer: Trainer) -> list[torch.nn.BatchNorm2d]:
    return [module for module in trainer.average.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def _with_batch_statistics(trainer: Trainer) -> float | None:
    """Return the final validation Jaccard of the same weights when batch norm takes each image's own statistics."""
    norms = _batch_norms(trainer)
    if not norms:
        return None
    trainer.average.eval()
    for module in norms:
        module.train()
        module.momentum = 0.0
    config = trainer.config
    return score(trainer.average, trainer.validation, trainer.loss, config.predict, "fp32")["jaccard_images"]
