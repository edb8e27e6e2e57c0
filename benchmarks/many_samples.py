"""Seconds and memory over many small samples, at 500 and 5,000: what grows faster than their number is found here.

    python benchmarks/many_samples.py plan
    python benchmarks/many_samples.py train --processes 2
    python benchmarks/many_samples.py predict

``plan``: ``beadseg-batch train DATASET --plan``. ``train``: from the start of a training to its first step, and what
all of its processes hold in memory then (PSS: memory that several processes share counts once). ``predict``: a whole
``beadseg-batch predict`` with a small network, without overlays and report. Seconds are those of the
processor, the fewest of several runs (``--repeat``), since the same command may take half more on a busy machine. Exit
code 0 only if a sample of many costs at most 1.2 times what a sample of few costs, each above the same command with 40.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import tifffile

from beadseg import files
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

SIDE, PATTERNS = 96, 40
"""Side of a tile, px, and how many different tiles are simulated; the others are these, turned and brightened."""
NONE = 40
"""Samples of the start that is subtracted."""
FINGERPRINT = {"objects_per_mpx_min": 0.0, "objects_per_mpx_max": 1e6, "positive_ratio_max": 1.0, "polarity": "dark"}
"""Of a model that finds nothing implausible."""
LIMIT = 1.2
"""Highest allowed ratio of the seconds per sample, many samples to few."""


@dataclass
class Measured:
    """What one command needed."""

    samples: int
    cpu: float
    wall: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("plan", "train", "predict"):
        command = commands.add_parser(name)
        command.add_argument("--samples", type=int, nargs="+", default=[500, 5000])
        command.add_argument("--processes", type=int, default=1)
        command.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = []
        for count in (NONE, *arguments.samples):
            data = many(Path(scratch) / f"beads{count}", count)
            runs = [measure(arguments.command, data, count, arguments.processes) for _ in range(arguments.repeat)]
            found.append(min(runs, key=lambda each: each.cpu))
    sys.exit(show(arguments.command, found))


def measure(command: str, data: Path, count: int, processes: int) -> Measured:
    """Run the command over a dataset of `count` tiles."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", str(data), "--out", str(Path(folder) / "run"), "--threads", "1", "--json"]
        if command == "train":
            return started(words, count, processes)
        if command == "plan":
            return planned([*words, "--plan"], count)
        run = small_model(Path(folder) / "model")
        words = ["predict", str(run), str(data / files.IMAGES), *words[2:], "--no-overlays", "--no-report"]
        return planned(words, count, (0, 5))


def many(root: Path, count: int) -> Path:
    """Write a dataset of `count` small tiles, ten per field of view; return its folder."""
    scene = SceneConfig(height=SIDE, width=SIDE, beads=15, debris=0, channels="grey")
    simulated = root.with_name(f"{root.name}-patterns")
    write_dataset(simulated, SeriesConfig(scene=scene, tiles=PATTERNS, dilutions=(80,), fields=4, seed=1))
    pairs = [
        (tifffile.imread(path) if path.suffix == ".tif" else _png(path),
         tifffile.imread(next((simulated / files.LABELS).glob(f"{path.stem}.*"))))
        for path in sorted((simulated / files.IMAGES).iterdir())
    ]  # fmt: skip
    for folder in (files.IMAGES, files.LABELS):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        image, labels = pairs[number % len(pairs)]
        turns, brighter = number // len(pairs) % 4, number // len(pairs)
        shown = np.clip(image.astype(np.int64) + brighter % 50, 0, np.iinfo(image.dtype).max).astype(image.dtype)
        name = f"f{number // 10:04d}_r{number % 10}_c0.tif"
        tifffile.imwrite(root / files.IMAGES / name, np.rot90(shown, turns))
        tifffile.imwrite(root / files.LABELS / name, np.rot90(labels, turns).astype(np.uint16))
    return root


def _png(path: Path) -> np.ndarray:
    import imageio.v3 as iio

    return np.asarray(iio.imread(path))


def small_model(folder: Path) -> Path:
    """Write a small network that has learned nothing: it costs what a trained one does."""
    from beadseg.config import TrainConfig
    from beadseg.model.checkpoint import save_checkpoint
    from beadseg.model.networks import build_network

    folder.mkdir(exist_ok=True)
    small = ["network.depth=3", "network.width=4", "network.first_stride=1", "image.channels.kind=grey"]
    config = TrainConfig.preset("dense", "unet").with_overrides(
        [*small, "predict.objects.diameter=7", "predict.precision=fp32"]
    )
    meta = {"kind": "model", "in_channels": 1, "config": config.model_dump(mode="json"), "fingerprint": FINGERPRINT}
    save_checkpoint(folder / files.BEST, build_network(config.network, 1).state_dict(), meta)
    return folder


def planned(words: list[str], count: int, codes: tuple[int, ...] = (0,)) -> Measured:
    """Run a command to its end, with one of these exit codes."""
    began = time.perf_counter()
    process = psutil.Popen([sys.executable, "-m", "beadseg", *words], stdout=subprocess.DEVNULL, env=_environment())
    _, status, usage = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) in codes, words
    return Measured(count, usage.ru_utime + usage.ru_stime, time.perf_counter() - began, usage.ru_maxrss / 1024)


def started(words: list[str], count: int, processes: int) -> Measured:
    """Run a training up to its second step."""
    words = [*words, "--set", "epoch.steps=100000", "--set", "epoch.size=64", "--set", "batch=2", "--device", "cpu"]
    words += ["--set", "network.width=8", "--processes", str(processes)] if processes > 1 else []
    began = time.perf_counter()
    process = psutil.Popen([sys.executable, "-m", "beadseg", *words], stdout=subprocess.PIPE, text=True,
                           env=_environment())  # fmt: skip
    for line in process.stdout:
        event = json.loads(line)
        if event["kind"] == "progress" and event["data"]["task"].startswith("epoch ") and event["data"]["done"] >= 2:
            break
    else:
        raise SystemExit(f"no step was done: {words}")
    wall = time.perf_counter() - began
    family = [process, *process.children(recursive=True)]
    cpu = sum(sum(each.cpu_times()[:2]) for each in family)
    memory = sum(each.memory_full_info().pss for each in family) / 2**20
    threading.Thread(target=process.stdout.read, daemon=True).start()
    for each in family:
        each.kill()
    process.wait()
    return Measured(count, cpu, wall, memory)


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def show(command: str, found: list[Measured]) -> int:
    """Print a table; return the exit code."""
    print(f"{command:>8} {'processor s':>12} {'wall s':>8} {'MiB':>8} {'ms a sample':>12} {'KiB a sample':>13}")
    least, *more = found
    per: list[float] = []
    for each in found:
        samples = each.samples - least.samples
        extra = f"{'':>12} {'':>13}"
        if samples:
            per.append((each.cpu - least.cpu) / samples)
            extra = f"{1000 * per[-1]:12.2f} {1024 * (each.memory - least.memory) / samples:13.1f}"
        print(f"{each.samples:8d} {each.cpu:12.1f} {each.wall:8.1f} {each.memory:8.0f} {extra}")
    return int(len(more) > 1 and per[-1] > LIMIT * per[0])


if __name__ == "__main__":
    main()
