"""Where dask works: processes of this machine, a scheduler that somebody started, or jobs that dask-jobqueue sends."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.cluster import record
from beadseg.cluster.capacity import chunks
from beadseg.errors import ConfigError, MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from beadseg.config.site import SiteConfig

DASK = "dask"
"""Kind of the jobs that dask-jobqueue sends, one per worker; begins the names of their logs."""

INSTALL = "Install it: pip install 'beadseg[cluster]'"
SECONDS = 30
"""A scheduler that does not answer for so long is not there, s."""


@contextmanager
def dask_client(
    text: str, workers: int, site: SiteConfig | None = None, folder: Path | None = None
) -> Iterator[tuple[Any, int]]:
    """Yield the `distributed.Client` of a dask cluster, and how many workers were asked for; both end afterwards.

    Parameters
    ----------
    text : str
        ``local``, ``pbs``, each with the number of workers or jobs as in ``local:4``, or a scheduler's address.
    workers : int
        How many where `text` says no number.
    site : SiteConfig, optional
        The cluster's profile, for ``pbs``.
    folder : pathlib.Path, optional
        Where the ids and the logs of the jobs go, in ``jobs/``, for ``pbs``.

    Raises
    ------
    ConfigError
        dask is not installed, `text` is none of these, or there is no profile.
    MachineError
        No scheduler answers.
    """
    kind, _, number = text.partition(":")
    if kind in ("local", "pbs") and number and not (number.isdecimal() and int(number) > 0):
        raise ConfigError(f"{number!r} is not a number of workers.", "--dask", f"Write e.g. {kind}:4.")
    count = int(number) if kind in ("local", "pbs") and number else workers
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise ConfigError("dask.distributed is not installed.", "--dask", INSTALL) from None
    with ExitStack() as ends:
        if kind == "local":
            cluster: Any = LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=None)
        elif kind == "pbs":
            cluster = _pbs_cluster(site, folder)
            cluster.scale(jobs=count)
        else:
            cluster = text
        if kind in ("local", "pbs"):
            ends.enter_context(cluster)
        try:
            client = ends.enter_context(Client(cluster, timeout=SECONDS))
        except (OSError, ValueError, TimeoutError) as error:
            detail = " ".join(str(error).split()).rstrip(".")
            remedy = "Give local, pbs, or the address that dask scheduler prints, e.g. tcp://node1:8786."
            raise MachineError(f"No dask scheduler answers ({detail}).", f"--dask {text}", remedy) from None
        yield client, count


def _pbs_cluster(site: SiteConfig | None, folder: Path | None) -> Any:
    if site is None:
        raise ConfigError("Needs the cluster's profile.", "--dask pbs", "Add --cluster PROFILE; see hpc/.")
    try:
        from dask_jobqueue.pbs import PBSCluster, PBSJob
    except ImportError:
        raise ConfigError("dask-jobqueue is not installed.", "--dask pbs", INSTALL) from None
    jobs: Any = PBSJob if folder is None else _recorded(PBSJob, folder)
    return PBSCluster(job_cls=jobs, **pbs_options(site, folder))


def _recorded(kind: Any, folder: Path) -> Any:
    """Return dask-jobqueue's class of jobs, with the ids of those that are sent in the table of a prediction folder."""

    class RecordedJob(kind):
        job_id_regexp = r"(?P<job_id>\S+)"  # the whole id, as `status` asks the server for it

        async def start(self) -> None:
            await super().start()
            record.append(folder, self.job_id, DASK)

    return RecordedJob


def pbs_options(site: SiteConfig, folder: Path | None = None) -> dict[str, Any]:
    """Return what `dask_jobqueue.PBSCluster` is made with for a site: one worker per job, one image at a time."""
    asked = chunks(site.select)[0][1]
    prepare = [f"module load {shlex.join(site.modules)}"] if site.modules else []
    prepare += [f"export {name}={shlex.quote(value)}" for name, value in site.environment.items()]
    if folder is not None:
        jobs = shlex.quote(str(folder / files.JOBS))
        prepare = [f"mkdir -p {jobs}", f'exec >>{jobs}/{DASK}-"$PBS_JOBID".log 2>&1', *prepare]
    mail = [f"-m {site.mail.events}", *([f"-M {','.join(site.mail.to)}"] if site.mail.to else [])]
    place = [f"-l place={site.place}"] if site.place else []
    project = [f"-P {site.project}"] if site.project else []
    return {
        "queue": site.queue,
        "resource_spec": f"select={site.select}",
        "walltime": site.walltime,
        "cores": 1,
        "processes": 1,
        "memory": asked.get("mem", "4gb"),
        "job_name": "beadseg-dask",
        "python": _python(site),
        "job_script_prologue": [*prepare, *site.setup],
        "job_extra_directives": ["-j oe", "-o /dev/null", *project, *place, *mail, *site.directives],
    }


def _python(site: SiteConfig) -> str:
    """Return what runs Python on a node: in the container, in the environment that is set up there, or as here."""
    if site.container is None:
        return "python3" if site.setup else shlex.quote(sys.executable)
    box = site.container
    binds = ["--bind", ",".join(box.binds)] if box.binds else []
    return shlex.join([box.program, "exec", *box.options, *binds, str(box.image), "python3"])
