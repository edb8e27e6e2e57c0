"""How dask gets its workers: what can be wrong, and the job that dask-jobqueue makes of a profile."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from beadseg.cluster import over_dask
from beadseg.cluster.over_dask import _recorded, dask_client, pbs_options
from beadseg.config.site import SiteConfig
from beadseg.errors import ConfigError, MachineError
from beadseg.predict.batch import Order

HPC = Path(__file__).parents[2] / "hpc"


def job_script(site: SiteConfig, folder: Path | None = None) -> list[str]:
    """Return the lines of the job that one worker is sent as."""
    module = pytest.importorskip("dask_jobqueue.pbs")
    job = module.PBSJob(scheduler="tcp://login:8786", name="worker", **pbs_options(site, folder))
    return job.job_script().splitlines()


def test_a_job_is_made_from_the_profile():
    lines = job_script(SiteConfig.from_file(HPC / "laboratory.yaml"))
    for line in (
        "#PBS -q gpu", "#PBS -P beads", "#PBS -l walltime=12:00:00", "#PBS -j oe", "#PBS -m abe",
        "#PBS -l select=1:ncpus=36:mpiprocs=1:ompthreads=36:ngpus=1:mem=240gb", "module load singularity",
        "export MKL_NUM_THREADS=36",
    ):  # fmt: skip
        assert line in lines
    worker = next(line for line in lines if "dask_worker" in line or "distributed.cli" in line)
    assert worker.startswith("singularity exec --nv --bind /project/beads /project/beads/beadseg.sif python3 -m ")
    assert "--nthreads 1 " in worker


def test_without_a_container_the_environment_of_the_profile_or_this_one_is_used():
    (worker,) = [line for line in job_script(SiteConfig()) if "--nthreads" in line]
    assert worker.startswith(f"{sys.executable} -m ")
    lines = job_script(SiteConfig(setup=("source /venv/bin/activate",)))
    assert lines.index("source /venv/bin/activate") < len(lines) - 1
    assert next(line for line in lines if "--nthreads" in line).startswith("python3 -m ")


def test_the_log_goes_into_the_prediction_folder(tmp_path: Path):
    lines = job_script(SiteConfig(), tmp_path / "a b'c")
    assert f"""exec >>'{tmp_path}/a b'"'"'c/jobs'/dask-"$PBS_JOBID".log 2>&1""" in lines


@pytest.mark.parametrize(
    ("system", "said", "job"),
    [("pbs.PBSJob", "12.server.site\n", "12.server.site"), ("slurm.SLURMJob", "Submitted batch job 69\n", "69")],
)
def test_the_id_of_a_job_is_read_from_what_the_server_says(tmp_path: Path, system: str, said: str, job: str):
    jobqueue = pytest.importorskip("dask_jobqueue")
    module, name = system.split(".")
    kind = _recorded(getattr(getattr(jobqueue, module), name), tmp_path)
    found = re.search(kind.job_id_regexp, said)
    assert found is not None
    assert found["job_id"] == job


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("local:0", "'0' is not a number of workers. Write, for example, local:4."),
        ("pbs:x", "'x' is not a number of workers"),
        ("pbs", "Needs the cluster's profile. Add --cluster PROFILE"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_started(text: str, message: str):
    pytest.importorskip("distributed")
    with pytest.raises(ConfigError, match=message.replace(".", r"\.")), dask_client(text, 2):
        pass


def test_without_workers_it_ends_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(over_dask, "RESTART", 0.5)
    order = Order(tmp_path / "a.png", "a", tmp_path / "stage", "", ())
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, **over_dask.ANY_PORT) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = over_dask._Workers(client)
        workers.check()
        cluster.scale(0)
        with pytest.raises(MachineError, match="No dask worker is left"):
            list(over_dask._mapped(workers, str, [order], None))


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    message = r"not installed\. Install it: pip install 'beadseg\[cluster\]'"
    with pytest.raises(ConfigError, match=message), dask_client("local", 2):
        pass
