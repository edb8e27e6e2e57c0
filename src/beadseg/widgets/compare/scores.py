"""The scores of a comparison as a small table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QWidget

from beadseg.text import score_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.measure.score import ImageScore

ROWS: tuple[tuple[str, Callable[[ImageScore], str], str], ...] = (
    ("Beads found", lambda s: str(s.predicted_count), "Beads in the layer Found"),
    ("Beads true", lambda s: str(s.true_count), "Beads in the layer True; pieces of a mask count as one each"),
    ("Count error", lambda s: _signed(s), "Found minus true beads"),
    ("Precision", lambda s: f"{s.precision:.3f}", "Share of the beads found that are true ones"),
    ("Recall", lambda s: f"{s.recall:.3f}", "Share of the true beads that were found"),
    ("F1", lambda s: f"{s.f1:.3f}", "Harmonic mean of precision and recall; centres match within half a bead"),
    ("Jaccard", lambda s: score_text(s.jaccard), "Pixels of both over pixels of either"),
    ("Dice", lambda s: score_text(s.dice), "Twice the pixels of both over the sum of pixels"),
    ("AP 0.50", lambda s: score_text(s.ap50), "TP / (TP + FP + FN) of beads that overlap by half or more"),
    ("Mean AP", lambda s: score_text(s.mean_ap), "The same, averaged over overlaps of 0.50, 0.55 … 0.95"),
)
"""Name, value and explanation of every score."""


class ScoreTable(QWidget):
    """Shows an `ImageScore`; hidden until there is one."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._score: ImageScore | None = None
        self._values: list[QLabel] = []
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        for row, (name, _, explained) in enumerate(ROWS):
            value = QLabel()
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            for column, label in enumerate((QLabel(name), value)):
                label.setToolTip(explained)
                grid.addWidget(label, row, column)
            self._values.append(value)
        grid.setColumnStretch(1, 1)
        self.setVisible(False)

    def value(self) -> ImageScore | None:
        """Return what is shown."""
        return self._score

    def setValue(self, score: ImageScore) -> None:
        """Show these scores."""
        self._score = score
        for label, (_, text, _) in zip(self._values, ROWS, strict=True):
            label.setText(text(score))
        self.setVisible(True)


def _signed(score: ImageScore) -> str:
    share = "" if score.relative_error is None else f" ({score.relative_error:+.1%})"
    return f"{score.count_error:+d}{share}"
