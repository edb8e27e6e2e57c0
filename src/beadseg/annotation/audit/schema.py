"""The published JSON schema of ``audit.json``: for other programs that read it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from beadseg.annotation.audit.document import Audit

NAME = "audit.schema.json"
"""File in this package."""


def current() -> str:
    """Return the schema of the document as it is now, as JSON text."""
    return json.dumps(Audit.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def published() -> Any:
    """Return the schema that comes with the package."""
    return json.loads(resources.files(__package__).joinpath(NAME).read_text(encoding="utf-8"))
