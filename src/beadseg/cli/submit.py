"""`beadseg-batch submit`: send a training, a sweep or a prediction to the cluster."""

from __future__ import annotations

import contextlib
import io
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from beadseg.cli import options
from beadseg.cli.console import reporter
from beadseg.cli.sweep import begin_sweep, read_space
from beadseg.errors import ConfigError, InputError
from beadseg.files import user_path

if TYPE_CHECKING:
    from beadseg.cluster.job import Array, JobScript
    from beadseg.config.site import SiteConfig
    from beadseg.config.sweep import SweepConfig
    from beadseg.events import Event, OnEvent
    from beadseg.sweep.plan import Round

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
        on_event(_sent_event(names, wanted, settings))


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
    from beadseg.cluster.job import JobScript

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
    from beadseg.cluster.submit import render
    from beadseg.events import Event

    for script in dict.fromkeys(render(job, site) for job in wanted):
        if json:
            on_event(Event("result", data={"script": script}))
        else:
            typer.echo(script, nl=False)


def _sent_event(names: list[str], wanted: list[JobScript], site: SiteConfig) -> Event:
    from beadseg.events import Event

    job = wanted[0]
    more = f", continued in at most {job.jobs - 1} more" if job.jobs > 1 else ""
    more += f", and {len(names) - 1} that follow it" if len(names) > 1 else ""
    text = f"Sent job {names[0]} of {site.walltime}{more}. See: beadseg-batch status {job.folder}"
    data = {"job": names[0], "jobs": names, "folder": str(job.folder), "script": str(job.path)}
    return Event("result", text, data=data)


def profile(path: Path, changes: list[str] | None, walltime: str | None, margin: float | None) -> SiteConfig:
    """Return a cluster's profile with what the command line changes."""
    from beadseg.config.site import SiteConfig, as_walltime

    site = SiteConfig.from_file(path)
    try:
        times = [f"walltime='{as_walltime(walltime)}'"] if walltime is not None else []
    except ValueError:
        remedy = "Write it as HH:MM:SS, or as 12h, 90m or 1d12h."
        raise ConfigError(f"{walltime!r} is not a time.", "--walltime", remedy) from None
    times += [f"margin={margin}"] if margin is not None else []
    return site.with_overrides([*(changes or []), *times]) if changes or times else site


def checked(kind: str, words: list[str]) -> int | None:
    """Raise an error for arguments that the command would refuse; return which word of the job is its dataset.

    What costs nothing is looked at: options, paths, and the configuration of a training.
    """
    values = parsed(kind, words)
    if kind == "predict" and not values["images"]:
        raise InputError("No images were given.", "submit predict", "Name image files or folders; nothing was sent.")
    for path in [values["dataset"]] if kind == "train" else [values["run"], *values["images"]]:
        if not path.exists():
            raise InputError("No such file or folder.", path, "Check the path; nothing was sent.")
    if kind == "predict":
        from beadseg.data.documents import refuse_output
        from beadseg.predict.batch import find_images

        refuse_output(user_path(values["out"]), find_images(values["images"]))
    if kind != "train":
        return None
    from beadseg.cli.config_options import train_config

    network = None if values["model"] == "all" else values["model"]
    train_config(
        values["preset"], network, values["config"], values["set_"], values["seed"], values["epochs"],
        values["split_file"],
    )  # fmt: skip
    return 1 + words.index(str(values["dataset"])) if str(values["dataset"]) in words else None


def jobs_of_prediction(words: list[str], out: Path, running: int, times: int, *, write: bool) -> list[JobScript]:
    """Return the jobs of a prediction as an array, in the order in which they run.

    Parameters
    ----------
    words : list of str
        What follows ``beadseg-batch predict``, with ``--out``.
    out : pathlib.Path
        The prediction folder.
    running, times : int
        As of `beadseg.cluster.submit.prediction_jobs`.
    write : bool
        Whether the list of images is written into the folder; otherwise nothing is.
    """
    from beadseg.cluster.job import JobScript
    from beadseg.cluster.submit import freeze, list_path, prediction_jobs, refuse_second
    from beadseg.predict.batch import find_images

    checked("predict", words)
    values = parsed("predict", words)
    if values["dask"] is not None:
        raise ConfigError(
            "Shares the images out itself.", "--dask", "Leave out --dask or --elements; nothing was sent."
        )
    folder, images = out.absolute(), find_images(values["images"])
    if write:
        refuse_second(folder)
        freeze(folder, images, again=values["again"])
    command = ("predict", *_without(words, values["images"]), "--list", str(list_path(folder)))
    job = JobScript("predict", command, folder, Path.cwd(), umask=present_umask())
    return prediction_jobs(job, len(images), running, times)


def _without(words: list[str], images: list[Path]) -> list[str]:
    """Return the words of a command without its images and ``--again``, which the list of images stands for."""
    left, kept = list(images), []
    for word in reversed(words):
        if (path := user_path(Path(word))) in left:
            left.remove(path)
        elif word != "--again":
            kept.append(word)
    return kept[::-1]


def parsed(kind: str, words: list[str]) -> dict[str, Any]:
    """Return the values of a command's parameters as its command line reads them.

    Raises
    ------
    ConfigError
        The command would refuse them.
    """
    app = typer.Typer(add_completion=False)
    app.command(kind)(getattr(import_module(f"beadseg.cli.{kind}"), kind))
    command = typer.main.get_command(app)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            context = command.make_context(f"submit {kind}", list(words))
    except Exception as error:
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        remedy = f"See: beadseg-batch {kind} --help; nothing was sent."
        raise ConfigError(message(), f"submit {kind}", remedy) from None
    values: dict[str, Any] = {}
    for name, value in context.params.items():
        values[name] = [user_path(item) for item in value or ()] if name == "images" and kind == "predict" else value
    return {name: user_path(value) if name in ("dataset", "run", "config", "split_file", "space") and value else value
            for name, value in values.items()}  # fmt: skip


def present_umask() -> int:
    """Return what the files of this process are made with; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def jobs_of_sweep(
    words: list[str], out: Path, running: int | None, times: int, *, plan: bool, on_event: OnEvent
) -> list[JobScript]:
    """Return the jobs of a sweep in order; where every trial has ended, the one that ranks.

    Parameters
    ----------
    words : list of str
        What follows ``beadseg-batch sweep``, with ``--out``.
    out : pathlib.Path
        The folder of the sweep.
    running, times
        As of `beadseg.cluster.submit.sweep_jobs`.
    plan : bool
        Whether the sweep is planned in its folder, if it is not yet; otherwise nothing is written.
    on_event : callable
        Told what is done.
    """
    from beadseg.cluster.job import JobScript
    from beadseg.cluster.submit import rounds_to_come, sweep_jobs

    values = _checked(words)
    space = read_space(values["space"])
    rounds = rounds_to_come(space, *_planned(values, space, out, plan=plan, on_event=on_event))
    dataset = 1 + words.index(str(values["dataset"])) if str(values["dataset"]) in words else None
    mask, directory = present_umask(), Path.cwd()

    def make(kind: str, more: tuple[str, ...], array: Array | None) -> JobScript:
        staged = None if array is None else dataset
        what = ("sweep", *words, *more)
        return JobScript(kind, what, out.absolute(), directory, array=array, dataset=staged, umask=mask)

    return sweep_jobs(make, rounds, space.rounds, running, times)


def _planned(
    values: dict[str, Any], space: SweepConfig, out: Path, *, plan: bool, on_event: OnEvent
) -> tuple[list[Round], list[int]]:
    """Return the rounds that are planned, and the numbers of the trials that have ended."""
    from beadseg import files
    from beadseg.cli.config_options import train_config
    from beadseg.cluster.submit import refuse_second
    from beadseg.sweep.plan import planned

    config = train_config(
        values["preset"],
        values["model"],
        values["config"],
        values["set_"],
        values["seed"],
        values["epochs"],
        None,
        on_event,
    )
    if not plan and not (out / files.SWEEP).exists():
        return [planned(space, config, values["space"])], []
    if plan:
        refuse_second(out)
    sweep = begin_sweep(out, space, config, values["space"], plan and values["retry"], on_event)
    pending = set(sweep.pending())
    return sweep.rounds, [trial.number for trial in sweep.trials if trial.number not in pending]


def _checked(words: list[str]) -> dict[str, Any]:
    values = parsed("sweep", words)
    if not values["dataset"].exists():
        raise InputError("No such file or folder.", values["dataset"], "Check the path; nothing was sent.")
    for name in ("trials", "collect", "plan_round"):
        if values[name]:
            option = f"--{name.replace('_', '-')}"
            raise ConfigError("The jobs set it themselves.", option, "Leave it out; nothing was sent.")
    return values
