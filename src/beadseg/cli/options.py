"""Options that several commands share, each defined once, and groups of them that come together."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from beadseg.files import refuse_unwritable, user_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Dataset
    from beadseg.events import OnEvent

Json = Annotated[bool, typer.Option("--json", help="Write events as JSON, one object per line, for other programs.")]
"""Events as JSON lines."""

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only results, warnings and errors.")]
"""Only what matters."""

Include = Annotated[
    list[str] | None,
    typer.Option("--include", metavar="PATTERN", help="Include samples whose name matches PATTERN (*, ?). Repeatable."),
]
"""Patterns of the samples to take; None takes all."""

Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Exclude samples whose name matches PATTERN (*, ?). Repeatable."),
]
"""Patterns of the samples to leave out."""

Reviewed = Annotated[
    str,
    typer.Option(
        "--samples",
        metavar="accepted|not-rejected|all",
        help="Which samples of a reviewed dataset: accepted or corrected ones, these and pending ones, or all; "
        "never drafts that nobody accepted.",
    ),
]
"""Which samples of a reviewed dataset; see `beadseg.annotation.review.Which`."""

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Set a field of the configuration, e.g. optimizer.lr=3e-4. Repeatable."
    ),
]
"""Changes of the configuration, for `Config.with_overrides`."""

Seed = Annotated[int | None, typer.Option("--seed", min=0, help="Seed of every random choice.")]
"""Seed; None keeps the configuration's."""

Threads = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads; all that are granted when not given.")
]
"""CPU threads; None takes what the machine grants."""

Fields = Annotated[
    str | None,
    typer.Option(
        "--fields",
        metavar="own|CSV|REGEX",
        help="Fields of view: each image its own, a CSV (columns sample, field), or group 1 of a pattern. "
        "Default: all before _grid, _tile, _r0_c0 …",
    ),
]
"""How fields of view are found; None for the usual tile names."""

DatasetFolder = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder with images/ and masks/ or labels/.", show_default=False)
]
"""A dataset folder."""


def writable_folder(path: Path | None) -> Path | None:
    """Return a folder to write to; raise `MachineError` where that cannot be done, before any work is done for it."""
    if path is not None:
        refuse_unwritable(user_path(path))
    return path


def writable_file(path: Path | None) -> Path | None:
    """Return a file to write to; raise `MachineError` where that cannot be done, before any work is done for it."""
    if path is not None:
        refuse_unwritable(user_path(path), file=True)
    return path


Out = Annotated[
    Path,
    typer.Option(
        "--out", "-o", metavar="DIR", help="Folder to write to.", show_default=False, callback=writable_folder
    ),
]
"""The output folder."""

ImagesFolder = Annotated[str, typer.Option("--images", help="Name of the image folder in the dataset.")]
"""Name of the image folder."""

MasksFolder = Annotated[str, typer.Option("--masks", help="Name of the mask folder in the dataset.")]
"""Name of the mask folder."""

LabelsFolder = Annotated[str, typer.Option("--labels", help="Name of the instance label folder in the dataset.")]
"""Name of the label folder."""

IgnoreFolder = Annotated[str, typer.Option("--ignore", help="Name of the folder of ignore masks in the dataset.")]
"""Name of the ignore mask folder."""

PointsFolder = Annotated[str, typer.Option("--points", help="Name of the folder of bead centres in the dataset.")]
"""Name of the folder of bead centres."""

WalltimeOption = Annotated[
    str | None,
    typer.Option(
        "--walltime", metavar="HH:MM:SS", help="End in a checkpoint before this time is over. In a job: known already."
    ),
]
"""Time that the command has from its start; None takes what the job script says."""

Margin = Annotated[
    float | None,
    typer.Option("--margin", min=0, metavar="SECONDS", help="End this long before the walltime. Default: 120."),
]
"""Margin before the end of the walltime, s."""

SiteFile = Annotated[
    Path, typer.Option("--cluster", metavar="PROFILE", help="The cluster's profile, a YAML file; see hpc/.")
]
"""A cluster's profile."""

Network = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="half-unet (default of the preset dense), unet (default of the others), attention-unet or "
        "attention-resunet.",
    ),
]

Preset = Annotated[
    str, typer.Option("--preset", help="dense (ours), microbeads or mitochondria (the laboratory's tables).")
]

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="A configuration file, or a run folder, instead of a preset."),
]

Epochs = Annotated[int | None, typer.Option("--epochs", min=1, help="Maximum number of epochs.")]


def _model(text: str) -> Path:
    """Return where a model lies; late, so that `--help` imports no more than it must."""
    from beadseg.model.checkpoint import named_model

    return named_model(text)


Model = Annotated[
    Path,
    typer.Argument(
        metavar="general|RUN", help="The general model, or a run folder that `train` wrote.", parser=_model,
        show_default=False,
    ),
]  # fmt: skip
"""A model: the general one by its name, or a run folder (``./general`` where it has that name)."""


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command as the parser sees it: in place of each group, a dataclass, it has all of its options.

    Parameters
    ----------
    command : callable
        A command's function, with keyword arguments whose types are dataclasses of options, each with a default.

    Returns
    -------
    callable
        Takes the options one by one, and calls `command` with the groups made of them.
    """
    own = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        name: item.annotation for name, item in own.parameters.items() if is_dataclass(item.annotation)
    }

    @wraps(command)
    def call(**values: Any) -> None:
        made = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**values, **made)

    call.__signature__ = own.replace(parameters=list(_one_by_one(own)))  # type: ignore[attr-defined]
    return call


def _one_by_one(signature: inspect.Signature) -> Iterator[inspect.Parameter]:
    """Yield a command's parameters, all by keyword, with the fields of a group in its place."""
    for parameter in signature.parameters.values():
        group = parameter.annotation
        if not is_dataclass(group):
            yield parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            continue
        types = get_type_hints(group, include_extras=True)
        for field in fields(group):
            yield inspect.Parameter(
                field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name]
            )


@dataclass(frozen=True)
class SampleOptions:
    """Samples of a dataset, whatever its review says; the fields are the options of `beadseg.cli.options`."""

    include: Include = None
    exclude: Exclude = None
    images: ImagesFolder = "images"
    masks: MasksFolder = "masks"
    labels: LabelsFolder = "labels"
    ignore: IgnoreFolder = "ignore"
    points: PointsFolder = "points"
    fields: Fields = None

    def open(self, folder: Path, on_event: OnEvent) -> Dataset:
        """Open the dataset in a folder and report what is left out; errors as of `Dataset.open`."""
        from beadseg.cli.config_options import open_dataset

        return open_dataset(folder, on_event, **vars(self))


@dataclass(frozen=True)
class TrainingSamples(SampleOptions):
    """Samples to train on: those whose review allows it."""

    samples: Reviewed = "not-rejected"


@dataclass(frozen=True)
class Settings:
    """A preset or a file, and what is changed of it; the fields are options."""

    preset: Preset = "dense"
    model: Network = None
    config: ConfigFile = None
    set_: Set = None
    seed: Seed = None
    epochs: Epochs = None

    def read(self, on_event: OnEvent | None = None) -> TrainConfig:
        """Return the configuration, see `train_config`; raise `ConfigError` for a wrong one."""
        from beadseg.cli.config_options import train_config

        return train_config(self.preset, self.model, self.config, self.set_, self.seed, self.epochs, None, on_event)
