"""Images, masks and datasets: read, pair, split, fingerprint, simulate.

What is imported is loaded when it is first used: a command pays only for what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beadseg.data.dataset import Dataset, Sample, Target
    from beadseg.data.image_io import Image, read_image, read_labels, read_mask
    from beadseg.data.masks import Mask
    from beadseg.data.scan import Problem

__all__ = [
    "Dataset",
    "Image",
    "Mask",
    "Problem",
    "Sample",
    "Target",
    "read_image",
    "read_labels",
    "read_mask",
]

_HOMES = {
    "Dataset": "beadseg.data.dataset",
    "Image": "beadseg.data.image_io",
    "Mask": "beadseg.data.masks",
    "Problem": "beadseg.data.scan",
    "Sample": "beadseg.data.dataset",
    "Target": "beadseg.data.dataset",
    "read_image": "beadseg.data.image_io",
    "read_labels": "beadseg.data.image_io",
    "read_mask": "beadseg.data.image_io",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'beadseg.data' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
