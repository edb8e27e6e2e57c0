"""Which field of view a sample belongs to: tiles cut from one photograph share light and beads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, Field

from beadseg.config.base import Config
from beadseg.errors import InputError
from beadseg.text import original_cells

if TYPE_CHECKING:
    from collections.abc import Iterable

TILE_PATTERN = (
    r"^(?P<field>.+?)_(?:grid|tiles?|patch|crop|r\d+_?c\d+|row\d+_?col\d+|x\d+_?y\d+|y\d+_?x\d+)(?=[_\-.\d]|$)"
)
"""All before ``_grid``, ``_tile``, ``_r0_c0`` …, upper or lower case."""


def _compiles(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    if groups == 0:
        raise ValueError("put the part that names the field of view in brackets, e.g. ^(.+)_tile")
    return pattern


class PatternFields(Config):
    """The field of view is a part of the sample's name; a name that does not match is a field by itself."""

    kind: Literal["pattern"] = "pattern"
    pattern: Annotated[str, AfterValidator(_compiles)] = TILE_PATTERN
    """Regular expression searched in the name, upper or lower case; its group ``field``, or its first group, counts."""


class CsvFields(Config):
    """The field of view stands in a CSV."""

    kind: Literal["csv"] = "csv"
    path: Path
    """CSV with the columns ``sample`` and ``field``."""


class OwnFields(Config):
    """Each image is a field of view by itself."""

    kind: Literal["own"] = "own"


FieldRule = Annotated[PatternFields | CsvFields | OwnFields, Field(discriminator="kind")]
"""How fields of view are told; the default is `PatternFields()`."""


def fields_of(names: Iterable[str], rule: PatternFields | CsvFields | OwnFields) -> dict[str, str]:
    """Return the field of view of every sample name.

    Raises
    ------
    InputError
        The CSV is missing, has not the two columns, names a sample twice, or lacks one of `names`.
    """
    if isinstance(rule, CsvFields):
        return _from_table(list(names), rule.path)
    if isinstance(rule, OwnFields):
        return {name: name for name in names}
    expression = re.compile(rule.pattern, re.IGNORECASE)
    return {name: _matched(expression, name) for name in names}


def _matched(expression: re.Pattern[str], name: str) -> str:
    match = expression.search(name)
    if match is None:
        return name
    return (match["field"] if "field" in expression.groupindex else match[1]) or name


def _from_table(names: list[str], path: Path) -> dict[str, str]:
    table = read_table(path, ("sample", "field"))
    known = dict(zip(table["sample"], table["field"], strict=True))
    missing = [name for name in names if not known.get(name)]
    if missing:
        raise InputError(f"Names no field for {listed(missing)}.", path, "Add a row for every sample.")
    return {name: known[name] for name in names}


def read_table(path: Path, columns: tuple[str, str]) -> pd.DataFrame:
    """Return two text columns of a CSV, the first one unique and without file extensions of images.

    Raises
    ------
    InputError
        The file is missing or no CSV, lacks a column, or has a name twice.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError("No such file.", path, "Check the path.") from None
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InputError(
            f"Cannot be read as CSV: {error}.", path, f"Give a CSV with the columns {', '.join(columns)}."
        ) from None
    absent = [column for column in columns if column not in table.columns]
    if absent:
        text = f"Has no column {' or '.join(map(repr, absent))} (it has: {', '.join(map(str, table.columns))})."
        raise InputError(text, path, f"Give a CSV with the columns {', '.join(columns)}.")
    table = original_cells(table[list(columns)]).apply(lambda column: column.str.strip())
    first = columns[0]
    table[first] = table[first].str.replace(r"(?i)(?:\.ome)?\.(?:tiff?|png|jpe?g|bmp)$", "", regex=True)
    twice = table[first][table[first].duplicated()].unique().tolist()
    if twice:
        raise InputError(f"Names some samples more than once: {listed(twice)}.", path, "Keep one row for every sample.")
    return pd.DataFrame(table)


def listed(names: list[str], most: int = 5) -> str:
    """Return up to `most` names for a message, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
