"""A run folder as layers: its curves, and the samples that it was validated on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import imageio.v3 as iio

from beadseg import files
from beadseg.data.dataset import Dataset, Sample
from beadseg.data.documents import read_table
from beadseg.errors import RunError
from beadseg.predict.model_file import model_file
from beadseg.training.frozen import sample_files
from beadseg.widgets.io.read_dataset import sample_layers

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.widgets.io.layer_data import LayerData


def read_run(folder: Path) -> list[LayerData]:
    """Return the layers of a run folder: curves, validation images and annotations, as far as they are still there.

    Raises
    ------
    RunError
        The run has not trained anything yet, or none of what it shows is there.
    """
    model_file(folder)
    layers: list[LayerData] = []
    samples = _validated(folder)
    if samples:
        layers += [
            (data, {**shown, "name": f"{shown['name']} (validation)"}, kind)
            for data, shown, kind in sample_layers(Dataset(folder, samples))
        ]
    if (folder / files.CURVES).is_file():
        curves = iio.imread(folder / files.CURVES)
        layers.insert(0, (curves, {"name": f"{folder.name}: curves", "rgb": True, "visible": not layers}, "image"))
    if not layers:
        text = "The images that it was validated on are not where they were, and it has no figure of its curves."
        raise RunError(
            text, folder, "Open the images themselves, and predict them with this run in the Predict widget."
        )
    return layers


def _validated(folder: Path) -> tuple[Sample, ...]:
    """Return the validation samples whose image is still there."""
    rows = read_table(folder / files.SAMPLES, "sample", "fold", "image", "mask")
    samples = [Sample(row["sample"], *sample_files(row, folder)) for row in rows if row["fold"] == "val"]
    return tuple(_as_it_is(sample) for sample in samples if sample.image_path.exists())


def _as_it_is(sample: Sample) -> Sample:
    """Return a sample without a mask that is gone, and with the kind of its annotation."""
    path = sample.mask_path
    if path is None or not path.exists():
        return replace(sample, mask_path=None)
    return replace(sample, has_labels=path.parent.name == files.LABELS)
