"""Write what the code says of itself into the guide: ``configuration.md``, and marked tables of ``file-formats.md``.

Run ``python docs/write_reference.py`` after a change of a field or its description; a test fails when a page is stale.
"""

from __future__ import annotations

import json
import re
import types
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from beadseg.annotation.audit.document import Audit
from beadseg.config import Config, PredictConfig, TrainConfig
from beadseg.config.site import SiteConfig
from beadseg.config.sweep import SweepConfig
from beadseg.data.simulate import SceneConfig
from beadseg.measure.calibration import Calibration
from beadseg.measure.concentration import DensityReport
from beadseg.measure.evaluation import Evaluation

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIGURATION = Path(__file__).with_name("configuration.md")
FORMATS = Path(__file__).with_name("file-formats.md")
SCHEMAS = Path(__file__).with_name("schemas")
"""JSON schemas of what people and other programs read or write."""

MARKED = re.compile(r"(<!-- from: ([\w.]+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""A table in `FORMATS` that is written from a class, or a mapping of names to meanings: its first comment names it."""

SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
"""Bounds as pydantic keeps them, and as a reader knows them."""

HEAD = """# Every field of the configuration

Written by `python docs/write_reference.py` from the configuration itself; do not edit this page.

`train --set` takes the names of the first part, `predict --set` those of the second, `simulate --set` those of the
third: `--set optimizer.lr=3e-4`. Where a field has a *kind*, `--set loss.kind=focal` chooses the class and starts it
from its own defaults; set the kind before the other fields. "None" is written `null`, and in `train` mostly means:
planned from the data. The defaults here are those of the classes; a preset has its own, which `RUN/config.yaml` shows
([training](training.md#presets)).
"""


def configuration() -> str:
    """Return the whole page of the configuration."""
    parts = (
        ("Training", TrainConfig, "`train --set`, `--config FILE`, `RUN/config.yaml`"),
        ("Prediction", PredictConfig, "`predict --set`; in a training configuration they begin with `predict.`"),
        ("Simulated images", SceneConfig, "`simulate --set`"),
        ("A sweep", SweepConfig, "The file after `sweep --space`, see [sweeps](sweeps.md)"),
        ("A cluster", SiteConfig, "The file after `--cluster`, see [on a cluster](cluster.md); `submit --site`"),
    )  # fmt: skip
    lines = [HEAD]
    for title, model, use in parts:
        elsewhere = PredictConfig if model is TrainConfig else None
        lines += [f"## {title}", "", f"{use}.", "", *_section(model, "", elsewhere)]
    return "\n".join(lines).rstrip() + "\n"


def formats(text: str) -> str:
    """Return the page of file formats with its marked tables rewritten."""

    def write(marked: re.Match[str]) -> str:
        module, _, name = marked[2].rpartition(".")
        found: type[Config] | dict[str, str] = getattr(import_module(module), name)
        described = (
            {key: _meaning(info) for key, info in found.model_fields.items()} if isinstance(found, type) else found
        )
        rows = [f"| `{key}` | {meaning.rstrip('.')} |" for key, meaning in described.items()]
        return "\n".join([f"{marked[1]}| name | meaning |", "| --- | --- |", *rows, marked[3]])

    return MARKED.sub(write, text)


def _section(model: type[Config], prefix: str, elsewhere: type[Config] | None) -> Iterator[str]:
    """Yield the table of a model's own fields, then a subsection for every part that has fields of its own."""
    plain = {name: field for name, field in model.model_fields.items() if not _models(field)}
    yield from _table(plain, prefix)
    for name, field in model.model_fields.items():
        parts = [part for part in _models(field) if part is not elsewhere]
        inside = f"{prefix}{name}.NAME" if get_origin(field.annotation) is dict else f"{prefix}{name}"
        for part in parts:
            kind = part.model_fields.get("kind")
            which = (
                f", kind `{kind.default}`" if kind else f", by `{next(iter(part.model_fields))}`" if parts[1:] else ""
            )
            yield from (f"### `{inside}`{which}", "", _sentence(part), "")
            yield from _section(part, f"{inside}.", elsewhere)


def _table(fields: dict[str, FieldInfo], prefix: str) -> Iterator[str]:
    rows = [(prefix + name, field) for name, field in fields.items() if name != "kind"]
    if rows:
        yield from ("| field | default | allowed | meaning |", "| --- | --- | --- | --- |")
        for name, field in rows:
            yield f"| `{name}` | {_default(field)} | {_allowed(field)} | {_meaning(field)} |"
        yield ""


def _meaning(field: FieldInfo) -> str:
    """Return a field's description as one line of Markdown."""
    return " ".join((field.description or "").split()).replace("|", "\\|").replace("``", "`")


def _models(field: FieldInfo) -> list[type[Config]]:
    """Return the configuration classes that a field may hold."""
    found = []
    for option in _options(field.annotation):
        if isinstance(option, type) and issubclass(option, Config):
            found.append(option)
    return found


def _options(annotation: Any) -> list[Any]:
    """Return the members of a union, without their annotations; of a mapping those of its values."""
    if get_origin(annotation) is Annotated:
        return _options(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [option for member in get_args(annotation) for option in _options(member)]
    if get_origin(annotation) is dict:
        return _options(get_args(annotation)[1])
    return [annotation]


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "must be given"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    text = {None: "null", True: "true", False: "false"}.get(value) if isinstance(value, bool | None) else str(value)
    return f"`{text}`"


def _allowed(field: FieldInfo) -> str:
    """Return choices or bounds in words."""
    literals = [option for option in _options(field.annotation) if get_origin(option) is Literal]
    if literals:
        return ", ".join(f"`{choice}`" for option in literals for choice in get_args(option))
    bounds = [(sign, getattr(item, name, None)) for item in _metadata(field) for name, sign in SIGNS.items()]
    return ", ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


def _metadata(field: FieldInfo) -> list[Any]:
    """Return a field's bounds, also those of a member of a union (``Annotated[float, Field(gt=0)] | None``)."""
    inner: list[Any] = []
    for member in get_args(field.annotation) if get_origin(field.annotation) in (Union, types.UnionType) else ():
        if get_origin(member) is Annotated:
            for item in get_args(member)[1:]:
                inner += item.metadata if isinstance(item, FieldInfo) else [item]
    return [*field.metadata, *inner]


def _sentence(model: type[Config]) -> str:
    """Return the first paragraph of a class's documentation."""
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split()).replace("``", "`")


def schemas() -> dict[str, str]:
    """Return the text of every published JSON schema by the name of its file."""
    published: dict[str, type[Config]] = {
        "train": TrainConfig, "predict": PredictConfig, "simulate": SceneConfig, "sweep": SweepConfig,
        "cluster": SiteConfig, "evaluation": Evaluation, "audit": Audit, "density": DensityReport,
        "calibration": Calibration,
    }  # fmt: skip
    return {
        f"{name}.schema.json": json.dumps(kind.model_json_schema(), indent=1) + "\n" for name, kind in published.items()
    }


if __name__ == "__main__":
    SCHEMAS.mkdir(exist_ok=True)
    for name, text in schemas().items():
        (SCHEMAS / name).write_text(text, encoding="utf-8")
    CONFIGURATION.write_text(configuration(), encoding="utf-8")
    FORMATS.write_text(formats(FORMATS.read_text(encoding="utf-8")), encoding="utf-8")
