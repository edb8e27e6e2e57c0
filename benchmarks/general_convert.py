"""Make folders for `general.py --sets` of four public data sets, as their repositories are checked out.

    git clone https://github.com/Shenggan/BCCD_Dataset
    git clone https://github.com/DeepTrackAI/cell_counting_dataset
    git clone https://github.com/Samadarshi-Maity/CNN-Particle-Detection
    git clone https://github.com/by256/emps
    python benchmarks/general_convert.py . sets

writes ``sets/NAME/images/*`` and, for every image, ``sets/NAME/points/STEM.csv``: one line per bead with
``y,x,diameter`` in px; (0, 0) is the centre of the first pixel. Sets of your own look the same. ``diameter`` may be
left out: the usual distance of a bead to its nearest neighbour stands for it then. A column ``certain`` with 0 marks
places that are neither hits nor misses. Label images in ``labels/`` may stand in place of points.

What is taken:

- ``blood`` (BCCD, MIT): the boxes called RBC; white cells and platelets are neither hits nor misses. Some cells have no
  box, and some have two.
- ``nuclei`` (BBBC039, CC0): every object of the masks of at least 20 px.
- ``spheres`` (synthetic, opaque, 500 in 128x128 px): maxima of the heat maps.
- ``emps`` (electron micrographs, MIT): images with at least 5 marked particles, 9 of 10 of them round.
"""

from __future__ import annotations

import argparse
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as imageio
import numpy as np
import pandas as pd
from skimage.feature import peak_local_max
from skimage.measure import label, regionprops

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

ROUNDNESS = 0.85
"""Least 4 pi area / perimeter² of a round particle."""
ASPECT = 1.25
"""Longest axis over shortest of a round particle, at most."""
SPHERE_DIAMETER = 5.5
"""Of the 128-px pictures: 500 discs cover 56 % of them where they overlap as drawn."""

Pair = tuple[Path, pd.DataFrame]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder of the four repositories")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    for name, (folder, read) in SETS.items():
        repository = next(iter(sorted(arguments.source.glob(f"*{folder}"))), None)
        if repository is None:
            print(f"{name}: there is no {folder} in {arguments.source}; left out.")
            continue
        images, beads = _write(arguments.out / name, read(repository))
        print(f"{name}: {images} images, {beads} beads")


def blood(repository: Path) -> Iterator[Pair]:
    for file in sorted((repository / "BCCD" / "Annotations").glob("*.xml")):
        rows = [_box(element) for element in ET.parse(file).iter("object")]
        image = repository / "BCCD" / "JPEGImages" / f"{file.stem}.jpg"
        if image.exists():
            yield image, pd.DataFrame(rows, columns=["y", "x", "diameter", "certain"])


def nuclei(repository: Path) -> Iterator[Pair]:
    for file in sorted((repository / "cell nuclei" / "masks").glob("*.png")):
        yield file.parents[1] / "images" / f"{file.stem}.tif", _points(label(imageio.imread(file)[..., 0]), least=20)


def spheres(repository: Path) -> Iterator[Pair]:
    for file in sorted((repository / "data" / "Heatmaps" / "First_Train" / "Synthetic_data").glob("*.npy")):
        peaks = peak_local_max(np.load(file), min_distance=1, threshold_abs=0.1, exclude_border=False)
        image = repository / "data" / "Images" / "First_Train" / "Synthetic_data" / f"{file.stem}.png"
        yield image, pd.DataFrame({"y": peaks[:, 0], "x": peaks[:, 1], "diameter": SPHERE_DIAMETER})


def emps(repository: Path) -> Iterator[Pair]:
    for file in sorted((repository / "segmaps").glob("*.png")):
        labels = imageio.imread(file)
        if _mostly_round(labels):
            yield repository / "images" / file.name, _points(labels, least=9)


SETS: dict[str, tuple[str, Callable[[Path], Iterator[Pair]]]] = {
    "blood": ("BCCD_Dataset", blood),
    "nuclei": ("cell_counting_dataset", nuclei),
    "spheres": ("CNN-Particle-Detection", spheres),
    "emps": ("emps", emps),
}


def _box(element: ET.Element) -> tuple[float, float, float, int]:
    box = element.find("bndbox")
    left, top, right, bottom = (float(box.findtext(side)) for side in ("xmin", "ymin", "xmax", "ymax"))
    width, height = right - left, bottom - top
    # Boxes at the border show a part of the cell only: the longer side is nearer to its diameter.
    return (top + bottom) / 2, (left + right) / 2, max(width, height), int(element.findtext("name") == "RBC")


def _points(labels: NDArray[np.integer], least: int) -> pd.DataFrame:
    regions = [region for region in regionprops(labels) if region.area >= least]
    rows = [(*region.centroid, region.equivalent_diameter_area) for region in regions]
    return pd.DataFrame(rows, columns=["y", "x", "diameter"])


def _mostly_round(labels: NDArray[np.integer]) -> bool:
    height, width = labels.shape
    whole = [r for r in regionprops(labels) if r.bbox[0] and r.bbox[1] and r.bbox[2] < height and r.bbox[3] < width]
    if len(whole) < 5:
        return False
    good = [
        4 * np.pi * r.area / max(r.perimeter, 1) ** 2 >= ROUNDNESS
        and r.axis_major_length <= ASPECT * max(r.axis_minor_length, 1e-6)
        for r in whole
    ]
    return np.mean(good) >= 0.9


def _write(out: Path, pairs: Iterator[Pair]) -> tuple[int, int]:
    images = beads = 0
    for folder in ("images", "points"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for image, points in pairs:
        shutil.copy(image, out / "images" / image.name)
        points.to_csv(out / "points" / f"{image.stem}.csv", index=False, float_format="%.2f")
        images += 1
        beads += int((points["certain"] == 1).sum()) if "certain" in points else len(points)
    return images, beads


if __name__ == "__main__":
    main()
