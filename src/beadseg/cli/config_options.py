"""From command-line options to the core's objects: a dataset, a configuration, threads. Imports the core late.

And what this machine grants to the process: cores and memory. No torch, no Qt.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Dataset
    from beadseg.data.fields import FieldRule
    from beadseg.events import OnEvent


def open_dataset(
    folder: Path,
    on_event: OnEvent,
    *,
    include: list[str] | None,
    exclude: list[str] | None,
    fields: str | None,
    samples: str | None = None,
    **folders: Any,
) -> Dataset:
    """Open a dataset folder and report what could not be paired, and what its review leaves out.

    `samples`: see `beadseg.annotation.review.Which`; with None the review is not looked at.
    """
    from beadseg.annotation.review import Review, reviewed
    from beadseg.data.dataset import Dataset
    from beadseg.events import Event, log
    from beadseg.text import plural

    # A review may have given masks to images that had none.
    complete = samples is None or not Review.exists(folder)
    rule = field_rule(fields)
    data = Dataset.open(
        folder, include=include or (), exclude=exclude or (), fields=rule, require_masks=complete, **folders
    )
    on_event(log(f"{plural(len(data), 'sample')} in {plural(len(data.fields), 'field of view')} from {folder}."))
    for problem in data.problems:
        on_event(Event("left-out", f"Left out: {problem}", "warning", {"path": str(problem.path)}))
    return data if samples is None else reviewed(data, samples, on_event)


def field_rule(text: str | None) -> FieldRule:
    """Return how fields of view are found: ``own``, a CSV file, a regular expression, or None: the usual tile names."""
    from beadseg.data.fields import CsvFields, OwnFields, PatternFields

    if text is None:
        return PatternFields()
    if text == "own":
        return OwnFields()
    if text.lower().endswith((".csv", ".tsv", ".txt")):
        return CsvFields(path=Path(text))
    return PatternFields.parse({"pattern": text}, "--fields")


def train_config(
    preset: str,
    network: str | None,
    file: Path | None,
    assignments: list[str] | None,
    seed: int | None,
    epochs: int | None,
    split_file: Path | None,
    on_event: OnEvent | None = None,
) -> TrainConfig:
    """Return the configuration that the options describe: preset or file first, then every change.

    `on_event` hears which settings do not apply to another kind of network, loss … that was chosen.
    """
    from beadseg.config import TrainConfig
    from beadseg.events import log

    def note(text: str) -> None:
        if on_event is not None:
            on_event(log(text, "warning"))

    if file is None:
        config = TrainConfig.preset(preset, network)
    else:
        config = TrainConfig.from_file(_asked(file, note))
        if network not in (None, config.network.kind):
            config = config.with_overrides([f"network.kind={network}"], note)
    changes: dict[str, Any] = {}
    if seed is not None:
        changes["seed"] = seed
    if epochs is not None:
        changes["epochs"] = epochs
    if split_file is not None:
        changes["split"] = {"kind": "file", "path": split_file}
    config = config.replace(**changes) if changes else config
    return config.with_overrides(assignments, note) if assignments else config


def _asked(file: Path, note: Callable[[str], None]) -> Path:
    """Return the configuration file of a run folder: the one asked for; say what a run's planned one means."""
    from beadseg import files

    if file.is_dir():
        asked = file / files.ASKED
        return asked if asked.exists() else file / files.CONFIG
    if file.name == files.CONFIG and (file.parent / files.PLAN).exists():
        what = f"{file} holds values that were planned from the data of that run."
        note(f"{what} To plan them again for other data, give its folder: --config {file.parent}.")
    return file


def use_threads(threads: int | None) -> int:
    """Give torch the CPU threads asked for, or those that the machine grants to this process; return how many."""
    import torch

    from beadseg.cli.config_options import granted_cores

    count = granted_cores() if threads is None else threads
    torch.set_num_threads(count)
    return count


def earlier_size(folder: Path, name: str, key: str) -> int:
    """Return how much the JSON document `name` of an earlier result holds: its list or number under `key`, else 0."""
    from beadseg.data.documents import read_document
    from beadseg.errors import RunError

    try:
        value = read_document(folder / name).get(key)
    except RunError:
        return 0
    return value if isinstance(value, int) else len(value) if isinstance(value, list | dict) else 0


def warn_if_less(path: Path, before: int, now: int, noun: str, on_event: OnEvent) -> None:
    """Warn where a result of `before` things, such as images, was replaced by one of fewer."""
    from beadseg.events import Event
    from beadseg.text import plural

    if now < before:
        text = f"{path}: replaced an earlier result of {plural(before, noun)} by one of {plural(now, noun)}."
        on_event(Event("replaced", text, "warning", {"path": str(path), "before": before, "now": now}))


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
    """Return how many cores the control group's CPU quota allows, rounded down but at least 1; None without a quota."""
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
