"""The options that a training's configuration is made of, for commands that train many networks of one kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from beadseg.cli import options
from beadseg.cli.train import ConfigFile, Epochs, Preset

if TYPE_CHECKING:
    from beadseg.config import TrainConfig
    from beadseg.events import OnEvent

Network = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="half-unet (default of the preset dense), unet (default of the others), attention-unet or "
        "attention-resunet.",
    ),
]


@dataclass(frozen=True)
class Settings:
    """A preset or a file, and what is changed of it; the fields are options."""

    preset: Preset = "dense"
    model: Network = None
    config: ConfigFile = None
    set_: options.Set = None
    seed: options.Seed = None
    epochs: Epochs = None

    def read(self, on_event: OnEvent | None = None) -> TrainConfig:
        """Return the configuration, see `train_config`; raise `ConfigError` for a wrong one."""
        from beadseg.cli.inputs import train_config

        return train_config(self.preset, self.model, self.config, self.set_, self.seed, self.epochs, None, on_event)
