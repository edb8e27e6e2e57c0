"""The plan of a training as text, kept up to date: another process looks at the data, the rest is computed here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from beadseg.config import TrainConfig
from beadseg.config.train import ImageEpochConfig
from beadseg.data.fingerprint import Fingerprint
from beadseg.errors import BeadsegError
from beadseg.runtime.process import Process
from beadseg.text import duration, plural
from beadseg.training.diagnosis import Diagnosis, few_steps
from beadseg.training.prepare import Planned, plan
from beadseg.widgets.common import settings, temporary_folder
from beadseg.widgets.common.background import Monitor
from beadseg.widgets.form.schema import leaves, schema_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from beadseg.events import Event
    from beadseg.runtime.process import Outcome
    from beadseg.widgets.train.command import TrainCommand
    from beadseg.widgets.train.session import RunState

WAIT_MS = 700
"""After the last change the plan waits so long, so that typing a path starts one process and not ten."""

EMPTY = (
    "Choose a dataset: a folder with images/ and masks/ or labels/. What was seen in it, and what is planned from it, "
    "stands here before anything is trained.\n\nOr choose a run folder, to look at a training, to follow one that goes "
    "on elsewhere, or to continue it."
)
"""Shown while nothing is chosen."""
USUAL_SPEED = 2e-6
"""Seconds of training per pixel that a network sees, on two processor cores; measured with the preset dense."""
MOST_LEFT_OUT = 5
"""Files left out that are named; the others are counted."""


@dataclass(frozen=True)
class Look:
    """What was seen in the data: it does not change with the network or the loss."""

    fingerprint: Fingerprint
    train: int
    val: int
    notes: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class PlanView:
    """A plan to show."""

    look: Look
    config: TrainConfig
    planned: tuple[Planned, ...]
    warning: Diagnosis | None

    @property
    def values(self) -> dict[str, Any]:
        """Dotted field to planned value."""
        return {item.field: item.value for item in self.planned}


class Planner(QObject):
    """Plans the order it was last asked for."""

    began = Signal()
    """The data are being looked at."""
    progressed = Signal(str, int, int)
    """Task, done, total."""
    planned = Signal(object)
    """A `PlanView`."""
    failed = Signal(str)
    """Why there is no plan."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._order: TrainCommand | None = None
        self._key: Hashable = None
        self._look: Look | None = None
        self._left_out: list[str] = []
        self._found: dict[str, Any] | None = None
        self._watcher = Monitor(self)
        self._watcher.happened.connect(self._hear)
        self._watcher.ended.connect(self._end)
        self._folder = temporary_folder()
        self._delay = QTimer(self)
        self._delay.setSingleShot(True)
        self._delay.setInterval(WAIT_MS)
        self._delay.timeout.connect(self._start)

    @property
    def looking(self) -> bool:
        """Whether the data are being looked at, or will be in a moment."""
        return self._watcher.running or bool(self._delay.isActive())

    @property
    def left_out(self) -> tuple[str, ...]:
        """Files that the last look left out, each with its reason."""
        return tuple(self._left_out)

    def ask(self, order: TrainCommand) -> None:
        """Plan `order`: at once where its data were seen already, else after a look at them."""
        key = _key(order)
        self._order = order
        if key == self._key and self._look is not None:
            self._emit_plan()
        elif key != self._key or not self.looking:
            self._key, self._look = key, None
            self._watcher.kill()
            self._delay.start()

    def cancel(self) -> None:
        """Look no more."""
        self._delay.stop()
        self._watcher.kill()
        self._key = None

    def end_processes(self) -> None:
        """End the process and remove its file; for the end of the widget, touches no Qt object."""
        self._watcher.end_process()
        self._folder.cleanup()

    def _start(self) -> None:
        if self._order is None:
            return
        self._left_out, self._found = [], None
        self.began.emit()
        try:
            words = [*self._order.arguments(), "--plan", "--json"]
            self._watcher.watch(Process.start(words, Path(self._folder.name) / "plan.jsonl"))
        except BeadsegError as error:
            self.failed.emit(str(error))

    def _hear(self, events: list[Event]) -> None:
        for event in events:
            if event.kind == "progress":
                self.progressed.emit(event.data["task"], event.data["done"], event.data["total"])
            elif event.kind == "left-out":
                self._left_out.append(event.message)
            elif event.kind == "result":
                self._found = event.data.get("plan")

    def _end(self, outcome: Outcome) -> None:
        if self._found is None:
            self._key = None
            self.failed.emit(outcome.message)
            return
        split = self._found["split"]
        self._look = Look(Fingerprint.parse(self._found["fingerprint"]), int(split["train"]), int(split["val"]),
                          tuple(split["notes"]), tuple(self._left_out))  # fmt: skip
        self._emit_plan()

    def _emit_plan(self) -> None:
        if self._order is None or self._order.config is None or self._look is None:
            return
        config, planned = plan(self._order.config, self._look.fingerprint)
        self.planned.emit(PlanView(self._look, config, planned, _few(config, self._look.train)))


def _key(order: TrainCommand) -> Hashable:
    """Return what the look at the data depends on."""
    split = None if order.config is None else (order.config.split.model_dump_json(), order.config.seed)
    return (order.dataset, order.samples, order.kept, split)


def _few(config: TrainConfig, images: int) -> Diagnosis | None:
    """Return the warning of too few steps per epoch, before anything is trained."""
    if isinstance(config.epoch, ImageEpochConfig):
        steps = math.ceil(images / (config.batch or 1))
    else:
        steps = config.epoch.steps or 1
    return few_steps(steps, config.epochs)


def plan_html(view: PlanView) -> str:
    """Return the data in numbers, then every planned value with its reason."""
    warnings = [str(view.warning)] if view.warning else []
    lines = [f"⚠ {text}" for text in [*warnings, *view.look.notes, *_left_out(view.look)]]
    takes = time_text(view.config, view.look.train)
    return f"<b>The data</b>{_list([*data_lines(view.look), *lines])}<p>{escape(takes)}</p>{_planned(view.planned)}"


def pixels_of(config: TrainConfig, images: int = 0) -> int:
    """Return how many pixels the network sees in an epoch; `images`: training images, which an epoch may be made of."""
    epoch = config.epoch
    patches = (epoch.steps or 1) * (config.batch or 1) if epoch.kind == "patches" else max(1, images)
    return patches * (epoch.size or 1) ** 2


def time_text(config: TrainConfig, images: int) -> str:
    """Return how long a planned training will take, by the last one on this computer; roughly before the first."""
    speed = settings.speed(config.network.kind)
    seconds = (speed or USUAL_SPEED) * pixels_of(config, images) * config.epochs
    if speed is None:
        return f"Takes roughly {duration(seconds)} on two processor cores; less with a graphics card."
    return f"Takes about {duration(seconds)}, as fast as the last training here."


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
