"""Runs and presets side by side, in the words of the laboratory's hyperparameter table, with what was measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never

import pandas as pd
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, ScalarFormatter

from beadseg import files
from beadseg.config import PRESETS, ImageEpochConfig, TrainConfig
from beadseg.config.base import Config
from beadseg.config.train import (
    BlockSplitConfig,
    DiceCELossConfig,
    DiceFocalLossConfig,
    DiceLossConfig,
    FieldSplitConfig,
    FileSplitConfig,
    FocalLossConfig,
    LossConfig,
    SplitConfig,
    StratifiedSplitConfig,
    TverskyLossConfig,
)
from beadseg.data.scan import natural_key
from beadseg.errors import InputError, RunError
from beadseg.report.figure import BLUE, GREEN, ORANGE, PURPLE, expected_band, label_of, new_figure, save, tidy
from beadseg.text import TIMES, Row, box_table, csv_text, duration, pipe_table, plural
from beadseg.training.records import read_history
from beadseg.training.run import Run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PER_TABLE = 8
"""So many runs stand side by side; more stand below each other, with what differs and was measured only."""
SEARCH_DEPTH = 2
"""Depth to which runs are searched below a folder that is not a run itself."""
SCORE = "val_jaccard_images"
"""The score of the laboratory's tables, here the mean over images."""
UNKNOWN = "-"
"""Stands for what is not there."""
NOT_APPLICABLE = "not applicable"
"""Verdict of a criterion that a run cannot be held to."""
CRITERIA = "Criteria"
"""Column of a list of runs: how many of the laboratory's criteria are met."""
DIFFERS, SAME = "differs", "same"

COMPARISON_PNG = "comparison.png"
"""Validation curves of the compared runs."""

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#D55E00", "#56B4E9")
"""Colour-blind-safe (Okabe and Ito 2008); with the styles, 24 runs can be distinguished."""
MOST_MARKERS = 20
"""Curves of more points than this are lines alone."""
_STYLES = ("-", "--", ":", "-.")

PLANNED = "planned from the data"
"""Stands for a value that a preset leaves open."""

LEARNING_RATE, BATCH, DROPOUT, LOSS, SPLIT = (
    "Learning rate", "Batch size", "Dropout", "Loss function", "Train/val split",
)  # fmt: skip
"""The settings that the laboratory's document changes between sparse and dense images."""


class Point(Config):
    """One validation of a run."""

    epoch: int
    """Epoch, from 1."""
    step: int
    """Optimizer steps so far."""
    jaccard: float
    """Validation Jaccard, mean over images."""


class Column(Config):
    """A run or preset."""

    name: str
    """What it is called in the tables."""
    kind: Literal["run", "preset"]
    """A run has measured values."""
    path: str
    """The run folder; empty for a preset."""
    settings: dict[str, str]
    """Hyperparameters by name, as text."""
    measured: dict[str, str]
    """Measured values by name, as text; empty for a preset."""
    verdicts: dict[str, str]
    """The laboratory's success criteria by name: verdict and value; empty for a preset or an unfinished run."""
    curve: tuple[Point, ...]
    """The validation curve."""


class Comparison(Config):
    """Runs and presets side by side."""

    columns: tuple[Column, ...]
    """In the order they were given."""
    failures: tuple[str, ...]
    """What could not be read, one sentence each."""

    def groups(self) -> tuple[tuple[str, tuple[str, ...], bool], ...]:
        """Return the parts of the table: where a row is found in `Column`, its names, and whether they are compared."""
        return (
            ("settings", self._names("settings"), True),
            ("measured", self._names("measured"), False),
            ("verdicts", self._names("verdicts"), False),
        )

    def text(self, width: int | None = None, *, align: bool = True) -> str:
        """Return the table as text; more than `PER_TABLE` runs have a row each, fewer a column each.

        Parameters
        ----------
        width : int, optional
            Letters in a line of the terminal: box-drawing tables of as many columns as fit. When not given, Markdown.
        align : bool
            Pad the columns of a Markdown table, for reading as plain text.
        """
        if len(self.columns) > PER_TABLE:
            return self._list_of_runs(boxes=width is not None, align=align)
        if width is not None:
            return "\n".join(self._boxes(width))
        rows = [row for group in self._rows(self.columns) for row in group]
        return pipe_table(self._header(self.columns), rows, align=align)

    def table(self) -> pd.DataFrame:
        """Return one row per run or preset."""
        rows: list[dict[str, Any]] = []
        for column in self.columns:
            row: dict[str, Any] = {"name": column.name, "kind": column.kind, "path": column.path}
            for part, names, _ in self.groups():
                row |= {name: getattr(column, part).get(name, "") for name in names}
            rows.append(row)
        return pd.DataFrame(rows)

    def write(self, out: Path) -> None:
        """Write ``comparison.md`` and ``comparison.csv``; raises `MachineError`."""
        files.ensure_folder(out)
        text = f"# Comparison\n\n{self.text(align=False)}\n"
        files.write_together({out / files.COMPARISON_TEXT: text, out / files.COMPARISON_TABLE: csv_text(self.table())})

    def _names(self, part: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for column in self.columns for name in getattr(column, part)))

    def _rows(self, block: Sequence[Column]) -> list[list[Row]]:
        """Return the rows of every group that say anything of `block`; settings are marked by all columns."""
        groups = []
        for part, names, compared in self.groups():
            rows = []
            for name in names:
                values = {getattr(column, part).get(name, UNKNOWN) for column in self.columns}
                cells = tuple(getattr(column, part).get(name, UNKNOWN) for column in block)
                mark = (DIFFERS if len(values) > 1 else SAME) if compared and len(self.columns) > 1 else ""
                if set(cells) - {UNKNOWN, NOT_APPLICABLE}:
                    rows.append((name, *cells, mark))
            groups.append(rows)
        return groups

    def _header(self, block: Sequence[Column]) -> Row:
        return ("Hyperparameter", *(column.name for column in block), "")

    def _list_of_runs(self, *, boxes: bool, align: bool) -> str:
        """Return what is the same for all, then a table of what differs, then one of what was measured."""
        values = {
            name: {column.settings.get(name, UNKNOWN) for column in self.columns} for name in self._names("settings")
        }
        same = [f"{name}: {next(iter(found))}" for name, found in values.items() if len(found) == 1]
        differing = tuple(name for name, found in values.items() if len(found) > 1)
        parts = [f"The same for all: {'; '.join(same)}."] if same else []
        for names in (differing, (*self._names("measured"), CRITERIA)):
            rows = [(c.name, *({**c.settings, **c.measured, CRITERIA: _tally(c)}.get(name, UNKNOWN) for name in names))
                    for c in self.columns]  # fmt: skip
            header = ("Run", *names)
            if names:
                parts.append(box_table(header, [rows], widest=16) if boxes else pipe_table(header, rows, align=align))
        return ("\n" if boxes else "\n\n").join(parts)

    def _boxes(self, width: int) -> list[str]:
        """Return tables of as many columns as fit, one at least."""
        tables, left = [], list(self.columns)
        while left:
            count = len(left)
            while (drawn := self._box(left[:count])).index("\n") > width and count > 1:
                count -= 1
            tables.append(drawn)
            left = left[count:]
        return tables

    def _box(self, block: Sequence[Column]) -> str:
        return box_table(self._header(block), self._rows(block), widest=24)


def compare(given: Sequence[str]) -> Comparison:
    """Read runs and presets.

    Parameters
    ----------
    given : sequence of str
        Run folders, folders that hold several runs (as `train --model all` and `crossval` write them), or names of
        presets. A run that is named twice counts once.

    Returns
    -------
    Comparison
        What could not be read is in ``failures``.

    Raises
    ------
    InputError
        Nothing of it can be read; for a single thing given, what is wrong with it.
    """
    found: dict[Path | str, None] = {}
    errors: list[InputError] = []
    for name in given:
        try:
            found.update(dict.fromkeys(_find(name)))
        except InputError as error:
            errors.append(error)
    names = distinct_names([one for one in found if isinstance(one, Path)])
    columns: list[Column] = []
    for one in found:
        try:
            columns.append(_preset_column(one) if isinstance(one, str) else _run_column(one, names[one]))
        except InputError as error:
            errors.append(error)
    if not columns:
        raise errors[0] if errors else InputError("Nothing to compare.", remedy="Name runs or presets.")
    return Comparison(columns=tuple(columns), failures=tuple(str(error) for error in errors))


def distinct_names(folders: Sequence[Path]) -> dict[Path, str]:
    """Return for each folder the fewest last parts of its path that tell it from the others."""
    parts = {folder: folder.resolve().parts for folder in folders}
    names = {}
    for folder, own in parts.items():
        others = [other for path, other in parts.items() if path != folder]
        count = next((n for n in range(1, len(own)) if all(other[-n:] != own[-n:] for other in others)), len(own))
        names[folder] = files.printable("/".join(own[-count:]))
    return names


def _find(name: str) -> list[Path | str]:
    """Return the run folders that `name` stands for, or `name` itself for a preset."""
    if not name.strip():
        raise RunError("An empty name was given.", remedy=f"Give run folders or presets ({', '.join(PRESETS)}).")
    folder = Path(name)
    if _is_run(folder):
        return [folder.resolve()]
    if not folder.is_dir():
        if name in PRESETS:
            return [name]
        known = f"Give run folders or presets ({', '.join(PRESETS)})."
        raise RunError("Neither a run folder nor a preset.", files.printable(folder), known)
    inside = [path.parent for depth in range(1, SEARCH_DEPTH + 1) for path in folder.glob("*/" * depth + files.CONFIG)]
    runs: list[Path | str] = [
        path.resolve() for path in sorted(inside, key=lambda path: natural_key(str(path))) if _is_run(path)
    ]
    if not runs:
        raise RunError("Holds no run.", files.printable(folder), "Give the folder that `train` wrote.")
    return runs


def _is_run(folder: Path) -> bool:
    return (folder / files.CONFIG).is_file() and (
        (folder / files.SAMPLES).exists() or (folder / files.HISTORY).exists()
    )


def _preset_column(name: str) -> Column:
    settings = {"Preset": name, **preset_settings(name)}
    return Column(
        name=f"preset {name}", kind="preset", path="", settings=settings, measured={}, verdicts={}, curve=()
    )  # fmt: skip


def _run_column(folder: Path, name: str) -> Column:
    run = Run(folder)
    config = run.config
    measured, curve = _measured(run)
    return Column(
        name=name,
        kind="run",
        path=files.printable(folder),
        settings={"Preset": config.based_on, **settings_of(config)},
        measured=measured,
        verdicts=_verdicts(run),
        curve=curve,
    )


def _measured(run: Run) -> tuple[dict[str, str], tuple[Point, ...]]:
    """Return the measured rows, and the validation curve."""
    history = run.history if (run.folder / files.HISTORY).exists() else []
    if not history:
        return {"Epochs done": "0"}, ()
    last, best = history[-1], run.best
    train, val = last.get("train_jaccard_images"), last.get(SCORE)
    measured = {
        "Epochs done": str(last["epoch"]),
        "Optimizer steps": str(last["step"]),
        "Best epoch": str(best["epoch"]) if SCORE in best else UNKNOWN,
        "Best val Jaccard": _score(best.get(SCORE)),
        "Final val Jaccard": _score(val),
        "Pooled, best epoch": _score(best.get("val_jaccard_pooled")),
        "Gap to training, final": UNKNOWN if train is None or val is None else f"{train - val:+.4f}",
        "Time": _time(run.folder),
        "Noticed": _noticed(run),
    }
    points = [
        Point(epoch=row["epoch"], step=row["step"], jaccard=row[SCORE])
        for row in history
        if math.isfinite(row.get(SCORE, math.nan))
    ]
    return measured, tuple(points)


def _tally(column: Column) -> str:
    """Return how many of the criteria that apply are met."""
    judged = [verdict for verdict in column.verdicts.values() if verdict.startswith(("met", "not met"))]
    met = sum(verdict.startswith("met") for verdict in judged)
    return f"{met} of {len(judged)} met" if judged else UNKNOWN


def _score(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def _time(folder: Path) -> str:
    """Return the time spent in training and validation."""
    path = folder / files.TIMES
    if not path.exists():
        return UNKNOWN
    seconds = sum(row.get(name, 0.0) for row in read_history(path) for name in ("train_seconds", "validation_seconds"))
    return duration(seconds)


def _noticed(run: Run) -> str:
    """Return the codes of what the run noticed about itself, such as a collapse or too few steps."""
    if not (run.folder / files.DIAGNOSIS).exists():
        return UNKNOWN
    return ", ".join(dict.fromkeys(item.code for item in run.noticed)) or "nothing"


def _verdicts(run: Run) -> dict[str, str]:
    """Return each criterion's verdict with its value; those of the expected curve together."""
    if not (run.folder / files.CRITERIA).exists():
        return {}
    verdicts, met, judged = {}, 0, 0
    for item in run.criteria:
        if item.group == "expected curve":
            met += item.verdict == "met"
            judged += item.verdict != NOT_APPLICABLE
        else:
            verdicts[item.name] = item.verdict if item.measured is None else f"{item.verdict} ({item.measured:.3f})"
    verdicts["expected curve"] = f"reached at {met} of {plural(judged, 'epoch')}" if judged else NOT_APPLICABLE
    return verdicts


def draw_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the curves as PNG and return the path; see `comparison_figure`.

    Raises
    ------
    InputError
        No run has a validation score yet.
    MachineError
        The place is not writable.
    """
    return save(comparison_figure(comparison), path)


def comparison_figure(comparison: Comparison) -> Figure:
    """Return the validation Jaccard by epoch, over the expected band, and by optimizer step.

    An epoch is something else in every preset (a pass over the images, or a fixed number of steps), a step is not.

    Raises
    ------
    InputError
        No run has a validation score yet.
    """
    runs = [column for column in comparison.columns if column.curve]
    if not runs:
        raise InputError("No run has a validation score yet.", remedy="Wait until the first epoch has ended.")
    legend_columns = 1 if len(runs) <= 3 else min(3, -(-len(runs) // 4))
    rows = -(-(len(runs) + 1) // legend_columns)
    figure = new_figure(12, 4.2 + 0.22 * rows)
    by_epoch, by_step = figure.subplots(1, 2, sharey=True)
    expected_band(by_epoch)
    for index, run in enumerate(runs):
        _draw(by_epoch, run, [point.epoch for point in run.curve], index)
        _draw(by_step, run, [point.step for point in run.curve], index)
    last = max(point.epoch for run in runs for point in run.curve)
    by_epoch.set(xlabel="epoch", ylabel="validation Jaccard, mean over images", ylim=(0, 1), xlim=(0.5, last + 0.5))
    by_epoch.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    by_step.set(xlabel="optimizer steps", xscale="log")
    by_step.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    by_step.xaxis.set_major_formatter(ScalarFormatter())
    by_step.xaxis.set_minor_formatter(NullFormatter())
    by_epoch.set_title("By epoch", fontsize=10)
    by_step.set_title("By optimizer step: comparable between presets", fontsize=10)
    for axes in (by_epoch, by_step):
        tidy(axes)
    handles, labels = by_epoch.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=legend_columns, frameon=False, fontsize=8)
    return figure


def _draw(axes: Axes, run: Column, along: list[int], index: int) -> None:
    best = max(run.curve, key=lambda point: point.jaccard)
    axes.plot(
        along,
        [point.jaccard for point in run.curve],
        _STYLES[index // len(_COLOURS) % len(_STYLES)],
        color=_COLOURS[index % len(_COLOURS)],
        marker="o" if len(along) <= MOST_MARKERS else "",
        markersize=3,
        label=f"{label_of(run.name, 40)} (best {best.jaccard:.3f})",
    )


def settings_of(config: TrainConfig) -> dict[str, str]:
    """Return every setting of the table by its name, as text."""
    network = config.network
    return {
        LEARNING_RATE: number(config.optimizer.lr),
        BATCH: PLANNED if config.batch is None else str(config.batch),
        DROPOUT: f"{network.dropout:g}",
        LOSS: _loss(config.loss),
        SPLIT: _split(config.split),
        "Optimizer": {"adam": "Adam", "adamw": "AdamW"}[config.optimizer.name],
        "Image size": _size(config),
        "Max epochs": str(config.epochs),
        "Early stopping": "none" if config.stop.patience is None else plural(config.stop.patience, "epoch"),
        "An epoch is": _epoch(config),
        "Schedule": _schedule(config),
        "Network": network.kind,
        "Input": f"{config.image.channels.kind}, norm {config.image.norm.kind}",
        "Seed": str(config.seed),
    }


def preset_settings(name: str) -> dict[str, str]:
    """Return the settings of a preset; where its networks differ, each value with the networks that have it.

    Raises
    ------
    ConfigError
        There is no such preset.
    """
    return joined({network: settings_of(TrainConfig.preset(name, network)) for network in TrainConfig.networks(name)})


def joined(by_network: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return one value per setting of several networks, e.g. ``1e-3 (unet), 1e-4 (others)``."""
    first = next(iter(by_network.values()))
    together: dict[str, str] = {}
    for name in first:
        networks: dict[str, list[str]] = {}
        for network, settings in by_network.items():
            networks.setdefault(settings[name], []).append(network)
        if len(networks) == 1:
            together[name] = first[name]
        elif name == "Network":
            together[name] = ", ".join(networks)
        else:
            *groups, (value, having) = networks.items()
            rest = "others" if len(having) > 1 else having[0]
            shown = [f"{value} ({', '.join(having)})" for value, having in groups]
            together[name] = ", ".join([*shown, f"{value} ({rest})"])
    return together


def number(value: float) -> str:
    """Return a rate as the laboratory writes it: ``1e-3``, ``2.5e-4``; values from 0.1 on as they are."""
    if value >= 0.1 or value <= 0:
        return f"{value:g}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def _loss(loss: LossConfig) -> str:
    if isinstance(loss, FocalLossConfig):
        return f"Focal (gamma={loss.gamma:g})"
    if isinstance(loss, DiceCELossConfig):
        per_area = ", per bead area" if loss.ce_per_area is not None else ""
        return f"Dice {loss.dice_weight:g} + cross-entropy {loss.ce_weight:g}{per_area}"
    if isinstance(loss, DiceFocalLossConfig):
        return f"Dice {loss.dice_weight:g} + focal {loss.focal_weight:g} (gamma={loss.gamma:g})"
    if isinstance(loss, TverskyLossConfig):
        return f"Tversky ({loss.alpha:g}, {loss.beta:g})"
    if isinstance(loss, DiceLossConfig):
        return "Dice"
    assert_never(loss)


def _split(split: SplitConfig) -> str:
    if isinstance(split, FileSplitConfig):
        return f"given ({split.path.name})"
    held = round(100 * split.val_fraction)
    shares = f"{100 - held}/{held}"
    if isinstance(split, StratifiedSplitConfig):
        return f"stratified {shares}"
    if isinstance(split, FieldSplitConfig):
        return f"whole fields {shares}"
    return f"blocks of tiles {shares}" if isinstance(split, BlockSplitConfig) else f"random {shares}"


def _size(config: TrainConfig) -> str:
    size = config.epoch.size
    if size is None:
        return PLANNED
    kind = "crop" if isinstance(config.epoch, ImageEpochConfig) else "patch"
    return f"{size}{TIMES}{size} ({kind})"


def _epoch(config: TrainConfig) -> str:
    if isinstance(config.epoch, ImageEpochConfig):
        return "every image once"
    return PLANNED if config.epoch.steps is None else plural(config.epoch.steps, "step")


def _schedule(config: TrainConfig) -> str:
    warmup = f"warm-up {config.schedule.warmup:.0%}, " if config.schedule.warmup else ""
    return f"{warmup}{config.schedule.decay}"
