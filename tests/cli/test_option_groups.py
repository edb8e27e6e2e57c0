"""Options in groups: the parser sees each of them, the command gets the groups."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from beadseg.cli.options import grouped
from beadseg.cli.submit import parsed

Colour = Annotated[str, typer.Option("--colour", help="Of the beads.")]


@dataclass(frozen=True)
class Beads:
    colour: Colour = "red"
    beads: Annotated[int, typer.Option("--beads", min=1)] = 3


@dataclass(frozen=True)
class Place:
    where: Annotated[str, typer.Option("--where")] = "here"


def test_a_command_gets_its_groups_and_the_parser_their_options():
    got: list[object] = []

    @grouped
    def command(first: int, *, beads: Beads, place: Place, last: bool = False) -> None:
        got.extend((first, beads, place, last))

    signature = inspect.signature(command)
    assert list(signature.parameters) == ["first", "colour", "beads", "where", "last"]
    assert signature.parameters["colour"].annotation == Colour
    app = typer.Typer(add_completion=False)
    app.command("command")(command)
    app(["7", "--beads", "5", "--where", "there", "--last"], standalone_mode=False)
    assert got == [7, Beads("red", 5), Place("there"), True]


def test_an_option_that_is_there_twice_is_a_mistake_of_ours():
    def command(*, colour: str, beads: Beads) -> None: ...

    with pytest.raises(ValueError, match="duplicate parameter name: 'colour'"):
        grouped(command)


@pytest.mark.parametrize("kind", ["train", "sweep"])
def test_what_is_submitted_is_read_option_by_option(kind: str):
    words = ["beads", "--out", "run", "--space", "space.yaml", "--masks", "m", "--epochs", "3", "--samples", "all"]
    values = parsed(
        kind, words if kind == "sweep" else [word for word in words if word not in ("--space", "space.yaml")]
    )
    assert (values["masks"], values["epochs"], values["samples"], values["images"]) == ("m", 3, "all", "images")
