"""Whether counts of images that look unlike the training images are flagged, and others are not.

    python benchmarks/unlike.py --out runs/unlike

Trains a network on simulated colour tiles for a few CPU minutes, then counts new tiles of unseen fields of view: as in
training, and with one property changed at a time. Prints per change how many counts are off by more than 10 %, how many
of these have a flag, how many of all, and what is said first. Then over all changes. ``--run RUN`` takes a finished run
that was trained on such tiles. Tiles, run and counts in ``--out`` are used again, so that a repeated command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from counting_tiles import TEST_SCENE, TRAINING_SCENE
from scipy import ndimage

from beadseg.cli.config_options import use_threads
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.image_io import Image
from beadseg.data.simulate import SceneConfig, SeriesConfig, simulate, write_dataset
from beadseg.files import ensure_folder, write_atomically
from beadseg.predict.counts import count_row
from beadseg.predict.segmenter import Segmenter
from beadseg.training.run import train

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from beadseg.events import Event

    Pixels = NDArray[np.generic]

OFF = 0.10
"""A count that is off by more than this share should be flagged."""
LEAST_FLAGGED, MOST_FALSE = 0.95, 0.03
BEADS, DENSITIES = 500.0, (1, 2, 4, 8, 16)
"""Beads expected in 384x384 px, and what they are divided by in turn."""
SIDE, SEED = 384, 50_000
LUMINANCE = np.array([0.299, 0.587, 0.114])


def _bytes(values: NDArray[np.floating]) -> Pixels:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def _grey(image: Pixels) -> Pixels:
    return _bytes(image @ LUMINANCE)


def _background(image: Pixels) -> NDArray[np.float64]:
    return np.median(image, axis=(0, 1))


PIXELS: dict[str, Callable[[Pixels], Pixels]] = {
    "as in training": lambda image: image,
    "grey for colour": _grey,
    "gamma 1/2.2": lambda image: _bytes(255 * (image / 255) ** (1 / 2.2)),
    "gamma 2.2": lambda image: _bytes(255 * (image / 255) ** 2.2),
    "contrast / 3": lambda image: _bytes(_background(image) + (image - _background(image)) / 3),
    "blur + 2 px": lambda image: _bytes(ndimage.gaussian_filter(image.astype(float), (2, 2, 0))),
    "inverted": lambda image: 255 - image,
    "offset of 32,768": lambda image: image.astype(np.uint16) + 32768,
    "background subtracted": lambda image: image.astype(np.int16) - _background(image).astype(np.int16),
    "overexposed x 2": lambda image: _bytes(image * 2.0),
    "green lookup table": lambda image: np.stack([0 * _grey(image), _grey(image), 0 * _grey(image)], axis=2),
    "red and blue swapped": lambda image: image[:, :, ::-1],
    "half as bright": lambda image: _bytes(image / 2),
}
"""Changes of the finished image."""
SCENES = {
    "noise x 4": TRAINING_SCENE.replace(
        read_noise=4 * TRAINING_SCENE.read_noise, shot_noise=4 * TRAINING_SCENE.shot_noise
    ),
    "beads x 0.5": TRAINING_SCENE.replace(diameter_px=TRAINING_SCENE.diameter_px / 2),
    "beads x 2": TRAINING_SCENE.replace(diameter_px=TRAINING_SCENE.diameter_px * 2),
    "another look": TEST_SCENE,
}
"""Changes of what is simulated."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/unlike"))
    parser.add_argument("--run", type=Path, help="a finished run instead of training one")
    parser.add_argument("--images", type=int, default=40, help="test images of every change")
    parser.add_argument("--plain-images", type=int, default=100, help="test images as in training")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the training")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    ensure_folder(arguments.out)
    segmenter = Segmenter.load(arguments.run or _train(arguments.out, arguments.set))
    if segmenter.appearance is None:
        parser.error("The model does not store what its training images look like: train it again.")
    tables = {}
    for change in [*PIXELS, *SCENES]:
        images = arguments.plain_images if change == next(iter(PIXELS)) else arguments.images
        tables[change] = _counts(segmenter, change, images, arguments.out)
        print(_row(change, tables[change]), flush=True)
    print("", *_report(tables), sep="\n")


def _train(out: Path, changes: list[str]) -> Path:
    data = out / "train"
    if not data.exists():
        write_dataset(data, SeriesConfig(scene=_scene(TRAINING_SCENE, 1), tiles=36, dilutions=(1, 4, 16), fields=2))
    config = TrainConfig.preset("dense", "unet").with_overrides(["epochs=5", "epoch.steps=60", *changes])
    return train(Dataset.open(data), config, out / "run", on_event=_tell).folder


def _scene(scene: SceneConfig, divided: int) -> SceneConfig:
    share = (SIDE / scene.height) ** 2
    return scene.replace(height=SIDE, width=SIDE, beads=BEADS / divided, debris=scene.debris * share)


def _counts(segmenter: Segmenter, change: str, images: int, out: Path) -> pd.DataFrame:
    """Return one row per test image; those that an earlier call wrote are not predicted again."""
    path = out / f"{change.replace('/', '-').replace(' ', '-')}.csv"
    rows = pd.read_csv(path, keep_default_na=False).to_dict("records") if path.exists() else []
    for number in range(len(rows), images):
        scene = _scene(SCENES.get(change, TRAINING_SCENE), DENSITIES[number % len(DENSITIES)])
        made = simulate(scene, SEED + number)
        rows.append({"true": len(made.beads), **_counted(segmenter, PIXELS.get(change, np.asarray)(made.image))})
        if number % 10 == 9 or number == images - 1:
            write_atomically(path, pd.DataFrame(rows).to_csv(index=False))
    return pd.DataFrame(rows[:images])


def _counted(segmenter: Segmenter, pixels: Pixels) -> dict[str, object]:
    """Return the count and its flags as ``counts.csv`` has them."""
    plane = pixels[np.newaxis] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    image = Image(np.ascontiguousarray(plane), "CYX")
    row = count_row("", "", image, segmenter.predict(image), segmenter)
    return {name: row[name] for name in ("beads", "beads_low", "beads_high", "flags")}


def _off(table: pd.DataFrame) -> pd.Series:
    return (table["beads"] / table["true"].clip(lower=1) - 1).abs() > OFF


def _row(change: str, table: pd.DataFrame) -> str:
    off, flagged = _off(table), table["flags"] != ""
    error = 100 * (table["beads"].sum() / table["true"].sum() - 1)
    said = next((text for text in table["flags"] if text), "").split("; ")[0]
    return (f"| {change} | {len(table)} | {error:+.1f} | {off.sum()} | {(off & flagged).sum()} | {flagged.sum()} "
            f"| {said} |")  # fmt: skip


def _report(tables: dict[str, pd.DataFrame]) -> list[str]:
    columns = ("change", "images", "bias %", "off by more than 10 %", "of these flagged", "flagged", "for example")
    lines = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    lines += [*(_row(change, table) for change, table in tables.items()), ""]
    plain, *changed = tables.values()
    together = pd.concat(changed)
    off = _off(together)
    flagged, false = float((together["flags"] != "")[off].mean()), float((plain["flags"] != "").mean())
    unflagged = plain[plain["flags"] == ""]
    covered = ((unflagged["beads_low"].astype(float) <= unflagged["true"])
               & (unflagged["true"] <= unflagged["beads_high"].astype(float))).mean()  # fmt: skip
    return [
        *lines,
        f"{_met(flagged >= LEAST_FLAGGED)} {100 * flagged:.1f} % of the {off.sum()} changed images with a count that "
        f"is off by more than 10 % are flagged (at least {100 * LEAST_FLAGGED:.0f} %)",
        f"{_met(false <= MOST_FALSE)} {100 * false:.1f} % of {len(plain)} images as in training are flagged "
        f"(at most {100 * MOST_FALSE:.0f} %)",
        f"        {100 * covered:.1f} % of the intervals of unflagged ones cover the true number",
    ]


def _met(met: bool) -> str:
    return "met    " if met else "NOT met"


def _tell(event: Event) -> None:
    if event.kind != "progress" and event.message:
        print(event.message, flush=True)


if __name__ == "__main__":
    main()
