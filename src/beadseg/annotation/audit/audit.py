"""Audit a data set: find what is wrong with its annotations, without being told and without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import beadseg
from beadseg import files
from beadseg.annotation.audit.baseline import baseline_of
from beadseg.annotation.audit.calibrate import calibrate
from beadseg.annotation.audit.contradiction import agreements, contradicted
from beadseg.annotation.audit.document import Audit, Baseline, Finding, MaskFit, SampleAudit, worst_first
from beadseg.annotation.audit.engine import measure_all
from beadseg.annotation.audit.file_rules import Habits, file_rules, image_rules
from beadseg.annotation.audit.mask_rules import in_range, mask_rules, out_of_range
from beadseg.annotation.audit.rules import Sheet
from beadseg.annotation.audit.set_rules import leak_rule, owner_rule, twin_rule
from beadseg.annotation.audit.store import Store
from beadseg.events import Event, OnEvent, StopFlag, ignore, log
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from beadseg.annotation.audit.filters import Polarity
    from beadseg.annotation.audit.measurement import FitNumbers, Measurement, PlaneMeasurement
    from beadseg.data.dataset import Dataset
    from beadseg.data.split import Split


def audit(
    dataset: Dataset,
    out: Path | str | None = None,
    *,
    split: Split | None = None,
    crossval: Path | str | None = None,
    diameter_px: float | None = None,
    polarity: Polarity | None = None,
    workers: int = 1,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> Audit:
    """Find what is wrong with a data set's annotations and images.

    Parameters
    ----------
    dataset : Dataset
        What is audited; nothing in its folder is changed.
    out : path, optional
        Folder for ``audit.json``, ``audit.csv`` and the measurements, from which a repeated audit continues. Nothing is
        written when None.
    split : Split, optional
        To find twins and fields of view on both of its sides.
    crossval : path, optional
        Folder of a cross-validation: samples whose masks its networks contradict come first.
    diameter_px, polarity : optional
        Bead diameter, px, and "dark" or "bright", where they are known; measured from the masks when None.
    workers : int
        How many samples are measured at once; see `engine.measure_all`.
    on_event, stop
        See `beadseg.events`.

    Returns
    -------
    Audit
        Findings, worst first; samples that cannot be read are in its `failures`.

    Raises
    ------
    InputError
        No mask marks a visible bead, or `crossval` holds no predictions.
    MachineError
        `out` cannot be written.
    Cancelled
        `stop` was set; the same call continues.
    """
    dataset = dataset.with_areas("The audit", on_event)
    settings = calibrate(dataset, diameter_px, polarity, on_event, stop)
    look = "dark" if settings.polarity == "dark" else "bright"
    on_event(log(f"Beads are {look} and about {settings.diameter:g} px across in the masks."))
    if not in_range(settings.diameter):
        on_event(log(f"{out_of_range(settings.diameter)} Only the files themselves are checked.", "warning"))
    folder = None if out is None else files.user_path(out)
    store = Store(None if folder is None else folder / files.MEASUREMENTS)
    measured = measure_all(dataset, settings, store, workers, on_event, stop)
    agreement = agreements(dataset, files.user_path(crossval), on_event, stop) if crossval is not None else {}
    result = conclude(dataset, measured, baseline_of(measured.values(), settings), split, agreement)
    if folder is not None:
        result.write(folder)
    on_event(Event("audit", f"{len(result.flagged)} of {plural(len(dataset), 'sample')} have findings."))
    return result


def conclude(
    dataset: Dataset,
    measured: Mapping[str, Measurement],
    baseline: Baseline,
    split: Split | None = None,
    agreement: Mapping[str, float] | None = None,
) -> Audit:
    """Return the findings that measurements give; see `audit`.

    Parameters
    ----------
    dataset, split
        As in `audit`.
    measured : mapping of str to Measurement
        Of every sample.
    baseline : Baseline
        What is usual.
    agreement : mapping of str to float, optional
        Jaccard of masks with out-of-fold predictions.
    """
    habits = Habits.of(measured.values())
    sheets: dict[str, Sheet] = {}
    planes: dict[str, PlaneMeasurement] = {}
    for sample in dataset:
        found = measured[sample.name]
        pages = _sheets(sample.name, sample.field, found, baseline)
        for sheet, plane in pages:
            sheets[sheet.sample] = sheet
            if plane is not None:
                planes[sheet.sample] = plane
                image_rules(sheet, plane)
                mask_rules(sheet, plane)
        _failed(pages[0][0], found)
        file_rules(pages[0][0], found, habits)
    radius = baseline.bead_diameter_px / 2
    owner_rule(sheets, planes, radius)
    twin_rule(sheets, planes, radius, split)
    leak_rule(sheets, split)
    _contradictions(sheets, agreement or {})
    findings = sorted((finding for sheet in sheets.values() for finding in sheet.findings), key=worst_first)
    return Audit(
        beadseg_version=beadseg.__version__,
        dataset=files.printable(dataset.root),
        baseline=baseline,
        findings=tuple(findings),
        samples=tuple(_summary(sheet, planes.get(name)) for name, sheet in sheets.items()),
        failures={name: found.failure for name, found in measured.items() if found.failure},
        left_out=tuple(str(problem) for problem in dataset.problems),
    )


def _sheets(
    name: str, field: str, found: Measurement, baseline: Baseline
) -> list[tuple[Sheet, PlaneMeasurement | None]]:
    """Return one sheet for every plane of a sample, or one without a plane where there is none."""
    if not found.planes:
        return [(Sheet(name, field, baseline), None)]
    return [(Sheet(f"{name}/{plane.plane}" if plane.plane else name, field, baseline), plane) for plane in found.planes]


def _failed(sheet: Sheet, found: Measurement) -> None:
    if found.failure:
        sheet.add("unreadable", "error", 1.0, 0.0, "", found.failure)


def _contradictions(sheets: Mapping[str, Sheet], agreement: Mapping[str, float]) -> None:
    """Add what networks contradict, and put the other findings of those samples before their like."""
    unusual, usual = contradicted(agreement)
    for name, value in unusual.items():
        sheet = sheets.get(name)
        if sheet is None:
            continue
        more = (usual - value) / 2
        sheet.findings[:] = [_worse(finding, more) for finding in sheet.findings]
        text = (
            f"Networks that never saw this sample agree with its mask by a Jaccard of {value:.2f}, usually {usual:.2f}."
        )
        sheet.add("contradicted", "warning", 0.3 + usual - value, value, "", text, values={"usual": usual})


def _worse(finding: Finding, more: float) -> Finding:
    return finding.replace(badness=round(min(1.0, finding.badness + more), 4))


def _summary(sheet: Sheet, plane: PlaneMeasurement | None) -> SampleAudit:
    codes = sorted({finding.code for finding in sheet.findings if finding.severity != "note"})
    return SampleAudit(
        sample=sheet.sample,
        field=sheet.field_name,
        beads_seen=None if plane is None else len(plane.seen()),
        beads_marked=None if plane is None else plane.objects,
        codes=tuple(codes),
        fit=None if plane is None or plane.best is None else _fit(plane.best),
        not_assessable=tuple(sheet.unknown),
    )


def _fit(best: FitNumbers) -> MaskFit:
    return MaskFit(
        orientation=best.orientation,
        matrix=best.matrix,
        dy=best.dy,
        dx=best.dx,
        pairs=best.pairs,
        marked=best.marked,
        seen=best.seen,
    )
