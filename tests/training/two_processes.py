"""What each of two processes does in the tests: `python two_processes.py DATASET OUT CONFIG`.

Which one it is stands in the environment, as `torchrun` sets it. Writes to OUT what the test looks at: gradients
beside those of one process, and a run that both trained.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from beadseg.config import TrainConfig
from beadseg.config.train import DiceCELossConfig
from beadseg.data.dataset import Dataset
from beadseg.errors import Cancelled
from beadseg.events import Event, StopFlag
from beadseg.training import train
from beadseg.training.batches import Batch, TrainingImage, load_images
from beadseg.training.distributed import Followed, Team, joined
from beadseg.training.trainer import Trainer

CASES = {
    "equal shares": ["batch=4"],
    "unequal shares": ["batch=3"],
    "parts": ["batch=4", "accumulate=2"],
    "empty share": ["batch=4", "accumulate=4"],
    "image epochs, the last batch of one": ["batch=3", "epoch.kind=images", "epoch.size=64"],
    "instance norm": ["batch=4", "network.norm=instance"],
}
"""By name what a configuration changes."""


def gradients(images: list[TrainingImage], config: TrainConfig, out: Path, team: Team) -> dict[str, torch.Tensor]:
    """Return loss, gradients and running statistics after the last batch of an epoch."""
    trainer = Trainer(images, [], config, out, {}, torch.device("cpu"), team=team)
    trainer.network.train()
    loss = trainer.stepper.backward(with_ignored(trainer.sampler.draw(1, trainer.sampler.steps - 1)))
    found = {name: value.grad.clone() for name, value in trainer.network.named_parameters() if value.grad is not None}
    found |= {name: value.float() for name, value in trainer.network.named_buffers()}
    return {**{name: value.contiguous() for name, value in found.items()}, "loss": torch.tensor(loss)}


def with_ignored(batch: Batch) -> Batch:
    """Return the batch with pixels that do not count, more of them in later patches."""
    counted = batch.counted.clone()
    for patch, place in zip(counted, batch.places, strict=True):
        patch[..., : 10 * int(place)] = 0
    return replace(batch, counted=counted)


def compare(images: list[TrainingImage], config: TrainConfig, out: Path, team: Team) -> None:
    """Write what one process computes, and what both do together."""
    loss = DiceCELossConfig(batch=True)
    for name, changes in CASES.items():
        settings = config.replace(loss=loss).with_overrides(changes)
        together = gradients(images, settings, out, team)
        if team.first:
            save_file(together, out / f"{name}-two.safetensors")
            save_file(gradients(images, settings, out, Team()), out / f"{name}-one.safetensors")


def threads_of_gloo() -> int:
    """Return how many threads of this process serve its contact to the other; Linux names them."""
    return sum("gloo" in (task / "comm").read_text() for task in Path("/proc/self/task").glob("*"))


def stopped(dataset: Dataset, config: TrainConfig, out: Path) -> Cancelled | Followed:
    """Train until the first step is done, and return how it ended: told by the first process, followed by the other."""
    stop = StopFlag()

    def stop_early(event: Event) -> None:
        if event.kind == "progress" and event.data["task"].startswith("epoch"):
            stop.set()

    try:
        train(dataset, config, out, on_event=stop_early, stop=stop)
    except (Cancelled, Followed) as error:
        return error
    raise AssertionError("not stopped")


def main() -> None:
    torch.set_num_threads(1)
    folder, out, config = Path(sys.argv[1]), Path(sys.argv[2]), TrainConfig.from_file(Path(sys.argv[3]))
    dataset = Dataset.open(folder)
    with joined("cpu") as team:
        kept = stopped(dataset, config, out / "stopped")
        run = train(dataset, config, out / "run")
        print(f"process {team.rank}: {len(run.history)} epochs")
        compare(load_images(list(dataset)[:4], run.config), run.config, out, team)
    print(f"{type(kept).__name__}, then {threads_of_gloo()} threads left")


if __name__ == "__main__":
    main()
