"""What must not end a training, nor change how it goes on."""

from __future__ import annotations

from pathlib import Path

from fault_helpers import TINY

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.events import Event
from beadseg.training import Run, train
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
