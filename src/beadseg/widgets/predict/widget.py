"""The Count widget: beads of images in the viewer, or of every image of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from qtpy.QtCore import QSize, Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPlainTextEdit,
    QPushButton,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from beadseg import files
from beadseg.config import GENERAL, TrainConfig
from beadseg.errors import ConfigError, InputError, RunError
from beadseg.model.checkpoint import general_file, model_file, named_model, read_meta
from beadseg.runtime.process import run_command
from beadseg.widgets.common import (
    Background,
    HelpButton,
    MessageArea,
    ProgressRow,
    guarded,
    in_window,
    temporary_folder,
)
from beadseg.widgets.common.settings import FolderField, PluginSettings, last, recent_models, remember_counted_with
from beadseg.widgets.improve import TeachPanel
from beadseg.widgets.layers import PluginWidget, scrolling, titled
from beadseg.widgets.predict.image_panel import ImagePanel
from beadseg.widgets.predict.numbers import NumbersPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import napari

    from beadseg.events import Event, OnEvent, StopFlag
    from beadseg.widgets.improve import Add

SIZE_PX = (400, 700)
"""Width and height that the widget asks for; it can be made narrower and wider."""

TEACH = (
    "Teaches the model by images that you corrected. Add some, improve the model with them in about a minute, and "
    "decide whether to count with the new one."
)
EMPTY = "Counts every image of a folder, and writes masks, tables and a report."
MOST_LINES = 2000
"""Shown of a long batch; all are in counts.csv."""

GENERAL_MODEL = "Comes with beadseg, for beads of any size"


class PredictWidget(PluginWidget):
    """Counts beads with the general model or a run.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.messages = MessageArea()
        self.run = FolderField(
            "general, or a run folder", "The general model, or the folder of a model that you trained"
        )
        self.about = QLabel()
        self.about.setTextFormat(Qt.TextFormat.PlainText)
        self.about.setWordWrap(True)
        self.image = ImagePanel(napari_viewer, self._run, self.messages)
        self.folder = FolderPanel(napari_viewer, self._run, self._chosen, self.messages)
        self.tabs = QTabWidget()
        self.tabs.addTab(scrolling(self.image), "Image")
        self.tabs.addTab(scrolling(self.folder), "Folder")
        self.links = ResultLinks()
        self.image.keep.background.returned.connect(lambda _: self.links.show_folder(self.image.keep.folder.value()))
        self.folder.background.returned.connect(lambda _: self.links.show_folder(self.folder.out.value()))
        self.numbers = NumbersPanel(self.messages)
        self.numbers.rows_chosen.connect(self.image.results.choose_beads)
        self.image.results.beads_shown.connect(lambda beads: self.numbers.show_beads(self.image.live, beads))
        self.tabs.insertTab(1, scrolling(self.numbers), "Numbers")
        self.teach = TeachPanel(self._run, self.messages, add=self._adds)
        self.teach.used.connect(lambda run: self.run.choose(Path(run)))
        self.tabs.addTab(scrolling(titled(TEACH, self.teach)), "Teach")
        self.tabs.setCornerWidget(HelpButton("Count"))
        form = QFormLayout()
        form.setContentsMargins(4, 4, 4, 0)
        form.addRow("Model", self._run_row())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addLayout(form)
        layout.addWidget(self.about)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.links)
        layout.addWidget(self.messages)
        self.run.valueChanged.connect(self._show_run)
        self.image.background.returned.connect(self._remember)
        self.about.setVisible(False)
        first = PluginSettings.read().run or (GENERAL if general_file().is_file() else "")
        if first:
            self.run.choose(Path(first))

    def sizeHint(self) -> QSize:
        """Leave the larger part of a small screen to the image."""
        return QSize(*SIZE_PX)

    def end(self) -> None:
        """Cancel what goes on; labels and centres stay in the viewer."""
        self.folder.background.cancel()
        self.teach.end()
        self.image.keep.background.cancel()
        self.image.end()

    def _run_row(self) -> QHBoxLayout:
        """Return the field of the model with the button that offers those used last."""
        self.recent = QToolButton()
        self.recent.setText("Recent")
        self.recent.setToolTip("Choose the general model, or a run that you counted with or trained before")
        self.recent.setStyleSheet("QToolButton { padding-right: 14px; } QToolButton::menu-indicator { right: 2px; }")
        self.recent.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self._menu = QMenu(self.recent)
        self._menu.aboutToShow.connect(self._fill_recent)
        self.recent.setMenu(self._menu)
        row = QHBoxLayout()
        row.addWidget(self.run, 1)
        row.addWidget(self.recent)
        return row

    def _fill_recent(self) -> None:
        """Offer the general model, and below it the runs used last."""
        self._menu.clear()
        if general_file().is_file():
            self._menu.addAction(GENERAL, lambda: self.run.choose(Path(GENERAL)))
        trained, _ = last()
        runs = dict.fromkeys([*recent_models(), *([] if trained is None else [trained])])
        if runs:
            self._menu.addSeparator()
        for run in runs:
            self._menu.addAction(str(run), lambda run=run: self.run.choose(run))

    def _remember(self) -> None:
        run = self.run.value()
        if run is not None and run != Path(GENERAL):
            remember_counted_with(run)

    def _adds(self, dataset: Path) -> Add:
        """Return what adds the image that is shown to a dataset."""
        from beadseg.widgets.predict.export import accept

        session = self.image.live.session
        if session is None:
            raise InputError("Nothing was counted yet.", remedy="Count an image first.")
        objects = session.objects
        return lambda on_event, stop: accept(session, objects, dataset, on_event, stop)

    def _run(self) -> Path:
        """Return where the model lies; raises `RunError` where there is none."""
        run = self._model()
        if run is None:
            raise RunError(
                "No model was chosen.", remedy=f"Give {GENERAL} or the folder of a trained model at the top."
            )
        run_info(run)
        return run

    def _model(self) -> Path | None:
        """Return where the model that is named at the top lies: the general one, or a run; None while nothing is."""
        run = self.run.value()
        return run if run is None else named_model(self.run.line.text().strip()) if run == Path(GENERAL) else run

    @guarded
    def _show_run(self) -> None:
        """Say what the run is, as soon as it is named."""
        self.about.setVisible(False)
        run = self._model()
        if run is not None:
            self.about.setText(run_info(run))
            self.about.setVisible(True)
            self.messages.clear()

    def _chosen(self) -> list[str]:
        """Return the options of `beadseg-batch predict` that say what the sliders say."""
        objects = self.image.sliders.value()
        if self.image.live.session is None:
            return []
        fields = {
            "threshold": objects.threshold,
            "min_area": "null" if objects.min_area is None else objects.min_area,
            "max_area": "null" if objects.max_area is None else objects.max_area,
            "min_circularity": objects.min_circularity,
            "min_focus": "null" if objects.min_focus is None else objects.min_focus,
            "border": objects.border,
            "min_confidence": objects.min_confidence,
            "separate": str(objects.separate).lower(),
            "seeds.distance": objects.seeds.distance,
        }
        return [word for name, value in fields.items() for word in ("--set", f"objects.{name}={value}")]


class ResultLinks(QWidget):
    """Opens the folder of results that was written last, and its page; hidden before."""

    def __init__(self) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.report, self.open = QPushButton("Open report"), QPushButton("Open folder")
        self.report.setToolTip("Show the page of the results in the browser")
        self.open.setToolTip("Show the files of the results")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for button, name in ((self.report, files.REPORT_PAGE), (self.open, "")):
            row.addWidget(button)
            button.clicked.connect(lambda _=False, name=name: self._open(name))
        self.setVisible(False)

    def show_folder(self, folder: Path | None) -> None:
        """Offer a folder where it holds results."""
        self.folder = folder if folder is not None and (folder / files.PREDICTION).is_file() else None
        self.setVisible(self.folder is not None)
        self.report.setEnabled(self.folder is not None and (self.folder / files.REPORT_PAGE).is_file())

    def _open(self, name: str) -> None:
        if self.folder is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.folder.absolute() / name)))


class FolderPanel(QWidget):
    """Runs `beadseg-batch predict` on a folder.

    Parameters
    ----------
    viewer : napari.Viewer
        Where results are opened.
    run : callable
        Returns the run folder; raises where there is none.
    chosen : callable
        Returns the ``--set`` options of what the sliders say.
    messages : MessageArea
        Where errors and news are shown.
    """

    def __init__(
        self, viewer: napari.Viewer, run: Callable[[], Path], chosen: Callable[[], list[str]], messages: MessageArea
    ) -> None:
        super().__init__()
        self._viewer, self._run, self._chosen, self.messages = viewer, run, chosen, messages
        self._done: Path | None = None
        self.background = Background("predicting", self)
        self.images = FolderField("Folder of images", "Every image in it is counted: PNG, JPEG, BMP, TIFF, OME-Zarr")
        self.out = FolderField("Folder of results", "Masks, labels, overlays, tables and counts are written here")
        self.sliders = QCheckBox("Use the slider settings")
        self.sliders.setToolTip("Use threshold, separation, size and confidence as set for the image, not as trained")
        self.again = QCheckBox("again what was counted before")
        self.again.setToolTip("Otherwise images with results of the same file, model and options are skipped")
        self.predict = QPushButton("Count folder")
        self.predict.setToolTip("Count all images of the folder")
        self.open = QPushButton("Open results")
        self.open.setToolTip("Show images, labels and centres of the results as layers")
        self.lines = QPlainTextEdit()
        self.lines.setReadOnly(True)
        self.lines.setMaximumBlockCount(MOST_LINES)
        self.lines.setToolTip("What became of every image")
        self._build()
        self._show_state()

    def _build(self) -> None:
        hint = QLabel(EMPTY)
        hint.setWordWrap(True)
        form = QFormLayout()
        form.addRow("Images", self.images)
        form.addRow("Results", self.out)
        form.addRow(self.sliders)
        form.addRow(self.again)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.addWidget(hint)
        layout.addLayout(form)
        for widget in (self.predict, ProgressRow(self.background)):
            layout.addWidget(widget)
        layout.addWidget(self.lines, 1)
        layout.addWidget(self.open)
        self.predict.clicked.connect(self._predict)
        self.open.clicked.connect(self._open)
        self.background.happened.connect(self._note)
        self.background.returned.connect(self._show_result)
        self.background.failed.connect(self.messages.show_error)
        for signal in (self.background.started, self.background.ended):
            signal.connect(self._show_state)

    def _show_state(self) -> None:
        self.predict.setEnabled(not self.background.running)
        self.open.setEnabled(self._done is not None and not self.background.running)

    @guarded
    def _predict(self) -> None:
        images, out = self.images.value(), self.out.value()
        if images is None or out is None:
            raise InputError("Two folders are needed.", remedy="Give the folder of the images and one for the results.")
        if not images.exists():
            raise InputError("No such folder.", images, "Check the path.")
        chosen = self._chosen() if self.sliders.isChecked() else []
        words = ["predict", str(self._run()), str(images), "--out", str(out), *PluginSettings.read().options(), *chosen]
        words += ["--again"] if self.again.isChecked() else []
        self.messages.clear()
        self.lines.clear()
        self._done = out
        self.background.start(lambda on_event, stop: _predicted(words, on_event, stop))

    def _note(self, event: Event) -> None:
        if event.kind in ("count", "failure", "log", "warning", "error") and event.message:
            self.lines.appendPlainText(in_window(event.message))

    @guarded
    def _show_result(self, result: Event | None) -> None:
        if result is not None:
            self.messages.show_text(result.message.splitlines()[0], "good" if result.level == "info" else "warning")

    @guarded
    def _open(self) -> None:
        from beadseg.widgets.io.folder_layers import read_prediction

        if self._done is None:
            raise InputError("Nothing was counted yet.", remedy="Press Count folder first.")
        for layer in read_prediction(self._done):
            self._viewer.add_layer(Layer.create(*layer))


def _predicted(words: Sequence[str], on_event: OnEvent, stop: StopFlag) -> Event | None:
    """Run the command; return its last word."""
    with temporary_folder() as folder:
        events = run_command(words, Path(folder) / "events", on_event, stop)
    return next((event for event in reversed(events) if event.kind == "result"), None)


def run_info(run: Path) -> str:
    """Return what a person wants to know of a run before predicting with it.

    Raises
    ------
    RunError
        There is no model there, it is damaged, or of a newer version.
    """
    path = model_file(run)
    meta: dict[str, Any] = read_meta(path)
    if meta.get("kind") != "model":
        raise RunError("This checkpoint is for resuming, not for prediction.", path, "Give the run folder.")
    try:
        config = TrainConfig.parse(meta["config"], path)
    except (ConfigError, KeyError) as error:
        detail = error.what if isinstance(error, ConfigError) else str(error)
        text = f"Does not fit this version of beadseg ({detail})."
        raise RunError(text, path, "Update beadseg, or train again.") from None
    objects, size = config.predict.objects, config.predict.size
    if run == general_file():
        return GENERAL_MODEL
    diameter = size.diameter or objects.diameter
    beads = "" if diameter is None else f", beads of {diameter:.1f} px"
    unfinished = "" if run.is_file() or (run / files.CRITERIA).exists() else "; its training is not finished"
    return f"{config.network.kind}{beads}, threshold {objects.threshold:g}{unfinished}"
