"""Train the general model on simulated looks alone: the command that made the model in the package.

    python benchmarks/train_general.py --out runs/general --seed 0

Four stages: the first learns from scratch, each of the others goes on at a lower rate with other images: of cells, then
of dark beads that overlap and are blurred, as in real tiles. Each writes ``general.safetensors``, ``history.csv`` and
``training.json`` (options, time, machine) into a folder of its name; the model is that of the fourth. Another process
draws the images, in parts of 2,048, while the network learns; the same command goes on where it was stopped. The result
depends on the seed and on the machine's arithmetic, not on the number of workers.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import multiprocessing
import os
import platform
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import beadseg
from beadseg.config import TrainConfig
from beadseg.data.simulate.look_config import LookConfig
from beadseg.data.simulate.looks import Look, draw_look
from beadseg.model.backends import arithmetic, choose_precision
from beadseg.model.checkpoint import (
    load_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
    with_prefix,
    without_prefix,
)
from beadseg.model.inputs import prepare
from beadseg.model.losses import build_heads_loss
from beadseg.model.networks import Network, build_network
from beadseg.training.targets import look_target

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

KNOWN = 8.0
"""Bead diameter that the model works at, px."""
PART = 2048
"""Images in a part."""
CPU = torch.device("cpu")
CONFIG: dict[str, Any] = {
    "based_on": "general",
    "network": {"kind": "half-unet", "depth": 5, "width": 32, "max_width": 96, "first_stride": 2,
                "heads": ["foreground", "centre", "size"]},
    "image": {"channels": {"kind": "grey"}, "norm": {"kind": "background"}, "bead_px": KNOWN},
    "loss": {"kind": "dice-ce", "dice_weight": 0.7, "ce_weight": 1.0, "ce_per_area": 1500, "batch": False},
    "centre": {"target": {"kind": "gaussian", "sigma": 0.13}, "per_area": 500},
    "optimizer": {"name": "adamw", "lr": 1.5e-3},
    "ema": 0.998,
    "batch": 16,
    "predict": {
        "objects": {"diameter": KNOWN, "min_confidence": 0.2, "seeds": {"threshold": 0.2, "distance": 0.3}},
        "size": {"search": True},
    },
}  # fmt: skip


@dataclass(frozen=True)
class Stage:
    """A part of the training: images per part 2,048, steps of 16; other looks than the defaults."""

    name: str
    steps: int
    parts: int
    rate: float
    looks: dict[str, Any]
    decay: int | None = None
    """Steps in which the rate falls to 0 along a cosine; those of the stage when not given."""


PAIRS = {
    "middle": 0.4, "dark_pairs": 0.9,
    "families": {"dark": 0.36, "bright": 0.15, "ring": 0.17, "fluorescence": 0.17, "opaque": 0.15},
    "arrangements": {"sparse": 0.12, "free": 0.26, "chains": 0.18, "clumps": 0.22, "lattice": 0.07, "packed": 0.15},
}  # fmt: skip
"""Looks with more dark beads that overlap and are blurred: what is missed most in real tiles."""
STAGES = (
    Stage("first", 14_000, 27, 3.0e-3, {"middle": 0.3}),
    Stage("second", 7_500, 15, 1.5e-3, {"cells": 0.26, "middle": 0.3}, decay=11_000),
    Stage("third", 4_000, 8, 1.0e-3, PAIRS | {"cells": 0.2}, decay=6_000),
    Stage("fourth", 4_000, 8, 7.0e-4, PAIRS | {"cells": 0.06}, decay=4_500),
)


def main() -> None:
    """Train, or go on training."""
    options = parse()
    torch.set_num_threads(options.threads)
    start = None
    for number, stage in enumerate(STAGES):
        out = options.out / stage.name
        if options.stage in (None, stage.name):
            train(replace(stage, steps=options.steps or stage.steps), out, start, options, options.seed + number)
        start = out / "general.safetensors"


def train(stage: Stage, out: Path, start: Path | None, options: argparse.Namespace, seed: int) -> None:
    """Train one stage, while other processes draw its images."""
    pool = options.pool / stage.name if options.pool else out / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    stop = multiprocessing.Event()
    workers = [
        multiprocessing.Process(
            target=draw_parts, args=(pool, stage, seed, range(number, stage.parts, options.workers), stop), daemon=True
        )
        for number in range(options.workers)
    ]
    for worker in workers:
        worker.start()
    try:
        Training(stage, out, pool, start, options, seed).run()
    finally:
        stop.set()
        for worker in workers:
            worker.join(60)


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", choices=[stage.name for stage in STAGES], help="only this stage")
    parser.add_argument("--steps", type=int, help="steps of 16 images in every stage, for trials")
    parser.add_argument("--pool", type=Path, help="folder of the drawn images (default: in OUT)")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw images (0: the parts are there)")
    parser.add_argument("--threads", type=int, default=1, help="threads of the training")
    parser.add_argument("--set", nargs="*", default=[], help="changes of the configuration, such as network.width=32")
    return parser.parse_args()


def draw_parts(pool: Path, stage: Stage, seed: int, parts: Iterable[int], stop: Any) -> None:
    """Draw the parts that are not there yet."""
    os.nice(10)
    looks = LookConfig.parse(stage.looks, stage.name)
    for part in parts:
        if (pool / f"{part}.npy").exists():
            continue
        seeds = np.random.SeedSequence((seed, part)).generate_state(PART)
        side = looks.side
        data = np.empty((PART, 5, side, side), np.float16)
        for row, one in zip(data, seeds, strict=True):
            if stop.is_set():
                return
            row[...] = learnt(draw_look(looks, int(one)))
        unfinished = pool / f"{part}.unfinished.npy"
        np.save(unfinished, data)
        unfinished.rename(pool / f"{part}.npy")


def learnt(look: Look) -> NDArray[np.float16]:
    """Return the normalised image, and the target (foreground, centre, size, counted), (5, Y, X)."""
    plane = look.image[None] if look.image.ndim == 2 else np.moveaxis(look.image, -1, 0)
    image = prepare(plane, TrainConfig.parse(CONFIG).image)
    return np.concatenate((np.clip(image, -60, 60).astype(np.float16), look_target(look, KNOWN, 0.13)))


class Training:
    """The network, its average, and how far it is."""

    def __init__(
        self, stage: Stage, out: Path, pool: Path, start: Path | None, options: argparse.Namespace, seed: int
    ) -> None:
        self.stage, self.out, self.pool, self.seed, self.threads = stage, out, pool, seed, options.threads
        self.config = TrainConfig.parse(CONFIG).with_overrides([*options.set, f"seed={options.seed}"])
        torch.manual_seed(seed)
        self.network = build_network(self.config.network, 1)
        if start is not None:
            self.network.load_state_dict(load_checkpoint(start)[0])
        self.average = torch.optim.swa_utils.AveragedModel(self.network, use_buffers=True).module
        self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = build_heads_loss(self.config.loss, self.config.centre, self.config.network.heads)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), weight_decay=self.config.optimizer.weight_decay)
        self.precision = choose_precision("auto", CPU)
        self.step, self.seconds, self.part = 0, 0.0, (-1, np.empty(0))
        if (self.out / "last.safetensors").exists():
            self.load()

    def run(self) -> None:
        """Train to the last step."""
        started, losses = time.monotonic() - self.seconds, []
        while self.step < self.stage.steps:
            losses.append(self.update())
            self.step += 1
            if self.step % 100 == 0 or self.step == self.stage.steps:
                self.seconds = time.monotonic() - started
                self.report(float(np.mean(losses)))
                losses = []
            if self.step % 500 == 0 or self.step == self.stage.steps:
                self.save()

    def update(self) -> float:
        """Do one step; return its loss."""
        batch = self.config.batch or 16
        data = self.batch(batch)
        share = self.step / (self.stage.decay or self.stage.steps)
        rate = self.stage.rate * min(1.0, self.step / 200) * 0.5 * (1 + math.cos(math.pi * share))
        for group in self.optimizer.param_groups:
            group["lr"] = max(rate, 1e-6)
        self.network.train()
        with arithmetic(self.precision, CPU):
            logits = self.network(data[:, :1].contiguous(memory_format=torch.channels_last))
        loss = self.loss(logits.float(), data[:, 1:4], data[:, 4:5])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        averages, states = self.average.state_dict(), self.network.state_dict()
        for name, value in averages.items():
            value.lerp_(states[name], 1 - decay) if value.is_floating_point() else value.copy_(states[name])
        return float(loss.detach())

    def batch(self, size: int) -> torch.Tensor:
        """Return the images (N, 5, Y, X) of this step, mirrored, turned, and changed in contrast and sign."""
        first = self.step * size
        number, place = first // PART, first % PART
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, 1, number)))
        order = rng.permutation(PART)[place : place + size]
        rows = np.array(self.read(self.which(number))[order], np.float32)
        rng = np.random.default_rng(np.random.SeedSequence((self.seed, 2, self.step)))
        gains = np.exp(rng.normal(0, 0.25, len(rows))) * np.where(rng.random(len(rows)) < 0.2, -1, 1)
        rows[:, 0] *= gains[:, None, None]
        turned = [np.rot90(row, k, (1, 2))[:, :, :: flip or 1] for row, k, flip in
                  zip(rows, rng.integers(0, 4, len(rows)), rng.choice([-1, 1], len(rows)), strict=True)]  # fmt: skip
        return torch.from_numpy(np.stack(turned))

    def which(self, round_: int) -> int:
        """Return the part of a round: every fourth is new, the others are repeated while it is being drawn."""
        there = min(round_ // 4 + 1, self.stage.parts)
        if round_ % 4 == 0 and round_ // 4 < self.stage.parts:
            return round_ // 4
        return (round_ * 7 + round_ // 4) % there

    def read(self, number: int) -> NDArray[np.float16]:
        """Return a part of the images, as soon as it is there."""
        if self.part[0] != number:
            path = self.pool / f"{number}.npy"
            while not path.exists():
                time.sleep(1)
            self.part = (number, np.load(path, mmap_mode="r"))
        return self.part[1]

    def report(self, loss: float) -> None:
        """Print and record the loss."""
        print(f"step {self.step} of {self.stage.steps}: loss {loss:.4f}, {self.seconds / 60:.1f} min", flush=True)
        with (self.out / "history.csv").open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([self.step, f"{loss:.5f}", f"{self.seconds:.0f}"])

    def save(self) -> None:
        """Write the model, and what training goes on from."""
        meta = {"kind": "training", "step": self.step, "seconds": self.seconds}
        tensors = with_prefix("network", self.network.state_dict()) | with_prefix("average", self.average.state_dict())
        tensors |= with_prefix("optimizer", optimizer_tensors(self.optimizer))
        save_checkpoint(self.out / "last.safetensors", tensors, meta)
        write_model(self.out / "general.safetensors", self.average, self.config, self.description())

    def load(self) -> None:
        """Take up what `save` wrote."""
        tensors, meta = load_checkpoint(self.out / "last.safetensors")
        self.network.load_state_dict(without_prefix("network", tensors))
        self.average.load_state_dict(without_prefix("average", tensors))
        restore_optimizer(self.optimizer, without_prefix("optimizer", tensors))
        self.step, self.seconds = meta["step"], meta["seconds"]

    def description(self) -> dict[str, Any]:
        """Return what the model card says of the training, and write it beside the model."""
        found = {
            "command": f"python benchmarks/train_general.py --out OUT --seed {self.config.seed}",
            "stage": self.stage.name, "step": self.step, "images": self.step * (self.config.batch or 16),
            "minutes": round(self.seconds / 60, 1),
            "different_images": min(self.stage.parts * PART, self.step * 16), "precision": self.precision,
            "machine": f"{platform.processor() or platform.machine()}, {self.threads} thread(s)",
            "torch": torch.__version__, "beadseg": beadseg.__version__,
        }  # fmt: skip
        (self.out / "training.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        return found


def write_model(path: Path, network: Network, config: TrainConfig, training: dict[str, Any]) -> None:
    """Write a model file of half precision, which `beadseg.Segmenter` loads."""
    tensors = {name: t.half() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    meta = {
        "kind": "model", "epoch": training["step"], "scores": {}, "in_channels": 1, "training": training,
        "config": config.model_dump(mode="json"), "objects": config.predict.objects.model_dump(mode="json"),
        "fingerprint": {
            "samples": training["different_images"], "bead_diameter_px": KNOWN, "simulated": True,
            # As the network sees images: from none to close packing of the smallest.
            "objects_per_mpx_min": 0.0, "objects_per_mpx_max": 30_000.0, "positive_ratio_max": 0.95,
        },
    }  # fmt: skip
    save_checkpoint(path, tensors, meta)


if __name__ == "__main__":
    main()
