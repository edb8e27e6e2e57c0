"""`beadseg-batch doctor`: what this machine has and grants, or a cluster's profile offers, and what to fix."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from beadseg.cli import options
from beadseg.cli.config_options import container_memory, core_limits, granted_cores, processor
from beadseg.cli.console import reporter
from beadseg.errors import ExitCode
from beadseg.events import Event, Level
from beadseg.runtime.process import run_briefly
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.config.site import SiteConfig

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

_COMMANDS = {
    "pbs": ("qsub", "qstat", "qdel", "pbsnodes"),
    "slurm": ("sbatch", "squeue", "scancel", "sinfo", "scontrol"),
}
_DOWN = {"offline", "down", "unknown", "state-unknown", "stale"}
"""States of a node that takes no jobs."""
SECONDS = 120
"""Loading the modules and looking for the program may take this long, s."""


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


def examine_cluster(path: Path) -> Iterator[Check]:
    """Yield every check of a profile; a profile that cannot be read raises `ConfigError`."""
    from beadseg.config.site import SiteConfig
    from beadseg.errors import MachineError

    site = SiteConfig.from_file(path)
    yield Check("profile", "ok", f"{path} is valid")
    system = "Slurm" if site.scheduler == "slurm" else "PBS"
    missing = [name for name in _COMMANDS[site.scheduler] if shutil.which(name) is None]
    if missing:
        remedy = f"Log in to the cluster's login node, load its {system} module, or correct scheduler."
        yield Check(system, "problem", f"there is no {', '.join(missing)} on this machine", remedy)
        return
    try:
        yield from _slurm(site) if site.scheduler == "slurm" else _pbs(site)
        yield _trial(site)
    except MachineError as error:
        yield Check(system, "problem", str(error), "Ask the cluster's support.")
        return
    if site.processes is not None:
        yield _processes(site, site.processes)
    yield from _container(site)
    yield _program(site)
    yield _scratch(site)


def _pbs(site: SiteConfig) -> Iterator[Check]:
    from beadseg.cluster import pbs

    server = pbs.server()
    yield from _server(server)
    queues, nodes = pbs.queues(), pbs.nodes()
    name = (site.queue or str(server.get("default_queue", ""))).partition("@")[0]
    if "@" in (site.queue or ""):
        yield Check("queue", "ok", f"{site.queue} is a queue of another server, which the trial below asks")
    else:
        yield _queue(name, queues)
        yield _walltime(site, queues.get(name, {}))
    up = {name: node for name, node in nodes.items() if not _DOWN & set(str(node.get("state", "")).split(","))}
    yield _select(site, up, len(nodes))


def _slurm(site: SiteConfig) -> Iterator[Check]:
    from beadseg.cluster import slurm
    from beadseg.config.site import walltime_seconds

    there = slurm.partitions()
    yield Check("Slurm", "ok", f"partitions: {', '.join(there)}")
    if not slurm.keeps_history():
        remedy = "`status` then says what the job's log says."
        yield Check(
            "history", "warn", "the cluster has no accounting and forgets finished jobs after some time", remedy
        )
    if site.queue is not None and site.queue not in there:
        remedy = f"Set queue to one of: {', '.join(there)}."
        yield Check("queue", "problem", f"there is no partition {site.queue!r}", remedy)
        return
    chosen = site.queue or next((name for name, values in there.items() if values["default"]), "")
    longest = there.get(chosen, {}).get("longest", "infinite")
    if walltime_seconds(site.walltime) > slurm.longest_seconds(longest):
        found = f"{site.walltime}, but partition {chosen} takes {longest} at most; the job would wait for ever"
        yield Check("walltime", "problem", found, "Set a shorter walltime; longer training goes on in the next job.")


def _trial(site: SiteConfig) -> Check:
    """Ask the server whether it takes a job of this profile: limits, accounts and access are known to it alone."""
    from beadseg.cluster import scheduler
    from beadseg.cluster.job import JobScript
    from beadseg.cluster.submit import check, render
    from beadseg.errors import ConfigError

    with TemporaryDirectory(prefix="beadseg-doctor-") as folder:
        job = JobScript("doctor", ("--version",), Path(folder), Path(folder))
        job.path.parent.mkdir()
        try:
            check(job, site)
            job.path.write_text(render(job, site), encoding="utf-8")
        except ConfigError as error:
            return Check("trial", "problem", error.what, error.remedy or "")
        refusal = scheduler.trial(job.path, site)
    if refusal:
        return Check("trial", "problem", f"the server refuses a job of this profile: {refusal}",
                     "Correct what it names in the profile.")  # fmt: skip
    return Check("trial", "ok", "the server takes a job of this profile (nothing was started)")


def _server(server: dict[str, Any]) -> Iterator[Check]:
    state = server.get("server_state", "unknown")
    found = f"{server.get('name')}, version {server.get('pbs_version')}, {state}"
    if state not in ("Active", "Hot_Start", "Scheduling"):
        yield Check("PBS", "warn", found, "Jobs are taken, but do not begin: ask the cluster's support.")
    else:
        yield Check("PBS", "ok", found)
    if str(server.get("job_history_enable", "False")) != "True":
        remedy = "`status` reads how they ended from their logs."
        yield Check("history", "warn", "the server forgets finished jobs", remedy)


def _queue(name: str, queues: dict[str, dict[str, Any]]) -> Check:
    if name not in queues:
        remedy = f"Set queue to one of: {', '.join(queues)}."
        return Check("queue", "problem", f"there is no queue {name!r}" if name else "no queue is given", remedy)
    asked = {"takes jobs": queues[name].get("enabled"), "begins them": queues[name].get("started")}
    wrong = [what for what, value in asked.items() if str(value) != "True"]
    if wrong:
        return Check("queue", "problem", f"{name}: it is not so that it {' and '.join(wrong)}", "Choose another.")
    return Check("queue", "ok", f"{name} takes jobs and begins them")


def _walltime(site: SiteConfig, queue: dict[str, Any]) -> Check:
    from beadseg.config.site import as_walltime, walltime_seconds

    limit = queue.get("resources_max", {}).get("walltime")
    if limit is None:
        return Check("walltime", "ok", f"{site.walltime}; the queue sets no limit")
    longest = as_walltime(limit)
    if walltime_seconds(site.walltime) > walltime_seconds(longest):
        remedy = f"Set walltime to {longest} or less; longer training goes on in the next job."
        return Check("walltime", "problem", f"{site.walltime}, but the queue takes {longest} at most", remedy)
    return Check("walltime", "ok", f"{site.walltime} of {longest} at most")


def _select(site: SiteConfig, nodes: dict[str, dict[str, Any]], count: int) -> Check:
    from beadseg.cluster.job import chunks, never_fits

    wanted = sum(number for number, _ in chunks(site.select))
    reason = never_fits(site.select, nodes)
    if not nodes:
        return Check("select", "problem", f"none of {plural(count, 'node')} is up", "Ask the cluster's support.")
    if not reason and "scatter" in (site.place or "") and wanted > len(nodes):
        reason = f"{plural(wanted, 'node')} are asked for, and {plural(len(nodes), 'node is', 'nodes are')} up"
    if reason:
        remedy = "Ask for what a node has; PBS would keep the job waiting for ever."
        return Check("select", "problem", f"{site.select}: {reason}", remedy)
    return Check("select", "ok", f"{site.select} fits a node ({len(nodes)} of {count} are up)")


def _processes(site: SiteConfig, count: int) -> Check:
    gpus = [int(number) for number in re.findall(r"\bngpus=(\d+)", site.select)]
    if not gpus:
        return Check("processes", "warn", f"{count} on each node, and no GPU", "Ask for GPUs in select, as ngpus.")
    if min(gpus) < count:
        remedy = f"Ask for ngpus={count} in select, or set processes to {min(gpus)}."
        return Check("processes", "problem", f"{count} on each node, which gets {plural(min(gpus), 'GPU')}", remedy)
    return Check("processes", "ok", f"{count} on each node")


def _container(site: SiteConfig) -> Iterator[Check]:
    if site.container is None:
        return
    box = site.container
    if not box.image.is_file():
        remedy = "Build it (hpc/beadseg.def), or correct container.image."
        yield Check("container", "problem", f"there is no {box.image}", remedy)
    else:
        yield Check("container", "ok", str(box.image))
    missing = [folder for folder in box.binds if not Path(folder.split(":")[0]).exists()]
    if missing:
        yield Check("binds", "warn", f"not on this machine: {', '.join(missing)}", "Correct container.binds.")


def _program(site: SiteConfig) -> Check:
    """Load the modules and run the set-up as a job does, and look for the program."""
    program = site.container.program if site.container else site.command[0]
    exports = [f"export {name}={shlex.quote(value)}" for name, value in site.environment.items()]
    modules = [f"module load {shlex.join(site.modules)} || exit 3"] if site.modules else []
    text = "\n".join([*modules, *exports, *site.setup, f"command -v -- {shlex.quote(program)}"])
    try:
        done = run_briefly(["bash", "-lc", text], SECONDS)
    except subprocess.TimeoutExpired:
        return Check("program", "warn", f"modules and set-up took more than {SECONDS} s", "Try them by hand.")
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-200:]
        found = f"{program} is not found on this machine after modules and set-up" + (f" ({said})" if said else "")
        # A container's program may be there on the nodes alone; an environment lies on a disk that all see.
        level: Status = "problem" if site.container is None else "warn"
        return Check("program", level, found, "Correct modules, setup or command.")
    return Check("program", "ok", done.stdout.strip().splitlines()[-1])


def _scratch(site: SiteConfig) -> Check:
    if site.scratch is None:
        return Check("scratch", "ok", "each node's own temporary folder")
    if site.scratch.startswith("$") or Path(site.scratch).is_dir():
        return Check("scratch", "ok", site.scratch)
    remedy = "Only right where the nodes have it; a job says so in its log when not."
    return Check("scratch", "warn", f"{site.scratch} is not on this machine", remedy)
