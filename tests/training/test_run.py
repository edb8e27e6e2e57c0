from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.errors import Cancelled, ConfigError, ExitCode, OutOfTime, RunError, TrainingError
from beadseg.events import Deadline, Event, StopFlag
from beadseg.model.checkpoint import load_checkpoint
from beadseg.predict import Segmenter
from beadseg.runtime.locking import locked
from beadseg.training import Run, train
from beadseg.training.batches import Batch

CHECKPOINTS = (files.LAST, files.BEST)


def assert_same_run(one: Path, other: Path) -> None:
    """Compare history and weights of two run folders bit for bit."""
    assert (one / files.HISTORY).read_bytes() == (other / files.HISTORY).read_bytes()
    for name in CHECKPOINTS:
        expected, _ = load_checkpoint(one / name)
        found, _ = load_checkpoint(other / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.fixture(scope="module")
def finished(dataset: Dataset, tiny: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(dataset, tiny, tmp_path_factory.mktemp("run") / "undisturbed")


def test_a_run_folder_holds_all_that_later_steps_need(finished: Run, dataset: Dataset):
    names = {path.name for path in finished.folder.iterdir()}
    wanted = {files.CONFIG, files.PLAN, files.SPLIT, files.SAMPLES, files.ENVIRONMENT, files.HISTORY, files.TIMES,
              files.LAST, files.BEST, files.CRITERIA, files.DIAGNOSIS}  # fmt: skip
    assert wanted <= names
    assert [row["epoch"] for row in finished.history] == [1, 2, 3]
    with (finished.folder / files.SAMPLES).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["sample"] for row in rows} == set(dataset.names)
    assert all(len(row["image_sha256"]) == 64 and int(row["objects"]) > 0 for row in rows)
    planned = json.loads((finished.folder / files.PLAN).read_text())
    assert {item["field"] for item in planned["planned"]} >= {"network.first_stride", "predict.objects.diameter"}


def test_the_same_call_repeats_itself_bit_for_bit(finished: Run, dataset: Dataset, tiny: TrainConfig, tmp_path: Path):
    assert_same_run(finished.folder, train(dataset, tiny, tmp_path / "again").folder)


def test_a_run_stopped_in_mid_epoch_continues_bit_for_bit(
    finished: Run, dataset: Dataset, tiny: TrainConfig, tmp_path: Path
):
    stop = StopFlag()

    def stop_in_second_epoch(event: Event) -> None:
        if event.kind == "progress" and event.data["task"] == "epoch 2/3" and event.data["done"] == 2:
            stop.set()

    with pytest.raises(Cancelled, match="epoch 2, step 3 of 4"):
        train(dataset, tiny, tmp_path / "run", on_event=stop_in_second_epoch, stop=stop)
    assert len(Run(tmp_path / "run").history) == 1
    assert_same_run(finished.folder, train(dataset, tiny, tmp_path / "run").folder)


PRESS_TWICE = """
import itertools, signal, sys
import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from beadseg.cli.console import stop_on_signals
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.errors import Cancelled
from beadseg.events import StopFlag
from beadseg.training import train
beads, config, out, threads, step = sys.argv[1:]
torch.set_num_threads(int(threads))
done = itertools.count(1)
def press_twice(*_):
    if next(done) == int(step):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
register_optimizer_step_post_hook(press_twice)
with stop_on_signals(StopFlag()) as flag:
    try:
        train(Dataset.open(beads), TrainConfig.from_file(config), out, stop=flag)
    except Cancelled as error:
        sys.exit("at once" not in str(error))
sys.exit(2)
"""


@pytest.mark.parametrize("step", [1, 6, 8])
def test_a_second_ctrl_c_in_the_middle_of_a_step_continues_bit_for_bit(
    finished: Run, folder: Path, dataset: Dataset, tiny: TrainConfig, tmp_path: Path, step: int
):
    """The weights are those after the step, and its loss is not recorded yet: nothing may be saved then.

    In a process of its own, as a training is: after models were exported and compiled in this one, it crashed.
    """
    config = tmp_path / "config.yaml"
    config.write_text(tiny.to_yaml())
    words = (folder, config, tmp_path / "run", torch.get_num_threads(), step)
    done = subprocess.run([sys.executable, "-c", PRESS_TWICE, *map(str, words)], check=False)
    assert done.returncode == 0
    assert_same_run(finished.folder, train(dataset, tiny, tmp_path / "run").folder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_run_continues_bit_for_bit(finished: Run, folder: Path, tiny: TrainConfig, tmp_path: Path):
    config = tmp_path / "config.yaml"
    config.write_text(tiny.to_yaml())
    out = tmp_path / "run"
    threads = str(torch.get_num_threads())
    command = [sys.executable, "-m", "beadseg", "train", str(folder), "--out", str(out), "--config", str(config),
               "--threads", threads, "--device", "cpu"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (out / files.LAST).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (out / files.LAST).exists()
    assert subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0
    assert_same_run(finished.folder, out)


def test_a_finished_run_is_left_as_it_is(dataset: Dataset, tiny: TrainConfig, tmp_path: Path):
    run = train(dataset, tiny.replace(epochs=1), tmp_path / "run")
    before = (run.folder / files.LAST).read_bytes()
    train(dataset, tiny.replace(epochs=1), tmp_path / "run")
    assert (run.folder / files.LAST).read_bytes() == before


def test_another_configuration_in_the_same_folder_is_refused(finished: Run, dataset: Dataset, tiny: TrainConfig):
    with pytest.raises(RunError, match=r"optimizer.lr: 0.01 there, 0.5 now"):
        train(dataset, tiny.with_overrides(["optimizer.lr=0.5"]), finished.folder)


def test_changed_data_in_the_same_folder_is_refused(finished: Run, dataset: Dataset, tiny: TrainConfig):
    smaller = dataset.subset(dataset.names[:-1])
    with pytest.raises(RunError, match=r"split or their files changed|another configuration"):
        train(smaller, tiny, finished.folder)


def test_refit_trains_on_everything_and_prediction_takes_it(dataset: Dataset, tiny: TrainConfig, tmp_path: Path):
    run = train(dataset, tiny.replace(epochs=1), tmp_path / "run", refit=True)
    final, meta = load_checkpoint(run.folder / files.FINAL)
    best, _ = load_checkpoint(run.folder / files.BEST)
    assert meta["kind"] == "model"
    assert any(not torch.equal(final[key], best[key]) for key in final)
    loaded = Segmenter.load(run.folder).network.state_dict()
    assert all(torch.equal(loaded[key], final[key]) for key in final)


def test_running_out_of_memory_makes_the_parts_smaller(
    dataset: Dataset, tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from beadseg.model.networks import Network

    original = Network.forward
    events: list[Event] = []
    held: list[weakref.ref[torch.Tensor]] = []
    freed: list[bool] = []

    def limited(self: Network, x: torch.Tensor) -> torch.Tensor:
        if self.training and len(x) > 1:
            activations = x.clone()
            held.append(weakref.ref(activations))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return original(self, x)

    monkeypatch.setattr(Network, "forward", limited)

    def listen(event: Event) -> None:
        events.append(event)
        if "Out of memory" in event.message:
            freed.append(held[-1]() is None)

    run = train(dataset, tiny.replace(epochs=1), tmp_path / "run", on_event=listen)
    assert freed == [True, True], "what the functions held that memory ran out in is let go before the next try"
    assert load_checkpoint(run.folder / files.LAST)[1]["accumulate"] == 4
    said = [event.message for event in events if "Out of memory" in event.message]
    assert [text[-11:] for text in said] == ["parts of 2.", "parts of 1."]


def test_early_stopping_ends_a_run_that_does_not_improve(dataset: Dataset, tiny: TrainConfig, tmp_path: Path):
    settings = tiny.with_overrides(["stop.patience=2", "epochs=30", "epoch.steps=1", "optimizer.lr=1e-9", "ema=0"])
    run = train(dataset, settings, tmp_path / "run")
    assert len(run.history) < 30
    assert len(run.history) == run.best["epoch"] + 2


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoints(
    dataset: Dataset, tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from beadseg.training.step import Stepper

    original = Stepper.backward

    def broken(self: Stepper, batch: Batch) -> float:
        return float("nan") if (tmp_path / "run" / files.HISTORY).exists() else original(self, batch)

    monkeypatch.setattr(Stepper, "backward", broken)
    with pytest.raises(TrainingError, match="loss became nan in epoch 2, step 1 of 4"):
        train(dataset, tiny, tmp_path / "run")
    assert load_checkpoint(tmp_path / "run" / files.LAST)[1]["epoch"] == 1
    noticed = json.loads((tmp_path / "run" / files.DIAGNOSIS).read_text())["diagnosis"]
    assert noticed[-1]["code"] == "not-finite"


@pytest.mark.parametrize("network", ["attention-unet", "attention-resunet"])
def test_the_other_networks_train_too(network: str, dataset: Dataset, tmp_path: Path):
    settings = TrainConfig.preset("dense", network).with_overrides(
        ["epochs=1", "epoch.steps=2", "epoch.size=64", "batch=2", "network.width=8", "network.depth=3"]
    )
    run = train(dataset, settings, tmp_path / "run")
    assert len(run.history) == 1
    assert Segmenter.load(run.folder).config.network.kind == network


@pytest.mark.parametrize("preset", ["microbeads", "mitochondria"])
def test_the_laboratorys_presets_run(preset: str, dataset: Dataset, tmp_path: Path):
    settings = TrainConfig.preset(preset).with_overrides(["epochs=1", "epoch.size=64", "network.width=8"])
    events: list[Event] = []
    run = train(dataset, settings, tmp_path / "run", on_event=events.append)
    assert len(run.history) == 1
    assert any(event.kind == "diagnosis" and event.data["code"] == "few-steps" for event in events)


def test_patches_that_the_network_cannot_take_are_refused_at_once(dataset: Dataset, tiny: TrainConfig, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"Patches of 66 px .* multiple of"):
        train(dataset, tiny.with_overrides(["epoch.size=66", "network.depth=4"]), tmp_path / "run")


def stopping_at(task: str, done: int, stop: StopFlag) -> Callable[[Event], None]:
    """Return a listener that stops the work when `done` steps of `task` are done."""

    def listen(event: Event) -> None:
        if event.kind == "progress" and (event.data["task"], event.data["done"]) == (task, done):
            stop.set()

    return listen


def test_a_stop_in_mid_epoch_costs_no_step(finished: Run, dataset: Dataset, tiny: TrainConfig, tmp_path: Path):
    for task, done in (("epoch 1/3", 1), ("epoch 1/3", 3), ("epoch 2/3", 4), ("epoch 3/3", 2)):
        stop = StopFlag()
        with pytest.raises(Cancelled):
            train(dataset, tiny, tmp_path / "run", on_event=stopping_at(task, done, stop), stop=stop)
        meta = load_checkpoint(tmp_path / "run" / files.LAST)[1]
        assert (meta["epoch"] + 1, len(meta["losses"])) == (int(task[6]), done)
    assert_same_run(finished.folder, train(dataset, tiny, tmp_path / "run").folder)


def test_a_deadline_ends_the_run_with_its_own_exit_code(
    finished: Run, dataset: Dataset, tiny: TrainConfig, tmp_path: Path
):
    def job() -> None:
        """Train for five steps, as if each took a second."""
        steps: list[Event] = []

        def count(event: Event) -> None:
            if event.kind == "progress" and event.data["task"].startswith("epoch"):
                steps.append(event)

        deadline = Deadline(StopFlag(), end=7.0, margin=2.0, clock=lambda: float(len(steps)))
        train(dataset, tiny, tmp_path / "run", on_event=count, stop=deadline)

    for _ in range(2):
        with pytest.raises(OutOfTime, match="the same command goes on") as caught:
            job()
        assert caught.value.exit_code == ExitCode.OUT_OF_TIME
    job()
    assert_same_run(finished.folder, tmp_path / "run")


def test_a_checkpoint_in_mid_epoch_is_what_a_sudden_end_leaves(
    finished: Run, dataset: Dataset, tiny: TrainConfig, tmp_path: Path
):
    class SuddenEnd(BaseException):
        pass

    def end(event: Event) -> None:
        if event.kind == "progress" and (event.data["task"], event.data["done"]) == ("epoch 2/3", 3):
            raise SuddenEnd

    with pytest.raises(SuddenEnd):
        train(dataset, tiny, tmp_path / "run", on_event=end, checkpoint_minutes=0)
    meta = load_checkpoint(tmp_path / "run" / files.LAST)[1]
    assert (meta["epoch"], len(meta["losses"])) == (1, 3)
    assert_same_run(finished.folder, train(dataset, tiny, tmp_path / "run").folder)


def test_weights_that_are_no_numbers_are_not_saved_in_mid_epoch(
    dataset: Dataset, tiny: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from beadseg.training.step import Stepper

    original = Stepper.step

    def broken(self: Stepper, batch: Batch, lr: float) -> float:
        loss = original(self, batch, lr)
        if (tmp_path / "run" / files.HISTORY).exists():  # the first epoch is over
            with torch.no_grad():
                next(self.network.parameters()).fill_(float("nan"))
        return loss

    monkeypatch.setattr(Stepper, "step", broken)
    with pytest.raises(TrainingError):
        train(dataset, tiny, tmp_path / "run", checkpoint_minutes=0)
    tensors, meta = load_checkpoint(tmp_path / "run" / files.LAST)
    assert meta["epoch"] == 1
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_two_at_once_in_one_run_folder_are_refused(finished: Run, dataset: Dataset, tiny: TrainConfig):
    with locked(finished.folder), pytest.raises(RunError, match="Another process works in this folder"):
        train(dataset, tiny, finished.folder)
