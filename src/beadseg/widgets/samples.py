"""napari's sample data: simulated tiles of beads, with the true instances as labels."""

from __future__ import annotations

from typing import Any

LayerData = tuple[Any, dict[str, Any], str]
"""napari's way to hand over a layer: data, arguments, type."""

SPARSE_BEADS, DENSE_BEADS = 60, 900
"""Beads in a tile of 512x512 px."""


def sparse_tile() -> list[LayerData]:
    """Return a tile with few beads: (512, 512, 3) uint8 image and (512, 512) uint32 labels."""
    return _tile("Sparse beads", SPARSE_BEADS, seed=1)


def dense_tile() -> list[LayerData]:
    """Return a tile full of touching beads: (512, 512, 3) uint8 image and (512, 512) uint32 labels."""
    return _tile("Dense beads", DENSE_BEADS, seed=2)


def _tile(name: str, beads: int, seed: int) -> list[LayerData]:
    from beadseg.data.simulate import SceneConfig, simulate

    scene = simulate(SceneConfig(beads=beads), seed)
    return [
        (scene.image, {"name": name, "rgb": scene.image.ndim == 3}, "image"),
        (scene.labels, {"name": f"{name}: true instances", "opacity": 0.4}, "labels"),
    ]
