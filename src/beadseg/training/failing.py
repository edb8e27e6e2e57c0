"""Which process of a training tells what went wrong: the first to fail, and no other."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch.distributed as dist

from beadseg.errors import BeadsegError, Cancelled, ExitCode, ProcessKilledError
from beadseg.events import LAUNCHED

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAILED, _CODE = "beadseg/failed", "beadseg/code"


class Followed(SystemExit):
    """Ends a process because of another one, which says why; its exit code is the other one's."""


@contextmanager
def followed(rank: int, size: int, *, single: bool) -> Iterator[None]:
    """Let the first process that fails tell it, and end the others silently, with the same exit code.

    Parameters
    ----------
    rank, size : int
        Which process this is, of how many.
    single : bool
        Whether all are on one machine.
    """
    try:
        yield
    except Followed:
        raise
    except Exception as error:
        code = error.exit_code if isinstance(error, BeadsegError) else ExitCode.BUG
        lost = not isinstance(error, BeadsegError) and _is_lost_contact(error)
        if lost:
            code = ExitCode.KILLED
        other = _tell(code)
        if other is not None:
            raise Followed(other) from None
        if lost and single and os.environ.get(LAUNCHED):  # who started them tells which one was killed
            raise Followed(code) from None
        if lost:
            raise ProcessKilledError(
                f"Another of the {size} processes exited without an error message or cannot be reached.",
                f"process {rank} of {size}", "The same command goes on from the last checkpoint.",
            ) from error  # fmt: skip
        if rank and isinstance(error, BeadsegError) and not isinstance(error, Cancelled):
            raise type(error)(f"{error.what} (In process {rank} of {size}.)", error.where, error.remedy) from error
        raise


def _tell(code: int) -> int | None:
    """Leave the exit code for the others; return that of a process that failed before this one."""
    if not dist.is_initialized():
        return None
    store = dist.distributed_c10d._get_default_store()
    try:
        if store.add(_FAILED, 1) == 1:
            store.set(_CODE, str(int(code)))
            return None
        return int(store.get(_CODE))
    except (RuntimeError, ValueError):  # the store has ended with the first process
        return code


def _is_lost_contact(error: Exception) -> bool:
    """Recognise by the text what torch raises when another process is gone."""
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in ("gloo", "nccl", "connection", "tcpstore"))
