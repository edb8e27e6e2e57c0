"""napari's doors to beadseg's files: readers of folders and tables, writers of masks and tables, sample data."""
