"""Counts by hand, from a CSV, beside those of a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.data.fields import listed, numbers_of, read_table, rows_of, text_table
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
        The file is not a CSV with the columns ``image`` and ``beads``, a count is not a number of beads, or none of its
        images was predicted.
    """
    table = read_table(path, ("image", "beads"))
    predicted = {image.name: image.beads for image in images}
    written = table["image"].tolist()
    called = {written[row]: name for name, row in rows_of(list(predicted), written, path).items()}
    separator = text_table(path, ("image", "beads")).attrs["separator"]
    counts = numbers_of(table["beads"], separator)
    by_hand = {
        called.get(name, name): _count(name, text, count, path)
        for name, text, count in zip(written, table["beads"], counts, strict=True)
    }
    unknown = [name for name in by_hand if name not in predicted]
    if len(unknown) == len(by_hand):
        text = f"Names no predicted image (it names {listed(unknown)})." if unknown else "Names no image."
        raise InputError(text, path, f"Use the names of counts.csv, e.g. {next(iter(predicted))}.")
    both = [name for name in predicted if name in by_hand]
    found = tuple(ManualCount(image=name, manual=by_hand[name], beads=predicted[name]) for name in both)
    notes = (f"Counted by hand, but not predicted: {listed(unknown)}.",) if unknown else ()
    return found, notes


def _count(name: str, text: str, count: float | None, path: Path) -> float:
    if count is None or count < 0:
        remedy = "Write how many beads there are, 0 or more, without marks between thousands."
        raise InputError(f"The count of {name!r} is {text!r}.", path, remedy)
    return count
