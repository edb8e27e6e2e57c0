"""What is written: no formula in a table, nothing good replaced by less, nothing scored against itself."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile
from fault_helpers import SHORT, Cli, tree

from beadseg import files
from beadseg.data.fields import read_table
from beadseg.errors import ExitCode
from beadseg.widgets.io.folder_layers import read_bead_table, read_prediction

FORMULAS = ["=1+2", "+3", "-4x", "@sum"]


@pytest.fixture
def predictions(predicted: Path, tmp_path: Path) -> Path:
    """A copy of the predictions, to be spoiled."""
    return Path(shutil.copytree(predicted, tmp_path / "predictions"))


def cells(folder: Path) -> set[str]:
    """Return every cell of every CSV below a folder."""
    found: set[str] = set()
    for path in folder.rglob("*.csv"):
        with path.open(encoding="utf-8-sig", newline="") as file:
            found |= {cell for row in csv.reader(file) for cell in row}
    return found


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_no_table_holds_a_formula(cli: Cli, run_folder: Path, dataset: Path, tmp_path: Path):
    for folder in ("images", "labels"):
        paths = sorted((dataset / folder).iterdir())
        for name, path in zip(FORMULAS, paths, strict=False):
            path.rename(path.with_name(name + path.suffix))
    (dataset / "images" / "=broken.png").write_bytes(b"none")
    shutil.copy(dataset / "labels" / "=1+2.tif", dataset / "labels" / "=broken.tif")
    out = tmp_path / "out"
    assert cli("predict", run_folder, dataset / "images", "--out", out / "p").code == 3
    assert cli("evaluate", out / "p", dataset, "--fields", "own").code == 3
    assert cli("density", out / "p", "--group-by", r"^(.*)$").code == 0
    assert cli("analyze", dataset, "--out", out / "a").code == 3
    assert cli("audit", dataset, "--out", out / "audit").code == 3
    assert cli("export", "labels", dataset, "--format", "fiji-roi", "--out", out / "e").code in (0, 3)
    assert [cell for cell in cells(out) if cell.startswith(("=", "+", "-", "@")) and not is_number(cell)] == []
    # What was written is read back under the names that were given.
    evaluated = read_table(out / "p" / "evaluation" / files.EVALUATION_IMAGES, ("image", "sample"))
    assert set(FORMULAS) < set(evaluated["sample"])
    page = (out / "p" / "evaluation" / files.REPORT_PAGE).read_text(encoding="utf-8")
    assert FORMULAS[0] in page
    assert "'=1+2" not in page


def evaluated(predictions: Path) -> dict[str, bytes]:
    return tree(predictions / "evaluation")


def renamed(dataset: Path, prefix: str) -> Path:
    """Rename every sample of a dataset."""
    for folder in ("images", "labels"):
        for path in sorted((dataset / folder).iterdir()):
            path.rename(path.with_name(prefix + path.name))
    return dataset


def test_an_evaluation_is_not_overwritten_by_one_of_nothing(cli: Cli, predictions: Path, beads: Path, dataset: Path):
    assert cli("evaluate", predictions, beads).code == 0
    before = evaluated(predictions)
    outcome = cli("evaluate", predictions, renamed(dataset, "n_"))
    assert outcome.code == 2
    assert "No prediction has the name of a sample (predictions: 80x" in outcome.err
    assert "samples: n_80x" in outcome.err
    assert evaluated(predictions) == before
    for path in (dataset / "labels").iterdir():
        path.write_bytes(b"spoilt")
    assert cli("evaluate", predictions, dataset).code == 2
    assert cli("evaluate", predictions, dataset, "--include", "nothing*").code == 2
    assert evaluated(predictions) == before


def test_a_result_of_less_says_what_it_replaced(cli: Cli, predictions: Path, beads: Path, tmp_path: Path):
    assert cli("evaluate", predictions, beads).code == 0
    assert "replaced an earlier result of 6 scored images by one of 1 scored image." in cli(
        "evaluate", predictions, beads, "--include", "*c0", "--exclude", "*r1*", "--exclude", "*-002*").out  # fmt: skip
    assert cli("analyze", beads, "--out", tmp_path / "a").code == 0
    less = cli("analyze", beads, "--out", tmp_path / "a", "--include", "*r0*")
    assert "replaced an earlier result of 6 images by one of " in less.out
    assert cli("density", predictions).code == 0
    rows = (predictions / files.COUNTS).read_text(encoding="utf-8").splitlines()
    (predictions / files.COUNTS).write_text("\n".join(rows[:3]) + "\n", encoding="utf-8")
    assert "replaced an earlier result of 6 images by one of 2 images." in cli("density", predictions).out


def test_a_second_dataset_that_cannot_be_read_leaves_the_first_analysis_as_it_was(
    cli: Cli, beads: Path, dataset: Path, tmp_path: Path
):
    out = tmp_path / "both"
    assert cli("analyze", beads, dataset, "--out", out).code == 0
    before = tree(out)
    for path in (dataset / "labels").iterdir():
        path.write_bytes(b"spoilt")
    assert cli("analyze", beads, dataset, "--out", out, "--include", "*r0*").code == 2
    assert tree(out) == before


def self_scored(kind: str, predictions: Path, beads: Path, tmp_path: Path) -> Path:
    """Return a dataset whose truth is the predictions themselves, in one of the ways in which that happens."""
    if kind == "the same folder":
        return predictions
    if kind == "another prediction folder":
        return Path(shutil.copytree(predictions, tmp_path / "again"))
    data = tmp_path / "truth"
    data.mkdir()
    shutil.copytree(beads / "images", data / "images")
    if kind == "predicted into the dataset":
        shutil.copytree(predictions, data, dirs_exist_ok=True)
    elif kind == "linked folder":
        (data / "labels").symlink_to(predictions / "labels", target_is_directory=True)
    else:
        (data / "labels").mkdir()
        for path in (predictions / "labels").iterdir():
            (data / "labels" / path.name).hardlink_to(path)
    return data


KINDS = ["the same folder", "another prediction folder", "predicted into the dataset", "linked folder", "hard links"]


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_not_scored_against_themselves(
    cli: Cli, predictions: Path, beads: Path, tmp_path: Path, kind: str
):
    data = self_scored(kind, predictions, beads, tmp_path)
    outcome = cli("evaluate", predictions, data)
    outcome.is_refusal(2, "rediction", "labels" if "link" in kind else data.name)
    assert not (predictions / "evaluation").exists()


def test_a_copy_of_the_predictions_as_truth_is_told(cli: Cli, predictions: Path, beads: Path, tmp_path: Path):
    data = tmp_path / "truth"
    shutil.copytree(beads / "images", data / "images")
    shutil.copytree(predictions / "labels", data / "labels")
    outcome = cli("evaluate", predictions, data)
    assert outcome.code == 5
    assert "Every prediction equals its annotation in every pixel." in outcome.out
    page = (predictions / "evaluation" / files.REPORT_PAGE).read_text(encoding="utf-8")
    assert "Every prediction equals its annotation in every pixel." in page


def pictures(page: Path) -> int:
    return page.read_text(encoding="utf-8").count("<img src=")


@pytest.fixture
def project(cli: Cli, beads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a run, a prediction and an evaluation were made with relative paths."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    shutil.copytree(beads, "beads")
    assert cli("train", "beads", "--out", "run", *SHORT).code in (0, 5)
    assert cli("predict", "run", "beads/images", "--out", "predictions").code in (0, 5)
    assert cli("evaluate", "predictions", "beads").code == 0
    return folder


def test_pages_survive_another_working_directory_and_a_move(
    cli: Cli, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    kinds = ("run", "predictions", "predictions/evaluation")
    before = {kind: pictures(project / kind / files.REPORT_PAGE) for kind in kinds}
    assert all(before.values())
    monkeypatch.chdir(project / "run")
    for kind in kinds:
        assert cli("report", project / kind).code == 0
    moved = tmp_path / "elsewhere" / "moved"
    moved.parent.mkdir()
    monkeypatch.chdir(tmp_path)
    project.rename(moved)
    for kind in kinds:
        (moved / kind / files.REPORT_PAGE).unlink()
        assert cli("report", moved / kind).code == 0
        assert pictures(moved / kind / files.REPORT_PAGE) == before[kind]
    image = read_prediction(moved / "predictions")[0]  # the image itself, not the overlay, which has colours
    assert image[2] == "image"
    assert not image[1]["rgb"]


def test_a_fuller_page_is_kept_and_the_missing_pictures_are_named(cli: Cli, project: Path, tmp_path: Path):
    (project / "beads").rename(tmp_path / "far away")
    for kind in ("run", "predictions/evaluation"):
        page = project / kind / files.REPORT_PAGE
        before = page.read_bytes()
        outcome = cli("report", kind)
        assert outcome.code == 2
        assert "could not be made: " in outcome.out
        assert f"Only 0 of its {pictures(page)} picture" in outcome.err
        assert "--dataset DIR" in outcome.err
        assert page.read_bytes() == before
        assert cli("report", kind, "--dataset", tmp_path / "far away").code == 0
        page.unlink()
        assert cli("report", kind).code == 3
        assert pictures(page) == 0


def test_overlays_that_are_gone_leave_the_page_of_a_prediction(
    cli: Cli, predictions: Path, beads: Path, tmp_path: Path
):
    assert cli("report", predictions).code == 0
    before = (predictions / files.REPORT_PAGE).read_bytes()
    for path in (predictions / files.OVERLAYS).iterdir():
        path.unlink()
    assert cli("report", predictions).code == 2
    assert (predictions / files.REPORT_PAGE).read_bytes() == before
    assert cli("report", predictions, "--dataset", beads).code == 2


def test_images_without_beads_open_in_the_viewer(cli: Cli, run_folder: Path, beads: Path, tmp_path: Path):
    one = sorted((beads / "images").iterdir())[0]
    pixels = iio.imread(one)
    blank = np.full_like(pixels, 128)
    for name, values in {
        "mixed": {"a.tif": pixels, "blank.tif": blank},
        "nothing": {"one.tif": blank},
        "none of two": {"one.tif": blank, "two.tif": blank},
        "a stack with an empty plane": {"stack.tif": np.stack([pixels, blank])},
        "an empty stack": {"stack.tif": np.stack([blank, blank]), "other.tif": np.stack([pixels, blank])},
    }.items():
        folder = tmp_path / name
        (folder / "in").mkdir(parents=True)
        for file, array in values.items():
            tifffile.imwrite(folder / "in" / file, array, photometric="minisblack")
        assert cli("predict", run_folder, folder / "in", "--out", folder / "out").code in (0, 5)
        rows = (folder / "out" / files.COUNTS).read_text(encoding="utf-8").splitlines()[1:]
        layers = read_prediction(folder / "out")
        assert [kind for _, _, kind in layers] == ["image", "labels", "points"]
        _, labels, points = (np.asarray(data) for data, _, _ in layers)
        assert points.shape == (sum(int(row.split(",")[2]) for row in rows), labels.ndim)
        assert len(layers[2][1]["features"]) == len(points)
        for table in (folder / "out" / files.BEADS).glob("*.csv"):
            assert read_bead_table(table)[0][0].shape[1] >= 2


def test_the_viewer_shows_what_a_killed_process_had_not_listed_yet(predictions: Path, beads: Path):
    """As a kill leaves it: the last image in the journal alone, its results half moved, its row cut off."""
    whole = [np.asarray(data) for data, _, _ in read_prediction(predictions)]
    table, labels = predictions / files.COUNTS, sorted((predictions / files.LABELS).iterdir())
    rows, name = table.read_text(encoding="utf-8").splitlines(), labels[-1].stem
    names, at = rows[0].split(","), next(at for at, row in enumerate(rows) if row.startswith(name))
    document = json.loads((predictions / files.PREDICTION).read_text(encoding="utf-8"))
    stage = predictions / f"{files.TEMPORARY_PREFIX}stage-1{files.TEMPORARY_SUFFIX}"
    (stage / files.LABELS).mkdir(parents=True)
    shutil.move(labels[-1], stage / files.LABELS)
    cells = next(csv.reader([rows.pop(at)]))
    entry = {"image": name, "source": document["images"].pop(name), "rows": [dict(zip(names, cells, strict=True))],
             "files": [f"labels/{name}.tif", f"beads/{name}.csv"], "stage": stage.name}  # fmt: skip
    (predictions / files.UNMERGED).write_text(json.dumps(entry) + "\n", encoding="utf-8")
    (predictions / files.PREDICTION).write_text(json.dumps(document), encoding="utf-8")
    table.write_text("\n".join([*rows, name[:5]]), encoding="utf-8")
    shown = read_prediction(predictions)
    assert [kind for _, _, kind in shown] == ["image", "labels", "points"]
    for before, (now, _, _) in zip(whole, shown, strict=True):
        assert np.array_equal(before, np.asarray(now))


def test_the_viewer_shows_nothing_of_an_image_that_failed_before_the_kill(predictions: Path):
    name = sorted((predictions / files.LABELS).iterdir())[-1].stem
    entry = {"image": name, "source": "somewhere", "error": "It failed."}
    (predictions / files.UNMERGED).write_text(json.dumps(entry) + "\n", encoding="utf-8")
    assert all(name not in str(shown["metadata"]) for _, shown, _ in read_prediction(predictions))


COMMANDS = {
    "evaluate": (files.EVALUATION_IMAGES, files.EVALUATION, files.EVALUATION_GROUPS),
    "density": (files.DENSITY_IMAGES, files.DENSITY, files.DENSITY_GROUPS),
    "analyze": (files.IMAGE_STATS, files.SUMMARY),
    "audit": (files.AUDIT_TABLE, files.AUDIT),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_table_that_is_open_elsewhere_loses_nothing(
    cli: Cli, predictions: Path, beads: Path, tmp_path: Path, command: str
):
    """A folder in its place stands for a table that is open in Excel on Windows: neither can be replaced."""
    held, *others = COMMANDS[command]
    out = tmp_path / "out"
    words = {"evaluate": [predictions, beads], "density": [predictions], "analyze": [beads], "audit": [beads]}[command]
    (out / held).mkdir(parents=True)
    told = cli(command, *words, "--out", out)
    told.is_refusal(4, f"Cannot be replaced: {held}", "Another program has it open", "-new", "run the command again")
    assert all((out / name).stat().st_size for name in (*others, files.beside(out / held).name))
    assert (out / held).is_dir()
    if command in ("evaluate", "density"):
        assert (out / files.REPORT_PAGE).is_file()
    (out / held).rmdir()
    assert cli(command, *words, "--out", out).code in (0, 3)
    assert (out / held).is_file()
    assert not list(out.glob("*-new*"))


@pytest.mark.parametrize("place", ["predictions", "dataset", "run"])
def test_an_evaluation_never_replaces_files_of_something_else(
    cli: Cli, predictions: Path, dataset: Path, run_copy: Path, place: str
):
    out = {"predictions": predictions, "dataset": dataset, "run": run_copy}[place]
    before = tree(out)
    cli("evaluate", predictions, dataset, "--out", out).is_refusal(2, str(out), "an evaluation cannot be written there")
    assert tree(out) == before


@pytest.mark.parametrize("spoil", ["text", "nothing", "fraction", "twice", "width"])
def test_a_row_that_was_spoilt_by_hand_is_predicted_again(
    cli: Cli, run_folder: Path, beads: Path, predicted: Path, tmp_path: Path, spoil: str
):
    out = Path(shutil.copytree(predicted, tmp_path / "out"))
    right = pd.read_csv(out / files.COUNTS, dtype=str, keep_default_na=False)
    table = right.copy()
    if spoil == "twice":
        table = pd.concat([table, table.iloc[[2]]])
    elif spoil == "width":
        table.loc[2, "width"] = "?"
    else:
        table.loc[2, "beads"] = {"text": "abc", "nothing": "", "fraction": "3.5"}[spoil]
    table.to_csv(out / files.COUNTS, index=False)
    outcome = cli("predict", run_folder, beads / "images", "--out", out, "--no-report")
    assert outcome.code in (ExitCode.OK, ExitCode.FLAGGED), outcome.err
    again = pd.read_csv(out / files.COUNTS, dtype=str, keep_default_na=False)
    assert sorted(again["image"]) == sorted(right["image"])
    assert again.set_index("image").loc[right["image"][2], "beads"] == right["beads"][2]


def test_images_that_are_renamed_copied_or_removed_are_not_counted_in_silence(
    cli: Cli, run_folder: Path, beads: Path, tmp_path: Path
):
    images, out = Path(shutil.copytree(beads / "images", tmp_path / "images")), tmp_path / "out"
    first, second, third = sorted(images.iterdir())[:3]
    fresh = cli("predict", run_folder, images, "--out", out, "--no-report").out
    assert "all counted" not in fresh
    assert "still counted" not in fresh
    first.rename(images / f"renamed{first.suffix}")
    shutil.copy(second, images / f"copy{second.suffix}")
    third.unlink()
    again = cli("predict", run_folder, images, "--out", out, "--no-report").out
    assert f"{first.stem} = renamed" in again
    assert f"{second.stem} = copy" in again
    assert f"2 images are not there any more, and still counted: {first.stem}, {third.stem}." in again
    assert "new --out folder" in again


def test_a_folder_in_place_of_a_file_is_named(cli: Cli, beads: Path, tmp_path: Path):
    folder = tmp_path / "scores.csv"
    folder.mkdir()
    outcome = cli("review", beads, "agreement", "--other", beads / "labels", "--out", folder)
    outcome.is_refusal(ExitCode.MACHINE, "scores.csv: Is a folder, where a file is to be written.")


@pytest.mark.parametrize("command", ["train", "crossval", "sweep", "audit"])
def test_nothing_is_written_among_the_files_of_a_dataset(cli: Cli, dataset: Path, tmp_path: Path, command: str):
    space = tmp_path / "space.yaml"
    space.write_text("method: {kind: grid}\nparameters: {optimizer.lr: [0.01]}\n")
    more: dict[str, list[str | Path]] = {"crossval": ["--folds", "2"], "sweep": ["--space", space]}
    before = tree(dataset)
    for out in (dataset, dataset / files.LABELS):
        refused = cli(command, dataset, "--out", out, *more.get(command, []))
        refused.is_refusal(ExitCode.INPUT, "Belongs to the dataset", "Give a folder of its own")
    assert tree(dataset) == before


@pytest.mark.parametrize(("command", "into"), [("train", "predicted"), ("crossval", "run"), ("audit", "run")])
def test_a_result_never_goes_among_the_files_of_another(
    cli: Cli, beads: Path, run_copy: Path, predicted: Path, tmp_path: Path, command: str, into: str
):
    out = run_copy if into == "run" else Path(shutil.copytree(predicted, tmp_path / "predicted"))
    before = tree(out)
    refused = cli(command, beads, "--out", out, *(["--folds", "2"] if command == "crossval" else []))
    refused.is_refusal(ExitCode.INPUT, "of something else", "Give a folder of its own")
    assert tree(out) == before


def test_scores_of_images_that_were_trained_on_say_so(cli: Cli, predicted: Path, beads: Path, tmp_path: Path):
    done = cli("evaluate", predicted, beads, "--out", tmp_path / "evaluation")
    assert "The model was trained or chosen with 6 of 6 scored images" in done.out


def test_copies_on_both_sides_of_a_split_are_named(cli: Cli, dataset: Path, tmp_path: Path):
    for folder in (files.IMAGES, files.LABELS):
        one, *_, other = sorted((dataset / folder).iterdir())
        shutil.copy(one, other)
    names = [path.stem for path in sorted((dataset / files.IMAGES).iterdir())]
    split = "".join(f"{name},{'val' if name == names[-1] else 'train'}\n" for name in names)
    (tmp_path / "split.csv").write_text(f"sample,fold\n{split}")
    done = cli("train", dataset, "--out", tmp_path / "run", "--split-file", tmp_path / "split.csv", *SHORT)
    assert f"1 validation image is the same as training images ({names[-1]} and {names[0]})" in done.out
