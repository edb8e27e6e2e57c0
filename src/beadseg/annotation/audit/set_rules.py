"""Findings that concern two samples: swapped masks, twins, leaks between the sides of a split."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from beadseg.annotation.audit.swapped import owners
from beadseg.annotation.audit.transform import ORIENTATIONS
from beadseg.annotation.audit.twins import Twin, find_twins
from beadseg.data.fields import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beadseg.annotation.audit.codes import Severity
    from beadseg.annotation.audit.measurement import PlaneMeasurement
    from beadseg.annotation.audit.rules import Sheet
    from beadseg.data.split import Split

NEIGHBOURS = 0.5
"""Tiles of one field of view that overlap less than this are cut so on purpose: worth a note, unless across a split."""
FOLD_NAMES = {"train": "training", "val": "validation", "test": "testing"}


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


def twin_rule(
    sheets: Mapping[str, Sheet], planes: Mapping[str, PlaneMeasurement], radius: float, split: Split | None
) -> None:
    """Add duplicates; those on both sides of the split are errors."""
    folds = _folds(split)
    for twin in find_twins(planes, radius):
        here, there = folds.get(_sample(twin.second)), folds.get(_sample(twin.first))
        across = here is not None and there is not None and here != there
        text = _twin_text(twin)
        if across:
            text += f" They are on both sides of the split ({FOLD_NAMES[str(there)]} and {FOLD_NAMES[str(here)]})."
        badness = 0.9 if across else (0.6 if twin.kind == "mask" else 0.2 + 0.3 * twin.overlap)
        neighbours = sheets[twin.second].field_name == sheets[twin.first].field_name and twin.overlap < NEIGHBOURS
        severity: Severity = "error" if across or twin.kind == "mask" else "note" if neighbours else "warning"
        sheets[twin.second].add(
            "duplicate", severity, badness, 100 * twin.overlap, "%", text,
            partner=twin.first, values={"across_split": float(across), "orientation": twin.orientation},
        )  # fmt: skip


def _twin_text(twin: Twin) -> str:
    if twin.kind == "image":
        return f"The image is the same as that of {twin.first}."
    if twin.kind == "mask":
        return f"The mask is the same as that of {twin.first}, but the images differ."
    turned = f", {ORIENTATIONS[twin.orientation]}" if twin.orientation else ""
    return f"{twin.overlap:.0%} of the image is also shown by {twin.first}{turned}."


def leak_rule(sheets: Mapping[str, Sheet], split: Split | None) -> None:
    """Add fields of view that are on both sides of the split: a note to every sample of the smaller side."""
    folds = _folds(split)
    by_field: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, sheet in sheets.items():
        fold = folds.get(_sample(name))
        if fold is not None:
            by_field[sheet.field_name][fold].append(name)
    for field, sides in by_field.items():
        trained = sides.get("train", [])
        for fold in ("val", "test"):
            for name in sides.get(fold, []) if trained else []:
                text = (
                    f"It is in {FOLD_NAMES[fold]}, while {listed(trained, 2)} of the same field of view ({field}) in"
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
