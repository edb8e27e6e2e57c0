"""Counts of the general model, without options, where nothing was annotated.

    python benchmarks/general.py --tiles DATASET/images --sets sets --out runs/general

prints per set and method: F1 of bead centres (pooled; matched one to one within half a bead's diameter), precision and
recall, bias of the count, median error of the bead diameter, images flagged, those flagged of the images that are
counted well (F1 of at least 0.8), images whose count is off by more than a factor of two without a flag, and seconds
per image.

Sets: 600 simulated images in five families (``--images``), with seeds and ranges that training did not have; the marked
crops of real tiles (`gold/README.md`) and the sum over the sparse ones, with ``--tiles``; any folders of images with
points, with ``--sets`` (`general_convert.py` makes four of public data); 250 pictures without beads.

It also runs trackpy's `locate` and scikit-image's `blob_log` on the same images. Both receive the median bead
diameter of every image, and their parameters are tuned on images of the same set. ``--model NAME=RUN`` adds another
model, and ``--results NAME=CSV`` (columns set, picture, y, x) the centres that another program found in the images of
``--export``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import tifffile
from general_empty import empty_pictures
from general_sets import SPARSE_BEADS, Picture, folder_sets, gold_set, score, simulated_sets, sparse_set, unknown
from peers import classical
from scipy import ndimage
from skimage.transform import resize

from beadseg.cli.config_options import use_threads
from beadseg.data.image_io import Image
from beadseg.files import write_atomically
from beadseg.model.inputs import luminance
from beadseg.predict.counts import count_row
from beadseg.predict.segmenter import Segmenter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from general_sets import Centres, Truth
    from numpy.typing import NDArray

    Pixels = NDArray[np.generic]
    Loaded = tuple[str, Pixels, Truth]
    Method = Callable[[str, Pixels, Truth], "Found"]

TUNING = 6
"""Images of a set on which the peers' parameters are chosen, evenly spread."""
PEER_DIAMETER = 9.0
"""Images are resized for the peers so that their median bead has this diameter, px."""
BESIDE = 3
"""Margin around the judged part of an image that the other methods see, bead diameters."""
GRIDS = {
    "trackpy": {
        "polarity": (-1, 1),
        "minmass": (0.5, 1.0, 2.0, 4.0, 8.0, 14.0, 22.0, 35.0),
        "separation": (4.0, 5.5, 7.5),
        "diameter": (7, 9, 11),
    },
    "blob_log": {
        "polarity": (-1, 1),
        "threshold": (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4),
        "overlap": (0.4, 0.7, 0.95),
        "sigma": ((3.2, 3.2, 1), (2.5, 2.5, 1), (2.0, 2.0, 1), (2.0, 4.5, 4)),
    },
}
"""Parameters in the order in which they are tuned, one after the other, twice."""
OFF = 2.0
"""A count that is off by more than this factor has to be flagged."""
GOOD = 0.8
"""An image is counted well from this F1 on."""
FEW = 5
"""Counts up to this say nothing about factors."""
COLUMNS = (
    "set", "method", "images", "beads", "F1", "precision", "recall", "bias %", "diameter error %", "flagged %",
    "of good ones %", "off, unflagged", "s",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Found:
    """What a method says of an image: centres (N, 2), bead diameter in px (0 where it tells none), and its flags."""

    centres: Centres
    diameter: float = 0.0
    flags: str = ""


@dataclass(frozen=True)
class Row:
    """One method on one image; `count` is that of the whole image, the others are of the part that is judged."""

    picture: str
    tp: int
    fp: int
    fn: int
    count: int
    diameter: float
    true_diameter: float
    flags: str
    seconds: float

    @property
    def good(self) -> bool:
        """Whether the image is counted well, so that a flag would be wrong."""
        return 2 * self.tp >= GOOD * (2 * self.tp + self.fp + self.fn) and self.tp > 0

    @property
    def off(self) -> bool:
        """Whether the count is wrong by more than a factor of two, without a flag."""
        counted, true = self.tp + self.fp, self.tp + self.fn
        return not self.flags and max(counted, true) > max(OFF * min(counted, true), FEW)


def main() -> None:
    arguments = _arguments()
    use_threads(arguments.threads)
    models: dict[str, Method] = {name: partial(_ask, Segmenter.load(run)) for name, run in arguments.model.items()}
    results: dict[str, dict[str, list[Row]]] = {}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, pictures in _sets(arguments).items():
        loaded = [(picture.name, *picture.load()) for picture in pictures[arguments.first :: arguments.every]]
        if arguments.export:
            _export(arguments.export / name, loaded)
        methods = models | {who: _read_results(file, name) for who, file in arguments.results.items()}
        methods |= _peers(arguments.peers, loaded)
        results[name] = {method: [_row(one, find) for one in loaded] for method, find in methods.items()}
        print(_table({name: results[name]}), flush=True)
        document = {key: {m: [asdict(row) for row in rows] for m, rows in by.items()} for key, by in results.items()}
        write_atomically(arguments.out / "general.json", json.dumps(document, indent=1))
    print("", _table(_with_sums(results)), "", sep="\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/general"))
    parser.add_argument("--model", type=_named, action="append", default=[], metavar="NAME=RUN", help="'' for none")
    parser.add_argument("--tiles", type=Path, help="folder of the real tiles that gold/beads.csv tells of")
    parser.add_argument("--sets", type=Path, help="folder of folders with images/ and points/ or labels/")
    parser.add_argument("--images", type=int, default=600, help="simulated images")
    parser.add_argument("--most", type=int, default=100, help="images of each folder of --sets")
    parser.add_argument("--only", default="", help="sets whose names hold one of these words: simulated,gold,sparse …")
    parser.add_argument("--peers", type=lambda text: [name for name in text.split(",") if name], default=[*GRIDS])
    parser.add_argument("--results", type=_named, action="append", default=[], metavar="NAME=CSV")
    parser.add_argument("--export", type=Path, help="write the images here, as TIFF, for other programs")
    parser.add_argument("--every", type=int, default=1, help="take every n-th image of a set only")
    parser.add_argument("--first", type=int, default=0, help="the first of these")
    parser.add_argument("--threads", type=int, help="CPU threads; all that there are when not given")
    arguments = parser.parse_args()
    chosen = dict(arguments.model or [("general", "general")])
    arguments.model = {name: run for name, run in chosen.items() if name}
    arguments.results = {name: pd.read_csv(file) for name, file in arguments.results}
    return arguments


def _named(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value or name


def _sets(arguments: argparse.Namespace) -> dict[str, list[Picture]]:
    sets = simulated_sets(arguments.images) if arguments.images else {}
    if arguments.tiles:
        sets |= {"gold": gold_set(arguments.tiles), "sparse": sparse_set(arguments.tiles)}
    if arguments.sets:
        sets |= folder_sets(arguments.sets, arguments.most)
    sets["no beads"] = [Picture(name, lambda make=make: (make(), unknown())) for name, make in empty_pictures().items()]
    words = [word for word in arguments.only.split(",") if word]
    return {name: pictures for name, pictures in sets.items() if not words or any(word in name for word in words)}


def _ask(segmenter: Segmenter, name: str, pixels: Pixels, truth: Truth) -> Found:
    """Return what beadseg says of an image without any option, flags as in ``counts.csv``."""
    prediction = segmenter.predict(pixels)
    axes = "CYX" if pixels.ndim == 3 else "YX"
    row = count_row(name, "", Image(pixels, axes), prediction, segmenter)
    beads = prediction.beads[["y", "x"]].to_numpy(np.float64)
    return Found(beads, float(row.get("diameter_px") or 0), str(row["flags"]))


def _row(one: Loaded, find: Method) -> Row:
    name, pixels, truth = one
    started = time.perf_counter()
    found = find(name, pixels, truth)
    seconds = time.perf_counter() - started
    matched = score(found.centres, truth)
    return Row(
        name, matched.tp, matched.fp, matched.fn, len(found.centres), round(found.diameter, 3),
        round(truth.diameter, 3), found.flags, round(seconds, 4),
    )  # fmt: skip


def _peers(names: Sequence[str], loaded: Sequence[Loaded]) -> dict[str, Method]:
    """Return the peers with the parameters that suit these images best; none where no beads are known."""
    known = [one for one in loaded if len(one[2].centres)]
    if not known:
        return {}
    few = [(*_relief(pixels, truth), truth) for _, pixels, truth in known[:: max(1, len(known) // TUNING)]]
    methods: dict[str, Method] = {}
    for name in names:
        if name == "trackpy" and importlib.util.find_spec("trackpy") is None:
            print("trackpy was not run: it is not installed here (pip install trackpy).", flush=True)
            continue
        chosen = _tuned(name, few)
        methods[name] = partial(_ask_peer, name, chosen)
    return methods


def _ask_peer(name: str, parameters: dict[str, object], _name: str, pixels: Pixels, truth: Truth) -> Found:
    relief, corner = _relief(pixels, truth)
    return Found(_peer(name, relief, corner, truth, parameters))


def _tuned(name: str, few: Sequence[tuple[NDArray[np.float64], tuple[int, int], Truth]]) -> dict[str, object]:
    """Choose one parameter after the other by pooled F1 on a few images."""
    grid = GRIDS[name]
    chosen: dict[str, object] = {
        key: values[0 if len(values) < 5 else len(values) // 2] for key, values in grid.items()
    }

    def quality(parameters: dict[str, object]) -> float:
        matched = [score(_peer(name, relief, corner, truth, parameters), truth) for relief, corner, truth in few]
        return sum(matched[1:], matched[0]).f1

    for key in (*grid, *grid):
        chosen[key] = max(grid[key], key=lambda value, key=key: quality(chosen | {key: value}))
    print(f"{name}: {chosen}", flush=True)
    return chosen


def _relief(pixels: Pixels, truth: Truth) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """Return the judged part and its corner in the image: brightness above the ground, beads `PEER_DIAMETER` px wide.

    The strongest structures are about 1.
    """
    grey = np.asarray(luminance(pixels if pixels.ndim == 3 else pixels[None]), np.float64)
    top = left = 0
    if truth.window is not None:
        y, x, height, width = truth.window
        margin = BESIDE * truth.diameter
        top, left = max(int(y - margin), 0), max(int(x - margin), 0)
        grey = grey[top : int(y + height + margin), left : int(x + width + margin)]
    factor = PEER_DIAMETER / (truth.diameter or PEER_DIAMETER)
    shape = tuple(max(round(length * factor), 12) for length in grey.shape)
    grey = resize(grey, shape, order=1, anti_aliasing=factor < 1, preserve_range=True)
    grey = grey - ndimage.median_filter(grey, size=int(3 * PEER_DIAMETER) | 1)
    return np.asarray(grey / max(float(np.percentile(np.abs(grey), 99)), 1e-9)), (top, left)


def _peer(
    name: str, relief: NDArray[np.float64], corner: tuple[int, int], truth: Truth, parameters: dict[str, object]
) -> Centres:
    image = relief * parameters["polarity"]
    rest = {key: value for key, value in parameters.items() if key != "polarity"}
    find = classical.features if name == "trackpy" else classical.blobs
    factor = PEER_DIAMETER / (truth.diameter or PEER_DIAMETER)
    return (find(image, **rest) + 0.5) / factor - 0.5 + np.array(corner)


def _read_results(found: pd.DataFrame, name: str) -> Method:
    own = found[found["set"] == name]
    by = {str(picture): beads[["y", "x"]].to_numpy(np.float64) for picture, beads in own.groupby("picture")}
    return lambda picture, _pixels, _truth: Found(by.get(picture, np.zeros((0, 2))))


def _export(folder: Path, loaded: Sequence[Loaded]) -> None:
    """Write images as TIFF for other programs, grey (Y, X) or colour (Y, X, 3)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, pixels, _ in loaded:
        image = np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels
        tifffile.imwrite(
            folder / f"{name.replace('/', '-')}.tif", image, photometric="rgb" if image.ndim == 3 else None
        )


def _with_sums(results: dict[str, dict[str, list[Row]]]) -> dict[str, dict[str, list[Row]]]:
    """Add the five simulated families together."""
    families = [by for name, by in results.items() if name.startswith("simulated")]
    if not families:
        return results
    every = {method: [row for by in families for row in by[method]] for method in families[0]}
    return {"simulated, all": every, **results}


def _table(results: dict[str, dict[str, list[Row]]]) -> str:
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    for name, by in results.items():
        lines += [f"| {name} | {method} | " + " | ".join(_cells(name, rows)) + " |" for method, rows in by.items()]
    return "\n".join(lines)


def _cells(name: str, rows: Sequence[Row]) -> list[str]:
    """Return the cells of one method on one set."""
    tp, fp, fn = (sum(getattr(row, key) for row in rows) for key in ("tp", "fp", "fn"))
    flagged = f"{100 * np.mean([bool(row.flags) for row in rows]):.1f}"
    seconds = f"{np.mean([row.seconds for row in rows]):.2f}"
    if name == "no beads":
        right = 100 * np.mean([bool(row.flags) or not row.count for row in rows])
        return [str(len(rows)), "0", f"none or flagged: {right:.1f} %", "", "", "", "", flagged, "", "", seconds]
    if name == "sparse":
        count = sum(row.count for row in rows)
        bias = f"{100 * (count / SPARSE_BEADS - 1):+.1f}"
        return [str(len(rows)), str(SPARSE_BEADS), f"counted: {count}", "", "", bias, "", flagged, "", "", seconds]
    good = [bool(row.flags) for row in rows if row.good]
    sizes = [abs(row.diameter / row.true_diameter - 1) for row in rows if row.diameter and row.true_diameter]
    return [
        str(len(rows)), str(tp + fn), f"{2 * tp / max(2 * tp + fp + fn, 1):.4f}", f"{tp / max(tp + fp, 1):.3f}",
        f"{tp / max(tp + fn, 1):.3f}", f"{100 * (tp + fp) / max(tp + fn, 1) - 100:+.1f}",
        f"{100 * np.median(sizes):.1f}" if sizes else "", flagged,
        f"{100 * np.mean(good):.1f}" if good else "", str(sum(row.off for row in rows)), seconds,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
