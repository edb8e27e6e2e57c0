"""Which group an image belongs to and how far it was diluted: told by its name or a CSV."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from beadseg.config.density import ByField, NameFactor, NamePattern, NameTable, Together
from beadseg.data.fields import PatternFields, fields_of, listed, numbers_of, read_table, rows_of, text_table
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


def groups_of(names: Sequence[str], rule: ByField | Together | NamePattern | NameTable) -> dict[str, str]:
    """Return the group of every image; one whose name does not match a pattern is a group by itself.

    Raises
    ------
    InputError
        A CSV is missing, lacks a column, names an image twice, or lacks one of `names`.
    """
    if isinstance(rule, ByField):
        return fields_of(names, PatternFields())
    if isinstance(rule, Together):
        return dict.fromkeys(names, "all")
    if isinstance(rule, NameTable):
        return _from_table(names, rule, "group")
    return {name: _matched(name, rule) or name for name in names}


def factors_of(
    names: Sequence[str], rule: NameFactor | NamePattern | NameTable
) -> tuple[dict[str, float | None], list[str]]:
    """Return the dilution factor of every image, and sentences about names that tell several.

    None where a name tells no factor, or several, since the wrong one would be worse.

    Raises
    ------
    InputError
        As `groups_of`; or what stands there is no positive number.
    """
    if isinstance(rule, NameFactor):
        told = {name: told_factors(name) for name in names}
        factors = {name: found[0] if len(found) == 1 else None for name, found in told.items()}
        return factors, _several({name: found for name, found in told.items() if len(found) > 1})
    if isinstance(rule, NameTable):
        return _table_factors(names, rule), []
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


def _table_factors(names: Sequence[str], rule: NameTable) -> dict[str, float | None]:
    texts = _from_table(names, rule, "factor")
    separator = text_table(rule.path, ("image", "factor")).attrs["separator"]
    values = numbers_of(texts.values(), separator)
    remedy = "Write positive numbers in the column factor, without marks between thousands."
    return {
        name: _factor(name, text, value, str(rule.path), remedy)
        for (name, text), value in zip(texts.items(), values, strict=True)
    }


def _from_table(names: Sequence[str], rule: NameTable, column: str) -> dict[str, str]:
    table = read_table(rule.path, ("image", column))
    rows = rows_of(names, table["image"].tolist(), rule.path)
    known = {name: table[column].iloc[row] for name, row in rows.items()}
    missing = [name for name in names if not known.get(name)]
    if missing:
        raise InputError(f"Names no {column} for {listed(missing)}.", rule.path, "Add a row for every image.")
    return {name: known[name] for name in names}
