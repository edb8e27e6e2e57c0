"""One step of the optimizer: a batch, computed in as many parts as the memory asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from beadseg.errors import MachineError, is_out_of_memory
from beadseg.events import OnEvent, log
from beadseg.model.device import arithmetic, free_memory
from beadseg.training.parallel import Replica

if TYPE_CHECKING:
    from torch import Tensor, nn

    from beadseg.config import TrainConfig
    from beadseg.model.device import Precision
    from beadseg.model.networks import Network
    from beadseg.training.processes import Team
    from beadseg.training.sampler import Batch


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
        The arithmetic, see `beadseg.model.device.choose_precision`.
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
