"""`beadseg-batch`: the table of commands, and what every command does with errors, signals and warnings.

A command is a function ``NAME(...)`` in the module ``beadseg.cli.NAME``. Only the module of the command asked for is
imported, so that ``--help`` answers at once. A command that ends in another way than "all done" raises a
`BeadsegError`, or ``typer.Exit(ExitCode.…)`` where it has said everything already.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from importlib import import_module
from keyword import iskeyword
from pathlib import Path
from typing import Annotated, Any

import typer

from beadseg.cli.console import lenient_streams, stop_on_signals
from beadseg.errors import BeadsegError, ExitCode, MachineError, is_out_of_memory
from beadseg.files import machine_error, user_path

PROGRAM = "beadseg-batch"

COMMANDS: dict[str, str] = {
    "demo": "Simulate images, train, predict, count and evaluate: the whole way in a few minutes.",
    "simulate": "Write a dataset of simulated bead images with known instances.",
    "train": "Train one network, or all three, on a dataset folder; the same command resumes.",
    "crossval": "Train and score by folds, or with one field of view left out at a time.",
    "sweep": "Train with many settings, by a grid, at random or by TPE, and rank them.",
    "audit": "Find what is wrong with the annotations of a dataset, worst first, and propose corrections.",
    "review": "See and set which annotations are accepted, rejected or corrected.",
    "draft": "Make first annotations for images that have none, for a person to correct.",
    "suggest": "Rank unlabelled images by what annotating them would teach a trained model.",
    "improve": "Train a model further on a few accepted samples, and say whether it is better.",
    "predict": "Segment and count the beads of images, by the general model or a trained run.",
    "evaluate": "Score predictions against a dataset's masks or labels.",
    "reproduce": "Repeat a prediction or an evaluation, and say what differs.",
    "density": "Turn counts into densities and analyse a dilution series; compare with counts by hand.",
    "import": "Turn COCO annotations or Fiji ROIs into a dataset folder, or a packed run into a run folder.",
    "export": "Write labels, models, runs or counts for other programs: COCO, Fiji, QuPath, Excel, ONNX and more.",
    "report": "Make the page report.html of a run, evaluation, prediction, crossval or density folder.",
    "analyze": "Explain a dataset, or two side by side: counts, sizes, brightness, suspicious masks.",
    "compare": "Show runs or presets side by side: settings, scores, verdicts and curves.",
    "submit": "Send a training, sweep or prediction to a cluster with PBS or Slurm.",
    "status": "Show the status of a folder's cluster jobs.",
    "logs": "Print, or follow, the logs of a folder's cluster jobs.",
    "cancel": "Cancel a folder's cluster jobs.",
    "doctor": "Check this machine, or a cluster's profile: versions, GPU, memory, disk, and what to fix.",
}
"""Every command with its one-line help; its function has the same name and lies in ``beadseg.cli.NAME``.

A name that Python keeps for itself has an underscore there: ``import_``.
"""

TOGETHER = {
    "status": "jobs",
    "logs": "jobs",
    "cancel": "jobs",
    "improve": "draft",
    "suggest": "draft",
    "compare": "report",
    "analyze": "report",
    "import": "export",
    "crossval": "train",
}
"""Commands that share a module with others."""

CONTEXTS = {"submit": {"ignore_unknown_options": True}}
"""Settings of a command's own: what `submit` does not know are the options of the command that it sends."""

DEBUG_VARIABLE = "BEADSEG_DEBUG"
"""Environment variable with the meaning of ``--debug``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `beadseg-batch` and return its exit code (see `beadseg.errors`)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Read when torch is loaded. Otherwise threads wait for each other by spinning, which on a busy machine takes many
    # times the processor time of the computation.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with lenient_streams() as output:
        code = _run(given)
        output.flush()
        return code or (ExitCode.MACHINE if output.full else ExitCode.OK)


def _run(given: list[str]) -> int:
    _use_plain_replacements()
    if (encoding := sys.getfilesystemencoding()) != "utf-8":
        text = f"This terminal's locale is not UTF-8 ({encoding}): letters in file names may be read wrongly."
        print(f"{PROGRAM}: {text} Set LC_ALL=C.UTF-8.", file=sys.stderr)
    if not sys.warnoptions:
        # Third parties warn about themselves; ours are events. `python -W …` shows them again.
        warnings.simplefilter("ignore")
    try:
        with stop_on_signals():
            build_app(given)(args=given, prog_name=PROGRAM, obj=given)
    except SystemExit as end:
        return _code_of(end)
    except Exception as error:
        return _report(error)
    return ExitCode.OK


def _code_of(end: SystemExit) -> int:
    """Return the exit code of `SystemExit` as Python does: a text is printed, and is a failure."""
    if end.code is None:
        return ExitCode.OK
    if isinstance(end.code, int):
        return end.code
    print(f"{PROGRAM}: {end.code}", file=sys.stderr)
    return ExitCode.BUG


def build_app(arguments: Sequence[str]) -> typer.Typer:
    """Return the typer application; only the command that `arguments` begin with is imported, the others are named."""
    app = typer.Typer(
        name=PROGRAM,
        help="Segment and count microbeads in microscope images.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_global_options)
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        function = _load(name) if name == chosen else _named_only
        context = CONTEXTS.get(name)
        app.command(name, short_help=summary, help=None if name == chosen else summary, context_settings=context)(
            function
        )
    return app


def _print_version(asked: bool) -> None:
    if asked:
        from beadseg import __version__

        typer.echo(f"{PROGRAM} {__version__}")
        raise typer.Exit(ExitCode.OK)


def _global_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", is_eager=True, callback=_print_version)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def _load(name: str) -> Callable[..., Any]:
    """Return the function of a command."""
    python_name = f"{name}_" if iskeyword(name) else name
    module = import_module(f"beadseg.cli.{TOGETHER.get(name, python_name)}")
    command: Callable[..., Any] = getattr(module, python_name)

    @wraps(command)
    def with_paths(**values: Any) -> Any:
        return command(**{name: user_paths(value) for name, value in values.items()})

    return with_paths


def user_paths(value: Any) -> Any:
    """Return the value of a parameter with every path in it as the user means it: ``~`` is the home folder."""
    if isinstance(value, list | tuple):
        return type(value)(user_paths(item) for item in value)
    return user_path(value) if isinstance(value, Path) else value


def _named_only() -> None:
    """Stand in the list of commands; never called, since the command asked for is always loaded."""


def _report(error: Exception) -> int:
    """Print an error once, on standard error, and return the exit code that it stands for."""
    known = as_beadseg_error(error)
    debug = bool(os.environ.get(DEBUG_VARIABLE))
    if known is None or debug:
        traceback.print_exception(error, file=sys.stderr)
    if known is None:
        print(f"{PROGRAM}: unexpected {type(error).__name__}: {error}", file=sys.stderr)
        print("This is a bug in beadseg: please report it with the lines above.", file=sys.stderr)
        return ExitCode.BUG
    print(f"{PROGRAM}: {known}", file=sys.stderr)
    return known.exit_code


NO_ANSWER = {
    getattr(errno, name, -1)
    for name in ("EIO", "ENODEV", "ENXIO", "ENOTCONN", "ESTALE", "EREMOTEIO", "EHOSTDOWN", "EHOSTUNREACH", "ETIMEDOUT")
}
"""What a broken disk, or a network folder that is gone, answers to reading and writing."""


def as_beadseg_error(error: BaseException) -> BeadsegError | None:
    """Return `error` itself, or what it means when the machine gave out; None for anything unexpected."""
    if isinstance(error, BeadsegError):
        return error
    if is_out_of_memory(error):
        return MachineError(
            "Out of memory.", remedy="Use smaller tiles or batches, close other programs, or ask for more memory."
        )
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return MachineError("Too many files are open.", error.filename, "Allow more, for example by ulimit -n 4096.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return machine_error(error, Path(error.filename or "."))
    if isinstance(error, PermissionError):
        return MachineError("Cannot be read or written: permission denied.", error.filename, "Check its permissions.")
    if isinstance(error, OSError) and error.errno in NO_ANSWER:
        text = f"The disk or network folder does not answer: {error.strerror}."
        return MachineError(text, error.filename, "Check it and its connection, then run the command again.")
    return None


def _use_plain_replacements() -> None:
    """Print `?` for what the console cannot show (a Windows code page, ``LC_ALL=C``) instead of failing there."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
