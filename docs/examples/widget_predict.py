"""The widget that counts: one image in the viewer, or a folder of them."""

from __future__ import annotations

import napari

from beadseg.widgets.io.samples import sparse_tile
from beadseg.widgets.predict import PredictWidget


def show(viewer: napari.Viewer) -> PredictWidget:
    """Open a simulated image beside the widget; press Count to count it with the general model."""
    pixels, options, _ = sparse_tile()[0]
    viewer.add_image(pixels[:256, :256], **options)
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Count")
    return widget


if __name__ == "__main__":
    show(napari.Viewer())
    napari.run()
