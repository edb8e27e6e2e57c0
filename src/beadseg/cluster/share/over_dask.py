"""A shared batch over dask: its workers are processes like all others, which a scheduler hands the images."""

from __future__ import annotations

import secrets
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beadseg.claim import HEARTBEAT
from beadseg.cluster.share.dead import give_up, take_from_dead
from beadseg.cluster.share.image import attempt
from beadseg.cluster.share.listing import Share
from beadseg.cluster.share.work import say_what_predicts
from beadseg.errors import BeadsegError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, ignore, log, progress

if TYPE_CHECKING:
    from beadseg.cluster.share.listing import Item
    from beadseg.predict.predictor import Predictor
    from beadseg.predict.segmenter import Segmenter

POLL = 0.5
"""The flag that stops the batch is looked at this often, s."""


def predict_over_dask(
    client: Any,
    predictor: Predictor,
    share: Share,
    *,
    device: str = "auto",
    threads: int | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> None:
    """Let the workers of a dask cluster predict what is left of a shared batch.

    What they could not do, since another process has it, is left to `predict_shared`, which also merges.

    Parameters
    ----------
    client : distributed.Client
        Its workers see the same folders, and have beadseg.
    predictor : Segmenter
        The model of the batch, with its options; workers load their own.
    share : Share
        The batch; see `begin`.
    device, threads
        As of `Segmenter.load`; CPU threads of each worker, its own choice when None.
    on_event, stop
        Progress, and the flag that ends the batch; workers are not waited for then.

    Raises
    ------
    Cancelled
        `stop` was set.
    BeadsegError
        A worker cannot predict at all, or the folder holds predictions of another run.
    """
    from distributed import wait

    say_what_predicts(predictor, share)
    left = share.left()
    once = secrets.token_hex(4)  # so that dask does not answer with what it remembers
    waiting = {
        client.submit(
            predict_in_worker, str(share.folder), item.index, device, threads, key=f"beadseg-{once}-{item.index}"
        ): item
        for item in left
    }
    on_event(log(f"{len(left)} images go to dask ({client.scheduler.address})."))
    try:
        while waiting:
            if stop is not None:
                stop.check()
            try:
                ready = wait(list(waiting), timeout=POLL, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                continue
            for future in ready:
                _take(future, share, waiting.pop(future), on_event)
                on_event(progress("images", len(left) - len(waiting), len(left)))
    finally:
        client.cancel(list(waiting), force=True)


def predict_in_worker(folder: str, index: int, device: str, threads: int | None) -> list[dict[str, Any]]:
    """Predict one image of the batch in `folder`; return what is to be told. Runs in a worker."""
    events: list[dict[str, Any]] = []
    share, segmenter = _loaded(folder, device, threads)

    def note(event: Event) -> None:
        events.append(event.as_dict())

    item = share.items[index]
    take_from_dead(share, item, lambda job: False, note)  # of a worker that died of it; dask sends it to another
    attempt(segmenter, share, item, HEARTBEAT, note, None)
    return [event for event in events if event["kind"] != "progress"]


@lru_cache(maxsize=1)
def _loaded(folder: str, device: str, threads: int | None) -> tuple[Share, Segmenter]:
    """Return a batch and its model, loaded once per worker."""
    import torch

    from beadseg.predict.segmenter import Segmenter

    if threads is not None:
        torch.set_num_threads(threads)
    share = Share.read(Path(folder))
    segmenter = Segmenter.load(share.run, device=device)
    if share.changes:
        segmenter.options = segmenter.options.with_overrides([*share.changes])
    return share, segmenter


def _take(future: Any, share: Share, item: Item, on_event: OnEvent) -> None:
    """Tell what a worker reported; an image that killed several workers is given up."""
    from distributed import KilledWorker

    error = future.exception()
    if error is None:
        for event in future.result():
            on_event(Event(**event))
    elif isinstance(error, KilledWorker):
        give_up(share, item, "Several dask workers died while they predicted it.", on_event)
    elif isinstance(error, BeadsegError):
        raise error
    else:
        text = f"A dask worker cannot predict ({type(error).__name__}: {' '.join(str(error).split())})."
        raise MachineError(text, "dask", "Workers need this version of beadseg, and the same folders.") from error
