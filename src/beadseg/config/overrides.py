"""The way back from a changed configuration to the ``--set`` assignments that make it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from beadseg.config.base import Config

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_TAKEN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""Words that YAML does not read as text."""


def overrides(base: Config, config: Config) -> list[str]:
    """Return the assignments with which `base` becomes `config`.

    Parameters
    ----------
    base, config : Config
        Of one class.

    Returns
    -------
    list of str
        ``"dotted.path=value"``; ``base.with_overrides(...)`` of them equals `config`.
    """
    return list(_changes(_values(base), config, ""))


def _changes(base: Mapping[str, Any], config: Config, prefix: str) -> Iterator[str]:
    for name, value in _values(config).items():
        before = base.get(name, _MISSING)
        if value == before and type(value) is type(before):
            continue
        if not isinstance(value, Config):
            yield f"{prefix}{name}={_text(config, name)}"
        elif type(value) is type(before):
            yield from _changes(_values(before), value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}.kind={_text(value, 'kind')}"
            yield from _changes(_after_kind(before, value), value, f"{prefix}{name}.")


_MISSING = object()


def _values(config: Config) -> dict[str, Any]:
    return {name: getattr(config, name) for name in type(config).model_fields}


def _defaults(config: Config) -> dict[str, Any]:
    """Return the defaults of a class, its kind set; what must be given is absent."""
    fields = type(config).model_fields
    found = {name: field.get_default(call_default_factory=True) for name, field in fields.items()
             if not field.is_required()}  # fmt: skip
    return {**found, "kind": getattr(config, "kind", None)}


def _after_kind(before: Any, value: Config) -> dict[str, Any]:
    """Return what `Config.with_overrides` leaves of `before` when it becomes of the kind of `value`."""
    shared = _values(before) if isinstance(before, Config) else {}
    known = type(value).model_fields
    return {**_defaults(value), **{name: old for name, old in shared.items() if name in known and name != "kind"}}


def _text(config: Config, name: str) -> str:
    """Return a field's value so that YAML reads it back."""
    value = config.model_dump(mode="json", include={name})[name]
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _TAKEN:
        return value
    return json.dumps(value, ensure_ascii=False)
