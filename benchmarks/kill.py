"""Kill `beadseg-batch train` at random moments, repeat the command, and compare with an undisturbed run bit for bit.

    python benchmarks/kill.py --kills 5

Simulates its own data. The kills are spread over the whole run: each comes somewhere in its own part of the steps. A
checkpoint is written every half second, so that most are followed by a start in the middle of an epoch. Prints when
each kill came, how far the checkpoint on disk was, and whether `history.csv` and the final weights (network, moving
average, optimizer) are identical.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from beadseg import files
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.model.checkpoint import load_checkpoint, read_meta

EPOCHS, STEPS = 12, 40
SETTINGS = [f"epochs={EPOCHS}", f"epoch.steps={STEPS}", "epoch.size=64", "batch=4", "network.width=8"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=None, help="of the random moments; chosen at random by default")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        scene = SceneConfig(height=128, width=128, beads=40)
        write_dataset(folder / "data", SeriesConfig(scene=scene, tiles=12, dilutions=(320, 640), fields=2))
        whole = folder / "undisturbed"
        started = time.perf_counter()
        subprocess.run(_command(folder, whole), check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        print(f"undisturbed run: {seconds:.1f} s", flush=True)
        killed = folder / "killed"
        for number in range(1, arguments.kills + 1):
            step = int(moments.uniform(number - 1, number) / arguments.kills * EPOCHS * STEPS)
            _kill_once(number, _command(folder, killed), killed, step, moments.uniform(0.0, 0.5))
        subprocess.run(_command(folder, killed), check=True, stdout=subprocess.DEVNULL)
        same_history = (whole / files.HISTORY).read_bytes() == (killed / files.HISTORY).read_bytes()
        same = {name: _same(whole / name, killed / name) for name in (files.LAST, files.BEST)}
    print(f"{files.HISTORY} identical: {same_history}")
    for name, equal in same.items():
        print(f"every tensor of {name} identical: {equal}")
    sys.exit(0 if same_history and all(same.values()) else 1)


def _kill_once(number: int, command: list[str], out: Path, step: int, later: float) -> None:
    """Kill a training `later` seconds after its checkpoint has come to a step."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None and _done(out) < step:
        time.sleep(0.02)
    time.sleep(later)
    if process.poll() is not None:
        print(f"kill {number}: the run had ended by itself", flush=True)
        return
    process.send_signal(signal.SIGKILL)
    process.wait()
    seconds = time.perf_counter() - started
    epochs, steps = divmod(_done(out), STEPS)
    print(f"kill {number}: SIGKILL after {seconds:.1f} s, {epochs} epochs and {steps} steps on disk", flush=True)


def _done(out: Path) -> int:
    """Return how many steps of the run its checkpoint holds."""
    if not (out / files.LAST).exists():
        return 0
    meta = read_meta(out / files.LAST)
    return int(meta["epoch"]) * STEPS + len(meta["losses"])


def _command(folder: Path, out: Path) -> list[str]:
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    return [sys.executable, "-m", "beadseg", "train", str(folder / "data"), "--out", str(out), "--device", "cpu",
            "--checkpoint-minutes", str(0.5 / 60), *sets]  # fmt: skip


def _same(one: Path, other: Path) -> bool:
    a, b = load_checkpoint(one)[0], load_checkpoint(other)[0]
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


if __name__ == "__main__":
    main()
