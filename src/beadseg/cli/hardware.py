"""What this machine grants to this process: cores, memory, disk. No torch, no Qt."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux shows the limits of containers and batch jobs."""


def granted_cores(environment: Mapping[str, str] | None = None) -> int:
    """Return how many CPU cores this process may use: the smallest of what is set.

    Looked at are the processes' affinity, the container's quota, ``NCPUS`` (PBS) and ``OMP_NUM_THREADS``. Several
    processes that train together share all of these but the last, which is each one's own.
    """
    variables = os.environ if environment is None else environment
    limits = core_limits(variables)
    sharing = int(variables.get("LOCAL_WORLD_SIZE") or 1)
    return min(count if name == "OMP_NUM_THREADS" else max(1, count // sharing) for name, count in limits.items())


def core_limits(environment: Mapping[str, str] | None = None) -> dict[str, int]:
    """Return every limit on the number of cores by its name, the machine's own number among them."""
    variables = os.environ if environment is None else environment
    limits = {"machine": os.cpu_count() or 1}
    if hasattr(os, "sched_getaffinity"):
        limits["affinity"] = len(os.sched_getaffinity(0))
    quota = container_cores()
    if quota is not None:
        limits["container"] = quota
    for name in ("NCPUS", "OMP_NUM_THREADS"):
        text = variables.get(name, "")
        if text.isdigit() and int(text) > 0:
            limits[name] = int(text)
    return limits


def container_cores(root: Path = CGROUP) -> int | None:
    """Return the whole cores of the control group's CPU quota, at least 1; None when there is no quota."""
    words = _first_line(root / "cpu.max").split()  # version 2: "200000 100000" or "max 100000"
    if len(words) != 2:
        words = [_first_line(root / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]  # version 1
    quota, period = words
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return max(1, int(quota) // int(period))


def container_memory(root: Path = CGROUP) -> int | None:
    """Return the control group's memory limit, bytes; None when there is none."""
    for path in (root / "memory.max", root / "memory" / "memory.limit_in_bytes"):
        text = _first_line(path)
        if text.isdigit() and int(text) < 1 << 60:  # version 1 writes a huge number for "no limit"
            return int(text)
    return None


def processor() -> tuple[str, frozenset[str]]:
    """Return the processor's name and its feature flags (the flags on Linux only)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), frozenset()
    entries = dict(reversed([_entry(line) for line in lines if ":" in line]))
    name = entries.get("model name") or platform.processor() or platform.machine()
    return name, frozenset(entries.get("flags", entries.get("Features", "")).split())


def _entry(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def _first_line(path: Path) -> str:
    """Return the first line of a file of the kernel; empty when it is not there."""
    try:
        return path.read_text(encoding="ascii").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        return ""
