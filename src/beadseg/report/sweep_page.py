"""The page of a sweep: the best trial, what matters, and every trial; its figures beside it as PNG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from beadseg import files
from beadseg.config.sweep import ChoicesConfig, RangeConfig
from beadseg.data.documents import read_table
from beadseg.errors import RunError
from beadseg.report.figure import BLUE, ORANGE, label_of, new_figure, save, tidy
from beadseg.report.html import Badge, Block, Chart, Column, Notice, Page, Row, Section, Table, Text, Tone, Verbatim
from beadseg.sweep.plan import Sweep
from beadseg.sweep.ranking import Standing, on_other_data
from beadseg.sweep.space import shown
from beadseg.text import plural
from beadseg.training.records import gain, score_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from beadseg.sweep.ranking import Ended

_TONES: dict[str, Tone] = {"finished": "good", "failed": "bad", "not ended": "neutral"}
_METHODS = {
    "grid": "every combination of a grid", "random": "random values", "sobol": "a Sobol sequence",
    "tpe": "rounds of TPE (Optuna)",
}  # fmt: skip
_HOW = {
    "fANOVA": "Shares of a functional analysis of variance over a random forest (Optuna): together 1, the interplay of "
    "parameters left out. They hold for the ranges that were tried.",
    "ranks": "What each parameter alone explains of the order of the trials. There were few trials: chance makes some "
    "of it, the more the fewer there are.",
}

LETTERS = 22
"""Of a parameter's name or value on an axis."""
SPREAD = 0.04
"""Trials with the same choice cross its axis within this distance, of the axis' length."""


def write_sweep_page(folder: Path) -> Path:
    """Write ``report.html`` into the folder of a sweep, its figures as PNG beside it, and return the page's path.

    Raises
    ------
    RunError
        It is not a sweep, its files are damaged, or no trial has ended yet.
    MachineError
        The folder is not writable.
    """
    standing = Standing.of(Sweep(folder))
    if not standing.finished and not standing.failed:
        raise RunError("No trial has ended yet.", folder, "Wait until the first one has.")
    page = Page(
        title=f"Sweep {folder.resolve().name}",
        kind="Sweep",
        lead=_lead(standing),
        facts=_facts(standing),
        notices=_notices(standing),
        sections=(
            Section("What matters", _importance(folder)),
            Section("Trials", (*_charts(standing), _table(standing))),
            Section("Best configuration", _best(standing)),
        ),
        source=folder.resolve(),
    )
    return page.write(folder / files.REPORT_PAGE)


def _lead(standing: Standing) -> str:
    if not standing.finished:
        return "No trial reached a score."
    return f"Best: {standing.best_text}."


def _facts(standing: Standing) -> tuple[tuple[str, str], ...]:
    space = standing.sweep.plan.space
    rounds = f", {len(standing.sweep.rounds)} of {space.rounds} rounds planned" if space.rounds > 1 else ""
    best = standing.finished[:1]
    run = tuple(("Best run", f"{files.TRIALS}/{standing.sweep.trial_folder(one.trial.number).name}") for one in best)
    return (
        ("Trials", standing.text()),
        ("Chosen by", f"{_METHODS[space.method.kind]}{rounds}"),
        ("Ranked by", f"validation {score_name(standing.sweep.metric)}, at the best epoch"),
        *run,
    )


def _notices(standing: Standing) -> list[Notice]:
    notices = []
    if not standing.complete:
        notices.append(Notice("It has not finished.", "The same sweep command goes on.", "info"))
    if standing.failed:
        notices.append(
            Notice(f"{plural(len(standing.failed), 'trial')} failed.", f"Why: {files.FAILURES}, and the table below.")
        )
    others = on_other_data(standing)
    if others:
        notices.append(Notice(f"Trials {', '.join(map(str, others))} saw other samples than the best one.",
                              "The dataset changed meanwhile; their scores cannot be compared."))  # fmt: skip
    if len(standing.finished) > 1:
        notices.append(Notice(
            "The best of many scores is better than it will be on new images.",
            "It was chosen by the validation samples; score it on samples kept apart, with evaluate or crossval.",
            "info",
        ))  # fmt: skip
    return notices


def _importance(folder: Path) -> Sequence[Block]:
    path = folder / files.IMPORTANCE
    if not path.exists():
        return ()
    try:
        rows = read_table(path, "method")
        figure = importance_figure(rows)
        how = _HOW[rows[0]["method"]]
    except (RunError, ValueError, KeyError, IndexError) as error:
        raise RunError(f"Cannot be read ({error!r}).", path, "Collect the sweep again.") from None
    save(figure, folder / files.IMPORTANCE_FIGURE)
    return (Chart(figure, "How much each parameter matters for the score."), Text(how))


def _charts(standing: Standing) -> Sequence[Block]:
    if not standing.finished:
        return ()
    parallel = parallel_figure(standing)
    save(parallel, standing.sweep.folder / files.PARALLEL_FIGURE)
    history = history_figure(standing.finished, standing.sweep.metric)
    return (Chart(parallel, "Every finished trial as a line over its parameters, coloured by its score."),
            Chart(history, "Scores in the order of the trials; dotted lines part rounds."))  # fmt: skip


def _table(standing: Standing) -> Table:
    names = tuple(standing.sweep.plan.space.parameters)
    columns = (Column("Rank", "d"), Column("Trial", "d"), Column("Round", "d"), Column("State"),
               Column("Score", ".4f", score_name(standing.sweep.metric)), Column("Best epoch", "d"),
               *(Column(name) for name in names), Column("Error"))  # fmt: skip
    rows: list[Row] = []
    for rank, one in enumerate(standing.trials, start=1):
        values = (shown(one.trial.values[name]) for name in names)
        epoch = None if one.result is None else one.result.best_epoch
        rows.append((rank if one.score is not None else None, one.trial.number, one.round,
                     Badge(one.state, _TONES[one.state]), one.score, epoch, *values, one.error))  # fmt: skip
    return Table(columns, rows, complete_in=files.TRIALS_TABLE)


def _best(standing: Standing) -> Sequence[Block]:
    if not standing.finished:
        return ()
    best = standing.finished[0]
    config = standing.sweep.configured(best.trial)
    text = f"{files.BEST_CONFIG} is what train --config takes; the trial's own folder is a run that predict takes."
    return (Text(text), Verbatim(files.BEST_CONFIG, config.to_yaml()))


def importance_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Return a bar per parameter.

    Parameters
    ----------
    rows : sequence of mapping
        As of `beadseg.sweep.ranking.importance`, not empty.
    """
    figure = new_figure(6.4, 1.2 + 0.34 * len(rows))
    axes = figure.add_subplot()
    shares = [float(row["importance"]) for row in rows]
    bars = axes.barh(range(len(rows)), shares, 0.66, color=BLUE)
    axes.bar_label(bars, [f"{share:.2f}" for share in shares], padding=3, fontsize=8)
    axes.set_yticks(range(len(rows)), [label_of(str(row["parameter"]), 32) for row in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.08)
    shared = "share of the score's variance (fANOVA)"
    alone = "share of the ranks that it explains alone"
    axes.set_xlabel(shared if rows[0]["method"] == "fANOVA" else alone)
    tidy(axes)
    return figure


def parallel_figure(standing: Standing) -> Figure:
    """Return one axis per parameter and one of the score, and every finished trial as a line across them.

    The best trial is drawn last, in a colour of its own; axes of ranges and scores have their own scales.
    """
    space, metric = standing.sweep.plan.space, standing.sweep.metric
    trials = list(reversed(standing.finished))
    scores = [one.score for one in trials if one.score is not None]
    gains = [gain(metric, score) for score in scores]
    places = [_Axis.of_parameter(name, item, [one.trial.values[name] for one in trials])
              for name, item in space.parameters.items()]  # fmt: skip
    places.append(_Axis.of_scores(metric, scores))
    figure = new_figure(max(6.4, 1.6 * len(places)), 4.4)
    axes = figure.add_subplot()
    colours, norm = mpl.colormaps["viridis"], Normalize(min(gains), max(gains) or 1.0)
    heights = np.array([place.heights for place in places]).T
    for one, line, value in zip(trials, heights, gains, strict=True):
        best = one is trials[-1]
        axes.plot(range(len(places)), line, color=ORANGE if best else colours(norm(value)),
                  linewidth=2.6 if best else 1.2, alpha=1.0 if best else 0.75, zorder=3 if best else 2,
                  label=f"best: trial {one.trial.number}" if best else None)  # fmt: skip
    for at, place in enumerate(places):
        _draw_axis(axes, at, place, last=at == len(places) - 1)
    axes.set_xlim(-0.3, len(places) - 0.55)
    axes.set_ylim(-0.06, 1.06)
    axes.set_xticks(range(len(places)), [label_of(place.name, LETTERS) for place in places], fontsize=8)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", length=0)
    figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    if len(set(gains)) > 1 and len(trials) > 1:
        _draw_colours(figure, axes, ScalarMappable(norm, colours), score_name(metric), scores, gains)
    return figure


class _Axis:
    """One upright axis: where each trial crosses it, 0 to 1, and what stands beside it."""

    def __init__(self, name: str, heights: Sequence[float], ticks: Sequence[tuple[float, str]]) -> None:
        self.name, self.heights, self.ticks = name, heights, ticks

    @classmethod
    def of_parameter(cls, name: str, item: ChoicesConfig | RangeConfig, values: Sequence[Any]) -> _Axis:
        if isinstance(item, ChoicesConfig):
            count = max(1, len(item.choices) - 1)
            places = [0.5] if len(item.choices) == 1 else [at / count for at in range(len(item.choices))]
            labels = [label_of(shown(choice), LETTERS) for choice in item.choices]
            chosen = [item.choices.index(value) for value in values]
            return cls(name, _apart([places[at] for at in chosen]), list(zip(places, labels, strict=True)))
        scale = math.log if item.log else float
        low, high = scale(item.low), scale(item.high)
        middle = math.sqrt(item.low * item.high) if item.log else (item.low + item.high) / 2
        middle = round(middle) if item.integer else middle
        ticks = [((scale(value) - low) / (high - low), f"{value:.3g}") for value in (item.low, middle, item.high)]
        return cls(name, [(scale(value) - low) / (high - low) for value in values], ticks)

    @classmethod
    def of_scores(cls, name: str, scores: Sequence[float]) -> _Axis:
        low, high = min(scores), max(scores)
        width = high - low or 1.0
        heights = [0.5 if high == low else (score - low) / width for score in scores]
        values = [low] if high == low else [low, (low + high) / 2, high]
        ticks = [(0.5 if high == low else (value - low) / width, f"{value:.3g}") for value in values]
        return cls(name, heights, ticks)


def _apart(heights: Sequence[float]) -> list[float]:
    """Return heights of which equal ones lie a little apart, so that their lines can be told from each other."""
    spread = []
    for at, height in enumerate(heights):
        same = [other for other, value in enumerate(heights) if value == height]
        spread.append(height + SPREAD * (2 * same.index(at) / max(1, len(same) - 1) - 1) * (len(same) > 1))
    return spread


def _draw_axis(axes: Axes, at: int, place: _Axis, *, last: bool) -> None:
    axes.axvline(at, color="0.35", linewidth=1, zorder=1)
    for height, label in place.ticks:
        axes.plot([at - 0.02, at + 0.02], [height, height], color="0.35", linewidth=1, zorder=1)
        axes.annotate(label, (at, height), (5, 0), textcoords="offset points", fontsize=7, va="center", zorder=4,
                      bbox={"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.75},
                      annotation_clip=not last)  # fmt: skip


def _draw_colours(
    figure: Figure, axes: Axes, colours: ScalarMappable, name: str, scores: Sequence[float], gains: Sequence[float]
) -> None:
    """Draw the legend of colours, with the scores as they are read: of errors, less is better."""
    bar = figure.colorbar(colours, ax=axes, pad=0.02, shrink=0.85)
    at = [int(np.argmin(gains)), int(np.argmax(gains))]
    bar.set_ticks([gains[i] for i in at], labels=[f"worst\n{scores[at[0]]:.3g}", f"best\n{scores[at[1]]:.3g}"])
    bar.ax.tick_params(labelsize=7, length=0)
    bar.set_label(name, fontsize=8)


def history_figure(trials: Sequence[Ended], metric: str) -> Figure:
    """Return the scores in the order of the trials, and the best so far."""
    ordered = sorted((one for one in trials if one.score is not None), key=lambda one: one.trial.number)
    numbers, scores = [one.trial.number for one in ordered], [one.score or 0.0 for one in ordered]
    best: list[float] = []
    for score in scores:
        best.append(score if not best or gain(metric, score) > gain(metric, best[-1]) else best[-1])
    figure = new_figure(6.4, 3.2)
    axes = figure.add_subplot()
    axes.plot(numbers, scores, "o", color=BLUE, markersize=4, label="trial")
    axes.step(numbers, best, where="post", color=ORANGE, label="best so far")
    for at, one in enumerate(ordered[1:], start=1):
        if one.round != ordered[at - 1].round:
            axes.axvline(one.trial.number - 0.5, color="0.6", linewidth=0.8, linestyle=":")
    axes.set(xlabel="trial", ylabel=score_name(metric))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    tidy(axes)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure
