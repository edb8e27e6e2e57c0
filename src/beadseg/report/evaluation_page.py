"""The page of an evaluation: scores, counts against truth, agreement, and pictures of hits and misses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.data.dataset import natural_key
from beadseg.events import OnEvent, StopFlag, ignore
from beadseg.measure.agreement import agreement, ratio_agreement, spans_decades
from beadseg.measure.evaluation import IDENTICAL, IDENTICAL_REMEDY, points_text
from beadseg.report.agreement import agreement_table
from beadseg.report.blocks import Badge, Block, Chart, Charts, Column, Items, Table, Text
from beadseg.report.evaluation import (
    AGREEMENT_PNG,
    RATIO_PNG,
    agreement_figures,
    counts_figure,
    density_panels,
    draw_evaluation,
    scores_figure,
)
from beadseg.report.evaluation_samples import sample_section
from beadseg.report.html import Notice, Page, Section
from beadseg.text import plural, score_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.data.dataset import Dataset
    from beadseg.measure.evaluation import Evaluation
    from beadseg.measure.groups import GroupScore

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
