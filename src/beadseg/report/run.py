"""What a run was, reached and noticed, as one page of text beside its curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beadseg import files
from beadseg.data.documents import read_document
from beadseg.files import write_atomically
from beadseg.report.curves import draw_curves
from beadseg.text import plural
from beadseg.training.history import score_name

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.training.run import Run


def write_run_report(run: Run) -> Path:
    """Write ``report.md`` and ``curves.png`` of a finished run; return the path of the page.

    Raises
    ------
    RunError
        One of the run's files is missing or damaged; nothing is written.
    MachineError
        The folder is not writable.
    """
    lines = [*_head(run), *_noticed(run), *_criteria(run), *_planned(run)]
    draw_curves(run.history, run.folder / files.CURVES)
    path = run.folder / files.RUN_REPORT
    write_atomically(path, "\n".join(lines) + "\n")
    return path


def _head(run: Run) -> list[str]:
    config, best, last = run.config, run.best, run.history[-1]
    score = f"val_{config.stop.metric}"
    lines = [
        f"# Run {run.folder.name}",
        "",
        f"Network `{config.network.kind}`, preset `{config.based_on}`, seed {config.seed}; "
        f"{last['epoch']} of {plural(config.epochs, 'epoch')}, {plural(last['step'], 'optimizer step')}.",
        "",
        f"![history]({files.CURVES})",
    ]
    if score in best:
        label = score_name(config.stop.metric)
        lines[3:3] = [
            f"Validation {label}: {best[score]:.4f} at best (epoch {best['epoch']}), {last[score]:.4f} at the end."
        ]
    return lines


def _noticed(run: Run) -> list[str]:
    lines = [f"- **{item.code}** (epoch {item.epoch}): {item}" for item in run.noticed]
    return ["", "## What the run noticed about itself", "", *(lines or ["Nothing."])]


def _criteria(run: Run) -> list[str]:
    rows = [
        f"| {item.group} | {item.name} | {item.verdict} | "
        f"{'' if item.measured is None else format(item.measured, '.4f')} | {item.note} |"
        for item in run.criteria
    ]
    head = ["| list | criterion | verdict | measured | |", "| --- | --- | --- | --- | --- |"]
    told = read_document(run.folder / files.CRITERIA).get("note")
    note = ["", str(told)] if told else []
    return ["", "## The laboratory's success criteria", *note, "", *head, *rows]


def _planned(run: Run) -> list[str]:
    lines = [f"- `{item.field}` = {item.value}: {item.reason}" for item in run.planned]
    return ["", "## Planned from the training samples", "", *(lines or ["Nothing: every value was given."])]
