"""The base of every configuration: frozen, strict, read from YAML, changed only by a validated copy.

Also the way back: from a changed configuration to the ``--set`` assignments that make it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from beadseg.errors import ConfigError
from beadseg.files import user_path

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_TAKEN = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
"""Words that YAML does not read as text."""

_MISSING = object()


class Config(BaseModel):
    """A frozen pydantic model that refuses unknown fields and names the remedy when a value is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _user_paths(cls, value: Any) -> Any:
        """Read ``~`` as the home folder in every path of every configuration."""
        return user_path(value) if isinstance(value, Path) else value

    @classmethod
    def parse(cls, values: dict[str, Any], where: str | Path | None = None) -> Self:
        """Validate `values`; raise `ConfigError` with one line per wrong field."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ConfigError(_explain(error, cls), where, "Correct it.") from None

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a YAML (or JSON) file; raise `ConfigError` when it is missing, not YAML, or not valid."""
        return cls.parse(read_yaml(path), path)

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with top-level fields changed."""
        return self.parse({**self.model_dump(), **changes})

    def with_overrides(self, assignments: list[str], on_note: Callable[[str], None] | None = None) -> Self:
        """Return a validated copy changed by ``"dotted.path=value"`` strings; values are read as YAML.

        Where a ``kind`` changes, the fields that the new kind has too keep their values.

        Parameters
        ----------
        assignments : list of str
            The changes, one after the other.
        on_note : callable, optional
            Is given a sentence for every field that was set and does not apply to a new kind.
        """
        values = self.model_dump(mode="json")
        notes = [note for assignment in assignments for note in _assign(type(self), values, assignment)]
        changed = self.parse(values, f"--set {' '.join(assignments)}")
        if on_note is not None:
            for note in notes:
                on_note(note)
        return changed

    def to_yaml(self) -> str:
        """Return the configuration as YAML text that `from_file` reads back."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raise `ConfigError` when there is none."""
    try:
        values = yaml.safe_load(user_path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError("No such configuration file.", path, "Check the path.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        text = f"Cannot be read as YAML ({reason})."
        raise ConfigError(text, path, "Give a YAML file of field: value lines.") from None
    if not isinstance(values, dict):
        raise ConfigError("Holds no mapping of field names to values.", path, "Write it as field: value lines.")
    return values


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with nested `changes` laid over it."""
    merged = dict(base)
    for name, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merge(merged[name], value) if both else value
    return merged


def _assign(owner: type[BaseModel], values: dict[str, Any], assignment: str) -> list[str]:
    """Set one ``a.b=value`` in nested `values` of an `owner`; return what to tell about it, see `_change_kind`."""
    dotted, equals, text = assignment.partition("=")
    if not equals or not dotted:
        raise ConfigError(
            f"{assignment!r} is not an assignment.", "--set", "Write it as field=value, e.g. optimizer.lr=3e-4."
        )
    *parents, leaf = dotted.split(".")
    target, owners = values, [owner]
    for depth, name in enumerate(parents, start=1):
        child = target.get(name)
        if not isinstance(child, dict):
            known = ", ".join(sorted(target))
            raise ConfigError(
                f"There is no field group {'.'.join(parents[:depth])!r}.", "--set", f"Known here: {known}."
            )
        target, owners = child, [model for each in owners for model in _models_of(each, name)]
    value = _yaml_value(text, assignment)
    notes = _change_kind(target, owners, value, ".".join(parents)) if leaf == "kind" else []
    target[leaf] = value
    return notes


def _change_kind(part: dict[str, Any], models: list[type[BaseModel]], kind: Any, where: str) -> list[str]:
    """Take out of `part` what its new `kind` does not have; return a sentence if that was set to something."""
    by_kind = {model.model_fields["kind"].default: model for model in models if "kind" in model.model_fields}
    new = by_kind.get(kind) if isinstance(kind, str) else None
    old = by_kind.get(part.get("kind"))
    if new is None:  # refused when the whole is validated, with the kinds that there are
        part.clear()
        return []
    dropped = {name: part.pop(name) for name in list(part) if name not in new.model_fields}
    # A value that suited the old kind may not suit the new one.
    if old is not None and _is_valid(old, {name: part[name] for name in part if name in old.model_fields}):
        for name in list(part):
            without = {key: value for key, value in part.items() if key not in (name, "kind")}
            if not _is_valid(new, part | {"kind": kind}) and _is_valid(new, without):
                dropped[name] = part.pop(name)
    defaults = {} if old is None else old.model_construct().model_dump(mode="json", warnings=False)
    lost = ", ".join(f"{name} ({value})" for name, value in dropped.items() if value != defaults.get(name))
    return [f"Does not apply to {where}.kind={kind} and is left out: {lost}."] if lost else []


def _is_valid(model: type[BaseModel], part: dict[str, Any]) -> bool:
    try:
        model.model_validate(part)
    except ValidationError:
        return False
    return True


def _models_of(owner: type[BaseModel], name: str) -> Iterator[type[BaseModel]]:
    """Yield every model that a field of `owner` may hold: several for a union."""
    pending = [owner.model_fields[name].annotation] if name in owner.model_fields else []
    while pending:
        found = pending.pop()
        if isinstance(found, type) and issubclass(found, BaseModel):
            yield found
        pending += get_args(found)


def _yaml_value(text: str, assignment: str) -> Any:
    """Read `text` as YAML; also numbers such as 3e-4, which YAML 1.1 takes for text."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"The value of {assignment!r} cannot be read.", "--set", "Quote it.") from None
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _explain(error: ValidationError, kind: type[Config]) -> str:
    """Return one sentence per wrong field; for an unknown one, the fields that there are."""
    lines = []
    for problem in error.errors(include_url=False):
        field = ".".join(str(part) for part in problem["loc"]) or "configuration"
        if problem["type"] == "extra_forbidden":
            known = f" Known there: {', '.join(kind.model_fields)}." if len(problem["loc"]) == 1 else ""
            lines.append(f"There is no field {field!r}.{known}")
        else:
            lines.append(f"{field}: {problem['msg'].removeprefix('Value error, ')} (given: {problem['input']!r}).")
    return " ".join(lines)


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
