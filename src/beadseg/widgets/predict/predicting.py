"""From a layer and a run to a session: the batch engine predicts it in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.data.documents import read_table
from beadseg.errors import RunError
from beadseg.events import progress
from beadseg.predict.stored import StoredMaps
from beadseg.widgets.common import temporary_folder
from beadseg.widgets.predict.command import run_command
from beadseg.widgets.predict.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.events import OnEvent, StopFlag
    from beadseg.widgets.predict.layer_image import LayerImage


def predict_layer(image: LayerImage, run: Path, options: Sequence[str], on_event: OnEvent, stop: StopFlag) -> Session:
    """Predict a layer with a run; `options` are those of `beadseg-batch predict`.

    Raises
    ------
    RunError
        There is no model in the run, or it does not fit.
    ImageError
        The image cannot be predicted.
    MachineError
        The process failed, or the disk is full.
    Cancelled
        `stop` was set; nothing is left.
    """
    folder = temporary_folder()
    try:
        on_event(progress("reading the image", 0, 1))
        path = image.write(Path(folder.name), stop)
        out = Path(folder.name) / "prediction"
        words = ["predict", str(run), str(path), "--out", str(out), "--maps", "--no-overlays", "--no-report", *options]
        run_command(words, Path(folder.name) / "events", on_event, stop, at_once=True)
        session = Session(folder, path, StoredMaps(out, _name(out)), image)
        if image.pixel_size_um is not None:
            session.set_pixel_size(image.pixel_size_um)
        session.choose(session.objects, session.separate(session.objects, on_event, stop))
    except BaseException:
        folder.cleanup()
        raise
    return session


def _name(out: Path) -> str:
    """Return what the image is called in a prediction folder; raises `RunError` with the reason where it failed."""
    counts = read_table(out / files.COUNTS, "image")
    if counts:
        return counts[0]["image"]
    failures = read_table(out / files.FAILURES, "error")
    raise RunError(failures[0]["error"] if failures else "Nothing was predicted.")
