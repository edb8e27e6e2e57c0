"""Which group an image belongs to and how far it was diluted: told by its name or a CSV."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from beadseg.config.density import ByField, NamePattern, NameTable, Together
from beadseg.data.fields import PatternFields, fields_of, listed, read_table
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


def factors_of(names: Sequence[str], rule: NamePattern | NameTable) -> dict[str, float | None]:
    """Return the dilution factor of every image; None where its name has none.

    Raises
    ------
    InputError
        As `groups_of`; or what stands there is no positive number.
    """
    if isinstance(rule, NameTable):
        texts: dict[str, str | None] = dict(_from_table(names, rule, "factor"))
        where, remedy = str(rule.path), "Write positive numbers in the column factor."
    else:
        texts = {name: _matched(name, rule) for name in names}
        where, remedy = "--factor", "Give a pattern whose first group is a number."
    return {name: None if text is None else _factor(name, text, where, remedy) for name, text in texts.items()}


def _matched(name: str, rule: NamePattern) -> str | None:
    found = re.search(rule.pattern, name, re.IGNORECASE)
    return found[1] if found and found[1] else None


def _factor(name: str, text: str, where: str, remedy: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise InputError(f"The dilution factor of {name!r} is {text!r}.", where, remedy)
    return factor


def _from_table(names: Sequence[str], rule: NameTable, column: str) -> dict[str, str]:
    table = read_table(rule.path, ("image", column))
    known = dict(zip(table["image"], table[column], strict=True))
    missing = [name for name in names if not known.get(name)]
    if missing:
        raise InputError(f"Names no {column} for {listed(missing)}.", rule.path, "Add a row for every image.")
    return {name: known[name] for name in names}
