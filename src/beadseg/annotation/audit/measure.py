"""Measure one sample: how its mask lies on its image, faults of its labels, and its light, without any model."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from beadseg.annotation.audit import thresholds
from beadseg.annotation.audit.duplicates import fits
from beadseg.annotation.audit.measurement import (
    ErrorRegions,
    FitNumbers,
    PlaneMeasurement,
    RadiusNumbers,
    encode_points,
    error_regions,
    interior,
)
from beadseg.annotation.audit.registration import (
    TOLERANCES,
    Fit,
    Transform,
    local_shifts,
    nearest_pairs,
    oriented,
    register,
)
from beadseg.annotation.audit.response import Peaks, Polarity, Radii, find_peaks, measure_radii, response, strength
from beadseg.data.masks import count_objects, equal_regions
from beadseg.model.inputs import luminance

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.data.dataset import Target

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]

SMALLEST_PIECE = 0.1
"""Smaller pieces of a label, as a share of the typical area, are specks and no second piece."""
PAIR_AREA = 1.4
"""Two halves of a bead have at most this many typical areas together."""

BLOCKS = 8
"""Blocks along a side, at most, whose medians are compared."""
STRIDE = 3
"""Step between the rows and columns that give a block's level."""
BLOCK_DIAMETERS = 4
"""Smallest side of a block, in bead diameters, so that beads do not fill it."""


@dataclass(frozen=True)
class Settings:
    """What all samples of a data set are measured with.

    Attributes
    ----------
    diameter : float
        Bead diameter, px.
    polarity : {"dark", "bright"}
        What beads are against the background.
    response : float
        Typical answer of the bead filter, in units of contrast.
    """

    diameter: float
    polarity: Polarity
    response: float

    @property
    def radius(self) -> float:
        """Bead radius, px."""
        return self.diameter / 2


def measure_plane(name: str, pixels: NDArray[Any], target: Target, settings: Settings) -> PlaneMeasurement:
    """Measure one plane.

    Parameters
    ----------
    name : str
        Of the plane.
    pixels : (C, Y, X) array
        The image.
    target : Target
        Its annotation, of the same size.
    settings : Settings
        Of the data set.
    """
    mask = target.foreground
    grey = luminance(pixels)
    seen = strength(pixels, settings.polarity, settings.diameter)
    inverted = _is_inverted(seen, mask, settings)
    if inverted:
        mask = ~mask
    marked = mask_beads(mask, settings)
    answer = response(seen, settings.radius)
    opposite = _is_opposite(answer, marked, settings)
    if opposite:
        seen, answer = -seen, -answer
    shown = target.ignore
    beads, typical = image_beads(answer, settings)
    beads, marked = _counted(beads, shown), _counted(marked, shown)
    comparison = _compare(seen, answer, mask, beads, marked, typical, settings)
    faults = label_faults(target.labels, beads, typical, settings.radius)
    low, high = _saturation(pixels)
    level, unevenness = light_numbers(grey, pixels.dtype, settings.diameter)
    return PlaneMeasurement(
        plane=name,
        height=mask.shape[0],
        width=mask.shape[1],
        image_dtype=str(pixels.dtype),
        image_digest=_digest(pixels),
        mask_digest=_digest(np.packbits(target.foreground)) if target.foreground.any() else "",
        marked_share=float(target.foreground.mean()),
        objects=target.objects if target.labels is not None else count_objects(target.foreground),
        has_labels=target.labels is not None,
        opposite=opposite,
        inverted=inverted,
        response=typical if len(beads) else None,
        under_marked=float(np.median(at(answer, marked.position))) if len(marked) else None,
        merged=faults[0],
        broken=faults[1],
        saturated_low=low,
        saturated_high=high,
        level=level,
        unevenness=unevenness,
        image_points=encode_points(clear(beads, typical).position),
        mask_points=encode_points(marked.position),
        doubts=tuple((doubt.kind, str(doubt)) for doubt in target.doubts()),
        **comparison,
    )


def image_beads(answer: NDArray[np.float32], settings: Settings) -> tuple[Peaks, float]:
    """Return the beads that an image's `answer` (Y, X) shows, and their typical height."""
    peaks = find_peaks(answer, thresholds.FAINTEST * settings.response)
    if len(peaks) == 0:
        return peaks, settings.response
    typical = float(np.median(peaks.height))
    return peaks.where(peaks.height > thresholds.FAINTEST * typical), typical


def clear(peaks: Peaks, typical: float) -> Peaks:
    """Return the peaks that are beads for sure."""
    return peaks.where((peaks.height >= thresholds.CLEAR * typical) & (peaks.roundness >= thresholds.ROUND))


def mask_beads(mask: Bools, settings: Settings, radius: float | None = None) -> Peaks:
    """Return the beads that a (Y, X) mask marks, found as they are in an image; smaller discs by a smaller filter."""
    if not mask.any():
        return find_peaks(np.zeros((3, 3), np.float32), 1.0)
    own = typical_radius(mask)
    if radius is None:
        radius = max(0.3 * settings.radius, own) if own < 0.85 * settings.radius else settings.radius
    answer = response(mask.astype(np.float32), radius, thresholds.MASK_BLUR * radius)
    return find_peaks(answer, thresholds.MASK_PEAK)


def typical_radius(mask: Bools) -> float:
    """Return the radius of discs of the mask's ratio of area to outline, px: twice that ratio."""
    steps = np.count_nonzero(mask[1:] != mask[:-1]) + np.count_nonzero(mask[:, 1:] != mask[:, :-1])
    # On a grid the outline of a disc has 4/pi times its true length.
    return 2 * float(np.count_nonzero(mask)) / max(1.0, steps * math.pi / 4)


def _is_inverted(seen: NDArray[np.float32], mask: Bools, settings: Settings) -> bool:
    """Tell whether more than half is marked, and what is not marked looks like beads."""
    if not 0.5 < mask.mean() < 1.0:
        return False
    return float(seen[~mask].mean()) - float(seen[mask].mean()) > thresholds.INVERTED * settings.response


def _is_opposite(answer: NDArray[np.float32], marked: Peaks, settings: Settings) -> bool:
    """Tell whether the beads have the other polarity; the halo of beads beside a misplaced mask is not a bead."""
    if len(marked) < thresholds.FEWEST_PAIRS:
        return False
    if float(np.median(at(answer, marked.position))) >= -thresholds.FAINTEST * settings.response:
        return False
    own, other = (
        fits(marked.position, image_beads(sign * answer, settings)[0].position, settings.radius) for sign in (1, -1)
    )
    return own < thresholds.FITS or other > own


def at(plane: NDArray[np.generic], points: Floats) -> NDArray[Any]:
    """Return the values of `plane` (Y, X) at the pixels nearest to (N, 2) `points`."""
    rows, columns = np.rint(points).astype(np.int64).T
    height, width = plane.shape
    found: NDArray[Any] = plane[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]
    return found


def around(plane: NDArray[Any], points: Floats, reach: int) -> NDArray[Any]:
    """Return the largest value of `plane` within `reach` px (a square) of each of (N, 2) `points`."""
    offsets = np.arange(-reach, reach + 1)
    grid = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), axis=-1).reshape(-1, 2)
    return np.asarray(at(plane, (points[:, np.newaxis, :] + grid).reshape(-1, 2)).reshape(len(points), -1).max(axis=1))


def _counted(peaks: Peaks, ignore: Bools | None) -> Peaks:
    return peaks if ignore is None or len(peaks) == 0 else peaks.where(~at(ignore, peaks.position))


def _compare(
    seen: NDArray[np.float32],
    answer: NDArray[np.float32],
    mask: Bools,
    beads: Peaks,
    marked: Peaks,
    typical: float,
    settings: Settings,
) -> dict[str, Any]:
    """Return the fields of a `PlaneMeasurement` that compare mask and image."""
    shape = (mask.shape[0], mask.shape[1])
    transform = Transform((np.array(shape, np.float64) - 1) / 2)
    plain = best = None
    if len(beads) and len(marked):
        plain, best, marked = _fit(mask, beads, marked, shape, settings)
        if best.agreement >= thresholds.FITS and best.pairs >= thresholds.FEWEST_PAIRS:
            transform = best.transform
    turned = np.ascontiguousarray(oriented(mask, transform.orientation))
    if transform.orientation:
        marked = mask_beads(turned, settings)
    return {
        "plain": plain and _numbers(plain),
        "best": best and _numbers(best),
        "parts": local_shifts(transform(marked.position), beads.position, shape, settings.radius),
        "missing": _missing(clear(beads, typical), turned, marked, transform, settings.radius),
        "extra": _extra(answer, marked, transform, typical, settings.radius),
        "radii": _radii(seen, turned, beads, marked, transform, settings.radius),
    }


def _fit(
    mask: Bools, beads: Peaks, marked: Peaks, shape: tuple[int, int], settings: Settings
) -> tuple[Fit, Fit, Peaks]:
    """Register the mask; where it does not fit and its discs are large, also with a filter of their own size."""
    plain, best = register(marked.position, beads.position, shape, settings.radius)
    own = typical_radius(mask)
    if best.agreement >= thresholds.FITS or own < 1.2 * settings.radius:
        return plain, best, marked
    larger = mask_beads(mask, settings, min(own, 2.5 * settings.radius))
    if len(larger) == 0:
        return plain, best, marked
    other, other_best = register(larger.position, beads.position, shape, settings.radius)
    if other_best.agreement <= best.agreement:
        return plain, best, marked
    return other, other_best, larger


def _missing(beads: Peaks, mask: Bools, marked: Peaks, transform: Transform, radius: float) -> Any:
    """Find clear beads with nothing marked on them."""
    inside = beads.where(interior(beads.position, mask.shape, thresholds.MARGIN * radius))
    if len(inside) == 0:
        return error_regions(inside.position, 0, mask.shape, radius)
    back = transform.back(inside.position)
    covered = around(mask, back, 1)
    if len(marked):
        covered = covered | (cKDTree(marked.position).query(back)[0] < radius)
    # What the mask does not reach after the transform cannot be marked there.
    possible = interior(back, mask.shape, 0.0)
    return error_regions(inside.position[~covered & possible], int(possible.sum()), mask.shape, radius)


def _extra(answer: NDArray[np.float32], marked: Peaks, transform: Transform, typical: float, radius: float) -> Any:
    """Find marked places where the image answers (nearly) nothing."""
    moved = transform(marked.position)
    inside = interior(moved, answer.shape, thresholds.MARGIN * radius)
    moved = moved[inside]
    if len(moved) == 0:
        return error_regions(moved, 0, answer.shape, radius)
    nothing = around(answer, moved, max(1, round(0.6 * radius))) < thresholds.NOTHING * typical
    return error_regions(moved[nothing], len(moved), answer.shape, radius)


def _radii(
    seen: NDArray[np.float32], mask: Bools, beads: Peaks, marked: Peaks, transform: Transform, radius: float
) -> RadiusNumbers | None:
    if len(beads) == 0 or len(marked) == 0:
        return None
    first, second = nearest_pairs(transform(marked.position), cKDTree(beads.position), TOLERANCES[-1] * radius)
    if len(first) == 0:
        return None
    on_image = beads.position[second]
    others = np.concatenate((beads.position, transform(marked.position)))
    found: Radii | None = measure_radii(seen, mask, on_image, transform.back(on_image), others, radius)
    if found is None:
        return None
    return RadiusNumbers(
        image=found.image, mask=found.mask, width=found.width, contrast=found.contrast, rays=found.rays
    )


def _numbers(fit: Fit) -> FitNumbers:
    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    moved = fit.transform
    a, b, c, d = (float(value) for value in moved.matrix.ravel())
    return FitNumbers(
        orientation=moved.orientation,
        dy=float(moved.shift[0]),
        dx=float(moved.shift[1]),
        scale=moved.scale,
        rotation=moved.rotation,
        stretch=moved.stretch,
        pairs=fit.pairs,
        marked=fit.marked,
        seen=fit.seen,
        shift_error=finite(fit.shift_error),
        scale_error=finite(fit.scale_error),
        angle_error=finite(fit.angle_error),
        matrix=(a, b, c, d),
    )


def _saturation(pixels: NDArray[Any]) -> tuple[float, float]:
    """Return the share of pixels at the lower and the upper end of the range in any channel; floats have no range."""
    if pixels.dtype.kind not in "iu":
        return 0.0, 0.0
    limit = np.iinfo(pixels.dtype)
    low = (pixels == limit.min).any(axis=0).mean() if pixels.min() == limit.min else 0.0
    high = (pixels == limit.max).any(axis=0).mean() if pixels.max() == limit.max else 0.0
    return float(low), float(high)


def _digest(array: NDArray[Any]) -> str:
    content = hashlib.blake2b(np.ascontiguousarray(array).tobytes(), digest_size=16)
    content.update(f"{array.shape}{array.dtype}".encode())
    return content.hexdigest()


def label_faults(
    labels: NDArray[np.uint32] | None, beads: Peaks, typical: float, radius: float
) -> tuple[ErrorRegions, ErrorRegions]:
    """Return merged and broken labels.

    Parameters
    ----------
    labels : (Y, X) uint32 or None
        Ids; None for a mask without ids, which has no such faults.
    beads : Peaks
        Beads seen in the image.
    typical : float
        Their typical height.
    radius : float
        Bead radius, px.
    """
    if labels is None or not labels.any():
        return ErrorRegions(), ErrorRegions()
    ids, compact = np.unique(labels, return_inverse=True)
    compact = compact.reshape(labels.shape) + (1 if ids[0] > 0 else 0)
    area = np.bincount(compact.ravel())
    area[0] = 0
    usual = float(np.median(area[1:]))
    centres, length = _shapes(compact, len(area))
    count = len(area) - 1
    merged = _merged(compact, area, usual, length, beads, typical)
    broken = np.union1d(_in_pieces(compact, area, usual), _halves(compact, area, usual, centres, radius))
    return (
        error_regions(centres[merged], count, labels.shape, radius),
        error_regions(centres[broken], count, labels.shape, radius),
    )


def _shapes(compact: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
    """Return the centre (N, 2) of every id, px, and its length over its width (N,); those of 0 mean nothing."""
    rows, columns = np.nonzero(compact)
    owner = compact[rows, columns]
    area = np.maximum(1, np.bincount(owner, minlength=count))

    def mean(values: Floats) -> Floats:
        return np.asarray(np.bincount(owner, values, count) / area, np.float64)

    y, x = mean(rows.astype(np.float64)), mean(columns.astype(np.float64))
    dy, dx = rows - y[owner], columns - x[owner]
    # A pixel is not a point: a square of side 1 has a variance of 1/12.
    yy, xx, xy = mean(dy * dy) + 1 / 12, mean(dx * dx) + 1 / 12, mean(dy * dx)
    middle, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    return np.stack((y, x), axis=1), np.sqrt((middle + spread) / np.maximum(middle - spread, 1 / 12))


def _merged(
    compact: NDArray[np.int64], area: NDArray[np.int64], usual: float, length: Floats, beads: Peaks, typical: float
) -> NDArray[np.int64]:
    """Return ids that are far too large, and are long or have two or more beads in them."""
    sure = beads.where(beads.height >= thresholds.CLEAR * typical)
    nearest = np.rint(sure.position).astype(np.int64)
    rows, columns = nearest[:, 0], nearest[:, 1]
    height, width = compact.shape[0], compact.shape[1]
    inside = np.bincount(compact[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)], minlength=len(area))
    inside[0] = 0
    return np.flatnonzero(
        (area >= thresholds.MERGED_AREA * usual) & ((inside >= 2) | (length >= thresholds.MERGED_LENGTH))
    )


def _in_pieces(compact: NDArray[np.int64], area: NDArray[np.int64], usual: float) -> NDArray[np.int64]:
    """Return ids with two or more separate pieces that are not specks."""
    regions = equal_regions(compact.astype(np.int32), connectivity=2)
    sizes = np.bincount(regions.ravel())
    first = np.zeros(len(sizes), np.int64)
    first[regions.ravel()] = compact.ravel()
    large = sizes >= max(2.0, SMALLEST_PIECE * usual)
    large[0] = False
    pieces = np.bincount(first[large], minlength=len(area))
    pieces[0] = 0
    return np.flatnonzero(pieces >= 2)


def _halves(
    compact: NDArray[np.int64], area: NDArray[np.int64], usual: float, centres: Floats, radius: float
) -> NDArray[np.int64]:
    """Return the first of two touching ids that are both small and together make up one bead."""
    small = area < thresholds.BROKEN_AREA * usual
    small[0] = False
    pairs = []
    for one, other in ((compact[1:], compact[:-1]), (compact[:, 1:], compact[:, :-1])):
        touching = (one != other) & small[one] & small[other]
        pairs.append(np.stack((one[touching], other[touching]), axis=1))
    found = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    together = area[found].sum(axis=1) <= PAIR_AREA * usual
    near = np.hypot(*(centres[found[:, 0]] - centres[found[:, 1]]).T) <= 1.2 * radius
    border = _at_border(compact, len(area))
    return np.unique(found[together & near & ~border[found].any(axis=1)][:, 0])


def _at_border(compact: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    touches = np.zeros(count, bool)
    touches[np.concatenate([compact[0], compact[-1], compact[:, 0], compact[:, -1]])] = True
    return touches


def light_numbers(grey: NDArray[np.float32], dtype: np.dtype[Any], diameter: float) -> tuple[float, float]:
    """Return level and unevenness.

    Parameters
    ----------
    grey : (Y, X) float32
        Brightness, in the image's own units.
    dtype : numpy.dtype
        Of the image: its range is that of integers; floats are measured against their own largest value.
    diameter : float
        Bead diameter, px.

    Returns
    -------
    level : float
        Median over the range.
    unevenness : float
        Difference of the brightest and the darkest block's 60th percentile, over the median; 0 where that is not
        positive. (Beads darken a percentile of 60 less than a median.)
    """
    top = float(np.iinfo(dtype).max) if dtype.kind in "iu" else max(float(np.abs(grey).max()), 1e-12)
    median = float(np.median(grey[::2, ::2]))
    if median <= 0:
        return median / top, 0.0
    step = [max(1, min(BLOCKS, int(length / (BLOCK_DIAMETERS * diameter)))) for length in grey.shape]
    rows, columns = (np.linspace(0, n, k + 1).astype(int) for n, k in zip(grey.shape, step, strict=True))
    levels = [
        _upper(grey[a:b:STRIDE, c:d:STRIDE])
        for a, b in itertools.pairwise(rows)
        for c, d in itertools.pairwise(columns)
    ]
    return median / top, (max(levels) - min(levels)) / median


def _upper(values: NDArray[np.float32]) -> float:
    """Return the 60th percentile, without the interpolation that makes `numpy.percentile` slow."""
    at = int(0.6 * (values.size - 1))
    return float(np.partition(values, at, axis=None)[at])
