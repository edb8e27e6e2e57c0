"""Count, tables of beads and planes, and the count in a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.path import Path as Outline
from qtpy.QtCore import QAbstractTableModel, QItemSelection, QItemSelectionModel, QSize, Qt, Signal
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QAbstractItemView, QApplication, QLabel, QTableView, QVBoxLayout, QWidget
from skimage.draw import polygon2mask

from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Labels, Shapes
    from numpy.typing import NDArray
    from qtpy.QtCore import QModelIndex, QPersistentModelIndex

    Index = QModelIndex | QPersistentModelIndex

LEAST_WIDTH = 56
"""Of a column, screen px."""
LEAST_HEIGHT = 84
"""Of a table, screen px."""
PLANES_HEIGHT = 96
"""Of the table of planes, screen px."""

UNITS = {"_px2": "px²", "_um2": "µm²", "_px": "px", "_um": "µm"}
"""What the endings of columns stand for; those of areas are squared."""
DIGITS = 4
"""Significant digits of a real number."""

WHOLE = 100.0
"""Densities from here on are shown without decimals."""
ELLIPSE_POINTS = 180
"""Corners that an ellipse is drawn with: it is smaller by 0.02 per cent."""
AREAS = ("rectangle", "polygon", "ellipse")
"""Kinds of shapes that have an inside."""


class ResultsView(QWidget):
    """Shows what was found; a row that a person chooses is signalled."""

    bead_chosen = Signal(int)
    """Row of the bead table."""
    beads_shown = Signal(object)
    """Another bead table is shown: a `pandas.DataFrame`, empty where there is none."""
    plane_chosen = Signal(int)
    """Number of a plane."""
    image_chosen = Signal(str)
    """Name of an image in the table of images."""
    region_chosen = Signal(int)
    """Number of a shape, from 0."""
    removal_asked = Signal()
    """The Delete key was pressed in the bead table."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.title = QLabel()
        self.title.setToolTip("The image, and where it is a stack the plane, that the number belongs to")
        self.count = QLabel()
        self.count.setStyleSheet("font-size: 16pt; font-weight: bold;")
        self.count.setToolTip("Beads in the plane that is shown, or in the region, as chosen by the sliders")
        self.detail = QLabel()
        for label in (self.title, self.detail):
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setWordWrap(True)
        self.beads, self.planes, self.images, self.regions = (FrameModel() for _ in range(4))
        self._images: dict[str, dict[str, Any]] = {}
        self.bead_view = _view(
            self.beads,
            "Click a row to go to the bead; click a bead in the image to find its row. Delete removes the bead",
        )
        self.plane_view = _view(self.planes, "Beads of every plane; click a row to show the plane")
        self.image_view = _view(self.images, "Every image that was counted; click a row to show it")
        self.region_view = _view(
            self.regions, "Beads, area and density of every shape; click a row to select the shape"
        )
        for view in (self.plane_view, self.image_view, self.region_view):
            view.setFixedHeight(PLANES_HEIGHT)
            view.setVisible(False)
        self.head = QWidget()
        """Name, count and density, which whoever holds this view puts where they are seen."""
        tables = (self.region_view, self.plane_view, self.image_view)
        for place, parts in ((self.head, (self.title, self.count, self.detail)), (self, tables)):
            column = QVBoxLayout(place)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(2)
            for part in parts:
                column.addWidget(part)
        column.addWidget(self.bead_view, 1)
        self._selecting = False
        self.bead_view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        keys = QKeySequence.StandardKey
        for key, action in ((keys.Delete, self.removal_asked), (keys.Copy, self._copy_rows)):
            shortcut = QShortcut(QKeySequence(key), self.bead_view)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(action)
        _rows_chosen(self.bead_view, self._bead_row)
        _rows_chosen(self.plane_view, self._plane_row)
        _rows_chosen(self.image_view, self._image_row)
        _rows_chosen(self.region_view, self._region_row)

    def show_detail(self, lines: Sequence[str]) -> None:
        """Show density and interval; of a count that is still being measured, nothing in the same place."""
        self.detail.setMinimumHeight(0 if lines else self.detail.height())
        self.detail.setText("\n".join(lines))

    def show_title(self, title: str) -> None:
        """Show what the number belongs to."""
        self.title.setText(title)

    def show_count(self, count: int) -> None:
        """Show the number of beads."""
        self.count.setText(plural(count, "bead"))

    def show_beads(self, beads: pd.DataFrame) -> None:
        """Show the bead table of the plane."""
        other = list(beads.columns) != list(self.beads.table.columns)
        self._selecting = True
        self.beads.set_table(beads)
        self._selecting = False
        across = self.bead_view.horizontalHeader()
        if other and across is not None:
            across.setSortIndicator(-1, across.sortIndicatorOrder())  # no arrow over rows that are not sorted
        if other and across is not None:
            for column in range(len(beads.columns)):
                self.bead_view.setColumnWidth(column, max(LEAST_WIDTH, across.sectionSizeHint(column)))
        self.beads_shown.emit(beads)

    def show_planes(self, names: Sequence[str], counts: Sequence[int]) -> None:
        """Show the counts of all planes; nothing of a single image."""
        self.plane_view.setVisible(len(names) > 1)
        if len(names) > 1:
            self._selecting = True
            self.planes.set_table(pd.DataFrame({"plane": names, "beads": counts}))
            self._selecting = False
            self.plane_view.setToolTip(
                f"Beads of every plane, {plural(sum(counts), 'bead')} in all; click a row to show the plane"
            )

    def take_image(self, row: dict[str, Any]) -> None:
        """Put an image into the table of images, or its new count; the table is shown from the second image on."""
        if self._images.get(row["image"]) == row:
            return
        self._images[row["image"]] = row
        self._selecting = True
        self.images.set_table(pd.DataFrame(list(self._images.values())).astype(object))
        self._selecting = False
        self.image_view.setVisible(len(self._images) > 1)

    def show_regions(self, rows: Sequence[dict[str, Any]]) -> None:
        """Show what is in every shape; nothing where there is only one."""
        self.region_view.setVisible(len(rows) > 1)
        self._selecting = True
        self.regions.set_table(pd.DataFrame([_region_cells(row) for row in rows]).astype(object))
        self._selecting = False

    def choose_beads(self, rows: list[int]) -> None:
        """Select rows of the bead table; the view stays where it is."""
        chosen = QItemSelection()
        for row in rows:
            index = self.beads.index(self.beads.row_of(row), 0)
            chosen.select(index, index)
        flags = QItemSelectionModel.SelectionFlag
        selection = self.bead_view.selectionModel()
        if selection is not None:
            selection.select(chosen, flags.ClearAndSelect | flags.Rows)

    def _copy_rows(self) -> None:
        """Put the selected rows, all where none is, on the clipboard as a spreadsheet takes them."""
        selection, clipboard = self.bead_view.selectionModel(), QApplication.clipboard()
        rows = [] if selection is None else sorted(index.row() for index in selection.selectedRows())
        table = self.beads.table.iloc[[self.beads.position_of(row) for row in rows or range(len(self.beads.table))]]
        if clipboard is not None:
            clipboard.setText(pasted(table))

    def choose_bead(self, row: int) -> None:
        """Select and show a row of the bead table, as a click on a bead asks for."""
        if not 0 <= row < len(self.beads.table):
            return
        index = self.beads.index(self.beads.row_of(row), 0)
        flags = QItemSelectionModel.SelectionFlag
        self._selecting = True
        selection = self.bead_view.selectionModel()
        if selection is not None:
            selection.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
        self._selecting = False
        self.bead_view.scrollTo(index, QAbstractItemView.ScrollHint.PositionAtCenter)

    @property
    def chosen_row(self) -> int | None:
        """Row of the bead table that is chosen; None for none."""
        index = self.bead_view.currentIndex()
        return self.beads.position_of(index.row()) if index.isValid() else None

    def clear(self) -> None:
        """Show nothing."""
        self.title.setText("")
        self.count.setText("")
        self.detail.setText("")
        self.detail.setMinimumHeight(0)
        self.show_beads(pd.DataFrame())
        self.show_planes([], [])

    def _bead_row(self, row: int) -> None:
        if not self._selecting:
            self.bead_chosen.emit(self.beads.position_of(row))

    def _image_row(self, row: int) -> None:
        if not self._selecting:
            self.image_chosen.emit(str(self.images.table["image"].iloc[self.images.position_of(row)]))

    def _region_row(self, row: int) -> None:
        number = self.regions.table["shape"].iloc[self.regions.position_of(row)]
        if not self._selecting and number != "all":
            self.region_chosen.emit(int(number) - 1)

    def _plane_row(self, row: int) -> None:
        if not self._selecting:
            self.plane_chosen.emit(self.planes.position_of(row))


def _region_cells(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is shown of a row of ``regions.csv``."""
    kind = "corrected" if row["corrected"] != "" else "beads"
    if row["area_mm2"] == "":
        area, density = {"area_px2": row["area_px"]}, {"per megapixel": row[f"{kind}_per_mpx"]}
    else:
        area, density = {"area, mm²": row["area_mm2"]}, {"per mm²": row[f"{kind}_per_mm2"]}
    return {"shape": row["shape"] or "all", "beads": row[kind], **area, **density}


def pasted(table: pd.DataFrame) -> str:
    """Return a table as a spreadsheet takes it from the clipboard: a tab between cells, nothing for NaN."""
    cells = table.map(lambda value: f"{value:.6g}" if isinstance(value, float | np.floating) else str(value))
    return str(cells.replace("nan", "").to_csv(sep="\t", index=False, lineterminator="\n"))


class _Table(QTableView):
    """Asks for little height, so that what holds it needs not scroll; it takes what is left."""

    def sizeHint(self) -> QSize:
        """Return the preferred size."""
        return QSize(super().sizeHint().width(), LEAST_HEIGHT)


def _view(model: FrameModel, explained: str) -> QTableView:
    view = _Table()
    view.setModel(model)
    view.setToolTip(explained)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    view.setSortingEnabled(True)
    view.setMinimumHeight(LEAST_HEIGHT)
    view.setTabKeyNavigation(False)
    header = view.verticalHeader()
    if header is not None:
        header.setVisible(False)
        header.setDefaultSectionSize(20)
    across = view.horizontalHeader()
    if across is not None:
        across.setDefaultSectionSize(72)
        across.setSortIndicator(-1, across.sortIndicatorOrder())
    return view


def _rows_chosen(view: QTableView, told: object) -> None:
    selection = view.selectionModel()
    if selection is not None:
        selection.currentRowChanged.connect(lambda now, before: told(now.row()) if now.isValid() else None)  # type: ignore[operator]


class FrameModel(QAbstractTableModel):
    """Shows a `pandas.DataFrame`, read only; columns can be sorted by."""

    def __init__(self) -> None:
        super().__init__()
        self._table = pd.DataFrame()
        self._order: np.ndarray[Any, np.dtype[np.int64]] = np.zeros(0, np.int64)
        self._columns: list[np.ndarray[Any, Any]] = []
        self._sorted: tuple[int, Qt.SortOrder] | None = None

    @property
    def table(self) -> pd.DataFrame:
        """The table, in its own order."""
        return self._table

    def set_table(self, table: pd.DataFrame) -> None:
        """Show another table, sorted as the one before."""
        self.beginResetModel()
        if list(table.columns) != list(self._table.columns):
            self._sorted = None
        self._table = table
        self._columns = [table[name].to_numpy() for name in table.columns]
        self._order = self._ordered()
        self.endResetModel()

    def row_of(self, position: int) -> int:
        """Return the row in which the table's row `position` is shown."""
        return int(np.flatnonzero(self._order == position)[0])

    def position_of(self, row: int) -> int:
        """Return which of the table's rows is shown in a row."""
        return int(self._order[row])

    def rowCount(self, parent: Index | None = None) -> int:
        """Return the number of rows."""
        return 0 if parent is not None and parent.isValid() else len(self._table)

    def columnCount(self, parent: Index | None = None) -> int:
        """Return the number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self._columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the text of a cell, or how it is aligned."""
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(self._columns[index.column()][self._order[index.row()]])
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return the name of a column."""
        if role == Qt.ItemDataRole.DisplayRole and orientation == Qt.Orientation.Horizontal:
            name = str(self._table.columns[section])
            for ending, unit in UNITS.items():
                if name.endswith(ending):
                    name = name.removesuffix(ending)
                    name = f"{name}, {unit}²" if name.endswith("area") else f"{name}, {unit}"
                    break
            return name.replace("_", "\n").replace(", ", ",\n")  # a word a line: columns stay narrow
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column, by none where it is -1; the rows that are selected stay the same beads."""
        self._sorted = (column, order) if column >= 0 else None
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        beads = [self.position_of(index.row()) for index in before]
        self._order = self._ordered()
        rows = np.empty(len(self._order), np.int64)
        rows[self._order] = np.arange(len(self._order))
        after = [self.index(int(rows[bead]), index.column()) for bead, index in zip(beads, before, strict=True)]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _ordered(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        if self._sorted is None or not 0 <= self._sorted[0] < len(self._columns):
            return np.arange(len(self._table))
        values = self._columns[self._sorted[0]]
        order = np.argsort(values, kind="stable")
        return order if self._sorted[1] == Qt.SortOrder.AscendingOrder else order[::-1]


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if isinstance(value, float | np.floating):
        return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
    return str(value)


def whole_count(row: dict[str, Any]) -> int:
    """Return the count of a row of ``counts.csv`` or ``regions.csv``: as a person corrected it, else the automatic."""
    return int(row["corrected"] if row.get("corrected", "") != "" else row["beads"])


def area_text(row: dict[str, Any]) -> str:
    """Return the area of a row of ``regions.csv``, in words."""
    return f"{row['area_px']:,} px²" if row["area_mm2"] == "" else f"{row['area_mm2']:,.4g} mm²"


def density_lines(row: dict[str, Any]) -> list[str]:
    """Return what a row of ``counts.csv`` or ``regions.csv`` says of density and interval, in words."""
    corrected = row.get("corrected", "") != ""
    unit, per = ("mm²", "per_mm2") if row["beads_per_mm2"] != "" else ("megapixel", "per_mpx")
    density = row[f"{'corrected' if corrected else 'beads'}_{per}"]
    lines = [] if density == "" else [f"{density_text(float(density))} per {unit}"]
    if row["beads_low"] != "" and not corrected:
        lines.append(f"95 % interval of the count: {row['beads_low']:,.0f} to {row['beads_high']:,.0f}")
    return lines


def corrected_lines(row: dict[str, Any]) -> list[str]:
    """Return what a row says of a count that a person corrected, and of the automatic one beside it."""
    per = "per_mm2" if row["beads_per_mm2"] != "" else "per_mpx"
    low, high = (density_text(float(row[f"corrected_{per}_total_{limit}"])) for limit in ("low", "high"))
    lines = [f"{line}, by sampling alone {low} to {high} (95 %)" for line in density_lines(row)]
    interval = f", 95 % interval {row['beads_low']:,.0f} to {row['beads_high']:,.0f}" if row["beads_low"] != "" else ""
    return [*lines, f"Automatic: {plural(row['beads'], 'bead')}{interval}"]


def density_text(value: float) -> str:
    """Return a density without digits that a count cannot have."""
    return f"{value:,.0f}" if value >= WHOLE else f"{value:,.3g}"


@dataclass(frozen=True, eq=False)
class Region:
    """The shapes of a layer, in pixels of an image; made in the viewer's thread, used in any.

    Attributes
    ----------
    name : str
        Of the layer.
    outlines : tuple
        Of every shape that has an inside: the plane that it was drawn on, None where on all, and its outline (N, 2),
        (y, x) px.
    """

    name: str
    outlines: tuple[tuple[tuple[int, ...] | None, NDArray[np.float64]], ...]
    shape: int | str = ""
    """Number of the shape in the layer, from 1; empty of all together."""

    @property
    def parts(self) -> list[Region]:
        """A region of every shape; none where there is only one."""
        if len(self.outlines) < 2:
            return []
        return [Region(self.name, (outline,), number) for number, outline in enumerate(self.outlines, start=1)]

    @classmethod
    def of(cls, shapes: Shapes, labels: Labels) -> Region:
        """Look at a layer of shapes; shapes with more axes than y and x belong to the plane they were drawn on."""
        outlines = []
        for corners, kind in zip(shapes.data, shapes.shape_type, strict=True):
            if kind not in AREAS:
                continue
            places = [labels.world_to_data(_padded(shapes.data_to_world(corner), labels.ndim)) for corner in corners]
            own = np.array(places, float)
            flat = own[:, -2:]
            plane = tuple(int(at) for at in np.rint(own[0, :-2])) if np.asarray(corners).shape[1] > 2 else None
            outlines.append((plane, _ellipse(flat) if kind == "ellipse" else flat))
        return cls(str(shapes.name), tuple(outlines))

    def on(self, plane: tuple[int, ...]) -> list[NDArray[np.float64]]:
        """Return the outlines that are on a plane."""
        return [outline for own, outline in self.outlines if own is None or own == plane]

    def inside(self, plane: tuple[int, ...], centres: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell of every centre (N, 2), (y, x) px, whether it lies in a shape of the plane."""
        found = np.zeros(len(centres), bool)
        for outline in self.on(plane):
            found |= Outline(outline).contains_points(centres)
        return found

    def area(self, plane: tuple[int, ...], size: tuple[int, int]) -> int:
        """Return how many pixels of an image of a size have their centre in a shape; what overlaps counts once."""
        covered = np.zeros(size, bool)
        for outline in self.on(plane):
            low = np.maximum(np.floor(outline.min(axis=0)).astype(int), 0)
            high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 1, size)
            if (high <= low).any():
                continue
            part = tuple(int(length) for length in high - low)
            mask: NDArray[np.bool_] = polygon2mask(part, outline - low)  # type: ignore[no-untyped-call]
            covered[low[0] : high[0], low[1] : high[1]] |= mask
        return int(covered.sum())


def _padded(place: Any, ndim: int) -> NDArray[np.float64]:
    """Return world coordinates with as many axes as a layer has, zeros before them."""
    place = np.asarray(place, float)[-ndim:]
    return np.concatenate([np.zeros(ndim - len(place)), place])


def _ellipse(corners: NDArray[Any]) -> NDArray[np.float64]:
    """Return the outline of the ellipse in a box of four corners, which may be turned."""
    middle = corners.mean(axis=0)
    half = np.stack([(corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2])
    angle = np.linspace(0, 2 * np.pi, ELLIPSE_POINTS, endpoint=False)
    return np.asarray(middle + np.column_stack([np.cos(angle), np.sin(angle)]) @ half)
