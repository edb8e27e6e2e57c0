"""beadseg: segment and count microbeads in microscope images.

The public API, imported when first used, so that ``import beadseg`` costs nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beadseg.config import TrainConfig
    from beadseg.data import Dataset, read_image
    from beadseg.data.simulate import simulate
    from beadseg.measure import evaluate
    from beadseg.predict import Segmenter
    from beadseg.train import train

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "beadseg.data",
    "Segmenter": "beadseg.predict",
    "TrainConfig": "beadseg.config",
    "evaluate": "beadseg.measure",
    "read_image": "beadseg.data",
    "simulate": "beadseg.data.simulate",
    "train": "beadseg.train",
}

__all__ = ["Dataset", "Segmenter", "TrainConfig", "__version__", "evaluate", "read_image", "simulate", "train"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'beadseg' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return globals()[name] if name in globals() else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """The type of this package: ``beadseg.train`` is both a function of the API and the package it lives in."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "train" and isinstance(value, ModuleType):
            value.__class__ = _TrainPackage
        super().__setattr__(name, value)


class _TrainPackage(ModuleType):
    """The type of `beadseg.train`: a package that, when called, trains.

    As soon as anything imports ``beadseg.train``, Python binds that name here to the package, over any function.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call `beadseg.train.train`."""
        return self.train(*args, **kwargs)


sys.modules[__name__].__class__ = _Package
