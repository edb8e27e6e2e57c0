"""What is done in the background: opening a dataset with its audit, and running the audit. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.annotation.audit import Audit
from beadseg.data.dataset import Dataset
from beadseg.errors import InputError
from beadseg.widgets.common.batch import run_batch
from beadseg.widgets.review.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.events import OnEvent, StopFlag


@dataclass(frozen=True)
class Opened:
    """A dataset that was opened.

    Attributes
    ----------
    session : Session
        Ready to go.
    problem : str
        What the user should know, such as files that were left out; empty where there is nothing.
    """

    session: Session
    problem: str = ""


def session_of(dataset: Path, audit: Path | None, by: str, on_event: OnEvent, stop: StopFlag) -> Opened:
    """Open a dataset, with the given audit, else with the one in its review folder if there is any.

    Raises
    ------
    InputError
        No dataset, or the given audit is missing or another dataset's.
    """
    data = Dataset.open(dataset, require_masks=False)
    stop.check()
    session = Session(data, by)
    problems = [str(problem) for problem in (*data.problems, *session.review.problems)]
    own = dataset / files.REVIEW / files.REVIEW_AUDIT
    if audit is not None:
        session.use_audit(Audit.read(audit), audit)
    elif (own / files.AUDIT).exists():
        try:
            session.use_audit(Audit.read(own), own)
        except InputError as error:
            problems.append(str(error))
    stop.check()
    session.bead_size()
    stop.check()
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Opened(session, f"{problems[0]}{more}" if problems else "")


def run_audit(dataset: Path, on_event: OnEvent, stop: StopFlag) -> tuple[Audit, Path]:
    """Audit a dataset in a child process into its review folder, with proposals; return the audit and its folder.

    Raises
    ------
    BeadsegError
        What the audit ended with.
    Cancelled
        `stop` was set.
    """
    folder = dataset / files.REVIEW / files.REVIEW_AUDIT
    run_batch(["audit", str(dataset), "--out", str(folder), "--propose"], on_event, stop)
    return Audit.read(folder), folder
