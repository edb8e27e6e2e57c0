from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from beadseg.cli.app import main
from beadseg.errors import ExitCode
from beadseg.files import REVIEW


def beads(count: int) -> np.ndarray:
    mask = np.zeros((16, 64), np.uint8)
    for index in range(count):
        mask[4:9, 2 + 7 * index : 7 + 7 * index] = 255
    return mask


@pytest.fixture
def data(tmp_path: Path) -> str:
    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in ("a_grid_r0_c0", "a_grid_r0_c1", "b_grid_r0_c0"):
        iio.imwrite(root / "images" / f"{name}.png", 200 - beads(5) // 2)
        iio.imwrite(root / "masks" / f"{name}.png", beads(5))
    return str(root)


def states(data: str, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    capsys.readouterr()
    assert main(["review", data, "--json"]) == ExitCode.OK
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    return {one["sample"]: one for one in last["data"]["samples"]}


def test_listing_a_dataset_that_nobody_reviewed_writes_nothing(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", data]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "pending         3" in printed
    assert "Next pending: a_grid_r0_c0" in printed
    assert not (Path(data) / REVIEW).exists()


def test_decisions_by_name_and_pattern(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", data, "accept", "a_*", "--by", "ada", "--why", "=1+1, sharp"]) == ExitCode.OK
    assert main(["review", data, "reject", "b_grid_r0_c0", "--by", "ben"]) == ExitCode.OK
    assert "2 accepted, 1 rejected" in capsys.readouterr().out
    found = states(data, capsys)
    assert [one["state"] for one in found.values()] == ["accepted", "accepted", "rejected"]
    assert found["a_grid_r0_c1"]["why"] == "=1+1, sharp"
    assert main(["review", data, "list", "--state", "rejected"]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "Nothing is pending." in printed
    assert "ben" in printed
    assert "ada" not in printed
    table = pd.read_csv(Path(data) / REVIEW / "review.csv", dtype=str, keep_default_na=False)
    assert table["state"].tolist() == ["accepted", "accepted", "rejected"]


def test_undo_redo_and_history(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", data, "accept", "*", "--by", "ada"]) == ExitCode.OK
    assert main(["review", data, "undo", "--by", "ada"]) == ExitCode.OK
    assert {one["state"] for one in states(data, capsys).values()} == {"pending"}
    assert main(["review", data, "redo", "b_grid_r0_c0"]) == ExitCode.OK
    assert states(data, capsys)["b_grid_r0_c0"]["state"] == "accepted"
    assert main(["review", data, "history", "b_grid_r0_c0"]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert [word in printed for word in ("accept", "undo accept", "redo accept", "ada")] == [True] * 4
    assert main(["review", data, "undo", "--by", "nobody"]) == ExitCode.INPUT
    assert "nothing to undo" in capsys.readouterr().err


def test_a_mask_and_a_region_from_files(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    iio.imwrite(tmp_path / "new.png", beads(3))
    iio.imwrite(tmp_path / "region.png", beads(1))
    name = "a_grid_r0_c0"
    assert main(["review", data, "correct", name, "--mask", str(tmp_path / "new.png")]) == ExitCode.OK
    assert main(["review", data, "ignore", name, "--mask", str(tmp_path / "region.png")]) == ExitCode.OK
    one = states(data, capsys)[name]
    assert one["state"] == "corrected"
    assert np.array_equal(iio.imread(one["mask"]), beads(3))
    assert np.array_equal(iio.imread(one["ignore"]), beads(1))
    assert np.array_equal(iio.imread(Path(data) / "masks" / f"{name}.png"), beads(5))
    assert main(["review", data, "correct", name]) == ExitCode.INPUT
    assert main(["review", data, "correct", "*", "--mask", str(tmp_path / "new.png")]) == ExitCode.INPUT
    assert "--mask" in capsys.readouterr().err


def test_what_an_audit_found_nothing_about_is_accepted(data: str, tmp_path: Path) -> None:
    audit = tmp_path / "audit.csv"
    audit.write_text("sample,code,severity,value,message,box\na_grid_r0_c1,shift,high,2.5,moved,0 0 9 9\n")
    assert main(["review", data, "reject", "b_grid_r0_c0"]) == ExitCode.OK
    assert main(["review", data, "accept", "--without-findings", str(audit)]) == ExitCode.OK
    table = pd.read_csv(Path(data) / REVIEW / "review.csv").set_index("sample")["state"]
    assert table.to_dict() == {"a_grid_r0_c0": "accepted", "a_grid_r0_c1": "pending", "b_grid_r0_c0": "rejected"}
    audit.write_text("sample,code\nsomebody_elses,shift\n")
    assert main(["review", data, "accept", "--without-findings", str(audit)]) == ExitCode.INPUT
    audit.write_text("name,code\na,shift\n")
    assert main(["review", data, "accept", "--without-findings", str(audit)]) == ExitCode.INPUT


def test_samples_without_a_mask_are_named_and_the_others_decided(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    (Path(data) / "masks" / "a_grid_r0_c0.png").unlink()
    assert main(["review", data, "accept", "*"]) == ExitCode.SOME_FAILED
    assert "a_grid_r0_c0: has no mask" in capsys.readouterr().out
    assert [one["state"] for one in states(data, capsys).values()] == ["pending", "accepted", "accepted"]


@pytest.mark.parametrize(
    "arguments",
    [["accept"], ["accept", "nosuch"], ["list", "--state", "good"], ["reject", "--without-findings", "x.csv"]],
)
def test_wrong_requests_are_refused_and_write_nothing(data: str, arguments: list[str]) -> None:
    assert main(["review", data, *arguments]) == ExitCode.INPUT
    assert not (Path(data) / REVIEW).exists()


def test_agreement_with_others_and_with_the_originals(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    iio.imwrite(theirs / "b_grid_r0_c0_mask.png", beads(4))
    iio.imwrite(theirs / "a_grid_r0_c0.png", beads(5))
    out = tmp_path / "agreement.csv"
    assert main(["review", data, "agreement", "--other", str(theirs), "--out", str(out)]) == ExitCode.OK
    everything = next(line.split() for line in capsys.readouterr().out.splitlines() if " all " in line)
    assert everything[everything.index("all") :] == ["all", "2", "0.900", "0.944", "0.947", "10", "9", "-1"]
    assert pd.read_csv(out)["difference"].tolist() == [0, -1]
    assert main(["review", data, "agreement"]) == ExitCode.INPUT
    assert "No sample has a corrected mask" in capsys.readouterr().err
    assert main(["review", data, "correct", "b_grid_r0_c0", "--mask", str(theirs / "b_grid_r0_c0_mask.png")]) == 0
    assert main(["review", data, "agreement"]) == ExitCode.OK
    corrected = next(line.split() for line in capsys.readouterr().out.splitlines() if " b " in line)
    assert corrected[corrected.index("b") :] == ["b", "1", "0.800", "0.889", "0.889", "4", "5", "+1"]


def test_training_leaves_out_what_was_rejected(data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["review", data, "reject", "b_*"]) == ExitCode.OK
    assert main(["train", data, "--samples", "accepted", "--out", str(tmp_path / "run")]) == ExitCode.INPUT
    assert "No sample is left" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_evaluation_holds_predictions_to_what_was_not_rejected(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = tmp_path / "predictions" / "masks"
    predictions.mkdir(parents=True)
    for name in ("a_grid_r0_c0", "a_grid_r0_c1", "b_grid_r0_c0"):
        iio.imwrite(predictions / f"{name}.png", beads(4))
    iio.imwrite(tmp_path / "four.png", beads(4))
    assert main(["review", data, "reject", "b_*"]) == ExitCode.OK
    assert main(["review", data, "correct", "a_grid_r0_c0", "--mask", str(tmp_path / "four.png")]) == ExitCode.OK
    capsys.readouterr()
    for choice, jaccard in (("accepted", 1.0), ("not-rejected", 0.9), ("all", 2.6 / 3)):
        assert main(["evaluate", str(predictions.parent), data, "--samples", choice, "--json"]) == ExitCode.OK
        last = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert last["data"]["jaccard_images"] == pytest.approx(jaccard)
    assert main(["evaluate", str(predictions.parent), data, "--samples", "good"]) == ExitCode.INPUT
