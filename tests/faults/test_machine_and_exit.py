"""Devices, memory and exit codes: what the machine says is told as it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist

from beadseg.errors import ConfigError, ExitCode, is_out_of_memory
from beadseg.model.backends import automatic, choose_device
from beadseg.training.distributed import joined
from beadseg.training.trainer import _check_batch


@pytest.mark.parametrize(
    ("cuda", "mps", "wanted"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_apples_gpu_is_chosen_where_there_is_one(cuda: bool, mps: bool, wanted: str) -> None:
    assert automatic(cuda=cuda, mps=mps) == wanted
    if torch.backends.mps.is_available():
        assert choose_device("auto").type == "mps"


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("a caption about out of memory"), False),
        (ConfigError("Out of memory is not a field."), False),
    ],
)
def test_one_rule_tells_whether_memory_ran_out(error: Exception, ran_out: bool) -> None:
    assert is_out_of_memory(error) == ran_out


@pytest.mark.parametrize(("end", "code", "said"), [("'no such thing'", ExitCode.BUG, "no such thing"), ("3", 3, ""),
                                                   ("None", ExitCode.OK, ""), ("", ExitCode.OK, "")])  # fmt: skip
def test_a_text_given_to_system_exit_is_a_failure(end: str, code: int, said: str) -> None:
    program = f"""
import sys, types
from beadseg.cli import app
def doctor():
    raise SystemExit({end})
sys.modules["beadseg.cli.doctor"] = types.ModuleType("beadseg.cli.doctor")
sys.modules["beadseg.cli.doctor"].doctor = doctor
sys.exit(app.main(["doctor"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert said in done.stderr


def test_the_process_group_ends_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1"}
    program = """
import sys
from beadseg.training.distributed import joined
with joined("cpu") as team:
    team.wait()
"""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        values["MASTER_PORT"] = str(probe.getsockname()[1])
    other = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, **values, "RANK": "1", "LOCAL_RANK": "1"}
    )
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    try:
        with pytest.raises(ConfigError, match="cannot be shared"), joined("cpu") as team:
            _check_batch(1, team)
        assert not dist.is_initialized()
    finally:
        other.kill()
        other.wait()
