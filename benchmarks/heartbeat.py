"""Does the viewer freeze? A timer of 20 ms in a real napari window, while nothing goes on, while planning and training.

    xvfb-run -a -s "-screen 0 1400x900x24" python benchmarks/heartbeat.py

Simulates its own data, trains the `dense` preset in the Train widget with a validation image shown after every epoch,
and stops it. Prints the gaps between two beats of the timer, and how long the stop took. Compare with the line "idle"
of the same run: what other programs on the machine take is in both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEventLoop, QSettings, Qt, QTimer

from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

BEAT_MS = 20
LIMIT_MS = 250.0
"""The longest gap that is allowed."""


@dataclass
class Heartbeat:
    """Beats in the viewer's event loop, and keeps the gaps between its beats, ms."""

    gaps: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)
        self._timer.start(BEAT_MS)

    def take(self) -> list[float]:
        """Return the gaps since the last call."""
        taken, self.gaps = self.gaps, []
        return taken

    def _beat(self) -> None:
        now = time.perf_counter()
        self.gaps.append((now - self._last) * 1000)
        self._last = now


def wait(condition: Callable[[], bool], seconds: float) -> float:
    """Run the event loop until `condition` or the time is up; return how long that was, s."""
    loop, begin = QEventLoop(), time.perf_counter()
    timer = QTimer()

    def look() -> None:
        if condition() or time.perf_counter() - begin > seconds:
            loop.quit()

    timer.timeout.connect(look)
    timer.start(20)
    loop.exec()
    return time.perf_counter() - begin


def report(name: str, seconds: float, gaps: list[float]) -> bool:
    """Print a row; return whether no gap was too long."""
    ordered = sorted(gaps)
    late = ordered[int(0.99 * (len(ordered) - 1))]
    print(f"| {name} | {seconds:.0f} | {len(gaps)} | {statistics.median(gaps):.0f} | {late:.0f} | {ordered[-1]:.0f} |")
    return ordered[-1] < LIMIT_MS


def train(beat: Heartbeat, widget: Any, data: Path, seconds: float) -> list[bool]:
    """Plan, train, and stop, as a person does it."""
    beat.take()
    widget.setup.dataset.choose(data)
    took = wait(lambda: "Planned from the data" in widget.plan.toPlainText(), 120)
    good = [report("planning", took, beat.take())]
    for path, value in (("epochs", 500), ("network.width", 8), ("epoch.size", 64), ("epoch.steps", 10)):
        editor = widget.form.editor(path)
        editor.setValue(value)
        editor.valueChanged.emit()
    widget.progress.show_overlay.setChecked(True)
    beat.take()
    widget.buttons.start.click()
    took = wait(lambda: bool(widget.session.state and widget.session.state.rows), 180)
    good.append(report("starting a training, to its first epoch", took, beat.take()))
    took = wait(lambda: False, seconds) + wait(lambda: "beads found" in widget.progress.overlay_note.text(), 120)
    took += wait(lambda: False, 1)
    good.append(report("training, a validation image shown", took, beat.take()))
    shown, epochs = widget.progress.overlay_note.text(), len(widget.session.state.rows)
    widget.buttons.stop.click()
    stopped = wait(lambda: widget.session.status == "unfinished", 30)
    good.append(report("stopping it", stopped, beat.take()))
    print(f"\nstopped {stopped:.2f} s after the click; {epochs} epochs; {shown}")
    return [*good, stopped < 3.0, "beads found" in shown]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long to idle and to train")
    seconds = parser.parse_args().seconds
    import napari

    with tempfile.TemporaryDirectory() as scratch:
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, scratch)
        data = Path(scratch) / "beads"
        scene = SceneConfig(height=256, width=256, beads=60)
        write_dataset(data, SeriesConfig(scene=scene, tiles=24, dilutions=(320, 640), fields=4, seed=1))
        viewer = napari.Viewer(show=True)
        viewer.window.resize(1280, 800)
        _, widget = viewer.window.add_plugin_dock_widget("beadseg", "Train")
        beat = Heartbeat()
        wait(lambda: False, 3)
        print("| what goes on | s | beats | median gap, ms | 99 % | longest |\n| --- | --- | --- | --- | --- | --- |")
        beat.take()
        report("idle", wait(lambda: False, seconds / 2), beat.take())
        good = train(beat, widget, data, seconds)
        load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
        print(f"processors: {os.cpu_count()}; load of the machine, 1, 5, 15 min: {load}")
        viewer.close()
    print(f"longest gap below {LIMIT_MS:.0f} ms and stopped within 3 s: {'yes' if all(good) else 'no'}")


if __name__ == "__main__":
    main()
