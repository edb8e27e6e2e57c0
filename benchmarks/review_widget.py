"""How long a step of the Review widget takes: from the key to the next sample on the screen.

    python benchmarks/review_widget.py --samples 40 --size 512

Simulated tiles with an audit's findings and proposals. Presses S (skip), A (accept) and T (show the proposal) in a
real window of 1280x800 px and measures until the canvas has been drawn again, with and without the time that drawing
itself takes: in software (Mesa under Xvfb) it takes most of it. Also the longest gap of a 20 ms heartbeat meanwhile,
and how long a click of the bead tool takes. Exit code 0 when the median step is under 150 ms.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from beadseg.annotation.audit import Audit, Finding
from beadseg.annotation.audit.document import Baseline, Proposal, SampleAudit
from beadseg.data.simulate import SceneConfig, simulate

LIMIT_MS = 150.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--beads", type=int, default=400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "beads"
        write(root, arguments.samples, arguments.size, arguments.beads)
        steps = measure(root)
    sys.exit(0 if np.median(steps) < LIMIT_MS else 1)


def write(root: Path, samples: int, size: int, beads: int) -> None:
    """Write the dataset, every second sample with a finding and a proposal, and its audit."""
    scenes = [simulate(SceneConfig(height=size, width=size, beads=beads), seed) for seed in range(min(4, samples))]
    audit = root / "review" / "audit"
    for folder in (root / "images", root / "masks", audit / "proposals"):
        folder.mkdir(parents=True)
    findings, proposals = [], []
    for number in range(samples):
        name, scene = f"tile_{number:03d}", scenes[number % len(scenes)]
        mask = np.where(scene.labels > 0, 255, 0).astype(np.uint8)
        iio.imwrite(root / "images" / f"{name}.png", scene.image)
        iio.imwrite(root / "masks" / f"{name}.png", np.roll(mask, 3, axis=0))
        if number % 2 == 0:
            iio.imwrite(audit / "proposals" / f"{name}.png", mask)
            findings.append(
                Finding(sample=name, field="f", code="shift", severity="error", badness=1 - number / samples, value=3,
                        unit="px", message="The mask lies 3 px below the beads.",
                        box=(100 + number, 50, 200 + number, 150))
            )  # fmt: skip
            proposals.append(
                Proposal(sample=name, codes=("shift",), file=f"proposals/{name}.png", before=0.1, after=0.9,
                         why="Moved by 3 px up.")
            )  # fmt: skip
    known = tuple(SampleAudit(sample=f"tile_{number:03d}", field="f") for number in range(samples))
    baseline = Baseline(bead_diameter_px=7.0, polarity="dark", response=1.0)
    Audit(beadseg_version="0", dataset=str(root), baseline=baseline, findings=tuple(findings), samples=known,
          proposals=tuple(proposals)).write(audit)  # fmt: skip


class Window:
    """A viewer with the widget in it."""

    def __init__(self, root: Path) -> None:
        import napari

        self.viewer = napari.Viewer(show=True)
        self.viewer.window.resize(1280, 800)
        self.widget = self.viewer.window.add_plugin_dock_widget("beadseg", "Review")[1]
        self.widget.open(root)
        self.canvas = self.viewer.window._qt_viewer.canvas.native
        self.settle(lambda: self.widget.controller is not None and self.widget.controller.sample is not None)
        self.rest(1.0)

    def settle(self, ready: Any, patience: float = 120.0) -> None:
        """Let the program go on until `ready`."""
        from qtpy.QtWidgets import QApplication

        end = time.perf_counter() + patience
        while not ready():
            QApplication.processEvents()
            if time.perf_counter() > end:
                sys.exit("The window did not become ready.")

    def rest(self, seconds: float) -> None:
        """Let the reading ahead, and whatever else waits, have its time."""
        end = time.perf_counter() + seconds
        self.settle(lambda: time.perf_counter() > end)

    def draw(self) -> float:
        """Draw the canvas once more as it is; return how long that takes, ms."""
        begun = time.perf_counter()
        self.canvas.repaint()
        return 1e3 * (time.perf_counter() - begun)

    def step(self, key: str) -> tuple[float, float]:
        """Press a key; return the time until the next sample is drawn, and the part of it before drawing, ms."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        before = self.widget.controller.current
        begun = time.perf_counter()
        QTest.keyClick(self.canvas, getattr(Qt.Key, f"Key_{key}"))
        controller = self.widget.controller
        self.settle(lambda: controller.current != before and controller.sample is not None)
        decided = time.perf_counter()
        self.canvas.repaint()
        return 1e3 * (time.perf_counter() - begun), 1e3 * (decided - begun)

    def ways(self) -> list[float]:
        """Press T until every way to show a proposal was seen; return the time until each is drawn, ms."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        times, seen = [], []
        for _ in range(4):
            begun = time.perf_counter()
            QTest.keyClick(self.canvas, Qt.Key.Key_T)
            self.canvas.repaint()
            times.append(1e3 * (time.perf_counter() - begun))
            seen.append(str(self.widget.controller.view.comparison))
            self.rest(0.3)
        if len(set(seen)) < 4:
            sys.exit(f"T showed only {seen}.")
        return times

    def bead(self, y: float, x: float) -> float:
        """Click with the bead tool; return how long it takes, stroke on the disk included, ms."""
        begun = time.perf_counter()
        self.widget.controller.mouse.click(y, x)
        self.widget.controller.save()
        return 1e3 * (time.perf_counter() - begun)


class Heartbeat:
    """A timer of 20 ms that notes the longest time between two beats."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self.longest, self._last = 0.0, time.perf_counter()
        self._timer = QTimer()
        self._timer.setInterval(20)
        self._timer.timeout.connect(self._beat)
        self._timer.start()

    def _beat(self) -> None:
        now = time.perf_counter()
        self.longest, self._last = max(self.longest, 1e3 * (now - self._last)), now


def measure(root: Path) -> list[float]:
    """Print the table; return the steps' times, ms."""
    window = Window(root)
    draws = [window.draw() for _ in range(10)]
    rows = {}
    heart = Heartbeat()
    for key, what in (("S", "skip"), ("A", "accept")):
        times = []
        for _ in range(len(window.widget.controller.session.items) // 2 - 2):
            times.append(window.step(key))
            window.rest(0.3)  # a person looks at a sample before deciding
        rows[f"{key} ({what}), to the sample drawn"] = [whole for whole, _ in times]
        rows[f"{key} ({what}), without drawing"] = [part for _, part in times]
    window.widget.work.table.valueChanged.emit("tile_000")
    window.rest(0.5)
    for when in ("first", "second"):
        rows[f"T (ways to show a proposal), {when} time"] = window.ways()
    window.widget.controller.edits.beads()
    random = np.random.default_rng(0)
    size = window.widget.controller.sample.labels.shape[-1]
    rows["click of the bead tool, on the disk"] = [window.bead(*random.uniform(10, size - 10, 2)) for _ in range(30)]
    rows["drawing the canvas once, nothing changed"] = draws
    print(f"{'ms':44}{'median':>9}{'90 %':>9}{'longest':>9}")
    for name, values in rows.items():
        print(f"{name:44}{np.median(values):9.0f}{np.percentile(values, 90):9.0f}{max(values):9.0f}")
    print(f"Longest gap of a 20 ms heartbeat: {heart.longest:.0f} ms")
    window.viewer.close()
    return rows["S (skip), to the sample drawn"] + rows["A (accept), to the sample drawn"]


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
