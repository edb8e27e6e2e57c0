"""Every name that beadseg uses on disk, and the one way it writes a file.

A file is written beside its place under a temporary name, flushed, and renamed. Whoever reads it sees the old file or
the new one, never half of it, also after a kill, a full disk or a power cut.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from beadseg import events
from beadseg.errors import HeldError, InputError, MachineError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


# --- A dataset folder -------------------------------------------------------------------------------------------------

IMAGES = "images"
"""Folder of the images of a dataset."""
MASKS = "masks"
"""Folder of foreground masks; also in a prediction folder (PNG, 0 and 255)."""
LABELS = "labels"
"""Folder of instance labels; also in a prediction folder (TIFF, uint32, 0 is background)."""
POINTS = "points"
"""Folder of bead centres, one table per image: columns y and x, px."""
IGNORE = "ignore"
"""Folder of ignore masks: what is non-zero there is neither bead nor background."""
TRUTH = "truth.csv"
"""Simulated datasets: one row per bead with its image, position, diameter and defocus."""
SCENES = "scenes.json"
"""Simulated datasets: the configuration and seed of every image."""
LIKENESS = "likeness.json"
"""Datasets simulated after another one: what was measured there (`simulate --like` reads it again)."""
REVIEW = "review"
"""Folder of what people decided about a dataset's annotations: `JOURNAL`, `REVIEW_TABLE`, `MASKS`, `IGNORE`, `UNSAVED`,
`REVIEW_AUDIT`."""
JOURNAL = "journal"
"""Folder of the review's steps: one CSV per session that wrote any, only ever appended to."""
UNSAVED = "unsaved"
"""Folder of strokes that nobody decided on yet: one file per sample and session, deleted with the decision."""
REVIEW_AUDIT = "audit"
"""Folder of the audit that the Review widget runs; see the audit folder."""
REVIEW_TABLE = "review.csv"
"""One row per sample: its state, by whom, when and why. For reading: rebuilt from the journal."""
SUGGESTIONS = "suggest.csv"
"""In which order drafts are reviewed: those that the model is least sure of first."""
IMPROVEMENTS = "improve.json"
"""What became of models that were trained further on accepted samples."""

# --- A run folder -----------------------------------------------------------------------------------------------------

CONFIG = "config.yaml"
"""The complete configuration: as asked for, and what was planned from the data."""
ASKED = "asked.yaml"
"""The configuration as asked for: for other data, what is open in it is planned again."""
PLAN = "plan.json"
"""The data's fingerprint and every value planned from it."""
SPLIT = "split.csv"
"""Columns ``sample``, ``fold`` (``train``, ``val``, ``test``)."""
SAMPLES = "samples.csv"
"""The frozen dataset list: name, field of view, files, hashes, objects."""
ENVIRONMENT = "environment.json"
"""Versions, machine, threads and command of the run."""
HISTORY = "history.csv"
"""One row per epoch: losses, scores, learning rate. Holds nothing that differs between two equal runs."""
TIMES = "times.csv"
"""One row per epoch: wall-clock times, apart from the history so that the history can be compared bit for bit."""
LAST = "last.safetensors"
"""Checkpoint after the last finished epoch: everything that resuming needs."""
BEST = "best.safetensors"
"""Weights of the best epoch: what prediction loads."""
FINAL = "final.safetensors"
"""Weights after the last epoch, or of the model refitted on all samples."""
CRITERIA = "criteria.json"
"""The laboratory's success criteria with measured values."""
SEPARATION = "separation.json"
"""What separates and chooses beads, as fitted after training, and every setting tried with its scores."""
DIAGNOSIS = "diagnosis.json"
"""What the training noticed about itself: collapse, too few steps, divergence, gap, oscillation, NaN."""
CURVES = "curves.png"
"""Figure of the history."""
REPORT = "report"
"""Folder of the figures of an evaluation."""
REPORT_PAGE = "report.html"
"""One page that holds everything it shows: of a run, an evaluation, a prediction folder or a cross-validation."""
LOG = "log.txt"
"""The lines a run printed, with time stamps."""
LOCK = "lock.json"
"""There while a process works in the folder: which one, where, in which job. Its time is its last sign of life."""
EVENTS = "events.jsonl"
"""What the last training started from the viewer reported, one JSON event per line; the viewer reads it."""
STOP = "events.stop"
"""Made by the viewer to ask a process on Windows, where there are no signals, to stop; removed when it has."""
REFIT = "refit"
"""Subfolder in which the final model is trained on all samples."""

# --- Jobs of a batch system, in the folder that they work for ---------------------------------------------------------

JOBS = "jobs"
"""Folder of the jobs: `JOBS_TABLE`, one ``KIND.sh`` per kind of job, and one ``KIND-JOB.log`` per job."""
JOBS_TABLE = "jobs.csv"
"""One row per job that was sent: its id, kind, part and time."""
IMAGE_LIST = "images.json"
"""The images of a prediction that is sent as a job array, with the names of their results."""
TRAINING_SUMMARY = "training_summary.csv"
"""`train --model all`: one row per network, with the laboratory's columns."""
CROSSVAL = "crossval.csv"
"""`crossval`: one row per fold or left-out field."""
PREDICTIONS = "predictions"
"""`crossval`: folder of the predictions of what each fold left out."""

# --- A sweep folder (beside REPORT_PAGE and FAILURES) -----------------------------------------------------------------

SWEEP = "sweep.json"
"""What the sweep tries, and the configuration that its trials change; never changed."""
ROUNDS = "rounds"
"""Folder of the planned trials: ``1.json`` and, of TPE, one more for every round; never changed."""
TRIALS = "trials"
"""Folder of one run folder per trial, named by its number; each gets a `RESULT` at its end."""
RESULT = "result.json"
"""How a trial ended: its score, or why it failed."""
TRIALS_TABLE = "trials.csv"
"""One row per planned trial, the best first."""
IMPORTANCE = "importance.csv"
"""One row per parameter: its share in the differences of the scores."""
IMPORTANCE_FIGURE = "importance.png"
"""The same as a figure."""
PARALLEL_FIGURE = "parallel.png"
"""All trials as lines over their parameters, coloured by score."""
BEST_CONFIG = "best.yaml"
"""The configuration of the best trial, as `train --config` takes it."""

# --- A prediction folder (beside MASKS and LABELS) --------------------------------------------------------------------

OVERLAYS = "overlays"
"""Folder of PNGs: the image with the outlines of what was found."""
MAPS = "maps"
"""``predict --maps``: folder of what the network says of each plane, from which beads are chosen again without it."""
BEADS = "beads"
"""Folder of tables, CSV and Parquet: one row per bead, one file of each kind per image."""
COUNTS = "counts.csv"
"""One row per image: count, density, area, flags."""
CORRECTED = "corrected"
"""Folder of what a person corrected in the viewer: labels (TIFF) and bead table (CSV) of each image that was."""
REGIONS = "regions.csv"
"""Counts, areas and densities of the regions that were drawn in the viewer."""
FAILURES = "failures.csv"
"""One row per image that failed: path and reason. Absent when none failed."""
PREDICTION = "prediction.json"
"""What made the prediction: run, weights, configuration; and which source each name stands for."""
UNMERGED = "unmerged.jsonl"
"""There while `predict` works, and after it was killed: one line per image begun or done since the tables were written.
An element of a job array writes one of its own, with its number in the name."""

# --- An evaluation folder ---------------------------------------------------------------------------------------------

EVALUATION = "evaluation.json"
"""All scores: per image, per group, pooled."""
EVALUATION_IMAGES = "evaluation.csv"
"""One row per image."""
EVALUATION_GROUPS = "evaluation_groups.csv"
"""One row per group and density class."""

# --- A folder of densities --------------------------------------------------------------------------------------------

DENSITY = "density.json"
"""Densities, dilution series and manual counts: everything that the tables and figures show."""
DENSITY_IMAGES = "density.csv"
"""One row per image or plane."""
DENSITY_GROUPS = "density_groups.csv"
"""One row per group of images."""
DILUTION = "dilution.csv"
"""One row per dilution; absent where there is no series."""

# --- An audit folder --------------------------------------------------------------------------------------------------

AUDIT = "audit.json"
"""All findings about a data set, worst first."""
AUDIT_TABLE = "audit.csv"
"""One row per finding."""
AUDIT_PAGE = "audit.html"
"""The findings with a picture each."""
PROPOSALS = "proposals"
"""Folder of corrected masks that a person may accept."""
MEASUREMENTS = "measurements"
"""Folder of what was measured, by the hashes of the files, so that a repeated audit continues."""

# --- An analysis, and comparisons of datasets and runs ----------------------------------------------------------------

SUMMARY = "summary.json"
"""An analysed dataset in numbers, named as in the laboratory's analysis."""
IMAGE_STATS = "images.csv"
"""One row per analysed image."""
COMPARISON = "comparison.json"
"""Two datasets side by side, and the settings that should differ."""
COMPARISON_TEXT = "comparison.md"
"""Datasets or runs side by side, as tables to read."""
COMPARISON_TABLE = "comparison.csv"
"""Runs side by side: one row per run."""

# --- Writing ----------------------------------------------------------------------------------------------------------

TEMPORARY_PREFIX = ".beadseg-"
"""Unfinished files begin with this, and end with `TEMPORARY_SUFFIX` and the extension of the file they become."""
TEMPORARY_SUFFIX = "~tmp"

REPLACE_TRIES, REPLACE_SECONDS = 10, 2.0
"""On Windows replacing a file that another program has open is tried this often, within this many seconds."""

_REMEDIES = {
    errno.ENOSPC: "Free some space, or choose a folder on another disk.",
    errno.EDQUOT: "Your disk quota is used up: free some space, or choose another folder.",
    errno.EACCES: "Choose a folder that you may write in, or change its permissions.",
    errno.EPERM: "Choose a folder that you may write in, or change its permissions.",
    errno.EROFS: "The disk is mounted read-only: choose another folder.",
    errno.ENAMETOOLONG: "Choose a shorter path.",
}


def write_atomically(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    r"""Write a file so that it is there whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        Where the file goes; an existing one is replaced.
    content : bytes or str or callable
        What it holds (text as UTF-8, line feeds; bytes of a name that are not UTF-8 as ``\udcff``), or a function
        that writes it to the path it is given. That path has the extension of `path`.

    Raises
    ------
    MachineError
        The disk is full, or the place is not writable.
    """
    temporary = _temporary_beside(path)
    try:
        _fill(temporary, content)
        _flush(temporary)
        _replace(temporary, path)
    except OSError as error:
        raise machine_error(error, path) from error
    finally:
        with suppress(OSError):  # a broken disk must not hide what went wrong before
            temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def write_table(path: Path, text: str, seconds: float = 2.0) -> Path:
    """Write a table that a person may have open in another program, which on Windows keeps it from being replaced.

    Parameters
    ----------
    path : pathlib.Path
        Where the table goes; an existing one is replaced.
    text : str
        What it holds.
    seconds : float
        How long it is tried before the table is written beside, s.

    Returns
    -------
    pathlib.Path
        `path`, or where the table was written instead (see `beside`).

    Raises
    ------
    MachineError
        The disk is full, or the folder is not writable.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            write_atomically(path, text)
        except MachineError as error:
            in_the_way = isinstance(error.__cause__, PermissionError | IsADirectoryError)
            if not isinstance(error, HeldError) and not in_the_way:
                raise
        else:
            remove_file(beside(path))
            return path
        if time.monotonic() >= end:
            write_atomically(beside(path), text)  # fails too where the folder is what may not be written in
            return beside(path)
        time.sleep(0.1)


def write_together(texts: Mapping[Path, str | None]) -> None:
    """Write the files of one result, such as a document with its tables, as far as they can be replaced.

    What another program has open is written beside it; the rest is written all the same.

    Parameters
    ----------
    texts : mapping of path to str or None
        What each file holds; one of None is removed.

    Raises
    ------
    HeldError
        Files could not be replaced: said once for all of them, after everything was written.
    MachineError
        The disk is full, or the folder is not writable.
    """
    held = []
    for path, text in texts.items():
        if text is None:
            try:
                path.unlink(missing_ok=True)
            except OSError:
                held.append(path)
        elif write_table(path, text, seconds=0.0) != path:
            held.append(path)
    if held:
        names = ", ".join(path.name for path in held)
        aside = ", ".join(beside(path).name for path in held if texts[path] is not None)
        where = f" The new {'one is' if len(held) == 1 else 'ones are'} in {aside}." if aside else ""
        text = f"Cannot be replaced: {names}. Another program has it open, or it is protected.{where}"
        raise HeldError(text, held[0].parent, "Close it there, e.g. in Excel, and run the command again.")


def beside(path: Path) -> Path:
    """Return where a table is written that cannot be replaced: ``counts-new.csv`` beside ``counts.csv``."""
    return path.with_name(f"{path.stem}-new{path.suffix}")


def user_path(path: Path | str) -> Path:
    """Return a path that a person gave, with ``~`` as the home folder: the one place that knows what ``~`` means."""
    path = Path(path)
    try:
        return path.expanduser()
    except RuntimeError:  # no user of that name: a file that begins with ~
        return path


def real_path(path: Path) -> Path:
    """Return the absolute path that a path leads to, links and ``..`` followed; links in a circle stay as they are.

    `pathlib.Path.resolve` raises `RuntimeError` of such links, and nobody expects that of a question about a name.
    """
    return Path(os.path.realpath(path))


def _replace(temporary: Path, path: Path) -> None:
    """Move a file over another; raise `HeldError` where that other one alone is in the way, after a few tries."""
    tries = REPLACE_TRIES if os.name == "nt" else 1
    for rest in reversed(range(tries)):
        try:
            temporary.replace(path)
            return
        except (PermissionError, IsADirectoryError) as error:
            if rest:  # a virus scanner, an index or a viewer lets go of a file in a moment
                time.sleep(REPLACE_SECONDS / tries)
            elif path.is_dir():
                text = "Is a folder, where a file is to be written."
                raise MachineError(text, path, "Give the name of a file.") from error
            elif path.exists():  # beside it a file could be made: the folder is writable
                raise HeldError("Cannot be replaced: another program has it open, or it is protected.", path,
                                "Close it there, e.g. in Excel, and run the command again.") from error  # fmt: skip
            else:
                raise


def current(path: Path) -> Path:
    """Return the file in which `write_table` wrote last: `path`, or the one beside it."""
    aside = beside(path)
    return aside if aside.exists() else path


def refuse_unwritable(path: Path, *, file: bool = False) -> None:
    """Raise `MachineError` where a folder, or a file, could not be written: asked before any work is done for it."""
    if file and path.is_dir():
        raise MachineError("Is a folder, where a file is to be written.", path, "Give the name of a file.")
    folder = path.parent if file else path
    there = next(place for place in (folder, *folder.absolute().parents) if file or os.path.lexists(place))
    if not there.is_dir() and os.path.lexists(there):
        raise MachineError("A file is in the way of this folder.", path, "Choose another name or move the file.")
    try:
        remove_file(_temporary_beside(there / "any"))
    except MachineError as error:
        raise MachineError(error.what, path, error.remedy) from None


def ensure_folder(path: Path) -> Path:
    """Create a folder with its parents where it is missing, and return it.

    Raises
    ------
    MachineError
        It cannot be created, or a file of this name is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise MachineError(
            "A file is in the way of this folder.", path, "Choose another name or move the file."
        ) from None
    except OSError as error:
        raise machine_error(error, path) from error
    return path


def refuse_full(out: Path) -> None:
    """Raise `InputError` unless `out` is a new or empty folder; what a killed process left unfinished is nothing."""
    if out.is_dir() and not all(map(is_unfinished, out.iterdir())):
        raise InputError("The folder is not empty.", out, "Choose a new or empty folder; nothing was written.")
    if out.exists() and not out.is_dir():
        raise InputError("Is a file.", out, "Choose a new or empty folder; nothing was written.")


def remove_file(path: Path) -> None:
    """Delete a file, if it is there; raises `MachineError`."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise machine_error(error, path) from error


def printable(name: str | Path) -> str:
    r"""Return a name as text that every file and console takes: bytes that are not UTF-8 become ``\udcff``."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")


def unstaged(path: Path) -> Path:
    """Return where a file of a dataset really lies, where a job reads a copy of it in a node's scratch folder."""
    source, _, copy = os.environ.get(events.STAGED, "").partition("\n")
    return Path(source) / path.relative_to(copy) if copy and path.is_relative_to(copy) else path


def relative_path(path: Path, folder: Path) -> str:
    """Return the way from `folder` to `path` with slashes, for a document that moves together with what it names.

    Empty where there is none (another drive of Windows).
    """
    try:
        return printable(Path(os.path.relpath(real_path(path), real_path(folder))).as_posix())
    except ValueError:
        return ""


def find_again(stored: str, relative: str, folder: Path, dataset: Path | None = None) -> Path:
    """Return where a file or folder is that a document in `folder` names.

    Parameters
    ----------
    stored : str
        Its path when the document was written; a relative one is looked for from the working directory, from
        `folder` and from the folders above it.
    relative : str
        The way there from the document's folder, which still holds when both were moved together; may be empty.
    folder : pathlib.Path
        Where the document is now.
    dataset : pathlib.Path, optional
        A folder in which the last parts of `stored` are looked for first.

    Returns
    -------
    pathlib.Path
        The first place that exists; `stored` where none does.
    """
    path = Path(stored)
    moved = [] if dataset is None else [dataset.joinpath(*path.parts[-count:]) for count in (2, 3, 4, 5)]
    places = [*moved, path, *([folder / relative] if relative else [])]
    if not path.is_absolute():
        places += [above / path for above in (folder.resolve(), *folder.resolve().parents)]
    return next((place for place in places if stored and place.exists()), path)


def remove_unfinished(folder: Path) -> list[Path]:
    """Delete what a killed process left unfinished in `folder` (not below it); return what was deleted.

    Only for a folder that no other process writes in.
    """
    unfinished = sorted(path for path in folder.glob(f"{TEMPORARY_PREFIX}*") if is_unfinished(path))
    for path in unfinished:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return unfinished


def is_unfinished(path: Path) -> bool:
    """Tell whether `path` is a temporary file of `write_atomically`."""
    return path.name.startswith(TEMPORARY_PREFIX) and path.stem.endswith(TEMPORARY_SUFFIX)


def machine_error(error: OSError, path: Path) -> MachineError:
    """Return what the operating system refused at `path`, as an error with a remedy."""
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0, "Check the path and the disk.")
    if isinstance(error, FileNotFoundError):
        remedy = "Check that the folder exists."
    return MachineError(f"Cannot be written: {reason}.", path, remedy)


def read_error(error: OSError, path: Path) -> RunError:
    """Return why the operating system does not let a file be read, as an error with a remedy."""
    remedy = "Check its permissions." if isinstance(error, PermissionError) else "Check the path and the disk."
    return RunError(f"Cannot be read: {error.strerror or error}.", path, remedy)


def _temporary_beside(path: Path) -> Path:
    """Create an empty file of a unique name in the folder of `path`, with its extension.

    Not by `tempfile`, whose files are readable for their owner alone: colleagues share run folders.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY_SUFFIX}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise machine_error(error, path) from error
    return temporary


def _fill(path: Path, content: bytes | str | Callable[[Path], object]) -> None:
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8", errors="backslashreplace", newline="\n")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content(path)


def _flush(path: Path) -> None:
    """Wait until the content is on the disk, so that the rename cannot get there first."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """Wait until the rename is on the disk, where the system can (not on Windows, nor on some network disks)."""
    if os.name == "nt":
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise machine_error(error, folder) from error
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):
            raise machine_error(error, folder) from error
    finally:
        os.close(handle)
