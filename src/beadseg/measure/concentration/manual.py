"""Counts by hand, from a CSV, beside those of a prediction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from beadseg.data.fields import listed, read_table
from beadseg.errors import InputError
from beadseg.measure.concentration.document import ImageDensity, ManualCount

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def read_manual(path: Path, images: Sequence[ImageDensity]) -> tuple[tuple[ManualCount, ...], tuple[str, ...]]:
    """Return the images counted both ways, and sentences about those that were not.

    Raises
    ------
    InputError
        The file is no CSV with the columns ``image`` and ``beads``, a count is no number of beads, or none of its
        images was predicted.
    """
    table = read_table(path, ("image", "beads"))
    by_hand = {name: _count(name, text, path) for name, text in zip(table["image"], table["beads"], strict=True)}
    predicted = {image.name: image.beads for image in images}
    unknown = [name for name in by_hand if name not in predicted]
    if len(unknown) == len(by_hand):
        text = f"Names no predicted image (it names {listed(unknown)})." if unknown else "Names no image."
        raise InputError(text, path, f"Use the names of counts.csv, e.g. {next(iter(predicted))}.")
    both = [name for name in predicted if name in by_hand]
    found = tuple(ManualCount(image=name, manual=by_hand[name], beads=predicted[name]) for name in both)
    notes = (f"Counted by hand, but not predicted: {listed(unknown)}.",) if unknown else ()
    return found, notes


def _count(name: str, text: str, path: Path) -> float:
    try:
        count = float(text)
    except ValueError:
        count = math.nan
    if not 0 <= count < math.inf:
        raise InputError(f"The count of {name!r} is {text!r}.", path, "Write how many beads there are, 0 or more.")
    return count
