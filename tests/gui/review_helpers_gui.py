"""A small dataset with an audit, and a person's keys and clicks on the canvas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np

from beadseg.annotation.audit import Audit, Finding
from beadseg.annotation.audit.document import Baseline, Proposal, SampleAudit

SIDE = 96
CENTRES = ((20, 20), (20, 60), (50, 40), (50, 47), (75, 75))
"""Beads of every image; the third and the fourth touch."""
RADIUS = 3.5


def disks(centres: tuple[tuple[int, int], ...]) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.logical_or.reduce([np.hypot(y - row, x - column) <= RADIUS for row, column in centres])


def make_dataset(root: Path, names: tuple[str, ...] = ("a", "b", "c", "d")) -> Path:
    """Write images of five beads; the mask of ``c`` lacks the last, that of ``b`` lies 4 px too far down."""
    noise = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in names:
        image = np.where(disks(CENTRES), 90.0, 150.0) + noise.normal(0, 3, (SIDE, SIDE))
        mask = disks(CENTRES[:-1] if name == "c" else CENTRES)
        mask = np.roll(mask, 4, axis=0) if name == "b" else mask
        iio.imwrite(root / "images" / f"{name}.png", image.clip(0, 255).astype(np.uint8))
        iio.imwrite(root / "masks" / f"{name}.png", mask.astype(np.uint8) * 255)
    return root


def write_audit(root: Path, folder: Path) -> Path:
    """Write an audit that says what is wrong with ``b``, with a proposal, and with ``c``, with its place."""
    common: dict[str, Any] = {"field": "f", "unit": "px"}
    shift = Finding(sample="b", code="shift", severity="error", badness=0.9, value=4.0, message="Lies 4 px down.",
                    **common)  # fmt: skip
    missing = Finding(sample="c", code="partial", severity="warning", badness=0.2, value=1.0,
                      message="One bead is not marked.", box=(65, 65, 86, 86), **common)  # fmt: skip
    proposal = Proposal(sample="b", codes=("shift",), file="proposals/b.png", before=0.1, after=0.9, why="Moved up.")
    found = Audit(
        beadseg_version="0", dataset=str(root), baseline=Baseline(bead_diameter_px=2 * RADIUS, polarity="dark",
        response=1.0), findings=(shift, missing), proposals=(proposal,),
        samples=tuple(SampleAudit(sample=name, field="f") for name in "abcd"),
    )  # fmt: skip
    found.write(folder)
    (folder / "proposals").mkdir()
    iio.imwrite(folder / "proposals" / "b.png", disks(CENTRES).astype(np.uint8) * 255)
    return folder


class Person:
    """Presses keys and clicks on the canvas of a viewer, and waits for what comes of it."""

    def __init__(self, qtbot: Any, viewer: Any, widget: Any) -> None:
        self.qtbot, self.viewer, self.widget = qtbot, viewer, widget
        self.said: list[str] = []
        """All that the status bar showed; what is there now may be of the mouse already."""
        viewer.events.status.connect(lambda event: self.said.append(str(event.value)))

    @property
    def canvas(self) -> Any:
        return self.viewer.window._qt_viewer.canvas.native

    def key(self, letter: str) -> None:
        from qtpy.QtCore import Qt

        self.qtbot.keyClick(self.canvas, getattr(Qt.Key, f"Key_{letter}"))
        self.settle()

    def settle(self) -> None:
        """Wait until the sample asked for is shown, or a message says why not."""
        controller = self.widget.controller
        self.qtbot.waitUntil(
            lambda: not controller._waiting.isActive() and not controller._saving.isActive(), timeout=20000
        )

    def open(self, root: Path, audit: Path | None = None, by: str = "ada") -> None:
        """Type the folders and press the button."""
        start = self.widget.start
        for line, text in ((start.dataset.line, str(root)), (start.audit.line, str(audit or "")), (start.by, by)):
            line.clear()
            self.qtbot.keyClicks(line, text)
        self.click_button(start.open)
        self.qtbot.waitUntil(lambda: not self.widget.opening.running, timeout=20000)
        if self.widget.controller is not None:
            self.settle()

    def click_button(self, button: Any) -> None:
        from qtpy.QtCore import Qt

        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def at(self, y: float, x: float) -> Any:
        """Return the place on the canvas where a pixel of the image is seen."""
        from qtpy.QtCore import QPoint

        camera, size = self.viewer.scene.camera, np.array(self.viewer.canvas.size)
        row, column = (np.array([y, x]) - camera.center[-2:]) * camera.zoom + size / 2
        return QPoint(round(column), round(row))

    def click(self, y: float, x: float) -> None:
        self.drag((y, x), (y, x))

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        from qtpy.QtCore import Qt

        left = Qt.MouseButton.LeftButton
        self.qtbot.mouseMove(self.canvas, self.at(*start))
        self.qtbot.mousePress(self.canvas, left, pos=self.at(*start))
        for share in (0.3, 0.6, 1.0) if start != end else ():
            middle = tuple(a + share * (b - a) for a, b in zip(start, end, strict=True))
            self.move(middle)
        self.qtbot.mouseRelease(self.canvas, left, pos=self.at(*end))
        self.settle()

    def move(self, place: tuple[float, ...]) -> None:
        """Move the mouse with its left button down, which Qt's own test tools cannot."""
        from qtpy.QtCore import QEvent, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        point = QPointF(self.at(place[0], place[1]))
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        event = QMouseEvent(QEvent.Type.MouseMove, point, self.canvas.mapToGlobal(point), left, left, none)
        QApplication.sendEvent(self.canvas, event)
        self.qtbot.wait(20)
