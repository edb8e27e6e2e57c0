"""Which field of view a sample belongs to: tiles cut from one photograph share light and beads."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, Field

from beadseg.config.base import Config
from beadseg.errors import InputError
from beadseg.files import read_error
from beadseg.text import original_cells

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TILE_PATTERN = (
    r"^(?P<field>.+?)_(?:grid|tiles?|patch|crop|r\d+_?c\d+|row\d+_?col\d+|x\d+_?y\d+|y\d+_?x\d+)(?=[_\-.\d]|$)"
)
"""All before ``_grid``, ``_tile``, ``_r0_c0`` …, upper or lower case."""

SEPARATORS = ",;\t|"
"""What may separate the cells of a table."""
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""First bytes of .xlsx, .ods and .xls."""


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
"""How fields of view are found; the default is `PatternFields()`."""


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
    rows = rows_of(names, table["sample"].tolist(), path)
    known = {name: table["field"].iloc[row] for name, row in rows.items()}
    missing = [name for name in names if not known.get(name)]
    if missing:
        raise InputError(f"Names no field for {listed(missing)}.", path, "Add a row for every sample.")
    return {name: known[name] for name in names}


def read_table(path: Path, columns: tuple[str, str]) -> pd.DataFrame:
    """Return two text columns of a table, the first one as it is written (see `rows_of`) and unique.

    Raises
    ------
    InputError
        The file is missing or no table, lacks a column, or has a name twice.
    """
    table = text_table(path, columns)[list(columns)]
    table[columns[1]] = table[columns[1]].str.strip()
    first = table[columns[0]]
    twice = first[first.duplicated()].unique().tolist()
    if twice:
        raise InputError(f"Names some samples more than once: {listed(twice)}.", path, "Keep one row for every sample.")
    return table


def text_table(path: Path, columns: Sequence[str], remedy: str | None = None, most: int = -1) -> pd.DataFrame:
    """Read a table that a spreadsheet or a script wrote, every cell as text.

    Comma, semicolon, tab or bar between cells; UTF-8 or UTF-16, with or without a byte-order mark, else Windows-1252;
    names of columns in any case. Rows without any text are left out.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    columns : sequence of str
        Columns that it must have; they are called so in the result.
    remedy : str, optional
        What to do where it is not such a table.
    most : int
        Only the whole lines among so many bytes are read; -1: all.

    Returns
    -------
    pandas.DataFrame
        Strings; what separates its cells is in ``attrs["separator"]``, for `numbers_of`.

    Raises
    ------
    InputError
        The file is missing or no table, or lacks a column.
    """
    remedy = remedy or f"Give a CSV with the columns {', '.join(columns)}."
    text, separator = _split_off_separator(decoded(path, remedy, most))
    separator = separator or separator_of(text, columns)
    try:
        table = _rows(text, separator)
    except (ValueError, csv.Error) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"Cannot be read as CSV ({detail}).", path, remedy) from None
    called = {name.casefold(): name for name in columns}
    table.columns = pd.Index([called.get(_plain(name).casefold(), _plain(name)) for name in table.columns])
    absent = [column for column in columns if column not in table.columns]
    if absent:
        text = f"Has no column {' or '.join(map(repr, absent))} (it has: {', '.join(map(str, table.columns))})."
        raise InputError(text, path, remedy)
    table = original_cells(table.loc[:, ~table.columns.duplicated()])
    table.attrs["separator"] = separator
    return table


def _rows(text: str, separator: str) -> pd.DataFrame:
    """Return the cells of a table, rows without any text left out; raises `ValueError` for a row that is too long."""
    read = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = [row for row in read if any(cell.strip() for cell in row)]
    if not rows:
        raise ValueError("it is empty")
    width = len(rows[0])
    for number, row in enumerate(rows[1:], start=1):
        if any(cell.strip() for cell in row[width:]):
            raise ValueError(f"row {number} has {len(row)} cells, its header {width}")
    cells = [[*row, *[""] * (width - len(row))][:width] for row in rows]
    return pd.DataFrame(cells[1:], columns=cells[0], dtype=str)


def decoded(path: Path, remedy: str, most: int = -1) -> str:
    """Return the text of a table in any of the encodings of `text_table`; raises `InputError`."""
    try:
        with path.open("rb") as file:
            content = file.read(most)
    except FileNotFoundError:
        raise InputError("No such file.", path, "Check the path.") from None
    except OSError as error:
        raise read_error(error, path) from None
    for start in _WORKBOOKS:
        if content.startswith(start):
            raise InputError("Is a spreadsheet's own file, not CSV text.", path, "Save it as CSV (UTF-8) there.")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    elif b"\0" in content[:200]:  # UTF-16 without a mark: every second byte of Latin letters is 0
        encodings = ["utf-16-be" if content[:1] == b"\0" else "utf-16-le"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
        content = content[: content.rfind(b"\n") + 1] if len(content) == most else content
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise InputError("Cannot be read as CSV (it is not text).", path, remedy)


def _split_off_separator(text: str) -> tuple[str, str]:
    """Return a table without Excel's first line ``sep=;``, and the separator that it names."""
    found = re.match(r'"?sep=(.)"?\r?\n', text, re.IGNORECASE)
    return (text[found.end() :], found[1]) if found else (text, "")


def separator_of(text: str, columns: Sequence[str]) -> str:
    """Return what separates the cells of the first line: best so that it holds `columns`, else most of them."""
    header = next((line for line in text.splitlines() if line.strip()), "")

    def fit(separator: str) -> tuple[int, int]:
        cells = next(csv.reader([header], delimiter=separator), [])
        named = {_plain(cell).casefold() for cell in cells}
        return sum(column.casefold() in named for column in columns), len(cells)

    return max(SEPARATORS, key=fit)


def _plain(name: object) -> str:
    return str(name).strip().strip("\ufeff\"'").strip()


def rows_of(names: Sequence[str], written: Sequence[str], path: Path) -> dict[str, int]:
    """Return the row of every name that a table names.

    A name counts as it is written, else without what people add to it: a folder, the extension of an image, spaces,
    another Unicode form.

    Raises
    ------
    InputError
        Several rows name the same one.
    """
    exact = {text: row for row, text in enumerate(written)}
    found = {name: exact[name] for name in names if name in exact}
    used = set(found.values())
    rows: dict[str, list[int]] = {}
    for row, text in enumerate(written):
        if row not in used:
            rows.setdefault(plain_form(text), []).append(row)
    shared = Counter(map(plain_form, names))
    for name in names:
        several = rows.get(plain_form(name), []) if shared[plain_form(name)] == 1 else []
        if len(several) + (name in found) > 1:
            raise InputError(f"Names some samples more than once: {name}.", path, "Keep one row for every sample.")
        if several:
            found[name] = several[0]
    return found


def plain_form(name: str) -> str:
    """Return a name without what people add to it: a folder, an extension, spaces, another Unicode form."""
    last = re.split(r"[/\\]", composed(name).strip())[-1]
    return re.sub(r"(?i)(?:\.ome)?\.(?:tiff?|png|jpe?g|bmp|zarr)$", "", last)


def composed(name: str) -> str:
    """Return a name in Unicode's form NFC: macOS writes the other one, and people see no difference."""
    return unicodedata.normalize("NFC", name)


def numbers_of(cells: Iterable[str], separator: str = ",") -> list[float | None]:
    """Return the numbers in a column of a table; None for an empty cell and for what is not (clearly) a number.

    Decimal points and commas are read, and thousands apart by the other one, a space or an apostrophe. Whether
    ``1,234`` is a thousand or a little more than one is decided by the other cells. Where they do not, points are
    decimal in a table with commas between its cells, commas in one with semicolons, and all else is not clear.
    """
    texts = [cell.strip().replace("\u2212", "-") for cell in cells]
    decimal = "".join(mark for mark in ".," if any(_tells_decimal(text, mark) for text in texts))
    usual = {",": ".", ";": ","}.get(separator, "")
    return [_number(text, decimal, usual) for text in texts]


def _tells_decimal(text: str, mark: str) -> bool:
    """Tell whether `mark` can only be a decimal mark in a number: not followed by three digits, or after a single 0."""
    other = "," if mark == "." else "."
    whole, found, rest = text.partition(mark)
    if not found or mark in rest or other in rest:
        return False
    return other in whole or not re.fullmatch(r"[0-9]{3}", rest) or whole.lstrip("+-") in ("", "0")


def _number(text: str, decimal: str, usual: str) -> float | None:
    plain = re.sub(r"(?<=[0-9])[ \u00a0\u202f'\u2019](?=[0-9]{3}(?![0-9]))", "", text)
    if re.search(r"[.,]", plain):
        marks = [mark for mark in ".," if _reads_with(plain, mark)]
        if len(marks) > 1:  # three digits after the only mark: decimal, or thousands
            marks = list(decimal) if decimal else [mark for mark in usual if mark in plain]
        if len(marks) != 1:
            return None
        plain = plain.replace("," if marks[0] == "." else ".", "").replace(",", ".")
    try:
        value = float(plain)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in plain else None


def _reads_with(text: str, mark: str) -> bool:
    """Tell whether a text is a number with `mark` before its decimals and the other mark between its thousands."""
    other = re.escape("," if mark == "." else ".")
    whole = rf"(?:[0-9]*|[0-9]{{1,3}}(?:{other}[0-9]{{3}})+)"
    return re.fullmatch(rf"[+-]?{whole}(?:{re.escape(mark)}[0-9]*)?(?:[eE][+-]?[0-9]+)?", text) is not None


def listed(names: list[str], most: int = 5) -> str:
    """Return up to `most` names for a message, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
