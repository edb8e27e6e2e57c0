"""Several processes on one batch; here they are threads, whose claims exclude each other as those of processes do."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest

from beadseg import files
from beadseg.claim import Owner, create
from beadseg.cluster.share import Patience, Share, begin, close, join, predict_shared
from beadseg.cluster.share.dead import take_from_dead
from beadseg.cluster.share.image import Claim, predict_item
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import Cancelled, InputError, RunError
from beadseg.events import Event, StopFlag
from beadseg.predict import Segmenter
from beadseg.predict.batch import find_images, predict_folder
from beadseg.predict.tables import BatchResult

ELSEWHERE = {"host": "node7", "place": "node7 another boot", "pid": 12, "started": 1.0}
QUICK = Patience(heartbeat=0.02, poll=0.01)
BAD = 2
"""Which image cannot be read."""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Six small images, one of them corrupt."""
    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(6):
        scene = simulate(SceneConfig(height=64, width=72, beads=12, debris=0, cluster_probability=0), seed)
        iio.imwrite(folder / f"tile_{seed}.png", scene.image)
    (folder / f"tile_{BAD}.png").write_bytes(b"no picture")
    return folder


def never(job: str) -> bool:
    return False


def wanted(images: Path, out: Path, **options: object) -> Share:
    return Share.of(out, out.parent / "run", "abc", find_images([images]), **options)


def work(segmenter: Segmenter, share: Share, **more: object) -> tuple[BatchResult, bool]:
    return predict_shared(segmenter, share, **{"patience": QUICK, **more})


def alone(segmenter: Segmenter, images: Path, out: Path, **options: object) -> BatchResult:
    """Predict by one process in the ordinary way."""
    source = str((out.parent / "run").resolve())
    return predict_folder(segmenter, find_images([images]), out, source=source, model_sha256="abc", **options)


def content(folder: Path) -> dict[str, bytes]:
    """Return every file of a prediction folder but those of the sharing itself."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found
            if path.relative_to(folder).parts[0] != files.SHARE}  # fmt: skip


def claim_of(share: Share, index: int) -> Path:
    path = share.folder / files.SHARE / files.CLAIMS / f"{index:06d}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def leave_claim(share: Share, index: int, token: str = "t", **changes: object) -> Path:
    """Write the claim of a process on another machine."""
    path = claim_of(share, index)
    path.write_text(json.dumps({**ELSEWHERE, "token": token, **changes}))
    return path


def messages(events: list[Event]) -> str:
    return "\n".join(event.message for event in events)


def test_one_process_writes_what_the_ordinary_batch_writes(segmenter: Segmenter, images: Path, tmp_path: Path):
    expected = alone(segmenter, images, tmp_path / "alone", maps=True)
    share = begin(wanted(images, tmp_path / "shared", maps=True), never)
    result, merged = work(segmenter, share)
    assert merged
    assert content(tmp_path / "shared") == content(tmp_path / "alone")
    assert len(content(tmp_path / "alone")) == 5 * 6 + 3
    pd.testing.assert_frame_equal(result.counts, expected.counts)
    assert list(result.failures["image"]) == [str(images / f"tile_{BAD}.png")]
    assert not list((tmp_path / "shared" / files.SHARE / files.CLAIMS).iterdir())
    assert not (tmp_path / "shared" / files.SHARE / files.STAGES).exists()


def test_many_at_once_predict_every_image_once(segmenter: Segmenter, images: Path, tmp_path: Path):
    alone(segmenter, images, tmp_path / "alone")
    events: list[Event] = []
    merged: list[bool] = []
    together = threading.Barrier(4)

    def process() -> None:
        together.wait(60)
        share = begin(wanted(images, tmp_path / "shared"), never)
        together.wait(60)
        merged.append(work(segmenter, share, on_event=events.append)[1])

    threads = [threading.Thread(target=process) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = Counter(event.data["image"] for event in events if event.kind == "count")
    assert told == {f"tile_{seed}": 1 for seed in range(6) if seed != BAD}
    assert sum(event.kind == "failure" for event in events) == 1
    assert merged.count(True) == 1
    assert content(tmp_path / "shared") == content(tmp_path / "alone")


def test_the_image_of_a_process_that_is_gone_is_taken_over(segmenter: Segmenter, images: Path, tmp_path: Path):
    share = begin(wanted(images, tmp_path / "out"), never)
    create(claim_of(share, 1), Owner.this_process().replace(started=1.0, ticks=1))
    events: list[Event] = []
    result, _ = work(segmenter, share, on_event=events.append)
    assert "tile_1: taken over from process" in messages(events)
    assert "that process is gone" in messages(events)
    assert len(result.counts) == 5


def test_the_image_of_an_ended_job_is_taken_over(segmenter: Segmenter, images: Path, tmp_path: Path):
    share = begin(wanted(images, tmp_path / "out"), never)
    leave_claim(share, 1, job="7[3].server")
    events: list[Event] = []
    work(segmenter, share, has_ended=lambda job: job == "7[3].server", on_event=events.append)
    assert "taken over from process 12 on node7 (job 7[3].server) (that job has ended)" in messages(events)


@pytest.mark.parametrize("damaged", [False, True])
def test_without_a_sign_of_life_an_image_is_taken_over(
    segmenter: Segmenter, images: Path, tmp_path: Path, damaged: bool
):
    share = begin(wanted(images, tmp_path / "out"), never)
    path = leave_claim(share, 1)
    if damaged:
        path.write_text("{")
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime - 1000))
    events: list[Event] = []
    result, _ = work(segmenter, share, on_event=events.append)
    assert "it gave no sign of life for 1" in messages(events)
    assert len(result.counts) == 5


def test_an_image_that_a_living_process_has_for_too_long_is_predicted_by_another(
    segmenter: Segmenter, images: Path, tmp_path: Path
):
    share = begin(wanted(images, tmp_path / "out"), never)
    slow = Claim(claim_of(share, 1), Owner.this_process(), None)
    create(slow.path, slow.owner)
    events: list[Event] = []
    result, _ = work(segmenter, share, patience=Patience(heartbeat=0.02, poll=0.01, slow=0.0), on_event=events.append)
    assert "tile_1: taken over from process" in messages(events)
    assert "which is slow" in messages(events)
    assert len(result.counts) == 5
    # The slow one comes to its end too: it sees that the image is no longer its own, and does no harm.
    before = content(tmp_path / "out")
    assert not predict_item(segmenter, share, share.items[1], slow, events.append)
    assert "what was begun here is dropped" in messages(events)
    assert content(tmp_path / "out") == before


def test_an_image_whose_jobs_ran_out_of_time_is_not_too_large(segmenter: Segmenter, images: Path, tmp_path: Path):
    share = begin(wanted(images, tmp_path / "out"), never)
    events: list[Event] = []
    for number in range(4):
        path = leave_claim(share, 1, job=f"{number}.server", deadline=time.time() + 5)
        assert take_from_dead(share, share.items[1], lambda job: True, events.append)
        assert not path.exists()
    assert messages(events).count("its job's time was up") == 4
    result, _ = work(segmenter, share, on_event=events.append)
    assert len(result.counts) == 5


def test_an_image_that_kills_who_predicts_it_is_given_up(segmenter: Segmenter, images: Path, tmp_path: Path):
    share = begin(wanted(images, tmp_path / "out"), never)
    claims = claim_of(share, 1)
    create(claims, Owner.this_process().replace(started=1.0, ticks=1))
    for token in ("second", "third"):
        (claims.parent / f"000001.died-{token}").touch()
    result, _ = work(segmenter, share)
    assert "3 processes died while they predicted it" in "".join(result.failures["error"])
    assert len(result.counts) == 4
    # Begun again, it is tried again.
    result, _ = work(segmenter, begin(wanted(images, tmp_path / "out"), never))
    assert len(result.counts) == 5


class OftenOutOfMemory:
    """A model whose machine has no memory for it, so many times."""

    def __init__(self, segmenter: Segmenter, times: int) -> None:
        self._segmenter, self._times = segmenter, times

    def __getattr__(self, name: str) -> object:
        return getattr(self._segmenter, name)

    def predict_planes(self, *arguments: object) -> object:
        self._times -= 1
        if self._times >= 0:
            raise MemoryError
        return self._segmenter.predict_planes(*arguments)


@pytest.mark.parametrize(("times", "failures"), [(1, 1), (10, 6)])
def test_where_the_machine_fails_an_image_is_tried_once_more(
    segmenter: Segmenter, images: Path, tmp_path: Path, times: int, failures: int
):
    events: list[Event] = []
    poor = OftenOutOfMemory(segmenter, times)
    result, _ = work(poor, begin(wanted(images, tmp_path / "out"), never), on_event=events.append)
    assert "Does not fit into memory" in messages(events)
    assert sum("It is tried once more" in event.message for event in events) == min(times, 5)
    assert len(result.failures) == failures
    assert sum(event.kind == "failure" for event in events) == failures


def test_what_is_done_is_not_done_again(segmenter: Segmenter, images: Path, tmp_path: Path):
    share = begin(wanted(images, tmp_path / "out"), never)
    work(segmenter, share)
    events: list[Event] = []
    assert not work(segmenter, join(tmp_path / "out", share.run, "abc"), on_event=events.append)[1]
    assert not [event for event in events if event.kind in ("count", "failure")]
    # A result that is missing, an image that was corrected, and another that failed before.
    (tmp_path / "out" / files.LABELS / "tile_3.tif").unlink()
    (images / f"tile_{BAD}.png").write_bytes((images / "tile_0.png").read_bytes())
    result, merged = work(segmenter, share, on_event=events.append)
    assert merged
    assert sorted(event.data["image"] for event in events if event.kind == "count") == [f"tile_{BAD}", "tile_3"]
    assert len(result.counts) == 6
    assert not (tmp_path / "out" / files.FAILURES).exists()


def test_stopped_in_the_middle_it_counts_what_is_done_and_frees_the_rest(
    segmenter: Segmenter, images: Path, tmp_path: Path
):
    share = begin(wanted(images, tmp_path / "out"), never)
    stop = StopFlag()

    def after_first(event: Event) -> None:
        if event.kind == "count":
            stop.set()

    with pytest.raises(Cancelled):
        work(segmenter, share, on_event=after_first, stop=stop)
    assert len(pd.read_csv(tmp_path / "out" / files.COUNTS)) == 1
    assert not list((tmp_path / "out" / files.SHARE / files.CLAIMS).iterdir())
    result, _ = work(segmenter, share)
    assert len(result.counts) == 5


def test_rows_of_other_images_are_kept(segmenter: Segmenter, images: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    iio.imwrite(other / "before.png", np.full((64, 64), 128, np.uint8))
    alone(segmenter, other, tmp_path / "out")
    work(segmenter, begin(wanted(images, tmp_path / "out"), never))
    assert list(pd.read_csv(tmp_path / "out" / files.COUNTS)["image"])[:2] == ["before", "tile_0"]


def test_one_list_at_a_time(segmenter: Segmenter, images: Path, tmp_path: Path):
    out = tmp_path / "out"
    share = begin(wanted(images, out), never)
    (images / "tile_9.png").write_bytes((images / "tile_0.png").read_bytes())
    with pytest.raises(InputError, match="another list of images here, of which 6 are left"):
        begin(wanted(images, out), never)
    with pytest.raises(InputError, match=r"6 of their 6 images are left\. Add --share"):
        close(out)
    with pytest.raises(InputError, match="another model"):
        join(out, "run", "xyz")
    work(segmenter, share)
    assert len(begin(wanted(images, out), never).left()) == 7
    work(segmenter, Share.read(out))
    close(out)
    assert not (out / files.SHARE).exists()
    with pytest.raises(InputError, match="No batch was begun here"):
        join(out, "run", "abc")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 3}'])
def test_a_damaged_list_is_named(segmenter: Segmenter, images: Path, tmp_path: Path, text: str):
    share = begin(wanted(images, tmp_path / "out"), never)
    path = tmp_path / "out" / files.SHARE / files.SHARE_LIST
    path.write_text(text)
    with pytest.raises(RunError, match=files.SHARE_LIST):
        join(tmp_path / "out", share.run, "abc")


def test_an_image_that_changes_while_others_are_predicted_is_predicted_again(
    segmenter: Segmenter, images: Path, tmp_path: Path
):
    share = begin(wanted(images, tmp_path / "out"), never)
    changed: list[bool] = []

    def change(event: Event) -> None:
        if event.kind == "progress" and event.data["done"] == 6 and not changed:
            changed.append(True)
            (images / "tile_0.png").write_bytes((images / "tile_1.png").read_bytes())

    with pytest.raises(RunError, match="1 image or their results changed"):
        work(segmenter, share, on_event=change)
    result, _ = work(segmenter, share)
    assert list(result.counts["beads"])[:2] == [list(result.counts["beads"])[1]] * 2


def test_a_share_knows_names_that_are_no_text(segmenter: Segmenter, images: Path, tmp_path: Path):
    try:
        path = Path(os.fsdecode(os.fsencode(images) + b"/\xff.png"))
        path.write_bytes((images / "tile_0.png").read_bytes())
    except (OSError, UnicodeError):
        pytest.skip("this file system takes no such names")
    alone(segmenter, images, tmp_path / "alone")
    share = begin(wanted(images, tmp_path / "out"), never)
    assert Share.read(tmp_path / "out") == share
    work(segmenter, share)
    assert content(tmp_path / "out") == content(tmp_path / "alone")
