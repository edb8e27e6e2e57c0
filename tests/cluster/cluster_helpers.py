"""Batch systems as the tests see them, and where this very beadseg lies."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

from beadseg.cluster import record, scheduler

FAKE = Path(__file__).with_name("fake_pbs.py")
SOURCE = Path(__file__).parents[2] / "src"
DIFFICULT = "a b'c\"d$e"
"""Part of every path in these tests."""


class Batch:
    """A batch system as a test sees it; this one PBS."""

    kind = "pbs"

    def cancel(self, name: str) -> None:
        self.call("qdel", name)

    def rerun(self, name: str) -> None:
        self.call("qrerun", name)

    def call(self, command: str, *words: str) -> str:
        return subprocess.run([command, *words], capture_output=True, text=True, check=True).stdout

    def job(self, name: str) -> dict[str, Any]:
        """Return what the server says of a job in PBS' words; one that it has forgotten is over."""
        found = scheduler.jobs([name]).get(name)
        if found is None:
            return {"job_state": "F"}
        ended = {} if found.exit_status is None else {"Exit_status": found.exit_status}
        return {"job_state": found.state, "run_count": found.run_count, "comment": found.comment, **ended}

    def is_over(self, name: str) -> bool:
        return bool(self.job(name)["job_state"] == "F")

    def wait_for(self, folder: Path, seconds: float = 1000) -> None:
        """Wait until all jobs that were sent for a folder are over."""
        until = time.monotonic() + seconds
        while not all(self.is_over(item.job) for item in record.sent_jobs(folder)):
            assert time.monotonic() < until, [(item, self.job(item.job)) for item in record.sent_jobs(folder)]
            time.sleep(1)


class Slurm(Batch):
    """A real Slurm."""

    kind = "slurm"

    def cancel(self, name: str) -> None:
        self.call("scancel", name)

    def rerun(self, name: str) -> None:
        self.call("scontrol", "requeue", name)


class FakePbs(Batch):
    """The fake batch system."""

    def __init__(self, state: Path) -> None:
        self.state = state

    def wait(self) -> None:
        """Wait until all jobs are over."""
        until = time.monotonic() + 200
        while not all(self.is_over(name) for name in self.ids()):
            assert time.monotonic() < until, [self.output(name) for name in self.ids()]
            time.sleep(0.05)

    def ids(self) -> list[str]:
        return sorted(path.name for path in self.state.iterdir() if (path / "job.json").exists())

    def is_over(self, name: str) -> bool:
        text = (self.state / name.split(".")[0].split("[")[0] / "job.json").read_text()
        return '"job_state": "F"' in text

    def output(self, name: str) -> str:
        """Return what a job printed outside its own log."""
        path = self.state / name.split(".")[0] / "output"
        return path.read_text() if path.exists() else ""
