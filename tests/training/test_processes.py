"""Several processes train one network: two by gloo on the CPU, beside one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from two_processes import CASES

from beadseg import files
from beadseg.cli.config_options import granted_cores
from beadseg.cli.torchrun import MASTER, NODE, NODES, Place
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.errors import Cancelled, ConfigError, ExitCode
from beadseg.events import Event, StopFlag
from beadseg.model.checkpoint import load_checkpoint, without_prefix
from beadseg.predict import Segmenter
from beadseg.training import Run, train
from beadseg.training.batches import Sampler, load_images
from beadseg.training.distributed import Team
from beadseg.training.records import HISTORY_COLUMNS

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def longer(tiny: TrainConfig) -> TrainConfig:
    """A configuration with steps enough to be interrupted in."""
    return tiny.with_overrides(["epochs=4", "epoch.steps=8", "optimizer.lr=3e-3"])


@pytest.fixture(scope="module")
def alone(dataset: Dataset, longer: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What one process trains, with one thread."""
    with one_thread():
        return train(dataset, longer, tmp_path_factory.mktemp("alone") / "run")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="module")
def together(folder: Path, longer: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder that two processes with torchrun's environment filled, and what each printed."""
    out = tmp_path_factory.mktemp("together")
    config = out / "config.yaml"
    config.write_text(longer.to_yaml())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, str(HERE / "two_processes.py"), str(folder), str(out), str(config)]
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [
        subprocess.Popen(words, env={**common, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    said = [process.communicate(timeout=900)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return out, said


def assert_same_curve(one: Run, other: Run) -> None:
    """Compare two histories as far as rounding lets them agree.

    Adam makes whole steps of the gradient of a bias in front of a batch norm, which is nothing but rounding. Training
    does not see that bias, evaluation does, as the norm's averages follow it late.
    """
    assert [row.keys() for row in one.history] == [row.keys() for row in other.history]
    for expected, found in zip(one.history, other.history, strict=True):
        assert (found["epoch"], found["step"], found["lr"]) == (expected["epoch"], expected["step"], expected["lr"])
        assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=3e-3)
        assert found["val_loss"] == pytest.approx(expected["val_loss"], rel=0.03)
        assert found["val_jaccard_images"] == pytest.approx(expected["val_jaccard_images"], abs=0.06)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_compute_the_gradient_of_one(name: str, together: tuple[Path, list[str]]):
    one, two = (load_file(together[0] / f"{name}-{count}.safetensors") for count in ("one", "two"))
    assert one.keys() == two.keys()
    assert one["loss"] > 0
    largest = max(float(value.abs().max()) for key, value in one.items() if key.endswith(("weight", "bias")))
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-3, atol=2e-4 * largest)


def test_two_processes_have_the_validation_curve_of_one(alone: Run, together: tuple[Path, list[str]]):
    assert [said.splitlines()[0] for said in together[1]] == [f"process {rank}: 4 epochs" for rank in range(2)]
    assert_same_curve(alone, Run(together[0] / "run"))


def test_at_the_end_all_processes_have_the_weights_that_one_process_loads(together: tuple[Path, list[str]]):
    run = together[0] / "run"
    (said,) = [line for line in (run / files.LOG).read_text().splitlines() if "SHA-256" in line]
    assert "The weights of all 2 processes are equal" in said
    assert not [path for path in run.iterdir() if path.name.startswith((".", "lock"))]
    tensors, meta = load_checkpoint(run / files.LAST)
    assert meta["machine"]["processes"] == 2
    assert {name.split(".")[0] for name in tensors} == {"network", "average", "optimizer"}
    network = Segmenter.load(run).network
    assert without_prefix("network", tensors).keys() == network.state_dict().keys()


def test_nothing_of_the_contact_outlives_a_training_that_ended_or_was_stopped(together: tuple[Path, list[str]]):
    """A thread of it that is left when Python ends aborts the process, now and then."""
    said = [lines.splitlines()[-1] for lines in together[1]]
    assert said == ["Cancelled, then 0 threads left", "Followed, then 0 threads left"]


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes that a command started, by their number."""
    found = psutil.Process(process.pid).children(recursive=True)
    return sorted((child for child in found if "RANK" in child.environ()), key=lambda child: child.environ()["RANK"])


def begin(folder: Path, run: Path, config: TrainConfig, path: Path) -> subprocess.Popen[str]:
    """Begin or continue a run with ``--processes 2``."""
    path.write_text(config.to_yaml())
    words = [sys.executable, "-m", "beadseg", "train", str(folder), "--out", str(run), "--config", str(path),
             "--threads", "1", "--device", "cpu", "--processes", "2", "--quiet"]  # fmt: skip
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process: subprocess.Popen[str], run: Path, text: str) -> Sequence[psutil.Process]:
    """Wait until the run's log says something; return the processes that train."""
    log = run / files.LOG
    until = time.monotonic() + 900
    while not (log.exists() and text in log.read_text()) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    assert process.poll() is None
    return children(process)


posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


@posix
def test_one_process_then_two_then_one_are_one_run(
    alone: Run, folder: Path, dataset: Dataset, longer: TrainConfig, tmp_path: Path
):
    run, stop = tmp_path / "run", StopFlag()

    def stop_early(event: Event) -> None:
        if event.kind == "progress" and (event.data["task"], event.data["done"]) == ("epoch 1/4", 3):
            stop.set()

    with one_thread(), pytest.raises(Cancelled):
        train(dataset, longer, run, on_event=stop_early, stop=stop)

    command = begin(folder, run, longer, tmp_path / "config.yaml")
    second = wait_for(command, run, "Epoch   1/4")
    second[1].send_signal(signal.SIGTERM)
    _, errors = command.communicate(timeout=900)
    assert command.returncode == ExitCode.CANCELLED, errors
    (line,) = errors.splitlines()
    assert "Stopped on request" in line
    assert not any(process.is_running() for process in second)
    assert not (run / files.LOCK).exists()
    log = (run / files.LOG).read_text()
    assert "Not continued exactly: processes 1 then, 2 now" in log
    assert "Continuing after epoch 0 of 4, step 3 of 8" in log
    assert load_checkpoint(run / files.LAST)[1]["machine"]["processes"] == 2

    with one_thread():
        assert_same_curve(alone, train(dataset, longer, run))


@pytest.mark.slow
@posix
def test_a_process_that_is_killed_ends_the_other(folder: Path, longer: TrainConfig, tmp_path: Path):
    command = begin(folder, tmp_path / "run", longer.replace(epochs=1000), tmp_path / "config.yaml")
    both = wait_for(command, tmp_path / "run", "Epoch   1/")
    both[1].kill()
    _, errors = command.communicate(timeout=900)
    assert command.returncode == ExitCode.KILLED  # which a chain of jobs takes for "go on"
    (line,) = errors.splitlines()
    assert "Process 1 of 2 was ended by the system (SIGKILL), and with it the others." in line
    assert not any(process.is_running() for process in both)
    assert len(Run(tmp_path / "run").history) >= 1
    assert not (tmp_path / "run" / files.LOCK).exists()


@pytest.mark.slow
def test_an_error_of_all_processes_is_told_once(folder: Path, longer: TrainConfig, tmp_path: Path):
    command = begin(folder, tmp_path / "run", longer.replace(batch=1), tmp_path / "config.yaml")
    _, errors = command.communicate(timeout=900)
    assert command.returncode == ExitCode.INPUT
    (line,) = errors.splitlines()
    assert "A batch of 1 cannot be shared by 2 processes." in line


def test_the_environment_says_which_process_this_is():
    assert Team.of({}) == Team() == Team.of({"RANK": "0"})
    assert not Team.of({"RANK": "0", "WORLD_SIZE": "1"}).several
    third = Team.of({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"})
    assert (third, str(third)) == (Team(3, 4, 1, 2), "process 3 of 4")
    assert third.share("abcdefghi") == "dh"
    with pytest.raises(ConfigError, match="RANK=4, WORLD_SIZE=4"):
        Team.of({"RANK": "4", "WORLD_SIZE": "4"})


def test_the_shares_of_a_batch_are_what_one_process_draws(dataset: Dataset, tiny: TrainConfig):
    config = tiny.with_overrides(["batch=5", "network.depth=3", "predict.objects.diameter=8"])
    images = load_images(list(dataset)[:3], config)
    whole = Sampler(images, config).draw(2, 1)
    shares = [Sampler(images, config, rank, 2).draw(2, 1) for rank in range(2)]
    assert [share.places.tolist() for share in shares] == [[0, 2, 4], [1, 3]]
    assert all(torch.equal(share.image, whole.image[share.places]) for share in shares)
    assert all(torch.equal(share.target, whole.target[share.places]) for share in shares)
    parts = [part for share in shares for part in share.parts(2)]
    assert [part.places.tolist() for part in parts] == [[0, 2], [1], [1], [0]]
    assert [part.size for part in parts] == [3, 2, 3, 2]


def test_processes_of_a_machine_share_its_cores():
    whole = granted_cores({})
    assert granted_cores({"LOCAL_WORLD_SIZE": "2"}) == max(1, whole // 2)
    assert granted_cores({"LOCAL_WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}) == 1


def test_a_job_on_several_machines_says_where_they_meet():
    alone = Place.of({})
    assert (alone.nodes, alone.node, alone.host) == (1, 0, "127.0.0.1")
    assert Place.of({NODES: "2", NODE: "1", MASTER: "gpu07:29400"}) == Place(2, 1, "gpu07", 29400)
    with pytest.raises(ConfigError, match="HOST:PORT of the first"):
        Place.of({NODES: "2", NODE: "2", MASTER: "gpu07:29400"})


def test_columns_of_the_history_are_those_of_one_process(together: tuple[Path, list[str]]):
    assert (together[0] / "run" / files.HISTORY).read_text().splitlines()[0] == ",".join(HISTORY_COLUMNS)
