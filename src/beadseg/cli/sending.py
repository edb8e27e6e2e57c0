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
