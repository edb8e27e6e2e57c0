"""What napari shows: the only place that imports napari, qtpy or superqt."""
