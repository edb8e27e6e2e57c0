"""A prediction by the workers of a dask cluster: processes of this machine, jobs of a batch system, or anybody's.

dask's scheduler gives out the images, notices workers that are gone, gives their images to others, and gives up an
image that killed several. Workers write results; the client moves them to their places and writes the tables.
"""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.cluster import record
from beadseg.cluster.job import DASK, chunks
from beadseg.errors import BeadsegError, ConfigError, MachineError
from beadseg.events import OnEvent, log
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from beadseg.config.site import SiteConfig
    from beadseg.events import StopFlag
    from beadseg.predict.batch import Answer, Elsewhere, Order
    from beadseg.predict.segmenter import Segmenter

INSTALL = "Install it: pip install 'beadseg[cluster]'"
DEATHS = 0
"""How many workers dask lets die with an image before it gives it up; those are tried again, each alone.

dask counts a worker's death against the images that only waited there as well.
"""
TRIES = 5
"""An image whose worker was killed is tried again so often at most."""
RESTART = 300.0
"""A worker that was killed is back in this time, s: it reads Python and the model again, from a network disk maybe."""
SETTINGS = {
    "distributed.scheduler.allowed-failures": DEATHS,
    "distributed.deploy.lost-worker-timeout": RESTART,  # dask-jobqueue ends the jobs of workers that stay away longer
}
KILLED = "Several dask workers were killed while they predicted it. Does it fit into memory?"
ANY_PORT: dict[str, Any] = {"dashboard_address": ":0"}
"""dask's own choice may be another's on a login node, of which it would warn."""
POLL = 0.5
"""The flag that stops the batch is looked at this often, s."""
SECONDS = 30
"""A scheduler that does not answer for so long is not there, s."""


@contextmanager
def dask_client(
    text: str, workers: int, site: SiteConfig | None = None, folder: Path | None = None
) -> Iterator[tuple[Any, int | None]]:
    """Yield the `distributed.Client` of a dask cluster, and how many threads a worker computes with, where known.

    Parameters
    ----------
    text : str
        ``local``, ``pbs`` or ``slurm``, each with the number of workers or jobs as in ``local:4``, or a scheduler's
        address.
    workers : int
        How many where `text` says no number: the CPU cores of this machine.
    site : SiteConfig, optional
        The cluster's profile, for ``pbs`` and ``slurm``.
    folder : pathlib.Path, optional
        Where the ids and the logs of the jobs go, in ``jobs/``.

    Raises
    ------
    ConfigError
        dask is not installed, `text` is none of these, or there is no profile.
    MachineError
        No scheduler answers.
    """
    kind, _, number = text.partition(":")
    own = kind in ("local", "pbs", "slurm")
    if own and number and not (number.isdecimal() and int(number) > 0):
        raise ConfigError(f"{number!r} is not a number of workers.", "--dask", f"Write, for example, {kind}:4.")
    count = int(number) if own and number else workers
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise ConfigError("dask.distributed is not installed.", "--dask", INSTALL) from None
    threads = None
    with ExitStack() as ends:
        if own:
            ends.enter_context(dask.config.set(SETTINGS))
        if kind == "local":
            cluster: Any = LocalCluster(n_workers=count, threads_per_worker=1, **ANY_PORT)
            threads = max(1, workers // count)
        elif own:
            cluster, threads = _job_cluster(kind, site, folder)
            cluster.scale(jobs=count)
        else:
            cluster = text
        if own:
            ends.enter_context(cluster)
        try:
            client = ends.enter_context(Client(cluster, timeout=SECONDS))
        except (OSError, ValueError, TimeoutError) as error:
            detail = " ".join(str(error).split()).rstrip(".")
            remedy = "Give local, pbs, slurm, or the address that dask scheduler prints, e.g. tcp://node1:8786."
            raise MachineError(f"No dask scheduler answers ({detail}).", f"--dask {text}", remedy) from None
        yield client, threads


def over_dask(
    client: Any, run: str, changes: list[str], device: str, threads: int | None, on_event: OnEvent
) -> Elsewhere:
    """Return what predicts images by the workers of `client`; see `beadseg.predict.batch.Order`.

    Parameters
    ----------
    client : distributed.Client
        Its workers see the same folders, and have this version of beadseg.
    run : str
        The run folder, or the name of a model.
    changes : list of str
        Changes of its prediction options.
    device, threads
        As of `Segmenter.load`; CPU threads of each worker, its own choice when None.
    on_event
        Is told where the images go.
    """

    def answers(orders: list[Order], stop: StopFlag | None) -> Iterator[tuple[Order, Answer | str]]:
        on_event(log(f"{plural(len(orders), 'image')} to be predicted by dask ({client.scheduler.address})."))
        workers = _Workers(client)
        suspects = []
        for order, answer in _mapped(workers, work, orders, stop):
            if answer is None:  # this image killed its worker, or only waited there
                suspects.append(order)
            else:
                yield order, answer
        for order in suspects:
            yield order, _alone(workers, work, order, stop)

    work = partial(predict_in_worker, run=run, changes=(*changes,), device=device, threads=threads)
    return answers


@dataclass
class _Workers:
    """The workers of a `distributed.Client`, and when there was one last (`time.monotonic`, s; 0.0: never)."""

    client: Any
    seen: float = 0.0

    def check(self) -> None:
        """Raise `MachineError` where there were workers, and is none any more; the first ones may wait in a queue."""
        if self.client.nthreads():
            self.seen = time.monotonic()
        elif self.seen and time.monotonic() - self.seen > RESTART:
            remedy = "See their logs, and run the command again to go on; what was finished is kept."
            raise MachineError("No dask worker is left: all have ended or were killed.", "dask", remedy)


def _alone(
    workers: _Workers, work: Callable[[Order], Answer | str], order: Order, stop: StopFlag | None
) -> Answer | str:
    """Try an image again with no other on its way; give it up when two workers were killed that had begun it."""
    deaths = int(order.stage.exists())
    for _ in range(TRIES):
        shutil.rmtree(order.stage, ignore_errors=True)
        ((_, answer),) = _mapped(workers, work, [order], stop)
        if answer is not None:
            return answer
        deaths += order.stage.exists()  # else it was given to a worker that was dead already
        if deaths > 1:
            break
    return KILLED


def _mapped(
    workers: _Workers, work: Callable[[Order], Answer | str], orders: list[Order], stop: StopFlag | None
) -> Iterator[tuple[Order, Answer | str | None]]:
    """Yield what workers answer, as it comes; None for images that dask gave up since their workers were killed."""
    from distributed import wait

    futures = workers.client.map(work, orders, pure=False, retries=1)
    waiting = dict(zip(futures, orders, strict=True))
    del futures
    try:
        while waiting:
            if stop is not None:
                stop.check()
            workers.check()
            try:
                ready = wait(list(waiting), timeout=POLL, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            for future in ready:
                try:
                    answer = _answer(future)
                except TimeoutError:  # its worker was killed before it was fetched; it is computed again
                    continue
                workers.seen = workers.seen or time.monotonic()
                future.release()  # else it would be computed again, too, when its worker is killed
                yield waiting.pop(future), answer
    finally:
        workers.client.cancel(list(waiting), force=True)


def predict_in_worker(
    order: Order, *, run: str, changes: tuple[str, ...], device: str, threads: int | None
) -> Answer | str:
    """Predict one image; runs in a worker. The folder of its results shows that it was begun."""
    files.ensure_folder(order.stage)
    return order.work(_loaded(run, changes, device, threads))


@lru_cache(maxsize=1)
def _loaded(run: str, changes: tuple[str, ...], device: str, threads: int | None) -> Segmenter:
    """Return a model, loaded once per worker."""
    import torch

    from beadseg.predict.segmenter import Segmenter

    if threads is not None:
        torch.set_num_threads(threads)
    segmenter = Segmenter.load(run, device=device)
    if changes:
        segmenter.options = segmenter.options.with_overrides([*changes])
    return segmenter


def _answer(future: Any) -> Answer | str | None:
    """Return what a worker found; None where dask gave the image up since its workers were killed.

    Raises
    ------
    TimeoutError
        The answer was lost with its worker.
    """
    from distributed import KilledWorker

    error = future.exception(timeout=POLL)
    if error is None:
        answer: Answer | str = future.result(timeout=SECONDS)
        return answer
    if isinstance(error, KilledWorker):
        return None
    if isinstance(error, BeadsegError):
        raise error
    text = f"A dask worker cannot predict ({type(error).__name__}: {' '.join(str(error).split())})."
    raise MachineError(text, "dask", "Workers need this version of beadseg, and the same folders.") from error


def _job_cluster(kind: str, site: SiteConfig | None, folder: Path | None) -> tuple[Any, int]:
    """Return dask-jobqueue's cluster for a profile, and the CPU cores of each job."""
    if site is None:
        raise ConfigError("Needs the cluster's profile.", f"--dask {kind}", "Add --cluster PROFILE; see hpc/.")
    try:
        from dask_jobqueue import pbs, slurm
    except ImportError:
        raise ConfigError("dask-jobqueue is not installed.", f"--dask {kind}", INSTALL) from None
    cores = int(chunks(site.select)[0][1].get("ncpus", 1))
    if kind != site.scheduler:
        raise ConfigError(f"The profile is for {site.scheduler}.", f"--dask {kind}", f"Give --dask {site.scheduler}.")
    system: Any = slurm.SLURMJob if kind == "slurm" else pbs.PBSJob
    jobs = system if folder is None else _recorded(system, folder)
    if kind == "slurm":
        return slurm.SLURMCluster(job_cls=jobs, scheduler_options=ANY_PORT, **slurm_options(site, folder)), cores
    return pbs.PBSCluster(job_cls=jobs, scheduler_options=ANY_PORT, **pbs_options(site, folder)), cores


def _recorded(kind: Any, folder: Path) -> Any:
    """Return dask-jobqueue's class of jobs, with the ids of those that are sent in the table of a prediction folder."""

    class RecordedJob(kind):
        job_id_regexp = r"\b(?P<job_id>\d\S*)"  # the whole id, as `status` asks the server for it

        async def start(self) -> None:
            await super().start()
            record.append(folder, self.job_id, DASK)

    return RecordedJob


def pbs_options(site: SiteConfig, folder: Path | None = None) -> dict[str, Any]:
    """Return what `dask_jobqueue.PBSCluster` is made with for a site: one worker per job, one image at a time."""
    mail = [f"-m {site.mail.events}", *([f"-M {','.join(site.mail.to)}"] if site.mail.to else [])]
    place = [f"-l place={site.place}"] if site.place else []
    project = [f"-P {site.project}"] if site.project else []
    directives = ["-j oe", "-o /dev/null", *project, *place, *mail, *site.directives]
    options = _worker_options(site, folder, '"$PBS_JOBID"')
    return {**options, "resource_spec": f"select={site.select}", "job_extra_directives": directives}


def slurm_options(site: SiteConfig, folder: Path | None = None) -> dict[str, Any]:
    """Return what `dask_jobqueue.SLURMCluster` is made with for a site, as `pbs_options`."""
    from beadseg.cluster.slurm import resources

    wanted = list(resources(site))
    account = {"account": site.project} if site.project else {}
    return {
        **_worker_options(site, folder, '"$SLURM_JOB_ID"'),
        **account,
        "job_cpu": int(chunks(site.select)[0][1].get("ncpus", 1)),
        "job_extra_directives": ["--output=/dev/null", *(line for line in wanted if "gres" in line), *site.directives],
    }


def _worker_options(site: SiteConfig, folder: Path | None, job: str) -> dict[str, Any]:
    """Return the options of every kind of dask-jobqueue; `job` is what the shell reads a job's id from."""
    prepare = [f"module load {shlex.join(site.modules)}"] if site.modules else []
    prepare += [f"export {name}={shlex.quote(value)}" for name, value in site.environment.items()]
    if folder is not None:
        jobs = shlex.quote(str(folder / files.JOBS))
        prepare = [f"mkdir -p {jobs}", f"exec >>{jobs}/{DASK}-{job}.log 2>&1", *prepare]
    return {
        "queue": site.queue,
        "walltime": site.walltime,
        "cores": 1,
        "processes": 1,
        "memory": chunks(site.select)[0][1].get("mem", "4gb"),
        "job_name": "beadseg-dask",
        "python": _python(site),
        "job_script_prologue": [*prepare, *site.setup],
    }


def _python(site: SiteConfig) -> str:
    """Return what runs Python on a node: in the container, in the environment that is set up there, or as here."""
    if site.container is None:
        return "python3" if site.setup else shlex.quote(sys.executable)
    box = site.container
    binds = ["--bind", ",".join(box.binds)] if box.binds else []
    return shlex.join([box.program, "exec", *box.options, *binds, str(box.image), "python3"])
