"""Options that come together, as one argument of the commands that share them."""

from __future__ import annotations

import inspect
from dataclasses import fields, is_dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
