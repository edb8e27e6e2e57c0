"""A training run is a folder. This module lays it out and fills it: inputs, history, model, diagnosis, summary."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import psutil
import torch

from beadseg import files
from beadseg.config import ImageEpochConfig, TrainConfig
from beadseg.data.documents import read_entries, refuse_foreign_folder
from beadseg.errors import BeadsegError, InputError, RunError
from beadseg.events import Event, OnEvent, StopFlag, ignore, log
from beadseg.files import ensure_folder, unstaged, write_atomically
from beadseg.model.backends import torch_only
from beadseg.runtime.locking import locked
from beadseg.text import plural
from beadseg.training.batches import load_images_of_machine
from beadseg.training.diagnosis import Criterion, Diagnosis, Verdict, Watch, criteria, few_steps
from beadseg.training.distributed import Team, joined, own_device
from beadseg.training.postprocessing import calibrate_model, fit_objects, give_objects, go_as_far, keep_what_it_knew
from beadseg.training.prepare import DECODED_SHARE, Planned, prepare
from beadseg.training.records import Row, freeze, gain, read_history, write_rows
from beadseg.training.targets import Completed
from beadseg.training.trainer import CHECKPOINT_SECONDS, Trainer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from beadseg.data.dataset import Dataset, Decoded
    from beadseg.data.fingerprint import Fingerprint
    from beadseg.data.split import Split
    from beadseg.training.prepare import Prepared

COLUMNS = ("model", "best_epoch", "best_val_jaccard", "final_val_jaccard", "train_time")


@dataclass(frozen=True)
class Run:
    """A run folder with at least one finished epoch.

    Attributes
    ----------
    folder : pathlib.Path
        Where it lies.
    """

    folder: Path

    @property
    def config(self) -> TrainConfig:
        """The complete configuration."""
        return TrainConfig.from_file(self.folder / files.CONFIG)

    @property
    def history(self) -> list[Row]:
        """One row per epoch; columns as in `HISTORY_COLUMNS` of `records`; raises `RunError` when damaged."""
        path = self.folder / files.HISTORY
        rows = read_history(path)
        if not all({"epoch", "step"} <= set(row) for row in rows):
            raise RunError("Has rows without an epoch or a step.", path, "Copy it again from where it was trained.")
        return rows

    @property
    def criteria(self) -> list[Criterion]:
        """The laboratory's success criteria with measured values; raises `RunError` when missing or damaged."""
        return read_entries(self.folder / files.CRITERIA, "criteria", Criterion)

    @property
    def noticed(self) -> list[Diagnosis]:
        """What the run noticed about itself; raises `RunError` when missing or damaged."""
        return read_entries(self.folder / files.DIAGNOSIS, "diagnosis", Diagnosis)

    @property
    def planned(self) -> list[Planned]:
        """What was planned from the training samples; raises `RunError` when missing or damaged."""
        return read_entries(self.folder / files.PLAN, "planned", Planned)

    @property
    def best(self) -> Row:
        """The history row of the best epoch."""
        metric = self.config.stop.metric
        rows = [row for row in self.history if f"val_{metric}" in row]
        if not rows:
            return self.history[-1]
        return max(rows, key=lambda row: (gain(metric, row[f"val_{metric}"]), -row["epoch"]))


@torch_only()
def train(
    dataset: Dataset,
    config: TrainConfig,
    out: Path | str,
    *,
    split: Split | None = None,
    refit: bool = False,
    device: str = "auto",
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    checkpoint_minutes: float = CHECKPOINT_SECONDS / 60,
    has_ended: Callable[[str], bool] = lambda job: False,
) -> Run:
    """Train a network in the folder `out`, or continue there; the same call does both.

    Called in each of several processes that `torchrun` started, they train it together: the first one writes the
    folder and tells what happens. The network is that of one process up to the rounding of float32, and the folder can
    be continued by any number of them.

    Parameters
    ----------
    dataset : Dataset
        Annotated samples.
    config : TrainConfig
        Open (None) values are planned from the fingerprint of the training samples.
    out : path
        The run folder: new, or one that the same call began.
    split : Split, optional
        Training and validation samples; made by ``config.split`` when not given.
    refit : bool
        Afterwards train the final model on all samples, for as many epochs as were useful.
    device : str
        ``auto``, ``cpu``, ``cuda`` …
    on_event, stop
        Progress, and the flag that ends the work after the current step, e.g. a `Deadline`.
    checkpoint_minutes : float
        What a sudden end can cost at most, min; a checkpoint is written this often, and after every epoch.
    has_ended : callable
        Tells whether the PBS job of an id has certainly ended: its lock on the folder is then not waited for.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    RunError
        The folder holds another run, another process works in it, or the data changed since it began.
    ImageError
        A sample cannot be read.
    TrainingError
        The loss became NaN or infinite; whole epochs from before are kept.
    Cancelled
        `stop` was set; every step is kept.
    """
    refuse_foreign_folder(files.user_path(out), files.CONFIG, "a run")
    folder = ensure_folder(files.user_path(out))
    stop = StopFlag() if stop is None else stop
    with joined(device) as team, torch_left_as_found(own_device(device, team)):
        on_event = _logged(folder / files.LOG, on_event) if team.first else ignore
        with locked(folder, on_event, stop, has_ended) if team.first else nullcontext():
            run = _train(dataset, config, folder, split, refit, device, on_event, stop, checkpoint_minutes * 60, team)
            team.wait()
    return run


@contextmanager
def torch_left_as_found(device: torch.device) -> Iterator[None]:
    """Give the caller's random states and settings of cuDNN back: a training sets its own."""
    flags = torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark
    devices = [torch.cuda.current_device() if device.index is None else device.index] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = flags


def _train(
    dataset: Dataset,
    config: TrainConfig,
    folder: Path,
    split: Split | None,
    refit: bool,
    device: str,
    on_event: OnEvent,
    stop: StopFlag,
    checkpoint_seconds: float,
    team: Team,
) -> Run:
    """Train in a folder that no other training works in."""
    where = own_device(device, team)
    decoded = Completed(psutil.virtual_memory().available * DECODED_SHARE, config)
    asked, prepared = config, _prepared(dataset, config, split, on_event, stop, team, decoded)
    config, split = prepared.config, prepared.split
    done = team.from_first(_begin(folder, dataset, asked, prepared, refit, where, on_event) if team.first else False)
    description = {"fingerprint": _as_seen(prepared.fingerprint, config).model_dump()}
    parts = {"train": [dataset[name] for name in split.train], "val": [dataset[name] for name in split.val]}
    images = load_images_of_machine(parts, config, team, on_event, stop, decoded)
    del decoded
    heard = _not_again(on_event) if done else on_event
    trainer = Trainer(
        images["train"], images["val"], config, folder, description, where, heard, stop, checkpoint_seconds, team
    )
    try:
        trainer.run()
        if team.first:
            keep_what_it_knew(trainer, folder, heard, stop)
            fit_objects(trainer, folder, heard, stop)
    finally:
        if team.first:
            judge(folder, trainer, heard)
    if team.first:
        calibrate_model(folder / files.BEST, images["val"], images["train"], str(where), heard, stop)
    if refit:
        _refit(trainer, folder, heard, stop)
    return Run(folder)


def _prepared(
    dataset: Dataset,
    config: TrainConfig,
    split: Split | None,
    on_event: OnEvent,
    stop: StopFlag,
    team: Team,
    decoded: Decoded,
) -> Prepared:
    """Look at the data in the first process and tell the others what is planned; raises in all as `prepare` does."""
    team.check_same((config, split, dataset.names), "configuration and samples")
    error: BeadsegError | None = None
    prepared: Prepared | None = None
    if team.first:
        try:
            prepared = prepare(dataset, config, split, on_event, stop, decoded)
        except BeadsegError as failed:
            error = failed
    team.check(error)
    from_first = team.from_first(prepared)
    if from_first is None:
        raise RunError("The first process has planned nothing.", str(team), "Run the command again.")
    return from_first


def _as_seen(found: Fingerprint, config: TrainConfig) -> Fingerprint:
    """Return the training data in numbers, its densities as the network sees them: per pixel of resampled images."""
    known, diameter = config.image.bead_px, config.predict.size.diameter
    if known is None or diameter is None:
        return found
    area = (known / diameter) ** 2
    return found.replace(
        objects_per_mpx_min=found.objects_per_mpx_min / area, objects_per_mpx_max=found.objects_per_mpx_max / area
    )


def _begin(
    folder: Path,
    dataset: Dataset,
    asked: TrainConfig,
    prepared: Prepared,
    refit: bool,
    device: torch.device,
    on_event: OnEvent,
) -> bool:
    """Write what the run stands on, or compare it in one that was begun; return whether the run is finished."""
    begun = freeze(folder, dataset, prepared.config, prepared.split, prepared.objects, asked, on_event)
    found, reasons = prepared.fingerprint, prepared.planned
    document = {"schema_version": 1, "fingerprint": found.model_dump(), "planned": [p.model_dump() for p in reasons]}
    write_atomically(folder / files.PLAN, json.dumps(document, indent=2))
    if not (folder / files.ENVIRONMENT).exists():
        write_atomically(folder / files.ENVIRONMENT, json.dumps(environment(device), indent=2))
    if begun and _is_finished(folder, refit=refit, tuned=prepared.config.tune):
        on_event(log(f"The run in {folder} is already finished; nothing is trained again."))
        return True
    if begun:
        on_event(log(f"Continuing the run in {folder}."))
    _introduce(reasons, prepared.notes, prepared.split, device, on_event)
    return False


def _introduce(
    reasons: Sequence[Planned], notes: Sequence[str], split: Split, device: torch.device, on_event: OnEvent
) -> None:
    """Tell what is planned, and what is trained on."""
    for planned in reasons:
        on_event(log(f"Planned {planned.field} = {planned.value}: {planned.reason}."))
    for note in (*notes, *split.notes):
        on_event(log(note, "warning"))
    on_event(log(f"{len(split.train)} training and {len(split.val)} validation samples; computing on {device}."))


def _is_finished(folder: Path, *, refit: bool, tuned: bool) -> bool:
    """Return whether a run, with refit and fitted separation where they are asked for, has come to its end."""
    if refit and not (folder / files.FINAL).exists():
        return False
    fitted = (files.SEPARATION,) if tuned else ()
    return all((folder / name).exists() for name in (files.LAST, files.BEST, *fitted, files.CRITERIA))


def _not_again(on_event: OnEvent) -> OnEvent:
    """Return a listener that leaves out what a person was told when the run was trained."""

    def listen(event: Event) -> None:
        if event.kind == "progress" or event.level != "info":
            on_event(event)

    return listen


def _refit(first: Trainer, folder: Path, on_event: OnEvent, stop: StopFlag | None) -> None:
    """Train the final model on training and validation images together."""
    config = first.config
    if config.stop.patience is not None and first.best is not None:
        config = config.replace(epochs=first.best["epoch"])
    everything = [*first.sampler.images, *first.validation]
    on_event(log(f"Refitting on all {plural(len(everything), 'image')} for {plural(config.epochs, 'epoch')}."))
    inner = ensure_folder(folder / files.REFIT)
    seconds, team = first.checkpoint_seconds, first.team
    Trainer(everything, [], config, inner, first.description, first.device, on_event, stop, seconds, team).run()
    if not team.first:
        return
    go_as_far(folder / files.BEST, inner / files.BEST, first)
    give_objects(folder / files.BEST, inner / files.BEST)
    calibrate_model(inner / files.BEST, [], everything, str(first.device), on_event, stop)
    write_atomically(folder / files.FINAL, (inner / files.BEST).read_bytes())


def _logged(path: Path, on_event: OnEvent) -> OnEvent:
    """Return a listener that also appends every message to a run's log, with a time stamp.

    A log that cannot be written, because another program has it open, does not end a training: it is reported once.
    """
    lost = False

    def listen(event: Event) -> None:
        nonlocal lost
        if event.message:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S")
            try:
                with path.open("a", encoding="utf-8") as file:
                    file.write(f"{stamp} {event.level.upper()} {event.message}\n")
            except OSError as error:
                if not lost:
                    on_event(log(f"{path}: {error.strerror or error}. Its lines are lost until it can be written.",
                                 "warning"))  # fmt: skip
                lost = True
        on_event(event)

    return listen


def environment(device: torch.device) -> dict[str, Any]:
    """Return what a run was computed with: versions, machine, threads, command."""
    packages = ("beadseg", "torch", "monai", "numpy", "scikit-image", "scikit-learn")
    return {
        "schema_version": 1,
        "command": [str(unstaged(Path(word))) if word.startswith("/") else word for word in sys.argv],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "threads": torch.get_num_threads(),
        "host": platform.node(),
        "job": os.environ.get("PBS_JOBID") or os.environ.get("SLURM_JOB_ID", ""),
    }


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
        on_event(Event("criterion", _criterion_text(item), "debug", item.model_dump()))
    counts = {verdict: sum(item.verdict == verdict for item in judged) for verdict in get_args(Verdict)}
    tally = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    on_event(log(f"Success criteria of the laboratory: {tally}; see {files.REPORT_PAGE}.", **counts))
    for item in judged:
        if item.group == "must achieve" and item.verdict == "not met":
            on_event(log(_criterion_text(item)))


def _criterion_text(item: Criterion) -> str:
    """Return a criterion in one line."""
    value = "" if item.measured is None else f" {item.measured:.4f}"
    return f"{item.group}: {item.name}: {item.verdict}{value} ({item.note})"


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a versioned JSON document, whole or not at all."""
    write_atomically(path, json.dumps({"schema_version": 1, **content}, indent=2))


def training_summary(folder: Path, runs: Sequence[tuple[str, Run]]) -> Path:
    """Write ``training_summary.csv`` with the laboratory's columns, one row per network; return its path."""
    rows = []
    for name, run in runs:
        metric = "val_jaccard_images"
        seconds = sum(
            row["train_seconds"] + row["validation_seconds"] for row in read_history(run.folder / files.TIMES)
        )
        best, last = run.best, run.history[-1]
        if metric not in last:
            raise InputError(
                "The run has no validation score to summarise.", run.folder, "Train with validation samples."
            )
        rows.append({
            "model": name,
            "best_epoch": best["epoch"],
            "best_val_jaccard": f"{best[metric]:.4f}",
            "final_val_jaccard": f"{last[metric]:.4f}",
            "train_time": f"{seconds / 3600:.2f}h",
        })  # fmt: skip
    path = folder / files.TRAINING_SUMMARY
    write_rows(path, rows, COLUMNS)
    return path
