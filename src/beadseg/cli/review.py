"""`beadseg-batch review`: see and set which annotations are accepted, rejected or corrected."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.errors import ExitCode

Samples = Annotated[
    list[str] | None,
    typer.Argument(metavar="SAMPLE...", help="Names of samples (* and ? allowed).", show_default=False),
]
State = Annotated[
    str | None, typer.Option("--state", metavar="STATE", help="list: only pending, accepted, rejected or corrected.")
]
Why = Annotated[str, typer.Option("--why", metavar="TEXT", help="Reason, kept with the decision.")]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who decides. Default: BEADSEG_BY, else the user.")
]
Mask = Annotated[
    Path | None, typer.Option("--mask", metavar="FILE", help="correct: the new mask; ignore: the region, not 0 there.")
]
WithoutFindings = Annotated[
    Path | None,
    typer.Option(
        "--without-findings",
        metavar="audit.csv",
        help="accept: all pending samples, drafts left out, that the audit has no finding about.",
    ),
]
Other = Annotated[
    Path | None,
    typer.Option(
        "--other",
        metavar="DIR",
        help="agreement: somebody else's masks or dataset; not given: the originals of the corrected samples.",
    ),
]
Table = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="CSV",
        help="agreement: also write one row per image there.",
        callback=options.writable_file,
    ),
]


class Action(StrEnum):
    """What `review` does."""

    LIST = "list"
    ACCEPT = "accept"
    REJECT = "reject"
    PENDING = "pending"
    CORRECT = "correct"
    IGNORE = "ignore"
    UNDO = "undo"
    REDO = "redo"
    HISTORY = "history"
    AGREEMENT = "agreement"


ActionName = Annotated[Action, typer.Argument(metavar="ACTION", help=", ".join(Action), show_default=True)]


def review(
    dataset: options.DatasetFolder,
    action: ActionName = Action.LIST,
    samples: Samples = None,
    state: State = None,
    why: Why = "",
    by: By = None,
    mask: Mask = None,
    without_findings: WithoutFindings = None,
    other: Other = None,
    out: Table = None,
    images: options.ImagesFolder = "images",
    masks: options.MasksFolder = "masks",
    labels: options.LabelsFolder = "labels",
    ignore: options.IgnoreFolder = "ignore",
    fields: options.Fields = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """See and set which annotations are accepted, rejected or corrected.

    \b
    list [SAMPLE...]            states; with --state or names, one line per sample
    accept | reject SAMPLE...   decide; also by pattern: '320x_*'
    pending SAMPLE...           take a decision back to none
    correct SAMPLE --mask FILE  use this mask instead; the original stays
    ignore SAMPLE --mask FILE   neither bead nor background there
    undo | redo [SAMPLE...]     the last step of a sample; without a name, what you did last
    history SAMPLE...           every step: when, who, what, why
    agreement [--other DIR]     two people's masks compared: the ceiling to hold models to

    Everything is kept in DATASET/review: corrected masks as new files, every step in journal/, and review.csv for a
    spreadsheet. Several people may work at once. Training leaves out what was rejected (see `train --samples`).
    """  # noqa: D301 (the backslash keeps the list's lines apart)
    from beadseg.cli.config_options import field_rule
    from beadseg.cli.review_actions import Request, perform
    from beadseg.data.dataset import Dataset

    with reporter(json, quiet) as on_event:
        data = Dataset.open(
            dataset, images=images, masks=masks, labels=labels, ignore=ignore, fields=field_rule(fields),
            require_masks=False,
        )  # fmt: skip
        request = Request(action.value, tuple(samples or ()), state, why, by, mask, without_findings, other, out)
        failed = perform(data, request, on_event, STOP)
    if failed:
        raise typer.Exit(ExitCode.SOME_FAILED)
