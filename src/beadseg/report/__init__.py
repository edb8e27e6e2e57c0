"""Report: figures of training and evaluation, and overlays of what was found."""
