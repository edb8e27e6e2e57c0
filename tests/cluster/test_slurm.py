"""Slurm: what a profile is in its options, and what its answers mean, as slurm 22.05 gives them."""

from __future__ import annotations

import shlex
import stat
from pathlib import Path

import pytest

from beadseg.cli.app import main
from beadseg.cluster import record, scheduler, slurm
from beadseg.cluster.job import WALLTIME, Array, JobScript
from beadseg.cluster.record import status
from beadseg.cluster.submit import render
from beadseg.config.site import SiteConfig
from beadseg.errors import ConfigError, InputError, MachineError

JOB = JobScript("train", ("train",), Path("/runs/first"), Path("/"), jobs=3)


def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **answers: tuple[int, str, str]) -> None:
    """Put commands on the PATH that answer with a status, standard output and error output."""
    for name in slurm.COMMANDS:
        code, out, error = answers.get(name, (0, "", ""))
        path = tmp_path / name
        words = f"printf %s {shlex.quote(out)}\nprintf %s {shlex.quote(error)} >&2"
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{shlex.quote(str(tmp_path / "calls"))}\n{words}\nexit {code}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def row(job: str, state: str, code: int = 0, reason: str = "None", used: str = "1:00") -> str:
    return f"{job}|{state}|{code}|{reason}|0|{used}|10:00|vm|\n"


@pytest.mark.parametrize(
    ("values", "lines"),
    [
        ({}, ["--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=4", "--mem=16G"]),
        ({"select": "2:ncpus=36:ngpus=4:mem=240gb:mpiprocs=1", "place": "scatter:excl"},
         ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=36", "--gres=gpu:4", "--mem=240G", "--exclusive"]),
        ({"select": "1:mem=500mb"}, ["--nodes=1", "--ntasks-per-node=1", "--mem=500M"]),
    ],
)  # fmt: skip
def test_what_a_job_needs_becomes_options_of_sbatch(values: dict[str, str], lines: list[str]):
    assert list(slurm.resources(SiteConfig.parse({"scheduler": "slurm", **values}))) == lines


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"select": "1:ncpus=1+1:ncpus=2"}, "nodes of one kind"),
        ({"select": "1:ncpus=1:ib=true"}, "does not know ib=true"),
        ({"place": "pack"}, "does not know place=pack"),
    ],
)
def test_what_slurm_does_not_know_is_refused(values: dict[str, str], message: str):
    with pytest.raises(ConfigError, match=message):
        render(JOB, SiteConfig.parse({"scheduler": "slurm", **values}))


def test_the_script_differs_from_that_for_pbs_in_its_head_alone():
    texts = [render(JOB, SiteConfig(scheduler=kind)) for kind in ("pbs", "slurm")]
    mark = "# --- What follows is the same in every job."
    assert texts[0].partition(mark)[2] == texts[1].partition(mark)[2] != ""
    assert "qsub" not in texts[1]
    assert "sbatch" not in texts[0]
    assert "#SBATCH --signal=B:TERM@120" in texts[1].splitlines()
    array = JobScript("predict", (), Path("/a"), Path("/"), array=Array(8, 2))
    assert "#SBATCH --array=0-7%2" in render(array, SiteConfig(scheduler="slurm")).splitlines()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (row("12", "PENDING", reason="Priority", used="0:00"), "queued (Priority)"),
        (row("12", "PENDING", reason="Dependency", used="0:00"), "held"),
        (
            row("12", "PENDING", reason="PartitionTimeLimit", used="0:00"),
            "queued, but can never run: the partition does",
        ),
        (row("12", "RUNNING"), "running on vm, 1:00 of 10:00"),
        (row("12", "COMPLETED"), "finished"),
        (row("12", "FAILED", 6 << 8, "NonZeroExitCode"), "its time was up, all is kept"),
        (row("12", "FAILED", 9, "RaisedSignal:9"), "killed by signal 9"),
        (row("12", "TIMEOUT", reason="TimeLimit"), "ended by the batch system at its walltime"),
        (row("12", "OUT_OF_MEMORY", 125), "killed by signal 9"),
        (row("12", "NODE_FAIL", 1, "NodeDown"), "ended by the batch system (status -1): NodeDown"),
        (row("12", "CANCELLED", 15), "cancelled"),
        (row("12", "CANCELLED", used="0:00"), "ended without ever running"),
    ],
)
def test_every_state_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str):
    answering(tmp_path, monkeypatch, squeue=(0, text, ""))
    record.append(tmp_path, "12", "train")
    (found,) = status(tmp_path).jobs
    assert found.text.startswith(said)
    assert found.stuck == ("never run" in said)


def test_an_array_is_told_element_by_element(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [row("12_10", "FAILED", 2 << 8), row("12_1", "PENDING", reason="JobArrayTaskLimit", used="0:00"),
            row("12_0", "COMPLETED"), row("12_2", "RUNNING")]  # fmt: skip
    answering(tmp_path, monkeypatch, squeue=(0, "".join(rows), ""))
    record.append(tmp_path, "12", "predict")
    for name in ("predict-12_10", "predict-12_2", "predict-120_1"):
        (tmp_path / "jobs" / f"{name}.log").write_text(name)
    (found,) = status(tmp_path).jobs
    assert found.alive
    assert found.text == ("array of 4: 1 finished; 1 queued; 1 running; 1 failed: a wrong input, see its log (12_10)")
    assert [path.stem for path in found.sent.logs(tmp_path)] == ["predict-12_2", "predict-12_10"]


def test_a_job_that_squeue_has_forgotten_is_asked_of_the_accounting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    answering(tmp_path, monkeypatch, squeue=(1, "", "slurm_load_jobs error: Invalid job id specified"))
    assert slurm.jobs(["12"]) == {}
    assert scheduler.has_ended("12")
    path = tmp_path / "sacct"
    path.write_text("#!/bin/sh\necho '12|TIMEOUT|0:15|00:10:00|00:10:00'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    assert slurm.jobs(["12"])["12"].exit_status == WALLTIME
    path.write_text("#!/bin/sh\necho '12_3|FAILED|2:0|00:00:05|00:10:00'\necho '12_4|CANCELLED by 7|0:0|00:00:00|1'\n")
    elements = slurm.jobs(["12"])["12"].elements
    assert [(item.id, item.exit_status, item.cancelled) for item in elements] == [
        ("12_3", 2, False),
        ("12_4", None, True),
    ]


def test_a_server_that_is_down_and_a_job_that_is_refused_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    down = (1, "", "sbatch: error: Unable to contact slurm controller (connect failure)")
    answering(tmp_path, monkeypatch, sbatch=down, squeue=down)
    with pytest.raises(MachineError, match="nothing was sent"):
        slurm.submit(tmp_path / "job.sh")
    assert not scheduler.has_ended("12")
    answering(tmp_path, monkeypatch, sbatch=(1, "", "sbatch: error: invalid partition specified: nope"))
    with pytest.raises(InputError, match="invalid partition"):
        slurm.submit(tmp_path / "job.sh")
    answering(tmp_path, monkeypatch, sbatch=(0, "12;cluster\n", ""))
    assert slurm.submit(tmp_path / "job.sh", after="11") == "12"
    assert f"sbatch --parsable --dependency=afterany:11 {tmp_path / 'job.sh'}" in (tmp_path / "calls").read_text()


def test_doctor_asks_the_server_and_names_what_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "home").mkdir()
    profile = tmp_path / "site.yaml"
    profile.write_text("scheduler: slurm\nqueue: gpu\ncommand: [bash]\n")
    sinfo = (0, "main*|up|2:00:00|1\nlong|up|1-12:00:00|1\n", "")
    answering(tmp_path, monkeypatch, sinfo=sinfo, sbatch=(1, "", "sbatch: error: invalid partition specified: gpu"))
    assert main(["doctor", "--cluster", str(profile)]) == 4
    told = "".join(capsys.readouterr())
    assert "there is no partition 'gpu' -> Set queue to one of: main, long." in told
    assert "the server refuses a job of this profile: invalid partition specified: gpu" in told
    profile.write_text("scheduler: slurm\ncommand: [bash]\nwalltime: 02:00:00\n")
    answering(tmp_path, monkeypatch, sinfo=sinfo)
    assert main(["doctor", "--cluster", str(profile)]) == 0
    assert "the server takes a job of this profile" in "".join(capsys.readouterr())
    for walltime, queue, code in (("03:00:00", "main", 4), ("36:00:00", "long", 0), ("36:00:01", "long", 4)):
        profile.write_text(f"scheduler: slurm\ncommand: [bash]\nwalltime: {walltime}\nqueue: {queue}\n")
        assert main(["doctor", "--cluster", str(profile)]) == code
        assert (f"partition {queue} takes" in "".join(capsys.readouterr())) == (code == 4)
