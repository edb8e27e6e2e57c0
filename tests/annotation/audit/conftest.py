"""Data sets for the audit's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from audit_helpers import COUNT, Folder, scene


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Six tiles with right binary masks, named ``field{n}_grid_r0_c{m}``."""
    made = Folder(tmp_path / "beads")
    for index in range(COUNT):
        name = f"field{index // 2}_grid_r0_c{index % 2}"
        made.images[name] = scene(index).image
        made.masks[name] = np.where(scene(index).labels > 0, 255, 0).astype(np.uint8)
    return made


@pytest.fixture
def labelled(tmp_path: Path) -> Folder:
    """Six tiles with right instance labels."""
    made = Folder(tmp_path / "labelled")
    for index in range(6):
        made.images[f"t{index}"] = scene(index).image
        made.labels[f"t{index}"] = scene(index).labels.copy()
    return made
