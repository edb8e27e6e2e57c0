"""Which file of a run folder holds the model that predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg import files
from beadseg.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path


def model_file(run: Path) -> Path:
    """Return the model file of a run folder; a file is itself."""
    if run.is_file():
        return run
    if not run.is_dir():
        raise RunError("No such run.", run, "Give the folder that `beadseg-batch train` wrote to.")
    for name in (files.FINAL, files.BEST):
        if (run / name).is_file():
            return run / name
    inner = sorted(path.parent.name for path in run.glob(f"*/{files.BEST}"))
    if inner:
        raise RunError("Holds several runs.", run, f"Give one of them: {', '.join(inner)}.")
    raise RunError("Holds no trained model yet.", run, "Wait for the first epoch, or give another run folder.")
