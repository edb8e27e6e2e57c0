"""Images that do not fit into memory: the same result for any blocks, orders, processes and kills; memory and time.

    python benchmarks/large.py --side 4000 --kills 5 --memory 2GB --set tiling.whole_image_pixels=1000000
    python benchmarks/large.py --side 20000 --memory 4GB --parts command

The image is simulated: parts of 2000x2000 px, turned and mirrored, of 100 to 20,000 beads each, in a tiled TIFF.
``whole`` predicts it whole, ``blocks`` in blocks (`--sides`), in both orders, by 1 and 2 processes. ``kills`` ends the
command by SIGKILL at random moments, then lets it finish. ``command`` tells the peak memory and the time per pixel of
the whole command. The diameter of the beads is given, since the network knows 8 px: whole and blocks are then the same
to the last digit. `--diameter auto` lets the model measure it.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

from beadseg import files
from beadseg.data.image_io import open_image, read_image
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.predict import Segmenter
from beadseg.predict.blocks import Means
from beadseg.predict.large import predict_large

PART = 2000
BEADS = (100, 1000, 5000, 20_000)
NAME = "large"


def picture(path: Path, side: int) -> None:
    """Write the image, tile by tile."""
    scenes = [SceneConfig(height=PART, width=PART, beads=beads, diameter_px=8.0) for beads in BEADS]
    parts = [simulate(scene, seed).image[..., 1] for seed, scene in enumerate(scenes)]
    rng = np.random.default_rng(0)
    count = -(-side // PART)
    kinds = rng.integers(0, len(parts), (count, count)), rng.integers(0, 8, (count, count))

    def tiles() -> itertools.chain[np.ndarray]:
        return itertools.chain.from_iterable(row_of_tiles(row) for row in range(0, side, 400))

    def row_of_tiles(top: int) -> list[np.ndarray]:
        at = top // PART
        turned = [np.rot90(parts[kind][:, :: 1 - 2 * (turn % 2)], turn // 2) for kind, turn in
                  zip(kinds[0][at], kinds[1][at], strict=True)]  # fmt: skip
        band = np.hstack([part[top % PART : top % PART + 400] for part in turned])[:, :side]
        return [band[:, left : left + 400] for left in range(0, side, 400)]

    tifffile.imwrite(path, tiles(), shape=(side, side), dtype=np.uint8, tile=(400, 400), compression="zlib",
                     photometric="minisblack", bigtiff=True)  # fmt: skip


def digest(labels: Path, table: Path) -> str:
    """Return what labels and bead table are known by."""
    found = hashlib.sha256(read_image(labels).data.tobytes())
    found.update(table.read_bytes())
    return found.hexdigest()[:16]


def in_blocks(segmenter: Segmenter, path: Path, folder: Path, means: Means) -> str:
    before, begun = time.process_time(), time.perf_counter()
    (row,) = predict_large(segmenter, path, NAME, folder / "out", folder / "work", means)
    wall, spent = time.perf_counter() - begun, time.process_time() - before
    found = digest(folder / "out" / files.LABELS / f"{NAME}.ome.zarr", folder / "out" / files.BEADS / f"{NAME}.csv")
    order = "last block first" if means.backwards else "first block first"
    print(f"blocks of {means.side} px, {order}, {means.processes} process(es): {row['beads']} beads, {found}, "
          f"{wall:.0f} s, processor {spent:.0f} s", flush=True)  # fmt: skip
    return found


def whole(segmenter: Segmenter, path: Path, folder: Path) -> str:
    from beadseg.predict.results import predict_file

    (row,) = predict_file(segmenter, open_image(path), NAME, folder, overlays=False)
    found = digest(folder / files.LABELS / f"{NAME}.tif", folder / files.BEADS / f"{NAME}.csv")
    print(f"whole: {row['beads']} beads, {found}", flush=True)
    return found


def command(path: Path, out: Path, words: list[str]) -> list[str]:
    return [sys.executable, "-m", "beadseg", "predict", "general", str(path), "--out", str(out), "--quiet",
            "--no-report", *words]  # fmt: skip


def killed(path: Path, out: Path, words: list[str], kills: int, seconds: float) -> str:
    """Kill the command at random moments, then let it finish."""
    rng = np.random.default_rng(1)
    done = 0
    for _ in range(kills):
        process = subprocess.Popen(command(path, out, words))
        try:
            process.wait(rng.uniform(0.1, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            done += 1
    subprocess.run([*command(path, out, words)], check=False)
    found = digest(out / files.LABELS / f"{path.stem}.ome.zarr", out / files.BEADS / f"{path.stem}.csv")
    print(f"after {done} kills: {found}", flush=True)
    return found


def measured(path: Path, out: Path, words: list[str], side: int) -> None:
    """Print what the command takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(command(path, out, words), check=False)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    per_mpx = spent / side**2 * 1e6
    print(f"command, {side}x{side} px: {wall:.0f} s, processor {spent:.0f} s ({per_mpx:.3f} s per megapixel), "
          f"peak memory {after.ru_maxrss / 1e6:.2f} GB", flush=True)  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=4000)
    parser.add_argument("--sides", default="512,1024,2048", help="of blocks, px")
    parser.add_argument("--memory", default="4GB")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="after which at the latest the command is killed")
    parser.add_argument("--diameter", default="8")
    parser.add_argument("--parts", default="whole,blocks,kills,command")
    parser.add_argument("--set", action="append", default=[], help="as of predict")
    arguments = parser.parse_args()
    parts, found = arguments.parts.split(","), []
    options = [*arguments.set, *([] if arguments.diameter == "auto" else [f"size.diameter={arguments.diameter}"])]
    words = ["--memory", arguments.memory, *itertools.chain.from_iterable(("--set", each) for each in options)]
    with tempfile.TemporaryDirectory() as scratch:
        folder, path = Path(scratch), Path(scratch) / f"{NAME}.tif"
        picture(path, arguments.side)
        segmenter = Segmenter.load("general", device="cpu")
        segmenter.options = segmenter.options.with_overrides(options)
        print(f"{segmenter.backend().name} {segmenter.precision()}; load before: {os.getloadavg()[0]:.1f}", flush=True)
        if "whole" in parts:
            found.append(whole(segmenter, path, folder / "whole"))
        if "blocks" in parts:
            sides = [int(each) for each in arguments.sides.split(",")]
            for side, backwards in itertools.product(sides, (False, True)):
                found.append(
                    in_blocks(segmenter, path, folder / f"{side}{backwards}", Means(10**11, 1, side, backwards))
                )
            found.append(in_blocks(segmenter, path, folder / "two", Means(10**11, 2, sides[0])))
        if "kills" in parts:
            found.append(killed(path, folder / "killed", words, arguments.kills, arguments.seconds))
        if "command" in parts:
            measured(path, folder / "command", words, arguments.side)
    print("the same everywhere" if len(set(found)) <= 1 else "NOT the same", flush=True)
    return int(len(set(found)) > 1)


if __name__ == "__main__":
    raise SystemExit(main())
