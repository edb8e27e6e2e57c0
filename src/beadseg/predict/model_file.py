"""Which model predicts: the general one, which comes with beadseg, or that of a run folder."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from beadseg import files
from beadseg.config.train import GENERAL
from beadseg.errors import RunError


def general_file() -> Path:
    """Return the file of the general model, which lies in the package."""
    return Path(str(resources.files("beadseg"))) / "models" / f"{GENERAL}.safetensors"


def named_model(name: str | Path) -> Path:
    """Return where the model of a name lies: `GENERAL`, as text, is the general one; all else is a path."""
    return general_file() if name == GENERAL else files.user_path(name)


def model_name(run: Path) -> str:
    """Return what a model is called in results: `GENERAL`, or the full path of its run."""
    return GENERAL if run == general_file() else str(run.resolve())


def which_general(run: Path) -> str:
    """Return a sentence that says which of two models was taken, where a folder bears the general model's name."""
    if run != general_file() or not Path(GENERAL).exists():
        return ""
    return f"The general model is used. For the run in the folder {GENERAL} of this directory give ./{GENERAL}."


def model_file(run: Path) -> Path:
    """Return the model file of a run folder; a file is itself."""
    if run == general_file() and not run.is_file():
        raise RunError("The general model is missing from this installation.", run, "Install beadseg again.")
    if run.is_file():
        return run
    if not run.is_dir():
        raise RunError("No such run.", run, f"Give the folder that `beadseg-batch train` wrote to, or {GENERAL}.")
    for name in (files.FINAL, files.BEST):
        if (run / name).is_file():
            return run / name
    inner = sorted(path.parent.name for path in run.glob(f"*/{files.BEST}"))
    if inner:
        raise RunError("Holds several runs.", run, f"Give one of them: {', '.join(inner)}.")
    if not (run / files.CONFIG).is_file() and not (run / files.HISTORY).is_file():
        raise RunError(
            "Is not a run folder: no trained model is in it.", run, f"Give the folder of a trained model, or {GENERAL}."
        )
    raise RunError("Holds no trained model yet.", run, "Wait for the first epoch, or give another run folder.")
