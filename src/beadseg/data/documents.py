"""Read the JSON documents and CSV tables of a run or prediction folder, which may be damaged or written by hand."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, TypeVar

from beadseg.config.base import Config
from beadseg.data.fields import decoded, separator_of
from beadseg.errors import ConfigError, InputError, RunError
from beadseg.text import original

C = TypeVar("C", bound=Config)

REMEDY = "Copy it again from where it was made, or make it again."


def read_document(path: Path, *keys: str) -> dict[str, Any]:
    """Return the object in a JSON file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    *keys : str
        What the object must have.

    Raises
    ------
    RunError
        There is no such file, it holds no JSON object, or a key is missing.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError("No such file.", path, REMEDY) from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"Cannot be read as JSON ({_told(error)}).", path, REMEDY) from None
    if not isinstance(document, dict):
        raise RunError(f"Holds no JSON object but a {type(document).__name__}.", path, REMEDY)
    missing = [key for key in keys if key not in document]
    if missing:
        raise RunError(f"Lacks {', '.join(map(repr, missing))}.", path, REMEDY)
    return document


def read_entries(path: Path, key: str, kind: type[C]) -> list[C]:
    """Return the list that a JSON file holds under `key`, each entry validated as `kind`.

    Raises
    ------
    RunError
        There is no such file, no such list, or an entry is not valid.
    """
    entries = read_document(path, key)[key]
    if not isinstance(entries, list):
        raise RunError(f"{key!r} is not a list.", path, REMEDY)
    try:
        return [kind.parse(entry) for entry in entries]
    except ConfigError as error:
        raise RunError(f"{key!r} holds a wrong entry: {error.what}", path, REMEDY) from None


def read_table(path: Path, *columns: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header line; every row has a text, maybe empty, for each of `columns`.

    Raises
    ------
    RunError
        There is no such file, it is not a table, a column is missing, or a row is cut off.
    """
    try:
        text = decoded(path, REMEDY)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator_of(text, columns))
        rows = list(reader)
        names = reader.fieldnames or ()
    except InputError as error:
        raise RunError(error.what, path, REMEDY) from None
    except (ValueError, csv.Error) as error:
        raise RunError(f"Cannot be read as a table ({_told(error)}).", path, REMEDY) from None
    missing = [column for column in columns if column not in names]
    if missing:
        raise RunError(f"Lacks the column {', '.join(map(repr, missing))}.", path, REMEDY)
    for number, row in enumerate(rows, start=1):
        if any(row[column] is None for column in columns):
            raise RunError(f"Row {number} is cut off.", path, REMEDY)
    return [{name: original(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]


def inner(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object under `key`; empty where there is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def is_plain_name(name: str) -> bool:
    """Return whether `name` names something in a folder, never something outside it."""
    return not set(name) & {"/", "\\", "\0"} and name not in (".", "..") and not Path(name).drive


def _told(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
