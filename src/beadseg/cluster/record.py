"""What a folder knows of the jobs that were sent for it: one row per job, only ever appended to."""

from __future__ import annotations

import csv
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = ("job", "kind", "part", "sent")
"""As in ``jobs.csv``, which job scripts append to as well (``job.sh``)."""


@dataclass(frozen=True)
class Sent:
    """A job that was sent.

    Attributes
    ----------
    job : str
        Its id.
    kind : str
        What it does: ``train``, ``predict`` …
    part : int
        Which job of a chain, from 1.
    sent : str
        When, UTC.
    """

    job: str
    kind: str
    part: int
    sent: str

    def logs(self, folder: Path) -> list[Path]:
        """Return the logs that the job has begun in its folder: one, or one per element of an array."""
        number, array, server = self.job.partition("[]")
        names = [path.name for path in (folder / files.JOBS).glob("*.log")]
        end = rf"\[\d+\]{re.escape(server)}" if array else r"(_\d+)?"  # PBS' elements 12[3].server, Slurm's 12_3
        pattern = rf"{re.escape(self.kind)}-{re.escape(number)}{end}"
        found = [name for name in names if re.fullmatch(pattern + r"\.log", name)]
        return [folder / files.JOBS / name for name in sorted(found, key=lambda name: (len(name), name))]


def append(folder: Path, job: str, kind: str, part: int = 1) -> None:
    """Record that a job was sent."""
    path = files.ensure_folder(folder / files.JOBS) / files.JOBS_TABLE
    begins = "" if path.exists() else ",".join(COLUMNS) + "\n"
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    try:
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(f"{begins}{job},{kind},{part},{now}\n")
    except OSError as error:
        raise files.machine_error(error, path) from error


def sent(folder: Path) -> list[Sent]:
    """Return the jobs that were sent for a folder, the first one first, each once.

    Raises
    ------
    InputError
        None was sent, or the table is damaged.
    """
    path = folder / files.JOBS / files.JOBS_TABLE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row for row in csv.reader(file) if row and tuple(row) != COLUMNS]
        found = [Sent(job, kind, int(part), when) for job, kind, part, when in rows]
    except FileNotFoundError:
        raise InputError("No job was sent for this folder.", folder,
                         "Give the --out folder of `beadseg-batch submit`.") from None  # fmt: skip
    except (OSError, ValueError, csv.Error):
        raise InputError("The table of jobs is damaged.", path, "Remove its broken line.") from None
    return list({item.job: item for item in found}.values())
