"""Keep what was chosen: as the batch engine writes it, or as a draft annotation of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from beadseg import files
from beadseg.annotation.draft import draft_dataset
from beadseg.annotation.review import Review, write_table
from beadseg.errors import BeadsegError, InputError
from beadseg.events import Event, track
from beadseg.files import write_atomically
from beadseg.predict.batch import predict_folder
from beadseg.predict.prediction import StoredMaps
from beadseg.predict.tables import texts_of, write_corrections
from beadseg.report.prediction_page import write_prediction_page
from beadseg.text import csv_text, plural
from beadseg.widgets.common import temporary_folder
from beadseg.widgets.predict.session import region_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from beadseg.annotation.draft import DraftResult
    from beadseg.config.predict import ObjectConfig
    from beadseg.events import OnEvent, StopFlag
    from beadseg.widgets.predict.result_tables import Region
    from beadseg.widgets.predict.session import Session

REGION_COLUMNS = (
    "image", "plane", "region", "shape", "beads", "beads_low", "beads_high", "area_px", "area_mm2", "beads_per_mpx",
    "beads_per_mm2", "corrected", "corrected_per_mpx", "corrected_per_mm2",
)  # fmt: skip
"""Columns of ``regions.csv``."""
NOT_DATASETS = (files.PREDICTION, files.CONFIG, files.BEST)
"""What tells a folder of results or a run."""


def save(
    chosen: Sequence[tuple[Session, ObjectConfig, Region | None]], out: Path, on_event: OnEvent, stop: StopFlag
) -> str:
    """Write a prediction folder, by the batch engine and with everything that it writes; return what was done.

    Parameters
    ----------
    chosen : sequence of (Session, ObjectConfig, Region or None)
        Images, what an object is in each, and the shapes that are counted in, whose counts go to ``regions.csv``.
    out : pathlib.Path
        The folder.
    on_event, stop
        Progress, and the flag that ends it between two images.
    """
    if (out / files.IMAGES).is_dir():
        raise InputError("Is a dataset.", out, "Choose another folder for results, or press Add to dataset as draft.")
    told = [_save_image(*each, out, on_event, stop) for each in track(chosen, "saving", len(chosen), on_event, stop)]
    try:
        write_prediction_page(out, on_event, stop)
    except BeadsegError as error:  # the results are there, only the page to look at is not
        on_event(Event("warning", f"The page of the results could not be written: {error}", "warning"))
    beads, corrected = sum(beads for beads, _ in told), [count for _, count in told if count is not None]
    what = chosen[0][0].name if len(chosen) == 1 else plural(len(chosen), "image")
    text = f"Saved {plural(beads, 'bead')} of {what} in {out}"
    if not corrected:
        return f"{text}."
    of = f" of {plural(len(corrected), 'image')}" if len(chosen) > 1 else ""
    return f"{text}, and the corrected count{of}, {sum(corrected):,}."


def _save_image(
    session: Session, objects: ObjectConfig, region: Region | None, out: Path, on_event: OnEvent, stop: StopFlag
) -> tuple[int, int | None]:
    """Write the results of one image; return its automatic count and the corrected one, None where nothing was."""
    state = session.state
    stored = StoredMaps(session.stored.folder, session.name, objects)
    with temporary_folder() as folder:
        path = session.file(Path(folder), stop)
        source = session.source if path == session.path else f"{session.path}, with another pixel size"
        result = predict_folder(
            stored,
            [path],
            out,
            source=stored.source,
            model_sha256=stored.model_sha256,
            sources=None if source is None else {path: source},
            on_event=on_event,
            stop=stop,
        )
    if len(result.failures):
        raise InputError(str(result.failures["error"].iloc[0]))
    name = str(result.counts["image"].iloc[0])
    corrected = _save_corrections(session, name, result.counts, out, on_event, stop)
    if region is not None:
        _save_region(session, name, region, out, stop)
    session.saved = state
    return int(result.counts["beads"].sum()), corrected


def _save_corrections(
    session: Session, name: str, counts: pd.DataFrame, out: Path, on_event: OnEvent, stop: StopFlag
) -> int | None:
    """Write what a person corrected beside the automatic result; return the corrected count, None where nothing was."""
    times = {number: each.when for number, each in session.corrections.items()}
    planes, numbers = session.corrected_planes(), {plane: number for number, plane in enumerate(session.planes)}
    if planes or (out / files.CORRECTED / f"{name}.tif").exists():
        write_corrections(
            out, name, session.image, planes, lambda plane: session.labels(numbers[plane]), on_event, stop
        )
    for number, when in times.items():
        session.corrections[number].forget_saved(when)
    automatic = dict(zip(counts["plane"].astype(str), counts["beads"], strict=True))
    cells = {plane: parts[2]["corrected"] for plane, parts in planes.items()}
    return sum(int(beads) for beads in (automatic | cells).values()) if planes else None


def _save_region(session: Session, name: str, region: Region, out: Path, stop: StopFlag) -> None:
    """Write the counts in a region, of every plane that it is on; rows of other images and regions stay."""
    planes = [number for number in range(len(session.planes)) if region.on(session.plane_index(number))]
    rows = [
        row | {"image": name}
        for number in planes
        for row in region_rows(session, region, session.measure(number, stop))
    ]
    table, path = pd.DataFrame(rows, columns=list(REGION_COLUMNS)), out / files.REGIONS
    if path.exists():
        before = texts_of(path, ("image", "region"))
        others = (before["image"] != name) | (before["region"] != region.name)
        table = pd.concat([before[others], table], ignore_index=True).fillna("")[list(REGION_COLUMNS)]
    write_atomically(path, csv_text(table))


def draft(session: Session, objects: ObjectConfig, dataset: Path, on_event: OnEvent, stop: StopFlag) -> str:
    """Add the image with its labels to a dataset as a draft that waits for a person; return what was done."""
    result = _drafted(session, objects, dataset, on_event, stop)
    if result.skipped:
        text = f"{session.name} has an annotation there already, which is never replaced."
        raise InputError(text, dataset, "Change that annotation in Review, or choose another dataset.")
    write_table(Review.open(dataset))
    beads = sum(result.beads.values())
    are = "is" if beads == 1 else "are"
    return f"{plural(beads, 'bead')} of {session.name} {are} a draft in {dataset}. Accept or correct it in Review."


def accept(session: Session, objects: ObjectConfig, dataset: Path, on_event: OnEvent, stop: StopFlag) -> str:
    """Put the image with its labels among the accepted samples of a dataset; return what was done.

    An image that is there already gets these labels as its corrected ones: nothing is overwritten.
    """
    result = _drafted(session, objects, dataset, on_event, stop)
    review = Review.open(dataset)
    why = _Chosen(objects, session).description
    for name in result.skipped:
        planes = [_Chosen.plane(session, objects, number) for number in range(len(session.planes))]
        labels = np.stack(planes).reshape(*session.image.stack_shape, *session.image.size)
        review.correct(name, labels, why=why, kind="labels")
    review.decide(list(result.beads), "accepted", why=why)
    write_table(review)
    counts = review.counts()
    total = counts["accepted"] + counts["corrected"]
    return f"{session.name} is among the accepted images of {dataset}: {plural(total, 'image')} to train on."


def _drafted(session: Session, objects: ObjectConfig, dataset: Path, on_event: OnEvent, stop: StopFlag) -> DraftResult:
    """Write image and labels into a dataset, where it has no annotation of it; raises where it is none."""
    results = next((name for name in NOT_DATASETS if (dataset / name).exists()), None)
    if results is not None:
        what = "a run folder" if results != files.PREDICTION else "a folder of results"
        raise InputError(f"Is {what}, not a dataset.", dataset, "Choose a dataset, or a new folder for one.")
    chosen = _Chosen(objects, session)
    result = draft_dataset([session.path], dataset, chosen, on_event=on_event, stop=stop)
    if result.failures:
        raise InputError(next(iter(result.failures.values())))
    return result


@dataclass
class _Chosen:
    """An annotator that gives, plane by plane in their order, what was chosen and corrected in the viewer."""

    objects: ObjectConfig
    session: Session
    doubt: str = ""

    def __post_init__(self) -> None:
        self._rest: Iterator[int] = iter(range(len(self.session.planes)))

    @property
    def description(self) -> str:
        """What makes the labels."""
        corrected = ", corrected by a person" if self.session.corrected else ""
        source = self.session.stored.source
        return f"draft in the viewer by the run {source}, threshold {self.objects.threshold:g}{corrected}"

    def annotate(self, plane: NDArray[np.generic], stop: StopFlag | None = None) -> NDArray[np.uint32]:
        """Return the labels (Y, X) of the next plane."""
        return self.plane(self.session, self.objects, next(self._rest))

    @staticmethod
    def plane(session: Session, objects: ObjectConfig, number: int) -> NDArray[np.uint32]:
        """Return the labels (Y, X) of a plane, as corrected or chosen."""
        correction = session.corrections.get(number)
        return session.separations[number].chosen(objects) if correction is None else correction.labels.copy()
