"""A validation image in the viewer, with its annotation and what the best model so far finds on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from beadseg import files
from beadseg.data import read_image, read_labels, read_mask
from beadseg.errors import BeadsegError, ImageError
from beadseg.runtime.process import Process
from beadseg.text import plural
from beadseg.widgets.common import Background, temporary_folder, text_of
from beadseg.widgets.common.background import Monitor
from beadseg.widgets.layers import StepQueue, add_beside, free_in_canvas, warm_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Layer
    from numpy.typing import NDArray

    from beadseg.events import OnEvent, StopFlag
    from beadseg.runtime.process import Outcome
    from beadseg.widgets.train.session import RunState, ValidationSample


ANNOTATION_COLOUR, MODEL_COLOUR = "#4c9be8", "#f0932b"


@dataclass(frozen=True)
class Picture:
    """What is put into the viewer."""

    sample: ValidationSample
    image: NDArray[Any]
    rgb: bool
    annotation: NDArray[Any] | None
    found: NDArray[np.uint32]


class ValidationOverlay(QObject):
    """Predicts one validation image again whenever the run has a better model.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
        Gets three layers, which are updated in place, one in a turn of the event loop: adding a layer takes the viewer
        a tenth of a second or more.
    """

    noted = Signal(str)
    """What is shown, or why nothing is."""

    def __init__(self, viewer: Any, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._wanted: tuple[RunState, ValidationSample] | None = None
        self._shown: object = None
        self._asked: object = None
        self._watcher = Monitor(self)
        self._watcher.ended.connect(self._predicted)
        self._reader = Background("reading the prediction", self)
        self._reader.returned.connect(self._show)
        self._reader.failed.connect(lambda error: self.noted.emit(text_of(error)))
        self._folder = temporary_folder()
        self._number = 0
        warm_up(viewer)
        free_in_canvas(viewer, self)
        self._turns = StepQueue(self)
        self._turns.ended.connect(self._again)

    def update(self, state: RunState | None, name: str) -> None:
        """Show the sample `name` as the best model of `state` sees it; nothing is done when that is shown already."""
        sample = None if state is None else next((one for one in state.validation if one.name == name), None)
        if state is None or sample is None:
            self._wanted = None
            return
        self._wanted = (state, sample)
        if state.best is None:
            self.noted.emit("The first epoch has not ended yet.")
        elif _key(state, sample) not in (self._shown, self._asked) and not self._busy:
            self._start(state, sample)

    def end_processes(self) -> None:
        """End the process and remove its files; for the end of the widget, touches no Qt object."""
        self._watcher.end_process()
        self._folder.cleanup()

    @property
    def _busy(self) -> bool:
        return self._watcher.running or self._reader.running or self._turns.active

    def _start(self, state: RunState, sample: ValidationSample) -> None:
        self._asked = _key(state, sample)
        if not sample.image.exists():
            self.noted.emit(f"{sample.image}: this validation image is not here, so the model cannot be shown on it.")
            return
        self._number += 1
        out = Path(self._folder.name) / str(self._number)
        words = ["predict", str(state.folder), str(sample.image), "--out", str(out), "--no-overlays", "--threads", "1",
                 "--json"]  # fmt: skip
        try:
            self._watcher.watch(Process.start(words, Path(self._folder.name) / "predict.jsonl"))
        except BeadsegError as error:
            self.noted.emit(str(error))

    def _predicted(self, outcome: Outcome) -> None:
        if self._wanted is None:
            return
        _, sample = self._wanted
        labels = _only_file(Path(self._folder.name) / str(self._number) / files.LABELS)
        if labels is None:
            self.noted.emit(outcome.message or "The model could not be shown on this image.")
            self._again()
            return

        def work(on_event: OnEvent, stop: StopFlag) -> Picture:
            return _read(sample, labels)

        self._reader.start(work)

    def _show(self, picture: Picture) -> None:
        self._shown = self._asked
        steps = [partial(self._put, "validation image", picture.image, partial(_image, rgb=picture.rgb))]
        if picture.annotation is not None:
            beads = partial(_outlines, colour=ANNOTATION_COLOUR)
            steps.append(partial(self._put, "annotation", picture.annotation, beads))
        steps.append(partial(self._put, "model so far", picture.found, partial(_outlines, colour=MODEL_COLOUR)))
        found = len(np.unique(picture.found)) - 1
        told = f"{picture.sample.name}: {plural(found, 'bead')} found; blue annotation, orange model."
        self._turns.start([*steps, partial(self.noted.emit, told)])

    def _again(self) -> None:
        """Take up what was asked for meanwhile."""
        if self._wanted is not None:
            state, sample = self._wanted
            self.update(state, sample.name)

    def _put(self, name: str, data: NDArray[Any], make: Callable[..., Layer]) -> None:
        """Give the layer of this widget new data, or add one; it is drawn in a turn of its own."""
        layer = next((layer for layer in self._viewer.layers if layer.metadata.get("beadseg_train") == name), None)
        if layer is not None and layer.data.shape == data.shape and layer.data.dtype == data.dtype:
            layer.data = data
            return
        if layer is not None:
            self._viewer.layers.remove(layer)
        layer = make(data, name=name, metadata={"beadseg_train": name}, visible=False)
        self._turns.insert(partial(setattr, layer, "visible", True))
        self._turns.insert(partial(add_beside, self._viewer, layer))


def _only_file(folder: Path) -> Path | None:
    """Return the labels of the one image that was predicted, whatever they are called (a.ome.tif, a.ome.zarr)."""
    found = sorted(folder.glob("[!.]*.tif")) if folder.is_dir() else []
    return found[0] if found else None


def _image(data: NDArray[Any], **options: Any) -> Layer:
    from napari.layers import Image

    return Image(data, **options)


def _outlines(data: NDArray[Any], colour: str, **options: Any) -> Layer:
    from napari.layers import Labels
    from napari.utils.colormaps import DirectLabelColormap

    layer = Labels(data, colormap=DirectLabelColormap(color_dict={None: colour, 0: "transparent"}), **options)
    layer.contour = 1
    layer.editable = False
    return layer


def _read(sample: ValidationSample, labels: Path) -> Picture:
    image = read_image(sample.image)
    data, rgb = image.data, image.channels == 3
    if "C" in image.axes:
        at = image.axes.index("C")
        data = np.moveaxis(data, at, -1) if rgb else np.take(data, 0, at)
    found = read_labels(labels).labels
    if found is None:
        raise ImageError("Holds no labels.", labels)
    return Picture(sample, data, rgb, _annotation(sample), found)


def _annotation(sample: ValidationSample) -> NDArray[Any] | None:
    """Return the annotation, None where it is no longer there."""
    if sample.mask is None or not sample.mask.exists():
        return None
    mask = read_labels(sample.mask) if sample.mask.parent.name == files.LABELS else read_mask(sample.mask)
    return mask.foreground.astype(np.uint8) if mask.labels is None else mask.labels


def _key(state: RunState, sample: ValidationSample) -> object:
    """Return what a picture depends on: the sample and the model."""
    try:
        changed = 0 if state.best is None else state.best.stat().st_mtime_ns
    except OSError:
        changed = 0
    return (state.folder, sample.name, changed)
