"""Model files: tensors plus JSON in one safetensors file, and which file predicts: a run's, or the general model's.

Loading one executes no code of whoever wrote it.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from beadseg import files
from beadseg.config.train import GENERAL
from beadseg.errors import RunError
from beadseg.files import write_atomically

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SCHEMA_VERSION = 2
"""Version of the JSON beside the tensors; raised when a reader of the old form would misread the new one.

2: a training checkpoint may stand in the middle of an epoch (``losses``)."""

_META = "beadseg"


def save_checkpoint(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write `tensors` and JSON-serialisable `meta` to one file, whole or not at all."""
    from safetensors.torch import save  # late: `read_meta` alone needs no torch

    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    text = json.dumps({"schema_version": SCHEMA_VERSION, **meta})
    write_atomically(path, save(flat, metadata={_META: text}))


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors (on the CPU) and the JSON of a checkpoint.

    Raises
    ------
    RunError
        The file is missing, damaged, not beadseg's, or of a newer version.
    """
    meta = read_meta(path)
    with safe_open(path, framework="pt", device="cpu") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, meta  # noqa: SIM118 (no mapping)


def read_meta(path: Path) -> dict[str, Any]:
    """Return only the JSON of a checkpoint; errors as in `load_checkpoint`."""
    if not path.is_file():
        raise RunError("No such checkpoint.", path, "Give the folder of a run that has finished at least one epoch.")
    try:
        path.open("rb").close()  # safetensors says "no such file" of one that may not be read
    except OSError as error:
        raise files.read_error(error, path) from None
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_META)
    except (SafetensorError, OSError) as error:
        raise RunError(
            f"Damaged, or no checkpoint at all ({error}).", path, "Give a run folder; if it was copied, copy it again."
        ) from None
    if text is None:
        raise RunError("This file was not written by beadseg.", path, "Give a run folder that beadseg trained.")
    try:
        meta: dict[str, Any] = json.loads(text)
        version = int(meta["schema_version"])
    except (ValueError, TypeError, KeyError):
        raise RunError("Damaged checkpoint: its description cannot be read.", path, "Copy it again.") from None
    if version > SCHEMA_VERSION:
        raise RunError(f"Written by a newer beadseg (schema {version}).", path, "Update beadseg.")
    return meta


def with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return `tensors` with ``prefix.`` before every name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return those of `tensors` whose name starts with ``prefix.``, without it."""
    start = f"{prefix}."
    return {name[len(start) :]: tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an Adam-like optimizer's state as named tensors ``index.key``."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, entry in state.items() for key, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put tensors of `optimizer_tensors` back."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


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
