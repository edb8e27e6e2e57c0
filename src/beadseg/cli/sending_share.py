"""What `submit predict --elements` does: freeze the list of images, then send the array and the job that merges."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from beadseg.cli.sending import checked, parsed, present_umask

if TYPE_CHECKING:
    from beadseg.cluster.script import JobScript


def jobs_of_share(
    words: list[str], out: Path, elements: int, running: int | None, *, freeze: bool
) -> list[JobScript]:  # fmt: skip
    """Return the jobs of a prediction that several processes share, in the order in which they run.

    Parameters
    ----------
    words : list of str
        What follows ``beadseg-batch predict``, with ``--out``.
    out : pathlib.Path
        The prediction folder.
    elements, running : int
        As of `beadseg.cluster.share.jobs.share_jobs`.
    freeze : bool
        Whether the list of images is written into the folder; otherwise nothing is.
    """
    from beadseg.cli.predict import changes_of
    from beadseg.cli.sharing import shared_batch
    from beadseg.cluster.script import JobScript
    from beadseg.cluster.share.jobs import share_jobs
    from beadseg.cluster.submit import refuse_second
    from beadseg.predict.batch import find_images
    from beadseg.predict.model_file import model_name

    checked("predict", words)
    values = parsed("predict", words)
    images = find_images(values["images"])
    if freeze:
        refuse_second(out.absolute())
        changes = changes_of(values["set_"], values["diameter"], values["channel"])
        shared_batch(values["run"], images, out, changes, values["overlays"], values["maps"], None,
                     again=values["again"])  # fmt: skip
    command = ("predict", model_name(values["run"]), "--out", str(out), "--share", *_of_each(values))
    job = JobScript("predict", command, out.absolute(), Path.cwd(), umask=present_umask())
    return share_jobs(job, len(images), elements, running)


def _of_each(values: dict[str, Any]) -> list[str]:
    """Return the options that are each process' own; all others are the batch's, and stand in its list."""
    words = [] if values["report"] else ["--no-report"]
    for name in ("device", "threads"):
        words += [f"--{name}", str(values[name])] if values[name] not in (None, "auto") else []
    return [*words, *(f"--{name}" for name in ("json", "quiet") if values[name])]
