"""A sweep as arrays of jobs: on the fake batch system, and on a real server (``-m pbs``, ``-m slurm``)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cluster_helpers import Batch, FakePbs

from beadseg import files
from beadseg.cli.app import main
from beadseg.cluster import record
from beadseg.cluster.submit import as_list, rounds_to_come
from beadseg.config import TrainConfig
from beadseg.config.sweep import SweepConfig
from beadseg.sweep.plan import planned

FIELDS = [
    "epochs=1", "epoch.steps=2", "epoch.size=64", "batch=2", "network.width=4", "network.depth=2", "precision=fp32",
    "network.prior_logit=0", "ema=0",
]  # fmt: skip
SETS = [word for setting in FIELDS for word in ("--set", setting)]
ONE_FAILS = "method: {kind: grid}\nparameters:\n  image.channels: [{kind: grey}, {kind: single, index: 5}]\n"
EIGHT = """
method: {kind: grid}
parameters:
  image.channels: [{kind: grey}, {kind: rgb}]
  optimizer.lr: [0.001, 0.01]
  seed: [1, 2]
"""
ROUNDS = """
method: {kind: tpe, rounds: 3, trials: 2}
parameters: {optimizer.lr: {low: 1e-3, high: 1e-1, log: true}}
"""
TABLES = (files.TRIALS_TABLE, files.BEST_CONFIG, files.SWEEP)


def words(beads: Path, place: Path, out: Path, text: str) -> list[str]:
    path = place / "space.yaml"
    path.write_text(text)
    return ["sweep", str(beads), "--space", str(path), "--out", str(out), *SETS, "--threads", "1", "--device", "cpu"]


def log(folder: Path, kind: str) -> str:
    """Return what all jobs of a kind said."""
    return "".join(
        path.read_text() for item in record.sent_jobs(folder) if item.kind == kind for path in item.logs(folder)
    )


def same_files(one: Path, other: Path) -> None:
    """Compare what two sweeps wrote, but for what tells when and where they ran."""
    named = [{str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and files.JOBS not in
              path.relative_to(folder).parts} for folder in (one, other)]  # fmt: skip
    assert named[0] == named[1]
    alike = (*TABLES, files.FAILURES, files.IMPORTANCE, files.RESULT, files.HISTORY, files.CONFIG, files.SPLIT)
    for name in named[0]:
        if Path(name).name in alike or name.startswith(files.ROUNDS):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_an_array_gives_the_same_files_and_the_same_best_as_one_machine(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    alone, sent = place / "alone", place / "sent"
    assert main(words(beads, place, alone, ONE_FAILS)) == 3
    submit = words(beads, place, sent, ONE_FAILS)
    assert main(["submit", *submit, "--cluster", str(profile), "--running", "2", "--walltime", "00:10:00"]) == 0
    assert "Sent job 1[].fake of 00:10:00, and 1 that follow it." in capsys.readouterr().out
    pbs.wait_for(sent)
    assert [(item.job, item.kind, item.part) for item in record.sent_jobs(sent)] == [
        ("1[].fake", "sweep-1", 1), ("2.fake", "collect-1", 1),
    ]  # fmt: skip
    assert log(sent, "sweep-1").count("part 1 of at most 1") == 2
    assert f"some items failed: see {sent}/failures.csv" in log(sent, "collect-1")
    assert "Best: trial 1, jaccard_images" in log(sent, "collect-1")
    same_files(alone, sent)
    assert main(["status", str(sent)]) == 0
    told = capsys.readouterr().out
    assert "2.fake  collect-1, part 1: finished, some items failed" in told
    assert "Sweep: 1 of 2 trials finished, 1 failed. Best so far: trial 1, jaccard_images" in told
    assert main(["cancel", str(sent)]) == 0


def test_a_dry_run_shows_every_script_and_plans_nothing(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    given = words(beads, place, place / "s", ROUNDS)
    assert main(["submit", *given, "--cluster", str(profile), "--dry-run", "--running", "1", "--jobs", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("#PBS -N")] == [
        f"#PBS -N {kind}-{number}-s" for number in (1, 2, 3) for kind in ("sweep", "collect")
    ]  # fmt: skip
    assert lines.count("#PBS -J 0-1%1") == 3
    programs = [line for line in lines if line.startswith("program=")]
    ends = ("--trials 1-2", "--collect --plan-round 2", "--trials 3-4", "--collect --plan-round 3", "--trials 5-6",
            "--collect")  # fmt: skip
    assert [line.endswith(f" {end})") for line, end in zip(programs, ends, strict=True)] == [True] * 6
    assert not (place / "s").exists()
    assert pbs.ids() == []


def test_what_is_wrong_is_said_before_anything_is_sent(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    out, more = place / "s", ["--cluster", str(profile)]
    wrong = {
        "parameters.epohs: There is no field 'epohs'": ("method: {kind: grid}\nparameters: {epohs: [1]}", []),
        "The jobs set it themselves.": (ONE_FAILS, ["--collect"]),
        "No such option: --spce": (ONE_FAILS, ["--spce", "x"]),
        "more than half of the walltime": (ONE_FAILS, ["--walltime", "00:00:09"]),
    }
    for message, (text, options) in wrong.items():
        assert main(["submit", *words(beads, place, out, text), *more, *options]) == 2, message
        assert message in capsys.readouterr().err
    assert main(["submit", *words(place / "none", place, out, ONE_FAILS), *more]) == 2
    assert "No such file or folder." in capsys.readouterr().err
    assert not out.exists()
    assert pbs.ids() == []


def test_a_refused_array_takes_back_what_was_sent(
    pbs: FakePbs, beads: Path, profile: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    qsub = tmp_path / "bin" / "qsub"
    only_first = (
        f'[ -e "{tmp_path}/second" ] && {{ echo "qsub: too many jobs" >&2; exit 188; }}\ntouch "{tmp_path}/second"\n'
    )
    qsub.write_text(qsub.read_text().replace("exec ", f"{only_first}exec "))
    given = words(beads, place, place / "s", ONE_FAILS)
    assert main(["submit", *given, "--cluster", str(profile)]) == 2
    assert "The batch system refuses the job: qsub: too many jobs." in capsys.readouterr().err
    pbs.wait()
    assert json.loads((pbs.state / "1" / "job.json").read_text())["job_state"] == "F"
    assert not list((place / "s").rglob(files.RESULT))


def test_only_what_has_not_ended_is_sent_again():
    space = SweepConfig.parse({"method": {"kind": "tpe", "rounds": 3, "trials": 4},
                               "parameters": {"optimizer.lr": {"low": 0.001, "high": 0.01}}})  # fmt: skip
    first = [planned(space, TrainConfig.preset("dense", "unet"), "")]
    assert rounds_to_come(space, first) == [(1, [1, 2, 3, 4]), (2, [5, 6, 7, 8]), (3, [9, 10, 11, 12])]
    assert rounds_to_come(space, first, [1, 3]) == [(1, [2, 4]), (2, [5, 6, 7, 8]), (3, [9, 10, 11, 12])]
    assert rounds_to_come(space, first, [1, 2, 3, 4])[0] == (1, [])
    assert as_list([1, 2, 3, 7, 9, 10]) == "1-3,7,9-10"


def test_an_element_without_a_trial_says_so(
    beads: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("BEADSEG_ELEMENT", "2")
    assert main([*words(beads, place, place / "s", ONE_FAILS), "--trials", "1-2"]) == 2
    assert "There is no trial for element 2 of the array." in capsys.readouterr().err
    monkeypatch.setenv("BEADSEG_ELEMENT", "1")
    assert main([*words(beads, place, place / "s", ONE_FAILS), "--trials", "1-2"]) == 2
    assert "Holds no sweep." in capsys.readouterr().err


@pytest.mark.timeout(1200)
def test_eight_trials_as_an_array_with_one_that_crashes(
    batch: Batch, beads: Path, profile: Path, place: Path, capsys: pytest.CaptureFixture[str]
):
    """The training of one trial cannot begin in its folder, so it fails; in the other folders it can."""
    alone, sent = place / "alone", place / "sent"
    assert main(words(beads, place, alone, EIGHT)) == 0
    given = ["submit", *words(beads, place, sent, EIGHT), "--cluster", str(profile), "--walltime", "00:10:00"]
    (sent / files.TRIALS / "003" / files.CONFIG).mkdir(parents=True)
    assert main(given) == 0
    batch.wait_for(sent, 900)
    rows = [line.split(",") for line in (sent / files.TRIALS_TABLE).read_text().splitlines()[1:]]
    assert [row[3] for row in rows] == ["finished"] * 7 + ["failed"]
    assert rows[-1][1] == "3"
    (sent / files.TRIALS / "003" / files.CONFIG).rmdir()
    assert main([*given, "--retry"]) == 0
    batch.wait_for(sent, 900)
    assert "--trials 3" in (sent / files.JOBS / "sweep-1.sh").read_text()
    for name in TABLES:
        assert (alone / name).read_bytes() == (sent / name).read_bytes()


@pytest.mark.timeout(1200)
def test_rounds_of_tpe_follow_each_other(batch: Batch, beads: Path, profile: Path, place: Path):
    alone, sent = place / "alone", place / "sent"
    assert main(words(beads, place, alone, ROUNDS)) == 0
    given = words(beads, place, sent, ROUNDS)
    assert main(["submit", *given, "--cluster", str(profile), "--walltime", "00:10:00"]) == 0
    batch.wait_for(sent, 900)
    assert [item.kind for item in record.sent_jobs(sent)] == [
        f"{kind}-{number}" for number in (1, 2, 3) for kind in ("sweep", "collect")
    ]  # fmt: skip
    same_files(alone, sent)
    assert (sent / files.TRIALS_TABLE).read_text().count("finished") == 6
