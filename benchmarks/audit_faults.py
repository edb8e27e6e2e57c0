"""The faults that `audit.py` injects: what each does to a sample's files, and which finding must name it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import imageio.v3 as iio
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Callable

NEIGHBOUR = ((1, 0), (-1, 0), (0, 1), (0, -1))

Changed = Literal["masks", "images", "labels", "jpeg", "new sample", "swapped", "split", "none"]
"""What a fault changes. ``labels`` gives the sample ids; ``jpeg`` a mask in that format."""


@dataclass(frozen=True)
class Tile:
    """A simulated tile with its true labels and number of beads."""

    name: str
    beads: int
    image: np.ndarray
    labels: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        """Return the true mask, 0 and 255."""
        return np.where(self.labels > 0, 255, 0).astype(np.uint8)


@dataclass(frozen=True)
class Fault:
    """A fault of one strength: what it does to a tile, and what must be found."""

    name: str
    strength: str
    inject: Callable[[Tile, np.random.Generator], np.ndarray]
    codes: tuple[str, ...] = ()
    changes: Changed = "masks"
    diameter: float = 7.0
    weakest: bool = False
    least: int = 20
    truth: Callable[[np.random.Generator], dict[str, float]] | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """Return the codes that are right."""
        return self.codes or (self.name,)


def faults() -> list[Fault]:
    """Return all faults, each at every strength."""
    return [*_geometry(), *_marks(), *_files(), *_images(), *_labels(), *_large()]


def _geometry() -> list[Fault]:
    made = [
        Fault("shift", f"{px} px", lambda t, r, px=px: shifted(t, r, px), weakest=px == 1,
              truth=lambda r, px=px: dict(zip(("dy", "dx"), direction(r, px), strict=True)))
        for px in range(1, 9)
    ]  # fmt: skip
    made += [
        Fault("local shift", f"a quarter by {px} px", lambda t, r, px=px: locally_shifted(t, r, px), ("shift",),
              least=100, weakest=px == 3)
        for px in (3, 5)
    ]  # fmt: skip
    made += [
        Fault("scale", f"{percent} %", lambda t, r, p=percent: mapped(t, np.eye(2) * (1 + sign(r) * p / 100)),
              weakest=percent == 1, truth=lambda r, p=percent: {"scale": sign(r) * p})
        for percent in (1, 2, 3, 4)
    ]  # fmt: skip
    made += [
        Fault("affine", f"turned by {degrees} degrees", lambda t, r, d=degrees: mapped(t, turn(sign(r) * d)),
              weakest=degrees == 1)
        for degrees in (1, 2, 3)
    ]  # fmt: skip
    made += [
        Fault("affine", f"one axis by {percent} %", lambda t, r, p=percent: mapped(t, np.diag((1 + p / 100, 1.0))),
              weakest=percent == 3)
        for percent in (3, 5)
    ]  # fmt: skip
    named = ((4, "mirrored"), (6, "upside down"), (1, "quarter turn"), (2, "half turn"), (5, "transposed"))
    made += [Fault("orientation", name, lambda t, r, n=number: turned(t.mask, n)) for number, name in named]
    return [*made, Fault("swapped", "two masks", lambda t, r: t.mask, ("mismatch",), "swapped")]


def _marks() -> list[Fault]:
    made = [
        Fault("partial", f"{percent} %", lambda t, r, p=percent: unmarked(t, r, p / 100), weakest=percent == 10)
        for percent in (10, 20, 30, 40, 50, 60)
    ]
    made += [
        Fault("extra", f"{percent} %", lambda t, r, p=percent: invented(t, r, p / 100), weakest=percent == 10)
        for percent in (10, 20, 40)
    ]
    made += [Fault("dilated", f"{px} px", lambda t, r, px=px: dilated(t, px), weakest=px == 1) for px in (1, 2, 3)]
    made += [Fault("eroded", f"{px} px", lambda t, r, px=px: eroded(t, px), weakest=px == 1) for px in (1, 2)]
    made += [
        Fault("soft", f"blurred by {sigma} px", lambda t, r, s=sigma: blurred(t, s), weakest=sigma == 0.7)
        for sigma in (0.7, 1.5)
    ]
    return [
        *made,
        Fault("empty", "nothing marked", lambda t, r: np.zeros_like(t.mask)),
        Fault("full", "all marked", lambda t, r: np.full_like(t.mask, 255)),
        Fault("inverted", "0 and 255", lambda t, r: 255 - t.mask),
    ]


def _files() -> list[Fault]:
    return [
        Fault("size", "10 rows cut off", lambda t, r: t.mask[:-10]),
        Fault("dtype", "mask as JPEG", lambda t, r: t.mask, changes="jpeg"),
        Fault("duplicate", "same file", lambda t, r: t.image, changes="new sample"),
        Fault("duplicate", "mirrored", lambda t, r: np.ascontiguousarray(t.image[:, ::-1]), changes="new sample"),
        Fault("duplicate", "darker, noise, JPEG", resaved, changes="new sample"),
        Fault("duplicate", "three quarters", lambda t, r: cut_out(t), changes="new sample", weakest=True),
        Fault("leak", "tiles drawn at random", lambda t, r: t.mask, changes="split"),
    ]


def _images() -> list[Fault]:
    made = [
        Fault("focus", f"blurred by {sigma} px", lambda t, r, s=sigma: rounded(ndimage.gaussian_filter(
              t.image.astype(float), (s, s, 0))), changes="images", weakest=sigma == 2)
        for sigma in (2, 2.5, 4)
    ]  # fmt: skip
    made += [
        Fault("saturated", f"{share} % white", lambda t, r, s=share: rounded(
              t.image * (255 / np.percentile(t.image.max(axis=2), 100 - s))), changes="images", weakest=share == 2)
        for share in (2, 50)
    ]  # fmt: skip
    made += [
        Fault("light", f"from {low} to {high} times", lambda t, r, a=low, b=high: sloped(t, a, b), changes="images",
              weakest=low > 0.5)
        for low, high in ((0.6, 1.2), (0.35, 1.3))
    ]  # fmt: skip
    return [*made, Fault("polarity", "negative", lambda t, r: 255 - t.image, changes="images")]


def _labels() -> list[Fault]:
    return [
        Fault("none", "true ids", lambda t, r: t.labels, ("merged", "broken"), "none"),
        Fault("merged", "10 % of touching pairs, 4 at least", lambda t, r: merged(t, r, 0.1), changes="labels",
              weakest=True, least=60),
        Fault("merged", "40 % of touching pairs", lambda t, r: merged(t, r, 0.4), changes="labels", least=60),
        Fault("broken", "10 % cut in two", lambda t, r: broken(t, r, 0.1), changes="labels", weakest=True, least=40),
        Fault("broken", "30 % cut in two", lambda t, r: broken(t, r, 0.3), changes="labels"),
    ]  # fmt: skip


def _large() -> list[Fault]:
    """Return what needs 12-px beads: the mask of 7-px beads eroded by 3 px is empty."""
    return [Fault("eroded", "3 px (12-px beads)", lambda t, r: eroded(t, 3), diameter=12.0)]


def direction(rng: np.random.Generator, px: int) -> tuple[int, int]:
    """Return a shift of about `px` in whole pixels: dy, dx."""
    angle = float(rng.uniform(0, 2 * np.pi))
    if px == 1:
        return NEIGHBOUR[int(2 * angle / np.pi) % 4]
    return round(px * np.sin(angle)), round(px * np.cos(angle))


def sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def shifted(tile: Tile, rng: np.random.Generator, px: int) -> np.ndarray:
    return ndimage.shift(tile.mask, direction(rng, px), order=0)


def locally_shifted(tile: Tile, rng: np.random.Generator, px: int) -> np.ndarray:
    """Shift the beads whose centres lie in one quarter of the image."""
    height, width = tile.mask.shape
    top, left = (int(rng.integers(2)) * side // 2 for side in (height, width))
    ids = np.arange(1, int(tile.labels.max()) + 1)
    centres = np.array(ndimage.center_of_mass(tile.labels > 0, tile.labels, ids)) - (top, left)
    chosen = ids[((centres >= 0) & (centres < (height / 2, width / 2))).all(axis=1)]
    part = np.isin(tile.labels, chosen)
    moved = ndimage.shift(part.astype(np.uint8), direction(rng, px), order=0) > 0
    return np.where(moved | ((tile.mask > 0) & ~part), 255, 0).astype(np.uint8)


def turn(degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s], [s, c]])


def mapped(tile: Tile, matrix: np.ndarray) -> np.ndarray:
    """Return the mask under a linear map about its centre."""
    centre, inverse = (np.array(tile.mask.shape) - 1) / 2, np.linalg.inv(matrix)
    return ndimage.affine_transform(tile.mask, inverse, centre - inverse @ centre, order=0)


def unmarked(tile: Tile, rng: np.random.Generator, share: float) -> np.ndarray:
    ids = np.arange(1, int(tile.labels.max()) + 1)
    gone = rng.permutation(ids)[: max(1, round(share * len(ids)))]
    return np.where(np.isin(tile.labels, gone), 0, tile.mask).astype(np.uint8)


def invented(tile: Tile, rng: np.random.Generator, share: float) -> np.ndarray:
    """Mark discs of 7 px where no bead is near: this share of the beads, 3 at least."""
    free = np.argwhere(ndimage.distance_transform_edt(tile.mask == 0) > 8)
    free = rng.permutation(free[((free >= 8) & (free < np.array(tile.mask.shape) - 8)).all(axis=1)])
    wanted, chosen = max(3, round(share * tile.beads)), np.empty((0, 2))
    for point in free[:2000]:
        if len(chosen) < wanted and (len(chosen) == 0 or cKDTree(chosen).query(point)[0] > 8):
            chosen = np.vstack((chosen, point))
    rows, columns = np.indices(tile.mask.shape)
    out = tile.mask
    for y, x in chosen:
        out = np.where((rows - y) ** 2 + (columns - x) ** 2 <= 3.5**2, 255, out)
    return out.astype(np.uint8)


def dilated(tile: Tile, px: int) -> np.ndarray:
    return 255 * ndimage.binary_dilation(tile.mask, iterations=px).astype(np.uint8)


def eroded(tile: Tile, px: int) -> np.ndarray:
    return 255 * ndimage.binary_erosion(tile.mask, iterations=px).astype(np.uint8)


def blurred(tile: Tile, sigma: float) -> np.ndarray:
    return np.rint(ndimage.gaussian_filter(tile.mask.astype(float), sigma)).astype(np.uint8)


def cut_out(tile: Tile) -> np.ndarray:
    height, width = tile.mask.shape
    return np.ascontiguousarray(tile.image[: height * 7 // 8, : width * 6 // 7])


def turned(mask: np.ndarray, number: int) -> np.ndarray:
    return np.ascontiguousarray(np.rot90(np.fliplr(mask) if number >= 4 else mask, number % 4))


def resaved(tile: Tile, rng: np.random.Generator) -> np.ndarray:
    noisy = rounded(0.85 * tile.image + rng.normal(0, 2, tile.image.shape))
    return iio.imread(iio.imwrite("<bytes>", noisy, extension=".jpg", quality=80), extension=".jpg")


def sloped(tile: Tile, low: float, high: float) -> np.ndarray:
    """Make the light grow from the upper to the lower border."""
    return rounded(tile.image * np.linspace(low, high, len(tile.image))[:, np.newaxis, np.newaxis])


def rounded(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def merged(tile: Tile, rng: np.random.Generator, share: float) -> np.ndarray:
    """Give both beads of touching pairs one id."""
    labels = tile.labels.copy()
    pairs = [np.stack((a[(a != b) & (a > 0) & (b > 0)], b[(a != b) & (a > 0) & (b > 0)]), axis=1)
             for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1]))]  # fmt: skip
    found = rng.permutation(np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0))
    for one, other in found[: max(4, round(share * len(found)))]:
        labels[labels == other] = one
    return labels


def broken(tile: Tile, rng: np.random.Generator, share: float) -> np.ndarray:
    """Give the upper halves of beads ids of their own."""
    labels = tile.labels.copy()
    ids = rng.permutation(np.arange(1, int(labels.max()) + 1))
    rows = np.indices(labels.shape)[0]
    for number in ids[: max(4, round(share * len(ids)))]:
        bead = labels == number
        if bead.any():
            labels[bead & (rows < round(float(rows[bead].mean())))] = int(tile.labels.max()) + int(number)
    return labels
