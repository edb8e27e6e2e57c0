"""Compare: hits, misses and false alarms of two layers in colours, their scores, and a way from error to error."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QSize, Qt
from qtpy.QtWidgets import QCheckBox, QFormLayout, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from scipy import ndimage

from beadseg.data.dataset import Target
from beadseg.data.masks import equal_regions
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.measure.beads import bead_table
from beadseg.measure.matching import Detection, match_points
from beadseg.measure.scores import ImageScore, Overlap, score_image, visible_objects
from beadseg.text import plural, score_text
from beadseg.widgets.common import Background, HelpButton, MessageArea, ProgressRow, guarded
from beadseg.widgets.layers import (
    LayerChoice,
    PluginWidget,
    connect_while_alive,
    finest,
    free_in_canvas,
    go_to,
    place_of,
    plane_count,
    scrolling,
    shown_index,
    shown_plane,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari
    from numpy.typing import NDArray


HIT, MISS, FALSE_ALARM = 1, 2, 3
"""Values of the picture of a comparison; 0 is background."""

COLOURS: dict[int | None, str] = {HIT: "#009e73", MISS: "#d55e00", FALSE_ALARM: "#56b4e9"}
"""Of Okabe and Ito: told apart with any colour vision."""
LAYER = "Comparison"
WRONG_PX = 8
"""A bead that is found where none is lies so far from all others in the beads to try the widget on."""
SIZE_PX = (340, 500)
"""Width and height that the widget asks for."""
FOUND_WORDS, TRUE_WORDS = (": beads", "found", "predict", "result"), ("true", "truth", "annotation", "mask", "label")
"""What names of layers tell."""
EMPTY = (
    "Shows which beads of one layer are in another: choose the beads found (such as a prediction) and the true ones "
    "(ids, or a mask), then press Compare."
)

KINDS = {HIT: "hit", MISS: "miss", FALSE_ALARM: "false alarm"}

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


def truth_rank(layer: Labels) -> int:
    """Return 0 for a result of a prediction, 2 for an annotation, 1 where nothing tells: from metadata and name."""
    known = layer.metadata.get("beadseg", {})
    name = str(layer.name).lower()
    if "run" in known or str(known.get("kind", "")) == "prediction" or any(word in name for word in FOUND_WORDS):
        return 0
    return 2 if str(known.get("kind", "")) == "annotation" or any(word in name for word in TRUE_WORDS) else 1


class CompareWidget(PluginWidget):
    """Compares two labels layers.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer whose layers are compared.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        free_in_canvas(napari_viewer, self)
        self._comparison: Comparison | None = None
        self._errors: list[tuple[str, float, float, tuple[int, ...]]] = []
        self._at = -1
        self._chosen_by_hand = False
        self._shown: Labels | None = None
        self._compared: tuple[Labels, Labels] | None = None
        """Found and true."""
        self._planes: tuple[tuple[int, ...], ...] | None = ()
        """Which of their planes; None for all."""
        self.messages = MessageArea()
        self.background = Background("comparing", self)
        self._build()
        self._show_hint()

    def sizeHint(self) -> QSize:
        """Leave the larger part of a small screen to the image."""
        return QSize(*SIZE_PX)

    def _build(self) -> None:
        def offered(layer: Labels) -> bool:
            return bool(layer != self._shown)

        self.found = LayerChoice(self._viewer, (Labels,), accepts=offered)
        self.found.setToolTip("The beads whose quality is asked for, such as a prediction")
        self.true = LayerChoice(self._viewer, (Labels,), accepts=offered)
        self.true.setToolTip("What is taken for right: one number per bead, or a mask whose pieces are counted")
        self.run = QPushButton("Compare")
        self.run.setToolTip("Compare the planes that the viewer shows; centres match within half a bead diameter")
        self.all = QCheckBox("All planes")
        self.all.setToolTip("Compare every plane of the two stacks, not only the one that is shown; scores are of all")
        self.scores = ScoreTable()
        self.before = QPushButton("◀ Error")
        self.before.setToolTip("Go to the miss or false alarm before")
        self.next = QPushButton("Error ▶")
        self.next.setToolTip("Go to the next miss or false alarm")
        self.where = QLabel()
        self.practise = QPushButton("Try it on simulated beads")
        self.practise.setToolTip(
            "Open a simulated image with its true beads, and others that lack some and have wrong ones"
        )
        self.legend = QLabel()
        self.swap = QPushButton("⇅ Swap")
        self.swap.setToolTip("Take the true beads for the found ones, and the found ones for the true ones")
        self._lay_out()
        self._connect()
        self._show_steps()

    def _lay_out(self) -> None:
        choices = QFormLayout()
        choices.addRow("Found", self.found)
        choices.addRow("True", self.true)
        beside = QHBoxLayout()
        beside.addWidget(self.swap, 1)
        beside.addWidget(self.all)
        beside.addWidget(HelpButton("Compare"))
        choices.addRow("", beside)
        steps = QHBoxLayout()
        for part in (self.before, self.next):
            steps.addWidget(part)
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addLayout(choices)
        for widget in (self.run, self.practise, ProgressRow(self.background), self.legend, self.scores):
            layout.addWidget(widget)
        layout.addLayout(steps)
        layout.addWidget(self.where)
        layout.addStretch(1)
        whole = QVBoxLayout(self)
        whole.addWidget(scrolling(content), 1)
        whole.addWidget(self.messages)

    def _connect(self) -> None:
        self.swap.clicked.connect(self._swap)
        dims = self._viewer.dims.events
        for event in (dims.current_step, dims.ndisplay, dims.order):
            connect_while_alive(self, event, self._plane_changed)
        connect_while_alive(self, self._viewer.layers.events.removed, self._layer_removed)
        self.run.clicked.connect(self._start)
        self.practise.clicked.connect(self._practise)
        self.before.clicked.connect(lambda: self._step(-1))
        self.next.clicked.connect(lambda: self._step(1))
        self.background.returned.connect(self._show)
        self.background.failed.connect(self.messages.show_error)
        for choice in (self.found, self.true):
            choice.offer_changed.connect(self._show_hint)
            choice.activated.connect(self._choose_by_hand)
            choice.layer_changed.connect(self._offer_planes)

    def _show_hint(self) -> None:
        """Show the empty state until there is something to compare."""
        enough = min(self.found.count(), self.true.count()) >= 2
        self.run.setEnabled(enough)
        self.practise.setVisible(not enough)
        self.swap.setEnabled(enough)
        self._offer_planes()
        if enough and (self.found.layer == self.true.layer or not self._chosen_by_hand):
            self._guess_roles()
        if self._comparison is not None:
            return
        self.legend.setWordWrap(True)
        self.legend.setText(EMPTY if enough else f"{EMPTY} There are not yet two labels layers in the viewer.")

    def _offer_planes(self) -> None:
        """Offer to compare all planes where both layers have several."""
        stacks = all(layer is not None and plane_count(layer) for layer in (self.found.layer, self.true.layer))
        self.all.setVisible(stacks)
        self.all.setChecked(self.all.isChecked() and stacks)

    @guarded
    def _start(self) -> None:
        found, true = self.found.layer, self.true.layer
        if found is None or true is None or found == true:
            raise InputError(
                "Two different labels layers are needed.", remedy="Choose another one in one of the boxes."
            )
        whole = self.all.isChecked()
        pixels = [finest(layer) if whole else shown_plane(layer, self._viewer.dims) for layer in (found, true)]
        if pixels[0].shape != pixels[1].shape:
            sizes = [
                f"{layer.name} {'x'.join(map(str, p.shape[:-2] + p.shape[:-3:-1]))} px"
                for layer, p in zip((found, true), pixels, strict=True)
            ]
            raise InputError(
                f"The layers differ in size: {', '.join(sizes)}.", remedy="Choose layers of the same image."
            )
        self._clear()
        self._compared = (found, true)
        self._planes = None if whole else self._shown_planes()
        self.messages.clear()
        if whole:
            self.background.start(lambda on_event, stop: compare_stacks(pixels[0], pixels[1], on_event, stop))
        else:
            self.background.start(lambda on_event, stop: compare(pixels[0], pixels[1]))

    @guarded
    def _practise(self) -> None:
        """Open simulated beads twice: the true ones, and as a detector might find them."""
        _, labels = self._viewer.open_sample("beadseg", "dense")
        found = np.asarray(labels.data).copy()
        found[np.isin(found, np.arange(3, int(found.max()), 9))] = 0
        free = np.argwhere(ndimage.distance_transform_edt(found == 0)[8:-8, 8:-8] > WRONG_PX) + 8
        for number, (y, x) in enumerate(free[:: max(1, len(free) // 20)], start=int(found.max()) + 1):
            found[y - 2 : y + 3, x - 2 : x + 3] = number
        self._viewer.add_labels(found, name="Dense beads: found", opacity=0.4)

    @guarded
    def _show(self, comparison: Comparison) -> None:
        if self._compared is None or self._planes not in (None, self._shown_planes()):
            self._clear("Another plane is shown than the one that was compared. Press Compare.")
            return
        self._comparison = comparison
        self._show_picture(comparison, self._compared[0])
        self.found.refill()
        self.true.refill()
        errors = comparison.beads[comparison.beads["kind"] != KINDS[HIT]]
        self._errors = list(errors[["kind", "y", "x", "plane"]].itertuples(index=False, name=None))
        self._at = -1
        score = comparison.score
        counts = {HIT: score.tp, MISS: score.fn, FALSE_ALARM: score.fp}
        told = {HIT: plural(counts[HIT], "hit"), MISS: plural(counts[MISS], "miss", "misses"),
                FALSE_ALARM: plural(counts[FALSE_ALARM], "false alarm")}  # fmt: skip
        found, true = (escape(str(layer.name)) for layer in self._compared)
        colours = "&nbsp;&nbsp; ".join(f'<span style="color:{COLOURS[k]}">■</span> {told[k]}' for k in told)
        self.legend.setText(f"Found in <b>{found}</b>, true in <b>{true}</b>:<br>{colours}")
        self.scores.setValue(score)
        self._show_steps()

    def _show_picture(self, comparison: Comparison, found: Labels) -> None:
        """Show the colours where the layer of the beads found lies."""
        there = self._shown is not None and self._shown in self._viewer.layers
        if there and self._shown is not None and self._shown.ndim != comparison.picture.ndim:
            self._viewer.layers.remove(self._shown)
            there = False
        if self._shown is None or not there:
            colours = {key: COLOURS.get(key, "transparent") for key in (None, 0, HIT, MISS, FALSE_ALARM)}
            self._shown = Labels(
                comparison.picture, name=LAYER, opacity=0.7, colormap=DirectLabelColormap(color_dict=colours)
            )
            self._viewer.add_layer(self._shown)
        else:
            self._shown.data = comparison.picture
            self._shown.visible = True
        for name, value in place_of(found, comparison.picture.ndim).items():
            setattr(self._shown, name, value)

    def _shown_planes(self) -> tuple[tuple[int, ...], ...]:
        """Return which planes of the compared layers the viewer shows; nothing where it shows none."""
        if self._compared is None or any(layer not in self._viewer.layers for layer in self._compared):
            return ()
        try:
            return tuple(shown_index(layer, self._viewer.dims) for layer in self._compared)
        except InputError:
            return ()

    @guarded
    def _plane_changed(self) -> None:
        """Take away what belongs to another plane than the one that is shown."""
        if self._comparison is not None and self._planes is not None and self._shown_planes() != self._planes:
            self._clear("Another plane is shown now. Press Compare.")

    @guarded
    def _layer_removed(self) -> None:
        gone = self._compared is None or any(layer not in self._viewer.layers for layer in self._compared)
        if self._comparison is not None and gone:
            self._clear("A layer that was compared is gone.")

    def _clear(self, why: str = "") -> None:
        """Show no scores and no colours."""
        self._comparison, self._compared, self._planes, self._errors, self._at = None, None, (), [], -1
        if self._shown is not None and self._shown in self._viewer.layers:
            self._shown.visible = False
        self.scores.setVisible(False)
        self.legend.setText(why)
        self._show_steps()

    def _guess_roles(self) -> None:
        """Choose which layer is found and which is true from where they come from, else from their names."""
        layers = [self.found.itemData(index) for index in range(self.found.count())]
        found = min(layers, key=truth_rank)  # the topmost of equals
        self.found.layer, self.true.layer = found, max((other for other in layers if other != found), key=truth_rank)

    @guarded
    def _swap(self) -> None:
        found, true = self.found.layer, self.true.layer
        self._chosen_by_hand = True
        self.found.layer, self.true.layer = true, found
        if self._comparison is not None:
            self._start()

    def _choose_by_hand(self) -> None:
        self._chosen_by_hand = True

    def end(self) -> None:
        """Let a comparison that is computed go."""
        self.background.cancel()

    def _step(self, by: int) -> None:
        """Go to another error, around in a circle."""
        if not self._errors or self._shown is None:
            return
        self._at = (self._at + by) % len(self._errors) if self._at >= 0 else (0 if by > 0 else len(self._errors) - 1)
        _, y, x, plane = self._errors[self._at]
        go_to(self._viewer, self._shown, (y, x), plane)
        self._show_steps()

    def _show_steps(self) -> None:
        for button in (self.before, self.next):
            button.setEnabled(bool(self._errors))
        if not self._errors:
            self.where.setText("" if self._comparison is None else "No errors.")
        elif self._at < 0:
            self.where.setText(f"{plural(len(self._errors), 'error')}.")
        else:
            kind, y, x, plane = self._errors[self._at]
            where = f"plane {', '.join(map(str, plane))}, " if plane else ""
            self.where.setText(f"Error {self._at + 1} of {len(self._errors)}: {kind} at {where}y {y:.0f}, x {x:.0f}")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What became of every bead.

    Attributes
    ----------
    picture : (…, Y, X) uint8
        `HIT` and `FALSE_ALARM` on found beads, `MISS` over them on true ones, 0 elsewhere.
    beads : pandas.DataFrame
        One row per bead, misses first, then false alarms, then hits: ``kind``, ``id``, ``y``, ``x`` (px), and
        ``plane`` (its index; empty where one plane was compared).
    score : ImageScore
        The scores, as `beadseg-batch evaluate` computes them; of several planes the counts of all together, and the
        mean of the average precisions.
    """

    picture: NDArray[np.uint8]
    beads: pd.DataFrame
    score: ImageScore


def compare(found: NDArray[np.integer], true: NDArray[np.integer]) -> Comparison:
    """Compare the beads found (Y, X) with the true ones (Y, X); what has a single id for all is taken for a mask.

    Raises
    ------
    InputError
        The sizes differ.
    """
    found_ids, true_ids = _instances(found), _instances(true)
    target = Target(true > 0, true_ids)
    score = score_image("", "", "", found > 0, found_ids, target)
    found_objects = visible_objects(found > 0, found_ids, None)
    true_objects = visible_objects(true > 0, true_ids, None)
    found_beads, true_beads = bead_table(found_objects), bead_table(true_objects)
    hit, met = _matched(found_beads, true_beads, score.tolerance_px)
    picture = _painted(found_objects, found_beads["id"][hit], HIT)
    wrong = _painted(found_objects, found_beads["id"][~hit], FALSE_ALARM)
    missed = _painted(true_objects, true_beads["id"][~met], MISS)
    for part in (wrong, missed):  # a miss is seen also where a neighbour was found over it
        picture[part > 0] = part[part > 0]
    rows = ((MISS, true_beads[~met]), (FALSE_ALARM, found_beads[~hit]), (HIT, found_beads[hit]))
    tables = [table[["id", "y", "x"]].assign(kind=KINDS[kind]) for kind, table in rows]
    beads = pd.concat(tables, ignore_index=True)[["kind", "id", "y", "x"]]
    return Comparison(picture, beads.assign(plane=_planes((), len(beads))), score)


def compare_stacks(found: Any, true: Any, on_event: OnEvent = ignore, stop: StopFlag | None = None) -> Comparison:
    """Compare all planes of two stacks (…, Y, X), which may be lazy.

    Raises
    ------
    Cancelled
        `stop` was set.
    """
    indices = list(np.ndindex(*found.shape[:-2]))
    parts = [
        compare(np.asarray(found[index]), np.asarray(true[index]))
        for index in track(indices, "planes", len(indices), on_event, stop)
    ]
    picture = np.stack([part.picture for part in parts]).reshape(found.shape)
    tables = [
        part.beads.assign(plane=_planes(index, len(part.beads))) for index, part in zip(indices, parts, strict=True)
    ]
    beads = pd.concat(tables, ignore_index=True)
    misses_first = beads.assign(order=beads["kind"].map({KINDS[MISS]: 0, KINDS[FALSE_ALARM]: 1, KINDS[HIT]: 2}))
    beads = misses_first.sort_values("order", kind="stable").drop(columns="order").reset_index(drop=True)
    return Comparison(picture, beads, pooled([part.score for part in parts]))


def _planes(index: tuple[int, ...], count: int) -> Any:
    """Return the same index for so many beads."""
    return [index] * count


def pooled(scores: Sequence[ImageScore]) -> ImageScore:
    """Return the scores of several planes together, from the sums of their pixels and beads."""
    detection = sum((score.detection for score in scores), Detection(0, 0, 0))
    pixels = [sum(getattr(score, f"{name}_px") for score in scores) for name in ("intersection", "predicted", "true")]
    overlap = Overlap(*pixels)
    found, true = (sum(getattr(score, name) for score in scores) for name in ("predicted_count", "true_count"))

    def mean(name: str) -> float | None:
        known = [value for score in scores if (value := getattr(score, name)) is not None]
        return sum(known) / len(known) if known else None

    return scores[0].replace(
        jaccard=overlap.jaccard, dice=overlap.dice, precision=detection.precision, recall=detection.recall,
        f1=detection.f1, ap50=mean("ap50"), mean_ap=mean("mean_ap"), predicted_count=found, true_count=true,
        count_error=found - true, relative_error=(found - true) / true if true else None, tp=detection.tp,
        fp=detection.fp, fn=detection.fn, intersection_px=pixels[0], predicted_px=pixels[1], true_px=pixels[2],
    )  # fmt: skip


def _instances(values: NDArray[np.integer]) -> NDArray[np.uint32] | None:
    """Return ids, or None for a mask: one value over several pieces."""
    present = np.unique(values)
    if len(present[present > 0]) == 1 and int(equal_regions(values > 0, connectivity=2).max()) > 1:
        return None
    return values.astype(np.uint32)


def _matched(
    found: pd.DataFrame, true: pd.DataFrame, tolerance: float | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which of the beads found have a true partner, and which of the true ones were found."""
    hit, met = np.zeros(len(found), bool), np.zeros(len(true), bool)
    if tolerance is not None:
        centres = [beads[["y", "x"]].to_numpy(dtype=np.float64) for beads in (found, true)]
        matching = match_points(centres[0], centres[1], tolerance)
        hit[matching.predicted] = True
        met[matching.true] = True
    return hit, met


def _painted(objects: NDArray[np.integer], ids: pd.Series[int], value: int) -> NDArray[np.uint8]:
    """Return (Y, X) uint8 with `value` on the objects of these ids."""
    chosen = np.zeros(int(objects.max(initial=0)) + 1, np.uint8)
    chosen[ids.to_numpy()] = value
    return np.asarray(chosen[objects])


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
