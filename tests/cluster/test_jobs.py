"""Jobs on the fake batch system: the scripts really run."""

from __future__ import annotations

import json
import os
import shlex
import time
from pathlib import Path

import pytest
from cluster_helpers import FakePbs

from beadseg import files
from beadseg.cli.app import main
from beadseg.cluster import pbs as commands
from beadseg.cluster import record
from beadseg.cluster.submit import refuse_second

TINY = [
    "epochs=3", "epoch.steps=4", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3", "precision=fp32",
]  # fmt: skip
SETS = [word for setting in TINY for word in ("--set", setting)]


def submit_train(beads: Path, profile: Path, out: Path, *more: str) -> int:
    return main(["submit", "train", str(beads), "--out", str(out), "--cluster", str(profile), *SETS, *more])


def log_of(run: Path, number: int) -> str:
    return record.sent_jobs(run)[number].logs(run)[0].read_text()


def test_a_training_runs_to_its_end_from_any_directory(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):  # fmt: skip
    monkeypatch.chdir(place)
    run = place / "runs" / "first"
    data = os.path.relpath(beads)
    assert main(["submit", "train", data, "--out", "runs/first", "--cluster", "site.yaml", *SETS]) == 0
    assert "Sent job 1.fake of 00:03:00, continued in at most 9 more." in capsys.readouterr().out
    pbs.wait()
    text = log_of(run, 0)
    assert "Job 1.fake, part 1 of at most 10" in text
    assert text.splitlines()[-1].endswith(f"INFO Finished. Results: {run}")
    assert (run / files.CRITERIA).exists()
    assert not (run / files.LOCK).exists()
    assert pbs.output("1") == ""
    # The successor was sent at once, and taken back when the work was finished.
    assert [(item.job, item.part) for item in record.sent_jobs(run)] == [("1.fake", 1), ("2.fake", 2)]
    assert main(["status", "runs/first"]) == 0
    told = capsys.readouterr().out
    assert "1.fake  train, part 1: finished" in told
    assert "2.fake  train, part 2: not needed: the job before it finished the work" in told
    assert "Training: 3 of 3 epochs, finished." in told
    assert main(["logs", "runs/first"]) == 0
    assert capsys.readouterr().out == text


def test_what_can_be_seen_to_be_wrong_is_said_before_anything_is_sent(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    run = place / "run"
    wrong = {
        "No such file or folder": ["submit", "train", str(place / "none"), "--out", str(run)],
        "No such option: --epoch": ["submit", "train", str(beads), "--out", str(run), "--epoch", "3"],
        "valid integer": ["submit", "train", str(beads), "--out", str(run), "--set", "epochs=x"],
        "No images were given.": ["submit", "predict", str(beads), "--out", str(run)],
        "more than half of the walltime": ["submit", "train", str(beads), "--out", str(run), "--walltime", "00:00:09"],
        "--walltime: '90' is not a time.": ["submit", "train", str(beads), "--out", str(run), "--walltime", "90"],
        "There is no field 'qeue'": ["submit", "train", str(beads), "--out", str(run), "--site", "qeue=long"],
        "line break": ["submit", "train", str(beads), "--out", str(place / "a\nb")],
    }
    for message, words in wrong.items():
        assert main([*words, "--cluster", str(profile)]) == 2, message
        assert message in capsys.readouterr().err
    assert pbs.ids() == []
    assert not run.exists()


def test_a_dry_run_shows_the_script_and_sends_nothing(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    assert submit_train(beads, profile, place / "run", "--dry-run") == 0
    text = capsys.readouterr().out
    assert text.startswith("#!/bin/bash\n#PBS -N train-run\n")
    assert "--processes" not in text
    assert submit_train(beads, profile, place / "run", "--site", "processes=2", "--dry-run") == 0
    assert "--processes 2)" in capsys.readouterr().out
    assert not (place / "run").exists()
    assert pbs.ids() == []


def test_a_prediction_in_many_jobs_is_an_array_and_a_job_that_merges(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    """Any folder will do for a run here, since nothing is sent."""
    images, out = beads / files.IMAGES, place / "counts"
    words = ["submit", "predict", str(beads), str(images), "--out", str(out), "--cluster", str(profile), "--dry-run"]
    more = ["--set", "objects.threshold=0.4", "--no-report", "--threads", "2"]
    assert main([*words, *more, "--elements", "3", "--again"]) == 0
    array, merge = capsys.readouterr().out.split("#!/bin/bash\n")[1:]
    assert "#PBS -J 0-2\n" in array
    assert "#PBS -J" not in merge
    for script in (array, merge):
        (program,) = [line for line in script.splitlines() if line.startswith("program=")]
        sent = shlex.split(program.removeprefix("program=(").removesuffix(")"))
        assert sent[3:5] == ["predict", str(beads)]
        assert not {str(images), "--again"} & set(sent)
        assert sent[sent.index("--list") + 1] == str(out / "jobs" / "images.json")
        assert ("--chunk" in sent) == (script == array)
    assert "kind=predict\n" in array
    assert "kind=merge\n" in merge
    assert not out.exists()
    for wrong in (["--running", "2"], ["--elements", "0"], ["--elements", "2", "--dask", "local"]):
        assert main([*words, *wrong]) == 2
    assert submit_train(beads, profile, place / "run", "--elements", "2") == 2
    said = capsys.readouterr().err
    assert "--elements is for predict, --running for sweep. Leave it out for train." in said


def test_a_refusal_of_the_server_is_one_clear_error(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    (pbs.state / "refuse").write_text("qsub: Unknown queue")
    assert submit_train(beads, profile, place / "run") == 2
    assert "The batch system refuses the job: qsub: Unknown queue." in capsys.readouterr().err


def test_a_server_that_is_down_is_not_the_profiles_fault(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    (pbs.state / "refuse").write_text("Connection refused\nqsub: cannot connect to server pbs (errno=111)")
    assert submit_train(beads, profile, place / "run") == 4
    said = capsys.readouterr().err
    assert "The batch system does not answer" in said
    assert "nothing was sent" in said
    assert "profile" not in said


def test_an_array_that_is_refused_is_said_and_nothing_is_recorded(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    (place / files.BEST).write_bytes(b"a model is not loaded where it is sent from")
    (pbs.state / "refuse").write_text("qsub: Unknown queue")
    words = ["submit", "predict", str(place), str(beads / files.IMAGES), "--out", str(place / "counts")]
    assert main([*words, "--cluster", str(profile), "--elements", "2"]) == 2
    assert "The batch system refuses the job: qsub: Unknown queue." in capsys.readouterr().err
    assert main(["status", str(place / "counts")]) == 2
    assert "No job was sent for this folder." in capsys.readouterr().err


def test_without_a_batch_system_it_says_so(
    beads: Path, profile: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", str(place))
    assert submit_train(beads, profile, place / "run") == 4
    assert "There is no qsub on this machine. Log in to the cluster's login node" in capsys.readouterr().err


def test_a_job_that_can_never_run_is_recognised_and_cancelled(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    run = place / "run"
    assert submit_train(beads, profile, run, "--site", "select=1:ncpus=1:ngpus=1") == 0
    while json.loads((pbs.state / "1" / "job.json").read_text())["comment"] == "":
        time.sleep(0.02)
    capsys.readouterr()
    assert main(["status", str(run)]) == 0
    assert "queued, but can never run: Insufficient amount of resource: ngpus (R: 1 A: 0" in capsys.readouterr().out
    assert main(["logs", str(run)]) == 2
    assert "No job of this folder has written a log yet." in capsys.readouterr().err
    assert submit_train(beads, profile, run) == 2
    assert "Job 1.fake for this folder is not over." in capsys.readouterr().err
    assert main(["cancel", str(run)]) == 0
    assert "Ended: 1.fake." in capsys.readouterr().out
    pbs.wait()
    assert main(["cancel", str(run)]) == 0
    assert "No job of this folder was queued or running." in capsys.readouterr().out


def test_cancel_returns_when_the_jobs_have_ended_so_that_submitting_works(
    pbs: FakePbs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    script, began = tmp_path / "script.sh", tmp_path / "began"
    script.write_text(f"trap 'sleep 2; exit 130' TERM\ntouch '{began}'\nwhile :; do sleep 0.1; done\n")
    name = commands.submit(script)
    record.append(tmp_path, name, "train")
    while not began.exists():
        time.sleep(0.05)
    assert main(["cancel", str(tmp_path)]) == 0
    refuse_second(tmp_path)
    assert capsys.readouterr().out.endswith(f"Ended: {name}.\n")


@pytest.mark.parametrize("command", ["status", "logs", "cancel"])
def test_a_folder_without_jobs_is_named(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([command, str(tmp_path)]) == 2
    assert "No job was sent for this folder." in capsys.readouterr().err
