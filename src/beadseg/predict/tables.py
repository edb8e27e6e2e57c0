"""What a prediction folder knows of its images: rows of counts, failures, and what each result was made with.

`PredictionIndex` is held by the one process that writes in the folder. What becomes of an image is one line of a
journal (``unmerged.jsonl``), written before its results are moved to their places: after a kill the next process
finishes the move and merges the journal, so that tables, results and ``prediction.json`` say the same of every image.
Nothing that is written per image grows with the number of images.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from beadseg import files
from beadseg.data.documents import (
    inner,
    is_plain_name,
    journal_of,
    journals_of,
    names_of,
    read_journal,
    read_results,
    read_sources,
    source_of,
    without_cut_off,
)
from beadseg.data.raw import is_zarr
from beadseg.data.scan import sha256_of, signature_of
from beadseg.errors import InputError
from beadseg.events import Event, OnEvent, StopFlag, ignore
from beadseg.files import ensure_folder, relative_path, write_atomically, write_table
from beadseg.predict.counts import CORRECTED_COLUMNS, COUNT_COLUMNS, LATER_COLUMNS, TEXT_COLUMNS
from beadseg.predict.results import publish, result_files, write_pages
from beadseg.runtime.locking import locked
from beadseg.text import csv_text, original_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from beadseg.data.image_io import LazyImage

FAILURE_COLUMNS = ("image", "error")
_NEEDED = ("image", "plane", "beads")
_SHARE_OF_TIME = 0.05
"""Most of the time that may go into writing tables while images are predicted."""


@dataclass(frozen=True)
class BatchResult:
    """What became of a batch.

    Attributes
    ----------
    counts : pandas.DataFrame
        One row per plane, as in ``counts.csv``.
    failures : pandas.DataFrame
        One row per image that failed, as in ``failures.csv``.
    skipped : int
        Images among them that had been predicted before.
    unwritten : tuple of pathlib.Path
        Tables that could not be replaced, since another program had them open.
    """

    counts: pd.DataFrame
    failures: pd.DataFrame
    skipped: int = 0
    unwritten: tuple[Path, ...] = ()

    @property
    def flagged(self) -> pd.DataFrame:
        """Rows of `counts` with an implausible result."""
        return self.counts[self.counts["flags"] != ""]


class PredictionIndex:
    """The images of a prediction folder by name: sources, rows, failures, and what results were made with.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder; its lock must be held.
    on_event : callable
        Told of tables that cannot be replaced.

    Raises
    ------
    InputError
        A table in the folder is damaged, or is not one of predictions.
    """

    def __init__(self, folder: Path, on_event: OnEvent = ignore) -> None:
        self.folder, self._on_event = folder, on_event
        document = _document(folder)
        self.sources: dict[str, str] = read_sources(folder)
        self.results: dict[str, dict[str, Any]] = read_results(folder)
        self.rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._columns = [*COUNT_COLUMNS]
        for row in self._read(files.COUNTS, _NEEDED):
            self.rows[row["image"]].append(row)
        self.failures: dict[str, str] = {
            source_of(Path(row["image"])): row["error"] for row in self._read(files.FAILURES, FAILURE_COLUMNS)
        }
        self.unwritten: list[Path] = []
        self._about = {key: value for key, value in document.items() if key not in ("images", "relative", "results")}
        self._known = dict(self.sources), inner(document, "relative")
        self._written, self._cost = float("-inf"), 0.0
        self.deaths: Counter[str] = Counter()
        self._recover()
        self.stage = folder / f"{files.TEMPORARY_PREFIX}stage-{secrets.token_hex(4)}{files.TEMPORARY_SUFFIX}"

    @property
    def _journal(self) -> Path:
        return journal_of(self.folder)

    def _read(self, file: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
        path = self.folder / file
        if not path.exists():
            return []
        table = texts_of(path, columns)
        if file == files.COUNTS:
            table = without_cut_off(table, self.folder)
            self._columns += [column for column in table.columns if column not in self._columns]
        rows: list[dict[str, Any]] = table.to_dict("records")  # type: ignore[assignment]
        return rows

    def _recover(self) -> None:
        """Finish what killed processes had begun to move, and take over what they, or elements, had not merged."""
        for journal in journals_of(self.folder):
            self._replay(journal)
        for left in self.folder.glob(f"{files.TEMPORARY_PREFIX}stage-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _replay(self, journal: Path) -> None:
        """Do what a journal says, and count the processes that ended in the middle of an image."""
        begun: Counter[str] = Counter()
        for entry in read_journal(journal):
            name = entry["image"]
            if not is_plain_name(name):
                continue
            if "begun" in entry:
                begun[name] = begun[name] + 1 if entry["begun"] else max(0, begun[name] - 1)
                continue
            if not entry.get("given_up"):
                begun[name] = 0
            self._take(entry)
        self.deaths += begun

    def begin(self, name: str) -> None:
        """Note that an image is begun; until its end is noted too, it counts as one that ended its process."""
        self._note({"image": name, "begun": True})

    def leave(self, name: str) -> None:
        """Note that an image was begun and left for a reason that is not the image's."""
        self._note({"image": name, "begun": False})

    def arrange(self, names: Iterable[str]) -> None:
        """Give the images of a batch its order, in the places that they have, whoever predicted them, and when."""
        names = list(names)
        sources = [self.sources[name] for name in names]
        tables: list[tuple[dict[str, Any], list[str]]] = [
            (self.sources, names), (self.rows, names), (self.results, names), (self.failures, sources)
        ]  # fmt: skip
        for table, keys in tables:
            own = [key for key in keys if key in table]
            mine, turn, items = set(own), iter(own), dict(table)
            table.clear()
            for key in items:
                place = next(turn) if key in mine else key
                table[place] = items[place]

    def know(self, names: Mapping[Path, str]) -> None:
        """Take over names that were given to images elsewhere."""
        self.sources |= {name: source_of(path) for path, name in names.items() if name not in self.sources}

    def names_of(self, images: Iterable[Path], sources: Mapping[Path, str] | None = None) -> dict[Path, str]:
        """Return the name of every image, each once; see `beadseg.data.documents`. New ones get their names."""
        images = list(images)
        self._follow(images)
        names = names_of(images, self.sources, sources)
        self.sources |= {name: (sources or {}).get(path) or source_of(path) for path, name in names.items()}
        return names

    def _follow(self, images: list[Path]) -> None:
        """Recognise images that were moved with the folder: gone from where they were, here with the same content."""
        known = set(self.sources.values())
        new = [path for path in images if source_of(path) not in known]
        lost: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for name, source in self.sources.items() if new else ():
            lost[Path(source).parts[-2:]].append(name)
        for path in new:
            source = source_of(path)
            for name in lost.get(Path(source).parts[-2:], ()):
                old = self.sources[name]
                if not Path(old).exists() and self._same_content(name, path):
                    self.sources[name] = source
                    self.failures.pop(old, None)
                    break

    def is_current(self, name: str, path: Path, made_with: str, kinds: Iterable[str]) -> bool:
        """Tell whether an image has results of its present file, made with the same model and options, and all wanted.

        Parameters
        ----------
        name : str
            The image's name.
        path : pathlib.Path
            Where it lies.
        made_with : str
            What model and options are known by; see `beadseg.predict.batch`.
        kinds : iterable of str
            Folders in which there must be results of it.
        """
        result = self.results.get(name)
        if not made_with or result is None or name not in self.rows or result.get("made_with") != made_with:
            return False
        if not set(kinds) <= set(result.get("kinds", ())) or not _are_whole(self.rows[name]):
            return False
        kinds = {files.LABELS, files.BEADS} if result.get("in_blocks") else set(kinds)
        there = result_files(self.folder, name, self._planes(name))
        if not kinds <= {file.parent.name for file in there}:
            return False
        return self._same_content(name, path)

    def _same_content(self, name: str, path: Path) -> bool:
        result, signature = self.results.get(name, {}), signature_of(path)
        if not signature or result.get("size") != signature[0]:
            return False
        if result.get("mtime_ns") == signature[1]:
            return True
        return bool(result.get("sha256")) and not path.is_dir() and sha256_of(path) == result["sha256"]

    def _planes(self, name: str) -> list[str]:
        return [str(row.get("plane", "")) for row in self.rows.get(name, ())]

    def done(self, name: str, rows: list[dict[str, Any]], result: dict[str, Any], stage: Path | None = None) -> None:
        """Take over the results of an image from `stage`; what it had before is replaced by then, and not earlier.

        Parameters
        ----------
        name : str
            The image's name.
        rows : list of dict
            Its rows of ``counts.csv``.
        result : dict
            What the results were made of and with; see `result_of`.
        stage : pathlib.Path, optional
            Where they lie, a folder in the prediction folder; `stage` of the index when not given.

        Raises
        ------
        MachineError
            A result cannot be replaced, or the folder cannot be written to.
        """
        stage = stage or self.stage
        new = sorted(path.relative_to(stage).as_posix() for path in stage.glob("*/*"))
        entry = {"image": name, "source": self.sources[name], "rows": rows, "result": result,
                 "files": new, "stage": stage.name}  # fmt: skip
        known = name in self.rows or self.sources[name] in self.failures
        self._note(entry)
        self._take(entry)
        if known or not self._append(rows):
            self._write_tables_soon()

    def failed(self, name: str, error: str, *, keep: bool = False, given_up: bool = False) -> None:
        """Note that an image failed: it then has no results. With `keep` those that it had before stay valid.

        One that is `given_up` is not tried by the job that merges either.
        """
        if keep:
            self.leave(name)
        else:
            entry: dict[str, Any] = {"image": name, "source": self.sources[name], "error": error}
            entry |= {"given_up": True} if given_up else {}
            self._note(entry)
            self._take(entry)
            self._write_tables_soon()

    def _note(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, default=lambda number: number.item())
        path = self._journal
        try:
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(f"{line}\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise files.machine_error(error, path) from error

    def _take(self, entry: dict[str, Any]) -> None:
        """Do what a line of the journal says; doing it again changes nothing."""
        name, source = entry["image"], str(entry.get("source", ""))
        self.sources[name] = source
        before = result_files(self.folder, name, self._planes(name))
        if "error" in entry:
            self.failures[source] = entry["error"]
            self.rows.pop(name, None)
            self.results.pop(name, None)
            new = []
        else:
            publish(self.folder / Path(str(entry["stage"])).name, self.folder, entry["files"])
            self.failures.pop(source, None)
            rows = self._with_corrections(name, entry["rows"], entry["result"])
            self.rows[name], self.results[name] = rows, entry["result"]
            new = [self.folder / file for file in entry["files"]]
        for path in set(before) - set(new):
            with contextlib.suppress(PermissionError):  # open in another program; nothing refers to it any more
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def _with_corrections(self, name: str, rows: list[dict[str, Any]], result: dict[str, Any]) -> list[dict[str, Any]]:
        """Return new rows of an image with what a person corrected in it before, if its file is still the same."""
        digest = self.results.get(name, {}).get("sha256")
        if not digest or digest != result.get("sha256"):
            return rows
        before = {str(row["plane"]): row for row in self.rows.get(name, ()) if row.get("corrected", "") != ""}
        return [
            row | {key: before[row["plane"]][key] for key in CORRECTED_COLUMNS if key in before[row["plane"]]}
            if row["plane"] in before
            else row
            for row in rows
        ]

    def correct(self, name: str, cells: Mapping[str, Mapping[str, Any]]) -> None:
        """Take over what a person corrected in an image: its `CORRECTED_COLUMNS`, by plane; none of other planes."""
        self._columns += [column for column in CORRECTED_COLUMNS if column not in self._columns]
        none = dict.fromkeys(CORRECTED_COLUMNS, "")
        self.rows[name] = [row | none | dict(cells.get(str(row["plane"]), {})) for row in self.rows[name]]

    def _append(self, rows: list[dict[str, Any]]) -> bool:
        """Add the rows of an image that is new to ``counts.csv``; return False where that is not possible."""
        if self.unwritten:
            return False
        text = csv_text(_as_they_are(rows, self._columns))
        path = self.folder / files.COUNTS
        try:
            before = path.stat().st_size
            try:
                with path.open("ab") as file:
                    file.write(text.split("\n", 1)[1].encode("utf-8", "backslashreplace"))
            except OSError:
                os.truncate(path, before)  # no half row where the disk is full
                return False
        except OSError:
            return False
        return True

    def _write_tables_soon(self) -> None:
        """Write the tables, if that takes little of the time that goes by; the journal has what they lack."""
        if time.monotonic() - self._written > self._cost / _SHARE_OF_TIME:
            self.write_tables(seconds=0.0)

    def write_tables(self, seconds: float = 2.0) -> None:
        """Write ``counts.csv`` and ``failures.csv``.

        Parameters
        ----------
        seconds : float
            How long a table is waited for that another program has open, s; then it is written beside, and said.
        """
        began = time.monotonic()
        rows = [row for rows in self.rows.values() for row in rows]
        counts = _as_they_are(rows, self._columns)
        failures = pd.DataFrame(list(self.failures.items()), columns=list(FAILURE_COLUMNS))
        texts = {files.COUNTS: csv_text(counts)} | ({files.FAILURES: csv_text(failures)} if len(failures) else {})
        unwritten = []
        for file, text in texts.items():
            path = self.folder / file
            if write_table(path, text, seconds) != path:
                unwritten.append(path)
                self._warn_unwritten(path)
        if not len(failures):
            files.remove_file(self.folder / files.FAILURES)
        self.unwritten = unwritten
        self._written = time.monotonic()
        self._cost = self._written - began

    def _warn_unwritten(self, path: Path) -> None:
        if path in self.unwritten:
            return
        text = (f"{path}: Cannot be replaced; it is open in another program, or you may not change it. The table is in "
                f"{files.beside(path).name}. Close the program and run the command again.")  # fmt: skip
        self._on_event(Event("warning", text, "warning", {"path": str(path)}))

    def write_about(self, about: dict[str, Any]) -> None:
        """Write ``prediction.json``: what predicts, where images were read from, and what results were made with."""
        self._about = about
        before, ways = self._known
        relative = {
            name: ways[name]
            if name in ways and before.get(name) == source
            else relative_path(Path(source), self.folder)
            for name, source in self.sources.items()
        }
        objects = about.get("options", {}).get("objects", {}) if isinstance(about.get("options"), dict) else {}
        used = {str(result.get("made_with", "")) for result in self.results.values()}
        chosen = {key: value for key, value in inner(_document(self.folder), "chosen").items() if key in used}
        if about.get("made_with"):
            chosen[about["made_with"]] = objects
        document = {**about, "chosen": chosen, "images": self.sources, "relative": relative, "results": self.results}
        write_atomically(self.folder / files.PREDICTION, json.dumps(document, indent=1))

    def close(self) -> None:
        """Write everything, and remove the journal where nothing is left in it alone."""
        shutil.rmtree(self.stage, ignore_errors=True)
        self.write_tables()
        self.write_about(self._about)
        if not self.unwritten:
            for journal in journals_of(self.folder):
                files.remove_file(journal)

    def result_of(self, names: Mapping[Path, str], failures: Mapping[str, str], skipped: int = 0) -> BatchResult:
        """Return what became of a batch: the rows of these images, and why some failed (by source)."""
        rows = [_typed(row) for name in names.values() if name in self.rows for row in self.rows[name]]
        return BatchResult(
            pd.DataFrame(rows, columns=list(COUNT_COLUMNS)),
            pd.DataFrame(list(failures.items()), columns=list(FAILURE_COLUMNS)),
            skipped,
            tuple(self.unwritten),
        )

    def copies(self, names: Iterable[str]) -> list[list[str]]:
        """Return the names of images with the very same file content, as far as one of them is in `names`."""
        mine, alike = set(names), defaultdict(list)
        for name in self.rows:
            if sha256 := self.results.get(name, {}).get("sha256"):
                alike[sha256].append(name)
        return [group for group in alike.values() if len(group) > 1 and mine & set(group)]

    def gone(self, names: Iterable[str]) -> list[str]:
        """Return the images besides `names` that have rows, though their files are not where they were read from."""
        mine = set(names)
        sources = ((name, Path(self.sources.get(name, ""))) for name in self.rows if name not in mine)
        return [name for name, source in sources if source.is_absolute() and not source.exists()]

    def other_options(self, made_with: str, names: Iterable[str]) -> list[str]:
        """Return the images besides `names` whose results were made with another model or other options."""
        mine = set(names)
        return [name for name, result in self.results.items() if name in self.rows and name not in mine
                and result.get("made_with") and result["made_with"] != made_with]  # fmt: skip


class ElementIndex(PredictionIndex):
    """What an element of a job array writes: results, and a journal of its own. The job that merges writes the tables.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder; no lock is needed, since no other element has the same images.
    number : int
        Number of the element, from 0.
    on_event : callable
        As of `PredictionIndex`.
    """

    def __init__(self, folder: Path, number: int, on_event: OnEvent = ignore) -> None:
        self._number = number
        super().__init__(folder, on_event)

    @property
    def _journal(self) -> Path:
        return journal_of(self.folder, self._number)

    def _recover(self) -> None:
        self._replay(self._journal)

    def _append(self, rows: list[dict[str, Any]]) -> bool:
        return True

    def write_tables(self, seconds: float = 2.0) -> None:
        """Write nothing: the tables are written by the job that merges."""

    def write_about(self, about: dict[str, Any]) -> None:
        """Write ``prediction.json`` where there is none yet, so that no other run predicts into the folder."""
        if not (self.folder / files.PREDICTION).exists():
            super().write_about(about)

    def close(self) -> None:
        """Remove what is not complete."""
        shutil.rmtree(self.stage, ignore_errors=True)


def write_corrections(
    folder: Path,
    name: str,
    image: LazyImage,
    planes: Mapping[str, tuple[NDArray[np.uint32], pd.DataFrame, dict[str, Any]]],
    others: Callable[[str], NDArray[np.uint32]],
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> None:
    """Write what a person corrected in an image beside its automatic result: labels, bead table, cells of the counts.

    Parameters
    ----------
    folder : pathlib.Path
        A prediction folder that has the image.
    name : str
        Its name there.
    image : LazyImage
        The image.
    planes : mapping
        By name of a plane that was corrected: labels (Y, X), bead table, and `corrected_cells`. None were: what an
        earlier call wrote is removed.
    others : callable
        Returns the labels of a plane by its name where it was not corrected.
    on_event, stop
        Progress, and the flag that ends the wait for another process that writes in the folder.

    Raises
    ------
    MachineError
        The folder cannot be written to.
    """
    kept = folder / files.CORRECTED
    with locked(folder, on_event, stop):
        if planes:
            pages = (planes[plane][0] if plane in planes else others(plane) for plane in image.names)
            write_atomically(
                ensure_folder(kept) / f"{name}.tif", lambda file: write_pages(file, pages, image, np.uint32)
            )
            tables = [table.assign(plane=plane) if plane else table for plane, (_, table, _) in planes.items()]
            write_atomically(kept / f"{name}.csv", csv_text(pd.concat(tables, ignore_index=True), "%.6g"))
        index = PredictionIndex(folder, on_event)
        index.correct(name, {plane: cells for plane, (_, _, cells) in planes.items()})
        index.close()
        if not planes:
            for ending in (".tif", ".csv"):
                files.remove_file(kept / f"{name}{ending}")


def _as_they_are(rows: list[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    """Return rows as a table of cells as they are: a whole number stays one beside cells that are empty."""
    return pd.DataFrame(rows, columns=list(columns), dtype=object).fillna("")


def described(path: Path, made_with: str, kinds: Iterable[str]) -> dict[str, Any]:
    """Return what a result is known by: size, time and SHA-256 of its file as it is now, and what it is made with.

    Of an OME-Zarr folder no SHA-256 is computed, since all its files would have to be read for it.
    """
    signature = signature_of(path)
    size, time_ns = signature or (None, None)
    sha256 = sha256_of(path) if signature and not is_zarr(path) else ""
    return {"size": size, "mtime_ns": time_ns, "sha256": sha256, "made_with": made_with, "kinds": sorted(kinds)}


def _document(folder: Path) -> dict[str, Any]:
    path = folder / files.PREDICTION
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return document if isinstance(document, dict) else {}


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of counts with numbers as numbers, also when it was read from a table."""
    return {
        name: value if name in TEXT_COLUMNS or not isinstance(value, str) else _number(value)
        for name, value in row.items()
    }


def _are_whole(rows: list[dict[str, Any]]) -> bool:
    """Tell whether an image's rows hold what belongs there, one per plane: people edit tables, and cells get lost."""
    if len({str(row.get("plane", "")) for row in rows}) < len(rows):
        return False
    for row in (_typed(row) for row in rows):
        numbers = [row.get(name, "") for name in COUNT_COLUMNS if name not in TEXT_COLUMNS]
        whole = isinstance(row["beads"], int | float) and row["beads"] >= 0 and float(row["beads"]).is_integer()
        if not whole or any(isinstance(number, str) and number for number in numbers):
            return False
    return True


def _number(text: str) -> Any:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


def texts_of(
    path: Path, columns: tuple[str, ...], remedy: str = "Move it away, or give a new --out folder."
) -> pd.DataFrame:
    """Return one of a prediction folder's own tables, every cell as text.

    Raises
    ------
    InputError
        It is missing or no table, or lacks one of `columns` that tables of all versions have.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"Cannot be read ({detail}).", path, remedy) from None
    for name in set(columns) & set(LATER_COLUMNS) - set(table.columns):
        table[name] = ""
    if not set(columns) <= set(table.columns):
        raise InputError("Is not a table of predictions.", path, remedy)
    return original_cells(table)
