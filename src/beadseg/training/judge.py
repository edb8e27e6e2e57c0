"""What a run says of itself: what it noticed, and how far it meets the laboratory's success criteria."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

from beadseg import files
from beadseg.config import ImageEpochConfig
from beadseg.events import Event, OnEvent, log
from beadseg.files import write_atomically
from beadseg.text import plural
from beadseg.training.criteria import Criterion, Verdict, criteria
from beadseg.training.watch import Watch, few_steps

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.training.trainer import Trainer


def judge(folder: Path, trainer: Trainer, on_event: OnEvent) -> None:
    """Write what the run noticed about itself, and when it is finished the success criteria; report them."""
    config = trainer.config
    first = few_steps(trainer.sampler.steps, config.epochs)
    noticed = ([first] if first else []) + Watch(config.stop.metric).all(trainer.rows)
    _write_json(folder / files.DIAGNOSIS, {"diagnosis": [item.model_dump() for item in noticed]})
    if not trainer.finished:
        return
    judged = criteria(trainer.rows, config.epochs, stopped_early=trainer.stopped_early)
    steps = "" if isinstance(config.epoch, ImageEpochConfig) else (
        f"An epoch of this run is {plural(trainer.sampler.steps, 'step')}; the document's is one pass over the images."
    )  # fmt: skip
    _write_json(folder / files.CRITERIA, {"note": steps, "criteria": [item.model_dump() for item in judged]})
    for item in judged:
        on_event(Event("criterion", _told(item), "debug", item.model_dump()))
    counts = {verdict: sum(item.verdict == verdict for item in judged) for verdict in get_args(Verdict)}
    tally = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    on_event(log(f"Success criteria of the laboratory: {tally}; see {files.REPORT_PAGE}.", **counts))
    for item in judged:
        if item.group == "must achieve" and item.verdict == "not met":
            on_event(log(_told(item)))


def _told(item: Criterion) -> str:
    """Return a criterion in one line."""
    value = "" if item.measured is None else f" {item.measured:.4f}"
    return f"{item.group}: {item.name}: {item.verdict}{value} ({item.note})"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a versioned JSON document, whole or not at all."""
    write_atomically(path, json.dumps({"schema_version": 1, **content}, indent=2))
