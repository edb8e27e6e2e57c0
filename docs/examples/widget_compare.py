"""The widget that compares two sets of beads: scores, and a walk from one error to the next."""

from __future__ import annotations

import napari

from beadseg.widgets.compare import CompareWidget
from beadseg.widgets.io.samples import sparse_tile


def show(viewer: napari.Viewer) -> CompareWidget:
    """Compare true beads with a copy in which some are missing."""
    (pixels, options, _), (labels, _, _) = sparse_tile()
    viewer.add_image(pixels, **options)
    viewer.add_labels(labels, name="true")
    viewer.add_labels(labels * (labels > 10), name="found")
    widget = CompareWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Compare")
    widget.found.layer, widget.true.layer = viewer.layers["found"], viewer.layers["true"]
    widget.run.click()
    return widget


if __name__ == "__main__":
    show(napari.Viewer())
    napari.run()
