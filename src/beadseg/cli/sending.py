"""What `submit` looks at before anything is sent: the profile, and the command that is sent."""

from __future__ import annotations

import contextlib
import io
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from beadseg.errors import ConfigError, InputError
from beadseg.files import user_path

if TYPE_CHECKING:
    from beadseg.cluster.script import JobScript
    from beadseg.config.site import SiteConfig


def profile(path: Path, changes: list[str] | None, walltime: str | None, margin: float | None) -> SiteConfig:
    """Return a cluster's profile with what the command line changes."""
    from beadseg.config.site import SiteConfig

    site = SiteConfig.from_file(path)
    times = [f"walltime='{walltime}'"] if walltime is not None else []
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
        from beadseg.data.predictions import refuse_output
        from beadseg.predict.batch import find_images

        refuse_output(user_path(values["out"]), find_images(values["images"]))
    if kind != "train":
        return None
    from beadseg.cli.inputs import train_config

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
        As of `beadseg.cluster.prediction.prediction_jobs`.
    write : bool
        Whether the list of images is written into the folder; otherwise nothing is.
    """
    from beadseg.cluster.prediction import freeze, list_path, prediction_jobs
    from beadseg.cluster.script import JobScript
    from beadseg.cluster.submit import refuse_second
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
