"""Tell how well any threshold can reproduce each mask, and how far the mask is shifted against its image.

    python benchmarks/masks.py DATASET --exclude 'synthetic_*'

For every sample, worst first: the shift (dy, dx, px) that lays the mask best over the dark (or bright) places of the
image, by cross-correlation in whole pixels up to 10; the best Jaccard that any single threshold on the
background-corrected image reaches as the mask lies, and after that shift; and the median object area. A mask that no
threshold comes near, or that fits far better when moved, limits what any network can score on it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from scipy import ndimage

from beadseg.config import ImageConfig
from beadseg.data.dataset import Dataset
from beadseg.data.fingerprint import fingerprint
from beadseg.data.masks import label_objects
from beadseg.model.inputs import prepare

REACH = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--exclude", action="append", default=[])
    arguments = parser.parse_args()
    dataset = Dataset.open(arguments.dataset, exclude=arguments.exclude)
    sign = -1.0 if fingerprint(dataset).polarity == "dark" else 1.0
    rows = []
    for sample in dataset:
        for plane, pixels, target in sample.planes():
            strength = sign * ndimage.gaussian_filter(prepare(pixels, ImageConfig())[0], 0.7)
            dy, dx = shift(strength, target.foreground)
            moved = np.roll(target.foreground, (dy, dx), (0, 1))
            area = (
                np.median(np.bincount(label_objects(target.foreground).ravel())[1:]) if target.foreground.any() else 0
            )
            now, then = ceiling(strength, target.foreground), ceiling(strength, moved)
            rows.append((now, f"| {sample.name} {plane}| {dy:+d}, {dx:+d} | {now:.2f} | {then:.2f} | {area:.0f} |"))
    print("| sample | shift dy, dx | threshold ceiling | after the shift | median area |")
    print("|" + " --- |" * 5)
    print("\n".join(row for _, row in sorted(rows)))


def shift(strength: np.ndarray, mask: np.ndarray) -> tuple[int, int]:
    """Return the whole-pixel shift of the mask (Y, X) that correlates best with the strength (Y, X)."""
    spectrum = np.fft.rfft2(strength) * np.conj(np.fft.rfft2(mask - mask.mean()))
    correlation = np.roll(np.fft.irfft2(spectrum, strength.shape), (REACH, REACH), (0, 1))[
        : 2 * REACH + 1, : 2 * REACH + 1
    ]
    dy, dx = np.unravel_index(correlation.argmax(), correlation.shape)
    return int(dy) - REACH, int(dx) - REACH


def ceiling(strength: np.ndarray, mask: np.ndarray) -> float:
    """Return the best Jaccard of the mask with the strongest pixels, from 0.01 to 20 % of them in 100 steps."""
    scores = []
    for level in np.quantile(strength, 1 - np.geomspace(1e-4, 0.2, 100)):
        found = strength > level
        scores.append((found & mask).sum() / max(1, (found | mask).sum()))
    return float(max(scores))


if __name__ == "__main__":
    main()
