"""Trainings that outlive their jobs: on the fake batch system (slow), and on a real server (``-m pbs``, ``-m slurm``).

Each ends with the same bits as a training that nobody disturbed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psutil
import pytest
import torch
from cluster_helpers import SOURCE, Batch

from beadseg import files
from beadseg.cli.app import main
from beadseg.cluster import record
from beadseg.cluster.job import WALLTIME
from beadseg.model.checkpoint import load_checkpoint
from beadseg.runtime.locking import Owner

EPOCHS = 60
"""Of the undisturbed training; more where the machine is so quick that starting takes longer than they do."""
EPOCH_LINE = " INFO Epoch "
FIELDS = [
    "epoch.steps=6", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3",
    "precision=fp32",
]  # fmt: skip
SETS = [word for setting in FIELDS for word in ("--set", setting)]
TRAIN = [*SETS, "--checkpoint-minutes", "0.02"]


@dataclass(frozen=True)
class Undisturbed:
    """A run that was trained in one go, and how long its start with the first epoch, and all the rest took, s."""

    run: Path
    start: float
    rest: float
    epochs: int = EPOCHS


@pytest.fixture(scope="module")
def undisturbed(beads: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Train with one thread, as the jobs have, so long that a job can be much shorter than the training."""
    found = train(beads, tmp_path_factory.mktemp("undisturbed") / "run", EPOCHS)
    while found.rest < 3 * found.start:
        more = int(found.epochs * 4 * found.start / found.rest) + 1
        found = train(beads, tmp_path_factory.mktemp("undisturbed") / "run", more)
    return found


def train(beads: Path, run: Path, epochs: int) -> Undisturbed:
    command = [sys.executable, "-m", "beadseg", "train", str(beads), "--out", str(run), "--threads", "1", *SETS,
               "--epochs", str(epochs)]  # fmt: skip
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(SOURCE)})
    while not (run / files.HISTORY).exists() and process.poll() is None:
        time.sleep(0.1)
    start = time.monotonic() - began
    assert process.wait() == 0
    return Undisturbed(run, start, time.monotonic() - began - start, epochs)


def submit(beads: Path, profile: Path, run: Path, undisturbed: Undisturbed, *more: str) -> str:
    """Send a training; return the job's id."""
    times = [] if "--walltime" in more else ["--walltime", "00:30:00"]
    words = ["submit", "train", str(beads), "--out", str(run), "--cluster", str(profile), *TRAIN, *times, *more,
             "--epochs", str(undisturbed.epochs)]  # fmt: skip
    assert main(words) == 0
    return record.sent_jobs(run)[-1].job


def wait_until_training(batch: Batch, run: Path, job: str) -> int:
    """Wait until a job has trained an epoch and goes on; return the number of the process."""
    until = time.monotonic() + 600
    while not (run / files.HISTORY).exists() or not (run / files.LOCK).exists():
        assert time.monotonic() < until, log(run, 0)
        assert not batch.is_over(job), log(run, 0)
        time.sleep(0.5)
    return Owner.model_validate_json((run / files.LOCK).read_text()).pid


def log(run: Path, number: int) -> str:
    return "".join(path.read_text() for path in record.sent_jobs(run)[number].logs(run))


def assert_same(one: Path, other: Path) -> None:
    """Compare history and weights of two run folders bit for bit."""
    assert (one / files.HISTORY).read_bytes() == (other / files.HISTORY).read_bytes()
    for name in (files.LAST, files.BEST):
        expected, found = load_checkpoint(one / name)[0], load_checkpoint(other / name)[0]
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.timeout(2400)
def test_a_training_longer_than_its_walltime_goes_on_in_further_jobs(
    batch: Batch, beads: Path, profile: Path, place: Path, undisturbed: Undisturbed
):
    """Jobs are as long as a third of the training; tried again where the machine got quicker or slower meanwhile."""
    walltime = for_a_third(undisturbed.start, undisturbed.rest)
    for attempt in range(6):
        run = place / f"run {attempt}"
        limit = f"00:{walltime // 60:02d}:{walltime % 60:02d}"
        submit(beads, profile, run, undisturbed, "--walltime", limit, "--margin", "10", "--jobs", "12")
        batch.wait_for(run)
        parts = [item for item in record.sent_jobs(run) if batch.job(item.job).get("Exit_status") is not None]
        ends = [batch.job(item.job)["Exit_status"] for item in parts]
        assert set(ends) <= {0, 6, WALLTIME}
        if ends[-1] != 0 or WALLTIME in ends:  # all jobs, or the margin, were not enough
            walltime = walltime * 3 // 2
            continue
        assert f"Finished. Results: {run}" in log(run, len(parts) - 1).splitlines()[-1]
        assert_same(undisturbed.run, run)
        if len(parts) >= 3:
            break
        told = max((log(run, number) for number in range(len(parts))), key=epochs_told)
        walltime = for_a_third(*pace(told, undisturbed.epochs))
    assert len(parts) >= 3
    assert (set(ends[:-1]), ends[-1]) == ({6}, 0)
    assert "The job's time was up; everything is kept" in log(run, 0).splitlines()[-1]


def for_a_third(start: float, rest: float) -> int:
    """Return the walltime of a job that needs `start` to its first epoch, and does a good part of the rest, s."""
    return int(start * 1.5 + rest / 6) + 10


def epochs_told(text: str) -> int:
    return text.count(EPOCH_LINE)


def pace(text: str, every: int) -> tuple[float, float]:
    """Return how long a job took to its first epoch, and what all others take at the pace of those it did, s."""
    lines = text.splitlines()
    told = [lines[0], *(line for line in lines if EPOCH_LINE in line)]
    begun, *epochs = [datetime.strptime(line[:19], "%Y-%m-%d %H:%M:%S") for line in told]
    each = (epochs[-1] - epochs[0]).total_seconds() / max(1, len(epochs) - 1)
    return (epochs[0] - begun).total_seconds(), each * (every - 1)


@pytest.mark.timeout(1200)
def test_qdel_keeps_every_step_and_sends_no_successor(
    batch: Batch, beads: Path, profile: Path, place: Path, undisturbed: Undisturbed
):
    run = place / "run"
    job = submit(beads, profile, run, undisturbed)
    wait_until_training(batch, run, job)
    batch.cancel(job)
    batch.wait_for(run)
    assert "Stopped" in log(run, 0).splitlines()[-1]
    assert batch.job(job)["Exit_status"] in (130, 271)
    assert not (run / files.CRITERIA).exists()
    assert not (run / files.LOCK).exists()
    # The next job is taken back, or, where PBS left no time for that, sees what happened and does nothing.
    assert batch.job(record.sent_jobs(run)[1].job).get("Exit_status") in (None, 130)
    assert len(record.sent_jobs(run)) == 2
    submit(beads, profile, run, undisturbed)
    batch.wait_for(run)
    assert_same(undisturbed.run, run)


@pytest.mark.timeout(1200)
def test_a_job_that_is_started_again_goes_on_by_itself(
    batch: Batch, beads: Path, profile: Path, place: Path, undisturbed: Undisturbed
):
    run = place / "run"
    job = submit(beads, profile, run, undisturbed)
    wait_until_training(batch, run, job)
    batch.rerun(job)
    batch.wait_for(run)
    assert batch.job(job)["run_count"] == 2
    assert batch.job(job)["Exit_status"] == 0
    assert "Continuing after epoch" in log(run, 0)
    assert_same(undisturbed.run, run)


@pytest.mark.timeout(1200)
def test_killed_without_a_word_the_next_job_goes_on(
    batch: Batch, beads: Path, profile: Path, place: Path, undisturbed: Undisturbed
):
    """First the program is killed, then, in the next job, the script as well."""
    run = place / "run"
    job = submit(beads, profile, run, undisturbed)
    os.kill(wait_until_training(batch, run, job), signal.SIGKILL)
    until = time.monotonic() + 600
    while not batch.is_over(job):
        assert time.monotonic() < until
        time.sleep(0.5)
    second = record.sent_jobs(run)[1].job
    assert f"Killed by signal 9; what was saved is in {run}. Job {second} goes on." in log(run, 0)
    while "Continuing after epoch" not in log(run, 1):
        assert time.monotonic() < until, log(run, 1)
        assert not batch.is_over(second), log(run, 1)
        time.sleep(0.5)
    program = psutil.Process(Owner.model_validate_json((run / files.LOCK).read_text()).pid)
    script = program.parent()
    assert script is not None
    script.kill()
    program.kill()
    batch.wait_for(run)
    text = log(run, 2)
    assert "was left behind (that process is gone); it is taken over." in text
    assert f"Finished. Results: {run}" in text
    assert_same(undisturbed.run, run)
