"""What every test stands on."""

from __future__ import annotations

import os

# napari raises when a layer is written to from another thread than the viewer's.
os.environ["NAPARI_ENSURE_PLUGIN_MAIN_THREAD"] = "1"
# Figures are files in tests, never windows.
os.environ["MPLBACKEND"] = "Agg"
