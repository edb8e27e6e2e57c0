"""`beadseg-batch audit`: find what is wrong with the annotations of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.cli.options import SampleOptions, grouped
from beadseg.errors import ExitCode
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.annotation.audit import Audit

SHOWN = 20
"""Findings that are printed; all are in the files."""

SplitFile = Annotated[
    Path | None,
    typer.Option("--split-file", metavar="CSV", help="Columns sample, fold: find duplicates and fields on both sides."),
]
Crossval = Annotated[
    Path | None,
    typer.Option("--crossval", metavar="DIR", help="A cross-validation: what its networks contradict comes first."),
]
Propose = Annotated[
    bool, typer.Option("--propose", help="Write corrected masks to DIR/proposals, where they fit better.")
]
Apply = Annotated[
    str | None,
    typer.Option("--apply", metavar="CODE,…", help="Accept proposals of these kinds in the review, e.g. shift,soft."),
]
By = Annotated[str | None, typer.Option("--by", help="Who accepts with --apply; your user name when not given.")]
Diameter = Annotated[
    float | None, typer.Option("--diameter", min=2.0, help="Bead diameter, px; measured from the masks when not given.")
]
Look = Annotated[
    Literal["dark", "bright"] | None,
    typer.Option("--beads", help="What beads are; measured from the masks when not given."),
]


@grouped
def audit(
    dataset: options.DatasetFolder,
    out: options.Out,
    split_file: SplitFile = None,
    crossval: Crossval = None,
    propose: Propose = False,
    apply: Apply = None,
    by: By = None,
    diameter: Diameter = None,
    beads: Look = None,
    *,
    samples: SampleOptions,
    threads: options.Threads = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Find what is wrong with the annotations of a dataset: shifted, scaled, swapped, partial, soft masks and more.

    Needs no model and changes nothing in the dataset, unless --apply is given. Writes audit.json, audit.csv (one row a
    finding) and audit.html (with pictures), worst first. The same command continues after an interruption. Samples that
    cannot be read are listed and end the command with exit code 3.
    """
    from beadseg import files
    from beadseg.annotation.audit import audit as find
    from beadseg.annotation.audit.correction import apply as accept
    from beadseg.annotation.audit.correction import known_codes
    from beadseg.annotation.audit.correction import propose as write_proposals
    from beadseg.cli.config_options import earlier_size, granted_cores, warn_if_less
    from beadseg.data.split import Split
    from beadseg.events import Event
    from beadseg.report.audit import write_audit_page

    with reporter(json, quiet) as on_event:
        codes = known_codes(apply) if apply is not None else ()
        split = Split.from_csv(split_file) if split_file is not None else None
        data = samples.open(dataset, on_event)
        split = split.called(data.names, split_file) if split is not None and split_file is not None else None
        workers = granted_cores() if threads is None else threads
        earlier = earlier_size(out, files.AUDIT, "samples")
        result = find(
            data, out, split=split, crossval=crossval, diameter_px=diameter, polarity=beads, workers=workers,
            on_event=on_event, stop=STOP,
        )  # fmt: skip
        warn_if_less(out / files.AUDIT, earlier, len(result.samples), "sample", on_event)
        if propose or codes:
            result = write_proposals(result, data, out, on_event, STOP)
        if codes:
            accept(result, data, out, codes, by, on_event)
        page = write_audit_page(result, data, out, on_event, STOP)
        counts = {"samples": len(result.samples), "flagged": len(result.flagged), "findings": len(result.findings)}
        text = f"{summary(result)}\nWritten to {out}: {files.AUDIT}, {files.AUDIT_TABLE}, {page.name}"
        on_event(Event("result", text, data={"out": str(out), **counts, "failures": result.failures}))
    if result.failures:
        raise typer.Exit(ExitCode.SOME_FAILED)


def summary(result: Audit) -> str:
    """Return the worst findings and how many samples have any, as lines of text."""
    from beadseg.annotation.audit.mask_rules import in_range, out_of_range

    worst = [finding for finding in result.findings if finding.severity != "note"]
    lines = [f"{f.severity:7}  {f.code:12}  {f.sample}: {f.message}" for f in worst[:SHOWN]]
    if len(worst) > SHOWN:
        lines.append(f"… and {plural(len(worst) - SHOWN, 'more finding')}.")
    if result.failures:
        lines.append(
            f"{plural(len(result.failures), 'sample')} could not be read: {', '.join(list(result.failures)[:5])}."
        )
    usual = result.baseline
    if usual is not None and not in_range(usual.bead_diameter_px):
        lines.append(f"{out_of_range(usual.bead_diameter_px)} Only the files themselves were checked.")
        return "\n".join([*lines, f"{len(result.flagged)} of {plural(len(result.samples), 'sample')} have findings."])
    unknown = sum(any("shift" in missing.codes for missing in sample.not_assessable) for sample in result.samples)
    if unknown:
        lines.append(
            f"{plural(unknown, 'sample')} with too few beads to tell whether the masks lie right: see audit.html."
        )
    return "\n".join([*lines, f"{len(result.flagged)} of {plural(len(result.samples), 'sample')} have findings."])
