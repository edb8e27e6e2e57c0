"""beadseg: segment and count microbeads in microscope images.

The public API, imported when first used, so that ``import beadseg`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beadseg.annotation.audit.run import audit
    from beadseg.annotation.review import Review, reviewed
    from beadseg.config import TrainConfig
    from beadseg.data import Dataset, read_image
    from beadseg.data.simulate import simulate
    from beadseg.measure import density, evaluate
    from beadseg.predict import Segmenter
    from beadseg.training import train

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "beadseg.data",
    "Review": "beadseg.annotation.review",
    "Segmenter": "beadseg.predict",
    "TrainConfig": "beadseg.config",
    "audit": "beadseg.annotation.audit",
    "density": "beadseg.measure",
    "evaluate": "beadseg.measure",
    "read_image": "beadseg.data",
    "reviewed": "beadseg.annotation.review",
    "simulate": "beadseg.data.simulate",
    "train": "beadseg.training",
}

__all__ = [
    "Dataset",
    "Review",
    "Segmenter",
    "TrainConfig",
    "__version__",
    "audit",
    "density",
    "evaluate",
    "read_image",
    "reviewed",
    "simulate",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'beadseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
