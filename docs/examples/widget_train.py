"""The widget that trains: it plans from the data, trains in a process of its own, and shows the curves."""

from __future__ import annotations

import tempfile
from pathlib import Path

import napari

from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.widgets.train import TrainWidget


def show(viewer: napari.Viewer, folder: Path) -> TrainWidget:
    """Write a simulated dataset into a folder and choose it; press Start training to go on."""
    scene = SceneConfig(height=96, width=96, beads=20)
    write_dataset(folder / "beads", SeriesConfig(scene=scene, tiles=6, dilutions=(640,), fields=3, seed=1))
    widget = TrainWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Train")
    widget.setup.dataset.choose(folder / "beads")
    return widget


if __name__ == "__main__":
    show(napari.Viewer(), Path(tempfile.mkdtemp()))
    napari.run()
