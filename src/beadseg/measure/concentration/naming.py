"""Which image a table means, which group an image belongs to, how far it was diluted: told by names or a CSV."""

from __future__ import annotations

import filecmp
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from beadseg.config.density import ByField, NameFactor, NamePattern, NameTable, Together
from beadseg.data.fields import PatternFields, composed, fields_of, listed, numbers_of, plain_form, text_table
from beadseg.data.predictions import source_of
from beadseg.errors import InputError
from beadseg.files import user_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd


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
        told = {name: told_factors(name) for name in names}
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


def told_factors(name: str) -> list[float]:
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


_NUMERAL = r"[0-9]+(?:[.,' p][0-9]+)*(?:e[+-]?[0-9]+|\^[0-9]+)?"
"""Digits with what may divide them, and an exponent: ``1e3``, ``10^3``."""
_TIMES = re.compile(rf"(?<![0-9])([^\W\d_])?({_NUMERAL}) ?[x\u00d7](?=[\W_]|$|[0-9.,]+[x\u00d7](?:[\W_]|$))", re.I)
_RATIO = re.compile(rf"(?<![0-9.,:])1 ?[:\u2236] ?({_NUMERAL})(?![0-9:])", re.IGNORECASE)


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
