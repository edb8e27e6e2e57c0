"""Figures of an analysed dataset: how its images vary, and samples with the outlines of their masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from beadseg.data.masks import label_objects
from beadseg.data.scan import natural_key
from beadseg.errors import InputError
from beadseg.predict.results import overlay
from beadseg.report.figure import BLUE, GREY, ORANGE, label_of, new_figure, save, tidy
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from beadseg.data.dataset import Dataset
    from beadseg.measure.analysis import Analysis, ImageStats

ANALYSIS_PNG = "analysis.png"
"""Distributions over images, and by field of view."""
SAMPLES_PNG = "samples.png"
"""Samples with the outlines of their masks."""

MOST_FIELDS = 30
"""With more fields of view than this, their names would be unreadable and are left out."""
MOST_SUSPECTS = 4
"""Suspects in the contact sheet, which also has the sparsest, the middle and the densest images."""
PER_KIND = 2
"""Images of each other kind."""
WINDOW = 512
"""Side of the shown part of an image, px."""

_QUANTITIES: tuple[tuple[str, Callable[[ImageStats], float | None]], ...] = (
    ("objects per image", lambda image: image.objects),
    ("positive pixels, %", lambda image: 100 * image.positive_ratio),
    ("object diameter, px", lambda image: image.object_diameter_px),
    ("touching objects, %", lambda image: None if image.touching is None else 100 * image.touching),
    ("brightness, grey levels", lambda image: image.brightness),
    ("brightness sd, grey levels", lambda image: image.brightness_sd),
    ("contrast of beads", lambda image: image.contrast),
    ("unmarked beads, %", lambda image: None if image.partial is None else 100 * image.partial.unmarked_share),
)
_BY_FIELD = (0, 2, 4, 6)
"""Which of `_QUANTITIES` are also drawn by field of view."""


def draw_analysis(analysis: Analysis, dataset: Dataset, folder: Path) -> tuple[Path, Path]:
    """Write ``analysis.png`` and ``samples.png`` and return their paths.

    Raises
    ------
    MachineError
        The folder cannot be written to.
    """
    return (
        save(analysis_figure(analysis), folder / ANALYSIS_PNG),
        save(samples_figure(analysis, dataset), folder / SAMPLES_PNG),
    )


def analysis_figure(analysis: Analysis) -> Figure:
    """Return histograms over images, and below them four of the quantities by field of view."""
    fields = sorted({image.field for image in analysis.images}, key=natural_key)
    tall = max(2.2, min(7.0, 0.8 + 0.2 * len(fields)))
    figure = new_figure(13, 5.4 + tall)
    grid = figure.add_gridspec(3, 4, height_ratios=(2.6, 2.6, tall))
    for index, (name, value) in enumerate(_QUANTITIES):
        _histogram(figure.add_subplot(grid[index // 4, index % 4]), name, _known(analysis.images, value))
    for column, index in enumerate(_BY_FIELD):
        axes = figure.add_subplot(grid[2, column])
        _by_field(axes, analysis, fields, index, named=column == 0)
    size, count = analysis.summary.dataset_size, analysis.summary.fields_of_view
    figure.suptitle(
        f"{label_of(analysis.summary.dataset)}: {plural(size, 'image')}, "
        f"{plural(count, 'field of view')}; dashed: median"
    )
    return figure


def samples_figure(analysis: Analysis, dataset: Dataset) -> Figure:
    """Return suspects, sparsest, middle and densest images with the outlines of their masks."""
    chosen = chosen_samples(analysis)
    columns = min(3, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = new_figure(4.4 * columns, 4.75 * rows)
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    for axes, (kind, image) in zip(all_axes, chosen, strict=False):
        _sample(axes, kind, image, dataset)
    return figure


def chosen_samples(analysis: Analysis) -> list[tuple[str, ImageStats]]:
    """Return the images of the contact sheet, each once, with what they stand for; suspects first."""
    ranked = sorted(analysis.images, key=lambda image: (image.objects_per_mpx, natural_key(image.image)))
    middle = max(0, (len(ranked) - PER_KIND) // 2)
    kinds: tuple[tuple[str, Sequence[ImageStats]], ...] = (
        ("suspect", analysis.suspects[:MOST_SUSPECTS]),
        ("sparsest", ranked[:PER_KIND]),
        ("middle", ranked[middle : middle + PER_KIND]),
        ("densest", ranked[::-1][:PER_KIND]),
    )
    chosen: dict[str, tuple[str, ImageStats]] = {}
    for kind, images in kinds:
        for image in images:
            chosen.setdefault(image.image, (kind, image))
    return list(chosen.values())


def _known(images: Sequence[ImageStats], value: Callable[[ImageStats], float | None]) -> list[float]:
    return [found for image in images if (found := value(image)) is not None]


def _histogram(axes: Axes, name: str, values: list[float]) -> None:
    axes.set(xlabel=name, ylabel="images")
    tidy(axes)
    if not values:
        axes.annotate("not known", (0.5, 0.5), xycoords="axes fraction", ha="center", color=GREY)
        return
    # Without a range, matplotlib would centre the bins of nothing but zeros on 0, as if there could be less than none.
    span = (min(values), max(values)) if any(values) else (0.0, 1.0)
    bins = min(30, max(8, round(len(values) ** 0.5) * 2))
    axes.hist(values, bins=bins, range=span, color=BLUE, edgecolor="white", linewidth=0.5)
    axes.axvline(float(np.median(values)), color=ORANGE, linestyle="--", linewidth=1.5)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _by_field(axes: Axes, analysis: Analysis, fields: list[str], index: int, named: bool) -> None:
    """Draw a dot for every image in the row of its field of view, and the field's median."""
    name, value = _QUANTITIES[index]
    everything = _known(analysis.images, value)
    if everything and not any(everything):
        axes.set_xlim(-0.03, 1)
    for row, field in enumerate(fields):
        values = _known([image for image in analysis.images if image.field == field], value)
        axes.plot(values, [row] * len(values), "o", color=BLUE, alpha=0.5, markersize=4)
        if len(values) > 1:
            axes.plot([float(np.median(values))], [row], "|", color=ORANGE, markersize=12, markeredgewidth=2)
    if named and len(fields) <= MOST_FIELDS:
        axes.set_yticks(range(len(fields)), [label_of(field) for field in fields], fontsize=7)
    else:
        axes.set_yticks(range(len(fields)) if len(fields) <= MOST_FIELDS else (), [])
    if named and len(fields) > MOST_FIELDS:
        axes.set_ylabel(plural(len(fields), "field of view"))
    axes.set(xlabel=f"{name}, by field", ylim=(len(fields) - 0.4, -0.6))
    tidy(axes)


def _sample(axes: Axes, kind: str, image: ImageStats, dataset: Dataset) -> None:
    """Show one image with the outlines of its mask; of a suspect, circles around the unmarked spots."""
    try:
        pixels, labels = _read(image, dataset)
    except InputError as error:
        axes.annotate(label_of(str(error), 60), (0.5, 0.5), xycoords="axes fraction", ha="center", fontsize=7)
        return
    found = image.partial.unmarked_at if image.partial is not None else ()
    top, left = _corner(labels.shape, found)
    shown = (slice(top, top + WINDOW), slice(left, left + WINDOW))
    axes.imshow(overlay(pixels[:, *shown], labels[shown]), interpolation="nearest")
    if found:
        rows, columns = np.array(found).T
        inside = (rows >= top) & (rows < top + WINDOW) & (columns >= left) & (columns < left + WINDOW)
        axes.plot(
            columns[inside] - left, rows[inside] - top, "o", markersize=9, markerfacecolor="none", color="#56B4E9"
        )
    axes.set_title(_title(kind, image, labels.shape), fontsize=8)


def _title(kind: str, image: ImageStats, shape: tuple[int, ...]) -> str:
    part = "" if max(shape) <= WINDOW else f" (a part of {shape[1]}x{shape[0]} px)"
    text = f"{kind}: {plural(image.objects, 'object')}{part}"
    if image.partial is not None and image.partial.suspect:
        text = (
            f"{image.partial.verdict} mask? {plural(image.objects, 'object')}{part}, "
            f"{image.partial.unmarked} unmarked (circles)"
        )
    return f"{label_of(image.image, 56)}\n{text}"


def _corner(shape: tuple[int, ...], found: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return top and left of the shown window: around the middle of what was `found`, or of the image."""
    middle = np.median(found, axis=0) if found else np.array(shape) / 2
    top, left = np.clip(middle - WINDOW / 2, 0, np.maximum(0, np.array(shape) - WINDOW)).astype(int)
    return int(top), int(left)


def _read(image: ImageStats, dataset: Dataset) -> tuple[NDArray[np.generic], NDArray[np.integer]]:
    """Return the pixels (C, Y, X) and labels (Y, X) of an analysed image."""
    sample = dataset[image.sample]
    for plane, pixels, target in sample.planes():
        if (f"{sample.name}_{plane}" if plane else sample.name) == image.image:
            return pixels, label_objects(target.foreground) if target.labels is None else target.labels
    raise InputError("Has no such plane any more.", image.image, "Analyse the dataset again.")
