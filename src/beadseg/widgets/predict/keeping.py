"""Keep what was chosen: as the batch engine writes it, or as a draft annotation of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beadseg.annotation.draft import draft_dataset
from beadseg.annotation.review import Review, write_table
from beadseg.errors import BeadsegError, InputError
from beadseg.events import Event
from beadseg.predict.batch import predict_folder
from beadseg.predict.stored import StoredMaps
from beadseg.report.prediction_page import write_prediction_page

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig
    from beadseg.events import OnEvent, StopFlag
    from beadseg.predict.separation import Separation
    from beadseg.widgets.predict.session import Session


def save(session: Session, objects: ObjectConfig, out: Path, on_event: OnEvent, stop: StopFlag) -> str:
    """Write a prediction folder, by the batch engine and with everything that it writes; return what was done."""
    stored = StoredMaps(session.stored.folder, session.name, objects)
    result = predict_folder(
        stored,
        [session.path],
        out,
        source=stored.source,
        model_sha256=stored.model_sha256,
        sources=None if session.source is None else {session.path: session.source},
        on_event=on_event,
        stop=stop,
    )
    if len(result.failures):
        raise InputError(str(result.failures["error"].iloc[0]))
    try:
        write_prediction_page(out, on_event, stop)
    except BeadsegError as error:  # the results are there, only the page to look at is not
        on_event(Event("warning", f"The page of the results could not be written: {error}", "warning"))
    beads = int(result.counts["beads"].sum())
    return f"Saved {beads:,} beads of {session.name} in {out}."


def draft(session: Session, objects: ObjectConfig, dataset: Path, on_event: OnEvent, stop: StopFlag) -> str:
    """Add the image with its labels to a dataset as a draft that waits for a person; return what was done."""
    chosen = _Chosen(objects, session.separations, session.stored.source)
    result = draft_dataset([session.path], dataset, chosen, on_event=on_event, stop=stop)
    if result.failures:
        raise InputError(next(iter(result.failures.values())))
    if result.skipped:
        text = f"{session.name} has an annotation there already, which is never replaced."
        raise InputError(text, dataset, "Change that annotation in Review, or choose another dataset.")
    write_table(Review.open(dataset))
    beads = sum(result.beads.values())
    return f"{beads:,} beads of {session.name} are a draft in {dataset}. Accept or correct it in Review."


@dataclass
class _Chosen:
    """An annotator that gives, plane by plane in their order, what was chosen in the viewer."""

    objects: ObjectConfig
    separations: list[Separation]
    source: str

    def __post_init__(self) -> None:
        self._rest: Iterator[Separation] = iter(self.separations)

    @property
    def description(self) -> str:
        """What makes the labels."""
        return f"draft in the viewer by the run {self.source}, threshold {self.objects.threshold:g}"

    def annotate(self, plane: NDArray[np.generic], stop: StopFlag | None = None) -> NDArray[np.uint32]:
        """Return the labels (Y, X) of the next plane."""
        return next(self._rest).chosen(self.objects)
