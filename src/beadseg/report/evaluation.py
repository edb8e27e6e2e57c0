"""Figures of an evaluation: scores per image, counts against truth, scores per density class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from beadseg.data.dataset import natural_key
from beadseg.measure.agreement import spans_decades
from beadseg.report.bland_altman import difference_figure, ratio_figure
from beadseg.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, label_of, new_figure, save, tidy
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from beadseg.measure.evaluation import Evaluation
    from beadseg.measure.groups import GroupScore
    from beadseg.measure.score import ImageScore

SCORES_PNG = "scores.png"
"""Scores of every image."""
COUNTS_PNG = "counts.png"
"""Predicted against true counts."""
DENSITY_PNG = "density.png"
"""Scores and count error by density class."""
AGREEMENT_PNG = "agreement.png"
"""Bland-Altman plot: count differences against means; from two images on."""
RATIO_PNG = "agreement_ratio.png"
"""The same with ratios, where counts span at least a decade."""

MOST_NAMES = 60
"""With more images than this, their names would be unreadable and fields of view are named instead …"""
MOST_FIELDS = 40
"""… unless there are more of these."""


def draw_evaluation(evaluation: Evaluation, folder: Path) -> tuple[Path, ...]:
    """Write the figures of an evaluation and return their paths; none when nothing was scored.

    Raises
    ------
    MachineError
        The folder cannot be written to.
    """
    if not evaluation.images:
        return ()
    figures = {
        SCORES_PNG: scores_figure(evaluation),
        COUNTS_PNG: counts_figure(evaluation),
        DENSITY_PNG: density_figure(evaluation),
        **agreement_figures(evaluation),
    }
    for stale in {AGREEMENT_PNG, RATIO_PNG} - set(figures):
        (folder / stale).unlink(missing_ok=True)
    return tuple(save(figure, folder / name) for name, figure in figures.items())


def agreement_figures(evaluation: Evaluation) -> dict[str, Figure]:
    """Return the Bland-Altman plots that the number and the range of counts allow, by file name."""
    true = [image.true_count for image in evaluation.images]
    predicted = [image.predicted_count for image in evaluation.images]
    fields = [image.field for image in evaluation.images]
    figures = {}
    if len(true) > 1:
        figures[AGREEMENT_PNG] = difference_figure(true, predicted, fields)
    both = sum(a > 0 and b > 0 for a, b in zip(true, predicted, strict=True))
    if both > 1 and spans_decades(true):
        figures[RATIO_PNG] = ratio_figure(true, predicted, fields)
    return figures


def scores_figure(evaluation: Evaluation) -> Figure:
    """Return Jaccard, detection F1 and AP50 of every image, grouped by field of view, worst lowest in each."""
    images = sorted(
        evaluation.images,
        key=lambda image: (natural_key(image.field), image.f1 if image.jaccard is None else image.jaccard),
    )
    height = max(3.0, 1.6 + 0.19 * len(images)) if len(images) <= MOST_NAMES else 7.0
    figure = new_figure(8, height)
    axes = figure.add_subplot()
    rows = range(len(images))
    for value, label, colour, marker in (
        ([image.jaccard for image in images], "Jaccard", BLUE, "o"),
        ([image.f1 for image in images], "detection F1", ORANGE, "D"),
        ([image.ap50 for image in images], "AP at IoU 0.5", GREEN, "|"),
    ):
        axes.plot(_with_gaps(value), rows, marker, color=colour, label=label, markersize=5, markeredgewidth=1.5)
    mean = evaluation.overall.jaccard_images
    if mean is not None:
        axes.axvline(mean, color=BLUE, linewidth=1, linestyle="--", label=f"mean Jaccard {mean:.2f}")
    _name_rows(axes, images)
    axes.set(xlim=(-0.02, 1.02), xlabel="score", title="Scores per image, by field of view")
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=4, frameon=False)
    return figure


def _with_gaps(values: Sequence[float | None]) -> list[float]:
    """Return values to draw; what is not known is left out."""
    return [math.nan if value is None else value for value in values]


def counts_figure(evaluation: Evaluation) -> Figure:
    """Return predicted against true counts on logarithmic axes (linear below 10), with the line of equality."""
    figure = new_figure(6.4, 6)
    axes = figure.add_subplot()
    fields = [group.group for group in evaluation.by("field")]
    for index, field in enumerate(fields):
        members = [image for image in evaluation.images if image.field == field]
        axes.plot(
            [image.true_count for image in members],
            [image.predicted_count for image in members],
            "osD^vP*X"[index // 4 % 8],
            color=(BLUE, ORANGE, GREEN, PURPLE)[index % 4],
            label=label_of(field) if len(fields) <= 12 else None,
            markersize=5,
            alpha=0.8,
            clip_on=False,
            zorder=3,
        )
    top = 1.3 * max(10, *(max(image.true_count, image.predicted_count) for image in evaluation.images))
    axes.plot([0, top], [0, top], color=GREY, linewidth=1, label="equal")
    axes.set_xscale("symlog", linthresh=10)
    axes.set_yscale("symlog", linthresh=10)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(count_ticks(top)))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(ScalarFormatter())
    overall = evaluation.overall
    axes.set(
        xlim=(0, top),
        ylim=(0, top),
        aspect="equal",
        xlabel="true beads per image",
        ylabel="predicted beads per image",
        title=f"Counts: bias {overall.bias:+.1f}, mean absolute error {overall.mae:.1f} beads per image",
    )
    axes.title.set_fontsize(10)
    tidy(axes)
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    return figure


def count_ticks(top: float) -> list[int]:
    """Return ticks of a count axis up to `top`, linear below 10; decades, and also 2 and 5 of them on a short one."""
    steps = (1, 2, 5) if top < 1000 else (1,)
    above = [step * 10**power for power in range(1, 1 + math.ceil(math.log10(top))) for step in steps]
    return [0, 5, *(tick for tick in above if tick <= top)]


def density_figure(evaluation: Evaluation) -> Figure:
    """Return scores, and relative count error, by density class."""
    figure = new_figure(9, 3.8)
    scores, errors = figure.subplots(1, 2)
    _score_lines(scores, evaluation.by("density"))
    _bars(errors, evaluation.by("density"))
    return figure


def density_panels(evaluation: Evaluation) -> tuple[Figure, Figure]:
    """Return the two halves of `density_figure` apart, for a page that lays them out itself."""
    figures = new_figure(5.6, 3.8), new_figure(5.6, 3.8)
    _score_lines(figures[0].add_subplot(), evaluation.by("density"))
    _bars(figures[1].add_subplot(), evaluation.by("density"))
    return figures


def _score_lines(axes: Axes, groups: tuple[GroupScore, ...]) -> None:
    """Draw the mean scores of each class."""
    for value, label, colour, marker in (
        ([group.jaccard_images for group in groups], "Jaccard", BLUE, "o-"),
        ([group.f1_images for group in groups], "detection F1", ORANGE, "D-"),
        ([group.ap50 for group in groups], "AP at IoU 0.5", GREEN, "s-"),
    ):
        axes.plot(range(len(groups)), _with_gaps(value), marker, color=colour, label=label)
    axes.set(ylim=(-0.02, 1.02), ylabel="mean over images", title="Scores by density")
    axes.legend(frameon=False, fontsize=8)
    _class_axis(axes, groups)


def _bars(axes: Axes, groups: tuple[GroupScore, ...]) -> None:
    """Draw the relative count error of each class; a class without true beads has none and says so."""
    for at, group in enumerate(groups):
        if group.relative_bias is None:
            axes.annotate("no beads", (at, 0), ha="center", va="bottom", fontsize=8, color=GREY)
        else:
            axes.bar(at, 100 * group.relative_bias, color=BLUE, width=0.6)
    axes.axhline(0, color=GREY, linewidth=1)
    axes.set(ylabel="count error, %", title="Count error by density (over: +, under: -)")
    _class_axis(axes, groups)


def _class_axis(axes: Axes, groups: tuple[GroupScore, ...]) -> None:
    names = [f"{group.group}\n({group.images} img)" for group in groups]
    axes.set_xticks(range(len(groups)), names, fontsize=8)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.set_xlabel("true beads per image")
    tidy(axes)


def _name_rows(axes: Axes, images: list[ImageScore]) -> None:
    if len(images) <= MOST_NAMES:
        axes.set_yticks(range(len(images)), [label_of(image.image, 48) for image in images], fontsize=6)
    else:
        rows: dict[str, list[int]] = {}
        for row, image in enumerate(images):
            rows.setdefault(image.field, []).append(row)
        named = rows if len(rows) <= MOST_FIELDS else {}
        centres = [sum(members) / len(members) for members in named.values()]
        axes.set_yticks(centres, [label_of(name) for name in named], fontsize=7)
        axes.set_ylabel(plural(len(images), "image"))
    axes.set_ylim(-0.7, len(images) - 0.3)
