"""Measure every sample of a data set: several at once, continuing where an earlier audit ended."""

from __future__ import annotations

import signal
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING

from beadseg.annotation.audit.measurement import Measurement
from beadseg.annotation.audit.read import key_of, measure_sample
from beadseg.errors import BeadsegError, MachineError
from beadseg.events import OnEvent, StopFlag, ignore, progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.annotation.audit.measure import Settings
    from beadseg.annotation.audit.store import Store
    from beadseg.data.dataset import Dataset, Sample

BATCH = 32
"""Samples handed to the workers at once: what a stop waits for."""
PROCESSES_FROM = 200
"""From this many samples on, worker processes are worth their start-up time."""


def measure_all(
    dataset: Dataset,
    settings: Settings,
    store: Store,
    workers: int = 1,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> dict[str, Measurement]:
    """Return the measurement of every sample by its name, in the data set's order.

    Parameters
    ----------
    dataset : Dataset
        What is audited.
    settings : Settings
        Of the data set.
    store : Store
        Where known measurements are taken from and new ones kept.
    workers : int
        How many samples are measured at once: by threads, or for many samples by processes, which need a main module
        that can be imported without starting the work again.
    on_event, stop
        See `beadseg.events`.

    Raises
    ------
    Cancelled
        `stop` was set; what was measured is in the store.
    MachineError
        The store cannot be written, or a worker process was killed.
    """
    found: dict[str, Measurement] = {}
    samples, total = dataset.samples, len(dataset)
    on_event(progress("audit", 0, total))
    with _pool(workers, total) as pool:
        for start in range(0, total, BATCH):
            batch = samples[start : start + BATCH]
            found |= _measured(batch, settings, store, pool)
            on_event(progress("audit", min(total, start + BATCH), total))
            if stop:
                store.flush()
                stop.check()
    store.flush()
    return found


def _pool(workers: int, total: int) -> Executor:
    """Return threads, which start at once, or for many samples processes, which share no interpreter lock."""
    if workers == 1 or total < PROCESSES_FROM:
        return ThreadPoolExecutor(workers)
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_leave_signals_to_the_parent)


def _leave_signals_to_the_parent() -> None:
    """Let only the parent react to Ctrl-C and the end of a job: it stops between batches and keeps what is done."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _measured(batch: Sequence[Sample], settings: Settings, store: Store, pool: Executor) -> dict[str, Measurement]:
    """Return what is known of a batch, and measure the rest."""
    found: dict[str, Measurement | Future[Measurement]] = {}
    for sample in batch:
        try:
            key = key_of(sample, settings)
        except BeadsegError as error:
            found[sample.name] = Measurement(key="", failure=str(error))
            continue
        known = key in store
        found[sample.name] = store[key] if known else pool.submit(measure_sample, sample, settings, key)
    done = {name: _result(value) for name, value in found.items()}
    for measured in done.values():
        if not measured.failure and measured.key not in store:
            store.add(measured)
    return done


def _result(value: Measurement | Future[Measurement]) -> Measurement:
    if isinstance(value, Measurement):
        return value
    try:
        return value.result()
    except BrokenProcessPool:
        raise MachineError(
            "A worker process was ended from outside, most likely for want of memory.",
            "audit",
            "Use fewer --threads, or ask for more memory; the same command continues.",
        ) from None
