"""`beadseg-batch simulate`: write a dataset of simulated bead images with known instances."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beadseg.cli.console import STOP, reporter
from beadseg.cli.options import Exclude, Include, Json, Quiet
from beadseg.errors import ConfigError
from beadseg.events import log

if TYPE_CHECKING:
    from beadseg.data.simulate.like import Likeness
    from beadseg.events import OnEvent


def simulate(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="New or empty folder to write to.", show_default=False)],
    like: Annotated[
        Path | None,
        typer.Option(
            "--like",
            metavar="DATASET|JSON",
            help="Look like this data set (a folder with images/ and masks/ or labels/), or like the likeness.json "
            "that measuring it wrote.",
        ),
    ] = None,
    tiles: Annotated[int, typer.Option("--tiles", min=1, help="Number of images in all.")] = 24,
    size: Annotated[
        int | None,
        typer.Option("--size", min=16, help="Height and width of an image, px. [default: 512, or as measured]"),
    ] = None,
    beads: Annotated[
        float | None,
        typer.Option(
            "--beads", min=0, help="Beads expected in an image of the least dilution. [default: 150, or as measured]"
        ),
    ] = None,
    dilutions: Annotated[
        str | None,
        typer.Option(
            "--dilutions",
            metavar="F,F,…",
            help="Dilution factors; beads go with 1/factor. [default: 320,640,1280, or the measured ones]",
        ),
    ] = None,
    fields: Annotated[
        int | None,
        typer.Option("--fields", min=1, help="Fields of view per dilution. [default: 2, or as many as measured]"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")] = 0,
    polarity: Annotated[
        str | None, typer.Option("--polarity", help="'dark' or 'bright' beads. [default: dark, or as measured]")
    ] = None,
    diameter: Annotated[
        float | None, typer.Option("--diameter", help="Mean bead diameter, px. [default: 7, or as measured]")
    ] = None,
    overlap: Annotated[
        float | None,
        typer.Option(
            "--overlap",
            help="Largest overlap of two beads, share of their distance in contact. [default: 0.3, or as measured]",
        ),
    ] = None,
    debris: Annotated[
        float | None,
        typer.Option("--debris", min=0, help="Specks and fibres expected in an image. [default: 1, or as measured]"),
    ] = None,
    include: Include = None,
    exclude: Exclude = None,
    like_fields: Annotated[
        str | None,
        typer.Option(
            "--like-fields", metavar="own|CSV|REGEX", help="How the fields of view of the --like data set are found."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="Set any field of the scene, e.g. defocus_px=3; with --like: noise, contrast, width, … Repeatable.",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a dataset of simulated bead images with known instances.

    Tiles are spread evenly over the dilutions and their fields of view; the tiles of a field share light and optics.
    The least diluted step has --beads beads per image, the others in proportion. The folder gets images/, labels/,
    truth.csv (every bead) and scenes.json (how to make it again).

    With --like DATASET the images look like those of a data set: bead, colour fringes, noise, traces of compression,
    light and crowding are measured there, field of view by field of view, and written to OUT/likeness.json. By default
    every measured field of view gives a series of its own dilution and density. --include and --exclude choose what is
    measured. A likeness.json can be given in place of the data set, which saves the measuring.
    """
    if like is None:
        given = {"--include": include, "--exclude": exclude, "--like-fields": like_fields}
        _refuse(given, "It says what of the --like data set is measured: give --like DATASET.")
    else:
        _refuse({"--polarity": polarity, "--diameter": diameter}, "With --like it is measured: leave it out.")
    scene: dict[str, Any] = {"beads": beads, "max_overlap": overlap, "debris": debris}
    shared = {"tiles": tiles, "seed": seed}
    with reporter(json, quiet) as on_event:

        def note(text: str) -> None:
            on_event(log(text, "warning"))

        if like is None:
            from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

            named = {**scene, "height": size, "width": size, "polarity": polarity, "diameter_px": diameter}
            image = SceneConfig.parse(_given(named), "simulate").with_overrides(overrides or [], note)
            factors = {"dilutions": _factors(dilutions), "fields": fields}
            series = SeriesConfig.parse({"scene": image, **shared, **_given(factors)}, "simulate")
            write_dataset(out, series, on_event, STOP)
        else:
            from beadseg.data.simulate.like import LikeSeriesConfig, write_like

            named = {**scene, "height": size, "width": size, "dilutions": _factors(dilutions), "fields": fields}
            wanted = LikeSeriesConfig.parse({**shared, **_given(named)}, "simulate").with_overrides(
                overrides or [], note
            )
            likeness = _likeness(like, include, exclude, like_fields, on_event)
            write_like(out, likeness, wanted, on_event, STOP)


def _likeness(
    like: Path, include: list[str] | None, exclude: list[str] | None, fields: str | None, on_event: OnEvent
) -> Likeness:
    """Read a likeness, or measure a data set."""
    from beadseg.cli.config_options import open_dataset
    from beadseg.data.simulate.like import Likeness, measure

    if like.suffix.lower() == ".json":
        text = "A likeness.json has been measured already: leave it out."
        _refuse({"--include": include, "--exclude": exclude, "--like-fields": fields}, text)
        return Likeness.read(like)
    return measure(open_dataset(like, on_event, include=include, exclude=exclude, fields=fields), on_event, STOP)


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _refuse(options: dict[str, Any], why: str) -> None:
    """Raise `ConfigError` for the first option that was given but has no meaning here."""
    for name, value in _given(options).items():
        raise ConfigError(f"{value!r} cannot be used here.", name, why)


def _factors(text: str | None) -> tuple[int, ...] | None:
    """Read ``"320,640"``."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        remedy = "Write e.g. 320,640,1280."
        raise ConfigError(f"{text!r} is not a list of dilution factors.", "--dilutions", remedy) from None
