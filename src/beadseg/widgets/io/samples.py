"""napari's sample data: simulated beads, with the true instances as labels, and a dataset to practise review on."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from beadseg import files
from beadseg.data.tiff import png_bytes
from beadseg.files import ensure_folder, write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from beadseg.widgets.io.folder_layers import LayerData

    Mask = NDArray[np.uint8]

SPARSE_BEADS, DENSE_BEADS = 60, 900
"""Beads in a tile of 512x512 px."""
DILUTIONS = (160, 320, 640, 1280)
"""Of the dilution series: the first has `SERIES_BEADS`, the others in proportion."""
SERIES_BEADS = 600

FOLDER = "beadseg-practice-"
"""Beginning of the name of the folder, in the place for the user's temporary files."""
BEADS = 120
"""Expected in a tile of 256x256 px."""
PARTIAL = 0.6
"""Share of the width on which beads are marked in the mask that is partial."""


def sparse_tile() -> list[LayerData]:
    """Return a tile with few beads: (512, 512, 3) uint8 image and (512, 512) uint32 labels."""
    return _tile("Sparse beads", SPARSE_BEADS, seed=1)


def dense_tile() -> list[LayerData]:
    """Return a tile full of touching beads: (512, 512, 3) uint8 image and (512, 512) uint32 labels."""
    return _tile("Dense beads", DENSE_BEADS, seed=2)


def dilution_series() -> list[LayerData]:
    """Return a dilution series as a stack: (4, 512, 512, 3) uint8 images and (4, 512, 512) uint32 labels."""
    from beadseg.data.simulate import SceneConfig, SeriesConfig
    from beadseg.data.simulate.series import plan

    scene = SceneConfig(beads=SERIES_BEADS)
    tiles = plan(SeriesConfig(scene=scene, tiles=len(DILUTIONS), dilutions=DILUTIONS, fields=1, seed=3))
    scenes = [tile.simulate() for tile in tiles]
    metadata = {"beadseg": {"samples": [tile.name for tile in tiles]}}
    name = f"Dilution series {', '.join(f'{tile.dilution}x' for tile in tiles)}"
    shown = {"name": name, "rgb": True, "metadata": metadata}
    return [
        (np.stack([scene.image for scene in scenes]), shown, "image"),
        (np.stack([scene.labels for scene in scenes]), _truth(name) | {"metadata": metadata}, "labels"),
    ]


def flawed_dataset() -> list[LayerData]:
    """Write a dataset whose annotations have known faults into a new folder, and return its layers.

    In a window it is opened in Review in the next turn, which shows one sample after the other in place of the layers.
    """
    import napari
    from qtpy.QtCore import QTimer

    from beadseg.widgets.io.folder_layers import read_dataset

    root, viewer = write_practice(), napari.current_viewer()
    if viewer is not None:
        QTimer.singleShot(0, lambda: _review(viewer, root))
    return read_dataset(root)


def _review(viewer: Any, root: Path) -> None:
    from beadseg.widgets.opening import open_widget

    for layer in list(viewer.layers):
        if layer.metadata.get("beadseg", {}).get("folder") == str(root):
            viewer.layers.remove(layer)
    open_widget(viewer, "Review", lambda review: review.practise(root))


def _tile(name: str, beads: int, seed: int) -> list[LayerData]:
    from beadseg.data.simulate import SceneConfig, simulate

    scene = simulate(SceneConfig(beads=beads), seed)
    return [
        (scene.image, {"name": name, "rgb": scene.image.ndim == 3}, "image"),
        (scene.labels, _truth(name), "labels"),
    ]


def _truth(name: str) -> dict[str, object]:
    return {"name": f"{name}: true instances", "opacity": 0.4}


def write_practice(parent: Path | None = None) -> Path:
    """Write the dataset into a new folder and return that: images, masks with faults, the faults in the names.

    Parameters
    ----------
    parent : pathlib.Path, optional
        Where the folder is made; the place for temporary files when not given.

    Raises
    ------
    MachineError
        The disk is full.
    """
    from beadseg.data.simulate import SceneConfig, simulate

    root = Path(tempfile.mkdtemp(prefix=FOLDER, dir=parent))
    for folder in (files.IMAGES, files.MASKS):
        ensure_folder(root / folder)
    config = SceneConfig(height=256, width=256, beads=BEADS)
    for number, (name, fault) in enumerate(FAULTS.items()):
        scene = simulate(config, 40 + number)
        mask = fault(np.where(scene.labels > 0, 255, 0).astype(np.uint8))
        for folder, pixels in ((files.IMAGES, scene.image), (files.MASKS, mask)):
            content = png_bytes(pixels)
            write_atomically(root / folder / f"practice_{number + 1:02d}_{name}.png", content)
    return root


def write_training_data() -> Path:
    """Write a small simulated dataset to train on into a new folder and return that; raises as `write_practice`."""
    from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

    root = Path(tempfile.mkdtemp(prefix=FOLDER)) / "beads"
    scene = SceneConfig(height=256, width=256, beads=BEADS)
    write_dataset(root, SeriesConfig(scene=scene, tiles=8, dilutions=(80,), fields=4, seed=5))
    return root


def _shifted(mask: Mask) -> Mask:
    return np.roll(mask, (4, -3), axis=(0, 1))


def _scaled(mask: Mask) -> Mask:
    """Return the mask enlarged by 3 per cent around its centre."""
    centre = (np.array(mask.shape) - 1) / 2
    matrix = np.eye(2) / 1.03
    return np.asarray(ndimage.affine_transform(mask, matrix, centre - matrix @ centre, order=0), np.uint8)


def _partial(mask: Mask) -> Mask:
    kept = mask.copy()
    kept[:, round(mask.shape[1] * PARTIAL) :] = 0
    return kept


def _of_another_image(mask: Mask) -> Mask:
    return np.asarray(np.rot90(np.roll(mask, (97, 61), axis=(0, 1))), np.uint8)


FAULTS: dict[str, Callable[[Mask], Mask]] = {
    "good": lambda mask: mask,
    "shifted": _shifted,
    "flipped": lambda mask: np.ascontiguousarray(mask[:, ::-1]),
    "good2": lambda mask: mask,
    "scaled": _scaled,
    "dilated": lambda mask: np.asarray(ndimage.grey_dilation(mask, size=(5, 5)), np.uint8),
    "partial": _partial,
    "soft": lambda mask: np.asarray(ndimage.gaussian_filter(mask.astype(np.float32), 1.2), np.uint8),
    "good3": lambda mask: mask,
    "inverted": lambda mask: np.asarray(255 - mask, np.uint8),
    "other": _of_another_image,
    "empty": np.zeros_like,
}
"""What is done to each mask, by the word in its sample's name."""
