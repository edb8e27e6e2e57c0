"""The published JSON schema of ``density.json``: for other programs that read it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from beadseg.measure.concentration.document import DensityReport

NAME = "density.schema.json"
"""File in this package."""


def current() -> str:
    """Return the schema of the document as it is now, as JSON text."""
    return json.dumps(DensityReport.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def published() -> Any:
    """Return the schema that comes with the package."""
    return json.loads(resources.files(__package__).joinpath(NAME).read_text(encoding="utf-8"))
