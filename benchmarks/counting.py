"""Counting on simulated tiles: 10 to 1,000 beads of 7 px in 512x512, overlapping by up to 30 % of the diameter.

    python benchmarks/counting.py --out runs/counting --stardist-python STARDIST/bin/python

Trains beadseg on tiles of three looks and finds the beads of tiles of a fourth (`counting_tiles.py`: contrast, blur,
noise, light, colours, enlargement and compression differ, and the seed; ``--looks 1`` trains on the first alone).
Prints per density and over all: F1 of centres within half a bead diameter, count bias and median absolute count error.
Beside it on the same test tiles: connected components and a distance-transform watershed on the same foreground,
`blob_log` of scikit-image and `locate` of trackpy, all tuned on the training tiles, and StarDist trained on the same
tiles for the same CPU minutes.

StarDist needs an environment of its own (``pip install stardist tensorflow``), named by ``--stardist-python``; trackpy
is used where it is installed. ``--run RUN`` takes a finished run instead of training; ``--set`` changes the training,
``--only beadseg`` leaves the others out. Tiles and runs in ``--out`` are used again.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from counting_scores import mean_f1, score_tile, score_tiles, summaries, table, verdicts
from counting_tiles import DIAMETER, TEST_SCENE, TEST_SEED, TRAINING_LOOKS, TRAINING_SEED, make, read
from peers import classical

from beadseg import files
from beadseg.cli.config_options import use_threads
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.files import write_atomically
from beadseg.predict.segmenter import Segmenter
from beadseg.training.records import read_history
from beadseg.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from counting_scores import Finder, TileScore
    from counting_tiles import Tile

    from beadseg.events import Event

LEAST = round(np.pi * DIAMETER**2 / 16)
"""Smallest component that counts, px: a quarter of a bead, as in beadseg."""
TUNING_TILES = 10
METHODS = ("beadseg", "components", "watershed", "blob_log", "trackpy", "stardist")


def main() -> None:
    arguments = _arguments()
    threads = use_threads(arguments.threads)
    out: Path = arguments.out
    looks = TRAINING_LOOKS[: arguments.looks]
    training = make(out / "train", looks, arguments.train_tiles, arguments.train_fields, TRAINING_SEED)
    test = read(make(out / "test", (TEST_SCENE,), arguments.test_tiles, arguments.test_fields, TEST_SEED))
    run, minutes = _run(arguments, training, threads)
    results: dict[str, list[TileScore]] = {}
    seconds: dict[str, float] = {}
    for name, finder in _finders(arguments.only, run, training).items():
        started = time.perf_counter()
        results[name] = score_tiles(test, finder)
        seconds[name] = (time.perf_counter() - started) / len(test)
        print(f"{name}: F1 {summaries(results[name])['all']['f1']:.4f}", flush=True)
    if "stardist" in arguments.only:
        results |= _stardist(arguments, out, run, minutes, threads, test)
    scores = {name: summaries(tiles) for name, tiles in results.items()}
    print("", table(scores, seconds), "", sep="\n")
    print(f"beadseg was trained for {minutes:.1f} CPU minutes in {threads} threads.")
    if "beadseg" in scores:
        print(*verdicts(scores["beadseg"]), sep="\n")
    document = {"minutes": minutes, "threads": threads, "run": str(run), "seconds_per_tile": seconds, "scores": scores}
    write_atomically(out / "counting.json", json.dumps(document, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/counting"))
    parser.add_argument("--run", type=Path, help="a finished run instead of training one")
    parser.add_argument("--preset", default="dense")
    parser.add_argument("--model", default="unet")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the training")
    parser.add_argument("--train-tiles", type=int, default=60)
    parser.add_argument("--test-tiles", type=int, default=60)
    parser.add_argument("--looks", type=int, choices=(1, 2, 3), default=3, help="looks among the training tiles")
    parser.add_argument("--train-fields", type=int, default=2, help="fields of view of every look and density")
    parser.add_argument("--test-fields", type=int, default=4, help="fields of view of every density")
    parser.add_argument("--only", type=lambda text: tuple(text.split(",")), default=METHODS, metavar=",".join(METHODS))
    parser.add_argument("--stardist-python", type=Path, help="Python of an environment with StarDist")
    parser.add_argument("--threads", type=int, help="CPU threads; all that there are when not given")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - set(METHODS):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    return arguments


def _run(arguments: argparse.Namespace, training: Path, threads: int) -> tuple[Path, float]:
    """Return the run folder, trained now where it is not finished, and the CPU minutes that its training took.

    CPU minutes, since on a machine with other work the clock would give one method more than another. For a run that
    was trained elsewhere its minutes by the clock times the threads.
    """
    folder = arguments.run or arguments.out / f"run-{arguments.seed}"
    took = folder.with_name(f"{folder.name}-minutes.json")
    if arguments.run is None and not took.exists():
        changes = [f"seed={arguments.seed}", *arguments.set]
        config = TrainConfig.preset(arguments.preset, arguments.model).with_overrides(changes)
        before = time.process_time()
        train(Dataset.open(training), config, folder, on_event=_tell)
        write_atomically(took, json.dumps((time.process_time() - before) / 60))
    if took.exists():
        return folder, json.loads(took.read_text(encoding="utf-8"))
    times = read_history(folder / files.TIMES)
    return folder, threads * sum(row["train_seconds"] + row["validation_seconds"] for row in times) / 60


def _finders(only: Sequence[str], run: Path, training: Path) -> dict[str, Finder]:
    """Return the methods that need no child process, those with parameters tuned on training tiles."""
    segmenter = Segmenter.load(run)
    tiles = read(training)
    tuning = tiles[:: max(1, len(tiles) // TUNING_TILES)]

    @cache
    def foreground(tile: Tile) -> np.ndarray:
        return segmenter.predict(tile.pixels).probability >= segmenter.options.objects.threshold

    @cache
    def dark(tile: Tile) -> np.ndarray:
        return classical.darkness(tile.pixels)

    def tuned(name: str, find: Callable, grid: dict, prepared: Callable[[Tile], np.ndarray]) -> Finder:
        chosen = classical.best(find, grid, lambda finder: mean_f1(score_tiles(tuning, finder)), prepared)
        print(f"{name}: tuned on {len(tuning)} training tiles: {chosen}", flush=True)
        return lambda tile: find(prepared(tile), **chosen)

    def watershed(mask: np.ndarray, **parameters: float) -> np.ndarray:
        return classical.divided(mask, LEAST, **parameters)

    makers: dict[str, Callable[[], Finder]] = {
        "beadseg": lambda: lambda tile: segmenter.predict(tile.pixels).beads[["y", "x"]].to_numpy(np.float64),
        "components": lambda: lambda tile: classical.components(foreground(tile), LEAST),
        "watershed": lambda: tuned("watershed", watershed, classical.WATERSHED_GRID, foreground),
        "blob_log": lambda: tuned("blob_log", classical.blobs, classical.BLOB_GRID, dark),
        "trackpy": lambda: tuned("trackpy", classical.features, classical.TRACKPY_GRID, dark),
    }
    if "trackpy" in only and importlib.util.find_spec("trackpy") is None:
        print("trackpy was not run: it is not installed here (pip install trackpy).", flush=True)
        del makers["trackpy"]
    return {name: make_one() for name, make_one in makers.items() if name in only}


def _stardist(
    arguments: argparse.Namespace, out: Path, run: Path, minutes: float, threads: int, test: Sequence[Tile]
) -> dict[str, list[TileScore]]:
    """Train and run StarDist in its own environment; empty, and said, where none was named."""
    if arguments.stardist_python is None:
        print("StarDist was not run: no --stardist-python was given.", flush=True)
        return {}
    found = out / "stardist" / "centres.csv"
    if not found.exists():
        command = [
            str(arguments.stardist_python), str(Path(__file__).parent / "peers" / "stardist_peer.py"),
            "--train", str(out / "train"), "--test", str(out / "test"), "--split", str(run / files.SPLIT),
            "--minutes", str(minutes), "--threads", str(threads), "--out", str(out / "stardist"),
        ]  # fmt: skip
        subprocess.run(command, check=True)
    centres = pd.read_csv(found)
    by_tile = {name: beads[["y", "x"]].to_numpy(np.float64) for name, beads in centres.groupby("sample")}
    return {"stardist": [score_tile(tile, by_tile.get(tile.name, np.empty((0, 2)))) for tile in test]}


def _tell(event: Event) -> None:
    if event.kind != "progress" and event.message:
        print(event.message, flush=True)


if __name__ == "__main__":
    main()
