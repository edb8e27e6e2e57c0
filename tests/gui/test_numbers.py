"""The numbers of a plane: bars that select beads, colours, the table on the clipboard and in files; beads left out."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytestmark = pytest.mark.gui
pytest.importorskip("napari")

BEADS = pd.DataFrame(
    {
        "id": np.arange(1, 61),
        "y": np.linspace(5, 90, 60),
        "x": np.linspace(90, 5, 60),
        "area_px": np.repeat([30, 40, 80], 20),
        "equivalent_diameter_px": np.repeat([2.2, 7.1, 12.1], 20),
        "confidence": np.linspace(0.3, 0.9, 60),
        "focus": np.full(60, np.nan),
        "counted": np.arange(60) % 2 == 0,
    }
)


@pytest.fixture
def shown(make_napari_viewer: Any, qtbot: Any) -> tuple[Any, Any, Any]:
    """A viewer with a point on every bead, the panel, and its messages."""
    from beadseg.widgets.common import MessageArea
    from beadseg.widgets.predict.numbers import NumbersPanel

    viewer = make_napari_viewer()
    points = viewer.add_points(BEADS[["y", "x"]].to_numpy(), features=BEADS, face_color="transparent")
    live = SimpleNamespace(shown=SimpleNamespace(centres=points, layers=[points]))
    messages = MessageArea()
    panel = NumbersPanel(messages)
    for widget in (messages, panel):
        qtbot.addWidget(widget)
    panel.show()
    panel.show_beads(live, BEADS)
    return panel, points, messages


def click_bar(panel: Any, number: int) -> None:
    from matplotlib.backend_bases import MouseButton, MouseEvent

    (axes,) = panel.figure.axes
    bar = axes.patches[number]
    panel.canvas.draw()
    x, y = axes.transData.transform((bar.get_x() + bar.get_width() / 2, bar.get_height() / 2))
    event = MouseEvent("button_press_event", panel.canvas, x, y, MouseButton.LEFT)
    panel.canvas.callbacks.process("button_press_event", event)


def test_what_is_known_of_the_beads_can_be_chosen(shown: Any) -> None:
    panel, _, _ = shown
    offered = [panel.shown_property.itemText(at) for at in range(panel.shown_property.count())]
    assert offered == ["Diameter, px", "Area, px²", "Confidence"]
    assert "60 beads: median 7.1" in panel.about.text()


def test_a_bar_selects_its_beads(shown: Any) -> None:
    panel, points, _ = shown
    chosen: list[list[int]] = []
    panel.rows_chosen.connect(chosen.append)
    click_bar(panel, 0)
    assert chosen[-1] == list(range(20))
    assert points.selected_data == set(range(20))
    last = len(panel.figure.axes[0].patches) - 1
    click_bar(panel, last)
    assert chosen[-1] == [*range(20), *range(40, 60)]
    click_bar(panel, 0)
    assert chosen[-1] == list(range(40, 60))
    assert panel.about.text() == "20 beads selected."


def test_beads_are_coloured_and_are_not_any_more(shown: Any) -> None:
    panel, points, _ = shown
    panel.shown_property.setCurrentIndex(panel.shown_property.findData("confidence"))
    panel.colour.setChecked(True)
    colours = np.asarray(points.face_color)
    assert len(np.unique(colours, axis=0)) > 40
    assert colours[-1][0] > colours[0][0]
    panel.colour.setChecked(False)
    assert not np.asarray(points.face_color)[:, 3].any()


def test_the_table_is_pasted_into_a_spreadsheet(shown: Any, qtbot: Any) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QApplication

    panel, _, messages = shown
    qtbot.mouseClick(panel.copy, Qt.MouseButton.LeftButton)
    lines = QApplication.clipboard().text().splitlines()
    assert lines[0].split("\t") == list(BEADS.columns)
    assert lines[1].split("\t") == ["1", "5", "90", "30", "2.2", "0.3", "", "True"]
    assert len(lines) == 61
    click_bar(panel, 0)
    qtbot.mouseClick(panel.copy, Qt.MouseButton.LeftButton)
    assert len(QApplication.clipboard().text().splitlines()) == 21
    assert messages.text == "Copied 20 beads: paste them into a spreadsheet."


@pytest.mark.parametrize("name", ["beads.csv", "beads.xlsx"])
def test_the_table_is_saved(shown: Any, tmp_path: Path, name: str) -> None:
    panel, _, messages = shown
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
    panel.write(tmp_path / name)
    table = pd.read_csv(tmp_path / name) if name.endswith("csv") else pd.read_excel(tmp_path / name)
    assert list(table.columns) == list(BEADS.columns)
    assert np.allclose(table["confidence"], BEADS["confidence"], rtol=1e-5)
    assert messages.tone == "good"


def test_a_histogram_that_is_not_seen_is_drawn_when_it_is(shown: Any) -> None:
    """It is drawn for a tenth of a second, which a correction on the other tab must not wait for."""
    panel, _, _ = shown
    panel.hide()
    before = panel.figure.axes
    panel.show_beads(None, BEADS.iloc[:10])
    assert panel.figure.axes == before
    assert panel.about.text().startswith("10 beads")
    panel.show()
    assert sum(bar.get_height() for bar in panel.figure.axes[0].patches) == 10


def test_nothing_is_shown_of_no_beads(shown: Any) -> None:
    panel, _, _ = shown
    panel.show_beads(None, pd.DataFrame())
    assert not panel.copy.isEnabled()
    assert panel.about.text().startswith("Count an image first")
    assert len(panel.figure.axes[0].patches) == 0


@pytest.mark.parametrize(
    ("values", "bars"),
    [
        ([], 0),
        ([np.nan, np.nan], 0),
        ([3.0, 3.0], 1),
        ([1.0, 2.0, np.nan], None),
        (list(np.geomspace(1, 1e6, 500)), None),
    ],
)
def test_edges_of_bars(values: list[float], bars: int | None) -> None:
    from beadseg.widgets.predict.numbers import MOST_BARS, bar_of, edges_of

    array = np.array(values, float)
    edges = edges_of(array)
    if bars is not None:
        assert max(0, len(edges) - 1) == bars
    assert len(edges) <= MOST_BARS + 1
    placed = bar_of(array, edges)
    assert np.array_equal(placed > 0, np.isfinite(array))


def test_the_sliders_leave_beads_out(qtbot: Any) -> None:
    from beadseg.config.predict import ObjectConfig
    from beadseg.widgets.predict.object_sliders import ObjectSliders

    sliders = ObjectSliders()
    qtbot.addWidget(sliders)
    sliders.setValue(ObjectConfig(diameter=7.0))
    said: list[ObjectConfig] = []
    sliders.valueChanged.connect(said.append)
    assert sliders.largest.value() == sliders.largest.maximum()
    sliders.largest.setValue(60)
    sliders.circularity.setValue(0.7)
    sliders.focus.setValue(0.4)
    sliders.border.setCurrentIndex(sliders.border.findData("exclude"))
    last = said[-1]
    assert (last.max_area, last.min_circularity, last.min_focus, last.border) == (60, 0.7, 0.4, "exclude")
    sliders.reset.click()
    assert said[-1] == ObjectConfig(diameter=7.0)
    assert sliders.largest.value() == sliders.largest.maximum()


def test_results_are_opened(qtbot: Any, tmp_path: Path) -> None:
    from qtpy import PYSIDE6
    from qtpy.QtCore import QObject, QUrl, Slot
    from qtpy.QtGui import QDesktopServices

    from beadseg.widgets.predict.widget import ResultLinks

    class Desktop(QObject):
        opened: list[str] = []  # noqa: RUF012

        @Slot(QUrl)
        def take(self, url: QUrl) -> None:
            self.opened.append(url.toLocalFile())

    desktop = Desktop()
    QDesktopServices.setUrlHandler("file", *((desktop, "take") if PYSIDE6 else (desktop.take,)))
    try:
        links = ResultLinks()
        qtbot.addWidget(links)
        links.show_folder(tmp_path)
        assert not links.isVisibleTo(None)
        (tmp_path / "prediction.json").write_text("{}")
        links.show_folder(tmp_path)
        assert links.isVisibleTo(None)
        assert not links.report.isEnabled()
        (tmp_path / "report.html").write_text("<p>")
        links.show_folder(tmp_path)
        links.report.click()
        links.open.click()
        assert desktop.opened[0] == str(tmp_path / "report.html")
        assert desktop.opened[1].rstrip("/") == str(tmp_path)
    finally:
        QDesktopServices.unsetUrlHandler("file")
