"""The base of every configuration: frozen, strict, read from YAML, changed only by a validated copy."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from beadseg.errors import ConfigError
from beadseg.files import user_path


class Config(BaseModel):
    """A frozen pydantic model that refuses unknown fields and names the remedy when a value is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

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

    def with_overrides(self, assignments: list[str]) -> Self:
        """Return a validated copy changed by ``"dotted.path=value"`` strings; values are read as YAML."""
        values = self.model_dump(mode="json")
        for assignment in assignments:
            _assign(values, assignment)
        return self.parse(values, f"--set {' '.join(assignments)}")

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


def _assign(values: dict[str, Any], assignment: str) -> None:
    """Set one ``a.b=value`` in nested `values`; a changed ``kind`` starts that part from its defaults."""
    dotted, equals, text = assignment.partition("=")
    if not equals or not dotted:
        raise ConfigError(
            f"{assignment!r} is no assignment.", "--set", "Write it as field=value, e.g. optimizer.lr=3e-4."
        )
    *parents, leaf = dotted.split(".")
    target = values
    for depth, name in enumerate(parents, start=1):
        child = target.get(name)
        if not isinstance(child, dict):
            known = ", ".join(sorted(target))
            raise ConfigError(
                f"There is no field group {'.'.join(parents[:depth])!r}.", "--set", f"Known here: {known}."
            )
        target = child
    value = _yaml_value(text, assignment)
    if leaf == "kind" and target.get("kind") != value:
        target.clear()
    target[leaf] = value


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
            lines.append(f"{field}: {problem['msg']} (given: {problem['input']!r}).")
    return " ".join(lines)
