"""Findings about the files of a sample: sizes, numbers, soft edges, light."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from beadseg.annotation.audit import limits
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from beadseg.annotation.audit.measurement import Measurement, PlaneMeasurement
    from beadseg.annotation.audit.rules import Sheet

T = TypeVar("T")

MAJORITY = 0.8
"""A size or type of number is the data set's own when this share of the samples has it."""
PLAIN = ("uint8", "bool")
"""Types of numbers in which binary masks are usually stored."""


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
    if found.mask_kind != "soft" or found.soft_share < limits.SOFT_SHARE:
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
    if not limits.SMALLEST_BEAD <= usual.bead_diameter_px <= limits.LARGEST_BEAD:  # sizes and edges tell nothing
        _saturated(sheet, plane)
        return
    if plane.opposite:
        other = "bright" if usual.polarity == "dark" else "dark"
        text = f"The beads are {other}, those of the data set {usual.polarity}."
        sheet.add("polarity", "warning", 0.5, 1.0, "", text)
    _saturated(sheet, plane)
    uneven = plane.unevenness - usual.unevenness
    if uneven > limits.UNEVEN:
        text = (
            f"The background's level differs by {plane.unevenness:.0%} over the image, usually {usual.unevenness:.0%}."
        )
        sheet.add("light", "warning", 0.2 + 0.2 * uneven, 100 * plane.unevenness, "%", text)
    elif plane.level < limits.DARKEST and usual.polarity == "dark":
        text = f"The image is nearly black: its median is {plane.level:.1%} of the range."
        sheet.add("light", "warning", 0.4, 100 * plane.level, "%", text)
    _focus(sheet, plane)


def _saturated(sheet: Sheet, plane: PlaneMeasurement) -> None:
    low, high = plane.saturated_low, plane.saturated_high
    share = max(low, high)
    if share - sheet.baseline.saturated > limits.SATURATED:
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
    habit = max(limits.BLURRED, 1 + limits.BLUR_SPREADS * usual.edge_spread / usual.edge_width)
    if width > min(habit, limits.BLURRED_ENOUGH):
        text = f"The beads' edges are {found.width:.1f} px wide, usually {usual.edge_width:.1f} px: out of focus."
    elif contrast < limits.FAINT:
        text = f"The beads' contrast is {found.contrast:.2f}, usually {usual.contrast:.2f}: out of focus, or badly lit."
    else:
        return
    sheet.add("focus", "warning", 0.2 + 0.1 * width, width, "times", text,
              values={"width_px": found.width, "contrast": found.contrast})  # fmt: skip


def _hardly_visible(sheet: Sheet, plane: PlaneMeasurement) -> None:
    """Add that far more beads are marked than can be seen, though something is there: they are blurred away."""
    marked, seen, answer = len(plane.marked()), len(plane.seen()), plane.under_marked
    faint = answer is not None and 0.1 < answer / sheet.baseline.response < limits.FAINT
    if faint and marked >= limits.FEWEST_FOR_PARTS and seen < marked / 2:
        share = float(answer or 0.0) / sheet.baseline.response
        text = f"{plural(marked, 'bead')} marked, but {seen} clearly visible: out of focus, or badly lit."
        sheet.add("focus", "warning", 0.6, share, "times", text, values={"answer": share})
        return
    sheet.cannot_tell(("focus",), "Too few separate beads to tell how sharp they are.")
