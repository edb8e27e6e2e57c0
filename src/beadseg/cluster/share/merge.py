"""Merge what is known of all images of a shared batch into the tables that one process would have written."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.cluster.share.turn import turn
from beadseg.data.predictions import source_of
from beadseg.errors import BeadsegError, RunError
from beadseg.files import write_atomically
from beadseg.predict.tables import BatchResult, PredictionIndex
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from beadseg.cluster.share.listing import Item, Share
    from beadseg.cluster.share.parts import Part
    from beadseg.events import StopFlag


def merge(share: Share, has_ended: Callable[[str], bool], stop: StopFlag | None = None) -> tuple[BatchResult, bool]:
    """Write ``counts.csv`` and ``failures.csv`` of a batch that is done; several processes may.

    Returns
    -------
    tuple of BatchResult, bool
        What became of all images, and whether this process was the one that merged them.

    Raises
    ------
    RunError
        An image or a result has changed meanwhile, so that not all are done.
    Cancelled
        `stop` was set while another process merged.
    """
    with turn(share.folder, has_ended, stop):
        parts = _done(share)
        missing = len(share.items) - len(parts)
        if missing:
            what = f"{plural(missing, 'image')} or their results changed while the batch was predicted."
            raise RunError(what, share.folder, "Run the command again.")
        result = _write_tables(share, parts)
        marker = share.folder / files.SHARE / files.MERGED
        digest = hashlib.sha256(json.dumps([[part.rows, part.error] for part in parts.values()]).encode()).hexdigest()
        if _digest(marker) == digest:
            return result, False
        shutil.rmtree(share.folder / files.SHARE / files.STAGES, ignore_errors=True)
        write_atomically(marker, json.dumps({"schema_version": 1, "sha256": digest}))
        return result, True


def merge_partly(share: Share, has_ended: Callable[[str], bool]) -> None:
    """Write the tables of what is done so far, where nobody else writes them at the moment."""
    try:
        with turn(share.folder, has_ended, wait=False) as mine:
            if mine:
                _write_tables(share, _done(share))
    except BeadsegError:
        return  # the parts are there; the next process merges them


def _done(share: Share) -> dict[Item, Part]:
    """Return what is known of all images that are done, in their order."""
    found = {item: share.part(item) for item in share.items}
    return {item: part for item, part in found.items() if part is not None}


def _write_tables(share: Share, parts: dict[Item, Part]) -> BatchResult:
    """Write the folder's tables: those of other images stay, an image that failed has no results."""
    index = PredictionIndex(share.folder)
    failures = {}
    for item, part in parts.items():
        source = index.sources[item.name] = source_of(item.path)
        if part.error is None:
            index.rows[item.name], index.results[item.name] = part.rows, part.result
            index.failures.pop(source, None)
        else:
            failures[source] = part.error
            index.failed(item.name, part.error)
    index.close()
    return index.result_of({item.path: item.name for item in parts}, failures)


def _digest(marker: Path) -> str:
    """Return what was merged last, or ``""``."""
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""
