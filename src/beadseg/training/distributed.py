"""Several processes that train one network: how they meet, agree and share work, and which one reports a failure."""

from __future__ import annotations

import gc
import os
import platform
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # while there is no group: it keeps the one that it finds, for ever
from torch.distributed.rendezvous import rendezvous

from beadseg.errors import BeadsegError, Cancelled, ConfigError, ExitCode, MachineError, ProcessKilledError
from beadseg.events import LAUNCHED
from beadseg.model.backends import choose_device

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

MEETING = timedelta(minutes=10)
"""How long a process waits for the others to start."""
TIMEOUT = timedelta(hours=2)
"""How long a process waits for another one that is alive; one that has ended is noticed at once."""

T = TypeVar("T")

_FAILED, _CODE = "beadseg/failed", "beadseg/code"


@dataclass(frozen=True)
class Team:
    """The processes of one training, and which of them this is; without others everything here does nothing.

    Attributes
    ----------
    rank, size : int
        Number of this process (from 0), and of all.
    local_rank, local_size : int
        The same among those of this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Team:
        """Return what the variables of `torchrun` say; one process where there are none.

        Raises
        ------
        ConfigError
            They contradict each other.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        if "RANK" not in environment or "WORLD_SIZE" not in environment:
            return cls()
        try:
            rank, size = int(environment["RANK"]), int(environment["WORLD_SIZE"])
            local = [int(environment.get(name) or other) for name, other in zip(names[2:], (rank, size), strict=True)]
        except ValueError:
            rank, size, local = 0, 0, [0, 0]
        if not (0 <= rank < size and 0 <= local[0] < local[1] <= size):
            found = ", ".join(f"{name}={environment.get(name, '')}" for name in names)
            raise ConfigError(f"No training has such a process: {found}.", "environment",
                              "Unset these variables, or start all processes with torchrun.")  # fmt: skip
        return cls(rank, size, *local)

    @property
    def first(self) -> bool:
        """Whether this process writes the files and tells what happens."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are other processes."""
        return self.size > 1

    def __str__(self) -> str:
        return f"process {self.rank} of {self.size}"

    def any(self, flag: bool) -> bool:
        """Return in every process whether `flag` is set in at least one."""
        if not self.several:
            return flag
        return bool(self.add(torch.tensor(int(flag), dtype=torch.int32)))

    def gather(self, item: T) -> list[T]:
        """Return in every process the `item` of each, in the order of their numbers."""
        if not self.several:
            return [item]
        items: list[Any] = [None] * self.size
        dist.all_gather_object(items, item)
        return items

    def from_first(self, item: T) -> T:
        """Return in every process the `item` of the first."""
        if not self.several:
            return item
        box = [item]
        dist.broadcast_object_list(box)
        return box[0]

    def wait(self) -> None:
        """Go on when every process has come here."""
        self.any(False)

    def add(self, tensor: Tensor) -> Tensor:
        """Replace `tensor` by the sum over all processes, and return it."""
        if self.several:
            dist.all_reduce(tensor)
        return tensor

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """Return those of `items` that are this process' part; `shared` puts the results together again."""
        return items[self.rank :: self.size]

    def shared(self, results: Sequence[T]) -> list[T]:
        """Return in every process the results for all items, in their order, each from the process that has it."""
        parts = self.gather(list(results))
        return [parts[i % self.size][i // self.size] for i in range(sum(map(len, parts)))]

    def check(self, error: BeadsegError | None) -> None:
        """End all processes when one of them has an error; the first raises it, in its own words or another's."""
        if not self.any(error is not None):
            return
        from_first = next(found for found in self.gather(error) if found is not None)
        if self.first:
            raise from_first
        raise Followed(from_first.exit_code)

    def check_same(self, value: object, what: str) -> None:
        """Raise `MachineError` where the processes do not have the same `value`, which `what` names."""
        if len(set(self.gather(repr(value)))) > 1:
            error = MachineError(f"Not all processes have the same {what}.", str(self),
                                 "Give all machines the same files and the same version of beadseg.")  # fmt: skip
            self.check(error)


@contextmanager
def joined(device: str = "auto") -> Iterator[Team]:
    """Meet the other processes, whose number the environment tells; where there are none, do nothing.

    An error of one process ends all of them and is reported once. Within another `joined` nothing happens.

    Parameters
    ----------
    device : str
        As for `own_device`.

    Raises
    ------
    MachineError
        A process exited without an error message, or none could be reached.
    ConfigError
        The environment contradicts itself.
    """
    team = Team.of()
    if not team.several or dist.is_initialized():
        yield team
        return
    try:
        with followed(team.rank, team.size, single=team.size == team.local_size):
            _meet(own_device(device, team), team)
            yield team
    finally:  # after a failure too: the next training of this process starts afresh
        if dist.is_initialized():
            # What refers to the group keeps its threads, and a Python that ends before them may abort. It goes first:
            # the group waits for its threads when it is deleted, and they may wait for Python's lock.
            gc.collect()
            dist.destroy_process_group()


def own_device(name: str, team: Team) -> torch.device:
    """Return the device called `name` for this process: each one of a machine takes a GPU of its own.

    Which GPUs there are is left to ``CUDA_VISIBLE_DEVICES``. Raises as `choose_device` does.
    """
    device = choose_device(name)
    if device.type != "cuda" or ":" in name or not team.several:
        return device
    return torch.device("cuda", team.local_rank % torch.cuda.device_count())


def _meet(device: torch.device, team: Team) -> None:
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.set_device(device)
    try:
        store, rank, size = next(rendezvous("env://", timeout=MEETING))
        backend = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    except (RuntimeError, ValueError, OSError) as error:
        address = f"{os.environ.get('MASTER_ADDR', '')}:{os.environ.get('MASTER_PORT', '')}"
        text = f"The processes cannot meet at {address} ({str(error).splitlines()[0].rstrip('.')})."
        remedy = "Set MASTER_ADDR and MASTER_PORT, or start all with torchrun."
        raise MachineError(text, str(team), remedy) from None
    if cuda:
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        _check_gpus(team, team.gather((platform.node(), uuid)))


def _check_gpus(team: Team, used: Sequence[tuple[str, str]]) -> None:
    """End all processes where two of one machine would share a GPU: they would wait for each other for ever."""
    if len(set(used)) < len(used):
        text = f"{team.size} processes have {len(set(used))} GPUs."
        team.check(MachineError(text, "--device", "Start one process per GPU, or use --device cpu."))


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
        other = _announce(code)
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


def _announce(code: int) -> int | None:
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
