"""The Train widget in a real window: plan, start, stop, continue, look at runs, and what goes wrong."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.training.records import read_history

pytestmark = pytest.mark.gui
pytest.importorskip("napari")

TINY = {"network.width": 4, "network.depth": 3, "epoch.size": 64, "epoch.steps": 3, "batch": 2}
"""Settings that train an epoch in a fraction of a second."""
LONG = 200_000
"""Longest wait for a process, ms."""
Open = Callable[..., tuple[Any, Any]]


@pytest.fixture(scope="module")
def beads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of six small tiles from three fields of view."""
    out = tmp_path_factory.mktemp("train") / "beads"
    scene = SceneConfig(height=96, width=96, beads=20, debris=0)
    write_dataset(out, SeriesConfig(scene=scene, tiles=6, dilutions=(640,), fields=3, seed=3))
    return out


@pytest.fixture(scope="module")
def finished(beads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs."""
    from beadseg.training import train

    config = TrainConfig.preset("dense", "unet").with_overrides([f"{name}={value}" for name, value in TINY.items()])
    return train(Dataset.open(beads), config.replace(epochs=2), tmp_path_factory.mktemp("runs") / "first").folder


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path) -> None:
    """Keep what the widget remembers out of the user's own settings."""
    from qtpy.QtCore import QSettings

    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))


def set_up(widget: Any, beads: Path, run: Path, epochs: int) -> None:
    """Choose data and folder, and enter tiny settings, as a person does."""
    widget.setup.dataset.choose(beads)
    widget.setup.run.choose(run)
    for path, value in {**TINY, "epochs": epochs}.items():
        editor = widget.form.editor(path)
        editor.setValue(value)
        editor.valueChanged.emit()


def drawn(widget: Any) -> list[Any]:
    """Return the lines of the loss as they are drawn, which is when the page is looked at."""
    widget.tabs.setCurrentIndex(2)
    axes = widget.progress.curves.figure.axes
    return list(axes[0].lines) if axes else []


def rows(run: Path) -> list[dict[str, Any]]:
    return read_history(run / files.HISTORY) if (run / files.HISTORY).exists() else []


def test_an_empty_widget_says_what_to_do_first(open_widget: Open) -> None:
    _, widget = open_widget("Train")
    assert "Choose a dataset" in widget.plan.toPlainText()
    assert not widget.buttons.start.isEnabled()
    assert "Choose a dataset" in widget.buttons.start.toolTip()
    assert all(part.toolTip() for part in (widget.buttons.stop, widget.buttons.copy, widget.buttons.keep))


def test_from_the_plan_to_a_finished_run(open_widget: Open, qtbot: Any, beads: Path, tmp_path: Path) -> None:
    from qtpy.QtWidgets import QApplication

    viewer, widget = open_widget("Train")
    widget.setup.dataset.choose(beads)
    assert widget.setup.run.value() == beads.parent / "runs" / f"dense-{widget.setup.network.currentText()}-1"
    qtbot.waitUntil(lambda: "Planned from the data" in widget.plan.toPlainText(), timeout=LONG)
    assert "beads 6." in widget.plan.toPlainText()
    assert "epoch.size" in widget.plan.toPlainText()
    widget.setup.preset.setCurrentText("microbeads")
    widget.setup.preset.activated.emit(1)
    qtbot.waitUntil(lambda: "optimizer step per epoch" in widget.plan.toPlainText(), timeout=LONG)
    widget.setup.preset.setCurrentText("dense")
    widget.setup.preset.activated.emit(0)

    run = tmp_path / "run"
    set_up(widget, beads, run, epochs=400)
    widget.buttons.start.click()
    qtbot.waitUntil(lambda: len(drawn(widget)) == 2 and len(rows(run)) > 1, timeout=LONG)
    assert widget.session.status == "running"
    assert not widget.buttons.start.isEnabled()
    assert psutil.Process(widget.session.pid).nice() > psutil.Process().nice()
    widget.buttons.stop.click()
    assert "Stopping" in widget.messages.text
    qtbot.waitUntil(lambda: widget.session.status == "unfinished", timeout=LONG)
    assert "press Continue training" in widget.messages.text
    assert not [path for path in run.iterdir() if files.is_unfinished(path)]
    widget.buttons.copy.click()
    command = QApplication.clipboard().text()
    assert command.split()[:4] == ["beadseg-batch", "train", str(beads), "--out"]

    # A run with fewer epochs, so that the end is seen too.
    widget.buttons.new.click()
    set_up(widget, beads, tmp_path / "short", epochs=2)
    widget.progress.show_overlay.setChecked(True)
    widget.buttons.start.click()
    qtbot.waitUntil(lambda: widget.session.status == "finished", timeout=LONG)
    assert widget.messages.text.startswith("Training is finished.")
    assert [row["epoch"] for row in rows(tmp_path / "short")] == [1, 2]
    qtbot.waitUntil(lambda: "beads found" in widget.progress.overlay_note.text(), timeout=LONG)
    assert [layer.name for layer in viewer.layers] == ["validation image", "annotation", "model so far"]
    assert not widget.buttons.start.isEnabled()


def test_a_killed_training_is_told_and_continued(open_widget: Open, qtbot: Any, beads: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    _, widget = open_widget("Train")
    set_up(widget, beads, run, epochs=400)
    widget.buttons.start.click()
    qtbot.waitUntil(lambda: len(rows(run)) > 1, timeout=LONG)
    os.kill(widget.session.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: widget.session.status == "unfinished", timeout=LONG)
    assert "ended by the system (SIGKILL)" in widget.messages.text
    assert "What was finished is kept" in widget.messages.text
    kept = rows(run)
    assert widget.buttons.start.text() == "Continue training"
    widget.buttons.start.click()
    qtbot.waitUntil(lambda: len(rows(run)) > len(kept), timeout=LONG)
    assert rows(run)[: len(kept)] == kept
    widget.buttons.stop.click()
    qtbot.waitUntil(lambda: widget.session.status == "unfinished", timeout=LONG)


@pytest.mark.slow
def test_a_training_goes_on_when_napari_is_closed_and_is_found_again(
    open_widget: Open, qtbot: Any, beads: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    viewer, widget = open_widget("Train")
    set_up(widget, beads, run, epochs=400)
    widget.buttons.start.click()
    qtbot.waitUntil(lambda: len(rows(run)) > 0, timeout=LONG)
    pid = widget.session.pid
    viewer.window.remove_dock_widget(widget)
    widget.deleteLater()
    qtbot.wait(50)
    assert psutil.pid_exists(pid)

    _, again = open_widget("Train", viewer)
    qtbot.waitUntil(lambda: again.session.status == "running", timeout=LONG)
    assert again.session.pid == pid
    before = len(rows(run))
    qtbot.waitUntil(lambda: len(rows(run)) > before and again.progress.bar.isVisibleTo(again), timeout=LONG)

    again.buttons.keep.click()
    viewer.window.remove_dock_widget(again)
    again.deleteLater()
    qtbot.waitUntil(lambda: not _runs(pid), timeout=LONG)
    assert not [path for path in run.iterdir() if files.is_unfinished(path)]


def _runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.slow
def test_a_run_of_another_program_is_followed(open_widget: Open, qtbot: Any, beads: Path, tmp_path: Path) -> None:
    run = tmp_path / "elsewhere"
    settings = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "beadseg", "train", str(beads), "--out", str(run), "--epochs", "400", *settings]
    process = subprocess.Popen([*command, "--quiet"], stdout=subprocess.DEVNULL)
    try:
        _, widget = open_widget("Train")
        widget.setup.run.choose(run)
        qtbot.waitUntil(lambda: len(drawn(widget)) == 2, timeout=LONG)
        assert widget.session.status == "elsewhere"
        assert str(process.pid) in widget.progress.headline.text()
        assert not widget.buttons.start.isEnabled()
        seen = len(drawn(widget)[0].get_xdata())
        qtbot.waitUntil(lambda: len(drawn(widget)[0].get_xdata()) > seen, timeout=LONG)
    finally:
        process.kill()
        process.wait()
    qtbot.waitUntil(lambda: widget.session.status == "unfinished", timeout=LONG)
    assert widget.buttons.start.isEnabled()


def test_a_copied_run_is_looked_at_without_its_images(
    open_widget: Open, qtbot: Any, finished: Path, tmp_path: Path
) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(finished, copied)
    table = copied / files.SAMPLES
    table.write_text(table.read_text().replace(str(finished.parent.parent), "/cluster"))
    table.write_text(table.read_text().replace("beads/images", "nowhere/images"))
    _, widget = open_widget("Train")
    widget.setup.run.choose(copied)
    qtbot.waitUntil(lambda: widget.session.status == "finished", timeout=LONG)
    assert len(drawn(widget)[0].get_xdata()) == 2
    assert "Finished: copied. 2 of 2 epochs. Best Jaccard (mean over images)" in widget.progress.headline.text()
    assert "epoch.size" not in widget.plan.toPlainText()
    assert widget.form.value() == TrainConfig.from_file(copied / files.CONFIG)
    assert not widget.form.editor("epochs").isEnabled()
    assert "Epoch   1/2" in widget.log.toPlainText()
    widget.tabs.setCurrentIndex(2)  # Progress
    widget.progress.show_overlay.click()
    assert "is not here" in widget.progress.overlay_note.text()


@pytest.mark.parametrize(
    ("name", "spoil", "told"),
    [
        ("config", lambda run: _append(run / files.CONFIG, "from_the_future: 1\n"), "If a newer beadseg wrote it"),
        ("model", lambda run: _newer_model(run), "Written by a newer beadseg (schema 99)"),
        ("history", lambda run: (run / files.HISTORY).write_text("epoch,step\nx,y\n"), "history cannot be read"),
    ],
)
def test_a_run_that_cannot_be_read_is_told(
    open_widget: Open, qtbot: Any, finished: Path, tmp_path: Path, name: str, spoil: Callable[[Path], None], told: str
) -> None:
    run = tmp_path / name
    shutil.copytree(finished, run)
    spoil(run)
    _, widget = open_widget("Train")
    widget.setup.run.choose(run)
    qtbot.waitUntil(lambda: told in widget.messages.text, timeout=LONG)
    widget.setup.run.choose(finished)
    qtbot.waitUntil(lambda: widget.session.status == "finished", timeout=LONG)


def _append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def _newer_model(run: Path) -> None:
    from safetensors.torch import save_file

    save_file({}, run / files.BEST, {"beadseg": '{"schema_version": 99}'})


def test_wrong_input_is_a_message_and_the_widget_goes_on(
    open_widget: Open, qtbot: Any, beads: Path, tmp_path: Path
) -> None:
    _, widget = open_widget("Train")
    empty = tmp_path / "empty"
    empty.mkdir()
    widget.setup.dataset.choose(empty)
    qtbot.waitUntil(lambda: "Has no folder images/" in widget.messages.text, timeout=LONG)

    (tmp_path / "file").write_text("in the way")
    set_up(widget, beads, tmp_path / "file" / "run", epochs=2)
    widget.buttons.start.click()
    assert "A file is in the way of this folder" in widget.messages.text
    assert widget.session.status == "new"

    rate = widget.form.editor("optimizer.lr")
    rate.line.setText("7")
    rate.valueChanged.emit()
    assert "optimizer.lr" in widget.messages.text
    widget.buttons.start.click()
    assert "optimizer.lr" in widget.messages.text
    assert widget.session.status == "new"

    # An image that is deleted after it was seen: the process refuses, and nothing of a run stays behind.
    data, run = tmp_path / "beads", tmp_path / "run"
    shutil.copytree(beads, data)
    rate.line.setText("0.002")
    rate.valueChanged.emit()
    set_up(widget, data, run, epochs=2)
    shutil.rmtree(data / files.IMAGES)
    widget.buttons.start.click()
    qtbot.waitUntil(lambda: "Has no folder images/" in widget.messages.text, timeout=LONG)
    qtbot.waitUntil(lambda: widget.session.status == "new" and not run.exists(), timeout=LONG)
    assert widget.buttons.start.isEnabled()


def test_a_run_in_a_folder_that_may_not_be_written_in(
    open_widget: Open, beads: Path, tmp_path: Path, read_only: Callable[[Path], Any]
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    _, widget = open_widget("Train")
    set_up(widget, beads, locked / "run", epochs=2)
    with read_only(locked):
        widget.buttons.start.click()
    assert "Permission denied" in widget.messages.text
    assert str(locked / "run") in widget.messages.text
    assert widget.session.status == "new"
    assert widget.buttons.start.isEnabled()
    widget.planner.cancel()


def test_what_goes_wrong_is_told_while_it_trains(open_widget: Open, qtbot: Any, beads: Path, tmp_path: Path) -> None:
    """A learning rate that is far too high: the widget warns of it, with cause and remedy, as the training goes on."""
    _, widget = open_widget("Train")
    set_up(widget, beads, tmp_path / "run", epochs=4000)
    rate = widget.form.editor("optimizer.lr")
    rate.line.setText("1")
    rate.valueChanged.emit()
    told: list[tuple[str, str]] = []
    widget.messages.changed.connect(lambda text: told.append((widget.session.status, text)))
    widget.buttons.start.click()
    progress = widget.progress
    wrong = re.compile(r"Epoch \d+, (collapse|divergence|oscillation|not-learning): ")
    qtbot.waitUntil(lambda: wrong.search(progress.warnings.toPlainText()) is not None, timeout=LONG)
    assert widget.session.status == "running"
    assert progress.warnings.isVisibleTo(progress)
    text = progress.warnings.toPlainText()
    assert "few-steps: Only 3 optimizer steps per epoch" in text
    assert "Remedy: " in text[: text.index("few-steps")]
    assert any(status == "running" and "Likely cause: the learning rate is" in said for status, said in told)
    widget.buttons.stop.click()
    qtbot.waitUntil(lambda: widget.session.status == "unfinished", timeout=LONG)


def test_the_job_is_seen_before_it_is_sent_to_the_cluster(
    open_widget: Open, qtbot: Any, beads: Path, tmp_path: Path
) -> None:
    from beadseg.widgets.train.cluster import ClusterDialog

    _, widget = open_widget("Train")
    set_up(widget, beads, tmp_path / "run", epochs=7)
    widget.planner.cancel()
    widget.buttons.submit.click()
    dialog = widget.findChild(ClusterDialog)
    assert not dialog.send.isEnabled()
    dialog.profile.choose(tmp_path / "nowhere.yaml")
    qtbot.waitUntil(lambda: "No such configuration file" in dialog.messages.text, timeout=LONG)
    site = tmp_path / "site.yaml"
    site.write_text("select: 1:ncpus=2:mem=4gb\nqueue: beads\n")
    dialog.profile.choose(site)
    qtbot.waitUntil(lambda: dialog.send.isEnabled(), timeout=LONG)
    script = dialog.script.toPlainText()
    assert "#PBS -q beads" in script
    assert "epochs=7" in script
    assert not (tmp_path / "run").exists()
    dialog.reject()


@pytest.fixture
def batch_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the fake batch system of the cluster's tests on the PATH; returns its folder."""
    commands, state = tmp_path / "bin", tmp_path / "fake pbs"
    commands.mkdir()
    state.mkdir()
    fake = Path(__file__).parents[1] / "cluster" / "fake_pbs.py"
    for name in ("qsub", "qstat", "qdel", "qrerun", "pbsnodes"):
        script = commands / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S -E {shlex.quote(str(fake))} {name} "$@"\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_PBS", str(state))
    return state


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the fake batch system needs sh")
def test_a_job_is_sent_and_its_run_followed(
    open_widget: Open, qtbot: Any, beads: Path, tmp_path: Path, batch_system: Path
) -> None:
    from beadseg.widgets.train.cluster import ClusterDialog

    source = Path(__file__).parents[2] / "src"
    site = tmp_path / "site.yaml"
    site.write_text(
        f"select: 1:ncpus=1\nwalltime: 00:10:00\nmargin: 5\ncommand: ['{sys.executable}', -m, beadseg]\n"
        f"environment: {{PYTHONPATH: '{source}'}}\nscratch: {tmp_path}\n"
    )
    run = tmp_path / "run"
    _, widget = open_widget("Train")
    set_up(widget, beads, run, epochs=1)
    widget.planner.cancel()
    widget.buttons.submit.click()
    dialog = widget.findChild(ClusterDialog)
    dialog.profile.choose(site)
    qtbot.waitUntil(lambda: dialog.send.isEnabled(), timeout=LONG)
    (batch_system / "refuse").write_text("qsub: Unknown queue")
    dialog.send.click()
    qtbot.waitUntil(lambda: "Unknown queue" in dialog.messages.text, timeout=LONG)
    (batch_system / "refuse").unlink()
    dialog.preview()
    qtbot.waitUntil(lambda: dialog.send.isEnabled(), timeout=LONG)
    dialog.send.click()
    qtbot.waitUntil(lambda: "Sent job" in widget.messages.text, timeout=LONG)
    qtbot.waitUntil(lambda: widget.findChild(ClusterDialog) is None)
    qtbot.waitUntil(lambda: widget.session.status == "finished", timeout=LONG)
    assert len(rows(run)) == 1


def test_a_refused_plan_cannot_be_started(open_widget: Open, qtbot: Any, tmp_path: Path) -> None:
    """What the plan refuses is not offered, and the files that do not fit are named."""
    import imageio.v3 as iio
    import numpy as np

    for folder, names in (("images", ("a", "b")), ("masks", ("c", "d"))):
        (tmp_path / "beads" / folder).mkdir(parents=True)
        for name in names:
            iio.imwrite(tmp_path / "beads" / folder / f"{name}.png", np.zeros((32, 32), np.uint8))
    _, widget = open_widget("Train")
    with qtbot.waitSignal(widget.planner.failed, timeout=LONG):
        widget.setup.dataset.choose(tmp_path / "beads")
    assert widget.messages.tone == "error"
    assert not widget.buttons.start.isEnabled()
    assert "There is no plan" in widget.plan.toPlainText()
    assert "c.png" in widget.plan.toPlainText() + widget.messages.text


def test_a_finished_run_is_counted_with(open_widget: Open, qtbot: Any, finished: Path) -> None:
    from qtpy.QtWidgets import QWidget

    viewer, widget = open_widget("Train")
    assert not widget.buttons.count.isVisible()
    widget.setup.run.choose(finished)
    qtbot.waitUntil(lambda: widget.session.status == "finished", timeout=LONG)
    qtbot.waitUntil(widget.buttons.count.isVisible)
    widget.buttons.count.click()
    window = viewer.window._qt_window

    def counting() -> list[Any]:
        found = window.findChildren(QWidget)
        return [part for part in found if hasattr(part, "run") and hasattr(part, "teach") and part.isVisible()]

    qtbot.waitUntil(lambda: bool(counting()), timeout=LONG)
    (count,) = counting()
    assert count.run.value() == finished
    assert "unet" in count.about.text()


def test_the_plan_says_how_long_it_takes(open_widget: Open, qtbot: Any, beads: Path, tmp_path: Path) -> None:
    from beadseg.widgets.common import settings
    from beadseg.widgets.train.planner import pixels_of, time_text

    config = TrainConfig.preset("dense", "unet").with_overrides(["epoch.steps=100", "epoch.size=128", "batch=8"])
    assert pixels_of(config) == 100 * 8 * 128**2
    assert time_text(config, 5) == "Takes roughly 5 min on two processor cores; less with a graphics card."
    for network in ("unet", "half-unet"):
        settings.remember_speed(network, 1e-7)
    assert time_text(config, 5) == "Takes about 16 s, as fast as the last training here."
    laboratory = TrainConfig.preset("microbeads")
    assert pixels_of(laboratory, 40) == 40 * laboratory.epoch.size**2
    _, widget = open_widget("Train")
    set_up(widget, beads, tmp_path / "run", 2)
    qtbot.waitUntil(lambda: "Takes about" in widget.plan.toPlainText(), timeout=LONG)


def test_an_empty_widget_offers_images_to_try_it_on(
    open_widget: Open, qtbot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _, widget = open_widget("Train")
    assert "beadseg-batch" not in widget.plan.toPlainText()
    qtbot.waitUntil(widget.setup.practise.isVisible)
    widget.setup.practise.click()
    assert not widget.setup.practise.isVisible()
    assert len(Dataset.open(widget.setup.dataset.value())) == 8
    widget.planner.cancel()


def test_nobody_is_asked_to_continue_what_is_finished(open_widget: Open, qtbot: Any, finished: Path) -> None:
    from beadseg.widgets.train.widget import FINISHED, STOPPED

    _, widget = open_widget("Train")
    widget.messages.show_text(STOPPED)
    widget.session.open(finished)
    qtbot.waitUntil(lambda: widget.session.status == "finished", timeout=LONG)
    qtbot.waitUntil(lambda: widget.messages.text == FINISHED)
    assert not widget.buttons.start.isEnabled()
