"""Separating and measuring the beads of a large image, beside a plain scikit-image pipeline: time, counts and memory.

    python benchmarks/separation.py

Maps as a network gives them are drawn for 10,000 beads of 7 px in 3840x2160 px, a quarter of them in contact and
overlapping by up to 30 %; then for images of a quarter, half and twice the area at the same density. Best of
``--repeat``:

- *beadseg*: `separate`, the selection, and the basic table (id, centroid, area, intensity); *foreground only*: the same
  without a centre map; *selection*: another threshold for beads that are separated already.
- *scikit-image*: `label`, distance transform, `peak_local_max`, `watershed`, `regionprops_table` with the same columns.

Time is processor time, so that other work on the machine does not count, and all of it runs on one core. Memory is the
peak that was allocated on top of the maps, by `tracemalloc`.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.measure import label, regionprops_table
from skimage.segmentation import watershed

from beadseg.config import ObjectConfig
from beadseg.data.simulate.config import SceneConfig
from beadseg.data.simulate.particles import place
from beadseg.measure.beads import bead_table
from beadseg.predict.instances import separate

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DIAMETER = 7.0
OBJECTS = ObjectConfig(diameter=DIAMETER)
DENSITY = 10_000 / (3840 * 2160)
SIZES = ((1080, 1920), (2160, 1920), (2160, 3840), (4320, 3840))


@dataclass(frozen=True, eq=False)
class Scene:
    """Maps and image of one plane, all (Y, X) float32, and how many beads are in it."""

    probability: NDArray[np.float32]
    centre: NDArray[np.float32]
    intensity: NDArray[np.float32]
    beads: int


def scene(height: int, width: int, seed: int = 0) -> Scene:
    """Draw the maps of beads that lie as the simulator places them."""
    rng = np.random.default_rng(seed)
    config = SceneConfig(height=height, width=width, beads=round(DENSITY * height * width), poisson=False)
    beads = place(config, rng)
    seen = np.zeros((2, height + 40, width + 40), np.float32)
    around = np.arange(-8, 9)
    for y, x in np.stack([beads.y, beads.x], axis=1):
        top, left = round(y), round(x)
        squared = (around[:, None] + top - y) ** 2 + (around[None] + left - x) ** 2
        window = (slice(top + 12, top + 29), slice(left + 12, left + 29))
        edge = 1 / (1 + np.exp((np.sqrt(squared) - DIAMETER / 2) / 0.4))
        seen[0][window] = np.maximum(seen[0][window], edge)
        seen[1][window] = np.maximum(seen[1][window], 0.9 * np.exp(-squared / (2 * (0.18 * DIAMETER) ** 2)))
    probability, centre = np.ascontiguousarray(seen[:, 20:-20, 20:-20])
    noise = rng.standard_normal(probability.shape).astype(np.float32)
    return Scene(probability, centre, 140 - 60 * probability + 3 * noise, len(beads))


def ours(made: Scene, *, centre: bool = True) -> int:
    labels = separate(made.probability, OBJECTS, made.centre if centre else None).chosen(OBJECTS)
    return len(bead_table(labels, made.intensity))


def plain(made: Scene) -> int:
    foreground = made.probability >= OBJECTS.threshold
    distance = ndimage.distance_transform_edt(foreground)
    objects = label(foreground)
    peaks = peak_local_max(distance, min_distance=2, labels=objects, exclude_border=False)
    seeds = np.zeros(foreground.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    parts = watershed(-distance, seeds, mask=foreground)
    table = regionprops_table(parts, made.intensity, properties=("label", "centroid", "area", "intensity_mean"))
    return len(table["label"])


def seconds(work: Callable[[], object], repeat: int) -> float:
    """Return the processor time of the fastest of `repeat` runs, s."""
    times = []
    for _ in range(repeat):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return min(times)


def peak_bytes(work: Callable[[], object]) -> int:
    """Return the most memory that was allocated at once, bytes."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    repeat = parser.parse_args().repeat
    made = scene(2160, 3840)
    print(f"3840x2160 px, {made.beads} beads\n\n| method | seconds | beads found |\n| --- | --- | --- |")
    methods: dict[str, Callable[[], int]] = {
        "beadseg": lambda: ours(made),
        "beadseg, foreground only": lambda: ours(made, centre=False),
        "scikit-image": lambda: plain(made),
    }
    times = {}
    for name, method in methods.items():
        times[name] = seconds(method, repeat)
        print(f"| {name} | {times[name]:.2f} | {method()} |", flush=True)
    candidates = separate(made.probability, OBJECTS, made.centre)
    print(f"| beadseg, selection | {seconds(lambda: candidates.select(threshold=0.4, min_area=10), repeat):.3f} | |")
    print(f"\nscikit-image takes {times['scikit-image'] / times['beadseg']:.1f} times as long as beadseg.\n")
    print("| pixels, millions | beads | seconds | memory, MiB | bytes per pixel |\n| --- | --- | --- | --- | --- |")
    for size in SIZES:
        sized = scene(*size)
        memory = peak_bytes(lambda sized=sized: ours(sized))
        pixels = sized.probability.size
        took = seconds(lambda sized=sized: ours(sized), repeat)
        print(
            f"| {pixels / 1e6:.1f} | {sized.beads} | {took:.2f} | {memory / 2**20:.0f} | {memory / pixels:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
