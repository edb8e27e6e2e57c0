"""What a prediction folder knows of its images: names, what is skipped, and what a kill or a failure leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile

from beadseg import files
from beadseg.data.dataset import Dataset
from beadseg.data.documents import LONGEST_NAME, names_of, plain_name
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import BusyError, Cancelled, InputError
from beadseg.events import Event, StopFlag
from beadseg.measure import density
from beadseg.measure.concentration.densities import read_counts
from beadseg.measure.evaluation import evaluate
from beadseg.predict import Segmenter
from beadseg.predict.batch import find_images, predict_folder
from beadseg.predict.tables import BatchResult
from beadseg.runtime.locking import locked

SCENE = SceneConfig(height=64, width=72, beads=12, debris=0, cluster_probability=0, channels="grey")


@pytest.fixture
def segmenter(segmenter: Segmenter) -> Segmenter:
    """A model that is known by a file."""
    segmenter.model_sha256 = "abc"
    return segmenter


def image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, simulate(SCENE, seed).image)
    return path


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [image(tmp_path / "images" / f"tile_{seed}.png", seed) for seed in range(4)]


def counts(out: Path) -> dict[str, int]:
    table = pd.read_csv(out / files.COUNTS, dtype={"image": str})
    assert not table.duplicated(["image", "plane"]).any()
    return dict(zip(table["image"], table["beads"], strict=True))


def labelled(out: Path) -> set[str]:
    return {path.stem for path in (out / files.LABELS).iterdir()}


def said(events: list[Event], kind: str) -> list[str]:
    return [event.message for event in events if event.kind == kind]


class Again:
    """Predicts into one folder again and again, and remembers what was told."""

    def __init__(self, segmenter: Segmenter, out: Path) -> None:
        self.segmenter, self.out = segmenter, out
        self.events: list[Event] = []

    def __call__(self, images: list[Path], **options: object) -> BatchResult:
        self.events.clear()
        given = {"model_sha256": self.segmenter.model_sha256, "on_event": self.events.append, **options}
        return predict_folder(self.segmenter, images, self.out, **given)

    @property
    def predicted(self) -> list[str]:
        return [event.data["image"] for event in self.events if event.kind == "count"]


@pytest.fixture
def predict(segmenter: Segmenter, tmp_path: Path) -> Again:
    return Again(segmenter, tmp_path / "out")


# --- Names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["A01/f.png", "A02/f.png", "g.png"], ["A01_f", "A02_f", "g"]),
        (["a/x.png", "a/x.tif"], ["x_png", "x_tif"]),
        (["a/x.png", "a/x.ome.tif", "b/x.png"], ["a_x_png", "a_x_ome_tif", "b_x_png"]),
        (["p/A01/f.png", "q/A01/f.png"], ["p_A01_f", "q_A01_f"]),
        (["a/X.png", "b/x.png"], ["a_X", "b_x"]),
        (["a/caf\u00e9.png", "b/cafe\u0301.png"], ["a_caf\u00e9", "b_caf\u00e9"]),
        (["A01/f.png", "A02/f.png", "A01_f.png"], ["A01_f_png", "A02_f_png", "A01_f"]),
    ],
)  # fmt: skip
def test_a_stem_that_repeats_gets_its_folder(paths: list[str], names: list[str]):
    assert list(names_of([Path("/data", path) for path in paths]).values()) == names


def test_a_name_of_another_source_is_never_taken_over():
    known = {"f": "/data/A01/f.png", "A02_f": "/elsewhere/A02_f.png"}
    names = names_of([Path("/data/A02/f.png"), Path("/data/A01/f.png")], known)
    assert names[Path("/data/A01/f.png")] == "f"
    assert names[Path("/data/A02/f.png")] not in known


@pytest.mark.parametrize(
    "name", ["-rf", "=SUM(1)", ".hidden", " a ", "a.", "a\nb", "a\\b", "a\tb", "@x", "+1", "'x", ""]
)
def test_a_name_is_one_that_every_command_takes(name: str):
    plain = plain_name(name)
    assert plain
    assert plain.strip(" .") == plain
    assert plain.isprintable()
    assert not plain.startswith(("-", "=", "+", "@", "'"))
    assert not set(plain) & set("/\\")


def test_long_names_are_cut_and_stay_apart():
    names = names_of([Path(f"/data/{'い' * 83}{end}.png") for end in "ab"])
    assert len(set(names.values())) == 2
    assert all(len(name.encode()) <= LONGEST_NAME for name in names.values())


def test_many_images_of_one_stem_get_names_in_one_pass():
    paths = [Path(f"/plate/{well}/field.tif") for well in range(3000)]
    names = names_of(paths, {"field": "/other/field.tif"})
    assert len(set(names.values())) == 3000
    assert names[paths[7]] == "7_field"


def test_the_planes_of_a_stack_never_take_the_files_of_another_image(predict: Again, tmp_path: Path):
    stack = np.stack([simulate(SCENE, seed).image for seed in (1, 2)])
    single = image(tmp_path / "in" / "a_t000.png", 3)
    tifffile.imwrite(tmp_path / "in" / "a.tif", stack, photometric="minisblack", metadata={"axes": "TYX"})
    predict([tmp_path / "in" / "a.tif", single])
    pictures = list((predict.out / files.OVERLAYS).iterdir())
    assert len(pictures) == 3
    assert len(read_counts(predict.out)) == 3


def test_one_file_given_in_several_ways_is_one_image(
    predict: Again, images: list[Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(images[0].parent)
    link = images[0].with_name("link.png")
    link.symlink_to(images[0])
    result = predict([Path(images[0].name), images[0], images[0].parent / ".." / "images" / images[0].name, link])
    assert "3 images are named more than once; each is counted once." in said(predict.events, "log")
    assert list(result.counts["image"]) == ["tile_0"]
    assert labelled(predict.out) == {"tile_0"}


def test_same_names_from_two_folders_are_two_images_also_in_two_commands(predict: Again, tmp_path: Path):
    one, other = image(tmp_path / "day1" / "x.png", 1), image(tmp_path / "day2" / "x.png", 2)
    predict([one])
    first = tifffile.imread(predict.out / files.LABELS / "x.tif")
    predict([other])
    assert labelled(predict.out) == {"x", "day2_x"}
    assert set(counts(predict.out)) == {"x", "day2_x"}
    assert (tifffile.imread(predict.out / files.LABELS / "x.tif") == first).all()
    predict([other], again=True)
    assert predict.predicted == ["day2_x"]
    assert set(counts(predict.out)) == {"x", "day2_x"}


# --- Going on ---------------------------------------------------------------------------------------------------------


def test_a_repeated_command_predicts_what_is_new_and_changed(predict: Again, images: list[Path]):
    first = predict(images[:2])
    assert first.skipped == 0
    result = predict(images)
    assert predict.predicted == ["tile_2", "tile_3"]
    assert result.skipped == 2
    assert list(result.counts["image"]) == [f"tile_{seed}" for seed in range(4)]
    assert result.counts["beads"].sum() == sum(counts(predict.out).values())
    text = "Skipped 2 images of 4: predicted before, with the same model and options. Use --again to predict again."
    assert text in said(predict.events, "log")
    image(images[1], seed=9)
    predict(images)
    assert predict.predicted == ["tile_1"]


def test_what_was_only_touched_or_copied_is_not_predicted_again(predict: Again, images: list[Path]):
    predict(images)
    os.utime(images[0], (1, 1))
    assert predict(images).skipped == 4


def test_other_options_another_model_and_again_predict_anew(predict: Again, images: list[Path]):
    predict(images)
    predict(images, again=True)
    assert len(predict.predicted) == 4
    predict(images, maps=True)
    assert len(predict.predicted) == 4
    assert predict(images, overlays=False).skipped == 4
    predict.segmenter.options = predict.segmenter.options.with_overrides(["objects.threshold=0.4"])
    predict(images[:1])
    assert predict.predicted == ["tile_0"]
    assert any("predicted with other options" in text for text in said(predict.events, "log"))
    predict.segmenter.model_sha256 = ""
    predict(images[:1], model_sha256="")
    assert predict.predicted == ["tile_0"], "a model without a file is never known to be the same"


def test_results_that_are_gone_are_made_again(predict: Again, images: list[Path]):
    predict(images)
    (predict.out / files.LABELS / "tile_1.tif").unlink()
    shutil.rmtree(predict.out / files.OVERLAYS)
    predict(images, overlays=False)
    assert predict.predicted == ["tile_1"]


def test_a_folder_that_was_moved_with_its_images_goes_on(predict: Again, images: list[Path], tmp_path: Path):
    predict(images)
    (tmp_path / "project").mkdir()
    shutil.copytree(tmp_path / "images", tmp_path / "project" / "images")  # without the times
    shutil.rmtree(tmp_path / "images")
    shutil.move(predict.out, tmp_path / "project" / "out")
    predict.out = tmp_path / "project" / "out"
    moved = [tmp_path / "project" / "images" / path.name for path in images]
    assert predict(moved).skipped == 4
    assert set(counts(predict.out)) == {path.stem for path in images}
    assert json.loads((predict.out / files.PREDICTION).read_text())["images"]["tile_0"] == str(moved[0])


def test_more_planes_than_now_leave_nothing_behind(predict: Again, tmp_path: Path):
    stack = np.stack([simulate(SCENE, seed).image for seed in (1, 2, 3)])
    path = tmp_path / "in" / "s.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "TYX"})
    predict([path], maps=True)
    tifffile.imwrite(path, stack[0], photometric="minisblack")
    predict([path], overlays=False)
    found = sorted(
        str(file.relative_to(predict.out)) for file in predict.out.rglob("*.*") if file.parent != predict.out
    )
    assert found == ["beads/s.csv", "beads/s.parquet", "labels/s.tif", "masks/s.png"]
    assert len(read_counts(predict.out)) == 1


# --- Interrupted ------------------------------------------------------------------------------------------------------


def test_stopping_takes_no_row_away(predict: Again, images: list[Path]):
    predict(images)
    before = counts(predict.out)
    stop = StopFlag()

    def after_first(event: Event) -> None:
        if event.kind == "count":
            stop.set()

    with pytest.raises(Cancelled):
        predict(images, again=True, on_event=after_first, stop=stop)
    assert counts(predict.out) == before
    assert not list(predict.out.glob(f"{files.TEMPORARY_PREFIX}*"))
    assert not (predict.out / files.UNMERGED).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
import torch
torch.set_num_threads(1)
from predict_helpers import FINGERPRINT, Darkness
from beadseg.config import TrainConfig
from beadseg.predict import Segmenter
from beadseg.predict.batch import find_images, predict_folder
config = TrainConfig.preset("dense", "unet").with_overrides(
    ["image.channels.kind=grey", "predict.objects.diameter=7", "predict.precision=fp32"])
segmenter = Segmenter(Darkness(), config, FINGERPRINT, torch.device("cpu"))
seen = []
def kill(event):
    seen.append(event.kind)
    if seen.count("count") == 3:
        os.kill(os.getpid(), signal.SIGKILL)
predict_folder(segmenter, find_images([Path({images!r})]), {out!r}, model_sha256="abc", again={again}, on_event=kill)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_takes_no_row_away_and_loses_no_image(predict: Again, images: list[Path]):
    here = [str(Path(__file__).parent), *sys.path]
    words = {"path": here, "images": str(images[0].parent), "out": str(predict.out)}
    done = subprocess.run([sys.executable, "-c", KILLED.format(**words, again=False)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert set(counts(predict.out)) == labelled(predict.out) == {"tile_0", "tile_1", "tile_2"}
    predict(images)
    assert predict.predicted == ["tile_3"]
    assert list(counts(predict.out)) == [f"tile_{seed}" for seed in range(4)]
    assert not list(predict.out.glob(f"{files.TEMPORARY_PREFIX}*"))


def test_what_was_complete_at_a_kill_is_moved_to_its_place(predict: Again, images: list[Path], tmp_path: Path):
    predict(images)
    document = json.loads((predict.out / files.PREDICTION).read_text())
    # as a kill in the middle of a move leaves it: an older result of tile_1 in the table, a part of the new one moved
    rows = pd.read_csv(predict.out / files.COUNTS, keep_default_na=False).astype(str)
    stage = predict.out / f"{files.TEMPORARY_PREFIX}stage-1{files.TEMPORARY_SUFFIX}"
    row = rows[rows["image"] == "tile_1"].iloc[0].to_dict()
    names = ["labels/tile_1.tif", "masks/tile_1.png", "beads/tile_1.csv", "beads/tile_1.parquet", "overlays/tile_1.png"]
    entry = {"image": "tile_1", "source": str(images[1]), "rows": [row], "result": document["results"].pop("tile_1"),
             "files": names, "stage": stage.name}  # fmt: skip
    (predict.out / files.UNMERGED).write_text(f'{json.dumps(entry)}\n{{"image": "tile_2", "err')
    new = {name: (predict.out / name).read_bytes() for name in names}
    for name in names[:3]:
        (stage / name).parent.mkdir(parents=True)
        shutil.move(predict.out / name, stage / name)
        (predict.out / name).write_bytes(b"old")
    rows.loc[rows["image"] == "tile_1", "beads"] = "7"
    rows.to_csv(predict.out / files.COUNTS, index=False)
    (predict.out / files.PREDICTION).write_text(json.dumps(document))
    # readers see what is true now, and the next command puts everything in its place
    assert {c.image: c.beads for c in read_counts(predict.out)}["tile_1"] == int(row["beads"])
    assert predict(images).skipped == 4
    assert {name: (predict.out / name).read_bytes() for name in names} == new
    assert counts(predict.out)["tile_1"] == int(row["beads"])
    assert not stage.exists()


def test_a_row_that_was_cut_off_is_taken_from_the_journal(predict: Again, images: list[Path]):
    predict(images[:2])
    table, document = predict.out / files.COUNTS, json.loads((predict.out / files.PREDICTION).read_text())
    row = pd.read_csv(table, keep_default_na=False, dtype=str).iloc[-1].to_dict()
    entry = {"image": "tile_1", "source": str(images[1]), "rows": [row], "result": document["results"]["tile_1"],
             "files": ["labels/tile_1.tif", "masks/tile_1.png"], "stage": "gone"}  # fmt: skip
    (predict.out / files.UNMERGED).write_text(json.dumps(entry) + "\n")
    before = table.read_bytes()
    table.write_bytes(before[: before.rindex(b"tile_1") + 4])
    assert [counted.image for counted in read_counts(predict.out)] == ["tile_0", "tile_1"]
    predict(images[:1])
    assert list(counts(predict.out)) == ["tile_0", "tile_1"]
    assert labelled(predict.out) == {"tile_0", "tile_1"}


def test_a_journal_of_somebody_else_writes_nothing_elsewhere(predict: Again, images: list[Path], tmp_path: Path):
    predict(images[:1])
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "x").write_text("x")
    entry = {"image": "../x", "source": "x", "rows": [], "result": {}, "files": ["../x"], "stage": "../evil"}
    (predict.out / files.UNMERGED).write_text("\n".join(json.dumps({**entry, "image": name}) for name in ("../x", "y")))
    predict(images[:1])
    assert not (tmp_path / "x").exists()
    assert (tmp_path / "evil" / "x").exists()


def test_one_process_at_a_time(predict: Again, images: list[Path]):
    predict(images[:1])
    before = (predict.out / files.COUNTS).read_bytes()
    with locked(predict.out), pytest.raises(BusyError, match=r"process \d+ on .* Wait until it has ended, or end it"):
        predict(images)
    assert (predict.out / files.COUNTS).read_bytes() == before


# --- Failures ---------------------------------------------------------------------------------------------------------


def test_an_image_that_fails_later_has_one_state_everywhere(predict: Again, images: list[Path]):
    predict(images, maps=True)
    images[1].write_bytes(images[1].read_bytes()[:200])
    result = predict(images)
    assert list(result.failures["image"]) == [str(images[1])]
    assert "tile_1" not in counts(predict.out)
    assert not list(predict.out.rglob("tile_1.*"))
    assert pd.read_csv(predict.out / files.FAILURES)["image"].tolist() == [str(images[1])]
    image(images[1], 1)
    predict(images)
    assert predict.predicted == ["tile_1"]
    assert not (predict.out / files.FAILURES).exists()


def test_results_of_the_very_file_and_options_stay_when_predicting_again_fails(predict: Again, images: list[Path]):
    predict(images)
    before = counts(predict.out)

    class Broken:
        def __getattr__(self, name: str) -> object:
            return getattr(predict.segmenter, name)

        def predict_planes(self, *given: object, **more: object) -> object:
            raise MemoryError

    result = predict_folder(Broken(), images[:1], predict.out, model_sha256="abc", again=True)
    assert "Its earlier results, of the same file and options, are kept" in result.failures["error"][0]
    assert counts(predict.out) == before
    assert "tile_0" in labelled(predict.out)
    assert not (predict.out / files.FAILURES).exists()


def test_a_long_name_stops_nothing(predict: Again, tmp_path: Path):
    names = ["a", "m" + "い" * 83, "z"]
    paths = [image(tmp_path / "in" / f"{name}.png", seed) for seed, name in enumerate(names)]
    result = predict(paths, maps=True)
    assert len(result.counts) == 3
    assert len(read_counts(predict.out)) == 3


def test_a_table_that_cannot_be_replaced_ends_nothing(
    predict: Again, images: list[Path], kept_open: Callable[[Path], AbstractContextManager[None]]
):
    predict(images[:1])
    with kept_open(predict.out / files.COUNTS):
        result = predict(images)
        assert result.unwritten == (predict.out / files.COUNTS,)
        assert len(result.counts) == 4
        (warning,) = said(predict.events, "warning")
        assert "counts-new.csv. Close the program and run the command again." in warning
        assert set(counts(predict.out)) == {"tile_0"}
        assert len(pd.read_csv(files.beside(predict.out / files.COUNTS))) == 4
        assert len(read_counts(predict.out)) == 4, "readers know of the rows that could not be written"
    result = predict(images)
    assert result.skipped == 4
    assert result.unwritten == ()
    assert len(counts(predict.out)) == 4
    assert not files.beside(predict.out / files.COUNTS).exists()
    assert not (predict.out / files.UNMERGED).exists()


def test_columns_that_a_person_added_and_rows_of_an_older_version_stay(predict: Again, images: list[Path]):
    predict(images[:2])
    table = pd.read_csv(predict.out / files.COUNTS, dtype=str, keep_default_na=False)
    table.assign(comment="mine").drop(columns="coverage").to_csv(
        predict.out / files.COUNTS, index=False, encoding="utf-8-sig"
    )
    predict(images)
    table = pd.read_csv(predict.out / files.COUNTS, dtype=str, keep_default_na=False)
    assert list(table["comment"]) == ["mine", "mine", "", ""]
    assert list(table["image"]) == [path.stem for path in images]


# --- Where results may go, and what they may be used for --------------------------------------------------------------


@pytest.mark.parametrize("out", ["data", "data/images", "data/labels", "data/masks", "data/review"])
def test_predictions_never_go_into_a_dataset(segmenter: Segmenter, tmp_path: Path, out: str):
    path = image(tmp_path / "data" / "images" / "a.png")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="Belongs to the dataset"):
        predict_folder(segmenter, [path], tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before


def test_predictions_never_go_over_their_images(segmenter: Segmenter, tmp_path: Path):
    path = image(tmp_path / "data" / "tiles" / "a.png")
    for out in (path.parent, path.parent.parent):
        with pytest.raises(InputError, match="Holds an image to be predicted"):
            predict_folder(segmenter, [path], out)


def test_a_prediction_is_never_opened_as_annotation(predict: Again, tmp_path: Path):
    predict([image(tmp_path / "tiles" / "a.png")])
    shutil.copytree(tmp_path / "tiles", predict.out / "tiles")
    with pytest.raises(InputError, match="Holds predictions of a model, not annotations"):
        Dataset.open(predict.out, images="tiles")
    data = tmp_path / "data"
    shutil.copytree(tmp_path / "tiles", data / "images")
    (data / "labels").symlink_to(predict.out / files.LABELS)
    with pytest.raises(InputError, match="Holds predictions of a model, not annotations"):
        Dataset.open(data)


# --- Readers ----------------------------------------------------------------------------------------------------------


def truth(folder: Path, seed: int) -> Path:
    """Write a dataset of one image ``x`` with its true labels."""
    scene = simulate(SCENE, seed)
    image(folder / "images" / "x.png", seed)
    (folder / "labels").mkdir()
    tifffile.imwrite(folder / "labels" / "x.tif", scene.labels.astype(np.uint16))
    return folder


def test_evaluation_pairs_by_source_then_by_content_then_by_name(predict: Again, tmp_path: Path):
    for seed in (1, 2):
        truth(tmp_path / f"day{seed}", seed)
    predict(find_images([tmp_path / "day1" / "images"]))
    predict(find_images([tmp_path / "day2" / "images"]))
    assert set(counts(predict.out)) == {"x", "images_x"}
    second = evaluate(predict.out, Dataset.open(tmp_path / "day2")).images[0]
    assert second.predicted_count == counts(predict.out)["images_x"]
    assert second.f1 > 0.9
    shutil.copytree(tmp_path / "day2", tmp_path / "copied")
    assert evaluate(predict.out, Dataset.open(tmp_path / "copied")).images[0].f1 == second.f1
    other = truth(tmp_path / "other", 3)
    events: list[Event] = []
    by_name = evaluate(predict.out, Dataset.open(other), on_event=events.append).images[0]
    assert by_name.predicted_count == counts(predict.out)["x"]
    assert "x: Another file was predicted under this name than the dataset's image" in said(events, "log")[0]


def test_evaluation_says_which_images_were_changed_since(predict: Again, tmp_path: Path):
    data = truth(tmp_path / "data", 1)
    predict(find_images([data / "images"]))
    os.utime(data / "images" / "x.png", (1, 1))
    events: list[Event] = []
    evaluate(predict.out, Dataset.open(data), on_event=events.append)
    assert not said(events, "log")
    image(data / "images" / "x.png", 5)
    evaluate(predict.out, Dataset.open(data), on_event=events.append)
    assert said(events, "log") == ["x: The image was changed after it was predicted. Predict it again."]


def test_evaluation_says_why_there_is_no_prediction(predict: Again, tmp_path: Path):
    data = truth(tmp_path / "data", 1)
    image(data / "images" / "y.png", 2)
    shutil.copy(data / "labels" / "x.tif", data / "labels" / "y.tif")
    bad = data / "images" / "x.png"
    good = bad.read_bytes()
    bad.write_bytes(b"no picture")
    predict(find_images([data / "images"]))
    bad.write_bytes(good)
    evaluation = evaluate(predict.out, Dataset.open(data))
    (failure,) = [failure for failure in evaluation.failures if failure.kind == "missing"]
    assert failure.reason.startswith("Could not be predicted: ")


def test_density_counts_every_image_once(predict: Again, tmp_path: Path):
    predict([image(tmp_path / well / "f.png", seed) for seed, well in enumerate(("A01", "A02"))])
    predict([tmp_path / "A02" / "f.png"])
    assert sorted(row.image for row in density(predict.out).images) == ["A01_f", "A02_f"]
