"""Counts by hand, from a CSV, beside those of a prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg.data.fields import listed, numbers_of, text_table
from beadseg.errors import InputError
from beadseg.measure.concentration.document import ManualCount

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.measure.concentration.counts import Counted
    from beadseg.measure.concentration.naming import Images


def read_manual(
    path: Path, counted: Sequence[Counted], images: Images
) -> tuple[tuple[ManualCount, ...], tuple[str, ...]]:
    """Return the images counted both ways, and sentences about those that were not.

    Images are found as `Images.find` does; a stack's planes by their names, or a column ``plane``.

    Raises
    ------
    InputError
        The file is not a CSV with the columns ``image`` and ``beads``, a count is not a number of beads, a name may
        mean several images, or none of its images was predicted.
    """
    table = text_table(path, ("image", "beads"))
    counts = numbers_of(table["beads"], table.attrs["separator"])
    by_hand = [_count(name, text, count, path)
               for name, text, count in zip(table["image"], table["beads"], counts, strict=True)]  # fmt: skip
    rows, unknown = images.rows_of(table, path)
    if not rows:
        text = f"Names no predicted image (it names {listed(unknown)})." if unknown else "Names no image."
        raise InputError(text, path, f"Use the names of counts.csv, e.g. {counted[0].name}, or the paths of the files.")
    found = tuple(ManualCount(image=one.name, manual=by_hand[rows[one.image, one.plane]], beads=one.beads)
                  for one in counted if (one.image, one.plane) in rows)  # fmt: skip
    notes = (f"Counted by hand, but not predicted: {listed(unknown)}.",) if unknown else ()
    return found, notes


def _count(name: str, text: str, count: float | None, path: Path) -> float:
    if count is None or count < 0:
        remedy = "Write how many beads there are, 0 or more, without marks between thousands."
        raise InputError(f"The count of {name!r} is {text!r}.", path, remedy)
    return count
