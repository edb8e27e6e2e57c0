"""Audit a data set: find what is wrong with its annotations, without being told and without a model.

Every sample is measured, several at once, and what was measured is kept on disk: a repeated or interrupted audit
measures only what is new. Rules then turn numbers into findings.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

import beadseg
from beadseg import files
from beadseg.annotation.audit.baseline import baseline_of, calibrate
from beadseg.annotation.audit.document import Audit, Baseline, Finding, MaskFit, SampleAudit, worst_first
from beadseg.annotation.audit.mask_rules import in_range, mask_rules, out_of_range
from beadseg.annotation.audit.measure import Settings, measure_plane
from beadseg.annotation.audit.measurement import Measurement
from beadseg.annotation.audit.rules import (
    Habits,
    Sheet,
    agreements,
    contradicted,
    duplicate_rule,
    file_rules,
    image_rules,
    leak_rule,
    owner_rule,
)
from beadseg.data.documents import refuse_foreign_folder
from beadseg.data.image_io import read_image
from beadseg.data.raw import is_zarr
from beadseg.errors import BeadsegError, ImageError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, ignore, log, progress
from beadseg.files import ensure_folder, write_atomically
from beadseg.runtime import process
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from beadseg.annotation.audit.measurement import FitNumbers, PlaneMeasurement
    from beadseg.annotation.audit.response import Polarity
    from beadseg.data.dataset import Dataset, Sample
    from beadseg.data.image_io import Image
    from beadseg.data.masks import Mask
    from beadseg.data.split import Split

BATCH = 32
"""Samples handed to the workers at once: what a stop waits for."""
PROCESSES_FROM = 200
"""From this many samples on, worker processes are worth their start-up time."""

METHOD = 7
"""Version of the measurements: raised when the same files would give other numbers."""
LOSSY = (".jpg", ".jpeg")

CHUNK = 64
"""Measurements in one file: what a killed audit loses at most."""


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
        To find duplicates, and fields of view, on both of its sides.
    crossval : path, optional
        Folder of a cross-validation: samples whose masks its networks contradict come first.
    diameter_px, polarity : optional
        Bead diameter, px, and "dark" or "bright", where they are known; measured from the masks when None.
    workers : int
        How many samples are measured at once; see `measure_all`.
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
    if folder is not None:
        refuse_foreign_folder(folder, files.AUDIT, "an audit")
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
    duplicate_rule(sheets, planes, radius, split)
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


def measure_all(
    dataset: Dataset,
    settings: Settings,
    store: Store,
    workers: int = 1,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> dict[str, Measurement]:
    """Return the measurement of every sample by its name, in the data set's order.

    Parameters
    ----------
    dataset : Dataset
        What is audited.
    settings : Settings
        Of the data set.
    store : Store
        Where known measurements are taken from and new ones kept.
    workers : int
        How many samples are measured at once: by threads, or for many samples by processes, which need a main module
        that can be imported without starting the work again.
    on_event, stop
        See `beadseg.events`.

    Raises
    ------
    Cancelled
        `stop` was set; what was measured is in the store.
    MachineError
        The store cannot be written, or a worker process was killed.
    """
    found: dict[str, Measurement] = {}
    samples, total = dataset.samples, len(dataset)
    on_event(progress("audit", 0, total))
    with _pool(workers, total) as pool:
        for start in range(0, total, BATCH):
            batch = samples[start : start + BATCH]
            found |= _measured(batch, settings, store, pool)
            on_event(progress("audit", min(total, start + BATCH), total))
            if stop:
                store.flush()
                stop.check()
    store.flush()
    return found


def _pool(workers: int, total: int) -> Executor:
    """Return threads, which start at once, or for many samples processes, which do not share an interpreter lock."""
    if workers == 1 or total < PROCESSES_FROM:
        return ThreadPoolExecutor(workers)
    return process.pool(workers)


def _measured(batch: Sequence[Sample], settings: Settings, store: Store, pool: Executor) -> dict[str, Measurement]:
    """Return what is known of a batch, and measure the rest."""
    found: dict[str, Measurement | Future[Measurement]] = {}
    for sample in batch:
        try:
            key = key_of(sample, settings)
        except BeadsegError as error:
            found[sample.name] = Measurement(key="", failure=str(error))
            continue
        known = key in store
        found[sample.name] = store[key] if known else pool.submit(measure_sample, sample, settings, key)
    done = {name: _result(value) for name, value in found.items()}
    for measured in done.values():
        if not measured.failure and measured.key not in store:
            store.add(measured)
    return done


def _result(value: Measurement | Future[Measurement]) -> Measurement:
    if isinstance(value, Measurement):
        return value
    try:
        return value.result()
    except BrokenProcessPool:
        raise MachineError(process.why_ended(None, "audit", "A worker process"), "audit") from None


def key_of(sample: Sample, settings: Settings) -> str:
    """Return what a measurement depends on as one hash: the files' bytes, the settings and the method.

    Raises
    ------
    ImageError
        A file cannot be read.
    """
    parts = [METHOD, sample.has_labels, sorted(asdict(settings).items()), sorted(sample.sha256().items())]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def measure_sample(sample: Sample, settings: Settings, key: str) -> Measurement:
    """Measure one sample; a file that cannot be read gives a `Measurement` with `failure` set."""
    try:
        image, mask = sample.read_image(), sample.read_mask()
        found = _file_facts(sample, mask)
        if image.size != mask.foreground.shape[-2:]:
            height, width = mask.foreground.shape[-2:]
            return Measurement(key=key, wrong_size=(*image.size, int(height), int(width)), **found)
        return Measurement(key=key, planes=_planes(sample, image, settings), **found)
    except BeadsegError as error:
        return Measurement(key=key, failure=str(error))


def _planes(sample: Sample, image: Image, settings: Settings) -> tuple[Any, ...]:
    return tuple(measure_plane(name, pixels, target, settings) for name, pixels, target in sample.planes(image))


def _file_facts(sample: Sample, mask: Mask) -> dict[str, Any]:
    """Return how the mask's file stores its values."""
    path = sample.mask_path
    facts: dict[str, Any] = {"mask_kind": mask.kind}
    if path is None or is_zarr(path) or (mask.kind != "soft" and path.suffix.lower() == ".png"):
        return facts  # how a PNG stores two values or ids makes no difference
    values = _values(path)
    if values is None:
        return facts
    facts |= {"mask_dtype": str(values.dtype), "mask_lossy": path.suffix.lower() in LOSSY}
    if mask.kind == "soft":
        facts |= _softness(values, mask)
    return facts


def _values(path: Path) -> np.ndarray | None:
    try:
        return read_image(path).data
    except ImageError:
        return None


def _softness(values: np.ndarray, mask: Mask) -> dict[str, Any]:
    present = np.unique(values)
    marked = int(np.count_nonzero(values > 0))
    between = int(np.count_nonzero((values > 0) & (values < present[-1])))
    read = max(1, int(np.count_nonzero(mask.foreground)))
    channels = max(1, values.size // mask.foreground.size)
    return {
        "levels": len(present),
        "soft_share": float(between / max(1, marked)),
        "soft_area": float(marked / channels / read),
    }


class Store:
    """Measurements by key; kept in memory, and in the files of a folder where one is given.

    Parameters
    ----------
    folder : pathlib.Path, optional
        Where files of up to `CHUNK` measurements lie; damaged ones are taken for missing.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, Measurement] = {}
        self._unwritten: list[Measurement] = []
        if folder is not None and folder.is_dir():
            for path in sorted(folder.glob("*.json")):
                self._known.update((found.key, found) for found in _read(path))

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def __getitem__(self, key: str) -> Measurement:
        return self._known[key]

    def add(self, measurement: Measurement) -> None:
        """Keep a measurement; every `CHUNK` of them are written."""
        self._known[measurement.key] = measurement
        self._unwritten.append(measurement)
        if len(self._unwritten) >= CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write what is not written yet; raises `MachineError`."""
        if self._folder is None or not self._unwritten:
            return
        lines = [measurement.model_dump_json() for measurement in self._unwritten]
        path = ensure_folder(self._folder) / f"{secrets.token_hex(8)}.json"
        write_atomically(path, "[" + ",\n".join(lines) + "]\n")
        self._unwritten = []


def _read(path: Path) -> list[Measurement]:
    try:
        return [Measurement.model_validate(values) for values in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, ValidationError):
        return []
