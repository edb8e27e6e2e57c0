"""The jobs of a prediction: an array of chunks of images, and a job that does what is missing and writes the tables.

The batch system shares out the work: no process waits for another one. Each element writes results and a journal of its
own (`beadseg.predict.tables`); the job that merges begins when all elements have ended, however they ended. It is a
plain prediction of all images, which takes over what is in the journals.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.cluster.job import MERGE, Array
from beadseg.data.documents import names_of, read_document, read_failures, read_results, read_sources, read_unmerged
from beadseg.errors import RunError
from beadseg.files import ensure_folder, write_atomically
from beadseg.runtime.locking import locked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.cluster.job import JobScript

FEWEST, MOST = 20, 50
"""Images of an element: so few share late and unequal work, so many make loading the model cheap."""
MOST_ELEMENTS = 1000
"""Batch systems take no larger arrays without being set up for it (Slurm's default of ``MaxArraySize`` is 1001)."""
RESTARTS = 20
"""The program of a job is begun again when it was killed, at most so often."""


def chunk_of(images: int, running: int) -> int:
    """Return how many images each element predicts.

    Parameters
    ----------
    images : int
        How many there are.
    running : int
        Elements that run at a time. Few images are divided among them; of many there are about four chunks for each.
    """
    each = -(-images // running)
    if each > FEWEST:
        each = min(MOST, max(FEWEST, -(-images // (4 * running))))
    return max(each, -(-images // MOST_ELEMENTS))


def prediction_jobs(job: JobScript, images: int, running: int, times: int) -> list[JobScript]:
    """Return the jobs of a prediction in the order in which they run: the array, and the one that merges.

    Parameters
    ----------
    job : JobScript
        What the job that merges does.
    images : int
        How many there are.
    running : int
        Maximum number of elements at a time.
    times : int
        Maximum number of jobs, one after the other, that merge.
    """
    chunk = chunk_of(images, running)
    size = -(-images // chunk)
    array = Array(size, running if running < size else None)
    element = replace(job, words=(*job.words, "--chunk", str(chunk)), array=array, restarts=RESTARTS)
    return [element, replace(job, kind=MERGE, jobs=times, restarts=RESTARTS)]


@dataclass(frozen=True)
class ImageList:
    """The images of a prediction in many jobs, and the names of their results; frozen when the jobs are sent.

    Attributes
    ----------
    names : dict of path to str
        The name of every image, by its absolute path, in order.
    """

    names: dict[Path, str]

    @classmethod
    def read(cls, path: Path) -> ImageList:
        """Return what was frozen; raise `RunError` where the file is missing or damaged."""
        rows = read_document(path, "images")["images"]
        try:
            return cls({Path(row["path"]): str(row["name"]) for row in rows})
        except (TypeError, KeyError):
            raise RunError("Is not a list of images.", path, "Submit the prediction again.") from None

    def chunk(self, size: int, element: int) -> list[Path]:
        """Return the images of an element."""
        return [*self.names][size * element : size * (element + 1)]

    def outcomes(self, folder: Path) -> dict[str, str]:
        """Return the images that have an outcome by name: why they failed, ``""`` for those with results."""
        sources, failures = read_sources(folder), read_failures(folder)
        outcomes = dict.fromkeys(read_results(folder), "")
        outcomes |= {name: failures[source] for name, source in sources.items() if source in failures}
        outcomes |= {entry["image"]: str(entry.get("error", "")) for entry in read_unmerged(folder)}
        return {name: outcomes[name] for name in self.names.values() if name in outcomes}


def list_path(folder: Path) -> Path:
    """Return where the list of images of a prediction folder lies."""
    return folder / files.JOBS / files.IMAGE_LIST


def freeze(folder: Path, images: Sequence[Path], *, again: bool = False) -> None:
    """Write which images the jobs of a prediction folder predict, and under which names.

    What killed processes have left unmerged is merged before.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder.
    images : sequence of path
        See `beadseg.predict.batch.find_images`.
    again : bool
        Predict also what has results: they stay until their new ones are complete.

    Raises
    ------
    BusyError
        A process predicts into the folder.
    """
    from beadseg.predict.tables import PredictionIndex

    with locked(ensure_folder(folder)):
        names = names_of([path.absolute() for path in images], read_sources(folder))
        if (folder / files.PREDICTION).exists():
            index = PredictionIndex(folder)
            for name in names.values() if again else ():
                index.results.get(name, {})["made_with"] = ""  # never what is wanted
            index.close()
        rows = [{"name": name, "path": str(path)} for path, name in names.items()]
        document = {"schema_version": 1, "images": rows}
        ensure_folder(list_path(folder).parent)
        write_atomically(list_path(folder), json.dumps(document, indent=1))
