"""`beadseg-batch report`, `compare`, `analyze`: a folder's page made again; runs, presets or datasets explained."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadseg.cli.console import STOP, HeldLater, reporter
from beadseg.cli.options import DatasetFolder, Json, Out, Quiet, SampleOptions, Threads, grouped, writable_folder
from beadseg.errors import ExitCode
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.events import OnEvent
    from beadseg.measure.analysis import Analysis, Spread, Summary
    from beadseg.report.dataset_comparison import Domain

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="Folder that train, sweep, evaluate, predict, crossval or density wrote.",
        show_default=False,
    ),
]

MovedDataset = Annotated[
    Path | None,
    typer.Option("--dataset", metavar="DIR", help="Where the images of a run or an evaluation are now: a dataset."),
]


def report(
    folder: Folder,
    dataset: MovedDataset = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make report.html of a run, evaluation, prediction, crossval or density folder: one page that holds everything.

    The commands that write these folders make the page too; this makes it again, also in a folder that was moved. A
    page that has more pictures than can be made now is kept. Missing pictures are named and give exit code 3.
    """
    from beadseg.cli.config_options import use_threads
    from beadseg.events import Event
    from beadseg.report.pages import kind_of, write_page

    with reporter(json, quiet) as on_event:
        kind = kind_of(folder)
        use_threads(threads)
        missing: list[Event] = []

        def listen(event: Event) -> None:
            missing.extend([event] if event.kind == "missing-pictures" else [])
            on_event(event)

        path = write_page(folder, listen, STOP, dataset)
        size = path.stat().st_size / 1e6
        on_event(Event("result", f"Report of the {kind}: {path} ({size:.1f} MB)", data={"report": str(path)}))
    if missing:
        raise typer.Exit(ExitCode.SOME_FAILED)


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN…", help="Run folders, folders that hold several runs, or presets.", show_default=False
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for comparison.md, comparison.csv and comparison.png.",
            callback=writable_folder,
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show runs or presets side by side: hyperparameters, marked where they differ, and what was measured.

    The form is that of the laboratory's hyperparameter table. With --out the table is written, too, and a figure of all
    validation curves over the laboratory's expected band. What cannot be read is named and gives exit code 3.
    """
    from beadseg.events import Event
    from beadseg.report.compare import compare as read

    width = _terminal_width(json)
    with reporter(json, quiet) as on_event:
        comparison = read(runs)
        for reason in comparison.failures:
            on_event(Event("failure", f"Left out: {reason}", "warning"))
        text = comparison.text(width)
        written = "" if out is None else f"\nWritten to {out}"
        held = HeldLater()
        if out is not None:
            from beadseg.report.compare import COMPARISON_PNG, draw_comparison

            with held():
                comparison.write(out)
            if any(column.curve for column in comparison.columns):
                draw_comparison(comparison, out / COMPARISON_PNG)
            else:
                (out / COMPARISON_PNG).unlink(missing_ok=True)
        on_event(Event("result", text + written, data=comparison.model_dump()))
        held.tell()
    if comparison.failures:
        raise typer.Exit(ExitCode.SOME_FAILED)


def _terminal_width(json: bool) -> int | None:
    """Return the letters in a line where box-drawing characters can be shown; None in logs and on old consoles.

    To be asked before there is a progress bar, which stands in for the standard output.
    """
    drawable = sys.stdout.isatty() and "utf" in (sys.stdout.encoding or "").lower().replace("-", "")
    return shutil.get_terminal_size().columns if drawable and not json else None


MOST_NAMED = 10
"""Suspects named on the terminal."""


@grouped
def analyze(
    dataset: DatasetFolder,
    other: Annotated[
        Path | None, typer.Argument(metavar="OTHER", help="A second dataset, to be compared.", show_default=False)
    ] = None,
    *,
    out: Out,
    diameter: Annotated[
        float | None,
        typer.Option("--diameter", help="Bead diameter, px, for the search for unmarked beads; else from the masks."),
    ] = None,
    samples: SampleOptions,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Explain a dataset: counts, sizes, brightness, contrast, touching beads, and masks that seem to leave beads out.

    Writes summary.json, images.csv, analysis.png and samples.png. With OTHER, each dataset gets a folder of its name in
    DIR, and comparison.md and comparison.json say how they differ and which settings should. Samples that cannot be
    read are named and end the command with exit code 3.
    """
    from beadseg.measure.analysis import analyze as measure
    from beadseg.measure.analysis import claim_folder
    from beadseg.report.dataset_comparison import Domain

    domains: list[Domain] = []
    with reporter(json, quiet) as on_event:
        given = [dataset] if other is None else [dataset, other]
        opened = [samples.open(folder, on_event) for folder in given]
        names = domain_names(given)
        folders = [out] if other is None else [out / name for name in names]
        for folder in dict.fromkeys((out, *folders)):
            claim_folder(folder)
        for data, name in zip(opened, names, strict=True):
            analysis = measure(data, diameter_px=diameter, on_event=on_event, stop=STOP)
            domains.append(Domain(name, data, analysis))
        held = HeldLater()
        for domain, folder in zip(domains, folders, strict=True):
            _finish(domain, folder, on_event, held)
        if other is not None:
            _compare(domains, out, on_event, held)
        held.tell()
    if any(domain.analysis.summary.failed for domain in domains):
        raise typer.Exit(ExitCode.SOME_FAILED)


def domain_names(folders: list[Path]) -> list[str]:
    """Return what datasets are called: the folders' names, with their parents' or a number where they are equal."""
    resolved = [folder.resolve() for folder in folders]
    names = [folder.name or "dataset" for folder in resolved]
    if len(set(names)) < len(names):
        names = [f"{folder.parent.name} {name}".strip() for folder, name in zip(resolved, names, strict=True)]
    if len(set(names)) < len(names):
        names = [f"{name} {number}" for number, name in enumerate(names, start=1)]
    return names


def _finish(domain: Domain, folder: Path, on_event: OnEvent, held: HeldLater) -> None:
    """Write an analysis with its figures, and report it."""
    from beadseg import files
    from beadseg.cli.config_options import earlier_size, warn_if_less
    from beadseg.events import Event
    from beadseg.report.analysis import draw_analysis

    earlier = earlier_size(folder, files.SUMMARY, "dataset_size")
    with held():
        domain.analysis.write(folder)
    warn_if_less(folder / files.SUMMARY, earlier, len(domain.analysis.images), "image", on_event)
    draw_analysis(domain.analysis, domain.dataset, folder)
    text = f"{table(domain.analysis)}\nWritten to {folder}"
    on_event(Event("result", text, data={"out": str(folder), **domain.analysis.summary.model_dump()}))


def _compare(domains: list[Domain], out: Path, on_event: OnEvent, held: HeldLater) -> None:
    from beadseg.events import Event
    from beadseg.report.dataset_comparison import compare_domains

    comparison = compare_domains(domains[0], domains[1], on_event=on_event, stop=STOP)
    with held():
        comparison.write(out)
    text = f"{comparison.text()}\nWritten to {out}"
    on_event(Event("result", text, data={"out": str(out), **comparison.model_dump()}))


def table(analysis: Analysis) -> str:
    """Return the summary as lines of text, the same on a terminal and in a log."""
    from beadseg.text import plain_table

    summary = analysis.summary
    header = ("per image", "mean", "sd", "min", "median", "max")
    rows = [header, *(_row(name, spread, digits) for name, spread, digits in _quantities(summary))]
    total = (
        f"{summary.dataset}: {plural(summary.dataset_size, 'image')} in "
        f"{plural(summary.fields_of_view, 'field of view')}, "
    )
    kind = "objects with ids" if summary.instances else "objects (8-connected; touching beads of a mask are one)"
    failed = [f"{plural(len(summary.failed), 'sample')} could not be read."] if summary.failed else []
    return "\n".join([f"{total}{summary.total_objects} {kind}.", plain_table(rows), *_suspects(summary), *failed])


def _quantities(summary: Summary) -> list[tuple[str, Spread | None, int]]:
    return [
        ("objects", summary.objects_per_image, 1),
        ("objects per megapixel", summary.objects_per_mpx, 0),
        ("positive pixel ratio", summary.positive_ratio, 4),
        ("object size, px²", summary.object_size, 1),
        ("object diameter, px", summary.object_diameter, 2),
        ("share of touching objects", summary.touching, 3),
        ("brightness, grey levels", summary.brightness, 1),
        ("brightness sd, grey levels", summary.brightness_sd, 1),
        ("contrast of beads", summary.contrast, 3),
    ]


def _row(name: str, spread: Spread | None, digits: int) -> tuple[str, ...]:
    if spread is None:
        return (name, *["-"] * 5)
    return (name, *(f"{value:.{digits}f}" for value in (spread.mean, spread.sd, spread.min, spread.median, spread.max)))


def _suspects(summary: Summary) -> list[str]:
    from beadseg.data.fields import listed

    found = summary.partial_masks
    if not found.assessed:
        return ["Partial masks: not assessed, too few beads are marked."]
    lines = [f"Partial masks: {found.suspects} suspects of {found.assessed} ({found.suspect_ratio:.1%})."]
    if found.names:
        lines.append(f"  visible beads that are not marked: {listed(list(found.names), MOST_NAMED)}")
    if found.misplaced:
        lines.append(f"  misplaced masks, beside their beads: {listed(list(found.misplaced), MOST_NAMED)}")
    return lines
