"""Options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
"""How fields of view are told; None for the usual tile names."""

DatasetFolder = Annotated[
    Path, typer.Argument(metavar="DATASET", help="Folder with images/ and masks/ or labels/.", show_default=False)
]
"""A dataset folder."""


def _model(text: str) -> Path:
    """Return where a model lies; late, so that `--help` imports no more than it must."""
    from beadseg.predict.model_file import named_model

    return named_model(text)


Model = Annotated[
    Path,
    typer.Argument(
        metavar="general|RUN", help="The general model, or a run folder that `train` wrote.", parser=_model,
        show_default=False,
    ),
]  # fmt: skip
"""A model: the general one by its name, or a run folder (``./general`` where it has that name)."""

Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to.", show_default=False)]
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
