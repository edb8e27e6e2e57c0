"""What is known of an image that is done: one small file each, written last, after the image's results."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.data.documents import inner
from beadseg.data.hashes import signature_of
from beadseg.files import ensure_folder, write_atomically

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Part:
    """What became of an image.

    Attributes
    ----------
    rows : list of dict
        Its rows of ``counts.csv``.
    error : str or None
        Why it failed.
    signature : list of int
        Size in bytes and time in ns of the image's file when it was read; empty when there was none.
    results : list of str
        Paths of its results in the prediction folder.
    result : dict
        What they were made of and with; see `beadseg.predict.tables.described`.
    """

    rows: list[dict[str, Any]]
    error: str | None
    signature: list[int]
    results: list[str]
    result: dict[str, Any] = field(default_factory=dict)


def part_path(folder: Path, index: int) -> Path:
    """Return where the part of an image lies."""
    return folder / files.SHARE / files.PARTS / f"{index:06d}.json"


def write_part(folder: Path, index: int, part: Part) -> None:
    """Write that an image is done."""
    path = part_path(folder, index)
    ensure_folder(path.parent)
    write_atomically(path, json.dumps({"schema_version": 1, **asdict(part)}, default=lambda number: number.item()))


def read_part(folder: Path, index: int, image: Path) -> Part | None:
    """Return the part of an image; None when it is not done, or its file or results are not what they were then."""
    try:
        values = json.loads(part_path(folder, index).read_text(encoding="utf-8"))
        part = Part(values["rows"], values["error"], values["signature"], values["results"],
                    inner(values, "result"))  # fmt: skip
    except (OSError, ValueError, TypeError, KeyError):
        return None
    same = part.signature == signature_of(image) and all((folder / name).exists() for name in part.results)
    return part if same else None
