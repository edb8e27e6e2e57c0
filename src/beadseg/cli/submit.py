"""`beadseg-batch submit`: send a training, a sweep or a prediction to the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from beadseg.cli import options
from beadseg.cli.console import reporter
from beadseg.errors import ConfigError

if TYPE_CHECKING:
    from beadseg.cluster.script import JobScript
    from beadseg.config.site import SiteConfig
    from beadseg.events import Event, OnEvent

Kind = Annotated[
    Literal["train", "sweep", "predict"], typer.Argument(metavar="train|sweep|predict", show_default=False)
]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ARGUMENTS...", help="Arguments and options of that command, as on one machine.",
        show_default=False,
    ),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the job script; nothing is sent or written.")]
Walltime = Annotated[
    str | None, typer.Option("--walltime", metavar="HH:MM:SS", help="Time of each job, instead of the profile's.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", min=1, help="Train: most jobs one after the other, instead of the profile's. Sweep: so often each "
        "round is sent, for trials longer than a walltime.",
    ),
]  # fmt: skip
Elements = Annotated[
    int | None,
    typer.Option(
        "--elements",
        min=1,
        metavar="N",
        help="Predict: send the images as a job array, at most N elements at a time.",
    ),
]
Running = Annotated[
    int | None,
    typer.Option("--running", min=1, metavar="N", help="Sweep: maximum number of trials at a time. Default: no limit."),
]
SetSite = Annotated[
    list[str] | None,
    typer.Option("--site", metavar="FIELD=VALUE", help="Change a field of the profile, e.g. queue=long. Repeatable."),
]


def submit(
    kind: Kind,
    words: Words = None,
    *,
    out: options.Out,
    cluster: options.SiteFile,
    walltime: Walltime = None,
    margin: options.Margin = None,
    jobs: Jobs = None,
    elements: Elements = None,
    running: Running = None,
    site: SetSite = None,
    dry_run: DryRun = False,
    json: options.Json = False,
) -> None:
    """Send a command to a PBS or Slurm cluster: the arguments as on one machine, and the cluster's profile.

    Scripts, logs and ids of the jobs go to jobs/ in the --out folder. A training goes on in further jobs until it is
    finished. A sweep is an array with a trial per element, and a job that ranks them; of TPE one of both per round.
    With --elements a prediction is a job array, and a job that predicts what is missing and writes the tables.
    """
    from beadseg.cli.sending import profile
    from beadseg.cluster.submit import check, send

    with reporter(json) as on_event:
        settings = profile(cluster, site, walltime, margin)
        given = [*(words or []), "--out", str(out)]
        if kind == "train" and settings.processes is not None and "--processes" not in given:
            given += ["--processes", str(settings.processes)]
        many = (elements, running)
        wanted = _jobs(kind, given, out, settings, jobs, many, on_event, write=False)
        for job in wanted:
            check(job, settings)
        if dry_run:
            _show(wanted, settings, json, on_event)
            return
        if kind == "sweep" or elements is not None:
            wanted = _jobs(kind, given, out, settings, jobs, many, on_event, write=True)
        names = send(wanted, settings)
        on_event(_told(names, wanted, settings))


def _jobs(
    kind: str,
    given: list[str],
    out: Path,
    site: SiteConfig,
    times: int | None,
    many: tuple[int | None, int | None],
    on_event: OnEvent,
    *,
    write: bool,
) -> list[JobScript]:
    """Return the jobs to be sent in the order in which they run.

    `write` plans a sweep, and writes the list of images of a prediction.
    """
    from beadseg.cli.sending import checked, jobs_of_prediction, present_umask
    from beadseg.cli.sending_sweep import jobs_of_sweep
    from beadseg.cluster.script import JobScript

    elements, running = many
    if kind == "sweep" and elements is None:
        return jobs_of_sweep(given, out, running, times or 1, plan=write, on_event=on_event)
    if running is not None or (elements is not None and kind != "predict"):
        text = "--elements is for predict, --running for sweep."
        raise ConfigError(text, "submit", f"Leave it out for {kind}.")
    if elements is not None:
        return jobs_of_prediction(given, out, elements, times or site.jobs, write=write)
    dataset = checked(kind, given)
    chain = (times or site.jobs) if kind == "train" else 1
    return [JobScript(kind, (kind, *given), out.absolute(), Path.cwd(), chain, dataset=dataset, umask=present_umask())]


def _show(wanted: list[JobScript], site: SiteConfig, json: bool, on_event: OnEvent) -> None:
    """Show the script of every job, of jobs with the same script once."""
    from beadseg.cluster.script import render
    from beadseg.events import Event

    for script in dict.fromkeys(render(job, site) for job in wanted):
        if json:
            on_event(Event("result", data={"script": script}))
        else:
            typer.echo(script, nl=False)


def _told(names: list[str], wanted: list[JobScript], site: SiteConfig) -> Event:
    from beadseg.events import Event

    job = wanted[0]
    more = f", continued in at most {job.jobs - 1} more" if job.jobs > 1 else ""
    more += f", and {len(names) - 1} that follow it" if len(names) > 1 else ""
    text = f"Sent job {names[0]} of {site.walltime}{more}. See: beadseg-batch status {job.folder}"
    data = {"job": names[0], "jobs": names, "folder": str(job.folder), "script": str(job.path)}
    return Event("result", text, data=data)
