"""A batch of images as the elements of a job array predict it, and the job that merges; each image once, none lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import pandas as pd
import pytest

from beadseg import files
from beadseg.cluster.submit import ImageList, chunk_of, freeze, list_path
from beadseg.data.documents import journal_of
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import Cancelled, RunError
from beadseg.events import Event, StopFlag
from beadseg.predict import Segmenter
from beadseg.predict.batch import Order, find_images, predict_folder
from beadseg.predict.tables import BatchResult

CHUNK, COUNT, BAD = 2, 6, 2
"""Images of an element, all images, and which of them cannot be read."""
WIDTHS = {3: 80}
"""Width of the image that kills, px; by it the process that is killed knows it."""


@pytest.fixture
def segmenter(segmenter: Segmenter) -> Segmenter:
    """A model that is known by a file."""
    segmenter.model_sha256 = "abc"
    return segmenter


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six small images, one of them corrupt."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(COUNT):
        scene = simulate(
            SceneConfig(height=64, width=WIDTHS.get(seed, 72), beads=12, debris=0, cluster_probability=0), seed
        )
        iio.imwrite(folder / f"tile_{seed}.png", scene.image)
    (folder / f"tile_{BAD}.png").write_bytes(b"no picture")
    return folder


def alone(segmenter: Segmenter, images: Path, out: Path, **options: object) -> BatchResult:
    """Predict by one process in the ordinary way."""
    return predict_folder(segmenter, find_images([images]), out, model_sha256="abc", **options)


def element(segmenter: Segmenter, out: Path, number: int, **options: object) -> BatchResult:
    frozen = ImageList.read(list_path(out))
    return predict_folder(segmenter, frozen.chunk(CHUNK, number), out, model_sha256="abc", names=frozen.names,
                          element=number, **options)  # fmt: skip


def merge(segmenter: Segmenter, out: Path, **options: object) -> BatchResult:
    frozen = ImageList.read(list_path(out))
    return predict_folder(segmenter, [*frozen.names], out, model_sha256="abc", names=frozen.names, **options)


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a prediction folder but those of the jobs."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found
            if path.relative_to(folder).parts[0] != files.JOBS}  # fmt: skip


def predicted(events: list[Event]) -> list[str]:
    return [event.data["image"] for event in events if event.kind == "count"]


@pytest.mark.parametrize("ran", [[0, 1, 2], [2, 0], [1], []])
def test_whatever_became_of_the_elements_the_files_are_those_of_one_process(
    segmenter: Segmenter, images: Path, tmp_path: Path, ran: list[int]
):
    expected = alone(segmenter, images, tmp_path / "alone", maps=True)
    out = tmp_path / "out"
    freeze(out, find_images([images]))
    for number in ran:
        element(segmenter, out, number, maps=True)
    events: list[Event] = []
    result = merge(segmenter, out, maps=True, on_event=events.append)
    missing = [seed for seed in range(COUNT) if seed // CHUNK not in ran and seed != BAD]
    assert predicted(events) == [f"tile_{seed}" for seed in missing]
    assert content(out) == content(tmp_path / "alone")
    pd.testing.assert_frame_equal(result.counts, expected.counts)
    assert list(result.failures["image"]) == [str(images / f"tile_{BAD}.png")]


def test_images_that_are_added_or_changed_later_are_not_mixed_up(segmenter: Segmenter, images: Path, tmp_path: Path):
    out = tmp_path / "out"
    freeze(out, find_images([images]))
    (images / "tile_0a.png").write_bytes((images / "tile_0.png").read_bytes())
    element(segmenter, out, 0)
    (images / "tile_1.png").write_bytes((images / "tile_0.png").read_bytes())
    result = merge(segmenter, out)
    assert list(result.counts["image"]) == [f"tile_{seed}" for seed in range(COUNT) if seed != BAD]
    assert result.counts["beads"][0] == result.counts["beads"][1]


def progress(out: Path) -> tuple[int, int]:
    """Return how many images have a result or failed, and how many of these failed."""
    outcomes = ImageList.read(list_path(out)).outcomes(out)
    return len(outcomes), sum(bool(reason) for reason in outcomes.values())


def test_an_element_that_begins_again_skips_what_it_has_done(segmenter: Segmenter, images: Path, tmp_path: Path):
    out, stop = tmp_path / "out", StopFlag()
    freeze(out, find_images([images]))

    def after_first(event: Event) -> None:
        if event.kind == "count":
            stop.set()

    with pytest.raises(Cancelled):
        element(segmenter, out, 0, on_event=after_first, stop=stop)
    events: list[Event] = []
    assert element(segmenter, out, 0, on_event=events.append).skipped == 1
    assert predicted(events) == ["tile_1"]
    assert not (out / files.COUNTS).exists()
    assert progress(out) == (2, 0)
    element(segmenter, out, 1)
    assert progress(out) == (4, 1)
    merge(segmenter, out)
    assert progress(out) == (6, 1)
    assert not list(out.glob("unmerged*"))


KILLER = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = {path!r}
import torch
torch.set_num_threads(1)
from predict_helpers import FINGERPRINT, Darkness
from beadseg.config import TrainConfig
from beadseg.predict import Segmenter
from beadseg.predict.batch import predict_folder
from beadseg.cluster.submit import ImageList, list_path
class Killed(Segmenter):
    model_sha256 = "abc"
    def predict_planes(self, image, *more):
        if image.size[1] == 80:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict_planes(image, *more)
config = TrainConfig.preset("dense").with_overrides(
    ["image.channels.kind=grey", "predict.objects.diameter=7", "predict.precision=fp32"])
segmenter = Killed(Darkness(), config, FINGERPRINT, torch.device("cpu"))
segmenter.model_sha256 = "abc"
frozen = ImageList.read(list_path(Path({out!r})))
number = {number!r}
predict_folder(segmenter, [*frozen.names] if number is None else frozen.chunk(2, number), {out!r}, model_sha256="abc",
               names=frozen.names, element=number)
"""


def killer(out: Path, number: int | None) -> int:
    """Predict in a process that an image kills; return how it ended."""
    here = [str(Path(__file__).parent), *sys.path]
    return subprocess.run([sys.executable, "-c", KILLER.format(path=here, out=str(out), number=number)],
                          check=False).returncode  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("tries", [[1, None], [1, 1], [None, None]])
def test_an_image_that_kills_is_tried_twice_and_listed(
    segmenter: Segmenter, images: Path, tmp_path: Path, tries: list[int | None]
):
    out = tmp_path / "out"
    freeze(out, find_images([images]))
    assert [killer(out, number) for number in tries] == [-signal.SIGKILL, -signal.SIGKILL]
    if tries[1] == 1:  # the element gives it up, and then the job that merges does not try it either
        assert killer(out, 1) == 0
    assert killer(out, None) == 0
    failures = pd.read_csv(out / files.FAILURES)
    assert [Path(path).name for path in failures["image"]] == [f"tile_{BAD}.png", "tile_3.png"]
    assert "2 processes were killed while they predicted it" in failures["error"][1]
    assert list(pd.read_csv(out / files.COUNTS)["image"]) == ["tile_0", "tile_1", "tile_4", "tile_5"]
    # The same command tries it again.
    assert len(merge(segmenter, out).counts) == COUNT - 1


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_an_image_whose_process_was_killed_once_is_not_lost(segmenter: Segmenter, images: Path, tmp_path: Path):
    out = tmp_path / "out"
    freeze(out, find_images([images]))
    assert killer(out, 1) == -signal.SIGKILL
    alone(segmenter, images, tmp_path / "alone")
    merge(segmenter, out)
    assert content(out) == content(tmp_path / "alone")


def test_again_predicts_everything_and_keeps_results_until_then(segmenter: Segmenter, images: Path, tmp_path: Path):
    out = tmp_path / "out"
    alone(segmenter, images, out)
    before = content(out)
    freeze(out, find_images([images]))
    assert element(segmenter, out, 0).skipped == 2
    freeze(out, find_images([images]), again=True)
    assert {name: data for name, data in content(out).items() if name != files.PREDICTION} == {
        name: data for name, data in before.items() if name != files.PREDICTION
    }
    assert element(segmenter, out, 0).skipped == 0
    assert merge(segmenter, out).skipped == 2
    assert content(out) == before


def test_rows_of_other_images_keep_their_places(segmenter: Segmenter, images: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "z.png").write_bytes((images / "tile_0.png").read_bytes())
    for out in (tmp_path / "alone", tmp_path / "out"):
        alone(segmenter, other, out)
    alone(segmenter, images, tmp_path / "alone")
    freeze(tmp_path / "out", find_images([images]))
    element(segmenter, tmp_path / "out", 1)
    merge(segmenter, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "alone")


def test_images_that_other_processes_predict_are_taken_over(segmenter: Segmenter, images: Path, tmp_path: Path):
    alone(segmenter, images, tmp_path / "alone", overlays=False)

    def elsewhere(orders: list[Order], stop: StopFlag | None) -> object:
        for order in reversed(orders):
            yield order, "killed" if order.name == "tile_5" else order.work(segmenter)

    result = alone(segmenter, images, tmp_path / "out", overlays=False, elsewhere=elsewhere)
    assert "killed" in list(result.failures["error"])
    alone(segmenter, images, tmp_path / "out", overlays=False, elsewhere=None)
    assert content(tmp_path / "out") == content(tmp_path / "alone")


def test_copies_are_reported_whoever_predicts(segmenter: Segmenter, images: Path, tmp_path: Path):
    (images / "tile_0-copy.png").write_bytes((images / "tile_0.png").read_bytes())
    said: list[str] = []

    def elsewhere(orders: list[Order], stop: StopFlag | None) -> object:
        return ((order, order.work(segmenter)) for order in orders)

    alone(segmenter, images, tmp_path / "out", overlays=False, elsewhere=elsewhere,
          on_event=lambda event: said.append(event.message))  # fmt: skip
    assert sum("same content" in text for text in said) == 1
    freeze(tmp_path / "array", find_images([images]))
    said.clear()
    element(segmenter, tmp_path / "array", 0, on_event=lambda event: said.append(event.message))
    assert not any("same content" in text for text in said)
    merge(segmenter, tmp_path / "array", on_event=lambda event: said.append(event.message))
    assert sum("same content" in text for text in said) == 1


def test_a_list_knows_names_that_are_not_text(segmenter: Segmenter, images: Path, tmp_path: Path):
    try:
        path = Path(os.fsdecode(os.fsencode(images) + b"/\xff.png"))
        path.write_bytes((images / "tile_0.png").read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    alone(segmenter, images, tmp_path / "alone")
    freeze(tmp_path / "out", find_images([images]))
    element(segmenter, tmp_path / "out", 3)
    merge(segmenter, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "alone")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": [3]}'])
def test_a_damaged_list_is_named(tmp_path: Path, text: str):
    list_path(tmp_path).parent.mkdir()
    list_path(tmp_path).write_text(text)
    with pytest.raises(RunError, match=files.IMAGE_LIST):
        ImageList.read(list_path(tmp_path))


def test_a_journal_with_a_cut_off_line_loses_one_image_only(segmenter: Segmenter, images: Path, tmp_path: Path):
    out = tmp_path / "out"
    freeze(out, find_images([images]))
    element(segmenter, out, 0)
    journal = journal_of(out, 0)
    journal.write_bytes(journal.read_bytes()[:-20])
    events: list[Event] = []
    merge(segmenter, out, on_event=events.append)
    assert predicted(events) == ["tile_1", "tile_3", "tile_4", "tile_5"]
    assert len(json.loads((out / files.PREDICTION).read_text())["results"]) == COUNT - 1


@pytest.mark.parametrize(
    ("images", "running", "chunk"),
    [(30, 3, 10), (8, 2, 4), (1, 4, 1), (5000, 8, 50), (5000, 60, 21), (400, 4, 25), (100_000, 8, 100), (41, 2, 20)],
)
def test_chunks_are_small_and_the_elements_not_too_many(images: int, running: int, chunk: int):
    assert chunk_of(images, running) == chunk
