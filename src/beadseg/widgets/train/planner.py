"""The plan of a training, kept up to date: a process of its own looks at the data, the rest is computed here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QTimer, Signal

from beadseg.config.train import ImageEpochConfig
from beadseg.data.fingerprint import Fingerprint
from beadseg.errors import BeadsegError
from beadseg.training.plan import Planned, plan
from beadseg.training.watch import Diagnosis, few_steps
from beadseg.widgets.common import temporary_folder
from beadseg.widgets.train.child import Child
from beadseg.widgets.train.watcher import Watcher

if TYPE_CHECKING:
    from collections.abc import Hashable

    from beadseg.config import TrainConfig
    from beadseg.events import Event
    from beadseg.widgets.train.child import Outcome
    from beadseg.widgets.train.order import Order

WAIT_MS = 700
"""After the last change the plan waits so long, so that typing a path starts one process and not ten."""


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
        self._order: Order | None = None
        self._key: Hashable = None
        self._look: Look | None = None
        self._left_out: list[str] = []
        self._found: dict[str, Any] | None = None
        self._watcher = Watcher(self)
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

    def ask(self, order: Order) -> None:
        """Plan `order`: at once where its data were seen already, else after a look at them."""
        key = _key(order)
        self._order = order
        if key == self._key and self._look is not None:
            self._tell()
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
        child, self._watcher.child = self._watcher.child, None
        if child is not None:
            child.kill()
        self._folder.cleanup()

    def _start(self) -> None:
        if self._order is None:
            return
        self._left_out, self._found = [], None
        self.began.emit()
        try:
            words = [*self._order.arguments(), "--plan", "--json"]
            self._watcher.watch(Child.start(words, Path(self._folder.name) / "plan.jsonl"))
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
        self._tell()

    def _tell(self) -> None:
        if self._order is None or self._order.config is None or self._look is None:
            return
        config, planned = plan(self._order.config, self._look.fingerprint)
        self.planned.emit(PlanView(self._look, config, planned, _few(config, self._look.train)))


def _key(order: Order) -> Hashable:
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
