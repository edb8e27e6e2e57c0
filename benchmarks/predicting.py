"""Predicting in a real napari window: is a slider quick, does the window ever freeze, is cancelling quick.

    python benchmarks/predicting.py

On an image of 3840x2160 px with 10,000 beads, printed as a table. Slider: from the move to count and overlay that are
drawn, without the network (limit 200 ms). Heartbeat: the longest gap between two ticks of a 20 ms timer in the window
while a small network predicts the image in a process of its own, layers and tables included (limit 250 ms). Cancel:
from the click to the end (limit 3 s). Without a display it runs under `xvfb-run -a`, where the processor draws in place
of a graphics card; other programs that keep the processor busy are in every number.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
import tifffile
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from scipy import ndimage

from beadseg import files
from beadseg.config import PredictConfig
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.predict.prediction import Maps, StoredMaps, map_path, write_maps
from beadseg.widgets.predict import PredictWidget
from beadseg.widgets.predict.session import Session

HEIGHT, WIDTH, BEADS, DIAMETER = 2160, 3840, 10_000, 7.0
SLIDER_MS, GAP_MS, CANCEL_S = 200, 250, 3.0
TICK_MS = 20
TINY = ["epochs=1", "epoch.steps=40", "epoch.size=64", "batch=4", "network.width=8", "network.depth=3",
        "precision=fp32", "predict.precision=fp32", "optimizer.lr=1e-2"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=30, help="of the threshold slider")
    parser.add_argument("--run", type=Path, help="a trained run; a small network is trained when not given")
    parser.add_argument("--only", choices=["sliders", "heartbeat"], help="one part alone")
    arguments = parser.parse_args()
    viewer = napari.Viewer()
    viewer.window.resize(1280, 800)
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Count")
    pixels, probability, centre = scene()
    layer = viewer.add_image(pixels, name="image")
    print("| what | measured | limit |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.only != "heartbeat":
            sliders(viewer, widget, layer, Maps(probability, centre), pixels, arguments.moves)
        if arguments.only != "sliders":
            run = arguments.run or trained(Path(scratch))
            heartbeat(widget, run)
    widget.image.live.stop()
    viewer.close()


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the image and the maps that a network would give of it."""
    rng = np.random.default_rng(0)
    columns = round(np.sqrt(BEADS * WIDTH / HEIGHT))
    rows = -(-BEADS // columns)
    y, x = np.mgrid[:rows, :columns].reshape(2, -1)[:, :BEADS]
    y = (y + 0.5 + rng.uniform(-0.3, 0.3, BEADS)) * HEIGHT / rows
    x = (x + 0.5 + rng.uniform(-0.3, 0.3, BEADS)) * WIDTH / columns
    spots = np.zeros((HEIGHT, WIDTH), np.float32)
    spots[y.astype(int), x.astype(int)] = rng.uniform(0.7, 1.0, BEADS)
    centre = ndimage.gaussian_filter(spots, 1.5)
    centre /= centre.max()
    probability = np.clip(2.2 * ndimage.gaussian_filter(spots, 2.2) / ndimage.gaussian_filter(spots, 2.2).max(), 0, 1)
    noise = rng.normal(0, 6, (HEIGHT, WIDTH))
    pixels = np.clip(190 - 90 * probability + noise, 0, 255).astype(np.uint8)
    return pixels, probability.astype(np.float32), centre


def sliders(
    viewer: napari.Viewer, widget: PredictWidget, layer: Any, maps: Maps, pixels: np.ndarray, moves: int
) -> None:
    """Move the threshold and measure until count and overlay are drawn."""
    live = widget.image.live
    widget.image._below = layer
    widget.image._show(stored_session(maps, pixels))
    wait(lambda: live.shown.centres is not None and not live.busy)
    found = live.session.count(0)
    for zoom, name in ((None, "whole image in view"), (1.0, "one to one")):
        if zoom is not None:
            viewer.scene.camera.zoom = zoom
        wait(lambda: not live.busy)
        times = []
        for move in range(moves):
            told: list[int] = []
            live.counted.connect(told.append)
            start = time.perf_counter()
            widget.image.sliders.threshold.setValue(0.3 + 0.012 * (move + 1))
            while not told:
                QApplication.processEvents()
            QApplication.processEvents()  # what was asked to be drawn is drawn
            times.append((time.perf_counter() - start) * 1e3)
            live.counted.disconnect(told.append)
            wait(lambda: not live.busy)
        text = f"median {np.median(times):.0f} ms, longest {max(times):.0f} ms of {moves} moves"
        print(f"| slider, {found:,} beads, {name} | {text} | {SLIDER_MS} ms |", flush=True)


def stored_session(maps: Maps, pixels: np.ndarray) -> Session:
    """Return a session as if a network had given these maps."""
    folder = tempfile.TemporaryDirectory(prefix="beadseg-benchmark-")
    root = Path(folder.name)
    tifffile.imwrite(root / "image.tif", pixels)
    options = PredictConfig().with_overrides([f"objects.diameter={DIAMETER}"]).model_dump(mode="json")
    fingerprint = {"objects_per_mpx_min": 100.0, "objects_per_mpx_max": 6000.0, "positive_ratio_max": 0.5}
    document = {"schema_version": 1, "run": "", "options": options, "fingerprint": fingerprint}
    (root / files.PREDICTION).write_text(json.dumps(document))
    (root / files.MAPS).mkdir()
    write_maps(map_path(root, "image", ""), maps)
    session = Session(folder, root / "image.tif", StoredMaps(root, "image"))
    session.choose(session.objects, session.separate(session.objects))
    return session


def trained(folder: Path) -> Path:
    """Train a small network for a moment, in a process of its own as the viewer does."""
    series = SeriesConfig(scene=SceneConfig(height=96, width=96, beads=20, channels="grey"), tiles=6, dilutions=(80,))
    write_dataset(folder / "beads", series)
    settings = [word for setting in TINY for word in ("--set", setting)]
    words = ["train", str(folder / "beads"), "--out", str(folder / "run"), "--preset", "dense", "--quiet", *settings]
    subprocess.run([sys.executable, "-m", "beadseg", *words], check=True)
    return folder / "run"


def heartbeat(widget: PredictWidget, run: Path) -> None:
    """Predict the image and measure the longest gap of a timer; then predict it again and cancel."""
    live, background = widget.image.live, widget.image.background
    live.stop()
    widget.run.choose(run)
    ticks: list[float] = []
    timer = QTimer()
    timer.setInterval(TICK_MS)
    timer.timeout.connect(lambda: ticks.append(time.perf_counter()))
    timer.start()
    start = time.perf_counter()
    widget.image.predict.click()
    wait(lambda: not background.running)
    predicted = time.perf_counter() - start
    if live.session is None:
        print(f"| heartbeat | {widget.messages.text} | |")
        return
    wait(lambda: live.shown.centres is not None and not live.busy)
    rest(1.0)
    timer.stop()
    gaps = np.diff(ticks) * 1e3
    text = f"longest gap {gaps.max():.0f} ms in {predicted:.0f} s, 99 % below {np.percentile(gaps, 99):.0f} ms"
    print(f"| heartbeat while predicting {live.session.count(0):,} beads | {text} | {GAP_MS} ms |", flush=True)
    widget.image.predict.click()
    rest(predicted / 2)
    start = time.perf_counter()
    background.cancel()
    wait(lambda: not background.running)
    took = f"{time.perf_counter() - start:.2f} s: {widget.messages.text}"
    print(f"| cancel in the middle | {took} | {CANCEL_S:g} s |", flush=True)


def rest(seconds: float) -> None:
    """Let the interface live for a while."""
    until = time.perf_counter() + seconds
    wait(lambda: time.perf_counter() > until)


def wait(done: Any) -> None:
    """Let the interface live until something is done."""
    while not done():
        QApplication.processEvents()
        time.sleep(0.001)


if __name__ == "__main__":
    main()
