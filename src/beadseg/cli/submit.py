"""`beadseg-batch submit`: send a training or a prediction to the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from beadseg.cli import options
from beadseg.cli.console import reporter

if TYPE_CHECKING:
    from beadseg.cluster.script import JobScript
    from beadseg.config.site import SiteConfig
    from beadseg.events import Event

Kind = Annotated[Literal["train", "predict"], typer.Argument(metavar="train|predict", show_default=False)]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ARGUMENTS...", help="Arguments and options of `train` or `predict`, as on one machine.",
        show_default=False,
    ),
]  # fmt: skip
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the job script; nothing is sent or written.")]
Walltime = Annotated[
    str | None, typer.Option("--walltime", metavar="HH:MM:SS", help="Time of each job, instead of the profile's.")
]
Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Train: most jobs one after the other, instead of the profile's.")
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
    site: SetSite = None,
    dry_run: DryRun = False,
    json: options.Json = False,
) -> None:
    """Send a training or a prediction as a PBS job: the same arguments as on one machine, and the cluster's profile.

    The job's script, log and id go to jobs/ in the --out folder. A training goes on in further jobs until it is
    finished.
    """
    from beadseg.cli.sending import checked, present_umask, profile
    from beadseg.cluster.script import JobScript, render
    from beadseg.cluster.submit import check
    from beadseg.cluster.submit import submit as send
    from beadseg.events import Event

    with reporter(json) as on_event:
        settings = profile(cluster, site, walltime, margin)
        given = [*(words or []), "--out", str(out)]
        dataset = checked(kind, given)
        chain = (jobs or settings.jobs) if kind == "train" else 1
        job = JobScript(kind, (kind, *given), out.absolute(), Path.cwd(), chain, dataset=dataset, umask=present_umask())
        if dry_run:
            check(job, settings)
            if json:
                on_event(Event("result", data={"script": render(job, settings)}))
            else:
                typer.echo(render(job, settings), nl=False)
            return
        name = send(job, settings)
        on_event(_told(name, job, settings))


def _told(name: str, job: JobScript, site: SiteConfig) -> Event:
    from beadseg.events import Event

    more = f", continued in at most {job.jobs - 1} more" if job.jobs > 1 else ""
    text = f"Sent job {name} of {site.walltime}{more}. See: beadseg-batch status {job.folder}"
    return Event("result", text, data={"job": name, "folder": str(job.folder), "script": str(job.path)})
