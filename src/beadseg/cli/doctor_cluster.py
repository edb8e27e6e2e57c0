"""`beadseg-batch doctor --cluster`: a cluster's profile against its live server. To be run on a login node."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from beadseg.cli.doctor import Check
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.config.site import SiteConfig

_COMMANDS = {
    "pbs": ("qsub", "qstat", "qdel", "pbsnodes"),
    "slurm": ("sbatch", "squeue", "scancel", "sinfo", "scontrol"),
}
_DOWN = {"offline", "down", "unknown", "state-unknown", "stale"}
"""States of a node that takes no jobs."""
SECONDS = 120
"""Loading the modules and looking for the program may take this long, s."""


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


def _trial(site: SiteConfig) -> Check:
    """Ask the server whether it takes a job of this profile: limits, accounts and access are known to it alone."""
    from beadseg.cluster import scheduler
    from beadseg.cluster.script import JobScript, render
    from beadseg.cluster.submit import check
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
        remedy = "`status` cannot tell how a job ended; its log does."
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
    from beadseg.cluster.capacity import chunks, never_fits

    wanted = sum(number for number, _ in chunks(site.select))
    reason = never_fits(site.select, nodes)
    if not nodes:
        return Check("select", "problem", f"none of {plural(count, 'node')} is up", "Ask the cluster's support.")
    if not reason and "scatter" in (site.place or "") and wanted > len(nodes):
        reason = f"{plural(wanted, 'node')} are asked for, and {len(nodes)} are up"
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
        done = subprocess.run(
            ["bash", "-lc", text], capture_output=True, text=True, errors="replace", timeout=SECONDS,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Check("program", "warn", f"modules and set-up took more than {SECONDS} s", "Try them by hand.")
    if done.returncode != 0:
        said = " ".join(done.stderr.split())[-200:]
        found = f"{program} is not found on this machine after modules and set-up" + (f" ({said})" if said else "")
        return Check(
            "program", "warn", found, "Correct modules, setup or command; a node may differ from this machine."
        )
    return Check("program", "ok", done.stdout.strip().splitlines()[-1])


def _scratch(site: SiteConfig) -> Check:
    if site.scratch is None:
        return Check("scratch", "ok", "each node's own temporary folder")
    if site.scratch.startswith("$") or Path(site.scratch).is_dir():
        return Check("scratch", "ok", site.scratch)
    remedy = "Only right where the nodes have it; a job says so in its log when not."
    return Check("scratch", "warn", f"{site.scratch} is not on this machine", remedy)
