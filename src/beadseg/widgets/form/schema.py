"""A configuration class as a tree of fields that a form can show. Knows no Qt."""

from __future__ import annotations

import re
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from beadseg.config.base import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

KIND = "kind"
"""Name of the field that tells the members of a union apart."""

Sort = Literal["flag", "integer", "number", "choice", "text", "path", "yaml"]
"""How a value is edited; "yaml" for whatever has no editor of its own."""

_NONE_MEANS = re.compile(r"None: ([^.;]+)")
_SORTS: dict[Any, Sort] = {bool: "flag", int: "integer", float: "number", str: "text", Path: "path"}


@dataclass(frozen=True)
class Bounds:
    """Limits of a number; None where there is none. An open end is excluded."""

    low: float | None = None
    high: float | None = None
    low_open: bool = False
    high_open: bool = False

    def __str__(self) -> str:
        low = "" if self.low is None else f"{'>' if self.low_open else '≥'} {self.low:g}"
        high = "" if self.high is None else f"{'<' if self.high_open else '≤'} {self.high:g}"
        return ", ".join(part for part in (low, high) if part)


@dataclass(frozen=True)
class Leaf:
    """One value.

    Attributes
    ----------
    name, title, help : str
        Name in the configuration, label, and tooltip.
    sort : Sort
        How it is edited.
    bounds : Bounds
        Limits of a number.
    choices : tuple
        What a "choice" may be.
    none_means : str or None
        What None stands for, in words; None where the value cannot be None.
    """

    name: str
    title: str
    help: str
    sort: Sort
    bounds: Bounds = Bounds()
    choices: tuple[Any, ...] = ()
    none_means: str | None = None


@dataclass(frozen=True)
class Group:
    """A configuration class: its fields in order, without ``kind``."""

    name: str
    title: str
    help: str
    model: type[Config]
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Alternatives:
    """A union: one group for every ``kind``."""

    name: str
    title: str
    help: str
    options: dict[str, Group]


Part = Leaf | Group | Alternatives


def schema_of(model: type[Config]) -> Group:
    """Return the fields of a configuration class, nested as they are."""
    return _group("", model.__name__, _first_paragraph(model), model)


def leaves(part: Part, prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    """Yield every value below `part` with its dotted path; of a union those of all members."""
    path = f"{prefix}.{part.name}".strip(".")
    if isinstance(part, Leaf):
        yield path, part
        return
    groups = [part] if isinstance(part, Group) else list(part.options.values())
    for group in groups:
        for inner in group.parts:
            yield from leaves(inner, path)


def title_of(name: str, field: FieldInfo) -> str:
    """Return a field's own title, or its name in words."""
    return field.title or name.replace("_", " ").capitalize()


def _group(name: str, title: str, help: str, model: type[Config]) -> Group:
    fields = [(key, field) for key, field in model.model_fields.items() if key != KIND]
    return Group(name, title, help, model, tuple(_part(key, field) for key, field in fields))


def _part(name: str, field: FieldInfo) -> Part:
    title, help = title_of(name, field), " ".join((field.description or "").replace("``", "").split())
    options = _options(field.annotation)
    models = [option for option in options if isinstance(option, type) and issubclass(option, Config)]
    if len(models) > 1:
        kinds = {str(model.model_fields[KIND].default): model for model in models}
        return Alternatives(
            name, title, help, {kind: _group(kind, kind, _first_paragraph(one), one) for kind, one in kinds.items()}
        )
    if models:
        return _group(name, title, help, models[0])
    return _leaf(name, title, help, field, options)


def _leaf(name: str, title: str, help: str, field: FieldInfo, options: list[Any]) -> Leaf:
    optional = type(None) in options
    wanted = [option for option in options if option is not type(None)]
    bounds = _bounds([*field.metadata, *_inner_metadata(field.annotation)])
    none_means = _none_means(help) if optional else None
    help = help.replace("None: ", "Empty: ")
    if all(get_origin(option) is Literal for option in wanted):
        choices = tuple(choice for option in wanted for choice in get_args(option))
        return Leaf(name, title, help, "choice", bounds, choices, none_means)
    sort = _SORTS.get(wanted[0], "yaml") if len(wanted) == 1 else "yaml"
    if sort == "yaml":
        none_means = None
    return Leaf(name, title, help, sort, bounds, (), none_means)


def _none_means(help: str) -> str:
    """Return what a docstring says of None, for example "planned from the bead diameter"."""
    found = _NONE_MEANS.search(help)
    return found[1].strip() if found else "none"


def _options(annotation: Any) -> list[Any]:
    """Return the members of a union, without their annotations."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in _options(member)]
    return [annotation]


def _inner_metadata(annotation: Any) -> list[Any]:
    """Return the bounds of the members of a union (``Annotated[float, Field(gt=0)] | None``)."""
    found: list[Any] = []
    for member in get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else ():
        if get_origin(member) is Annotated:
            for item in get_args(member)[1:]:
                found += item.metadata if isinstance(item, FieldInfo) else [item]
    return found


def _bounds(metadata: list[Any]) -> Bounds:
    found = {name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
    return Bounds(
        low=found.get("gt", found.get("ge")),
        high=found.get("lt", found.get("le")),
        low_open="gt" in found,
        high_open="lt" in found,
    )


def _first_paragraph(model: type[Config]) -> str:
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split()).replace("``", "").replace("`", "")
