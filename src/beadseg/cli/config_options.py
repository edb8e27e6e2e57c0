"""From command-line options to the core's objects: a dataset, a configuration, threads. Imports the core late."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Dataset
    from beadseg.data.fields import FieldRule
    from beadseg.events import OnEvent


def open_dataset(
    folder: Path,
    on_event: OnEvent,
    *,
    include: list[str] | None,
    exclude: list[str] | None,
    fields: str | None,
    samples: str | None = None,
    **folders: Any,
) -> Dataset:
    """Open a dataset folder and report what could not be paired, and what its review leaves out.

    `samples`: see `beadseg.annotation.review.Which`; with None the review is not looked at.
    """
    from beadseg.annotation.review import Review, reviewed
    from beadseg.data.dataset import Dataset
    from beadseg.events import Event, log
    from beadseg.text import plural

    # A review may have given masks to images that had none.
    complete = samples is None or not Review.exists(folder)
    rule = field_rule(fields)
    data = Dataset.open(
        folder, include=include or (), exclude=exclude or (), fields=rule, require_masks=complete, **folders
    )
    on_event(log(f"{plural(len(data), 'sample')} in {plural(len(data.fields), 'field of view')} from {folder}."))
    for problem in data.problems:
        on_event(Event("left-out", f"Left out: {problem}", "warning", {"path": str(problem.path)}))
    return data if samples is None else reviewed(data, samples, on_event)


def field_rule(text: str | None) -> FieldRule:
    """Return how fields of view are found: ``own``, a CSV file, a regular expression, or None: the usual tile names."""
    from beadseg.data.fields import CsvFields, OwnFields, PatternFields

    if text is None:
        return PatternFields()
    if text == "own":
        return OwnFields()
    if text.lower().endswith((".csv", ".tsv", ".txt")):
        return CsvFields(path=Path(text))
    return PatternFields.parse({"pattern": text}, "--fields")


def train_config(
    preset: str,
    network: str | None,
    file: Path | None,
    assignments: list[str] | None,
    seed: int | None,
    epochs: int | None,
    split_file: Path | None,
    on_event: OnEvent | None = None,
) -> TrainConfig:
    """Return the configuration that the options describe: preset or file first, then every change.

    `on_event` hears which settings do not apply to another kind of network, loss … that was chosen.
    """
    from beadseg.config import TrainConfig
    from beadseg.events import log

    def note(text: str) -> None:
        if on_event is not None:
            on_event(log(text, "warning"))

    if file is None:
        config = TrainConfig.preset(preset, network)
    else:
        config = TrainConfig.from_file(_asked(file, note))
        if network not in (None, config.network.kind):
            config = config.with_overrides([f"network.kind={network}"], note)
    changes: dict[str, Any] = {}
    if seed is not None:
        changes["seed"] = seed
    if epochs is not None:
        changes["epochs"] = epochs
    if split_file is not None:
        changes["split"] = {"kind": "file", "path": split_file}
    config = config.replace(**changes) if changes else config
    return config.with_overrides(assignments, note) if assignments else config


def _asked(file: Path, note: Callable[[str], None]) -> Path:
    """Return the configuration file of a run folder: the one asked for; say what a run's planned one means."""
    from beadseg import files

    if file.is_dir():
        asked = file / files.ASKED
        return asked if asked.exists() else file / files.CONFIG
    if file.name == files.CONFIG and (file.parent / files.PLAN).exists():
        what = f"{file} holds values that were planned from the data of that run."
        note(f"{what} To plan them again for other data, give its folder: --config {file.parent}.")
    return file


def use_threads(threads: int | None) -> int:
    """Give torch the CPU threads asked for, or those that the machine grants to this process; return how many."""
    import torch

    from beadseg.cli.hardware import granted_cores

    count = granted_cores() if threads is None else threads
    torch.set_num_threads(count)
    return count


def earlier_size(folder: Path, name: str, key: str) -> int:
    """Return how much the JSON document `name` of an earlier result holds: its list or number under `key`, else 0."""
    from beadseg.data.documents import read_document
    from beadseg.errors import RunError

    try:
        value = read_document(folder / name).get(key)
    except RunError:
        return 0
    return value if isinstance(value, int) else len(value) if isinstance(value, list | dict) else 0


def warn_if_less(path: Path, before: int, now: int, noun: str, on_event: OnEvent) -> None:
    """Warn where a result of `before` things, such as images, was replaced by one of fewer."""
    from beadseg.events import Event
    from beadseg.text import plural

    if now < before:
        text = f"{path}: replaced an earlier result of {plural(before, noun)} by one of {plural(now, noun)}."
        on_event(Event("replaced", text, "warning", {"path": str(path), "before": before, "now": now}))
