"""How evenly the two splits of the document divide the densities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from beadseg.config import TrainConfig
from beadseg.data.split import make_split
from beadseg.training.prepare import annotated_objects

if TYPE_CHECKING:
    from beadseg.data.dataset import Dataset

DRAWS = 200


def splits(dataset: Dataset) -> list[dict[str, float | str]]:
    """Return, for the random 90/10 and the stratified 85/15 split, the spread of the validation density over seeds.

    And how many of the validation samples have a tile of their own field of view in training.
    """
    objects = annotated_objects(dataset)
    mean = float(np.mean(list(objects.values())))
    rows: list[dict[str, float | str]] = []
    for preset in ("mitochondria", "microbeads"):
        config = TrainConfig.preset(preset).split
        made = [make_split(config, dataset, objects, seed) for seed in range(DRAWS)]
        densities = [np.mean([objects[name] for name in split.val]) / mean for split in made]
        shared = [
            np.mean([dataset[name].field in {dataset[other].field for other in split.train} for name in split.val])
            for split in made
        ]
        rows.append({
            "split": config.kind, "samples": len(made[0].val), "spread": float(np.std(densities)),
            "lowest": float(min(densities)), "highest": float(max(densities)), "shared_field": float(np.mean(shared)),
        })  # fmt: skip
    return rows
