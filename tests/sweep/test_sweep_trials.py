"""Trials that are really trained: a failing one, a killed one, an interrupted one."""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from sweep_helpers import space

from beadseg import files
from beadseg.cli.app import main
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.errors import Cancelled, MachineError
from beadseg.events import Event, StopFlag
from beadseg.sweep.plan import Sweep, Work, begin
from beadseg.sweep.run import run_sweep, run_trial

if sys.platform != "win32":
    import resource

FIELDS = [
    "epochs=2", "epoch.steps=2", "epoch.size=64", "batch=2", "network.width=4", "network.depth=2", "precision=fp32",
    "split.kind=random", "split.val_fraction=0.3",
]  # fmt: skip
TINY = TrainConfig.preset("dense", "unet").with_overrides(FIELDS)
SPACE = """
method: {kind: grid}
parameters:
  image.channels: [{kind: grey}, {kind: single, index: 5}, {kind: rgb}]
"""
"""The second trial asks for a channel that no image has."""


def begun(folder: Path, text: str = SPACE) -> Sweep:
    return begin(folder, space(text), TINY, "space.yaml")


def test_a_failing_trial_and_a_killed_one_leave_the_others_alone(tmp_path: Path, dataset: Dataset):
    sweep = begun(tmp_path / "sweep")
    heard: list[Event] = []

    def kill_the_first(event: Event) -> None:
        heard.append(event)
        if event.kind == "progress" and event.data["task"] != "trials" and sweep.pending()[0] == 1:
            for child in psutil.Process().children():
                with suppress(psutil.NoSuchProcess):  # one that has ended by itself meanwhile
                    if any("spawn_main" in word for word in child.cmdline()):
                        child.kill()

    run_sweep(sweep, Work(dataset, "cpu", 1), kill_the_first, StopFlag())
    first, second, third = (sweep.result(number) for number in (1, 2, 3))
    assert first is not None
    assert second is not None
    assert third is not None
    assert "was ended by the system (SIGKILL)" in first.error
    assert "channel" in second.error
    assert second.details == ""
    assert third.score is not None
    assert third.epochs == 2
    assert (sweep.trial_folder(3) / files.CRITERIA).exists()
    table = (sweep.folder / files.TRIALS_TABLE).read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[1] for line in table[1:]] == ["3", "1", "2"]
    assert [event.data["trial"] for event in heard if event.kind == "trial"] == [1, 2, 3]


def test_an_interrupted_trial_goes_on_and_ends_as_if_nothing_had_been(tmp_path: Path, dataset: Dataset):
    undisturbed, sweep = (begun(tmp_path / name, SPACE.replace("{kind: grey}, ", "")) for name in ("one", "other"))
    work, stop = Work(dataset, "cpu", 1), StopFlag()
    expected = run_trial(undisturbed, 2, work)

    def interrupt(event: Event) -> None:
        if event.kind == "progress" and event.data["task"].startswith("epoch"):
            stop.set()

    with pytest.raises(Cancelled):
        run_sweep(sweep, work, interrupt, stop)
    assert sweep.pending() == [2]
    run_sweep(sweep, work, lambda event: None, StopFlag())
    assert sweep.result(2) == expected
    history = [one.trial_folder(2) / files.HISTORY for one in (undisturbed, sweep)]
    assert history[0].read_bytes() == history[1].read_bytes()


def test_trials_with_other_seeds_share_their_split(tmp_path: Path, dataset: Dataset):
    sweep = begun(tmp_path, "method: {kind: grid}\nparameters: {seed: [1, 2, 3]}")
    for number in (1, 2):
        assert run_trial(sweep, number, Work(dataset, "cpu")).score is not None
    one, other = (sweep.trial_folder(number) for number in (1, 2))
    assert (one / files.SPLIT).read_bytes() == (other / files.SPLIT).read_bytes()
    assert (one / files.HISTORY).read_bytes() != (other / files.HISTORY).read_bytes()


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="this system does not limit the size of files")
def test_a_full_disk_ends_the_sweep_and_no_trial(tmp_path: Path, dataset: Dataset):
    """A file that may not grow fails as on a full disk: every other trial would fail alike."""
    sweep = begun(tmp_path / "sweep", SPACE.replace(", {kind: single, index: 5}", ""))
    work = Work(dataset, "cpu", 1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(MachineError, match="large"):
            run_sweep(sweep, work, lambda event: None, StopFlag())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert sweep.pending() == [1, 2]
    run_sweep(sweep, work, lambda event: None, StopFlag())
    assert [sweep.result(number).score is not None for number in (1, 2)] == [True, True]  # type: ignore[union-attr]


def test_an_unexpected_error_is_kept_with_its_traceback(tmp_path: Path, dataset: Dataset):
    sweep = begun(tmp_path)
    (sweep.trial_folder(1) / files.CONFIG).mkdir(parents=True)
    result = run_trial(sweep, 1, Work(dataset, "cpu"))
    assert result.score is None
    assert result == sweep.result(1)


def test_the_command_ranks_names_the_best_and_goes_on(tmp_path: Path, beads: Path, capsys: pytest.CaptureFixture[str]):
    place = tmp_path / "a b'c\"d$e"
    place.mkdir()
    (place / "space.yaml").write_text(SPACE.replace(", {kind: rgb}", ""))
    sets = [word for setting in FIELDS for word in ("--set", setting)]
    words = ["sweep", str(beads), "--space", str(place / "space.yaml"), "--out", str(place / "s"), *sets,
             "--threads", "1", "--device", "cpu"]  # fmt: skip
    assert main([*words, "--json"]) == 3
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["data"]["best"]["trial"] == 1
    assert last["data"]["failed"] == 1
    first, best, use, again = last["message"].splitlines()
    assert first.startswith("1 of 2 trials finished, 1 failed. Report: ")
    assert best.startswith("Best: trial 1, jaccard_images 0.")
    assert use.startswith("Use it: beadseg-batch predict '")
    assert again.startswith("Train it again: beadseg-batch train DATASET --config '")
    assert (place / "s" / files.REPORT_PAGE).exists()
    assert main(words) == 3
    assert "2 of 2 trials have ended before." in capsys.readouterr().out
    assert main([*words, "--trials", "7"]) == 2
    assert "There is no trial 7. They are 1 to 2." in capsys.readouterr().err.replace(f"{place}/s: ", "")
    assert main([*words, "--trials", "1;2"]) == 2
    assert "'1;2' is not a list of trials." in capsys.readouterr().err
