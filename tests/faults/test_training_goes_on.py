"""What must not end a training, nor change how it goes on."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from fault_helpers import TINY

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.events import Event
from beadseg.training import Run, train
from beadseg.training.batches import Sampler, load_images
from beadseg.training.records import read_history


def test_a_table_that_cannot_be_replaced_lies_beside_it_until_it_can(beads: Path, tmp_path: Path) -> None:
    """A folder in its place stands for a file that is open in Excel on Windows: neither can be replaced."""
    run = tmp_path / "run"
    held = [run / files.HISTORY, run / files.TIMES]
    for path in held:
        path.mkdir(parents=True)
    config = TrainConfig.preset("dense", "unet").with_overrides([*TINY, "epochs=2", "epoch.steps=2", "batch=2"])
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        if event.kind == "epoch" and event.data["epoch"] == 2:
            assert [row["epoch"] for row in read_history(run / files.HISTORY)] == [1, 2]

    assert len(train(Dataset.open(beads), config, run, device="cpu", on_event=listen).history) == 2
    warnings = [event.message for event in events if "another program has it open" in event.message]
    assert len(warnings) == 2, "once per table"
    assert all("-new.csv" in text for text in warnings)
    for path in held:
        path.rmdir()
    train(Dataset.open(beads), config, run, device="cpu")
    assert [row["epoch"] for row in Run(run).history] == [1, 2]
    assert all(path.is_file() for path in held)
    assert not list(run.glob("*-new*"))


def test_a_log_that_cannot_be_written_ends_nothing(beads: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / files.LOG).mkdir(parents=True)
    config = TrainConfig.preset("dense", "unet").with_overrides([*TINY, "epoch.steps=2", "batch=2"])
    events: list[Event] = []
    train(Dataset.open(beads), config, run, device="cpu", on_event=events.append)
    assert sum("Its lines are lost" in event.message for event in events) == 1


def test_training_from_python_leaves_chance_and_cudnn_as_they_were(beads: Path, tmp_path: Path) -> None:
    """Not only of torch: a caller's own numbers must not depend on whether a network was trained before them."""
    cudnn = torch.backends.cudnn
    found = (cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled())
    seeds = (torch.get_rng_state(), random.getstate(), np.random.get_state())
    config = TrainConfig.preset("dense", "unet").with_overrides([*TINY, "epoch.steps=1"])
    train(Dataset.open(beads), config, tmp_path / "run", device="cpu")
    assert (cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()) == found
    assert torch.equal(torch.get_rng_state(), seeds[0])
    assert random.getstate() == seeds[1]
    np.testing.assert_array_equal(np.random.get_state()[1], seeds[2][1])


def test_patches_are_drawn_by_several_threads_at_once_and_stay_the_same(beads: Path, run_folder: Path) -> None:
    """One thread for all augmentation kept a GPU waiting; several must not change what is drawn."""
    run = Run(run_folder)
    batches = Sampler(load_images(list(Dataset.open(beads)), run.config), run.config)
    alone = [batches.draw(1, step) for step in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda step: batches.draw(1, step), range(6)))
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.image, other.image)
        assert torch.equal(one.target, other.target)
