"""One step of a review: who did what to which sample, when and why. Steps are added, never changed."""

from __future__ import annotations

import getpass
import os
import secrets
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import Field

from beadseg.config.base import Config
from beadseg.text import from_line, to_line

State = Literal["pending", "accepted", "rejected", "corrected"]
"""What was decided about a sample's annotation; ``pending``: nothing yet."""
STATES: tuple[State, ...] = ("pending", "accepted", "rejected", "corrected")

Action = Literal["draft", "accept", "reject", "pending", "correct", "ignore", "undo", "redo"]
"""What a step does. ``draft``: the annotation was made by a machine. ``pending``: takes a decision back to none."""

ACTION_OF: dict[State, Action] = {
    "pending": "pending",
    "accepted": "accept",
    "rejected": "reject",
    "corrected": "correct",
}
"""The action that brings a sample into a state."""

Kind = Literal["", "mask", "labels"]
"""How a mask file is to be read: foreground only, or one id per bead; empty where there is none."""

BY_VARIABLE = "BEADSEG_BY"
"""Environment variable with the name to sign decisions with."""


class Step(Config):
    """A row of the journal."""

    time: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
    """UTC by the writer's clock."""
    by: str
    """Who."""
    sample: str
    """Name of the sample."""
    action: Action
    """What was done."""
    state: Literal["", "pending", "accepted", "rejected", "corrected"] = ""
    """State of the sample from this step on; empty for ``ignore``, ``undo`` and ``redo``."""
    why: str = ""
    """Reason in the person's words."""
    mask: str = ""
    """The mask decided on, relative to the dataset folder; empty where there is none."""
    kind: Kind = ""
    """How `mask` is to be read."""
    mask_sha256: str = ""
    """Of the file's bytes when it was decided on."""
    ignore: str = ""
    """``ignore``: the new ignore mask, relative to the dataset folder."""
    ignore_sha256: str = ""
    """Of that file's bytes."""
    step: str
    """Unique id."""
    after: tuple[str, ...] = ()
    """Ids of the newest steps of this sample that the writer knew of."""
    target: str = ""
    """``undo``, ``redo``: id of the step that is taken back or put into force again."""
    group: str = ""
    """Id shared by the steps that one command made together; they are undone together."""
    version: Literal["1"] = "1"
    """Version of this table."""

    def to_line(self) -> str:
        """Return the step as a row of the journal, its line feed included."""
        values = self.model_dump()
        return to_line([" ".join(value) if isinstance(value, tuple) else value for value in values.values()])

    @classmethod
    def from_line(cls, line: str, columns: list[str]) -> Self:
        """Read a row; raises `ConfigError`, or `ValueError` for a row that has not as many cells as `columns`."""
        values = dict(zip(columns, from_line(line), strict=True))
        known = {name: value for name, value in values.items() if name in cls.model_fields}
        return cls.parse({**known, "after": tuple(known.get("after", "").split())})


COLUMNS = tuple(Step.model_fields)
"""Columns of a journal."""


def new_id() -> str:
    """Return an id that no other step has, on whatever machine: the time, for people, and 48 random bits."""
    return f"{datetime.now(UTC):%Y%m%d%H%M%S}-{secrets.token_hex(6)}"


def now() -> str:
    """Return the time in the form of `Step.time`."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def who() -> str:
    """Return the name that decisions are signed with: ``BEADSEG_BY``, else that of the user of this computer."""
    given = os.environ.get(BY_VARIABLE, "").strip()
    if given:
        return given
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without an entry for this user
        return "unknown"
