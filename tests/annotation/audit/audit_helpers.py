"""Small simulated data sets whose masks are right, and one fault at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import tifffile

from beadseg.annotation.audit import Audit, audit
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import Scene, SceneConfig, simulate

SIDE = 176
COUNT = 6


@lru_cache
def scene(seed: int, beads: int = 60, **changes: Any) -> Scene:
    config = SceneConfig(height=SIDE, width=SIDE, beads=beads, poisson=False, debris=0.0, cluster_probability=0.1)
    return simulate(config.replace(**changes), seed)


@dataclass
class Folder:
    """A data set on disk; a test changes some of its arrays before it is written."""

    root: Path
    images: dict[str, np.ndarray] = field(default_factory=dict)
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)

    def write(self) -> Dataset:
        for kind, arrays in (("images", self.images), ("masks", self.masks)):
            (self.root / kind).mkdir(parents=True, exist_ok=True)
            for name, array in arrays.items():
                iio.imwrite(self.root / kind / f"{name}.png", array)
        if self.labels:
            (self.root / "labels").mkdir()
        for name, array in self.labels.items():
            tifffile.imwrite(self.root / "labels" / f"{name}.tif", array)
        return Dataset.open(self.root)

    def audit(self, **options: Any) -> Audit:
        return audit(self.write(), **{"diameter_px": 7.0, "polarity": "dark", **options})
