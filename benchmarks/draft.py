"""Drafts by the general model on simulated tiles: how many beads it finds, and what it takes them for.

    python benchmarks/draft.py --tiles 4

Beads of 4 to 14 px, dark and bright, sparse and dense. The model measures the size of the beads of every tile; the mean
is printed. F1, precision and recall by centres within half a diameter; Jaccard of the pixels; beads of which less than
half is visible count as well.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from beadseg.data.dataset import Target
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.measure.scores import group_score, score_image
from beadseg.predict.segmenter import Segmenter

DIAMETERS = (4.0, 5.0, 7.0, 10.0, 14.0)
COVERAGES = (0.02, 0.08, 0.16)
"""Beads' area over the image's; at the largest most beads touch or overlap another one."""
DEFOCUS = 1.6
"""Blur of the simulator for 7-px beads, px; smaller beads are blurred in proportion, larger ones as much."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=4)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    segmenter = Segmenter.load("general")
    print("beads        px  coverage   taken for  F1  precision  recall  Jaccard  counted/true")
    scores = []
    for polarity in ("dark", "bright"):
        for diameter in DIAMETERS:
            for coverage in COVERAGES:
                scores.append(_row(segmenter, polarity, diameter, coverage, arguments.tiles, arguments.size))
    print(f"mean F1 {np.mean(scores):.3f}, lowest {min(scores):.3f}")


def _row(segmenter: Segmenter, polarity: str, diameter: float, coverage: float, tiles: int, size: int) -> float:
    scene = SceneConfig.parse(
        {
            "height": size,
            "width": size,
            "polarity": polarity,
            "diameter_px": diameter,
            "beads": coverage * size**2 / (math.pi * diameter**2 / 4),
            "defocus_px": DEFOCUS * min(1.0, diameter / 7),
            "contrast": 0.52 if polarity == "dark" else 1.0,
        }
    )
    scenes = [simulate(scene, seed) for seed in range(tiles)]
    planes = [np.moveaxis(made.image, -1, 0) for made in scenes]
    images, sizes = [], []
    for plane, made in zip(planes, scenes, strict=True):
        prediction = segmenter.predict(plane)
        found = prediction.labels
        sizes.append(prediction.diameter)
        truth = Target(made.labels > 0, made.labels)
        images.append(score_image("tile", "tile", "field", found > 0, found, truth, diameter))
    score = group_score("all", "all", images)
    print(f"{polarity:<8} {diameter:>6.1f}  {coverage:>8.2f}   {np.mean(sizes):>5.1f} px  "
          f"{score.f1:.3f}  {score.precision:>9.3f}  {score.recall:>6.3f}  {score.jaccard_images:>7.3f}  "
          f"{score.predicted_count:>6}/{score.true_count}", flush=True)  # fmt: skip
    return score.f1


if __name__ == "__main__":
    main()
