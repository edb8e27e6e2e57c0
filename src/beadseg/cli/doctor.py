"""`beadseg-batch doctor`: what this machine has and grants, and what to fix."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from beadseg.cli import options
from beadseg.cli.console import reporter
from beadseg.cli.machine import container_memory, core_limits, granted_cores, processor
from beadseg.errors import ExitCode
from beadseg.events import Event, Level
from beadseg.text import plural

__all__ = ["Check", "doctor", "examine", "granted_cores"]

Status = Literal["ok", "warn", "problem"]
GIB = 1 << 30
LITTLE_MEMORY = 4 * GIB
"""Below this, training and 4K images may run out of memory."""
LITTLE_DISK, NO_DISK = 5 * GIB, GIB // 2
"""Free disk below the first is a warning, below the second a problem."""
LITTLE_SHARED = GIB // 4
"""Worker processes of torch die with less shared memory (64 MiB is a container's default)."""
BINDINGS = ("PyQt6", "PySide6", "PyQt5")
CRASHES = "6.12.0"
"""PySide6 that counts down the references of None with every call, which ends Python before 3.12."""
LIBRARIES = ("torch", "monai", "numpy", "scikit-image", "scikit-learn", "pandas", "tifffile")

_LEVELS: dict[Status, Level] = {"ok": "info", "warn": "warning", "problem": "error"}

Folder = Annotated[Path, typer.Option("--folder", metavar="DIR", help="The folder that results will be written to.")]
Cluster = Annotated[
    Path | None,
    typer.Option("--cluster", metavar="PROFILE", help="Check this profile of a PBS cluster against its live server."),
]


@dataclass(frozen=True)
class Check:
    """One thing looked at: `found` in words, and the `remedy` when it is not ok."""

    name: str
    status: Status
    found: str
    remedy: str = ""

    def as_event(self) -> Event:
        """Return the check as a result event."""
        text = f"{self.status:<8}{self.name}: {self.found}" + (f" -> {self.remedy}" if self.remedy else "")
        data = {"name": self.name, "status": self.status, "found": self.found, "remedy": self.remedy}
        return Event("result", text, _LEVELS[self.status], data)


def doctor(folder: Folder = Path(), cluster: Cluster = None, json: options.Json = False) -> None:
    """Check this machine: versions, GPU, bf16, threads, memory, disk, display, and say what to fix."""
    from beadseg.cli.doctor_cluster import examine_cluster

    problems = 0
    with reporter(json) as on_event:
        for check in examine(folder) if cluster is None else examine_cluster(cluster):
            problems += check.status == "problem"
            on_event(check.as_event())
        summary = f"{plural(problems, 'problem')} to fix." if problems else "Nothing must be fixed."
        on_event(Event("result", summary, "error" if problems else "info", {"problems": problems}))
    if problems:
        raise typer.Exit(ExitCode.MACHINE)


def examine(folder: Path) -> Iterator[Check]:
    """Yield every check, the cheap ones first."""
    steps: tuple[Callable[[], Check], ...] = (_python, _packages, _processor, _threads, _memory, _shared_memory)
    for step in steps:
        yield step()
    yield _disk(folder)
    yield _writable(folder)
    yield _viewer()
    yield _display()
    if find_spec("torch") is not None:
        yield _torch_threads()
        yield _bf16()
        yield from _gpus()


def _version(package: str) -> str | None:
    """Return an installed package's version without importing it; None when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> Check:
    from beadseg import __version__

    found = f"Python {platform.python_version()} on {platform.platform()}, beadseg {__version__}"
    return Check("python", "ok", found)


def _packages() -> Check:
    versions = {name: _version(name) for name in LIBRARIES}
    missing = [name for name, version in versions.items() if version is None]
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)
    if missing:
        return Check("packages", "problem", found or "none", f"Missing: {', '.join(missing)}. Run: pip install beadseg")
    return Check("packages", "ok", found)


def _processor() -> Check:
    name, flags = processor()
    known = sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16"})
    return Check("processor", "ok", f"{name} ({', '.join(known) or 'no known vector units'})")


def _threads() -> Check:
    limits = core_limits()
    granted = min(limits.values())
    found = f"{granted} cores granted ({', '.join(f'{name} {count}' for name, count in limits.items())})"
    if granted == 1:
        return Check("cores", "warn", found, "Training on one core is slow: ask for more cores.")
    return Check("cores", "ok", found)


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    limit = container_memory()
    total = memory.total if limit is None else min(memory.total, limit)
    found = f"{total / GIB:.1f} GiB" + (
        "" if total == memory.total else f" (container; machine {memory.total / GIB:.1f})"
    )
    found += f", {memory.available / GIB:.1f} GiB free on the machine"
    if total < LITTLE_MEMORY or memory.available < LITTLE_MEMORY / 2:
        return Check("memory", "warn", found, "Close other programs or ask for more; set a smaller batch and tile.")
    return Check("memory", "ok", found)


def _shared_memory() -> Check:
    place = Path("/dev/shm")
    if not place.is_dir():
        return Check("shared memory", "ok", "not used on this system")
    total = shutil.disk_usage(place).total
    if total < LITTLE_SHARED:
        return Check(
            "shared memory", "warn", f"{total / GIB:.2f} GiB", "Start the container with more, e.g. --shm-size=1g."
        )
    return Check("shared memory", "ok", f"{total / GIB:.1f} GiB")


def _disk(folder: Path) -> Check:
    existing = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    found = f"{free / GIB:.1f} GiB free at {existing.absolute()}"
    if free < LITTLE_DISK:
        return Check(
            "disk", "problem" if free < NO_DISK else "warn", found, "Free some space or choose another folder."
        )
    return Check("disk", "ok", found)


def _writable(folder: Path) -> Check:
    """Write a file, since permission bits do not tell about quotas, read-only mounts and network disks."""
    if not folder.is_dir():
        return Check("folder", "problem", f"{folder} is not a folder", "Create it, or name another with --folder.")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"beadseg")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return Check("folder", "problem", f"{folder} is not writable: {error.strerror}", "Name another with --folder.")
    return Check("folder", "ok", f"{folder.absolute()} is writable")


def _viewer() -> Check:
    napari = _version("napari")
    if napari is None:
        return Check(
            "napari", "ok", 'not installed, not needed here; for the viewer: pip install "beadseg[napari]" PyQt6'
        )
    found = [f"{name} {version}" for name in BINDINGS if (version := _version(name)) is not None]
    if not found:
        return Check("napari", "warn", f"napari {napari} without a Qt binding", "Run: pip install PyQt6")
    if f"PySide6 {CRASHES}" in found and sys.version_info < (3, 12):
        remedy = f'Run: pip install "PySide6!={CRASHES}", or use Python 3.12 or newer.'
        return Check("napari", "problem", f"PySide6 {CRASHES} ends napari within seconds on this Python", remedy)
    if len(found) > 1:
        return Check(
            "napari", "warn", f"napari {napari}, {', '.join(found)}", "Keep one Qt binding, uninstall the others."
        )
    return Check("napari", "ok", f"napari {napari}, {found[0]}")


def _display() -> Check:
    if platform.system() != "Linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return Check("display", "ok", "there")
    return Check("display", "ok", "none: commands work, the napari viewer does not open here")


def _torch_threads() -> Check:
    import torch

    used, granted = torch.get_num_threads(), granted_cores()
    found = f"torch starts with {used} threads, beadseg gives it the {granted} that are granted"
    return Check("torch threads", "ok", found)


def _bf16() -> Check:
    """Try a bf16 convolution: without hardware it is slow, and wrong results have been reported (pytorch#163347)."""
    _, flags = processor()
    if not flags & {"amx_bf16", "avx512_bf16"}:
        return Check("bf16", "ok", "the processor has none: fp32 is used on the CPU")
    difference = bf16_difference("cpu")
    if difference > 0.05:
        found = f"a bf16 convolution is off by {difference:.3f} of its scale"
        return Check("bf16", "warn", found, "Train and predict with --set precision=fp32, or update torch.")
    return Check("bf16", "ok", f"in hardware, agrees with fp32 (largest difference {difference:.4f} of the scale)")


def bf16_difference(device: str) -> float:
    """Return the largest difference of one bf16 convolution from fp32, as a share of the fp32 result's scale."""
    import torch

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 16, 64, 64, generator=generator).to(device)
    weight = torch.randn(16, 16, 3, 3, generator=generator).to(device)
    with torch.inference_mode():
        reference = torch.nn.functional.conv2d(x, weight, padding=1)
        fast = torch.nn.functional.conv2d(
            x.bfloat16().contiguous(memory_format=torch.channels_last), weight.bfloat16(), padding=1
        )
    return float((fast.float() - reference).abs().max() / reference.abs().max())


def _gpus() -> Iterator[Check]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a missing or old driver is the answer here, not a warning
        available = torch.cuda.is_available()
    if not available:
        if shutil.which("nvidia-smi") is not None:
            found = f"torch {torch.__version__} cannot use the GPU of this machine"
            yield Check("GPU", "warn", found, "Install the torch build for its driver, or ask the cluster for a GPU.")
            return
        yield Check("GPU", "ok", "none: everything runs on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        bf16 = "with" if torch.cuda.is_bf16_supported(including_emulation=False) else "without"
        yield Check(f"GPU {index}", "ok", f"{properties.name}, {properties.total_memory / GIB:.1f} GiB, {bf16} bf16")
