"""The page of an evaluation: scores, counts against truth, agreement, and pictures of hits and misses."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.ticker import FixedLocator, NullLocator, ScalarFormatter

from beadseg import files
from beadseg.data.documents import is_plain_name, pair
from beadseg.data.image_io import read_labels, read_mask
from beadseg.data.scan import natural_key
from beadseg.errors import BeadsegError, Cancelled, InputError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.measure.evaluation import IDENTICAL, IDENTICAL_REMEDY, points_text
from beadseg.measure.scores import agreement, ratio_agreement, spans_decades
from beadseg.report.bland_altman import agreement_table, difference_figure, ratio_figure
from beadseg.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, label_of, new_figure, save, tidy
from beadseg.report.html import (
    Badge,
    Block,
    Chart,
    Charts,
    Column,
    Gallery,
    Items,
    Notice,
    Page,
    Picture,
    Section,
    Table,
    Text,
    missing_pictures,
    picture_of,
)
from beadseg.report.samples import LEGEND, fullest_window, match, matched_picture
from beadseg.text import plural, score_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from beadseg.data.dataset import Dataset
    from beadseg.measure.evaluation import Evaluation
    from beadseg.measure.scores import GroupScore, ImageScore

_GROUP_COLUMNS = (
    Column("Images", "d"),
    Column("Jaccard", ".3f", "Intersection over union of the foreground, mean over images"),
    Column("pooled", ".3f", "Jaccard of all pixels together"),
    Column("Precision", ".3f", "Share of the predicted beads that are true"),
    Column("Recall", ".3f", "Share of the true beads that are found"),
    Column("F1", ".3f", "Detection: centres matched one to one, all beads together"),
    Column("AP50", ".3f", "TP / (TP + FP + FN) of objects that overlap by at least half, mean over images"),
    Column("True", ",d", "True beads"),
    Column("Found", ",d", "Predicted beads"),
    Column("Bias", "+.1f", "Predicted minus true beads, mean over images"),
    Column("MAE", ".1f", "Absolute count error, mean over images"),
    Column("Error", "+.1%", "Summed count error over summed true beads"),
)

MOST_SAMPLES = 8
"""So many images are shown: the worst, those in the middle, and the best."""

SUFFIXES = (".tif", ".tiff", ".png")

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


def write_evaluation_page(
    folder: Path,
    evaluation: Evaluation,
    dataset: Dataset | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    *,
    keep_fuller: str = "",
) -> Path:
    """Write ``report.html``, and the figures in ``report/``, into an evaluation folder; return the page's path.

    Parameters
    ----------
    folder : pathlib.Path
        The evaluation folder.
    evaluation : Evaluation
        Its scores.
    dataset : Dataset, optional
        The truth, for the pictures; opened from where the evaluation found it when not given.
    on_event, stop
        Progress, and the flag that ends the work.
    keep_fuller : str
        As for `Page.write`.

    Raises
    ------
    MachineError
        The folder is not writable.
    Cancelled
        `stop` was set.
    """
    draw_evaluation(evaluation, folder / files.REPORT)
    page = Page(
        title=f"Evaluation of {Path(evaluation.predictions).resolve().name}",
        kind="Evaluation",
        lead=_lead(evaluation),
        facts=_facts(evaluation),
        notices=_notices(evaluation),
        sections=(*_sections(evaluation, folder, dataset, on_event, stop), _failures(evaluation)),
        source=folder.resolve(),
    )
    return page.write(folder / files.REPORT_PAGE, keep_fuller)


def _sections(
    evaluation: Evaluation, folder: Path, dataset: Dataset | None, on_event: OnEvent, stop: StopFlag | None
) -> tuple[Section, ...]:
    if not evaluation.images:
        return ()
    overall, fields, classes = evaluation.overall, evaluation.by("field"), evaluation.by("density")
    return (
        Section("All images together", (_groups("", "Group", (overall,)), Text(_means(overall)))),
        Section("Counts", (*_counts(evaluation),)),
        sample_section(evaluation, folder, dataset, on_event, stop),
        Section("By field of view", (_groups("", "Field of view", fields),)),
        Section("By density", (_groups("", "True beads per image", classes), _density(evaluation))),
        Section("By image", (_scores(evaluation), _images(evaluation))),
    )


def _lead(evaluation: Evaluation) -> str:
    if not evaluation.images:
        return "No sample could be scored."
    overall = evaluation.overall
    error = "" if overall.relative_bias is None else f" ({overall.relative_bias:+.1%})"
    return (
        f"{plural(overall.predicted_count, 'bead')} counted where {overall.true_count:,} are true{error}; detection F1 "
        f"{overall.f1:.3f}, Jaccard {score_text(overall.jaccard_images)} (mean over images)."
    )


def _facts(evaluation: Evaluation) -> list[tuple[str, str]]:
    tolerances = [image.tolerance_px for image in evaluation.images if image.tolerance_px is not None]
    within = f"{min(tolerances):.1f} to {max(tolerances):.1f} px" if tolerances else "-"
    return [
        ("Predictions", evaluation.predictions),
        ("Truth", evaluation.dataset),
        ("Samples scored", f"{evaluation.samples - len(evaluation.failed_samples)} of {evaluation.samples}"),
        ("Fields of view", str(len(evaluation.by("field")))),
        ("Centres match within", within),
    ]


def _notices(evaluation: Evaluation) -> list[Notice]:
    notices = []
    if evaluation.failed_samples:
        text = f"{len(evaluation.failed_samples)} of {plural(evaluation.samples, 'sample')} could not be scored."
        notices.append(Notice(text, "They enter no mean. The list is at the end."))
    flagged = [image for image in evaluation.images if image.flags]
    if flagged:
        images = plural(len(evaluation.images), "image")
        text = f"The annotations of {len(flagged)} of {images} may not be what they claim."
        detail = f"{flagged[0].image}: {flagged[0].flags} The scores of such images say little of the predictions."
        notices.append(Notice(text, detail))
    if evaluation.scored_itself:
        notices.append(Notice(IDENTICAL, IDENTICAL_REMEDY))
    if points := sum(not image.areas for image in evaluation.images):
        notices.append(Notice(points_text(points), "Centres and counts are scored there.", "info"))
    unmarked = sum(not image.instances for image in evaluation.images)
    if unmarked:
        text = f"The truth of {plural(unmarked, 'image')} is a mask without ids: touching beads count as one there."
        notices.append(Notice(text, "Predicted counts may look too high for this reason alone.", "info"))
    return notices


def _groups(caption: str, first: str, groups: Sequence[GroupScore]) -> Table:
    rows = [
        (g.group, g.images, g.jaccard_images, g.jaccard_pooled, g.precision, g.recall, g.f1, g.ap50,
         g.true_count, g.predicted_count, g.bias, g.mae, g.relative_bias)
        for g in groups
    ]  # fmt: skip
    return Table((Column(first), *_GROUP_COLUMNS), rows, caption, complete_in=files.EVALUATION_GROUPS)


def _means(overall: GroupScore) -> str:
    return (
        f"Mean over fields of view, each counting alike: Jaccard {score_text(overall.jaccard_fields)}, Dice "
        f"{score_text(overall.dice_fields)}, F1 {overall.f1_fields:.3f}. AP averaged over IoU 0.50 to 0.95: "
        f"{score_text(overall.mean_ap)}."
    )


def _counts(evaluation: Evaluation) -> list[Block]:
    true = [image.true_count for image in evaluation.images]
    predicted = [image.predicted_count for image in evaluation.images]
    plots = agreement_figures(evaluation)
    charts = [Chart(counts_figure(evaluation), "Predicted against true beads per image; linear below 10.")]
    captions = {
        AGREEMENT_PNG: "Bland-Altman plot: bias and 95 % limits of agreement, shaded: their 95 % confidence intervals.",
        RATIO_PNG: "The same for ratios, since the counts span more than a factor of ten; 1 is equal.",
    }
    charts += [Chart(figure, captions[name]) for name, figure in plots.items()]
    found = {"predicted - true, beads": agreement(true, predicted)} if AGREEMENT_PNG in plots else {}
    blocks: list[Block] = [Charts(charts)]
    if RATIO_PNG in plots:
        found["predicted / true"] = ratio_agreement(true, predicted)
    if found:
        blocks += [agreement_table(found), Text(_caveat(evaluation, plots))]
    else:
        blocks.append(Text("Limits of agreement need at least two images."))
    return blocks


def _caveat(evaluation: Evaluation, plots: dict[str, Any]) -> str:
    text = "95 % of images are expected between the limits, if differences are normal (Bland and Altman 1986, 1999)."
    if len(evaluation.by("field")) < len(evaluation.images):
        text += " Images of one field of view resemble each other, so that the intervals are wider in truth."
    empty = sum(image.true_count == 0 or image.predicted_count == 0 for image in evaluation.images)
    if RATIO_PNG in plots and empty:
        text += f" Left out there, without a ratio: {plural(empty, 'image')} without a bead on one side."
    elif RATIO_PNG not in plots and spans_decades([image.true_count for image in evaluation.images]):
        text += " Too few images have beads on both sides for ratios."
    return text


def _density(evaluation: Evaluation) -> Charts:
    scores, errors = density_panels(evaluation)
    return Charts((Chart(scores, "Mean scores by density class."), Chart(errors, "Count error by density class.")))


def _scores(evaluation: Evaluation) -> Chart:
    return Chart(scores_figure(evaluation), "Every image, by field of view.", "Jaccard, F1 and AP of every image")


def _images(evaluation: Evaluation) -> Table:
    flagged = bool(evaluation.flagged)
    columns = (Column("Image"), Column("Field of view"), Column("Jaccard", ".3f"),
               Column("Precision", ".3f"), Column("Recall", ".3f"), Column("F1", ".3f"), Column("AP50", ".3f"),
               Column("True", ",d"), Column("Found", ",d"), Column("Error", "+d"),
               Column("%", "+.0%", "Count error over true beads"),
               *([Column("Annotation")] if flagged else []))  # fmt: skip
    rows = [
        (i.image, i.field, i.jaccard, i.precision, i.recall, i.f1, i.ap50, i.true_count, i.predicted_count,
         i.count_error, i.relative_error, *([Badge(i.flags, "warn") if i.flags else None] if flagged else []))
        for i in sorted(evaluation.images, key=lambda image: natural_key(image.image))
    ]  # fmt: skip
    return Table(columns, rows, "All images", complete_in=files.EVALUATION_IMAGES)


def _failures(evaluation: Evaluation) -> Section:
    entries = [f"{failure.name}: {failure.reason}" for failure in evaluation.failures]
    return Section("What could not be scored", (Items(entries, "Images and reasons"),) if entries else ())


def sample_section(
    evaluation: Evaluation,
    folder: Path,
    dataset: Dataset | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> Section:
    """Return pictures of the worst, middle and best images, and what could not be shown and why.

    Parameters
    ----------
    evaluation : Evaluation
        The scores. A picture is shown only where matching gives the same counts again: nothing changed since.
    folder : pathlib.Path
        The evaluation folder; predictions that were moved are looked for around it.
    dataset : Dataset, optional
        The truth; opened from where the evaluation found it when not given.
    on_event, stop
        Progress, and the flag that ends the work.

    Raises
    ------
    Cancelled
        `stop` was set.
    """
    title = "Samples"
    try:
        truth = evaluation.open_dataset(folder) if dataset is None else dataset
        predictions = evaluation.find_predictions(folder)
    except InputError as error:
        on_event(missing_pictures([str(error)]))
        return Section(title, (Text(f"Left out, because the images or predictions are missing: {error}"),))
    names = _names(predictions, truth)
    chosen = worst_middle_best(evaluation.images)
    pictures, missing = [], []
    for image in track(chosen, "samples", len(chosen), on_event, stop):
        try:
            pictures.append(_picture(image, truth, predictions, names))
        except Cancelled:
            raise
        except (BeadsegError, OSError, ValueError, IndexError) as error:  # files that changed since the evaluation
            missing.append(f"{image.image}: {error}")
    if missing:
        on_event(missing_pictures(missing))
    blocks: list[Block] = [Gallery(pictures, LEGEND)] if pictures else []
    if missing:
        blocks.append(Items(missing, "Not shown"))
    intro = "The worst by F1 first, then those in the middle, then the best." if len(chosen) > 2 else ""
    return Section(title, blocks, intro)


def worst_middle_best(images: Sequence[ImageScore]) -> list[ImageScore]:
    """Return up to `MOST_SAMPLES` images by F1 and Jaccard: three worst, two in the middle, three best, in order."""
    order = sorted(images, key=lambda image: (image.f1, image.jaccard or 0.0, natural_key(image.image)))
    if len(order) <= MOST_SAMPLES:
        return order
    middle = len(order) // 2
    return [*order[:3], *order[middle - 1 : middle + 1], *order[-3:]]


def _names(predictions: Path, truth: Dataset) -> dict[str, str]:
    """Return what the samples are called in the prediction folder."""
    stored = {path.stem for kind in (files.MASKS, files.LABELS) for path in (predictions / kind).glob("*.*")}
    return pair(predictions, stored, [(sample.name, sample.image_path) for sample in truth]).names


def _picture(image: ImageScore, truth: Dataset, predictions: Path, predicted: dict[str, str]) -> Picture:
    planes = list(truth[image.sample].planes())
    names = [f"{image.sample}_{plane}" if plane else image.sample for plane, _, _ in planes]
    index = names.index(image.image)
    _, pixels, target = planes[index]
    foreground, labels = predicted_planes(predictions, predicted.get(image.sample, image.sample))[index]
    matched = match(foreground, labels, target, image.tolerance_px)
    if matched.counts != (image.tp, image.fp, image.fn):
        what = "The image, its annotation or its prediction has changed since then."
        raise InputError(what, remedy="Evaluate again.")
    shape = target.foreground.shape
    window = fullest_window(matched.errors if len(matched.errors) else matched.centres, shape)
    caption = (
        f"F1 {image.f1:.3f}, Jaccard {score_text(image.jaccard)}; {image.predicted_count:,} found, "
        f"{image.true_count:,} true: {matched.caption()}. {window.caption(shape)}"
    )
    return picture_of(matched_picture(pixels, matched, window), image.image, caption.strip())


def predicted_planes(folder: Path, name: str) -> list[tuple[NDArray[np.bool_], NDArray[np.uint32] | None]]:
    """Return the foreground (Y, X) bool and, where there are some, the instances (Y, X) uint32 of every plane.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder.
    name : str
        The image's name in it.

    Raises
    ------
    InputError
        There is no prediction of this name, or it cannot be read.
    """
    if not is_plain_name(name):
        raise InputError("Is a name that leads out of the folder.", files.printable(name), "Evaluate again.")
    for kind, read in ((files.LABELS, read_labels), (files.MASKS, read_mask)):
        for suffix in SUFFIXES:
            path = folder / kind / f"{name}{suffix}"
            if path.is_file():
                return list(read(path).planes())
    raise InputError("Has no prediction.", name, "Predict it again.")


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
