"""What all trials of a sweep share, beside their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.data.dataset import Dataset


def none_has_ended(job: str) -> bool:
    """Return False: nothing is known of any job."""
    return False


@dataclass(frozen=True)
class Work:
    """How the trials of a sweep are trained; it can be sent to another process.

    Attributes
    ----------
    dataset : Dataset
        Annotated samples.
    device : str
        ``auto``, ``cpu``, ``cuda`` …
    threads : int or None
        CPU threads; None leaves torch's own choice.
    checkpoint_minutes, has_ended
        As of `beadseg.train`.
    """

    dataset: Dataset
    device: str = "auto"
    threads: int | None = None
    checkpoint_minutes: float = 10.0
    has_ended: Callable[[str], bool] = none_has_ended
