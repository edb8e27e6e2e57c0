"""Train one network with one process and with several, and print both validation curves and what became of the weights.

    python benchmarks/processes.py --processes 2

Simulates its own data. The batch is the same in both: that of all processes together. Every process must have the same
weights at the end (the training checks it, and tells their SHA-256); the curves may differ by rounding, which grows
from step to step.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from beadseg import files
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.model.checkpoint import load_checkpoint
from beadseg.training import Run

SETTINGS = ["epoch.size=64", "batch=4", "network.width=8", "network.depth=3", "precision=fp32"]
SCORES = ("val_loss", "val_jaccard_images", "val_f1", "val_count_mae")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40, help="optimizer steps per epoch")
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        scene = SceneConfig(height=128, width=128, beads=40)
        write_dataset(folder / "data", SeriesConfig(scene=scene, tiles=12, dilutions=(320, 640), fields=2))
        words = ["--threads", str(arguments.threads), "--device", "cpu"]
        for setting in (*SETTINGS, f"epochs={arguments.epochs}", f"epoch.steps={arguments.steps}"):
            words += ["--set", setting]
        one = _train(folder, "one", words)
        several = _train(folder, "several", [*words, "--processes", str(arguments.processes)])
        _print_curves(one, several, arguments.processes)
        said = re.findall(r"The weights of all .*", (several.folder / files.LOG).read_text(encoding="utf-8"))
        print(*said, sep="\n")
        print(f"largest difference of a weight from one process: {_difference(one.folder, several.folder):.2g}")


def _train(folder: Path, name: str, words: list[str]) -> Run:
    command = [sys.executable, "-m", "beadseg", "train", str(folder / "data"), "--out", str(folder / name), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Run(folder / name)


def _print_curves(one: Run, several: Run, count: int) -> None:
    """Print each epoch's scores of one process beside those of several."""
    print(" | ".join(["epoch", *(f"{score}: 1, {count} processes" for score in SCORES)]))
    largest = dict.fromkeys(SCORES, 0.0)
    for a, b in zip(one.history, several.history, strict=True):
        print(" | ".join([f"{a['epoch']:5d}", *(f"{a[score]:.6f}, {b[score]:.6f}" for score in SCORES)]))
        largest = {score: max(largest[score], abs(a[score] - b[score])) for score in SCORES}
    print("largest differences: " + ", ".join(f"{score} {value:.2g}" for score, value in largest.items()))


def _difference(one: Path, several: Path) -> float:
    a, b = (load_checkpoint(folder / files.LAST)[0] for folder in (one, several))
    names = [name for name in a if name.startswith("network.") and a[name].dtype == torch.float32]
    return max(float((a[name] - b[name]).abs().max()) for name in names)


if __name__ == "__main__":
    main()
