"""From numbers to findings: about a sample's files, about two samples, and about what networks say of a mask.

Every rule looks at measurements and at what is usual in the data set; rules about how a mask lies on its image are
in `beadseg.annotation.audit.mask_rules`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from beadseg import files
from beadseg.annotation.audit import thresholds
from beadseg.annotation.audit.document import Baseline, Box, Finding, NotAssessable
from beadseg.annotation.audit.duplicates import Duplicate, find_duplicates, owners
from beadseg.annotation.audit.registration import ORIENTATIONS
from beadseg.data.fields import listed
from beadseg.data.image_io import read_labels
from beadseg.errors import BeadsegError, InputError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.measure.scores import count_overlap
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from beadseg.annotation.audit.document import Code, Severity
    from beadseg.annotation.audit.measurement import Measurement, PlaneMeasurement
    from beadseg.data.dataset import Dataset
    from beadseg.data.split import Split

T = TypeVar("T")

MAJORITY = 0.8
"""A size or type of number is the data set's own when this share of the samples has it."""
PLAIN = ("uint8", "bool")
"""Types of numbers in which binary masks are usually stored."""

NEIGHBOURS = 0.5
"""Tiles of one field of view that overlap less than this are cut so on purpose: worth a note, unless across a split."""
FOLD_NAMES = {"train": "training", "val": "validation", "test": "testing"}

FEWEST = 4
"""With fewer predictions there is no usual agreement to compare with."""


@dataclass
class Sheet:
    """The findings about one sample, as they are collected.

    Attributes
    ----------
    sample, field_name : str
        Its name and its field of view.
    baseline : Baseline
        What is usual.
    findings, unknown : list
        What was found, and what could not be told.
    """

    sample: str
    field_name: str
    baseline: Baseline
    findings: list[Finding] = field(default_factory=list)
    unknown: list[NotAssessable] = field(default_factory=list)

    def add(
        self,
        code: Code,
        severity: Severity,
        badness: float,
        value: float,
        unit: str,
        message: str,
        *,
        values: dict[str, float] | None = None,
        box: Box | None = None,
        partner: str | None = None,
    ) -> None:
        """Add a finding; `badness` is cut to 0-1."""
        numbers = {name: round(number, 4) for name, number in (values or {}).items()}
        self.findings.append(
            Finding(
                sample=self.sample,
                field=self.field_name,
                code=code,
                severity=severity,
                badness=round(min(1.0, max(0.0, badness)), 4),
                value=round(value, 4),
                unit=unit,
                values=numbers,
                message=message,
                box=box,
                partner=partner,
            )
        )

    def cannot_tell(self, codes: tuple[Code, ...], reason: str) -> None:
        """Say that these checks were not possible."""
        self.unknown.append(NotAssessable(codes=codes, reason=reason))

    def has(self, *codes: Code) -> bool:
        """Tell whether one of `codes` was found."""
        return any(finding.code in codes for finding in self.findings)


@dataclass(frozen=True)
class Habits:
    """What most files of a data set are like; None where there is no majority."""

    size: tuple[int, int] | None
    image_dtype: str | None

    @classmethod
    def of(cls, measurements: Iterable[Measurement]) -> Habits:
        """Return the habits of a data set."""
        first = [found.planes[0] for found in measurements if found.planes]
        return cls(
            _most([(plane.height, plane.width) for plane in first]), _most([plane.image_dtype for plane in first])
        )


def _most(values: Sequence[T]) -> T | None:
    if not values:
        return None
    value, count = Counter(values).most_common(1)[0]
    return value if count >= MAJORITY * len(values) and count > 1 else None


def file_rules(sheet: Sheet, found: Measurement, habits: Habits) -> None:
    """Add what is wrong with the files themselves."""
    if found.wrong_size is not None:
        height, width, mask_height, mask_width = found.wrong_size
        turned = (
            " It has the sides exchanged: it may be transposed." if (height, width) == (mask_width, mask_height) else ""
        )
        text = f"The mask is {mask_width}x{mask_height} px (width x height), its image {width}x{height} px.{turned}"
        sheet.add("size", "error", 1.0, mask_height * mask_width / (height * width), "", text)
    _soft(sheet, found)
    _dtype(sheet, found, habits)
    for plane in found.planes[:1]:
        if habits.size and (plane.height, plane.width) != habits.size:
            text = (
                f"The image is {plane.width}x{plane.height} px, most others are {habits.size[1]}x{habits.size[0]} px."
            )
            sheet.add("size", "note", 0.05, plane.height * plane.width / (habits.size[0] * habits.size[1]), "", text)


def _soft(sheet: Sheet, found: Measurement) -> None:
    if found.mask_kind != "soft" or found.soft_share < thresholds.SOFT_SHARE:
        return
    text = (
        f"The mask has {found.levels} grey values instead of two: {found.soft_share:.0%} of what is marked lies"
        f" between. It is read by cutting at half of white; taking everything above 0 would make it"
        f" {found.soft_area:.2f} times as large."
    )
    sheet.add("soft", "warning", 0.1 + 0.3 * found.soft_share, 100 * found.soft_share, "%", text,
              values={"levels": found.levels, "area_ratio": found.soft_area})  # fmt: skip


def _dtype(sheet: Sheet, found: Measurement, habits: Habits) -> None:
    if found.mask_lossy:
        text = "The mask is a JPEG, whose compression changes values near edges. Save masks as PNG or TIFF."
        sheet.add("dtype", "warning", 0.15, 0.0, "", text)
    elif found.mask_kind == "binary" and found.mask_dtype and found.mask_dtype not in PLAIN:
        text = f"The mask stores two values as {found.mask_dtype}; it is read as bead where it is not 0."
        sheet.add("dtype", "note", 0.02, 0.0, "", text)
    for plane in found.planes[:1]:
        if habits.image_dtype and plane.image_dtype != habits.image_dtype:
            text = f"The image stores {plane.image_dtype}, most others {habits.image_dtype}."
            sheet.add("dtype", "warning", 0.1, 0.0, "", text)


def image_rules(sheet: Sheet, plane: PlaneMeasurement) -> None:
    """Add what is unusual about the image itself."""
    usual = sheet.baseline
    if (
        not thresholds.SMALLEST_BEAD <= usual.bead_diameter_px <= thresholds.LARGEST_BEAD
    ):  # sizes and edges tell nothing
        _saturated(sheet, plane)
        return
    if plane.opposite:
        other = "bright" if usual.polarity == "dark" else "dark"
        text = f"The beads are {other}, those of the data set {usual.polarity}."
        sheet.add("polarity", "warning", 0.5, 1.0, "", text)
    _saturated(sheet, plane)
    uneven = plane.unevenness - usual.unevenness
    if uneven > thresholds.UNEVEN:
        text = (
            f"The background's level differs by {plane.unevenness:.0%} over the image, usually {usual.unevenness:.0%}."
        )
        sheet.add("light", "warning", 0.2 + 0.2 * uneven, 100 * plane.unevenness, "%", text)
    elif plane.level < thresholds.DARKEST and usual.polarity == "dark":
        text = f"The image is nearly black: its median is {plane.level:.1%} of the range."
        sheet.add("light", "warning", 0.4, 100 * plane.level, "%", text)
    _focus(sheet, plane)


def _saturated(sheet: Sheet, plane: PlaneMeasurement) -> None:
    low, high = plane.saturated_low, plane.saturated_high
    share = max(low, high)
    if share - sheet.baseline.saturated > thresholds.SATURATED:
        end = "white" if high >= low else "black"
        text = f"{share:.1%} of the pixels are fully {end}: differences there are lost."
        sheet.add("saturated", "warning", 0.1 + 0.5 * share, 100 * share, "%", text,
                  values={"low": 100 * low, "high": 100 * high})  # fmt: skip


def _focus(sheet: Sheet, plane: PlaneMeasurement) -> None:
    usual, found = sheet.baseline, plane.radii
    if found is None or usual.edge_width is None or usual.contrast is None:
        _hardly_visible(sheet, plane)
        return
    width, contrast = found.width / usual.edge_width, found.contrast / usual.contrast
    habit = max(thresholds.BLURRED, 1 + thresholds.BLUR_SPREADS * usual.edge_spread / usual.edge_width)
    if width > min(habit, thresholds.BLURRED_ENOUGH):
        text = f"The beads' edges are {found.width:.1f} px wide, usually {usual.edge_width:.1f} px: out of focus."
    elif contrast < thresholds.FAINT:
        text = f"The beads' contrast is {found.contrast:.2f}, usually {usual.contrast:.2f}: out of focus, or badly lit."
    else:
        return
    sheet.add("focus", "warning", 0.2 + 0.1 * width, width, "times", text,
              values={"width_px": found.width, "contrast": found.contrast})  # fmt: skip


def _hardly_visible(sheet: Sheet, plane: PlaneMeasurement) -> None:
    """Add that far more beads are marked than can be seen, though something is there: they are blurred away."""
    marked, seen, answer = len(plane.marked()), len(plane.seen()), plane.under_marked
    faint = answer is not None and 0.1 < answer / sheet.baseline.response < thresholds.FAINT
    if faint and marked >= thresholds.FEWEST_FOR_PARTS and seen < marked / 2:
        share = float(answer or 0.0) / sheet.baseline.response
        text = f"{plural(marked, 'bead')} marked, but {seen} clearly visible: out of focus, or badly lit."
        sheet.add("focus", "warning", 0.6, share, "times", text, values={"answer": share})
        return
    sheet.cannot_tell(("focus",), "Too few separate beads to tell how sharp they are.")


def owner_rule(sheets: Mapping[str, Sheet], planes: Mapping[str, PlaneMeasurement], radius: float) -> None:
    """Name the image that each mismatched mask belongs to, where it is in the data set."""
    mismatched = [name for name, sheet in sheets.items() if sheet.has("mismatch")]
    for name, owner in owners(mismatched, planes, radius).items():
        sheet = sheets[name]
        sheet.findings[:] = [
            finding.replace(
                partner=owner,
                message=f"The mask fits its image nowhere, but fits the image of {owner}: it was swapped.",
            )
            if finding.code == "mismatch"
            else finding
            for finding in sheet.findings
        ]


def duplicate_rule(
    sheets: Mapping[str, Sheet], planes: Mapping[str, PlaneMeasurement], radius: float, split: Split | None
) -> None:
    """Add duplicates; those on both sides of the split are errors."""
    folds = _folds(split)
    for pair in find_duplicates(planes, radius):
        here, there = folds.get(_sample(pair.second)), folds.get(_sample(pair.first))
        across = here is not None and there is not None and here != there
        text = _duplicate_text(pair)
        if across:
            text += f" They are on both sides of the split ({FOLD_NAMES[str(there)]} and {FOLD_NAMES[str(here)]})."
        badness = 0.9 if across else (0.6 if pair.kind == "mask" else 0.2 + 0.3 * pair.overlap)
        neighbours = sheets[pair.second].field_name == sheets[pair.first].field_name and pair.overlap < NEIGHBOURS
        severity: Severity = "error" if across or pair.kind == "mask" else "note" if neighbours else "warning"
        sheets[pair.second].add(
            "duplicate", severity, badness, 100 * pair.overlap, "%", text,
            partner=pair.first, values={"across_split": float(across), "orientation": pair.orientation},
        )  # fmt: skip


def _duplicate_text(pair: Duplicate) -> str:
    if pair.kind == "image":
        return f"The image is the same as that of {pair.first}."
    if pair.kind == "mask":
        return f"The mask is the same as that of {pair.first}, but the images differ."
    turned = f", {ORIENTATIONS[pair.orientation]}" if pair.orientation else ""
    return f"{pair.overlap:.0%} of the image is also shown by {pair.first}{turned}."


def leak_rule(sheets: Mapping[str, Sheet], split: Split | None) -> None:
    """Add fields of view that are on both sides of the split: a note to every sample of the smaller side."""
    folds = _folds(split)
    by_field: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, sheet in sheets.items():
        fold = folds.get(_sample(name))
        if fold is not None:
            by_field[sheet.field_name][fold].append(name)
    for view, sides in by_field.items():
        trained = sides.get("train", [])
        for fold in ("val", "test"):
            for name in sides.get(fold, []) if trained else []:
                text = (
                    f"It is in {FOLD_NAMES[fold]}, while {listed(trained, 2)} of the same field of view ({view}) in"
                    " training: its score is too good."
                )
                sheets[name].add("leak", "warning", 0.25, len(trained), "samples", text, partner=trained[0])


def _folds(split: Split | None) -> dict[str, str]:
    if split is None:
        return {}
    return {name: fold for fold in ("train", "val", "test") for name in getattr(split, fold)}


def _sample(name: str) -> str:
    """Return the sample of a plane's name; names of files hold no slash."""
    return name.partition("/")[0]


def agreements(
    dataset: Dataset, crossval: Path, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> dict[str, float]:
    """Return the Jaccard of each sample's mask with its out-of-fold prediction.

    Parameters
    ----------
    dataset : Dataset
        What is audited.
    crossval : pathlib.Path
        Folder that `beadseg-batch crossval` wrote.
    on_event, stop
        See `beadseg.events`.

    Returns
    -------
    dict
        Samples without a prediction, of several planes, or of another size are left out.

    Raises
    ------
    InputError
        There are no predictions.
    """
    folder = crossval / files.PREDICTIONS / files.LABELS
    if not folder.is_dir():
        raise InputError("Holds no out-of-fold predictions.", crossval, "Give a folder that `crossval` wrote.")
    found: dict[str, float] = {}
    for sample in track(dataset.samples, "predictions", len(dataset), on_event, stop):
        path = folder / f"{sample.name}.tif"
        if not path.is_file():
            continue
        try:
            target, predicted = sample.read_target(), read_labels(path).foreground
        except BeadsegError:
            continue
        if predicted.shape == target.foreground.shape and (predicted.any() or target.foreground.any()):
            found[sample.name] = count_overlap(predicted, target.foreground, target.ignore).jaccard
    if not found:
        raise InputError("None of its predictions is of a sample of this data set.", folder, "Check the folder.")
    return found


def contradicted(agreement: Mapping[str, float]) -> tuple[dict[str, float], float]:
    """Return the samples whose agreement is unusually low, and the usual agreement (the median)."""
    if len(agreement) < FEWEST:
        return {}, 0.0
    values = np.array(list(agreement.values()))
    usual = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - usual)))
    limit = usual - max(thresholds.CONTRADICTED, thresholds.CONTRADICTED_SPREADS * spread)
    return {name: value for name, value in agreement.items() if value < limit}, usual
