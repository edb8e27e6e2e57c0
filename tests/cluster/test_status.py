"""What `status` makes of the server's answers."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cluster_helpers import FakePbs

from beadseg.cli.app import main
from beadseg.cli.jobs import lines
from beadseg.cluster import pbs as commands
from beadseg.cluster import record
from beadseg.cluster.job import Job
from beadseg.cluster.record import status
from beadseg.cluster.scheduler import has_ended
from beadseg.cluster.submit import refuse_second
from beadseg.errors import InputError, MachineError
from beadseg.events import StopFlag

ANSWER = """{
  "Jobs": {"7.server": {"job_state": "%s", %s "run_count": 1, "comment": "%s",
    "Variable_List": {"PBS_O_WORKDIR": "/a\\b	c"}, "Resource_List": {"select": "1:ncpus=1", "walltime": "01:00:00"},
    "resources_used": {"walltime": "00:10:00"}}}
}"""


def answering(tmp_path: Path, text: str, code: int = 0) -> None:
    """Let qstat give this answer, as real servers give it."""
    (tmp_path / "answer").write_text(text)
    path = tmp_path / "bin" / "qstat"
    path.write_text(f"#!/bin/sh\ncat '{tmp_path}/answer'\nexit {code}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("state", "code", "comment", "said"),
    [
        ("R", None, "Job run at …", "running, 00:10:00 of 01:00:00"),
        ("Q", None, "Not Running: Insufficient amount of resource: ncpus", "queued (Not Running: Insufficient"),
        ("Q", None, "Can Never Run: Insufficient amount of resource: ngpus", "queued, but can never run: Insufficient"),
        ("H", None, "", "held"),
        ("F", 0, "", "finished"),
        ("F", 2, "", "failed: a wrong input, see its log"),
        ("F", 6, "", "its time was up, all is kept"),
        ("F", -29, "", "ended by the batch system at its walltime"),
        ("F", -3, "no such queue", "ended by the batch system (status -3): no such queue"),
        ("F", -29, "Job run at … and exceeded resource walltime", "ended by the batch system at its walltime"),
        ("F", 271, "Job run at … and terminated by user@host", "cancelled"),
        ("F", 0, "Job run at … and terminated by root@host", "cancelled"),
        ("F", 0, "Job run at … and finished", "finished"),
        ("F", 271, "", "cancelled"),
        ("F", 143, "", "cancelled"),
        ("F", 137, "", "killed by signal 9; what was saved is kept"),
        ("F", 265, "", "killed by signal 9; what was saved is kept"),
        ("F", 77, "", "failed with exit code 77, see its log"),
        ("F", None, "", "ended without ever running"),
    ],
)
def test_every_state_is_told_in_words(
    pbs: FakePbs, tmp_path: Path, state: str, code: int | None, comment: str, said: str
):
    record.append(tmp_path, "7.server", "train")
    answer = ANSWER % (state, "" if code is None else f'"Exit_status": {code},', comment)
    never_ran = said == "ended without ever running"
    answering(tmp_path, answer.replace('"run_count": 1, ', "") if never_ran else answer)
    (found,) = status(tmp_path).jobs
    assert found.text.startswith(said)
    assert found.stuck == ("never run" in said)
    assert found.alive == (state in "RQH")


@pytest.mark.parametrize(("code", "said"), [(0, "finished"), (1, "over; not every element finished well")])
def test_an_array_ends_in_words_of_its_own(pbs: FakePbs, tmp_path: Path, code: int, said: str):
    record.append(tmp_path, "7[].server", "predict")
    answering(tmp_path, (ANSWER % ("F", f'"Exit_status": {code},', "")).replace("7.server", "7[].server"))
    (found,) = status(tmp_path).jobs
    assert found.text.startswith(said)


ELEMENT = """"7[%d].server": {"job_state": "%s", %s "run_count": 1, "comment": "%s"}"""


def test_an_array_is_told_element_by_element(pbs: FakePbs, tmp_path: Path):
    record.append(tmp_path, "7[].server", "predict")
    ends = [("X", 0), ("X", 5), ("X", 265), ("X", 2), ("R", None), ("Q", None), ("X", 0)]
    elements = [
        ELEMENT % (number, state, "" if code is None else f'"Exit_status": {code},', "")
        for number, (state, code) in enumerate(ends)
    ]
    array = (ANSWER % ("B", "", "")).replace("7.server", "7[].server").removesuffix("}\n}")
    answering(tmp_path, f"{array}, {', '.join(elements)} }} }}")
    (found,) = status(tmp_path).jobs
    assert found.alive
    assert found.text == (
        "array of 7: 2 finished; 1 ended, its result is flagged; 1 killed by signal 9; what was saved is kept (7[2]); "
        "1 failed: a wrong input, see its log (7[3]); 1 running; 1 queued"
    )


def test_a_server_that_is_down_is_a_sentence_and_the_files_are_told(
    pbs: FakePbs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    record.append(tmp_path, "7.server", "train")
    (tmp_path / "jobs" / "train-7.server.log").write_text("Epoch 3\n")
    path = tmp_path / "bin" / "qstat"
    path.write_text("#!/bin/sh\necho 'Connection refused' >&2\nexit 255\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    assert main(["status", str(tmp_path)]) == 0
    told = "".join(capsys.readouterr())
    assert "7.server  train, part 1: not known; the last line of its log: Epoch 3" in told
    assert "The batch system does not answer: Connection refused." in told


def test_jobs_that_the_server_has_forgotten_are_over(pbs: FakePbs, tmp_path: Path):
    record.append(tmp_path, "7.server", "train")
    answering(tmp_path, "", commands.UNKNOWN_JOB)
    (found,) = status(tmp_path).jobs
    assert found.text == "over; the batch system has forgotten it, and it has not written a log"
    assert not found.alive
    assert has_ended("7.server")


BEGAN = "2026-12-01 10:00:00 INFO Job 7.server, part 1 of at most 10, on node1, in /runs/first.\n"
LAST_LINES = [
    ("INFO Finished. Results: /runs/first", "finished", 0),
    ("WARNING Finished, but some items failed: see f. Results: r", "finished, some items failed", 3),
    ("WARNING Ended with a result that is flagged, see above.", "ended, its result is flagged", 5),
    ("INFO The job's time was up; everything is kept in r. Job 8 goes on.", "its time was up, all is kept", 6),
    ("WARNING Stopped by a signal, as a cancelled job gets it", "stopped by a signal, all is kept", 130),
    ("ERROR Killed by signal 9; what was saved is in r.", "killed by signal 9; what was saved is kept", 265),
    ("ERROR Failed with exit code 77, see above.", "failed with exit code 77, see its log", 77),
    ("ERROR Failed with exit code 4, see above.", "failed: the machine, see its log: r: Disk full. Remove files.", 4),
    ("INFO Epoch 3", "ended without a last line in its log: it was probably killed", None),
]


@pytest.mark.parametrize(("line", "said", "code"), LAST_LINES)
def test_how_a_forgotten_job_ended_is_read_from_its_log(
    pbs: FakePbs, tmp_path: Path, line: str, said: str, code: int | None
):
    """As on a server without job history, OpenPBS' default."""
    record.append(tmp_path, "7.server", "train")
    answering(tmp_path, "", commands.UNKNOWN_JOB)
    log = f"{BEGAN}beadseg-batch: r: Disk full. Remove files.\n2026-12-01 10:05:00 {line}\n"
    (tmp_path / "jobs" / "train-7.server.log").write_text(log)
    (found,) = status(tmp_path).jobs
    assert (found.text, found.alive) == (said, False)
    assert found.job is not None
    assert found.job.exit_status == code


def test_a_successor_that_was_taken_back_is_not_needed_though_the_server_forgot_both(pbs: FakePbs, tmp_path: Path):
    record.append(tmp_path, "7.server", "train")
    record.append(tmp_path, "8.server", "train", 2)
    answering(tmp_path, "", commands.UNKNOWN_JOB)
    (tmp_path / "jobs" / "train-7.server.log").write_text(f"{BEGAN}2026-12-01 10:05:00 INFO Finished. Results: r\n")
    assert [item.text for item in status(tmp_path).jobs] == ["finished", record.NOT_NEEDED]
    (tmp_path / "jobs" / "train-7.server.log").write_text(f"{BEGAN}2026-12-01 10:05:00 WARNING Stopped by a signal\n")
    assert [item.text for item in status(tmp_path).jobs][1] == record.TAKEN_BACK


def test_a_successor_that_was_taken_back_is_judged_by_the_jobs_of_its_own_submission(pbs: FakePbs, tmp_path: Path):
    for number, part in ((7, 1), (8, 2), (9, 1), (10, 2)):
        record.append(tmp_path, f"{number}.server", "train", part)
    ended = '"{}.server": {{"job_state": "F", "Exit_status": {}, "run_count": 1}}'
    path = tmp_path / "bin" / "qstat"
    path.write_text(
        '#!/bin/sh\nfor name in "$@"; do :; done\ncase $name in\n'
        f"7.server) echo '{{\"Jobs\": {{{ended.format(7, 271)}}}}}' ;;\n"
        f"9.server) echo '{{\"Jobs\": {{{ended.format(9, 0)}}}}}' ;;\n"
        '*) echo "{\\"Jobs\\": {\\"$name\\": {\\"job_state\\": \\"F\\"}}}" ;;\nesac\n'
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    told = [item.text for item in status(tmp_path).jobs]
    assert told == ["cancelled", "taken back by the job before it", "finished", record.NOT_NEEDED]


def test_elements_whose_end_the_server_forgot_are_told_by_their_logs(pbs: FakePbs, tmp_path: Path):
    """OpenPBS without job history gives an array's own status, 1 while it runs, to the elements that have ended."""
    record.append(tmp_path, "7[].server", "predict")
    ended = ELEMENT.replace('"run_count": 1, ', "")
    elements = [ended % (number, "X", '"Exit_status": 1,', "Subjob finished") for number in range(4)]
    array = (ANSWER % ("B", '"Exit_status": 1,', "")).replace("7.server", "7[].server").removesuffix("}\n}")
    answering(tmp_path, f"{array}, {', '.join([*elements, ELEMENT % (4, 'R', '', '')])} }} }}")
    ends = ("INFO Finished. Results: r", "INFO Finished. Results: r", "ERROR Killed by signal 9; what", "INFO 3 beads")
    for number, line in enumerate(ends):
        path = tmp_path / "jobs" / f"predict-7[{number}].server.log"
        path.write_text(f"{BEGAN}2026-12-01 10:05:00 {line}\n")
    (found,) = status(tmp_path).jobs
    assert found.text == (
        "array of 5: 2 finished; 1 killed by signal 9; what was saved is kept (7[2]); "
        "1 ended without a last line in its log: it was probably killed (7[3]); 1 running"
    )
    answering(tmp_path, "", commands.UNKNOWN_JOB)
    (found,) = status(tmp_path).jobs
    assert (found.alive, found.text.startswith("array of 4: 2 finished; 1 killed by signal 9")) == (False, True)


def test_a_server_without_job_history_still_knows_its_living_jobs(pbs: FakePbs, tmp_path: Path):
    """OpenPBS' default: ``qstat -x`` answers with exit code 0 and no job, whatever the job does."""
    (pbs.state / "no-history").touch()
    script = tmp_path / "script.sh"
    script.write_text("sleep 600\n")
    name = commands.submit(script)
    assert not has_ended(name)
    record.append(tmp_path, name, "train")
    (found,) = status(tmp_path).jobs
    assert found.alive
    with pytest.raises(InputError, match=r"Job 1\.fake for this folder is not over"):
        refuse_second(tmp_path)
    assert commands.delete([name]) == [name]
    pbs.wait()
    assert has_ended(name)
    (found,) = status(tmp_path).jobs
    assert found.text == "over; the batch system has forgotten it, and it has not written a log"


def test_what_is_no_answer_is_an_error_and_no_proof_of_an_end(pbs: FakePbs, tmp_path: Path):
    answering(tmp_path, "not JSON")
    with pytest.raises(MachineError, match="not JSON"):
        commands.jobs(["7.server"])
    assert not has_ended("7.server")


def test_a_job_is_read_as_qstat_shows_it():
    values = {"job_state": "F", "Exit_status": 271, "run_count": 2, "Resource_List": {"walltime": "01:00:00"}}
    assert commands.read("7.server", values) == Job("7.server", "F", 271, 2, walltime="01:00:00")


def test_the_table_of_jobs_names_each_once_and_says_when_it_is_damaged(tmp_path: Path):
    for part in (1, 2, 2):
        record.append(tmp_path, f"{part}.server", "train", part)
    assert [(item.job, item.part) for item in record.sent_jobs(tmp_path)] == [("1.server", 1), ("2.server", 2)]
    with (tmp_path / "jobs" / "jobs.csv").open("a") as file:
        file.write("3.server,train\n")
    with pytest.raises(InputError, match="The table of jobs is damaged"):
        record.sent_jobs(tmp_path)


def test_the_logs_of_an_array_are_those_of_its_elements(tmp_path: Path):
    record.append(tmp_path, "7[].server", "sweep")
    for name in ("sweep-7[10].server", "sweep-7[2].server", "sweep-71[2].server", "train-7[2].server"):
        (tmp_path / "jobs" / f"{name}.log").touch()
    (item,) = record.sent_jobs(tmp_path)
    assert [path.name for path in item.logs(tmp_path)] == ["sweep-7[2].server.log", "sweep-7[10].server.log"]
    (tmp_path / "jobs" / "sweep-7[2].server.log").write_text("of element 2")
    for name in ("7[2]", "7[2].server"):
        assert list(lines(tmp_path, False, name, StopFlag())) == ["of element 2"]
