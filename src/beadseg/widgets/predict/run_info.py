"""What a run is, in a line: read from its model file alone, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.errors import ConfigError, RunError
from beadseg.model.checkpoint import read_meta
from beadseg.predict.model_file import general_file, model_file

if TYPE_CHECKING:
    from pathlib import Path

GENERAL_MODEL = "The model that comes with beadseg: it measures the size of the beads in every image"


def run_info(run: Path) -> str:
    """Return what a person wants to know of a run before predicting with it.

    Raises
    ------
    RunError
        There is no model there, it is damaged, or of a newer version.
    """
    path = model_file(run)
    meta: dict[str, Any] = read_meta(path)
    if meta.get("kind") != "model":
        raise RunError("This checkpoint is for resuming, not for prediction.", path, "Give the run folder.")
    try:
        config = TrainConfig.parse(meta["config"], path)
    except (ConfigError, KeyError) as error:
        detail = error.what if isinstance(error, ConfigError) else str(error)
        text = f"Does not fit this version of beadseg ({detail})."
        raise RunError(text, path, "Update beadseg, or train again.") from None
    objects, size = config.predict.objects, config.predict.size
    if run == general_file():
        return f"{GENERAL_MODEL}, threshold {objects.threshold:g}"
    diameter = size.diameter or objects.diameter
    beads = "" if diameter is None else f", beads of {diameter:.1f} px"
    unfinished = "" if run.is_file() or (run / files.CRITERIA).exists() else "; its training is not finished"
    return f"{config.network.kind}{beads}, threshold {objects.threshold:g}{unfinished}"
