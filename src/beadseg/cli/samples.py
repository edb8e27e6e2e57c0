"""The options that say which samples of a dataset folder are meant, and what its parts are called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beadseg.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.data.dataset import Dataset
    from beadseg.events import OnEvent


@dataclass(frozen=True)
class SampleOptions:
    """Samples of a dataset, whatever its review says; the fields are the options of `beadseg.cli.options`."""

    include: options.Include = None
    exclude: options.Exclude = None
    images: options.ImagesFolder = "images"
    masks: options.MasksFolder = "masks"
    labels: options.LabelsFolder = "labels"
    ignore: options.IgnoreFolder = "ignore"
    points: options.PointsFolder = "points"
    fields: options.Fields = None

    def open(self, folder: Path, on_event: OnEvent) -> Dataset:
        """Open the dataset in a folder and report what is left out; errors as of `Dataset.open`."""
        from beadseg.cli.inputs import open_dataset

        return open_dataset(folder, on_event, **vars(self))


@dataclass(frozen=True)
class TrainingSamples(SampleOptions):
    """Samples to train on: those whose review allows it."""

    samples: options.Reviewed = "not-rejected"
