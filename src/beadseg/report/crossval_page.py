"""The page of a cross-validation: every fold beside the plain threshold method."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.data.documents import read_table
from beadseg.errors import InputError, RunError
from beadseg.report.figure import BLUE, GREY, label_of, new_figure, tidy
from beadseg.report.html import Chart, Charts, Column, Notice, Page, Row, Section, Table, Text
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

MEAN = "mean of folds"
"""The last row of the table of a finished cross-validation."""
_NUMBERS = ("images", "jaccard_images", "jaccard_pooled", "threshold_jaccard_images", "threshold_jaccard_pooled",
            "objects", "counted", "threshold_counted")  # fmt: skip

Fold = dict[str, float]

_UNFINISHED = Notice("It has not finished.", "The same crossval command continues it.", "info")
_HOW = (
    "Every image was predicted once, by a network that was trained without its fold. The threshold method is a "
    "difference of Gaussians with Otsu's threshold, on the same images: a network that does not beat it is not worth "
    "using. Of the run folder of each fold, and of predictions/, the report command makes pages."
)


def write_crossval_page(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a cross-validation and return its path.

    Raises
    ------
    InputError
        Its table is damaged or empty.
    MachineError
        The folder is not writable.
    """
    names, folds = _read(folder / files.CROSSVAL)
    finished = names[-1] == MEAN
    only = folds[:-1] if finished else folds
    page = Page(
        title=f"Cross-validation {folder.resolve().name}",
        kind="Cross-validation",
        lead=_lead(only),
        facts=(
            ("Folds", str(len(only))),
            ("Images", f"{sum(int(fold['images']) for fold in only):,}"),
            ("Objects in the masks", f"{sum(int(fold['objects']) for fold in only):,}"),
            ("Beads counted", f"{sum(int(fold['counted']) for fold in only):,}"),
        ),
        notices=() if finished else (_UNFINISHED,),
        sections=(Section("Folds", (_charts(names, only), _table(names, folds), Text(_HOW))),),
        source=folder.resolve(),
    )
    return page.write(folder / files.REPORT_PAGE)


def _lead(folds: Sequence[Fold]) -> str:
    ours, plain = (sum(f[name] for f in folds) / len(folds) for name in ("jaccard_images", "threshold_jaccard_images"))
    better = sum(fold["jaccard_images"] > fold["threshold_jaccard_images"] for fold in folds)
    return (
        f"Mean Jaccard of {plural(len(folds), 'fold')} {ours:.3f}; a plain threshold "
        f"reaches {plain:.3f}. The network is better "
        f"in {better} of {plural(len(folds), 'fold')}."
    )


def _table(names: Sequence[str], folds: Sequence[Fold]) -> Table:
    columns = (Column("Left out"), Column("Images", "d"), Column("Jaccard", ".3f", "Mean over images"),
               Column("pooled", ".3f", "All pixels together"), Column("Threshold", ".3f", "Mean over images"),
               Column("pooled", ".3f", "All pixels together"), Column("Objects", ",d", "In the masks"),
               Column("Counted", ",d", "By the network"), Column("Error", "+.0%", "Counted over objects"),
               Column("Threshold counts", ",d"))  # fmt: skip
    rows: list[Row] = []
    for name, fold in zip(names, folds, strict=True):
        error = fold["counted"] / fold["objects"] - 1 if fold["objects"] else math.nan
        scores = (fold[score] for score in _NUMBERS[1:5])
        rows.append((name, int(fold["images"]), *scores, int(fold["objects"]), int(fold["counted"]), error,
                     int(fold["threshold_counted"])))  # fmt: skip
    return Table(columns, rows, complete_in=files.CROSSVAL)


def _charts(names: Sequence[str], folds: Sequence[Fold]) -> Charts:
    return Charts((
        Chart(_pairs(names, folds, ("jaccard_images", "threshold_jaccard_images"), ("network", "threshold"),
                     "Jaccard, mean over images"), "Jaccard of what each fold left out."),
        Chart(_pairs(names, folds, ("counted", "objects"), ("counted by the network", "in the masks"), "beads"),
              "Beads counted, and objects in the masks (touching beads of a mask count as one)."),
    ))  # fmt: skip


def _pairs(
    names: Sequence[str], folds: Sequence[Fold], columns: tuple[str, str], labels: tuple[str, str], unit: str
) -> Figure:
    """Return two bars per fold."""
    figure = new_figure(5.6, max(2.4, min(9.0, 1.3 + 0.4 * len(folds))))
    axes = figure.add_subplot()
    for column, label, colour, shift in zip(columns, labels, (BLUE, GREY), (-0.19, 0.19), strict=True):
        axes.barh([at + shift for at in range(len(folds))], [fold[column] for fold in folds], 0.36, color=colour,
                  label=label)  # fmt: skip
    axes.set_yticks(range(len(folds)), [label_of(name, 24) for name in names[: len(folds)]], fontsize=7)
    axes.set_ylim(len(folds) - 0.4, -0.6)
    axes.set_xlabel(unit)
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _read(path: Path) -> tuple[list[str], list[Fold]]:
    try:
        rows = read_table(files.current(path), "fold", *_NUMBERS)
        folds = [{name: float(row[name]) for name in _NUMBERS} for row in rows]
    except (RunError, ValueError) as error:
        raise InputError(f"Cannot be read ({error}).", path, "Run the same crossval command again.") from None
    names = [row["fold"] for row in rows]
    if not [name for name in names if name != MEAN]:
        raise InputError("Holds no fold yet.", path, "Wait until the first fold has been scored.")
    return names, folds
