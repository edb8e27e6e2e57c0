"""One step of the optimizer: a batch in as many parts as the memory asks for, by one process or several.

Several processes compute what one would, each with its share of the batch.
"""

from __future__ import annotations

import hashlib
import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from beadseg.errors import MachineError, is_out_of_memory
from beadseg.events import OnEvent, log
from beadseg.model.backends import arithmetic, free_memory

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from beadseg.config import TrainConfig
    from beadseg.model.backends import Precision
    from beadseg.model.networks import Network
    from beadseg.training.batches import Batch
    from beadseg.training.distributed import Team

Tensors = tuple[Tensor, ...]


class Stepper:
    """Updates the weights of a network batch by batch.

    Parameters
    ----------
    network : Network
        On its device.
    loss : torch.nn.Module
        Of outputs, targets and counted pixels.
    config : TrainConfig
        Its optimizer, and into how many parts a batch is divided at first.
    precision : str
        The arithmetic, see `beadseg.model.backends.choose_precision`.
    device : torch.device
        Where to compute.
    team : Team
        The processes that share every batch.
    on_event : callable
        Hears when memory runs out.
    """

    def __init__(
        self,
        network: Network,
        loss: nn.Module,
        config: TrainConfig,
        precision: Precision,
        device: torch.device,
        team: Team,
        on_event: OnEvent,
    ) -> None:
        self.network, self.loss, self.clip = network, loss, config.optimizer.clip
        self.precision, self.device, self.team, self.on_event = precision, device, team, on_event
        self.replica = Replica(network, team, device)
        self.optimizer = _optimizer(network, config)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        self.accumulate = config.accumulate

    def step(self, batch: Batch, lr: float) -> float:
        """Update the weights with one batch, return its loss; halve its parts when memory runs out.

        Raises
        ------
        MachineError
            Memory runs out with one patch at a time, or with several processes.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.network.train()
        while True:
            try:
                loss = self.backward(batch)
                break
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self.optimizer.zero_grad(set_to_none=True)
                free_memory(error)
            self._use_smaller_parts(batch.size)
        if self.clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def backward(self, batch: Batch) -> float:
        """Compute the gradient of a batch in parts; return its loss."""
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        parts = batch.parts(min(self.accumulate, batch.size))
        for part in parts:
            share = part.size / batch.size
            with self.replica.collecting(last=part is parts[-1]):
                loss = self._loss(part) * share
                self.replica.backward(self.scaler.scale(loss))
            total += loss.detach()
        return float(total)  # the one time in a step that the processor waits for the GPU

    def _loss(self, part: Batch) -> Tensor:
        """Return the loss of a part of the batch, whichever processes have its patches."""
        with arithmetic(self.precision, self.device):
            x = part.image.to(self.device, memory_format=torch.channels_last, non_blocking=True)
            logits = self.replica(x)
        others = (each.to(self.device, non_blocking=True) for each in (part.target, part.counted))
        own = (logits.float(), *others)
        loss: Tensor = self.loss(*self.replica.whole(own, part.places, part.size))
        return loss

    def _use_smaller_parts(self, batch: int) -> None:
        """Double the accumulation after running out of memory; raise `MachineError` where that does not help."""
        if self.team.several:  # the others wait for what this process would send them
            raise MachineError(f"Out of memory with {batch} patches in {self.accumulate * self.team.size} parts.",
                               str(self.device), f"Set accumulate={2 * self.accumulate}.")  # fmt: skip
        if self.accumulate >= batch:
            raise MachineError("Out of memory with one patch at a time.", str(self.device),
                               "Use a smaller patch (epoch.size) or network (network.width).")  # fmt: skip
        self.accumulate = min(batch, self.accumulate * 2)
        part = math.ceil(batch / self.accumulate)
        self.on_event(log(f"Out of memory: batches of {batch} are now computed in parts of {part}.", "warning"))


def _optimizer(network: Network, config: TrainConfig) -> torch.optim.Optimizer:
    kind = torch.optim.AdamW if config.optimizer.name == "adamw" else torch.optim.Adam
    return kind(network.parameters(), lr=config.optimizer.lr, weight_decay=config.optimizer.weight_decay)


class Replica:
    """A network whose copies in all processes get the same gradient: the sum of the processes' gradients.

    Parameters
    ----------
    network : nn.Module
        Equal in all processes.
    team : Team
        The processes.
    device : torch.device
        Where `network` is.
    """

    def __init__(self, network: nn.Module, team: Team, device: torch.device) -> None:
        self.team = team
        self.network = network
        if team.several:
            ids = [device] if device.type == "cuda" else None
            self.network = DistributedDataParallel(network, device_ids=ids)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the network's output."""
        output: Tensor = self.network(x)
        return output

    def whole(self, own: Tensors, places: Tensor, size: int) -> Tensors:
        """Return the rows of all processes in one tensor per kind, those of this process with their gradient.

        Parameters
        ----------
        own : tuple of (n, C, Y, X)
            This process' rows, of several kinds that differ in C.
        places : (n,) int64
            Their places among all.
        size : int
            Rows of all processes together.
        """
        if not self.team.several:
            return own
        rows = torch.cat(own, dim=1)
        places = places.to(rows.device)
        everything = rows.new_zeros((size, *rows.shape[1:]))
        everything[places] = rows.detach()
        everything = self.team.add(everything).index_copy(0, places, rows)
        return tuple(torch.split(everything, [kind.shape[1] for kind in own], dim=1))

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss`; torch's mean over the processes becomes their sum."""
        (loss * self.team.size if self.team.several else loss).backward()

    def leave(self) -> None:
        """Let go of the other processes, lest an error that refers to this training keeps the contact to them open."""
        if isinstance(self.network, DistributedDataParallel):
            self.network = self.network.module

    def collecting(self, *, last: bool) -> AbstractContextManager[None]:
        """Return a context for one part of a batch: the gradient is summed over the processes with the `last` part."""
        if last or not isinstance(self.network, DistributedDataParallel):
            return nullcontext()
        return cast("AbstractContextManager[None]", self.network.no_sync())


def sync_norms(network: nn.Module, team: Team, device: torch.device) -> None:
    """Replace the batch norms in `network` by ones over all processes, under the same names; none for one process."""
    if not team.several:
        return
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                setattr(module, name, _synced(child, device))


def _synced(norm: nn.BatchNorm2d, device: torch.device) -> nn.Module:
    if device.type != "cuda":
        return SyncedBatchNorm.like(norm)
    synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(norm)
    return synced


class SyncedBatchNorm(nn.BatchNorm2d):
    """A batch norm over the batch of all processes, for the CPU; torch's own is for GPUs only."""

    @classmethod
    def like(cls, norm: nn.BatchNorm2d) -> SyncedBatchNorm:
        """Return one with the settings and values of `norm`."""
        synced = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        synced.load_state_dict(norm.state_dict())
        return synced

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised `x` (N, C, Y, X); N may be 0 as long as another process has something."""
        if not self.training:
            return super().forward(x)
        wide = x.float()
        sums = summed(torch.cat([wide.sum((0, 2, 3)), wide.new_tensor([x.numel() // self.num_features])]))
        mean, count = sums[:-1] / sums[-1], sums[-1].detach()
        centred = wide - mean[:, None, None]
        variance = summed(centred.square().sum((0, 2, 3))) / count
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        scale = torch.rsqrt(variance + self.eps) * (self.weight if self.affine else 1.0)
        normal = centred * scale[:, None, None]
        return (normal + self.bias[:, None, None] if self.affine else normal).to(x.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the averages that are used in evaluation."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


class _Summed(torch.autograd.Function):
    """The sum over all processes, with its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def summed(x: Tensor) -> Tensor:
    """Return the sum of `x` over all processes; its gradient is the sum of the processes' gradients."""
    return cast("Tensor", _Summed.apply(x))


def digest(network: nn.Module) -> str:
    """Return the SHA-256 of a network's values."""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(name.encode())
        found.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
