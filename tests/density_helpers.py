"""Prediction folders with counts that are drawn here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

SIDE = 512
PIXEL_UM = 0.5


def row(image: str, beads: float, **changes: Any) -> dict[str, Any]:
    """Return a row of ``counts.csv``."""
    plain = {"image": image, "plane": "", "beads": beads, "height": SIDE, "width": SIDE, "pixel_size_um": PIXEL_UM,
             "flags": ""}  # fmt: skip
    return {**plain, **changes}


def series(
    factors: tuple[float, ...], expected: float, images: int, seed: int, spread: float = 0.0, slope: float = -1.0
) -> list[dict[str, Any]]:
    """Return the rows of a series: `expected` beads at factor 1, gamma-distributed by `spread` about the mean."""
    rng = np.random.default_rng(seed)
    rows = []
    for factor in factors:
        for number in range(images):
            mean = expected * factor**slope * (rng.gamma(1 / spread, spread) if spread else 1.0)
            rows.append(row(f"{factor:g}x_s_grid_r0_c{number}", int(rng.poisson(mean))))
    return rows


def write_counts(folder: Path, rows: list[dict[str, Any]]) -> Path:
    """Write ``counts.csv`` and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "counts.csv", index=False)
    return folder
