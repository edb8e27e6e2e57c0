"""Which page a folder gets, and how a page that cannot be made never takes a result with it.

A page's module is imported when the page is made: training and its libraries take seconds.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.errors import BeadsegError, Cancelled, InputError
from beadseg.events import Event, OnEvent, StopFlag, ignore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MARKS = {
    "evaluation": (files.EVALUATION,),
    "densities": (files.DENSITY,),
    "cross-validation": (files.CROSSVAL,),
    "sweep": (files.SWEEP,),
    "run": (files.CONFIG, files.HISTORY),
    "prediction": (files.COUNTS, files.PREDICTION),
}
"""The files that each kind of folder is known by."""

_WHERE = "Say where the images are now: --dataset DIR."


def kind_of(folder: Path) -> str:
    """Return what a folder holds: a key of `MARKS`.

    Raises
    ------
    InputError
        It is none of these; the message names folders inside that are.
    """
    if not folder.is_dir():
        what = "Is a file, not a folder." if folder.exists() else "No such folder."
        raise InputError(what, folder, "Give a folder that train, sweep, evaluate, predict, crossval or density wrote.")
    kind = _kind(folder)
    if kind is not None:
        return kind
    if (folder / files.CONFIG).exists():
        raise InputError("The run has not finished an epoch yet.", folder, "Wait until the first epoch has ended.")
    inside = sorted(path.name for path in folder.iterdir() if path.is_dir() and _kind(path))
    remedy = "Give a folder that train, sweep, evaluate, predict, crossval or density wrote."
    if inside:
        remedy = f"Give one of the folders inside: {', '.join(map(files.printable, inside))}."
    raise InputError("Holds no run, sweep, evaluation, prediction, cross-validation or densities.", folder, remedy)


def _kind(folder: Path) -> str | None:
    found = (kind for kind, names in MARKS.items() if all((folder / name).is_file() for name in names))
    return next(found, None)


def write_page(
    folder: Path, on_event: OnEvent = ignore, stop: StopFlag | None = None, dataset: Path | None = None
) -> Path:
    """Write ``report.html`` into a folder of any kind and return its path; see `kind_of`.

    `dataset` says where the images of a run or an evaluation are now, when they were moved without it.

    Raises
    ------
    InputError
        It is not such a folder, its files are damaged, or the page that is there has more pictures.
    MachineError
        The folder is not writable.
    Cancelled
        `stop` was set.
    """
    kind = kind_of(folder)
    if dataset is not None and kind not in ("run", "evaluation"):
        raise InputError(f"The page of a {kind} shows nothing of a dataset.", "--dataset", "Leave the option out.")
    if kind == "run":
        from beadseg.report.run_page import write_run_page
        from beadseg.training.run import Run

        return write_run_page(Run(folder), on_event, stop, dataset=dataset, keep_fuller=_WHERE)
    if kind == "evaluation":
        from beadseg.measure.evaluation import Evaluation
        from beadseg.report.evaluation_page import write_evaluation_page

        evaluation = Evaluation.read(folder)
        truth = None if dataset is None else evaluation.open_dataset(folder, dataset)
        return write_evaluation_page(folder, evaluation, truth, on_event, stop, keep_fuller=_WHERE)
    if kind == "sweep":
        from beadseg.report.sweep_page import write_sweep_page

        return write_sweep_page(folder)
    if kind == "densities":
        from beadseg.measure.concentration import DensityReport
        from beadseg.report.density_page import write_density_page

        return write_density_page(folder, DensityReport.read(folder))
    if kind == "prediction":
        from beadseg.report.prediction_page import write_prediction_page

        return write_prediction_page(folder, on_event, stop, keep_fuller="Predict again with overlays.")
    from beadseg.report.crossval_page import write_crossval_page

    return write_crossval_page(folder)


def report_or_warn(make: Callable[[], object], folder: Path, on_event: OnEvent) -> str:
    """Make a report of results that are on the disk already; what goes wrong becomes a warning.

    Parameters
    ----------
    make : callable
        Writes the report.
    folder : pathlib.Path
        The folder of the results.
    on_event : callable
        Told when it fails, with the command that makes the report again.

    Returns
    -------
    str
        A sentence that names the page, for the result line; empty where there is none.

    Raises
    ------
    Cancelled
        The user asked to stop.
    """
    try:
        make()
    except Cancelled:
        raise
    except Exception as error:  # the results are written: whatever is wrong with the page must not hide them
        reason = str(error) if isinstance(error, BeadsegError) else f"{type(error).__name__}: {error}"
        again = f"beadseg-batch report {shlex.quote(files.printable(folder))}"
        text = f"The results are written, but not their report ({reason}). To make it: {again}"
        on_event(Event("warning", text, "warning", {"folder": str(folder)}))
        return ""
    return f"Report: {folder / files.REPORT_PAGE}"
