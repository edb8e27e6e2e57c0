"""Training: the loop, checkpoints, what a run notices about itself, the run folder.

Its names are imported when first used, so that reading a history or a plan does not load torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from beadseg.training.run import Run, train

__all__ = ["Run", "train"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'beadseg.training' has no attribute {name!r}")
    return getattr(import_module("beadseg.training.run"), name)
