"""The benchmark of two people whose programs are killed, in short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "review.py"


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_two_who_are_killed_at_random_lose_nothing() -> None:
    command = [sys.executable, str(BENCHMARK), "--samples", "20", "--kills", "4", "--between", "0.01"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of these lost: 0" in done.stdout
