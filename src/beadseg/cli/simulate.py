"""`beadseg-batch simulate`: write a dataset of simulated bead images with known instances."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from beadseg.cli.console import reporter
from beadseg.cli.options import Json, Quiet
from beadseg.cli.stop import STOP
from beadseg.errors import ConfigError


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder to write to.", show_default=False)],
    tiles: Annotated[int, typer.Option("--tiles", min=1, help="Number of images in all.")] = 24,
    size: Annotated[int, typer.Option("--size", min=16, help="Height and width of an image, px.")] = 512,
    beads: Annotated[
        float, typer.Option("--beads", min=0, help="Beads expected in an image of the least dilution.")
    ] = 150,
    dilutions: Annotated[
        str, typer.Option("--dilutions", metavar="F,F,…", help="Dilution factors; beads go with 1/factor.")
    ] = "320,640,1280",
    fields: Annotated[int, typer.Option("--fields", min=1, help="Fields of view per dilution.")] = 2,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")] = 0,
    polarity: Annotated[str, typer.Option("--polarity", help="'dark' or 'bright' beads.")] = "dark",
    diameter: Annotated[float, typer.Option("--diameter", help="Mean bead diameter, px.")] = 7.0,
    overlap: Annotated[
        float, typer.Option("--overlap", help="Largest overlap of two beads, share of the diameter.")
    ] = 0.3,
    debris: Annotated[float, typer.Option("--debris", min=0, help="Specks and fibres expected in an image.")] = 1.0,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Set any field of the scene, e.g. defocus_px=3. Repeatable."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a dataset of simulated bead images with known instances.

    Tiles are spread evenly over the dilutions and their fields of view; the tiles of a field share light and optics.
    The least diluted step has --beads beads per image, the others in proportion. The folder gets images/, labels/,
    truth.csv (every bead) and scenes.json (how to make it again).
    """
    from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

    scene = SceneConfig.parse(
        {
            "height": size,
            "width": size,
            "beads": beads,
            "polarity": polarity,
            "diameter_px": diameter,
            "max_overlap": overlap,
            "debris": debris,
        },
        "simulate",
    ).with_overrides(overrides or [])
    values: dict[str, Any] = {"scene": scene, "tiles": tiles, "fields": fields, "seed": seed}
    series = SeriesConfig.parse({**values, "dilutions": _factors(dilutions)}, "simulate")
    with reporter(json, quiet) as on_event:
        write_dataset(out, series, on_event, STOP)


def _factors(text: str) -> tuple[int, ...]:
    """Read ``"320,640"``."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        remedy = "Write e.g. 320,640,1280."
        raise ConfigError(f"{text!r} is no list of dilution factors.", "--dilutions", remedy) from None
