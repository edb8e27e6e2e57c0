"""Make every picture of the guide, from simulated images, by the commands that the guide shows.

Run ``python docs/pictures.py --work DIR``: some minutes; what is finished in DIR is not done again. It writes
``docs/images``. The picture of a report needs Chromium, and is left out without one. ``--only report.jpg`` writes
one picture.
"""

from __future__ import annotations

import argparse
import contextlib
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
from PIL import Image

from beadseg import files
from beadseg.cli.app import main as beadseg_batch
from beadseg.data import Dataset, read_image, read_labels
from beadseg.data.simulate.look_config import ARRANGEMENTS, EMPTIES, FAMILIES, LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.predict.results import overlay
from beadseg.report.analysis import ANALYSIS_PNG
from beadseg.report.evaluation_page import AGREEMENT_PNG, COUNTS_PNG, SCORES_PNG

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURES = Path(__file__).with_name("images")
COMMANDS = (
    "simulate beads --tiles 24 --size 256 --beads 60",
    "simulate new --tiles 6 --size 256 --beads 60 --fields 1 --seed 1",
    "analyze beads --out analysis",
    "train beads --out runs/first --epochs 4",
    "predict runs/first new/images --out counts",
    "predict general new/images --out general",
    "evaluate counts new",
    "train beads --preset microbeads --out runs/laboratory --epochs 3",
)
"""The commands of the guide whose results are shown."""

SIDE = 128
"""Side of the part of a tile that is shown, px: the part with most beads."""
ENLARGED = 3
"""Screen pixels per pixel of an image."""
GAP = 12
"""White screen pixels between two parts of a picture."""
LARGE = 100_000
"""Bytes of a picture."""
LOOK = 128
"""Side of a random look, px."""
DENSE_TILE = "320x_simulated-s1-001_grid_r0_c0"
"""The tile whose overlay is shown."""


def run(command: str) -> None:
    """Run a command unless its folder is there already; a training continues."""
    words = shlex.split(command)
    out = Path(words[words.index("--out") + 1] if "--out" in words else words[1])
    if words[0] in ("simulate", "predict") and out.exists():
        return
    code = beadseg_batch([*words, "--quiet"])
    if code:
        raise SystemExit(f"beadseg-batch {command}: ended with {code}")


def fullest(labels: NDArray[np.uint32]) -> tuple[slice, slice]:
    """Return the part of a tile that shows most beads."""
    starts = [
        (y, x) for y in range(0, labels.shape[0] - SIDE + 1, 16) for x in range(0, labels.shape[1] - SIDE + 1, 16)
    ]
    y, x = max(starts, key=lambda at: len(np.unique(labels[at[0] : at[0] + SIDE, at[1] : at[1] + SIDE])))
    return slice(y, y + SIDE), slice(x, x + SIDE)


def enlarged(picture: NDArray[np.uint8], part: tuple[slice, slice]) -> NDArray[np.uint8]:
    """Return a part of a picture (Y, X, 3), every pixel a square."""
    return picture[part].repeat(ENLARGED, axis=0).repeat(ENLARGED, axis=1)


def beside(parts: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return pictures of one height beside each other."""
    gap = np.full((parts[0].shape[0], GAP, 3), 255, np.uint8)
    spaced = [piece for part in parts for piece in (part, gap)][:-1]
    return np.concatenate(spaced, axis=1)


def draw_dilutions(target: Path) -> None:
    """Draw a tile of every dilution with the outlines of its true beads."""
    dataset = Dataset.open("beads")
    names = [next(name for name in dataset.names if name.startswith(f"{factor}x_")) for factor in (320, 640, 1280)]
    parts = []
    for name in names:
        _, pixels, truth = next(dataset[name].planes())
        if truth.labels is not None:
            parts.append(enlarged(overlay(pixels, truth.labels), fullest(truth.labels)))
    iio.imwrite(target, beside(parts))


def draw_overlay(target: Path) -> None:
    """Draw a tile, and what was found in it."""
    image = read_image(Path("new") / files.IMAGES / f"{DENSE_TILE}.png")
    labels = read_labels(Path("counts") / files.LABELS / f"{DENSE_TILE}.tif").labels
    if labels is not None:
        part, nothing = fullest(labels), np.zeros_like(labels)
        iio.imwrite(target, beside([enlarged(overlay(image.data, shown), part) for shown in (nothing, labels)]))


def draw_looks(target: Path) -> None:
    """Write a sheet of random looks as the general model is trained on, by family and arrangement."""
    rows = []
    for family in FAMILIES:
        config = LookConfig(empty=0.0, side=LOOK, families={family: 1.0})
        looks = [
            draw_look(config.replace(arrangements={arrangement: 1.0}), seed)
            for seed, arrangement in enumerate(ARRANGEMENTS)
        ]
        rows.append(np.concatenate([shown(look.image) for look in looks], axis=1))
    for kinds in (EMPTIES[:6], EMPTIES[5:]):
        looks = [draw_look(LookConfig(empty=1.0, side=LOOK, empties={kind: 1.0}), 1) for kind in kinds]
        rows.append(np.concatenate([shown(look.image) for look in looks], axis=1))
    Image.fromarray(np.concatenate(rows, axis=0)).save(target, quality=60)


def shown(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return a look as an 8-bit colour picture with a white edge."""
    values = image.astype(np.float32) / (255 if image.dtype == np.uint8 else max(float(image.max()), 1.0)) * 255
    colour = values if values.ndim == 3 else np.repeat(values[:, :, None], 3, axis=2)
    return np.pad(colour.astype(np.uint8), ((2, 2), (2, 2), (0, 0)), constant_values=255)


def draw_report(target: Path) -> None:
    """Draw the first screen of the page that the general model's prediction wrote."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        print(f"{target.name}: left out, there is no Chromium")
        return
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "page.png"
        address = (Path("general") / files.REPORT_PAGE).resolve().as_uri()
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,1400"]
        command = [browser, *options, f"--user-data-dir={folder}", f"--screenshot={picture}", address]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(picture) as page:
            page.convert("RGB").resize((825, 1050), Image.Resampling.LANCZOS).save(target, quality=75)


def copy(source: Path, target: Path) -> None:
    """Copy a figure; a large one with a palette of 256 colours, which takes a third of the bytes."""
    if source.stat().st_size <= LARGE:
        target.write_bytes(source.read_bytes())
        return
    with Image.open(source) as figure:
        figure.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(target, optimize=True)


def main() -> None:
    """Run the commands in the working folder, then draw or copy every picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the data, runs and predictions")
    parser.add_argument("--only", help="one picture")
    options = parser.parse_args()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    PICTURES.mkdir(exist_ok=True)
    with contextlib.chdir(work):
        for command in COMMANDS:
            run(command)
        figures = Path("counts") / "evaluation" / files.REPORT
        copies = {
            "analysis.png": Path("analysis") / ANALYSIS_PNG,
            "agreement.png": figures / AGREEMENT_PNG,
            "curves.png": Path("runs/first") / files.CURVES,
            "few-steps.png": Path("runs/laboratory") / files.CURVES,
            "counts.png": figures / COUNTS_PNG,
            "scores.png": figures / SCORES_PNG,
        }
        drawn = {
            "dilutions.png": draw_dilutions,
            "overlay.png": draw_overlay,
            "looks.jpg": draw_looks,
            "report.jpg": draw_report,
        }
        for name in (*drawn, *copies):
            if options.only in (None, name):
                draw = drawn.get(name)
                draw(PICTURES / name) if draw else copy(copies[name], PICTURES / name)


if __name__ == "__main__":
    main()
