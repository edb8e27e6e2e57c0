"""`beadseg-batch import` and `export`, as they are typed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile

from beadseg.cli import app
from beadseg.data.annotations.exporting import ExportOptions, export_labels, labels_of_dataset
from beadseg.data.dataset import Dataset
from beadseg.data.image_io import read_labels
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.errors import Cancelled, ExitCode
from beadseg.events import Event, StopFlag


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three simulated images with labels."""
    out = tmp_path_factory.mktemp("simulated") / "beads"
    scene = SceneConfig(height=96, width=128, beads=25)
    write_dataset(out, SeriesConfig(scene=scene, tiles=3, dilutions=(1,), fields=1, seed=3))
    return out


def run(*arguments: object) -> int:
    return app.main([str(argument) for argument in arguments])


def labels_of(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: tifffile.imread(path) for path in sorted((folder / "labels").iterdir())}


@pytest.mark.parametrize("kind", ["coco", "fiji-roi"])
def test_there_and_back(kind: str, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    extra = ["--polygons"] if kind == "coco" else []
    assert run("export", "labels", dataset, "--format", kind, "--out", tmp_path / "sent", *extra) == ExitCode.OK
    assert "Labels of 3 images" in capsys.readouterr().out
    source = tmp_path / "sent/annotations.json" if kind == "coco" else tmp_path / "sent"
    assert run("import", kind, source, "--images", dataset / "images", "--out", tmp_path / "back") == ExitCode.OK
    assert "3 images with" in capsys.readouterr().out
    before, after = labels_of(dataset), labels_of(tmp_path / "back")
    assert list(before) == list(after)
    assert all(np.array_equal(before[name], after[name]) for name in before)
    for path in (dataset / "images").iterdir():
        assert (tmp_path / "back/images" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(version: str, dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "sent"
    command = ("export", "labels", dataset, "--format", "ome-zarr", "--ome-version", version, "--out", out)
    assert run(*command) == ExitCode.OK
    for name, labels in labels_of(dataset).items():
        found = read_labels(out / f"{name}.ome.zarr").labels
        assert found is not None
        assert np.array_equal(found, labels)


def test_masks_and_hostile_names(tmp_path: Path) -> None:
    name = "b & <script>, 'é'"
    mask = np.zeros((20, 30), np.uint8)
    mask[2:8, 2:8] = mask[12:15, 20:29] = 255
    for folder in ("images", "masks"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        iio.imwrite(tmp_path / "in" / folder / f"{name}.png", mask)
    for kind in ("coco", "fiji-roi"):
        out, back = tmp_path / kind, tmp_path / f"{kind}-back"
        assert run("export", "labels", tmp_path / "in", "--format", kind, "--out", out) == ExitCode.OK
        source = out / "annotations.json" if kind == "coco" else out
        assert run("import", kind, source, "--images", tmp_path / "in/images", "--out", back) == ExitCode.OK
        sample = Dataset.open(back)[name]
        assert np.array_equal(sample.read_target().foreground, mask > 0)
        assert sample.read_target().objects == 2


def test_prediction_folder_with_one_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = np.zeros((20, 30), np.uint32)
    labels[2:8, 2:8], labels[5, 20] = 3, 70_000
    (tmp_path / "in/labels").mkdir(parents=True)
    tifffile.imwrite(tmp_path / "in/labels/a.tif", labels, resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    (tmp_path / "in/labels/b.tif").write_bytes(b"II*\0damaged")
    (tmp_path / "in/labels/notes.txt").write_text("mine")
    out = tmp_path / "out"
    assert run("export", "labels", tmp_path / "in", "--format", "coco", "--out", out) == ExitCode.SOME_FAILED
    told = capsys.readouterr().out
    assert "notes.txt" in told
    assert "failed: b" in told
    with (out / "failures.csv").open(newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["b"]
    document = json.loads((out / "annotations.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["a.tif"]
    assert document["images"][0]["pixel_size_um"] == pytest.approx(0.5)
    assert [row["attributes"]["label_id"] for row in document["annotations"]] == [3, 70_000]


def test_problems_end_with_exit_code_3(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "labels", dataset, "--format", "coco", "--out", tmp_path / "sent", "-q") == ExitCode.OK
    path = tmp_path / "sent/annotations.json"
    document = json.loads(path.read_text())
    document["annotations"][0]["segmentation"] = [[1, 2]]
    document["images"][1]["file_name"] = "=HYPERLINK(1),\n.png"
    path.write_text(json.dumps(document))
    command = ("import", "coco", path, "--images", dataset / "images", "--out", tmp_path / "back")
    capsys.readouterr()
    assert run(*command, "--json") == ExitCode.SOME_FAILED
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events[-1]["kind"] == "result"
    assert events[-1]["data"]["images"] == 2
    assert events[-1]["data"]["failed"] == 3
    with (tmp_path / "back/failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert any("Annotation 1" in row["error"] for row in rows)
    assert run(*command) == ExitCode.INPUT
    assert "not empty" in capsys.readouterr().err


def test_many_problems_are_not_all_printed(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("export", "labels", dataset, "--format", "coco", "--out", tmp_path / "sent")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(50):
        iio.imwrite(images / f"other{number}.png", np.zeros((4, 4), np.uint8))
    for path in (dataset / "images").iterdir():
        (images / path.name).write_bytes(path.read_bytes())
    capsys.readouterr()
    command = ("import", "coco", tmp_path / "sent/annotations.json", "--images", images, "--out", tmp_path / "back")
    assert run(*command) == ExitCode.SOME_FAILED
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) < 30
    assert "30 more" in lines[-1]
    assert len((tmp_path / "back/failures.csv").read_text().splitlines()) == 51


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "yolo", "a.json", "--images", ".", "--out", "x"),
        ("import", "coco", "missing.json", "--images", ".", "--out", "x"),
        ("import", "fiji-roi", "missing.zip", "--images", ".", "--out", "x"),
        ("export", "masks", ".", "--format", "coco", "--out", "x"),
        ("export", "labels", ".", "--format", "coco", "--out", "x"),
        ("export", "labels", ".", "--out", "x"),
    ],
)
def test_wrong_use(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == ExitCode.INPUT
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["coco", "fiji-roi", "ome-zarr"])
def test_export_without_one_good_sample(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in/labels").mkdir(parents=True)
    (tmp_path / "in/labels/b.tif").write_bytes(b"II*\0damaged")
    out = tmp_path / "new/out"
    assert run("export", "labels", tmp_path / "in", "--format", kind, "--out", out) == ExitCode.INPUT
    assert "None of the samples could be exported. The first failure: b: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_empty_category(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("export", "labels", dataset, "--format", "coco", "--out", tmp_path / "out", "--category", "")
    assert run(*command) == ExitCode.INPUT
    assert "--category: The name of the category is empty." in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_stopped_export_says_how_to_go_on(dataset: Path, tmp_path: Path) -> None:
    def stop_after_one(event: Event) -> None:
        if event.data.get("done") == 0:
            stop.set()

    stop = StopFlag()
    samples = labels_of_dataset(Dataset.open(dataset))
    with pytest.raises(Cancelled, match="Nothing was written"):
        export_labels(samples, tmp_path / "out", ExportOptions("fiji-roi"), stop_after_one, stop)
    assert not (tmp_path / "out").exists()
    assert export_labels(samples, tmp_path / "out", ExportOptions("fiji-roi")).images == len(samples)


def test_failures_name_their_image_once(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("export", "labels", dataset, "--format", "coco", "--out", tmp_path / "sent")
    path = tmp_path / "sent/annotations.json"
    document = json.loads(path.read_text())
    name = document["images"][0]["file_name"]
    document["images"][0]["height"] = 7
    path.write_text(json.dumps(document))
    capsys.readouterr()
    command = ("import", "coco", path, "--images", dataset / "images", "--out", tmp_path / "back")
    assert run(*command) == ExitCode.SOME_FAILED
    assert f"left out or changed: {name}: Is 128x96 px" in capsys.readouterr().out
    for image in document["images"]:
        image["height"] = 7
    path.write_text(json.dumps(document))
    assert run(*command[:-1], tmp_path / "none") == ExitCode.INPUT
    assert ").)" not in (told := capsys.readouterr().err)
    assert "The first failure: " in told
