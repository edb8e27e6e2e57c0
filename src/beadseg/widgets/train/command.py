"""What is to be trained, as the `beadseg-batch train` command that does it. Knows no Qt."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.config.base import overrides
from beadseg.data.documents import read_document
from beadseg.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLES = ("not-rejected", "accepted", "all")
"""Which samples of a reviewed dataset are trained on; the first is the command's own choice."""

_FLAGS = ("--json", "--quiet", "-q", "--refit", "--plan", "--debug")
_KEPT = ("--include", "--exclude", "--samples", "--images", "--masks", "--labels", "--ignore", "--fields",
         "--split-file", "--device", "--threads")  # fmt: skip
"""Options of a run's first command that its continuation repeats; its configuration is in the run folder."""


@dataclass(frozen=True)
class TrainCommand:
    """One training.

    Attributes
    ----------
    dataset, out : pathlib.Path
        Dataset folder and run folder.
    config : TrainConfig or None
        The settings; None continues `out` with its own.
    samples : str
        One of `SAMPLES`.
    refit : bool
        Whether the final model is trained on all samples afterwards.
    kept : tuple of str
        Further options.
    """

    dataset: Path
    out: Path
    config: TrainConfig | None
    samples: str = SAMPLES[0]
    refit: bool = False
    kept: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """Return the command's words after ``beadseg-batch``, without how it reports."""
        words = ["train", str(self.dataset), "--out", str(self.out)]
        if self.config is None:
            words += ["--config", str(self.out / files.CONFIG)]
        else:
            words += _settings(self.config)
        words += [] if self.samples == SAMPLES[0] else ["--samples", self.samples]
        words += ["--refit"] if self.refit else []
        return [*words, *self.kept]

    def submission(self, profile: Path) -> list[str]:
        """Return the words after ``beadseg-batch`` that send this training to the cluster of `profile`."""
        return ["submit", *self.arguments(), "--cluster", str(profile)]

    def text(self) -> str:
        """Return the command as it is typed in a shell of this system."""
        return typed(self.arguments())

    def replace(self, **changes: Any) -> TrainCommand:
        """Return a copy with some values changed."""
        return replace(self, **changes)


def typed(words: Sequence[str]) -> str:
    """Return a `beadseg-batch` command as it is typed in a shell of this system."""
    command = ["beadseg-batch", *words]
    return subprocess.list2cmdline(command) if sys.platform == "win32" else shlex.join(command)


def _settings(config: TrainConfig) -> list[str]:
    """Return preset, network, and every field that differs from the preset."""
    preset = config.based_on if config.based_on != "custom" else "dense"
    base = TrainConfig.preset(preset, config.network.kind)
    changes = [word for change in overrides(base, config) for word in ("--set", change)]
    return ["--preset", preset, "--model", config.network.kind, *changes]


def continuation(run: Path, dataset: Path | None = None) -> TrainCommand:
    """Return the order that continues the run in `run`.

    Parameters
    ----------
    run : pathlib.Path
        A run folder.
    dataset : pathlib.Path, optional
        Where its data lie; from the run's own command when not given.

    Raises
    ------
    RunError
        The run does not tell its data, or they are not there.
    """
    words = _words(read_document(run / files.ENVIRONMENT).get("command"))
    found, kept, refit = _parse(words)
    dataset = dataset or (None if found is None else _located(Path(found), run))
    if dataset is None:
        where = f" ({found})" if found else ""
        raise RunError(f"The data that this run was trained on are not here{where}.", run,
                       "Choose their folder as the dataset.")  # fmt: skip
    return TrainCommand(dataset, run, None, refit=refit, kept=tuple(kept))


def _words(command: object) -> list[str]:
    words = [str(word) for word in command] if isinstance(command, list) else []
    return words[words.index("train") + 1 :] if "train" in words else []


def _parse(words: Sequence[str]) -> tuple[str | None, list[str], bool]:
    """Return the dataset, the options to repeat, and whether there is a refit, of a `train` command."""
    dataset: str | None = None
    kept: list[str] = []
    at = 0
    while at < len(words):
        word, at = words[at], at + 1
        if not word.startswith("-"):
            dataset = word
        elif word not in _FLAGS:
            name, equals, value = word.partition("=")
            if not equals and at < len(words):
                value, at = words[at], at + 1
            if name in _KEPT:
                kept += [name, value]
    return dataset, kept, "--refit" in words


def _located(path: Path, run: Path) -> Path | None:
    """Return a dataset folder that a command named, maybe from another working folder."""
    places = [path] if path.is_absolute() else [Path.cwd() / path, *(above / path for above in run.resolve().parents)]
    return next((place for place in places if place.is_dir()), None)


def free_folder(dataset: Path, config: TrainConfig) -> Path:
    """Return a run folder that is not there yet: ``runs/dense-unet-1`` beside the dataset."""
    runs = dataset.absolute().parent / "runs"
    name = f"{config.based_on}-{config.network.kind}"
    number = 1
    while (runs / f"{name}-{number}").exists():
        number += 1
    return runs / f"{name}-{number}"
