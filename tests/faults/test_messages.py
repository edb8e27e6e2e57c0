"""What a message names: the file, the value, and an option that the very command has; and output that nobody reads."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from fault_helpers import SHORT, Cli

from beadseg import files
from beadseg.cli import app
from beadseg.errors import ExitCode, InputError
from beadseg.events import Event
from beadseg.predict.batch import find_images


@pytest.fixture
def image(beads: Path) -> Path:
    """One image of the dataset `beads`."""
    return sorted((beads / "images").iterdir())[0]


def heard(paths: list[Path]) -> tuple[list[str], list[str]]:
    """Return the names of the images found, and what was said about the rest."""
    events: list[Event] = []
    found = find_images(paths, events.append)
    return [path.name for path in found], [event.message for event in events]


def test_what_is_left_out_of_a_folder_is_named_with_what_to_do(image: Path, tmp_path: Path):
    (tmp_path / "sub").mkdir()
    for name in (
        "a.png",
        "sub/b.png",
        "m.czi",
        "n.czi",
        "m.webp",
        "m.ome.zarr.zip",
        "m.pdf",
        "notes.txt",
        ".hidden.czi",
    ):
        shutil.copy(image, tmp_path / name)
    names, said = heard([tmp_path])
    assert names == ["a.png"]
    for text in (
        "1 folder with images (sub). Give the folders themselves, such as ",
        "2 files of the kind .czi (",
        "Export them as OME-TIFF",
        "1 file of the kind .webp (m.webp). Save them as PNG or TIFF.",
        "1 file of the kind .zarr.zip (m.ome.zarr.zip). Unpack them.",
        "1 file of the kind .pdf (m.pdf). Export the original images",
        "1 file of the kind .txt (notes.txt).",
    ):
        assert sum(text in line for line in said) == 1, text
    assert len(said) == 6


def test_a_folder_without_images_says_what_it_holds(image: Path, tmp_path: Path):
    (tmp_path / "A01").mkdir()
    shutil.copy(image, tmp_path / "A01" / "f.png")
    with pytest.raises(InputError, match=r"Holds no images, but 1 folder with images \(A01\).* such as .*A01\."):
        find_images([tmp_path])
    (tmp_path / "B").mkdir()
    (tmp_path / "B" / "a.nd2").touch()
    with pytest.raises(InputError, match=r"Holds no images, but 1 file of the kind \.nd2 \(a\.nd2\)\. Export them"):
        find_images([tmp_path / "B"])


def test_a_dataset_folder_stands_for_its_images(beads: Path):
    names, said = heard([beads])
    assert len(names) == 6
    assert len(said) == 1
    assert "is a dataset folder: the images in" in said[0]


def test_a_pattern_that_the_shell_left_as_it_is_is_followed(beads: Path):
    assert len(heard([beads / "images" / "*c0.png"])[0]) == 4
    with pytest.raises(InputError, match="No such image or folder"):
        find_images([beads / "images" / "*.nothing"])


@pytest.mark.parametrize("folder", ["run", "predictions", "overlays"])
def test_what_beadseg_wrote_is_not_predicted(predicted: Path, run_folder: Path, folder: str):
    path = {"run": run_folder, "predictions": predicted, "overlays": predicted / files.OVERLAYS}[folder]
    with pytest.raises(InputError, match="Give the folder of the images themselves"):
        find_images([path])


@pytest.fixture
def two_channels(image: Path, tmp_path: Path) -> Path:
    """The image in the second of two channels."""
    pixels = iio.imread(image)
    path = tmp_path / "two.tif"
    tifffile.imwrite(path, np.stack([np.zeros_like(pixels), pixels]), imagej=True, metadata={"axes": "CYX"})
    return path


def rows_of(folder: Path) -> list[str]:
    return (folder / files.COUNTS).read_text(encoding="utf-8").splitlines()[1:]


def test_two_channels_name_the_file_and_an_option_that_works(
    cli: Cli, run_folder: Path, image: Path, two_channels: Path, tmp_path: Path
):
    outcome = cli("predict", run_folder, two_channels, "--out", tmp_path / "none")
    assert outcome.code == 3
    assert f"{two_channels}: Has 2 channels" in outcome.out
    assert "`predict --channel 0`" in outcome.out
    cli("predict", run_folder, image, "--out", tmp_path / "grey")
    expected = rows_of(tmp_path / "grey")[0].split(",")[1:]
    for number, words in enumerate((["--channel", "1"], ["--set", "channel=1"])):
        out = tmp_path / str(number)
        assert cli("predict", run_folder, two_channels, "--out", out, *words).code in (0, 5)
        assert rows_of(out)[0].split(",")[1:] == expected
    outcome = cli("predict", run_folder, two_channels, "--out", tmp_path / "third", "--channel", "2")
    assert outcome.code == 3
    assert "Has 2 channels, counted from 0; channel 2 is not there. Choose another one by --channel." in outcome.out


def test_a_training_image_of_two_channels_names_its_file_and_what_train_can_do(cli: Cli, dataset: Path, tmp_path: Path):
    paths = sorted((dataset / "images").iterdir())
    for path in paths:
        pixels = iio.imread(path)
        path.unlink()
        data = np.stack([pixels, pixels])
        tifffile.imwrite(path.with_suffix(".tif"), data, imagej=True, metadata={"axes": "CYX"})
    outcome = cli("train", dataset, "--out", tmp_path / "run", *SHORT)
    outcome.is_refusal(2, str(dataset / "images"), "Has 2 channels", "--set image.channels.kind=single")
    words = ("--set", "image.channels.kind=single", "--set", "image.channels.index=1")
    assert cli("train", dataset, "--out", tmp_path / "run2", *SHORT, *words).code in (0, 5)
    assert cli("predict", tmp_path / "run2", dataset, "--out", tmp_path / "p", "--channel", "0").code in (0, 5)


def test_the_work_goes_on_when_nobody_reads_the_output(
    run_folder: Path, beads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = app.main(["predict", str(run_folder), str(beads / "images"), "--out", str(tmp_path / "out")])
        monkeypatch.undo()
    assert code in (0, 5)
    assert len(rows_of(tmp_path / "out")) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
@pytest.mark.parametrize("words", ["--help | head -n 1", "--version >&-", "--nonsense 2>&-", "--nonsense >&- 2>&-"])
def test_closed_streams_end_quietly(words: str, tmp_path: Path):
    shell = f"set -o pipefail; {sys.executable} -m beadseg {words}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == (2 if "nonsense" in words else 0)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_the_work_goes_on_when_the_output_is_on_a_full_disk(
    run_folder: Path, beads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        code = app.main(["predict", str(run_folder), str(beads / "images"), "--out", str(tmp_path / "out")])
        monkeypatch.undo()
    assert code == ExitCode.MACHINE
    assert len(rows_of(tmp_path / "out")) == 6
    assert capsys.readouterr().err.count("The output cannot be written: No space left on device.") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
@pytest.mark.parametrize(
    ("shell", "code", "text"),
    [
        ("{} --help >/dev/full", 4, "The output cannot be written"),
        ("{} --nonsense 2>/dev/full", 2, ""),
        ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {} --version", 0, "locale is not UTF-8 (ascii)"),
    ],
)
def test_full_outputs_and_other_locales_are_named(shell: str, code: int, text: str, tmp_path: Path):
    words = ["bash", "-c", shell.format(f"{sys.executable} -m beadseg")]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == code
    assert text in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_no_bug(number: int):
    error = app.as_beadseg_error(OSError(number, os.strerror(number), "x.png"))
    assert str(error) == "x.png: Too many files are open. Allow more, for example by ulimit -n 4096."


def test_an_end_with_a_text_is_a_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def command() -> None:
        raise SystemExit("what went wrong")

    monkeypatch.setattr(app, "_load", lambda name: command)
    assert app.main(["doctor"]) == 1
    assert "what went wrong" in capsys.readouterr().err
