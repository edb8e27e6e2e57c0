"""Work on a shared batch until nothing is left, and take over what dead and slow processes leave."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from beadseg.claim import HEARTBEAT, STALE, Owner, last_beat, read, remove
from beadseg.cluster.share.dead import take_from_dead
from beadseg.cluster.share.image import attempt
from beadseg.cluster.share.merge import merge, merge_partly
from beadseg.errors import Cancelled
from beadseg.events import OnEvent, StopFlag, ignore, log, progress
from beadseg.predict.batch import refuse_foreign, write_about

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.cluster.share.listing import Item, Share
    from beadseg.predict.predictor import Predictor
    from beadseg.predict.tables import BatchResult


@dataclass(frozen=True)
class Patience:
    """How long processes wait for each other, s.

    Attributes
    ----------
    heartbeat : float
        Whoever works on an image shows this often that it lives.
    stale : float
        Without a sign of life for so long it is dead.
    slow : float
        An image that a living process has for longer than this, and than ten images took here, is predicted a second
        time by one that has nothing else to do.
    poll : float
        How often one that has nothing to do looks.
    asked : float
        How often PBS is asked whether the job of a claim has ended.
    """

    heartbeat: float = HEARTBEAT
    stale: float = STALE
    slow: float = 300.0
    poll: float = 1.0
    asked: float = 30.0


def predict_shared(
    predictor: Predictor,
    share: Share,
    *,
    patience: Patience | None = None,
    has_ended: Callable[[str], bool] = lambda job: False,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> tuple[BatchResult, bool]:
    """Predict images of a shared batch until all are done, and merge what everybody found.

    Parameters
    ----------
    predictor : Segmenter
        The model of the batch, with its options.
    share : Share
        The batch; see `begin` and `join`.
    patience : Patience, optional
        How long others are waited for.
    has_ended : callable
        Tells whether the PBS job of this id has certainly ended.
    on_event, stop
        Progress, and the flag that ends the work between tiles; the image in hand is then free for others.

    Returns
    -------
    tuple of BatchResult, bool
        What became of all images, and whether this process merged them.

    Raises
    ------
    Cancelled
        `stop` was set; the tables hold what was done by then.
    InputError
        The folder holds predictions of another run.
    MachineError
        The folder cannot be written to.
    """
    say_what_predicts(predictor, share)
    try:
        _Worker(predictor, share, patience or Patience(), has_ended, on_event, stop).run()
        return merge(share, has_ended, stop)
    except Cancelled:
        merge_partly(share, has_ended)
        raise


def say_what_predicts(predictor: Predictor, share: Share) -> None:
    """Write ``prediction.json`` before any result; raise `InputError` where the folder holds those of another run."""
    refuse_foreign(share.folder, share.run, share.model_sha256)
    if share.left():
        write_about(predictor, share.names, share.folder, share.run, share.model_sha256)


class _Worker:
    """One of the processes that share a batch."""

    def __init__(
        self, predictor: Predictor, share: Share, patience: Patience, has_ended: Callable[[str], bool],
        on_event: OnEvent, stop: StopFlag | None,
    ) -> None:  # fmt: skip
        self._predictor, self._share, self._patience = predictor, share, patience
        self._has_ended, self._on_event, self._stop = _asked_seldom(has_ended, patience.asked), on_event, stop
        self._seen: dict[int, tuple[Owner | None, float]] = {}
        self._longest = 0.0

    def run(self) -> None:
        """Return when all images are done, by whomever."""
        # Everybody begins elsewhere in the list, so that they seldom want the same image.
        every, done = len(self._share.items), 0
        start = secrets.randbelow(every)
        left = [*self._share.items[start:], *self._share.items[:start]]
        while left:
            waiting = []
            for item in left:
                if self._attempt(item):
                    done += 1
                    self._on_event(progress("images", done, every))
                else:
                    waiting.append(item)
            if len(waiting) == len(left):
                for item in left:
                    self._look_after(item)
                time.sleep(self._patience.poll)
            left = waiting

    def _attempt(self, item: Item) -> bool:
        """Return whether an image is done; one that nobody has is predicted now."""
        if self._stop is not None:
            self._stop.check()
        began = time.monotonic()
        done = attempt(self._predictor, self._share, item, self._patience.heartbeat, self._on_event, self._stop)
        self._longest = max(self._longest, time.monotonic() - began)
        return done

    def _look_after(self, item: Item) -> None:
        """Free an image whose process is dead, or slow while this one has nothing to do."""
        if self._stop is not None:
            self._stop.check()
        if take_from_dead(self._share, item, self._has_ended, self._on_event, self._patience.stale):
            return
        path = self._share.claim_path(item)
        owner, now = read(path), time.monotonic()
        known, since = self._seen.setdefault(item.index, (owner, now))
        if known != owner:
            self._seen[item.index] = (owner, now)
            return
        slow = now - since > max(self._patience.slow, 10 * self._longest)
        if slow and owner is not None and remove(path, owner, last_beat(path), self._patience.stale):
            self._on_event(log(f"{item.name}: taken over from {owner}, which is slow.", "warning"))


def _asked_seldom(has_ended: Callable[[str], bool], seconds: float) -> Callable[[str], bool]:
    """Return `has_ended`, but ask about a job that had not ended only after some time again."""
    asked: dict[str, float] = {}

    def ask(job: str) -> bool:
        now = time.monotonic()
        if job in asked and now - asked[job] < seconds:
            return False
        asked[job] = now
        return has_ended(job)

    return ask
