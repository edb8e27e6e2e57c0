"""A plan as text for a person. Knows no Qt."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from beadseg.config import TrainConfig
from beadseg.text import plural
from beadseg.widgets.form.schema import leaves, schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.data.fingerprint import Fingerprint
    from beadseg.training.plan import Planned
    from beadseg.widgets.train.follow import RunState
    from beadseg.widgets.train.planner import Look, PlanView

EMPTY = (
    "Choose a dataset: a folder with images/ and masks/ or labels/. What was seen in it, and what is planned from it, "
    "stands here before anything is trained.\n\nOr choose a run folder, to look at a training, to follow one that goes "
    "on elsewhere, or to continue it.\n\nNo data yet? The command  beadseg-batch simulate beads  writes a dataset to "
    "try this with."
)
"""Shown while nothing is chosen."""
MOST_LEFT_OUT = 5
"""Files left out that are named; the others are counted."""


def plan_html(view: PlanView) -> str:
    """Return the data in numbers, then every planned value with its reason."""
    warnings = [str(view.warning)] if view.warning else []
    lines = [f"⚠ {text}" for text in [*warnings, *view.look.notes, *_left_out(view.look)]]
    return f"<b>The data</b>{_list([*data_lines(view.look), *lines])}{_planned(view.planned)}"


def planned_html(state: RunState) -> str:
    """Return what a run was planned with."""
    return f"<b>Run {escape(state.folder.name)}</b><br><br>{_planned(state.planned)}"


def _planned(planned: Sequence[Planned]) -> str:
    titles = {path: leaf.title for path, leaf in leaves(schema_of(TrainConfig))}
    rows = [
        f"<b>{escape(titles.get(item.field, item.field))}: {escape(str(item.value))}</b> "
        f"<code>{escape(item.field)}</code><br>{escape(item.reason)}"
        for item in planned
    ]
    found = _list(rows, escaped=True) if rows else "<p>Nothing: every value is given.</p>"
    return f"<b>Planned from the data</b>{found}"


def data_lines(look: Look) -> list[str]:
    """Return what was seen in the data, one line each."""
    found = look.fingerprint
    return [
        f"{look.train} training and {look.val} validation samples, {plural(found.fields, 'field of view')} in training",
        f"{_objects(found)}, {found.positive_ratio:.1%} of the pixels on beads",
        f"beads {found.bead_diameter_px:.1f} px across, {found.polarity}er than their surroundings "
        f"(contrast {found.contrast:+.2f})",
        f"images from {found.width_min}x{found.height_min} px, {found.bit_depth} bit, "
        f"{found.channels} channel{'s' if found.channels > 1 else ''}",
    ]


def _objects(found: Fingerprint) -> str:
    low, high = found.objects_per_image_min, found.objects_per_image_max
    return f"{low} to {high} beads per image ({found.objects} in all)"


def _left_out(look: Look) -> list[str]:
    named = list(look.left_out[:MOST_LEFT_OUT])
    rest = len(look.left_out) - len(named)
    return [*named, f"and {plural(rest, 'more file')} left out"] if rest > 0 else named


def refused_text(left_out: Sequence[str]) -> str:
    """Return what stands in the place of a plan that was refused, with the files that were left out."""
    named = "".join(f"\n• {line}" for line in left_out)
    return "There is no plan: see the message below." + (f"\n\nLeft out:{named}" if named else "")


def _list(lines: list[str], escaped: bool = False) -> str:
    items = "".join(f"<li>{line if escaped else escape(line)}</li>" for line in lines)
    return f"<ul style='margin-left:-24px'>{items}</ul>" if items else ""
