"""From counts to concentrations: densities of images and groups, and the regression of a dilution series.

What is imported is loaded when it is first used: a command pays only for what it needs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beadseg.measure.concentration.densities import density
    from beadseg.measure.concentration.document import DensityReport

__all__ = [
    "DensityReport",
    "density",
]

_HOMES = {
    "DensityReport": "beadseg.measure.concentration.document",
    "density": "beadseg.measure.concentration.densities",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'beadseg.measure.concentration' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
