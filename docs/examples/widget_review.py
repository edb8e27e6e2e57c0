"""The widget that reviews annotations: a simulated dataset whose masks have known faults."""

from __future__ import annotations

import tempfile
from pathlib import Path

import napari

from beadseg.widgets.io.samples import write_practice
from beadseg.widgets.review.widget import ReviewWidget


def show(viewer: napari.Viewer, folder: Path) -> ReviewWidget:
    """Open the dataset; A accepts a sample, R rejects it, and the audit finds the faults."""
    widget = ReviewWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Review")
    widget.open(write_practice(folder), by="example")
    return widget


if __name__ == "__main__":
    show(napari.Viewer(), Path(tempfile.mkdtemp()))
    napari.run()
