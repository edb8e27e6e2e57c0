"""What *Improve the model* gains on looks that the general model finds hard, by 1, 3 and 8 corrected tiles.

    python benchmarks/improving.py --out runs/improving

Simulates tiles of three looks, accepts 1, 3 and 8 of each as a person would have corrected them, and improves the
general model by them, each time from the start. Prints F1 on other tiles of the look, F1 on random looks that
neither saw (the general model must not lose more than 0.005 on these), and seconds. A finished row is not made again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import tifffile

from beadseg import files
from beadseg.annotation.review import Review
from beadseg.cli.config_options import use_threads
from beadseg.data.dataset import Target
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.data.simulate.look_config import LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.events import StopFlag
from beadseg.files import ensure_folder, write_atomically
from beadseg.measure.matching import Detection
from beadseg.measure.scores import score_image
from beadseg.predict.segmenter import Segmenter
from beadseg.training.improve import LOOK_SIDE, improve, looks_found

if TYPE_CHECKING:
    from beadseg.data.simulate import Scene
    from beadseg.data.simulate.looks import Look

SIDE, BEADS = 224, 90
HARD = {
    "far out of focus": {"defocus_px": 3.2, "defocus_spread_px": 1.0},
    "faint and noisy": {"contrast": 0.14, "contrast_spread": 0.3, "read_noise": 6.0, "shot_noise": 6.0},
    "heaps": {"cluster_probability": 0.9, "max_overlap": 0.4, "beads": 150},
}
"""Looks, by what differs from usual simulated tiles."""
TILES = (1, 3, 8)
UNSEEN, FIRST_UNSEEN = 6, 900
OLD, FIRST_OLD = 48, 8_000_000_000
"""Random looks, none of which the program tries itself."""
MOST_LOST = 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/improving"))
    parser.add_argument("--seconds", type=float, default=30.0, help="of the training steps, each time")
    parser.add_argument("--look", choices=HARD, action="append", help="only these looks")
    parser.add_argument("--hardness", action="store_true", help="only F1 of the general model")
    arguments = parser.parse_args()
    use_threads(None)
    general = Segmenter.load("general")
    old = [draw_look(LookConfig(side=LOOK_SIDE, empty=0.0, cells=0.0), FIRST_OLD + n) for n in range(OLD)]
    before = looks_found(general, old, StopFlag()).f1
    print(f"general model on {OLD} random looks: F1 {before:.4f}\n")
    print("| look | corrected tiles | F1, unseen tiles | F1, random looks | lost | s |\n" + "| --- " * 6 + "|")
    lost = [0.0]
    for look in arguments.look or HARD:
        print(f"| {look} | 0 | {unseen_f1(general, look):.3f} | {before:.4f} | | |", flush=True)
        for tiles in () if arguments.hardness else TILES:
            row = improved(look, tiles, arguments.out, arguments.seconds, old)
            lost.append(before - row["old"])
            scores = f"{row['f1']:.3f} | {row['old']:.4f} | {lost[-1]:.4f} | {row['s']:.0f}"
            print(f"| {look} | {tiles} | {scores} |", flush=True)
    kept = "yes" if max(lost) <= MOST_LOST else "no"
    print(f"\nmost lost on random looks: {max(lost):.4f} (at most {MOST_LOST}: {kept})")


def tile(look: str, number: int) -> Scene:
    """Return a tile of a look."""
    return simulate(SceneConfig(height=SIDE, width=SIDE).replace(**{"beads": BEADS, **HARD[look]}), number)


def improved(look: str, tiles: int, out: Path, seconds: float, old: list[Look]) -> dict[str, float]:
    """Accept tiles, improve, and score; what an earlier call wrote is read."""
    name = f"{look.replace(' ', '-')}-{tiles}"
    path = out / f"{name}.json"
    if path.exists():
        found: dict[str, float] = json.loads(path.read_text())
        return found
    data = accepted(look, tiles, out / name)
    done = improve(data, out / f"{name}-run", seconds=seconds)
    model = Segmenter.load(out / f"{name}-run")
    found = {"f1": unseen_f1(model, look), "old": looks_found(model, old, StopFlag()).f1, "s": done.seconds}
    write_atomically(path, json.dumps(found))
    return found


def accepted(look: str, tiles: int, folder: Path) -> Path:
    """Write a dataset whose samples were all accepted."""
    names = [f"tile{number}" for number in range(tiles)]
    for number, name in enumerate(names):
        made = tile(look, number)
        for kind in (files.IMAGES, files.LABELS):
            ensure_folder(folder / kind)
        iio.imwrite(folder / files.IMAGES / f"{name}.png", made.image)
        tifffile.imwrite(folder / files.LABELS / f"{name}.tif", made.labels.astype(np.uint16))
    Review.open(folder).decide(names, "accepted")
    return folder


def unseen_f1(model: Segmenter, look: str) -> float:
    """Return F1 on tiles of a look that nothing was trained on, by overlap, as `evaluate` counts it."""
    total = Detection(0, 0, 0)
    for number in range(FIRST_UNSEEN, FIRST_UNSEEN + UNSEEN):
        made = tile(look, number)
        pixels = np.moveaxis(made.image, -1, 0) if made.image.ndim == 3 else made.image[None]
        found = model.predict(np.ascontiguousarray(pixels)).labels
        score = score_image("", "", "", found > 0, found, Target(made.labels > 0, made.labels))
        total = total + Detection(score.tp, score.fp, score.fn)
    return total.f1


if __name__ == "__main__":
    main()
