"""Take the pictures of the napari pages from the running program, with simulated data only.

Run ``python docs/screenshots.py`` in a desktop session, or ``xvfb-run -s "-screen 0 1280x1024x24" python
docs/screenshots.py`` without a screen. It writes ``docs/images/napari-*.png``, and of each of the four jobs (count,
correct, teach, review) a short film, ``napari-film-*.gif``. ``--only review`` takes some of them, ``--theme light``
others than those of the guide, ``--out DIR`` elsewhere.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IMAGES = Path(__file__).with_name("images")
SIZE = (1280, 800)
"""Of the window, px."""
COLOURS = (256, 128, 64, 32)
"""Of a picture's palette: the most with which it has at most `LARGEST` bytes."""
FILM, FILM_SIZE, FILM_MS, FILM_COLOURS = "film-", (640, 400), 1800, 64
"""Beginning of the names of films; the size of their pictures, px, how long each is seen, and their colours."""
LARGEST = 150_000
PATIENCE_S = 300.0
"""Longest wait for anything."""


class Studio:
    """A viewer with one of the plugin's widgets in it, and a camera.

    Parameters
    ----------
    name : str
        Of the widget, as in the menu.
    out : pathlib.Path
        Where pictures go.
    theme : str
        Of napari: ``dark`` or ``light``.
    """

    def __init__(self, name: str, out: Path, theme: str) -> None:
        import napari

        self.viewer = napari.Viewer(show=True)
        self.viewer.theme = theme
        self.viewer.window.resize(*SIZE)
        self.widget: Any = self.viewer.window.add_plugin_dock_widget("beadseg", name)[1]
        self.wait(lambda: getattr(self.widget, "content", self.widget) is not None)  # its modules are loaded
        self.widget = getattr(self.widget, "content", self.widget)
        self._out = out
        self._films: dict[str, list[Image.Image]] = {}

    def wait(self, ready: Callable[[], bool]) -> None:
        """Let the program go on until `ready`."""
        from qtpy.QtWidgets import QApplication

        end = time.monotonic() + PATIENCE_S
        while not ready():
            QApplication.processEvents()
            time.sleep(0.01)
            if time.monotonic() > end:
                sys.exit("The program did not become ready for a picture.")

    def rest(self, seconds: float = 0.7) -> None:
        """Let everything be drawn."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() > end)

    def key(self, letter: str) -> None:
        """Press a key on the canvas."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.keyClick(self.viewer.window._qt_viewer.canvas.native, getattr(Qt.Key, f"Key_{letter}"))
        self.rest()

    def shot(self, name: str) -> None:
        """Take a picture of the whole window; of a film, its next one."""
        self.rest()
        if name.startswith(FILM):
            taken = Image.fromarray(self.viewer.window.screenshot(flash=False, canvas_only=False)).convert("RGB")
            self._films.setdefault(name, []).append(taken.resize(FILM_SIZE, Image.Resampling.LANCZOS))
            return
        path = self._out / f"napari-{name}.png"
        self.viewer.window.screenshot(str(path), flash=False, canvas_only=False)
        with Image.open(path) as taken:
            picture = taken.convert("RGB")
        for colours in COLOURS:
            picture.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
            if path.stat().st_size <= LARGEST:
                break
        print(f"{path}: {path.stat().st_size // 1000} kB")

    def close(self) -> None:
        """Write the films, and close the window."""
        for name, pictures in self._films.items():
            path = self._out / f"napari-{name}.gif"
            write_film(path, pictures)
            print(f"{path}: {path.stat().st_size // 1000} kB")
        self.viewer.close()


def write_film(path: Path, pictures: list[Image.Image]) -> None:
    """Write pictures of one size as an animation, in the same few colours, so that only what changes takes room."""
    width, height = pictures[0].size
    strip = Image.new("RGB", (width, height * len(pictures)))
    for place, picture in enumerate(pictures):
        strip.paste(picture, (0, height * place))
    palette = Image.new("P", (1, 1))  # half for what is frequent, half for what is far from it
    methods = (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE)
    halves = [strip.quantize(FILM_COLOURS // 2, method=method, dither=Image.Dither.NONE) for method in methods]
    palette.putpalette([value for half in halves for value in (half.getpalette() or [])[: FILM_COLOURS // 2 * 3]])
    first, *rest = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    first.save(path, save_all=True, append_images=rest, duration=FILM_MS, loop=0, optimize=True)


def review(studio: Studio, work: Path) -> Iterator[str]:
    """Yield the names of the pictures of the Review widget, each when there is something to be seen."""
    from beadseg.widgets.io.samples import write_practice

    widget = studio.widget
    widget.open(write_practice(work))
    studio.wait(lambda: widget.controller is not None and widget.controller.sample is not None)
    widget.audit()
    studio.wait(lambda: not widget.auditing.running)
    shifted = next(item.name for item in widget.controller.session.items if "shifted" in item.name)
    widget.work.table.valueChanged.emit(shifted)
    studio.wait(lambda: widget.controller.sample is not None)
    studio.rest()
    widget.messages.clear()
    yield "review-queue"
    yield "film-review"
    for _ in range(3):
        studio.key("T")
    yield "review-proposal"
    yield "film-review"
    studio.key("C")
    partial = next(item.name for item in widget.controller.session.items if "partial" in item.name)
    widget.work.table.valueChanged.emit(partial)
    studio.wait(lambda: widget.controller.sample is not None)
    yield "film-review"
    studio.key("D")
    mark_missing(widget.controller)
    yield "film-review"
    studio.key("I")
    top, left, bottom, right = widget.controller.session.item(widget.controller.current).findings[0].box
    widget.controller.ignore((top, left, (top + bottom) // 2, (left + right) // 2), ())
    yield "film-review"


def mark_missing(controller: Any, most: int = 6) -> None:
    """Click on beads of the finding's place that are not marked, found as dark places far from the mask."""
    from scipy import ndimage

    from beadseg.widgets.review.sample import grey_plane

    dark = ndimage.gaussian_filter(grey_plane(controller.sample, ()), 2.0)
    top, left, bottom, right = controller.session.item(controller.current).findings[0].box
    dark[ndimage.binary_dilation(controller.sample.labels > 0, iterations=4)] = dark.max()
    seen = dark[top:bottom, left:right]
    for _ in range(most):
        y, x = ndimage.minimum_position(seen)
        controller.mouse.click(top + float(y), left + float(x))
        seen[max(0, y - 7) : y + 8, max(0, x - 7) : x + 8] = dark.max()


TRAINING = {"epochs": 30, "network.width": 8, "epoch.size": 64, "epoch.steps": 20, "batch": 4}
"""Settings of the training that is shown: seconds per epoch."""


def train(studio: Studio, work: Path) -> Iterator[str]:
    """Yield the names of the pictures of the Train widget, each when there is something to be seen."""
    from qtpy.QtCore import QSettings

    from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(work))
    scene = SceneConfig(height=256, width=256, beads=60)
    write_dataset(work / "beads", SeriesConfig(scene=scene, tiles=12, dilutions=(320, 640), fields=3, seed=1))
    widget = studio.widget
    widget.setup.dataset.choose(work / "beads")
    studio.wait(lambda: "Planned from the data" in widget.plan.toPlainText())
    yield "train-plan"
    for field, value in TRAINING.items():
        editor = widget.form.editor(field)
        editor.setValue(value)
        editor.valueChanged.emit()
    widget.form.search.setText("epoch")
    widget.tabs.setCurrentIndex(1)  # Settings
    yield "train-settings"
    widget.progress.show_overlay.setChecked(True)
    widget.buttons.start.click()
    studio.wait(lambda: widget.session.state is not None and len(widget.session.state.rows) >= 8)
    studio.wait(lambda: "beads found" in widget.progress.overlay_note.text())
    yield "train-progress"
    widget.buttons.stop.click()
    studio.wait(lambda: widget.session.status in ("unfinished", "finished"))


def predict(studio: Studio, work: Path) -> Iterator[str]:
    """Yield the names of the pictures of the Count widget."""
    import imageio.v3 as iio

    from beadseg.data.simulate import SceneConfig, simulate

    image = studio.widget.image
    os.environ["XDG_DATA_HOME"] = str(work / "data")  # no corrections of another time
    for name, seed in (("drop 1", 5), ("drop 2", 6)):
        scene = simulate(SceneConfig(height=160, width=180, beads=90, debris=1), seed)
        iio.imwrite(work / f"{name}.png", scene.image)
    studio.viewer.open(str(work / "drop 1.png"), plugin="napari")
    yield "film-count"
    yield from counted(studio)
    yield "film-count"
    image.results.choose_bead(20)
    yield "predict-table"
    yield "film-count"
    yield from corrected(studio)
    yield from taught(studio, work)
    for live in image._lives:
        live.stop()


def counted(studio: Studio) -> Iterator[str]:
    """Count the image that is chosen."""
    image = studio.widget.image
    image.predict.click()
    studio.rest(0.5)
    yield "film-count"
    studio.wait(lambda: image.live.shown.centres is not None and not image.live.busy)


def corrected(studio: Studio) -> Iterator[str]:
    """Add a bead, remove it, and separate another."""
    image, viewer = studio.widget.image, studio.viewer
    live = image.live
    beads = live.measured_now.beads
    bead = beads[
        ~beads["edge"] & (beads["group"] == 1) & beads["x"].between(60, 120) & beads["y"].between(60, 100)
    ].iloc[0]
    viewer.scene.camera.zoom *= 2
    viewer.scene.camera.center = (0.0, float(bead["y"]), float(bead["x"]))
    yield "film-correct"
    image.correction.act("correct")
    tool, labels, radius = image.correction.mouse.tools["beads"], live.shown.labels, bead["equivalent_diameter_px"] / 2
    for do in (
        lambda: tool.click(labels, bead["y"], bead["x"], ()),
        lambda: tool.click(labels, bead["y"], bead["x"], ()),
        lambda: tool.drag(labels, (bead["y"] - radius - 2, bead["x"]), (bead["y"] + radius + 2, bead["x"]), ()),
        live.undo,
    ):
        do()
        studio.wait(lambda: not live.busy)
        yield "film-correct"
    image.correction.act("correct")


def taught(studio: Studio, work: Path) -> Iterator[str]:
    """Add two images to a dataset, and improve the model by them."""
    widget = studio.widget
    teach = widget.teach
    widget.messages.clear()
    widget.tabs.setCurrentIndex(widget.tabs.count() - 1)
    teach.field.choose(work / "accepted")
    teach.seconds = 4.0
    for again in (False, True):
        if again:
            studio.viewer.open(str(work / "drop 2.png"), plugin="napari")
            widget.image.layer.layer = studio.viewer.layers["drop 2"]
            list(counted(studio))
        teach.add.click()
        studio.wait(lambda: not teach.adding.running)
        yield "film-teach"
    teach.improve.click()
    studio.rest(3.0)
    yield "film-teach"
    studio.wait(lambda: not teach.background.running)
    yield "film-teach"


def compare(studio: Studio, work: Path) -> Iterator[str]:
    """Yield the name of the picture of the Compare widget: what the general model finds, beside the truth."""
    from beadseg.predict import Segmenter

    image, truth = studio.viewer.open_sample("beadseg", "dense")
    found = Segmenter.load("general").predict(image.data).labels
    studio.viewer.add_labels(found, name="general model", visible=False)
    truth.visible = False
    studio.widget.run.click()
    studio.wait(lambda: studio.widget.scores.value() is not None)
    studio.widget.next.click()
    yield "compare"


WIDGETS: dict[str, tuple[str, Callable[[Studio, Path], Iterator[str]]]] = {
    "review": ("Review", review),
    "train": ("Train", train),
    "predict": ("Count", predict),
    "compare": ("Compare", compare),
}
"""By the word for ``--only``: name in the menu, and what is done before each picture."""


def main() -> None:
    """Take the pictures asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=WIDGETS, action="append", help="only these widgets")
    parser.add_argument("--theme", choices=("dark", "light"), default="dark")
    parser.add_argument("--out", type=Path, default=IMAGES)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for word in arguments.only or WIDGETS:
        name, pictures = WIDGETS[word]
        with tempfile.TemporaryDirectory() as work:
            studio = Studio(name, arguments.out, arguments.theme)
            for picture in pictures(studio, Path(work)):
                studio.shot(picture)
            studio.close()


if __name__ == "__main__":
    main()
