"""`draft` and `suggest`: images without annotations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
import tifffile

from beadseg.annotation.review import Review, reviewed
from beadseg.cli.app import main
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, simulate, write_dataset
from beadseg.errors import ExitCode, InputError
from beadseg.files import CONFIG
from beadseg.training.run import train

SCENE = SceneConfig(height=128, width=128, beads=25, debris=0, cluster_probability=0)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "new images"
    folder.mkdir()
    for seed in range(3):
        iio.imwrite(folder / f"tile_{seed}.png", simulate(SCENE, seed).image)
    return folder


def test_drafts_are_pending_and_never_trained_on_before_they_are_accepted(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "beads"
    assert main(["draft", str(images), "--out", str(out), "--by", "ada"]) == ExitCode.OK
    states = Review.open(out).states()
    assert [(one.state, one.origin, one.by) for one in states.values()] == [("pending", "draft", "ada")] * 3
    assert states["tile_0"].why == "draft by the general model"
    data = Dataset.open(out)
    assert all(10 <= sample.read_target().objects <= 40 for sample in data)
    with pytest.raises(InputError, match="3 drafts that nobody accepted"):
        reviewed(data, "all")
    assert main(["train", str(out), "--out", str(tmp_path / "run")]) == ExitCode.INPUT
    assert main(["review", str(out), "accept", "tile_1"]) == ExitCode.OK
    assert reviewed(data, "not-rejected").names == ("tile_1",)
    assert main(["review", str(out), "undo", "tile_1"]) == ExitCode.OK
    with pytest.raises(InputError):
        reviewed(data, "not-rejected")


def test_what_is_annotated_is_left_alone_and_the_rest_is_added(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "beads"
    assert main(["draft", str(images / "tile_0.png"), "--out", str(out)]) == ExitCode.OK
    Review.open(out).decide("tile_0", "accepted")
    before = (out / "labels" / "tile_0.tif").read_bytes()
    assert main(["draft", str(images), "--out", str(out), "--diameter", "5"]) == ExitCode.OK
    assert (out / "labels" / "tile_0.tif").read_bytes() == before
    states = Review.open(out).states()
    assert [one.state for one in states.values()] == ["accepted", "pending", "pending"]


def test_a_dataset_can_be_drafted_where_it_lies(images: Path) -> None:
    root = images.parent / "beads"
    root.mkdir()
    images.rename(root / "images")
    (root / "masks").mkdir()
    iio.imwrite(root / "masks" / "tile_2_mask.png", np.zeros((128, 128), np.uint8))
    assert main(["draft", str(root / "images"), "--out", str(root)]) == ExitCode.OK
    assert len(list((root / "images").iterdir())) == 3
    data = Dataset.open(root)
    assert data.problems == ()
    assert Review.open(root).state("tile_2").origin == "annotated"
    assert reviewed(data).names == ("tile_2",)


def test_a_killed_draft_leaves_no_label_that_is_not_known_as_a_draft(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "beads"

    class Killed(BaseException):
        pass

    def killed(*arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("beadseg.annotation.review.journal._append", killed)
        with pytest.raises(Killed):
            main(["draft", str(images), "--out", str(out)])
    assert list((out / "labels").iterdir()) == []
    assert main(["draft", str(images), "--out", str(out)]) == ExitCode.OK
    assert {one.origin for one in Review.open(out).states().values()} == {"draft"}


def test_stacks_are_drafted_plane_by_plane_and_bad_images_named(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planes = np.stack([simulate(SCENE.replace(channels="grey"), seed).image for seed in range(2)])
    tifffile.imwrite(images / "stack.ome.tif", planes, metadata={"axes": "TYX"}, photometric="minisblack")
    (images / "bad.png").write_bytes(b"no image")
    out = tmp_path / "beads"
    assert main(["draft", str(images), "--out", str(out)]) == ExitCode.SOME_FAILED
    assert "bad.png" in capsys.readouterr().out
    assert [len(list(Dataset.open(out)[name].planes())) for name in ("stack", "tile_0")] == [2, 1]


def test_another_image_of_the_same_name_is_not_replaced(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "beads"
    (out / "images").mkdir(parents=True)
    shutil.copy(images / "tile_1.png", out / "images" / "tile_0.png")
    assert main(["draft", str(images / "tile_0.png"), "--out", str(out)]) == ExitCode.OK
    assert (out / "images" / "tile_0.png").read_bytes() == (images / "tile_1.png").read_bytes()
    (other,) = [path for path in (out / "images").iterdir() if path.name != "tile_0.png"]  # named after its folder too
    assert other.read_bytes() == (images / "tile_0.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "text"),
    [(["--polarity", "grey"], "not a polarity"), (["--diameter", "large"], "not a bead diameter")],
)
def test_wrong_options_are_refused(
    images: Path, tmp_path: Path, options: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["draft", str(images), "--out", str(tmp_path / "beads"), *options]) == ExitCode.INPUT
    assert text in capsys.readouterr().err
    assert not (tmp_path / "beads").exists()


@pytest.fixture(scope="module")
def corrected_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A reviewed dataset with a corrected, a rejected and an ignored part, and a run trained on it."""
    root = tmp_path_factory.mktemp("reviewed") / "beads"
    write_dataset(root, SeriesConfig(scene=SCENE, tiles=6, dilutions=(320, 640), fields=1))
    names = Dataset.open(root).names
    review = Review.open(root)
    review.decide(names[0], "rejected", why="blurred")
    review.correct(names[1], review.state(names[1]).sample.read_target().foreground)
    review.ignore(names[1], np.eye(128, dtype=bool))
    sets = ["epochs=1", "epoch.steps=4", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3"]
    config = TrainConfig.preset("dense", "unet").with_overrides([*sets, "precision=fp32"])
    return root, train(reviewed(Dataset.open(root)), config, root.parent / "run", device="cpu").folder


def test_a_run_knows_the_very_masks_that_it_used(corrected_run: tuple[Path, Path]) -> None:
    root, run = corrected_run
    table = pd.read_csv(run / "samples.csv", keep_default_na=False).set_index("sample")
    names = Dataset.open(root).names
    assert set(table.index) == set(names[1:])
    sample = Review.open(root).state(names[1]).sample
    assert table.loc[names[1], "mask_sha256"] == sample.sha256()["mask"]
    assert table.loc[names[1], "ignore_sha256"] == sample.sha256()["ignore"]
    assert Path(table.loc[names[1], "mask"]).parent.name == "masks"
    assert Path(table.loc[names[1], "mask"]).parent.parent.name == "review"


def test_a_run_is_not_continued_on_masks_that_were_corrected_since(corrected_run: tuple[Path, Path]) -> None:
    root, run = corrected_run
    review = Review.open(root)
    review.undo(review.dataset.names[1])
    data = reviewed(Dataset.open(root))
    review.redo(review.dataset.names[1])
    with pytest.raises(InputError, match="changed since this run began"):
        train(data, TrainConfig.from_file(run / CONFIG), run, device="cpu")


def test_a_polarity_and_a_diameter_choose_what_is_drafted(tmp_path: Path) -> None:
    """Dark beads on the left half, bright ones on the right."""
    looks = SCENE.replace(channels="grey", jpeg_quality=None, upscaling=1, background_min=100, background_max=100)
    dark, bright = (simulate(looks.replace(polarity=polarity), 0) for polarity in ("dark", "bright"))
    both = np.hstack([dark.image, bright.image])
    iio.imwrite(tmp_path / "both.png", both)
    for polarity, here, there in (("dark", np.s_[:, :120], np.s_[:, 136:]), ("bright", np.s_[:, 136:], np.s_[:, :120])):
        out = tmp_path / polarity
        command = ["draft", str(tmp_path / "both.png"), "--out", str(out), "--polarity", polarity, "--diameter", "7px"]
        assert main(command) == ExitCode.OK
        labels = tifffile.imread(out / "labels" / "both.tif")
        assert len(np.unique(labels[here])) > 12
        assert len(np.unique(labels[there])) < 5
        assert labels.max() == len(np.unique(labels)) - 1
        assert f"{polarity} beads only" in Review.open(out).state("both").why


def test_drafts_by_a_run(corrected_run: tuple[Path, Path], images: Path, tmp_path: Path) -> None:
    out = tmp_path / "beads"
    command = ["draft", str(images), "--out", str(out), "--run", str(corrected_run[1]), "--device", "cpu"]
    assert main(command) == ExitCode.OK
    assert "by the run" in Review.open(out).state("tile_0").why


def test_suggestions_name_each_image_once_and_copies_last(
    corrected_run: tuple[Path, Path], images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(images / "tile_0.png", images / "=copy().png")
    (images / "bad.png").write_bytes(b"no image")
    out = tmp_path / "next.csv"
    command = ["suggest", str(corrected_run[1]), str(images), "--out", str(out), "-n", "2", "--device", "cpu", "--json"]
    assert main(command) == ExitCode.SOME_FAILED
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(last["data"]["suggestions"]) == 2
    table = pd.read_csv(out)
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert Path(table["image"].iloc[-1]).name in ("tile_0.png", "=copy().png")
    assert table["novelty"].iloc[-1] == 0
    assert table[["score", "disagreement", "entropy", "count_spread"]].ge(0).all(axis=None)
