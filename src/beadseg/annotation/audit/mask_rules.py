"""Findings about how a mask lies on its image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.stats import binom

from beadseg.annotation.audit import thresholds
from beadseg.annotation.audit.registration import ORIENTATIONS
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.annotation.audit.document import Code, Severity
    from beadseg.annotation.audit.measurement import ErrorRegions, FitNumbers, PlaneMeasurement
    from beadseg.annotation.audit.rules import Sheet
    from beadseg.data.masks import DoubtKind

GEOMETRY: tuple[Code, ...] = ("mismatch", "orientation", "scale", "affine", "shift")
"""What needs beads in both image and mask."""
COMPARED: tuple[Code, ...] = (
    *GEOMETRY, "dilated", "eroded", "partial", "extra", "merged", "broken", "empty", "inverted", "polarity", "focus",
)  # fmt: skip
"""What compares the beads of an image with its mask."""
DOUBTS: dict[DoubtKind, tuple[Code, Severity, float]] = {
    "inverted": ("inverted", "error", 0.9),
    "full": ("full", "warning", 0.5),
    "pieces": ("broken", "warning", 0.4),
    "rings": ("rings", "warning", 0.5),
    "specks": ("specks", "warning", 0.4),
    "turned": ("orientation", "warning", 0.3),
}
"""Code, severity and badness of doubts; soft edges are judged by `file_rules`."""


def mask_rules(sheet: Sheet, plane: PlaneMeasurement) -> None:
    """Add what is wrong with the mask of one plane."""
    if not in_range(sheet.baseline.bead_diameter_px):
        _doubts(sheet, plane, 2.0)
        sheet.cannot_tell(COMPARED, out_of_range(sheet.baseline.bead_diameter_px))
        return
    if plane.inverted:
        text = f"{plane.marked_share:.0%} of the image is marked, and the beads are what is not: the mask is inverted."
        sheet.add("inverted", "error", 1.0, 100 * plane.marked_share, "%", text)
        return
    _doubts(sheet, plane, thresholds.FULL)
    if _marks_nothing(sheet, plane):
        return
    _geometry(sheet, plane)
    if sheet.has("mismatch"):
        return
    _parts(sheet, plane)
    _size_of_beads(sheet, plane)
    _wrong_beads(sheet, plane)
    _labels(sheet, plane)


def in_range(diameter_px: float) -> bool:
    """Tell whether beads are of a size at which images can be compared with masks."""
    return thresholds.SMALLEST_BEAD <= diameter_px <= thresholds.LARGEST_BEAD


def out_of_range(diameter_px: float) -> str:
    """Return the sentence that says why images are not compared with masks."""
    return (
        f"Beads are {diameter_px:g} px across; masks are compared with what images show from"
        f" {thresholds.SMALLEST_BEAD:g} to {thresholds.LARGEST_BEAD:g} px."
    )


def _doubts(sheet: Sheet, plane: PlaneMeasurement, full: float) -> None:
    """Add what is doubtful whatever the image shows; `analyze`, `train` and `evaluate` say the same.

    From the share `full` of marked pixels on, a rule of its own says so.
    """
    for kind, text in plane.doubts:
        if kind in DOUBTS and not (kind == "full" and plane.marked_share >= full):
            code, severity, badness = DOUBTS[kind]
            sheet.add(code, severity, badness, 100 * plane.marked_share, "%", text)


def _marks_nothing(sheet: Sheet, plane: PlaneMeasurement) -> bool:
    beads = len(plane.seen())
    if plane.marked_share >= thresholds.FULL:
        text = f"{plane.marked_share:.0%} of the image is marked."
        sheet.add("full", "error", 1.0, 100 * plane.marked_share, "%", text)
        return True
    if plane.objects:
        return False
    if beads >= 2 * thresholds.FEWEST_WRONG:
        text = f"Nothing is marked, but about {plural(beads, 'bead')} are visible."
        sheet.add("empty", "error", 0.95, beads, "beads", text, box=plane.missing.box)
    elif beads:
        text = f"Nothing is marked; {beads} things that look like beads are visible."
        sheet.add("empty", "note", 0.1, beads, "beads", text, box=plane.missing.box)
    return True


def _geometry(sheet: Sheet, plane: PlaneMeasurement) -> None:
    best, plain = plane.best, plane.plain
    beads, marked = len(plane.seen()), len(plane.marked())
    if best is None or plain is None or min(beads, marked) < thresholds.FEWEST_PAIRS:
        text = (
            f"{_count(marked, 'bead')} in the mask, {beads} in the image: {thresholds.FEWEST_PAIRS} are needed in both."
        )
        sheet.cannot_tell(GEOMETRY, text)
        return
    if best.agreement < thresholds.FITS:
        _no_fit(sheet, plane, best)
        return
    if best.pairs < thresholds.FEWEST_PAIRS:
        sheet.cannot_tell(
            GEOMETRY, f"Only {plural(best.pairs, 'marked bead')} on visible ones: {thresholds.FEWEST_PAIRS} are needed."
        )
        return
    if best.orientation and best.agreement - plain.agreement >= thresholds.FITS_BETTER:
        text = (
            f"The mask is not oriented as its image. When it is {ORIENTATIONS[best.orientation]}, {best.agreement:.0%}"
            f" of the marked beads lie on beads; as it is, only {plain.agreement:.0%}."
        )
        sheet.add("orientation", "error", 0.97, best.orientation, "", text,
                  values={"orientation": best.orientation, "agreement": best.agreement,
                          "as_it_is": plain.agreement})  # fmt: skip
    _affine(sheet, plane, best)
    _shift(sheet, plane, best)


def _no_fit(sheet: Sheet, plane: PlaneMeasurement, best: FitNumbers) -> None:
    """Tell a mask of another image from one that marks next to nothing, or next to nothing right."""
    if _only_part(plane):
        return
    text = (
        f"The mask fits its image nowhere: in the best position of all, {best.marked:.0%} of its beads lie on beads of"
        " the image. It seems to belong to another image."
    )
    sheet.add("mismatch", "error", 1.0, 100 * best.agreement, "%", text,
              values={"marked": best.marked, "seen": best.seen})  # fmt: skip


def _only_part(plane: PlaneMeasurement) -> bool:
    """Tell whether what is marked lies on beads as it is, so that only its extent is wrong."""
    extra = plane.extra
    return extra.of > 0 and extra.share < 0.2 and plane.missing.share < 0.2


def _affine(sheet: Sheet, plane: PlaneMeasurement, best: FitNumbers) -> None:
    """Add errors of scale, of angle and stretches; the mask's own error is the inverse of what corrects it."""
    half = max(plane.height, plane.width) / 2
    error = best.scale_error
    if error is None or best.pairs < thresholds.FEWEST_FOR_PARTS:
        sheet.cannot_tell(
            ("scale", "affine"), f"Only {plural(best.pairs, 'marked bead')} on visible ones: too few for a scale."
        )
        return
    scale = 1 / best.scale - 1
    if abs(scale) >= max(thresholds.SCALE, thresholds.SIGMAS * error) and abs(scale) * half >= thresholds.EDGE_PX:
        size = "large" if scale > 0 else "small"
        text = f"The mask is {abs(scale):.1%} too {size} in scale: {abs(scale) * half:.1f} px off at the edges."
        sheet.add("scale", "error", abs(scale) * half / sheet.baseline.bead_diameter_px, 100 * scale, "%", text,
                  values={"scale": 100 * scale, "dy": -best.dy, "dx": -best.dx})  # fmt: skip
    turn, stretch = math.radians(abs(best.rotation)), best.stretch
    turned = (
        turn >= max(math.radians(thresholds.ROTATION_DEGREES), thresholds.SIGMAS * error)
        and turn * half >= thresholds.EDGE_PX
    )
    stretched = (
        stretch >= max(thresholds.STRETCH, 3 * thresholds.SIGMAS * error) and stretch * half / 2 >= thresholds.EDGE_PX
    )
    if not (turned or stretched):
        return
    parts = [f"turned by {abs(best.rotation):.1f}°"] if turned else []
    parts += [f"stretched by {stretch:.1%} along one direction"] if stretched else []
    off = max(turn, stretch / 2) * half
    text = f"The mask is {' and '.join(parts)}: up to {off:.1f} px off at the edges."
    value, unit = (-best.rotation, "degrees") if turned else (100 * stretch, "%")
    sheet.add("affine", "error", off / sheet.baseline.bead_diameter_px, value, unit, text,
              values={"rotation": -best.rotation, "stretch": 100 * stretch})  # fmt: skip


def _shift(sheet: Sheet, plane: PlaneMeasurement, best: FitNumbers) -> None:
    usual = sheet.baseline
    dy, dx = -best.dy - usual.dy, -best.dx - usual.dx
    size = math.hypot(dy, dx)
    error = best.shift_error
    habit = min(thresholds.SHIFT_ENOUGH_PX, thresholds.SHIFT_SPREADS * usual.shift_spread)
    if error is None or size < max(thresholds.SHIFT_PX, thresholds.SIGMAS * error, habit):
        return
    where = " at its centre" if sheet.has("scale", "affine") else ""
    text = f"The mask lies {_direction(dy, dx)} the beads{where} ({size:.1f} px)."
    sheet.add("shift", "error" if size >= 1.5 else "warning", size / usual.bead_diameter_px, size, "px", text,
              values={"dy": dy, "dx": dx, "error": error})  # fmt: skip


def _direction(dy: float, dx: float) -> str:
    parts = [f"{abs(dy):.1f} px {'below' if dy > 0 else 'above'}"] if abs(dy) >= 0.25 else []
    parts += [f"{abs(dx):.1f} px {'to the right of' if dx > 0 else 'to the left of'}"] if abs(dx) >= 0.25 else []
    return " and ".join(parts)


def _parts(sheet: Sheet, plane: PlaneMeasurement) -> None:
    if not plane.parts or sheet.has("orientation"):
        return
    worst = max(plane.parts, key=lambda part: math.hypot(part.dy, part.dx))
    dy, dx = -worst.dy, -worst.dx
    size = math.hypot(dy, dx)
    where = "one part" if len(plane.parts) == 1 else f"{len(plane.parts)} parts"
    text = f"In {where} of the image the mask lies off against the rest: {_direction(dy, dx)} the beads."
    beads = sum(part.beads for part in plane.parts) / max(1, len(plane.marked()))
    sheet.add("shift", "error", 0.5 * beads + 0.3 * size / sheet.baseline.bead_diameter_px, size, "px", text,
              values={"dy": dy, "dx": dx, "local": 1.0, "parts": len(plane.parts)}, box=worst.box)  # fmt: skip


def _size_of_beads(sheet: Sheet, plane: PlaneMeasurement) -> None:
    usual, found = sheet.baseline, plane.radii
    if found is None or usual.radius_offset is None:
        sheet.cannot_tell(("dilated", "eroded"), "Too few separate beads lie on beads to compare their sizes.")
        return
    more = found.mask - found.image - usual.radius_offset
    habit = min(thresholds.RADIUS_ENOUGH * usual.bead_diameter_px / 2, thresholds.RADIUS_SPREADS * usual.radius_spread)
    if abs(more) < max(thresholds.RADIUS_PX, habit):
        return
    code: Code = "dilated" if more > 0 else "eroded"
    text = (
        f"The marked beads are {abs(more):.1f} px {'larger' if more > 0 else 'smaller'} in radius than usual here:"
        f" {found.mask:.1f} px, in the image {found.image:.1f} px."
    )
    sheet.add(code, "warning", 0.15 + 0.4 * abs(more) / (usual.bead_diameter_px / 2), more, "px", text,
              values={"mask_radius": found.mask, "image_radius": found.image,
                      "usual": usual.radius_offset})  # fmt: skip


def _wrong_beads(sheet: Sheet, plane: PlaneMeasurement) -> None:
    missing, extra, usual = plane.missing, plane.extra, sheet.baseline
    few = max(missing.of, extra.of) < thresholds.FEWEST_FOR_PARTS
    if few:
        text = f"Only {plural(missing.of, 'bead')} visible away from the border: too few for a share."
        sheet.cannot_tell(("partial", "extra"), text)
    if _beyond_usual(missing, usual.missing, few):
        text = f"About {missing.count} of {missing.of} visible beads ({missing.share:.0%}) are not marked."
        sheet.add("partial", _by_share(missing), missing.share, 100 * missing.share, "%", text,
                  values={"missing": missing.count, "visible": missing.of}, box=missing.box)  # fmt: skip
    if _beyond_usual(extra, usual.extra, few):
        text = f"About {extra.count} of {extra.of} marked places ({extra.share:.0%}) show nothing."
        sheet.add("extra", _by_share(extra), extra.share, 100 * extra.share, "%", text,
                  values={"extra": extra.count, "marked": extra.of}, box=extra.box)  # fmt: skip


def _by_share(wrong: ErrorRegions) -> Severity:
    return "error" if wrong.share >= 0.1 else "warning"


def _beyond_usual(wrong: ErrorRegions, rate: float, few: bool) -> bool:
    if wrong.groups < thresholds.FEWEST_WRONG or wrong.share < thresholds.WRONG_SHARE:
        return False
    if few:
        return wrong.groups >= 3 and wrong.share >= 0.75
    chance = float(binom.sf(wrong.groups - 1, wrong.of, min(0.5, max(rate, thresholds.USUAL_WRONG))))
    return chance < thresholds.WRONG_CHANCE


def _labels(sheet: Sheet, plane: PlaneMeasurement) -> None:
    if not plane.has_labels:
        sheet.cannot_tell(("merged", "broken"), "The mask has no ids, so that touching beads are not told apart.")
        return
    for code, wrong, what in (
        ("merged", plane.merged, "cover several beads each"),
        ("broken", plane.broken, "lie in pieces, or share a bead with another"),
    ):
        if wrong.count < thresholds.FEWEST_WRONG or wrong.share < thresholds.WRONG_SHARE / 4:
            continue
        text = f"{wrong.count} of {wrong.of} labels ({wrong.share:.0%}) {what}."
        named: Code = "merged" if code == "merged" else "broken"
        sheet.add(named, _by_share(wrong), wrong.share, 100 * wrong.share, "%", text,
                  values={"labels": wrong.count}, box=wrong.box)  # fmt: skip


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
