"""What networks that never saw a sample say of its mask: out-of-fold predictions of a cross-validation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg import files
from beadseg.annotation.audit import limits
from beadseg.data.image_io import read_labels
from beadseg.errors import BeadsegError, InputError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.measure.overlap import count_overlap

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from beadseg.data.dataset import Dataset

FEWEST = 4
"""With fewer predictions there is no usual agreement to compare with."""


def agreements(
    dataset: Dataset, crossval: Path, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> dict[str, float]:
    """Return the Jaccard of each sample's mask with its out-of-fold prediction.

    Parameters
    ----------
    dataset : Dataset
        What is audited.
    crossval : pathlib.Path
        Folder that `beadseg-batch crossval` wrote.
    on_event, stop
        See `beadseg.events`.

    Returns
    -------
    dict
        Samples without a prediction, of several planes, or of another size are left out.

    Raises
    ------
    InputError
        There are no predictions.
    """
    folder = crossval / files.PREDICTIONS / files.LABELS
    if not folder.is_dir():
        raise InputError("Holds no out-of-fold predictions.", crossval, "Give a folder that `crossval` wrote.")
    found: dict[str, float] = {}
    for sample in track(dataset.samples, "predictions", len(dataset), on_event, stop):
        path = folder / f"{sample.name}.tif"
        if not path.is_file():
            continue
        try:
            target, predicted = sample.read_target(), read_labels(path).foreground
        except BeadsegError:
            continue
        if predicted.shape == target.foreground.shape and (predicted.any() or target.foreground.any()):
            found[sample.name] = count_overlap(predicted, target.foreground, target.ignore).jaccard
    if not found:
        raise InputError("None of its predictions is of a sample of this data set.", folder, "Check the folder.")
    return found


def contradicted(agreement: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Return the samples whose agreement is unusually low, and the usual agreement (the median)."""
    if len(agreement) < FEWEST:
        return {}, 0.0
    values = np.array(list(agreement.values()))
    usual = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - usual)))
    limit = usual - max(limits.CONTRADICTED, limits.CONTRADICTED_SPREADS * spread)
    return {name: value for name, value in agreement.items() if value < limit}, usual
