"""Layers as napari's tuples: images that are read when they are looked at, several of one size as one stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

LayerData = tuple[Any, dict[str, Any], str]
"""napari's way to hand over a layer: data, arguments, type."""


@dataclass(frozen=True)
class Picture:
    """Pixels of which everything is known but their values.

    Attributes
    ----------
    name : str
        Of the sample or image.
    shape : tuple of int
        Of what `read` returns.
    dtype : numpy.dtype
        Of what `read` returns.
    read : callable
        Returns the pixels, e.g. (Y, X), (Y, X, 3) or (T, Y, X).
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], NDArray[Any]]

    @property
    def kind(self) -> tuple[tuple[int, ...], np.dtype]:
        """What pictures of one stack have in common."""
        return self.shape, self.dtype


def grouped(pictures: Iterable[Picture]) -> list[list[Picture]]:
    """Return the pictures in groups of equal shape and dtype, in the order of the first of each."""
    groups: dict[tuple[tuple[int, ...], np.dtype], list[Picture]] = {}
    for picture in pictures:
        groups.setdefault(picture.kind, []).append(picture)
    return list(groups.values())


def stacked(pictures: list[Picture]) -> Any:
    """Return one picture's pixels as they are, several as a stack of which only what is looked at is read."""
    if len(pictures) == 1:
        return pictures[0].read()
    from dask import array
    from dask.delayed import delayed

    lazy: Any = array
    return lazy.stack([lazy.from_delayed(delayed(p.read)(), p.shape, p.dtype) for p in pictures])


def title(group: list[Picture], what: str) -> str:
    """Return the name of a layer: the sample's, or how many there are."""
    return f"{group[0].name}: {what}" if len(group) == 1 else f"{len(group)} samples: {what}"


def named(group: list[Picture], root: Path) -> dict[str, Any]:
    """Return the metadata of a layer: which sample each plane of a stack is."""
    return {"beadseg": {"folder": str(root), "samples": [picture.name for picture in group]}}


def as_rgb(pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return pixels with the axes ``TZCYX`` (those that there are) with three channels last, as napari wants colour."""
    if "C" not in axes:
        return pixels
    at = axes.index("C")
    if pixels.shape[at] == 3:
        return np.moveaxis(pixels, at, -1)
    return np.asarray(np.take(pixels, 0, axis=at))
