"""From the counts of a prediction folder to densities of images, groups and dilutions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scipy import stats

from beadseg import files
from beadseg.config.density import DensityConfig
from beadseg.data.dataset import natural_key
from beadseg.data.fields import listed
from beadseg.data.predictions import read_sources
from beadseg.events import OnEvent, ignore, log
from beadseg.measure.concentration.counts import Counted, read_counts
from beadseg.measure.concentration.dilution import fit_dilution
from beadseg.measure.concentration.document import (
    DensityReport,
    DilutionPoint,
    GroupDensity,
    ImageDensity,
    Interval,
    Unit,
)
from beadseg.measure.concentration.manual import read_manual
from beadseg.measure.concentration.naming import Images, factors_of, groups_of
from beadseg.measure.intervals import combined, poisson_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

SIGNIFICANT = 0.05
"""Counts of a group that chance would scatter so much more rarely than this widen its sampling interval."""


def density(
    predictions: Path | str,
    config: DensityConfig | None = None,
    *,
    manual: Path | str | None = None,
    on_event: OnEvent = ignore,
) -> DensityReport:
    """Return the densities of a prediction folder, and the regression of its dilution series.

    Parameters
    ----------
    predictions : path
        A folder with ``counts.csv``, as `predict` writes it.
    config : DensityConfig, optional
        Pixel size, chamber depth, groups, and where dilution factors stand.
    manual : path, optional
        CSV with the columns ``image`` and ``beads``: counts of the same images by hand. An image is named as in
        ``counts.csv`` or by its file; a plane of a stack ``IMAGE_PLANE``, or by a column ``plane``.
    on_event : callable
        Told of everything that was left out.

    Returns
    -------
    DensityReport
        In the finest unit that all images allow: per ml, per mm², or per million pixels.

    Raises
    ------
    InputError
        There are no counts, a table is damaged, a name in it may mean several images, or no image of `manual` was
        predicted.
    """
    options = config or DensityConfig()
    counted = read_counts(Path(predictions))
    if options.pixel_size_um is not None:
        counted = [replace(row, pixel_size_um=options.pixel_size_um) for row in counted]
    scale = _scale(counted, options)
    known = Images([(row.image, row.plane) for row in counted], read_sources(Path(predictions)))
    groups = groups_of(known, options.groups)
    factors, questions = factors_of(known, options.factor)
    images = tuple(
        ImageDensity(
            image=row.image, plane=row.plane, group=groups[row.image], factor=factors[row.image], flags=row.flags,
            **_density([row], scale),
        )
        for row in counted
    )  # fmt: skip
    fit, points, notes = _series(counted, images, factors, scale, options)
    by_hand, left_out = read_manual(files.user_path(manual), counted, known) if manual is not None else ((), ())
    notes = [*scale.notes, *_without_interval(counted), *questions, *notes, *left_out]
    for note in notes:
        on_event(log(note, "warning"))
    return DensityReport(
        predictions=str(predictions), options=options, unit=scale.unit, images=images,
        groups=_groups(counted, images, scale), points=points, dilution=fit, manual=by_hand, notes=tuple(notes),
    )  # fmt: skip


@dataclass(frozen=True)
class _Scale:
    """The unit of all densities, the chamber's depth, and what is to be said of them."""

    unit: Unit
    depth_um: float | None
    notes: tuple[str, ...] = ()

    def covered(self, rows: Sequence[Counted]) -> float:
        """Return what images cover, in the denominator of the unit."""
        area = area_mm2(rows)
        if self.unit == "beads_per_mpx" or area is None:
            return sum(row.pixels for row in rows) / 1e6
        return area if self.unit == "beads_per_mm2" else area * (self.depth_um or 0.0) / 1e6


def area_mm2(rows: Sequence[Counted]) -> float | None:
    """Return the area of images, mm²; None where a pixel size is not known."""
    areas = [None if row.pixel_size_um is None else row.pixels * row.pixel_size_um**2 / 1e6 for row in rows]
    known = [area for area in areas if area is not None]
    return math.fsum(known) if len(known) == len(areas) else None


def _scale(counted: Sequence[Counted], options: DensityConfig) -> _Scale:
    """Choose the unit that all images allow."""
    unknown = [row.name for row in counted if row.pixel_size_um is None]
    if not unknown:
        return _Scale("beads_per_mm2" if options.depth_um is None else "beads_per_ml", options.depth_um)
    notes = []
    if len(unknown) < len(counted):
        notes.append(f"Densities are per million pixels, since the pixel size is not known of {listed(unknown)}.")
    elif options.depth_um is not None:
        notes.append("Densities are per million pixels: a chamber depth needs a pixel size too.")
    sizes = {row.pixel_size_um for row in counted} - {None}
    if len(sizes) > 1 or (sizes and unknown):
        notes.append("Pixel sizes differ or are unknown, so that densities per pixel may not be comparable.")
    return _Scale("beads_per_mpx", None, tuple(notes))


def _density(rows: Sequence[Counted], scale: _Scale) -> dict[str, Any]:
    """Return the fields of `Density` for images taken together."""
    beads, covered = math.fsum(row.beads for row in rows), scale.covered(rows)
    dispersion, p = _dispersion(rows)
    counting = _counting(rows)
    sampling = poisson_interval(beads, dispersion if dispersion is not None and p < SIGNIFICANT else 1.0)
    total = sampling if counting is None else combined(beads, sampling, counting)
    area = area_mm2(rows)

    def per_area(interval: Interval) -> Interval:
        return interval[0] / covered, interval[1] / covered

    return {
        "images": len(rows),
        "beads": beads,
        "counting": counting,
        "area_mpx": sum(row.pixels for row in rows) / 1e6,
        "area_mm2": area,
        "volume_ul": None if area is None or scale.depth_um is None else area * scale.depth_um / 1e3,
        "dispersion": dispersion,
        "density": beads / covered,
        "density_counting": None if counting is None else per_area(counting),
        "density_sampling": per_area(sampling),
        "density_total": per_area(total),
    }


def _counting(rows: Sequence[Counted]) -> Interval | None:
    """Return the interval of all beads together: errors of one model are alike, so the limits add up."""
    lows, highs = [row.low for row in rows], [row.high for row in rows]
    if any(low is None for low in lows) or any(high is None for high in highs):
        return None
    return math.fsum(low or 0.0 for low in lows), math.fsum(high or 0.0 for high in highs)


def _without_interval(rows: Sequence[Counted]) -> list[str]:
    """Tell of flagged images whose count has no interval, where others have one."""
    names = [row.name for row in rows if row.low is None and row.flags]
    if not names or all(row.low is None for row in rows):
        return []
    return [
        f"The count has no interval for {listed(names)} (see flags): intervals of densities that include "
        f"{'it' if len(names) == 1 else 'them'} hold only the chance of sampling."
    ]


def _dispersion(rows: Sequence[Counted]) -> tuple[float | None, float]:
    """Return Pearson's chi squared over its degrees of freedom for equal densities, and the chance of as much."""
    beads, pixels = sum(row.beads for row in rows), sum(row.pixels for row in rows)
    if len(rows) < 2 or beads == 0:
        return None, 1.0
    expected = [beads * row.pixels / pixels for row in rows]
    statistic = sum((row.beads - mean) ** 2 / mean for row, mean in zip(rows, expected, strict=True))
    freedom = len(rows) - 1
    return statistic / freedom, float(stats.chi2.sf(statistic, freedom))


def _together(counted: Sequence[Counted], key: Callable[[Counted], Hashable]) -> dict[Any, list[Counted]]:
    found: dict[Any, list[Counted]] = {}
    for row in counted:
        found.setdefault(key(row), []).append(row)
    return found


def _groups(counted: Sequence[Counted], images: Sequence[ImageDensity], scale: _Scale) -> tuple[GroupDensity, ...]:
    group = {image.image: image.group for image in images}
    factors: dict[str, set[float | None]] = {}
    for image in images:
        factors.setdefault(image.group, set()).add(image.factor)
    found = _together(counted, lambda row: group[row.image])
    return tuple(
        GroupDensity(
            group=name,
            factor=next(iter(factors[name])) if len(factors[name]) == 1 else None,
            **_density(found[name], scale),
        )
        for name in sorted(found, key=natural_key)
    )


def _series(
    counted: Sequence[Counted],
    images: Sequence[ImageDensity],
    factors: dict[str, float | None],
    scale: _Scale,
    options: DensityConfig,
) -> tuple[Any, tuple[DilutionPoint, ...], list[str]]:
    """Return the regression where there is a series, its points, and what was left out of it."""
    without = list(dict.fromkeys(image.name for image in images if image.factor is None))
    if len(without) == len(images):
        return None, (), ["No dilution series: no image's name tells a dilution factor."]
    notes = [f"Left out of the dilution series, no factor: {listed(without)}."] if without else []
    by_factor = _together([row for row in counted if factors[row.image] is not None], lambda row: factors[row.image])
    points = {factor: _density(by_factor[factor], scale) for factor in sorted(by_factor)}
    fit, outliers, reason = fit_dilution(
        {factor: [(row.name, row.beads, scale.covered([row])) for row in rows] for factor, rows in by_factor.items()},
        options.model,
    )
    notes += [reason] if reason else []
    found = tuple(
        DilutionPoint(
            factor=factor,
            expected=None if fit is None else math.exp(fit.intercept + fit.slope * math.log(factor)),
            outlier=factor in outliers,
            **values,
        )
        for factor, values in points.items()
    )
    return fit, found, notes
