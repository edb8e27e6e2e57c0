"""Damaged or hostile files of a run or prediction folder: one clear line and exit code 2, never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from beadseg import files
from beadseg.cli.app import main
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.documents import is_plain_name
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.errors import ExitCode, InputError, RunError
from beadseg.predict.counts import COUNT_COLUMNS
from beadseg.report.compare import compare
from beadseg.report.evaluation_page import predicted_planes
from beadseg.report.prediction_page import read_counts
from beadseg.training.run import Run, train

TINY = [
    "epochs=1", "epoch.steps=2", "epoch.size=64", "batch=2", "network.width=8", "network.depth=3", "precision=fp32",
    "split.kind=stratified",
]  # fmt: skip

DEEP = "[" * 100_000
CRITERION = {"group": "target", "name": "x", "verdict": "met", "measured": "high"}

EVERYWHERE = [
    (files.CONFIG, "[]", "mapping"),
    (files.HISTORY, "epoch,step\n1,none\n", "history cannot be read"),
    (files.HISTORY, "step,lr\n3,1\n", "without an epoch"),
    (files.CRITERIA, "[]", "no JSON object but a list"),
    (files.CRITERIA, "{", "Cannot be read as JSON"),
    (files.CRITERIA, '{"criteria": {}}', "is not a list"),
    (files.CRITERIA, json.dumps({"criteria": [CRITERION]}), "measured"),
    (files.CRITERIA, '{"criteria": [1]}', "wrong entry"),
    (files.DIAGNOSIS, "{}", "Lacks 'diagnosis'"),
    (files.DIAGNOSIS, '{"diagnosis": [{"code": "gap"}]}', "message"),
    (files.DIAGNOSIS, DEEP, "Cannot be read as JSON"),
]
"""A run's file, what it holds, and what is said of it: by `report` and `compare`."""
ON_THE_PAGE = [
    (files.PLAN, "x", "Cannot be read as JSON"),
    (files.PLAN, '{"planned": [[]]}', "wrong entry"),
    (files.ENVIRONMENT, "[]", "no JSON object but a list"),
    (files.ENVIRONMENT, "\udcff", "Cannot be read as JSON"),
    (files.SAMPLES, "sample,objects,field\na,1,f\n", "Lacks the column 'fold'"),
    (files.SAMPLES, "", "Lacks the column"),
]
"""Likewise, of what only `report` reads."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; its images and weights are gone, so that its page is made quickly."""
    out = tmp_path_factory.mktemp("damaged")
    scene = SceneConfig(height=64, width=64, beads=12, debris=0)
    write_dataset(out / "beads", SeriesConfig(scene=scene, tiles=4, dilutions=(320,), fields=2))
    train(
        Dataset.open(out / "beads"), TrainConfig.preset("dense", "unet").with_overrides(TINY), out / "run", device="cpu"
    )
    shutil.rmtree(out / "beads")
    for name in (files.BEST, files.LAST):
        (out / "run" / name).unlink()
    return out / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may change."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def prediction(folder: Path, image: str = "a", made_by: str = "{}") -> Path:
    """Write a prediction folder with one image."""
    for kind in (files.OVERLAYS, files.BEADS):
        (folder / kind).mkdir(parents=True)
    row = {"image": image, "beads": 1, "beads_per_mpx": 9.5, "coverage": 0.1, "height": 32, "width": 32}
    pd.DataFrame([row], columns=list(COUNT_COLUMNS)).to_csv(folder / files.COUNTS, index=False)
    (folder / files.PREDICTION).write_text(made_by, encoding="utf-8")
    return folder


def write(path: Path, content: str) -> None:
    path.write_bytes(content.encode("utf-8", "surrogateescape"))


def is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], *texts: str) -> None:
    """Assert that a command ends with one line and exit code 2."""
    code = main(arguments)
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert code == ExitCode.INPUT
    assert len(told.splitlines()) == 1
    for text in texts:
        assert text in told


@pytest.mark.parametrize(("name", "content", "text"), [*EVERYWHERE, *ON_THE_PAGE])
def test_the_page_of_a_damaged_run(
    run: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, text: str
) -> None:
    write(run / name, content)
    is_refused(capsys, ["report", str(run), "--quiet"], str(run / name), text)
    assert not (run / files.REPORT_PAGE).exists()


@pytest.mark.parametrize(("name", "content", "text"), EVERYWHERE)
def test_a_damaged_run_is_compared_with_nothing(
    run: Path, capsys: pytest.CaptureFixture[str], name: str, content: str, text: str
) -> None:
    write(run / name, content)
    is_refused(capsys, ["compare", str(run)], str(run / name), text)


@pytest.mark.parametrize(("name", "content", "text"), EVERYWHERE)
def test_a_damaged_run_leaves_the_others_compared(run: Path, trained: Path, name: str, content: str, text: str) -> None:
    write(run / name, content)
    comparison = compare([str(run), str(trained)])
    assert [column.path for column in comparison.columns] == [str(trained)]
    (failure,) = comparison.failures
    assert str(run / name) in failure
    assert text in failure


def test_a_cut_list_of_samples_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (run / files.SAMPLES).read_text(encoding="utf-8")
    header, *rows = text.splitlines()
    write(run / files.SAMPLES, "\n".join([header, *rows[:-1], rows[-1][:5]]))
    is_refused(capsys, ["report", str(run), "--quiet"], str(run / files.SAMPLES), f"Row {len(rows)} is cut off")
    first = dict(zip(header.split(","), rows[0].split(","), strict=True))
    write(run / files.SAMPLES, "\n".join([header, ",".join({**first, "objects": "many"}.values())]))
    is_refused(capsys, ["report", str(run), "--quiet"], str(run / files.SAMPLES), "'many'")


def test_odd_values_in_the_environment_are_shown(run: Path) -> None:
    write(run / files.ENVIRONMENT, '{"command": [1, null], "versions": [], "device": {}}')
    assert main(["report", str(run), "--quiet"]) == ExitCode.OK
    assert "1 None" in (run / files.REPORT_PAGE).read_text(encoding="utf-8")


def test_a_file_that_is_gone_is_a_clear_error(run: Path) -> None:
    (run / files.CRITERIA).unlink()
    with pytest.raises(RunError, match=r"criteria\.json: No such file"):
        _ = Run(run).criteria


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_current_folder(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.chdir(trained)
    is_refused(capsys, ["compare", name], "empty name")


@pytest.mark.parametrize(("content", "text"), [("[]", "no JSON object but a list"), ("x", "Cannot be read as JSON")])
def test_a_damaged_description_of_a_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, text: str
) -> None:
    folder = prediction(tmp_path / "p", made_by=content)
    is_refused(capsys, ["report", str(folder), "--quiet"], str(folder / files.PREDICTION), text)


def test_a_description_of_other_parts_makes_a_page(tmp_path: Path) -> None:
    made_by = {"options": [], "network": 1, "fingerprint": {"bead_diameter_px": "seven"}}
    folder = prediction(tmp_path / "p", made_by=json.dumps(made_by))
    assert main(["report", str(folder), "--quiet"]) == ExitCode.SOME_FAILED  # its picture is not there
    assert (folder / files.REPORT_PAGE).exists()


@pytest.mark.parametrize("name", ["../../secret", "..\\secret", "/secret", "x/../../../secret", ".."])
def test_names_that_lead_out_of_the_folder_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    iio.imwrite(tmp_path / "secret.png", np.zeros((32, 32, 3), np.uint8))
    folder = prediction(tmp_path / "p", image=name)
    is_refused(capsys, ["report", str(folder), "--quiet"], str(folder / files.COUNTS), "leads out of the folder")
    assert not (folder / files.REPORT_PAGE).exists()


def test_a_plane_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    folder = prediction(tmp_path / "p")
    text = (folder / files.COUNTS).read_text(encoding="utf-8")
    write(folder / files.COUNTS, text.replace("a,,", "a,/../../secret,"))
    with pytest.raises(InputError, match="leads out of the folder"):
        read_counts(folder)


def test_a_prediction_outside_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p" / files.MASKS).mkdir(parents=True)
    iio.imwrite(tmp_path / "secret.png", np.zeros((32, 32), np.uint8))
    with pytest.raises(InputError, match="leads out of the folder"):
        predicted_planes(tmp_path / "p", "../../secret")


def test_odd_names_inside_the_folder_are_plain() -> None:
    for name in ("a", "a..b", "...", "<b>&amp;", "µ beads", "a\nb"):
        assert is_plain_name(name)
    assert not is_plain_name("a\0b")
