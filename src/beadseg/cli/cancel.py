"""`beadseg-batch cancel`: end the jobs of a folder."""

from __future__ import annotations

from beadseg.cli import options
from beadseg.cli.console import reporter
from beadseg.cli.jobs import JobsFolder


def cancel(folder: JobsFolder, json: options.Json = False) -> None:
    """Cancel a folder's cluster jobs, queued or running. A training keeps every step."""
    from beadseg.cluster import record, scheduler
    from beadseg.events import Event

    with reporter(json) as on_event:
        ids = [item.job for item in record.sent(folder)]
        alive = [name for name, job in scheduler.jobs(ids).items() if not job.over]
        # The last one first: a successor must not begin when the one before it ends.
        ended = scheduler.delete(sorted(alive, key=ids.index, reverse=True))
        text = f"Ended: {', '.join(ended)}." if ended else "No job of this folder was queued or running."
        on_event(Event("result", text, data={"ended": ended}))
