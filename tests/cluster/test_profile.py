from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from cluster_helpers import FakePbs

from beadseg.cli.app import main
from beadseg.config.site import SiteConfig
from beadseg.errors import ConfigError

HPC = Path(__file__).parents[2] / "hpc"


@pytest.mark.parametrize(
    ("text", "walltime"),
    [
        ("12:00:00", "12:00:00"),
        ("30:00", "00:30:00"),
        ("'100:00:00'", "100:00:00"),
        ("90", "00:01:30"),
        ("12h", "12:00:00"),
        ("90m", "01:30:00"),
        ("1d12h", "36:00:00"),
    ],
)
def test_a_walltime_is_read_as_it_is_meant(tmp_path: Path, text: str, walltime: str):
    path = tmp_path / "site.yaml"
    path.write_text(f"walltime: {text}\n")
    assert SiteConfig.from_file(path).walltime == walltime


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"walltime": "90"}, "'90' is not a time: write it as HH:MM:SS, or as 12h"),
        ({"walltime": "soon"}, "walltime"),
        ({"walltime": ""}, "walltime"),
        ({"walltime": "48:00:00", "longest_walltime": "24:00:00"}, "longer than longest_walltime"),
        ({"select": "1:ncpus=1\n#PBS -q x"}, "select"),
        ({"queue": "a b"}, "queue"),
        ({"setup": ["a\nb"]}, "must be one line"),
        ({"scratch": "/a`id`"}, "scratch"),
        ({"stage": True}, "stage needs scratch"),
        ({"environment": {"A B": "c"}}, "environment"),
        ({"container": {"image": "/a.sif", "binds": ["/a,/b"]}}, "binds"),
        ({"qeue": "long"}, "There is no field 'qeue'. Known there: scheduler"),
    ],
)
def test_wrong_values_are_refused(values: dict[str, object], message: str):
    with pytest.raises(ConfigError) as caught:
        SiteConfig.parse(values, "site.yaml")
    assert message in str(caught.value)


def examined(profile: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, dict[str, str]]]:
    """Return the exit code of ``doctor --cluster``, and every check by its name."""
    code = main(["doctor", "--cluster", str(profile), "--json"])
    events = [json.loads(line)["data"] for line in capsys.readouterr().out.splitlines()]
    return code, {data["name"]: data for data in events if "name" in data}


def test_a_good_profile_passes(pbs: FakePbs, profile: Path, capsys: pytest.CaptureFixture[str]):
    code, checks = examined(profile, capsys)
    assert code == 0
    assert {name: check["status"] for name, check in checks.items()} == dict.fromkeys(
        ["profile", "PBS", "queue", "walltime", "select", "trial", "program", "scratch"], "ok"
    )
    assert checks["queue"]["found"] == "workq takes jobs and begins them"


def test_what_the_server_would_refuse_or_never_run_is_found(
    pbs: FakePbs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "site.yaml"
    path.write_text(
        "queue: gpu\nselect: 1:ncpus=36:ngpus=1\nwalltime: 50:00:00\nscratch: /nowhere\nprocesses: 2\n"
        "command: [beadseg-nowhere]\ncontainer: {image: /nowhere/beadseg.sif, binds: [/nowhere]}\n"
    )
    code, checks = examined(path, capsys)
    assert code == 4
    assert checks["queue"]["found"] == "there is no queue 'gpu'"
    assert checks["queue"]["remedy"] == "Set queue to one of: workq, closed."
    assert "no node has ncpus=36: the most that one has is 2" in checks["select"]["found"]
    assert checks["processes"]["found"] == "2 on each node, which gets 1 GPU"
    assert [checks[name]["status"] for name in ("container", "processes")] == ["problem"] * 2
    assert [checks[name]["status"] for name in ("binds", "program", "scratch")] == ["warn"] * 3


def test_what_only_the_server_knows_is_asked_of_it(pbs: FakePbs, profile: Path, capsys: pytest.CaptureFixture[str]):
    (pbs.state / "refuse").write_text("qsub: Unauthorized Request")
    code, checks = examined(profile, capsys)
    assert code == 4
    assert "the server refuses a job of this profile: qsub: Unauthorized Request" in checks["trial"]["found"]
    (pbs.state / "refuse").unlink()
    assert examined(profile, capsys)[0] == 0
    pbs.wait()


@pytest.mark.parametrize(
    ("changes", "name", "found"),
    [
        ("margin: 120\nwalltime: 00:03:00\n", "trial", "takes more than half of the walltime"),
        ("place: scatter\nselect: 3:ncpus=1\n", "select", "3 nodes are asked for, and 1 node is up"),
        ("command: [beadseg-nowhere]\n", "program", "beadseg-nowhere is not found on this machine"),
    ],
)
def test_what_submit_would_refuse_is_found(
    pbs: FakePbs, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: str, name: str, found: str
):
    path = tmp_path / "site.yaml"
    path.write_text(changes if "command" in changes else f"command: [bash]\n{changes}")
    code, checks = examined(path, capsys)
    assert code == 4
    assert found in checks[name]["found"]


def test_a_node_that_is_offline_does_not_count(
    pbs: FakePbs, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "bin" / "pbsnodes"
    node = {"state": "offline", "resources_available": {"ncpus": 2, "mem": "8gb"}}
    path.write_text(f"#!/bin/sh\necho '{json.dumps({'nodes': {'node1': node}})}'\n")
    code, checks = examined(profile, capsys)
    assert code == 4
    assert checks["select"]["found"] == "none of 1 node is up"


def test_a_closed_queue_and_its_limit_are_found(pbs: FakePbs, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "site.yaml"
    path.write_text("queue: closed\nselect: 1:ncpus=1\nwalltime: 50:00:00\ncommand: [bash]\n")
    code, checks = examined(path, capsys)
    assert code == 4
    assert checks["queue"]["status"] == "problem"
    assert "the queue takes 24:00:00 at most" in checks["walltime"]["found"]


def test_a_server_that_does_not_answer_is_named(
    pbs: FakePbs, profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "bin" / "qstat"
    path.write_text("#!/bin/sh\necho 'Connection refused' >&2\nexit 255\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    code, checks = examined(profile, capsys)
    assert code == 4
    assert "The batch system does not answer: Connection refused." in checks["PBS"]["found"]


def test_a_machine_without_pbs_is_named(
    profile: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, checks = examined(profile, capsys)
    assert code == 4
    assert checks["PBS"]["found"] == "there is no qsub, qstat, qdel, pbsnodes on this machine"
