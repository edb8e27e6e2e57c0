"""Training images in memory: decoded once, and held once by the processes of a machine."""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset, Decoded
from beadseg.errors import ImageError
from beadseg.training.batches import TrainingImage, load_images, map_images, write_mapped
from beadseg.training.prepare import prepare
from beadseg.training.run import torch_left_as_found


def assert_same(one: list[TrainingImage], other: list[TrainingImage]) -> None:
    assert [image.name for image in one] == [image.name for image in other]
    for name in (field.name for field in fields(TrainingImage)):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_what_planning_has_decoded_is_not_read_again(folder: Path, tiny: TrainConfig, tmp_path: Path) -> None:
    copy = Dataset.open(shutil.copytree(folder, tmp_path / "beads"))
    decoded = Decoded(1e9)
    prepared = prepare(copy, tiny, decoded=decoded)
    expected = load_images(list(copy), prepared.config)
    shutil.rmtree(copy.root / files.IMAGES)
    assert_same(load_images(list(copy), prepared.config, decoded=decoded), expected)
    with pytest.raises(ImageError):  # it was given back: training does not hold it twice
        load_images(list(copy), prepared.config, decoded=decoded)


def test_no_more_is_remembered_than_there_is_room_for(dataset: Dataset) -> None:
    decoded = Decoded(0)
    decoded.read(dataset.samples[0])
    assert decoded._known == {}


def test_processes_of_a_machine_share_the_memory_of_the_images(dataset: Dataset, tiny: TrainConfig) -> None:
    config = prepare(dataset, tiny).config
    loaded = load_images(list(dataset), config)
    path, index = write_mapped({"train": loaded[:5], "val": loaded[5:]})
    try:
        one, other = map_images(path, index), map_images(path, index)
    finally:
        path.unlink()
    assert_same([*one["train"], *one["val"]], loaded)
    assert all(image.image.flags.writeable for image in one["train"]), "torch warns of arrays that may not be written"
    one["train"][0].image[:] = 7
    assert_same([*other["train"], *other["val"]], loaded)


def test_names_are_looked_up_in_one_step(dataset: Dataset) -> None:
    assert [dataset[name] for name in dataset.names] == list(dataset)
    assert dataset.subset(dataset.names[:2])[dataset.names[1]] == dataset.samples[1]


def test_a_training_leaves_torch_as_it_was() -> None:
    before, flags = torch.get_rng_state(), (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark)
    with torch_left_as_found(torch.device("cpu")):
        torch.manual_seed(5)
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = not flags[0], not flags[1]
    assert torch.equal(torch.get_rng_state(), before)
    assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == flags
