"""The text of job scripts, and what they do in every way that a program can end."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from cluster_helpers import DIFFICULT, FakePbs

from beadseg.cluster import pbs as commands
from beadseg.cluster import record
from beadseg.cluster.job import Array, JobScript
from beadseg.cluster.submit import render, submit
from beadseg.config.site import SiteConfig
from beadseg.errors import ExitCode

HPC = Path(__file__).parents[2] / "hpc"
GOLDEN = Path(__file__).parent / "golden"
EXAMPLES = sorted(path.stem for path in HPC.glob("*.yaml"))
JOB = JobScript(
    "train", ("train", f"/data/{DIFFICULT}/beads", "--out", "runs/first"), Path(f"/data/{DIFFICULT}/runs/first"),
    Path(f"/data/{DIFFICULT}"), jobs=10, dataset=1,
)  # fmt: skip


@pytest.mark.parametrize("example", EXAMPLES)
def test_scripts_are_as_they_were(example: str):
    """After a change that is meant: BEADSEG_GOLDEN=1 pytest tests/cluster/test_script.py writes them anew."""
    text = render(JOB, SiteConfig.from_file(HPC / f"{example}.yaml"))
    path = GOLDEN / f"{example}.sh"
    if os.environ.get("BEADSEG_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("example", EXAMPLES)
def test_scripts_are_valid_shell(example: str):
    done = subprocess.run(["bash", "-n", str(GOLDEN / f"{example}.sh")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_laboratorys_script_asks_for_what_their_own_jobs_ask():
    lines = render(JOB, SiteConfig.from_file(HPC / "laboratory.yaml")).splitlines()
    assert "#PBS -l select=1:ncpus=36:mpiprocs=1:ompthreads=36:ngpus=1:mem=240gb" in lines
    assert "#PBS -l walltime=12:00:00" in lines
    assert "#PBS -m abe" in lines
    assert "modules=(singularity)" in lines
    program = next(line for line in lines if line.startswith("program=("))
    words = shlex.split(program.removeprefix("program=(").removesuffix(")"))
    assert words == [
        "singularity", "exec", "--nv", "--bind", "/project/beads", "/project/beads/beadseg.sif", "beadseg-batch",
        "train", f"/data/{DIFFICULT}/beads", "--out", "runs/first",
    ]  # fmt: skip
    assert not any("CUDA_VISIBLE_DEVICES" in line for line in lines)


def test_an_array_of_one_is_a_plain_job():
    site = SiteConfig()
    array = JobScript("sweep", ("sweep",), Path("/a"), Path("/"), array=Array(8, 2))
    assert "#PBS -J 0-7%2" in render(array, site).splitlines()
    single = JobScript("sweep", ("sweep",), Path("/a"), Path("/"), array=Array(1))
    assert "#PBS -J" not in render(single, site)


def test_names_are_such_as_pbs_takes():
    job = JobScript("train", (), Path("/runs/Größe: 3 µm (neu)"), Path("/"))
    assert job.name == "train-Gr_e_3_m"


# --- How programs end -------------------------------------------------------------------------------------------------


def send(pbs: FakePbs, tmp_path: Path, program: str, **changes: object) -> tuple[Path, str, int]:
    """Run a job whose program is a few lines of shell; return its folder, its log, and its exit status."""
    path = tmp_path / "program.sh"
    path.write_text(program)
    settings = {"command": ["bash", str(path)], "scratch": str(tmp_path / "scratch"), "margin": 1, **changes}
    (tmp_path / "scratch").mkdir(exist_ok=True)
    site = SiteConfig.parse(settings)
    folder = tmp_path / DIFFICULT / "run"
    words = (f"{tmp_path / DIFFICULT}/an argument", "$HOME", "`id`")
    submit(JobScript("train", words, folder, tmp_path, jobs=3), site)
    pbs.wait()
    first = record.sent_jobs(folder)[0]
    return folder, first.logs(folder)[0].read_text(), pbs.job(first.job)["Exit_status"]


def commands_submit_part(folder: Path, directory: Path, site: SiteConfig) -> str:
    """Send part 1 of a chain although a job for the folder is not over; return its id."""
    job = JobScript("train", (), folder, directory, jobs=3)
    job.path.write_text(render(job, site))
    name = commands.submit(job.path)
    record.append(folder, name, "train", 1)
    return name


def starts(folder: Path, pbs: FakePbs) -> list[int | None]:
    """Return the exit status of every job that was sent."""
    return [pbs.job(item.job).get("Exit_status") for item in record.sent_jobs(folder)]


def test_arguments_arrive_as_they_were_given(pbs: FakePbs, tmp_path: Path):
    _, text, code = send(pbs, tmp_path, 'printf "<%s>\\n" "$@"; pwd')
    assert code == 0
    lines = text.splitlines()[1:-1]
    assert lines == [f"<{tmp_path / DIFFICULT}/an argument>", "<$HOME>", "<`id`>", str(tmp_path)]
    assert pbs.output("1") == ""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "INFO Finished. Results:"),
        (1, "ERROR Failed with exit code 1, see above."),
        (2, "ERROR Failed with exit code 2, see above."),
        (3, "WARNING Finished, but some items failed: see"),
        (4, "ERROR Failed with exit code 4, see above."),
        (5, "WARNING Ended with a result that is flagged"),
        (130, "WARNING Stopped by a signal, as a cancelled job gets it"),
    ],
)
def test_what_another_try_would_not_change_is_not_tried_again(pbs: FakePbs, tmp_path: Path, code: int, said: str):
    folder, text, status = send(pbs, tmp_path, f"exit {code}")
    assert status == code
    assert said in text.splitlines()[-1]
    assert starts(folder, pbs) == [code, None]


@pytest.mark.parametrize(("program", "code"), [("exit 6", 6), ("kill -9 $$", 137), ("kill -11 $$", 139)])
def test_what_another_try_may_finish_goes_on_a_limited_number_of_times(
    pbs: FakePbs, tmp_path: Path, program: str, code: int
):
    folder, text, _ = send(pbs, tmp_path, program)
    assert "Job 2.fake goes on." in text.splitlines()[-1]
    assert starts(folder, pbs) == [code] * 3
    last = record.sent_jobs(folder)[2].logs(folder)[0].read_text()
    assert "part 3 of at most 3" in last
    assert "goes on." not in last


def test_one_of_several_processes_that_is_killed_does_not_end_the_chain(pbs: FakePbs, tmp_path: Path):
    folder, text, _ = send(pbs, tmp_path, f"exit {int(ExitCode.KILLED)}")
    assert "Job 2.fake goes on." in text.splitlines()[-1]
    assert starts(folder, pbs) == [ExitCode.KILLED] * 3


def test_a_job_never_takes_over_the_successor_of_another_one(pbs: FakePbs, tmp_path: Path):
    """Two chains for one folder, as after a job that was recorded by hand or sent again while the first still ran."""
    other = tmp_path / "other.sh"
    other.write_text("sleep 600\n")
    running = commands.submit(other)
    foreign = commands.submit(other, after=running)
    folder = tmp_path / DIFFICULT / "run"
    record.append(folder, foreign, "train", 2)
    site = SiteConfig.parse({"command": ["bash", "-c", "exit 0", "program"], "scratch": str(tmp_path), "margin": 1})
    first = commands_submit_part(folder, tmp_path, site)
    while pbs.job(first)["job_state"] != "F":
        time.sleep(0.05)
    assert pbs.job(foreign)["job_state"] == "H"
    own = [item.job for item in record.sent_jobs(folder) if item.job not in (first, foreign)]
    assert len(own) == 1
    commands.delete([foreign, running])


def test_the_next_job_finishes_what_the_first_began(pbs: FakePbs, tmp_path: Path):
    folder, _, _ = send(pbs, tmp_path, "[ $BEADSEG_PART ] && [ $BEADSEG_AFTER = 1.fake ] && exit 0; exit 6")
    assert starts(folder, pbs) == [6, 0, None]


def test_the_time_that_is_left_is_told_to_the_program(pbs: FakePbs, tmp_path: Path):
    program = (
        'left=$((BEADSEG_DEADLINE - $(date +%s))); [ $left -gt 50 ] && [ $left -le 60 ] && echo "$BEADSEG_MARGIN s"'
    )
    _, text, code = send(pbs, tmp_path, program, walltime="00:01:00")
    assert code == 0
    assert "1 s" in text.splitlines()


def test_a_signal_before_the_time_is_up_takes_the_next_job_back(pbs: FakePbs, tmp_path: Path):
    program = f"trap 'echo asked; exit 130' TERM; qdel \"$PBS_JOBID\"; while :; do sleep 0.05; done  # {tmp_path}"
    folder, text, status = send(pbs, tmp_path, program)
    assert status == 271
    assert "asked" in text
    assert "WARNING Stopped by a signal, as a cancelled job gets it; everything is kept" in text.splitlines()[-1]
    assert starts(folder, pbs)[1:] == [None]


@pytest.mark.parametrize(("signals", "code"), [(1, 6), (5, 6), (1, 130)])
def test_a_program_that_ends_in_the_moment_of_a_signal_is_heard(pbs: FakePbs, tmp_path: Path, signals: int, code: int):
    folder, _, status = send(pbs, tmp_path, "kill -TERM $PPID; " * signals + f"exit {code}")
    assert status == code
    assert starts(folder, pbs) == ([6] * 3 if code == 6 else [130, None])


def test_a_program_that_dies_of_the_signal_at_the_end_of_its_time_goes_on(pbs: FakePbs, tmp_path: Path):
    folder, text, status = send(pbs, tmp_path, "sleep 2.5; kill -TERM $$", walltime="00:01:00")
    assert status == 143
    folder.rename(tmp_path / "first")
    folder, text, status = send(pbs, tmp_path, "sleep 4.3; kill -TERM $$", walltime="00:00:08", margin=4)
    assert status == 6
    assert "The job's time was up" in text.splitlines()[-1]
    assert starts(folder, pbs) == [6] * 3


def test_a_signal_in_the_set_up_begins_nothing(pbs: FakePbs, tmp_path: Path):
    folder, text, status = send(pbs, tmp_path, "echo begun", setup=["kill -TERM $$", "false"])
    assert status == 143
    assert "begun" not in text
    assert "WARNING Stopped by a signal, as a cancelled job gets it; everything is kept" in text.splitlines()[-1]
    assert starts(folder, pbs) == [143, None]


def test_after_a_qdel_without_time_to_end_the_next_job_does_not_go_on(
    pbs: FakePbs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FAKE_PBS_KILL_DELAY", "0.1")
    folder, text, _ = send(pbs, tmp_path, 'kill -STOP $PPID; qdel "$PBS_JOBID"; sleep 60')
    assert len(text.splitlines()) == 1
    assert starts(folder, pbs) == [271, 130]
    assert "was cancelled, so this one does not go on" in record.sent_jobs(folder)[1].logs(folder)[0].read_text()


def test_a_node_without_qsub_is_said(pbs: FakePbs, tmp_path: Path):
    (tmp_path / "bin" / "qsub").rename(tmp_path / "bin" / "qsub-of-the-login-node")
    folder = tmp_path / "run"
    site = SiteConfig.parse({"command": ["bash", "-c", "exit 6"], "scratch": str(tmp_path)})
    (folder / "jobs").mkdir(parents=True)
    (folder / "jobs" / "train.sh").write_text(render(JobScript("train", (), folder, tmp_path, jobs=3), site))
    done = subprocess.run(["bash", str(folder / "jobs" / "train.sh")], check=False)
    assert done.returncode == 6  # its time was up
    said = (folder / "jobs/train-no-job.log").read_text()
    assert "WARNING The next job could not be sent from this node" in said
    assert "WARNING Part 1 of at most 3, and no job follows: send the job again to go on." in said


# --- What a program finds ---------------------------------------------------------------------------------------------


def test_a_program_finds_its_environment(pbs: FakePbs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-5d4c7a1e-2f9b-4b4c-a3c8-0123456789ab")
    monkeypatch.setenv("LC_ALL", "C")
    program = (
        'echo "$CUDA_VISIBLE_DEVICES $OMP_NUM_THREADS $NCPUS $PYTHONUTF8 $NAME $SET_UP"\n'
        'echo "$TMPDIR" && touch "$TMPDIR/file" && umask'
    )
    _, text, _ = send(pbs, tmp_path, program, environment={"NAME": "a 'b'"}, setup=["export SET_UP=yes"])
    lines = text.splitlines()
    assert lines[1] == "GPU-5d4c7a1e-2f9b-4b4c-a3c8-0123456789ab 1 1 1 a 'b' yes"
    assert lines[2].startswith(f"{tmp_path}/scratch/beadseg-")
    assert lines[3] == "0022"
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_training_on_several_nodes_runs_on_each(pbs: FakePbs, tmp_path: Path):
    nodes = tmp_path / "nodes"
    nodes.write_text("gpu1\ngpu2\ngpu1\ngpu3\n")
    remote = tmp_path / "bin" / "pbs_tmrsh"
    remote.write_text('#!/bin/bash\nhost=$1; shift; env -u PBS_JOBID "$@"')
    remote.chmod(0o755)
    program = tmp_path / "program.sh"
    program.write_text(
        'echo "$BEADSEG_NODE of $BEADSEG_NODES at $BEADSEG_MASTER, set up: $SET_UP, in $PWD"\n'
        "[ $BEADSEG_NODE != 2 ] || exit 4\n"
        '[ $BEADSEG_NODE != 0 ] || until grep -q "ended with exit code" "$LOG"; do sleep 0.05; done'
    )
    folder = tmp_path / DIFFICULT / "run"
    variables = {"PBS_NODEFILE": str(nodes), "LOG": f"{folder}/jobs/train-1.fake.log"}
    site = SiteConfig.parse({
        "command": ["bash", str(program)], "scratch": str(tmp_path), "margin": 1, "setup": ["export SET_UP=yes"],
        "environment": variables,
    })  # fmt: skip
    submit(JobScript("train", ("train", "--processes", "2"), folder, tmp_path, jobs=3), site)
    pbs.wait()
    first = record.sent_jobs(folder)[0]
    logs = [folder / "jobs" / f"train-{first.job}{node}.log" for node in ("", ".node1", ".node2")]
    texts = [path.read_text() for path in logs]
    said = [line for text in texts for line in text.splitlines() if "set up" in line]
    address = said[0].split(" at ")[1].split(",")[0]
    assert address.startswith("gpu1:")
    assert said == [f"{node} of 3 at {address}, set up: yes, in {tmp_path}" for node in range(3)]
    assert "Training on gpu1 gpu2 gpu3;" in texts[0]
    assert "WARNING Node gpu3 ended with exit code 4." in texts[0]
    assert starts(folder, pbs) == [0, None]
    assert pbs.output("1") == ""


def test_a_missing_home_is_replaced_by_an_empty_one(pbs: FakePbs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path / "no home"))
    _, text, code = send(pbs, tmp_path, 'touch "$HOME/file" && ls "$HOME" && echo "$HOME"')
    assert code == 0
    assert "cannot be written to on this node; the program finds an empty one" in text
    assert f"{tmp_path}/scratch/beadseg-" in text.splitlines()[-2]


def test_the_set_up_finds_the_home_that_the_program_cannot_write_to(
    pbs: FakePbs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "no home"))
    _, text, code = send(pbs, tmp_path, "true", setup=['echo "set up in $HOME"'])
    assert code == 0
    assert f"set up in {tmp_path}/no home" in text.splitlines()


def test_variables_of_the_profile_reach_every_job_of_a_chain(pbs: FakePbs, tmp_path: Path):
    program = '[ "$BEADSEG_PART" ] && echo "$BEADS $MORE" && exit 0; exit 6'
    folder, _, _ = send(pbs, tmp_path, program, directives=["-v BEADS=many,MORE=yes"])
    assert starts(folder, pbs) == [6, 0, None]
    assert "many yes" in record.sent_jobs(folder)[1].logs(folder)[0].read_text().splitlines()


def test_a_folder_that_was_deleted_while_the_job_was_queued_is_not_made_again(
    pbs: FakePbs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    home = tmp_path / "home"
    home.mkdir()
    folder = tmp_path / DIFFICULT / "run"
    waiting = tmp_path / "waiting.sh"
    waiting.write_text(f"until [ -e '{tmp_path}/go' ]; do sleep 0.05; done\n")
    before = commands.submit(waiting)
    monkeypatch.setenv("HOME", str(home))
    site = SiteConfig.parse({"command": ["touch", str(tmp_path / "begun")], "scratch": str(tmp_path)})
    (folder / "jobs").mkdir(parents=True)
    job = JobScript("train", (), folder, tmp_path, jobs=3)
    job.path.write_text(render(job, site))
    name = commands.submit(job.path, after=before)
    shutil.rmtree(folder)
    (tmp_path / "go").touch()
    pbs.wait()
    assert pbs.job(name)["Exit_status"] == 4
    assert not folder.exists()
    assert not (tmp_path / "begun").exists()
    assert "was deleted, moved, or is not visible" in (home / f"beadseg-train-{name}.log").read_text()


def test_a_job_that_cannot_be_recorded_says_so_and_runs(pbs: FakePbs, tmp_path: Path):
    folder = tmp_path / "run"
    site = SiteConfig.parse({"command": ["true"], "scratch": str(tmp_path)})
    job = JobScript("train", (), folder, tmp_path)
    (folder / "jobs" / "jobs.csv").mkdir(parents=True)
    job.path.write_text(render(job, site))
    name = commands.submit(job.path)
    pbs.wait()
    text = (folder / "jobs" / f"train-{name}.log").read_text()
    assert pbs.job(name)["Exit_status"] == 0
    assert "could not be recorded" in text


def test_a_missing_scratch_is_replaced(pbs: FakePbs, tmp_path: Path):
    (tmp_path / "in the way").touch()
    _, text, code = send(pbs, tmp_path, 'touch "$TMPDIR/file"', scratch=f"{tmp_path}/in the way")
    assert code == 0
    assert f"WARNING The scratch folder {tmp_path}/in the way cannot be used" in text


def test_a_set_up_that_fails_is_said(pbs: FakePbs, tmp_path: Path):
    _, text, code = send(pbs, tmp_path, "true", modules=["beadseg-nonexistent"])
    assert code == 4
    assert "module load beadseg-nonexistent failed." in text


def test_a_dataset_is_copied_to_scratch(pbs: FakePbs, tmp_path: Path):
    data = tmp_path / DIFFICULT / "beads"
    data.mkdir(parents=True)
    (data / "file").write_text("content")
    program = tmp_path / "program.sh"
    program.write_text('echo "$2"; cat "$2/file"; echo "$BEADSEG_STAGED" | head -1')
    site = SiteConfig.parse({"command": ["bash", str(program)], "scratch": str(tmp_path / "s"), "stage": True})
    folder = tmp_path / "run"
    submit(JobScript("train", ("train", f"{DIFFICULT}/beads"), folder, tmp_path, dataset=1), site)
    pbs.wait()
    text = record.sent_jobs(folder)[0].logs(folder)[0].read_text()
    assert f"Copied {data} to {tmp_path}/s/beadseg-" in text
    assert f"content{data}\n" in text
    assert list((tmp_path / "s").iterdir()) == []
