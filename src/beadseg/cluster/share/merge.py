"""Merge what is known of all images of a shared batch into the tables that one process would have written."""

from __future__ import annotations

import hashlib
import json
import shutil
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.cluster.share.turn import turn
from beadseg.errors import BeadsegError, RunError
from beadseg.files import printable, write_atomically
from beadseg.predict.tables import BatchResult, earlier_tables, write_tables

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from beadseg.cluster.share.listing import Share
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
        rows, failures, missing = _collected(share)
        if missing:
            what = f"{missing} images or their results changed while the batch was predicted."
            raise RunError(what, share.folder, "Run the command again.")
        result = write_tables(share.folder, rows, failures, earlier_tables(share.folder, share.names))
        marker = share.folder / files.SHARE / files.MERGED
        digest = hashlib.sha256(json.dumps([rows, failures]).encode()).hexdigest()
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
                rows, failures, _ = _collected(share)
                write_tables(share.folder, rows, failures, earlier_tables(share.folder, share.names))
    except BeadsegError:
        return  # the parts are there; the next process merges them


def _collected(share: Share) -> tuple[list[dict[str, Any]], list[dict[str, str]], int]:
    """Return the rows of counts and of failures of all images that are done, in their order, and how many are not."""
    rows: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    missing = 0
    for item in share.items:
        part = share.part(item)
        if part is None:
            missing += 1
        elif part.error is None:
            rows += part.rows
        else:
            failures.append({"image": printable(item.path), "error": part.error})
    return rows, failures, missing


def _digest(marker: Path) -> str:
    """Return what was merged last, or ``""``."""
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["sha256"])
    except (OSError, ValueError, TypeError, KeyError):
        return ""
