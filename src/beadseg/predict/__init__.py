"""Prediction: a trained model applied to images, tiled where needed, beads separated, batches over folders.

Only `Segmenter` needs torch: what was predicted is read, and chosen again, without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beadseg.predict.prediction import Prediction
    from beadseg.predict.segmenter import Segmenter

__all__ = ["Prediction", "Segmenter"]

_HOMES = {"Prediction": "beadseg.predict.prediction", "Segmenter": "beadseg.predict.segmenter"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'beadseg.predict' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
