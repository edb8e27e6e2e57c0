"""From the options of `beadseg-batch draft` to what makes the drafts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from beadseg.annotation.draft import Annotator, ClassicalAnnotator, RunAnnotator, measure_look
from beadseg.annotation.draft.look import Polarity
from beadseg.cli.inputs import use_threads
from beadseg.data.image_io import read_image
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, log
from beadseg.predict.segmenter import Segmenter

MEASURED = 12
"""So many images, spread over all that are given, tell what the beads look like."""


def choose_annotator(
    paths: Sequence[Path],
    run: Path | None,
    diameter: float | None,
    polarity: Any,
    device: str,
    threads: int | None,
    on_event: OnEvent,
    stop: StopFlag,
) -> Annotator:
    """Return the run's network, or the classical detector with what it measured on some of the images.

    Raises
    ------
    InputError
        The options contradict each other, none of the images can be read, or nothing in them looks like beads.
    """
    if run is not None:
        if diameter is not None or polarity is not None:
            raise InputError("--diameter and --polarity are for the classical detector.", "draft", "Leave them out.")
        use_threads(threads)
        return RunAnnotator(Segmenter.load(run, device=device), str(run.resolve()))
    if polarity not in (None, *get_args(Polarity)):
        raise InputError(f"{polarity!r} is not a polarity.", "--polarity", "Give dark or bright.")
    look = measure_look(_some(paths), polarity=polarity, diameter_px=diameter, on_event=on_event, stop=stop)
    found = f"{look.polarity} beads of about {look.diameter_px:.1f} px"
    on_event(log(f"Looking for {found}.", diameter_px=look.diameter_px, polarity=look.polarity))
    return ClassicalAnnotator(look)


def _some(paths: Sequence[Path]) -> list[NDArray[np.generic]]:
    """Return one plane of each of some images; those that cannot be read are named when they are drafted."""
    planes: list[NDArray[np.generic]] = []
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(len(paths), MEASURED)).round().astype(int))
    error: InputError | None = None
    for index in chosen:
        try:
            planes.append(next(plane for _, plane in read_image(paths[index]).planes()))
        except InputError as problem:
            error = problem
    if not planes and error is not None:
        raise error
    return planes
