"""How fast the audit is, how much memory it needs, and that it continues after it was killed.

    python benchmarks/audit_speed.py --samples 10000

Writes that many different samples of 512x512 px (RGB) with masks: 10 to 800 discs of 7 px in random places, one to a
cell of a grid, blurred, under uneven light, with noise. Then `beadseg-batch audit` runs on them as a user would call
it, with two worker processes: it is killed (SIGKILL) after a third of the samples and started again. Prints samples per
second, CPU time per sample (user and system, of all processes, the start and the page of findings included), and the
peak memory of all processes together.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import psutil
from scipy import ndimage

from beadseg import files

SIDE, CELL = 512, 15
CELLS = (SIDE - 16) // CELL
RADIUS = 3.5
NEAR = np.stack(np.meshgrid(range(-4, 5), range(-4, 5), indexing="ij"), axis=-1).reshape(-1, 2)
"""Pixels around the one that a disc's centre lies in."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-kill", action="store_true", help="measure only, without the interruption")
    parser.add_argument("--work", type=Path, help="folder for the samples, kept; a temporary one when not given")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = arguments.work or Path(scratch)
        write_samples(root / "beads", arguments.samples)
        command = [sys.executable, "-m", "beadseg", "audit", root / "beads", "--out", root / "audit", "--threads",
                   str(arguments.threads)]  # fmt: skip
        if not arguments.no_kill:
            print(f"killed with {kill_at(command, root, arguments.samples // 3)} samples measured", flush=True)
        report(command, root, arguments.samples)


def write_samples(root: Path, count: int) -> None:
    """Write the data set; what is there already stays."""
    for folder in (files.IMAGES, files.MASKS):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        field, place = divmod(index, 25)
        name = f"field{field:04d}_grid_r{place // 5}_c{place % 5}.png"
        if not (root / files.MASKS / name).exists():
            image, mask = sample(np.random.default_rng(index))
            iio.imwrite(root / files.IMAGES / name, image, compress_level=1)
            iio.imwrite(root / files.MASKS / name, mask, compress_level=1)


def sample(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (Y, X, 3) and its mask (Y, X)."""
    cells = np.stack(np.divmod(rng.choice(CELLS**2, int(rng.integers(10, 800)), replace=False), CELLS), axis=1)
    centres = 8 + CELL * cells + rng.uniform(0, CELL - 7, cells.shape)
    pixels = (np.floor(centres)[:, np.newaxis] + NEAR).astype(int)
    inside = np.hypot(*np.moveaxis(pixels - centres[:, np.newaxis], -1, 0)) <= RADIUS
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[tuple(pixels[inside].T)] = 255
    beads = ndimage.gaussian_filter(mask.astype(np.float32) / 255, 1.2)
    light = np.linspace(*rng.uniform(120, 180, 2), SIDE, dtype=np.float32)[:, np.newaxis] * (1 - 0.45 * beads)
    noise = rng.standard_normal((SIDE, SIDE), np.float32) * 3
    return np.repeat((light + noise).astype(np.uint8)[..., np.newaxis], 3, axis=2), mask


def measured(root: Path) -> int:
    """Return how many samples an audit has measured and kept."""
    folder = root / "audit" / files.MEASUREMENTS
    return sum(path.read_text().count('"key":') for path in folder.glob("*.json")) if folder.is_dir() else 0


def kill_at(command: list[object], root: Path, enough: int) -> int:
    """Start the audit, kill it and its workers when it has kept `enough` samples; return how many it kept."""
    process = subprocess.Popen([*map(str, command), "--quiet"], start_new_session=True)
    while measured(root) < enough and process.poll() is None:
        time.sleep(0.5)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return measured(root)


def report(command: list[object], root: Path, samples: int) -> None:
    """Run the audit to its end and print what it cost."""
    known = measured(root)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.2)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    new = samples - known
    if process.returncode:
        sys.exit(f"the audit ended with {process.returncode}: {process.communicate()[0][-500:]}")
    print("| samples | measured now | seconds | per second | CPU ms per sample | MiB |")
    print("|" + " --- |" * 6)
    print(
        f"| {samples} | {new} | {wall:.0f} | {new / wall:.1f} | {1000 * cpu / new:.0f} | {peak / 2**20:.0f} |",
        flush=True,
    )


def resident(pid: int) -> int:
    """Return the resident memory of a process and of those that it started, bytes; 0 when it has ended."""
    try:
        process = psutil.Process(pid)
        return sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
