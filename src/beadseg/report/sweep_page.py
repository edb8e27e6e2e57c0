"""The page of a sweep: the best trial, what matters, and every trial; its figures beside it as PNG."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from beadseg import files
from beadseg.errors import RunError
from beadseg.report.blocks import Badge, Block, Chart, Column, Row, Table, Text, Tone, Verbatim
from beadseg.report.figure import save
from beadseg.report.html import Notice, Page, Section
from beadseg.report.sweep_figures import history_figure, importance_figure, parallel_figure
from beadseg.sweep.collect import Standing, on_other_data
from beadseg.sweep.plan import Sweep
from beadseg.sweep.space import shown
from beadseg.text import plural
from beadseg.training.history import score_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        figure = importance_figure(rows)
        how = _HOW[rows[0]["method"]]
    except (OSError, ValueError, KeyError, IndexError, csv.Error) as error:
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
