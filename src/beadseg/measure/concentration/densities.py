"""From the counts of a prediction folder to densities of images, groups and dilutions, beside counts by hand.

A name or a CSV says which group an image belongs to and how far it was diluted. Tables may be damaged or written by
hand.
"""

from __future__ import annotations

import filecmp
import math
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from beadseg import files
from beadseg.config.predict import ByField, DensityConfig, NameFactor, NamePattern, NameTable, Together
from beadseg.data.documents import read_sources, source_of, with_unmerged
from beadseg.data.fields import PatternFields, composed, fields_of, listed, numbers_of, plain_form, text_table
from beadseg.data.scan import natural_key
from beadseg.errors import InputError
from beadseg.events import OnEvent, ignore, log
from beadseg.files import user_path
from beadseg.measure.calibration import combined, poisson_interval
from beadseg.measure.concentration.dilution import fit_dilution
from beadseg.measure.concentration.document import (
    DensityReport,
    DilutionPoint,
    GroupDensity,
    ImageDensity,
    Interval,
    ManualCount,
    Unit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

SIGNIFICANT = 0.05
"""Counts of a group that chance would scatter so much more rarely than this widen its sampling interval."""

NEEDED = ("image", "beads", "height", "width")
INTERVAL = ("beads_low", "beads_high")

_NUMERAL = r"[0-9]+(?:[.,' p][0-9]+)*(?:e[+-]?[0-9]+|\^[0-9]+)?"
"""Digits with what may divide them, and an exponent: ``1e3``, ``10^3``."""
_TIMES = re.compile(rf"(?<![0-9])([^\W\d_])?({_NUMERAL}) ?[x\u00d7](?=[\W_]|$|[0-9.,]+[x\u00d7](?:[\W_]|$))", re.I)
_RATIO = re.compile(rf"(?<![0-9.,:])1 ?[:\u2236] ?({_NUMERAL})(?![0-9:])", re.IGNORECASE)


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


@dataclass(frozen=True)
class Counted:
    """One row of ``counts.csv``.

    Attributes
    ----------
    image, plane : str
        Name of the image, and of its plane in a stack.
    beads : float
        Beads counted; not whole where beads on the border count by half.
    low, high : float or None
        Interval of the beads that are in the image; None where the prediction gave none.
    pixels : int
        Pixels of the image.
    pixel_size_um : float or None
        Side of a pixel, µm.
    flags : str
        What is implausible.
    """

    image: str
    plane: str
    beads: float
    low: float | None
    high: float | None
    pixels: int
    pixel_size_um: float | None
    flags: str

    @property
    def name(self) -> str:
        """Name of the image, with the plane."""
        return f"{self.image}_{self.plane}" if self.plane else self.image


def read_counts(folder: Path) -> list[Counted]:
    """Return the rows of a prediction folder's ``counts.csv``, in natural order of their names.

    Raises
    ------
    InputError
        It is missing or empty, lacks a column, names a plane twice, or a number is missing or impossible.
    """
    path = folder / files.COUNTS
    table = _table(path)
    numbers = {column: _numbers(table, column, path) for column in (*NEEDED[1:], *INTERVAL, "pixel_size_um")}
    for column in NEEDED[1:]:
        least = 0.0 if column == "beads" else 1.0
        _refuse(~(numbers[column] >= least) | ~np.isfinite(numbers[column]), column, table, path)
    _refuse(numbers["pixel_size_um"] <= 0, "pixel_size_um", table, path)
    known = {column: [None if math.isnan(value) else value for value in values] for column, values in numbers.items()}
    text = {column: _text(table, column) for column in ("image", "plane", "flags")}
    rows = [
        Counted(
            image=text["image"][at],
            plane=text["plane"][at],
            beads=float(numbers["beads"][at]),
            low=known["beads_low"][at],
            high=known["beads_high"][at],
            pixels=int(numbers["height"][at]) * int(numbers["width"][at]),
            pixel_size_um=known["pixel_size_um"][at],
            flags=text["flags"][at],
        )
        for at in range(len(table))
    ]
    names = [row.name for row in rows]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise InputError(f"Names {twice!r} more than once.", path, "Keep one row of it.")
    return sorted(rows, key=lambda row: natural_key(row.name))


def _table(path: Path) -> pd.DataFrame:
    remedy = "Give a folder that `beadseg-batch predict` wrote."
    if not path.is_file():
        raise InputError("There are no counts.", path, remedy)
    table = text_table(path, NEEDED, remedy)
    separator = table.attrs["separator"]
    table = with_unmerged(table, path.parent)
    table.attrs["separator"] = separator
    if table.empty:
        raise InputError("Holds no counts.", path, "Predict at least one image.")
    return table


def _numbers(table: pd.DataFrame, column: str, path: Path) -> NDArray[np.float64]:
    """Return a column's numbers; NaN for an empty cell, and where there is no such column."""
    if column not in table.columns:
        return np.full(len(table), np.nan)
    cells = table[column].str.strip()
    found = numbers_of(cells, table.attrs["separator"])
    values = np.array([np.nan if value is None else value for value in found], np.float64)
    _refuse((cells != "").to_numpy() & ~np.isfinite(values), column, table, path)
    return values


def _text(table: pd.DataFrame, column: str) -> list[str]:
    return table[column].tolist() if column in table.columns else [""] * len(table)


def _refuse(wrong: NDArray[np.bool_], column: str, table: pd.DataFrame, path: Path) -> None:
    """Raise `InputError` for the first row in which a number is missing or impossible."""
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        image, cell = table["image"].iloc[row], table[column].iloc[row]
        raise InputError(f"{column} of {image!r} is {cell!r}.", path, "Predict this image again, or correct the table.")


def read_manual(
    path: Path, counted: Sequence[Counted], images: Images
) -> tuple[tuple[ManualCount, ...], tuple[str, ...]]:
    """Return the images counted both ways, and sentences about those that were not.

    Images are found as `Images.find` does; a stack's planes by their names, or a column ``plane``.

    Raises
    ------
    InputError
        The file is not a CSV with the columns ``image`` and ``beads``, a count is not a number of beads, a name may
        mean several images, or none of its images was predicted.
    """
    table = text_table(path, ("image", "beads"))
    counts = numbers_of(table["beads"], table.attrs["separator"])
    by_hand = [_count(name, text, count, path)
               for name, text, count in zip(table["image"], table["beads"], counts, strict=True)]  # fmt: skip
    rows, unknown = images.rows_of(table, path)
    if not rows:
        text = f"Names no predicted image (it names {listed(unknown)})." if unknown else "Names no image."
        raise InputError(text, path, f"Use the names of counts.csv, e.g. {counted[0].name}, or the paths of the files.")
    found = tuple(ManualCount(image=one.name, manual=by_hand[rows[one.image, one.plane]], beads=one.beads)
                  for one in counted if (one.image, one.plane) in rows)  # fmt: skip
    notes = (f"Counted by hand, but not predicted: {listed(unknown)}.",) if unknown else ()
    return found, notes


def _count(name: str, text: str, count: float | None, path: Path) -> float:
    if count is None or count < 0:
        remedy = "Write how many beads there are, 0 or more, without marks between thousands."
        raise InputError(f"The count of {name!r} is {text!r}.", path, remedy)
    return count


class Images:
    """The images of a prediction folder, found by what a table calls them.

    Parameters
    ----------
    rows : iterable of tuple of str and str
        Image and plane of every row of ``counts.csv``.
    sources : mapping of str to str
        The file that every image was predicted from, by name; empty where the folder does not say.
    """

    def __init__(self, rows: Iterable[tuple[str, str]], sources: Mapping[str, str]) -> None:
        self.planes: dict[str, list[str]] = defaultdict(list)
        for image, plane in rows:
            self.planes[image].append(plane)
        self.sources = {image: sources[image] for image in self.planes if image in sources}
        self._rows = {composed(_row_name(*row)): row for row in rows}
        self._names = {composed(image): image for image in self.planes}
        self._by_source = {source: image for image, source in self.sources.items()}

    def find(self, cell: str, plane: str, table: Path) -> tuple[tuple[str, str], ...]:
        """Return image and plane of the rows that a cell of a table may mean.

        Its name in ``counts.csv`` counts first, then the file that it names, then the end of its path, then the name
        without what people add to it: the extension, spaces, another Unicode form. A folder that is not that of the
        image's file is never left out of account.
        """
        text = composed(cell).strip()
        if not plane and text in self._rows:
            return (self._rows[text],)
        images = [self._names[text]] if text in self._names else self._of_file(text, table) or self._alike(text, table)
        found = [(image, own) for image in images for own in self.planes[image] if plane in ("", own)]
        return tuple(found)

    def _of_file(self, text: str, table: Path) -> list[str]:
        here = [self._by_source[place] for place in _places(text, table) if place in self._by_source]
        if here or re.search(r"[/\\]", text):
            return here[:1]
        return [image for image, source in self.sources.items() if composed(Path(source).name) == text]

    def _alike(self, text: str, table: Path) -> list[str]:
        *folders, last = re.split(r"[/\\]+", text)
        form = plain_form(last)
        alike = [image for image in self.planes
                 if form in (plain_form(image), plain_form(Path(self.sources.get(image, "")).name))]  # fmt: skip
        if not folders or not self.sources:
            return alike
        there = [Path(place) for place in _places(text, table) if Path(place).is_file()]
        alike = [image for image in alike if not there or _same_content(Path(self.sources.get(image, "")), there)]
        shared = {image: _shared(folders, Path(self.sources.get(image, "")).parts[:-1]) for image in alike}
        most = max(shared.values(), default=0)
        return [image for image, number in shared.items() if number == most > 0]

    def rows_of(self, table: pd.DataFrame, path: Path) -> tuple[dict[tuple[str, str], int], list[str]]:
        """Return the row of a table of every image and plane that it names, and the cells that name none.

        Raises
        ------
        InputError
            A cell may mean several images or planes, or several rows mean one.
        """
        planes = table["plane"].str.strip() if "plane" in table.columns else [""] * len(table)
        found: dict[tuple[str, str], int] = {}
        unknown = []
        for number, (cell, plane) in enumerate(zip(table["image"], planes, strict=True)):
            rows = self.find(cell, plane, path)
            if len(rows) > 1:
                raise InputError(f"{cell!r} may be any of {self._told(rows)}.", path, self._remedy(rows))
            if rows and rows[0] in found:
                text = f"Names some images more than once: {_row_name(*rows[0])}."
                raise InputError(text, path, "Keep one row for every image.")
            if rows:
                found[rows[0]] = number
            else:
                unknown.append(cell)
        return found, unknown

    def _told(self, rows: Sequence[tuple[str, str]]) -> str:
        texts = [f"{_row_name(*row)} ({self.sources[row[0]]})" if row[0] in self.sources else _row_name(*row)
                 for row in rows]  # fmt: skip
        return listed(texts, 3)

    @staticmethod
    def _remedy(rows: Sequence[tuple[str, str]]) -> str:
        if len({image for image, _ in rows}) == 1:
            return "Write the name of a plane, as in counts.csv, or add a column plane."
        return "Write the name as in counts.csv, or the path of the file."


def _row_name(image: str, plane: str) -> str:
    return f"{image}_{plane}" if plane else image


def _places(text: str, table: Path) -> tuple[str, str]:
    """Return where a file may lie that a table names: beside the table, or in the working directory."""
    return source_of(table.parent / user_path(text)), source_of(Path(text))


def _same_content(path: Path, others: Sequence[Path]) -> bool:
    """Tell whether a file is one of others, or gone, so that it may be."""
    return not path.is_file() or any(filecmp.cmp(path, other, shallow=False) for other in others)


def _shared(folders: Sequence[str], parts: Sequence[str]) -> int:
    """Return how many folders two paths have in common, counted from their ends."""
    number = 0
    for one, other in zip(reversed(folders), reversed(parts), strict=False):
        if composed(one).casefold() != composed(other).casefold():
            break
        number += 1
    return number


def groups_of(images: Images, rule: ByField | Together | NamePattern | NameTable) -> dict[str, str]:
    """Return the group of every image; one whose name does not match a pattern is a group by itself.

    Raises
    ------
    InputError
        A CSV is missing, lacks a column, names an image twice, may mean several images, or lacks one of them.
    """
    names = list(images.planes)
    if isinstance(rule, ByField):
        return fields_of(names, PatternFields())
    if isinstance(rule, Together):
        return dict.fromkeys(names, "all")
    if isinstance(rule, NameTable):
        return _from_table(images, rule, "group")
    return {name: _matched(name, rule) or name for name in names}


def factors_of(images: Images, rule: NameFactor | NamePattern | NameTable) -> tuple[dict[str, float | None], list[str]]:
    """Return the dilution factor of every image, and sentences about names that tell several.

    None where a name tells no factor, or several, since the wrong one would be worse.

    Raises
    ------
    InputError
        As `groups_of`; or what stands there is no positive number.
    """
    names = list(images.planes)
    if isinstance(rule, NameFactor):
        told = {name: factors_in(name) for name in names}
        factors = {name: found[0] if len(found) == 1 else None for name, found in told.items()}
        return factors, _several({name: found for name, found in told.items() if len(found) > 1})
    if isinstance(rule, NameTable):
        return _table_factors(images, rule), []
    texts = {name: _matched(name, rule) for name in names}
    remedy = "Give a pattern whose first group is a number."
    return {
        name: None if text is None else _factor(name, text, _number(text), "--factor", remedy)
        for name, text in texts.items()
    }, []


def factors_in(name: str) -> list[float]:
    """Return the dilution factors that a name may tell, each once, in their order.

    Numbers before an ``x`` (or the sign of multiplication) that ends a word, with decimals and exponents, and the
    second number of ``1:100``. Several are returned for one number where its marks may mean several things: three
    digits after a point or comma may be thousands, a space or a p may divide words, and what follows a letter may be
    its number (``s2.20x``).
    """
    found = [_meanings(match[2], bool(match[1])) for match in _TIMES.finditer(name)]
    found += [_meanings(match[1]) for match in _RATIO.finditer(name)]
    values = [value for meanings in found for value in meanings if 0 < value < math.inf]
    return list(dict.fromkeys(values))


def _meanings(numeral: str, after_letter: bool = False) -> list[float]:
    """Return the numbers that a numeral of a name may mean, the likeliest first; none where it is none."""
    base, _, power = numeral.partition("^")
    if power:
        return [float(base) ** float(power)] if base.isdecimal() else []
    found = re.fullmatch(r"(.*?)(e[+-]?[0-9]+)?", numeral.lower())
    body, exponent = (found[1], found[2] or "") if found else (numeral, "")
    parts = re.split(r"[.,' p]", body)
    if len(parts) == 1:
        return [float(numeral)]
    last = [float(parts[-1] + exponent)]
    grouped = "p" not in body and parts[0] != "0" and all(len(part) == 3 for part in parts[1:])
    whole = [float("".join(parts) + exponent)] if grouped else []
    if " " in body or "'" in body:
        return [*last, *whole] if " " in body or not whole else whole
    if len(parts) > 2:
        return whole
    decimal = [float(f"{parts[0]}.{parts[1]}{exponent}")]
    apart = "p" in body or after_letter or body.endswith("0")
    return [*whole, *decimal, *(last if apart else [])]


def _several(told: dict[str, list[float]]) -> list[str]:
    """Return the question that names with several factors ask."""
    if not told:
        return []
    name, values = next(iter(told.items()))
    candidates = " or ".join(f"{value:g}" for value in values)
    return [
        f"Left out of the dilution series, several factors may be meant: {listed(list(told))}. {name!r} may be diluted "
        f"{candidates} times; say where the factor stands by --factor: a pattern, e.g. '^([0-9.]+)x_', or a CSV."
    ]


def _matched(name: str, rule: NamePattern) -> str | None:
    found = re.search(rule.pattern, name, re.IGNORECASE)
    return found[1] if found and found[1] else None


def _number(text: str) -> float | None:
    """Return the one number that a text found by a pattern means; None for none or several."""
    meanings = _meanings(text) if re.fullmatch(_NUMERAL, text, re.IGNORECASE) else []
    return meanings[0] if len(meanings) == 1 else None


def _factor(name: str, text: str, value: float | None, where: str, remedy: str) -> float:
    if value is None or not 0 < value < math.inf:
        raise InputError(f"The dilution factor of {name!r} is {text!r}.", where, remedy)
    return value


def _table_factors(images: Images, rule: NameTable) -> dict[str, float | None]:
    texts = _from_table(images, rule, "factor")
    separator = text_table(rule.path, ("image", "factor")).attrs["separator"]
    values = numbers_of(texts.values(), separator)
    remedy = "Write positive numbers in the column factor, without marks between thousands."
    return {
        name: _factor(name, text, value, str(rule.path), remedy)
        for (name, text), value in zip(texts.items(), values, strict=True)
    }


def _from_table(images: Images, rule: NameTable, column: str) -> dict[str, str]:
    """Return a text of every image, the same for all planes of a stack."""
    table = text_table(rule.path, ("image", column))
    whole = Images([(name, "") for name in images.planes], images.sources)
    rows, unknown = whole.rows_of(table[["image"]], rule.path)
    known = {name: table[column].iloc[row].strip() for (name, _), row in rows.items()}
    missing = [name for name in images.planes if not known.get(name)]
    if missing:
        others = f" (it names {listed(unknown, 3)}, of which none is predicted)" if unknown else ""
        remedy = "Add a row for every image, with its name in counts.csv or the path of its file."
        raise InputError(f"Names no {column} for {listed(missing)}{others}.", rule.path, remedy)
    return {name: known[name] for name in images.planes}
