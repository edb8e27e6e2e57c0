from __future__ import annotations

import json
from pathlib import Path

import pytest

from beadseg.cli.app import main
from beadseg.cli.config_options import container_cores, container_memory, core_limits, granted_cores, processor
from beadseg.cli.doctor import bf16_difference, examine
from beadseg.errors import ExitCode


def test_names_everything(tmp_path: Path) -> None:
    checks = {check.name: check for check in examine(tmp_path)}
    expected = {
        "python",
        "packages",
        "processor",
        "cores",
        "memory",
        "shared memory",
        "disk",
        "folder",
        "napari",
        "bf16",
    }
    assert expected <= set(checks)
    assert checks["folder"].status == "ok"
    assert all(check.remedy for check in checks.values() if check.status != "ok")


def test_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["doctor", "--json", "--folder", str(tmp_path)])
    *checks, summary = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {check["data"]["status"] for check in checks} <= {"ok", "warn", "problem"}
    assert code == (ExitCode.MACHINE if summary["data"]["problems"] else ExitCode.OK)


def test_missing_folder_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--folder", str(tmp_path / "none")]) == ExitCode.MACHINE
    assert "is not a folder -> Create it" in capsys.readouterr().out


def test_smallest_limit_counts() -> None:
    assert granted_cores({"NCPUS": "1", "OMP_NUM_THREADS": "64"}) == 1
    assert "NCPUS" not in core_limits({"NCPUS": "many"})
    assert granted_cores({}) >= 1


@pytest.mark.parametrize(
    ("quota", "cores"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", None), ("nonsense", None)]
)
def test_cores_of_a_container(tmp_path: Path, quota: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert container_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("300000", 3), ("-1", None)])
def test_cores_of_an_old_container(tmp_path: Path, quota: str, cores: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert container_cores(tmp_path) == cores


@pytest.mark.parametrize(("text", "limit"), [("4096\n", 4096), ("max\n", None), ("9223372036854771712\n", None)])
def test_memory_of_a_container(tmp_path: Path, text: str, limit: int | None) -> None:
    (tmp_path / "memory.max").write_text(text)
    assert container_memory(tmp_path) == limit
    assert container_memory(tmp_path / "none") is None


def test_processor_has_a_name() -> None:
    assert processor()[0]


def test_bf16_is_close_to_fp32() -> None:
    assert 0 < bf16_difference("cpu") < 0.05


@pytest.mark.parametrize(("version", "python", "status"), [("6.12.0", (3, 11), "problem"), ("6.12.0", (3, 12), "ok"),
                                                           ("6.11.3", (3, 11), "ok")])  # fmt: skip
def test_a_qt_binding_that_ends_napari_is_told(
    version: str, python: tuple[int, int], status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed = {"napari": "0.9.2", "PySide6": version}
    monkeypatch.setattr("beadseg.cli.doctor._version", installed.get)
    monkeypatch.setattr("sys.version_info", python)
    (check,) = [check for check in examine(tmp_path) if check.name == "napari"]
    assert check.status == status
    assert ("PySide6!=6.12.0" in check.remedy) == (status == "problem")
