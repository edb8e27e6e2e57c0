"""A small reviewed dataset, made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import pytest
from review_helpers import disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Write a dataset of images of two beads each, with binary masks."""

    def make(names: tuple[str, ...] = ("a", "b", "c"), folder: str = "beads") -> Path:
        root = tmp_path / folder
        for part in ("images", "masks"):
            (root / part).mkdir(parents=True)
        for name in names:
            mask = disk((12, 15), (30, 40))
            iio.imwrite(root / "images" / f"{name}.png", np.where(mask > 0, 60, 140).astype(np.uint8))
            iio.imwrite(root / "masks" / f"{name}.png", mask)
        return root

    return make


@pytest.fixture
def root(make_dataset: Callable[..., Path]) -> Path:
    return make_dataset()
