"""What the values of a mask mean: binary, soft-edged, or one id per object; and the one definition of an object."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree
from skimage.measure import label

from beadseg.data.fields import listed
from beadseg.errors import ImageError
from beadseg.events import Event, OnEvent
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

MaskKind = Literal["binary", "soft", "labels"]
DoubtKind = Literal["inverted", "full", "soft", "pieces", "rings", "specks", "turned", "points", "opposite"]

SLIVER_PX = 4.0
"""Median area, px, below which regions of equal value are soft edges: smaller objects are not counted anyway."""
REGIONS_PER_ID = 1.5
"""Ids may be cut in two by what lies over them, but not often."""
SOFT_LEVELS = 8
"""With at most this many values up to exactly white, large regions of one value are coarse edges and no ids."""
SPARE_PIECES = 2
"""So many pieces more than `REGIONS_PER_ID` allows are still labels: matters where there are few ids."""
SPECK = 0.1
"""Pieces below this share of the largest piece of their id are specks, which painting leaves behind."""
SLIVER_SHARE = 0.25
"""Thin pieces along other objects are slivers when they are this much smaller than the others (medians)."""
DARKEST_WHITE = 16
"""Values up to below this, of 255, are noise on an empty mask; from here to half of white they are not clear."""
PLATEAU = 0.04
"""Neighbours that differ by less than this share of white are level."""
PLATEAU_SHARE = 0.2
"""Share of level pixels between background and white, of all above background, from which they are not soft edges."""
LOST_SHARE, FEWEST_LOST = 0.1, 2
"""Share and number of spots that the cut at half of white would drop, above which grey values are not soft edges."""
CROWDED = 0.5
"""Share of marked pixels above which an annotation is doubtful."""
FEWEST_SPOTS = 3
"""Fewer round spots than this do not make a mask inverted."""
ROUND_ASPECT, ROUND_FILL = 1.5, (0.7, 1.25)
"""Ratio of the sides of a round spot's bounding box, and its area over that of the ellipse in the box."""
SOFT_SHARE = 0.002
"""Share of intermediate values among marked pixels from which a mask has soft edges."""
BROKEN_SHARE = 0.1
"""Share of ids in several pieces from which labels are doubtful."""
FEWEST_RINGS = 5
"""Fewer objects than this are not taken for outlines."""
FEWEST_SPECKS = 10
"""Fewer specks than this are not worth a word."""
SAME_POINT_PX = 1.0
"""Two points nearer than this, px, are one bead that was marked twice."""
DISAGREE = 0.1
"""Share of points beside the mask, or of marked objects without a point, above which the two disagree."""

_LOOKS: dict[DoubtKind, str] = {
    "inverted": "look inverted",
    "full": "mark more than half of the image",
    "soft": "have soft edges",
    "pieces": "have ids in several pieces",
    "rings": "look like outlines",
    "specks": "consist of specks",
    "turned": "may lie turned against the image",
    "opposite": "mark what the prediction leaves out",
}


@dataclass(frozen=True)
class Doubt:
    """Something that an annotation, though it can be read, probably gets wrong.

    Attributes
    ----------
    kind : str
        What it is.
    text : str
        One sentence with numbers.
    remedy : str
        One sentence: what to do about it.
    """

    kind: DoubtKind
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.text} {self.remedy}"


TURNED = Doubt(
    "turned",
    "The image has an orientation tag (EXIF) and was turned as it says; its mask has none.",
    "Check that they fit, or save the image again without the tag.",
)


@dataclass
class Doubts:
    """Doubts about the annotations of a dataset, as its samples are read.

    Attributes
    ----------
    samples : int
        Annotations judged.
    found : dict
        Of every kind of doubt the samples that have it, each with what is doubted there.
    """

    samples: int = 0
    found: dict[DoubtKind, dict[str, Doubt]] = field(default_factory=dict)

    def add(self, sample: str, doubts: Iterable[Doubt]) -> None:
        """Add what is doubted about one sample, or one of its planes."""
        for doubt in doubts:
            self.found.setdefault(doubt.kind, {}).setdefault(sample, doubt)

    def report(self, on_event: OnEvent) -> None:
        """Report every kind of doubt once, as a warning with the names of its samples."""
        for kind, by_sample in self.found.items():
            names = list(by_sample)
            first = by_sample[names[0]]
            text = f"{len(names)} of {plural(self.samples, 'annotation')} {_LOOKS[kind]}: {listed(names)}."
            detail = f"{names[0]}: {first.text} {first.remedy}"
            on_event(Event("doubt", f"{text} {detail}", "warning", {"kind": kind, "samples": names}))


@dataclass(frozen=True, eq=False)
class Mask:
    """An annotation, understood.

    Attributes
    ----------
    foreground : numpy.ndarray
        (Y, X) bool; (T, Y, X), (Z, Y, X) or (T, Z, Y, X) for a stack.
    labels : numpy.ndarray or None
        The same shape, uint32, one id per object, where the file has ids.
    kind : {"binary", "soft", "labels"}
        How the values were understood.
    axes : str
        One letter per dimension.
    soft_share : float
        Share of intermediate values among all pixels above background.
    turned : bool
        The file has an orientation tag (EXIF), and its pixels were turned as it says.
    """

    foreground: np.ndarray
    labels: np.ndarray | None
    kind: MaskKind
    axes: str = "YX"
    soft_share: float = 0.0
    turned: bool = False

    def planes(self) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield foreground and labels, (Y, X), of every plane in storage order."""
        size = self.foreground.shape[-2:]
        foreground = self.foreground.reshape(-1, *size)
        labels = [None] * len(foreground) if self.labels is None else self.labels.reshape(-1, *size)
        yield from zip(foreground, labels, strict=True)


def interpret_mask(values: np.ndarray, axes: str, path: Path) -> Mask:
    """Tell what `values` mean; see the module. Raises `ImageError` where that is not clear."""
    mask = _without_ids(values, axes, path)
    return interpret_labels(values, axes, path) if mask is None else mask


def _without_ids(values: np.ndarray, axes: str, path: Path) -> Mask | None:
    """Return what `values` mean as a mask; None where they are ids."""
    if values.dtype == np.bool_:
        return Mask(values, None, "binary", axes)
    _refuse_negative(values, path)
    present = np.unique(values)
    if len(present) == 1 or (len(present) == 2 and present[0] == 0):
        return Mask(values > 0, None, "binary", axes)
    if _integral(values):
        regions, area = _regions_between(values, present[-1])
        ids = len(present) - 1
        if present[0] == 0 and area >= SLIVER_PX and regions <= REGIONS_PER_ID * ids + 1:
            return None
        coarse = ids <= SOFT_LEVELS and present[-1] in (255, 65535)
        if area >= SLIVER_PX and not coarse:
            detail = f"with {regions} separate regions" if present[0] == 0 else "and no background 0"
            raise _unclear(present, detail, path)
    return _soft(values, present, axes, path)


def _soft(values: np.ndarray, present: np.ndarray, axes: str, path: Path) -> Mask:
    """Cut at half of white; raises `ImageError` where what lies between is not an edge."""
    highest = float(present[-1])
    white = _white(values, highest)
    if present[0] > 0 and highest < white / 2:
        raise _unclear(present, "and no background 0", path)
    if white == 255.0 and DARKEST_WHITE <= highest < white / 2:
        raise _unclear(present, "and nothing as bright as half of white", path)
    above = values > white / 10
    between = above & (values < 0.9 * white)
    if np.count_nonzero(between & _level(values, white)) > PLATEAU_SHARE * np.count_nonzero(above):
        raise _unclear(present, "that fill whole objects with greys", path)
    spots, lost = _lost(values, above, white)
    if lost >= FEWEST_LOST and lost > LOST_SHARE * spots:
        raise _unclear(present, f"with {lost} of {spots} spots below half of white", path)
    share = int(np.count_nonzero(between)) / max(1, int(np.count_nonzero(above)))
    return Mask(values >= white / 2, None, "soft", axes, share)


def _lost(values: np.ndarray, above: np.ndarray, white: float) -> tuple[int, int]:
    """Return how many spots above background there are, and how many of them the cut at half of white would drop."""
    regions = equal_regions(_at_most_3d(above), connectivity=2)
    areas = np.bincount(regions.ravel())
    kept = np.zeros(len(areas), bool)
    kept[regions[_at_most_3d(values) >= white / 2]] = True
    large = areas >= SLIVER_PX
    large[0] = False
    return int(np.count_nonzero(large)), int(np.count_nonzero(large & ~kept))


def _level(values: np.ndarray, white: float) -> np.ndarray:
    """Return where the 3x3 px around a pixel are (nearly) alike; nowhere in planes of less than 3 px."""
    size = (1,) * (values.ndim - 2) + (3, 3)
    highest = ndimage.maximum_filter(values, size=size)
    lowest = ndimage.minimum_filter(values, size=size)
    return np.asarray(highest - lowest <= PLATEAU * white)


def interpret_labels(values: np.ndarray, axes: str, path: Path) -> Mask:
    """Take `values` for ids: 0 is background. Ids beyond uint32 are renumbered, in their order.

    Raises
    ------
    ImageError
        They are not whole numbers of 0 or more; or ids are spread over many pieces or are slivers along others (a mask,
        classes, a JPEG), or one lies around all others (a background that is not 0).
    """
    if values.dtype == np.bool_ or not _integral(values):
        raise ImageError(
            f"Labels must be whole numbers, these are {values.dtype}.", path, "Save one whole number per bead."
        )
    _refuse_negative(values, path)
    labels = whole_ids(values)
    wrong = _unlike_labels(labels, values)
    if wrong:
        raise ImageError(wrong, path, _better_place(values, axes, path))
    return Mask(labels > 0, labels, "labels", axes)


def whole_ids(values: np.ndarray) -> np.ndarray:
    """Return whole numbers of 0 or more as uint32 ids; where one is beyond it, all are renumbered in their order."""
    if values.dtype.itemsize > 4 or values.dtype.kind == "f":
        ids = np.unique(values[values > 0])
        if len(ids) and ids[-1] > np.iinfo(np.uint32).max:
            values = np.where(values > 0, np.searchsorted(ids, values) + 1, 0)
    return values.astype(np.uint32)


def _better_place(values: np.ndarray, axes: str, path: Path) -> str:
    """Return what to do with a file that is not labels: whether it would do as a mask."""
    try:
        mask = _without_ids(values, axes, path)
    except ImageError:
        mask = None
    if mask is None:
        return "Save one number per bead and 0 elsewhere, or 255 on beads and 0 elsewhere in the masks folder."
    return "Move it to the masks folder, or give every bead a number of its own."


def _unlike_labels(labels: np.ndarray, values: np.ndarray) -> str:
    """Return why ids cannot be one per bead; empty where they can."""
    for plane in labels.reshape(-1, *labels.shape[-2:]):
        around = _background_id(plane)
        if around:
            share = np.count_nonzero(plane == around) / plane.size
            number = int(values.reshape(-1)[np.flatnonzero(labels.reshape(-1) == around)[0]])
            return f"The id {number} covers {share:.0%} of the image and lies around the others: it is the background."
    planes = [_pieces(plane) for plane in labels.reshape(-1, *labels.shape[-2:])]
    ids, pieces, slivers = (sum(numbers) for numbers in zip(*planes, strict=True))
    if pieces > REGIONS_PER_ID * ids + SPARE_PIECES:
        if ids == 1:
            number = int(values.max())
            return f"Its only id, {number}, has {pieces} separate pieces: this is a binary mask, not labels."
        return f"Its {ids} ids have {pieces} separate pieces: these are classes or soft edges, not one number per bead."
    if slivers:
        return f"{slivers} of its {pieces} ids are slivers along others: these are soft edges, not one number per bead."
    return ""


def _background_id(plane: np.ndarray) -> int:
    """Return the id that covers most of a plane, reaches all four sides, and is not the only one; 0 for none."""
    if min(plane.shape) < 3:
        return 0
    if 2 * np.count_nonzero(plane) <= plane.size:
        return 0
    numbers, counts = np.unique(plane, return_counts=True)
    most = int(numbers[np.argmax(counts)])
    others = len(numbers) - (2 if numbers[0] == 0 else 1)
    if most == 0 or others == 0 or counts.max() <= CROWDED * plane.size:
        return 0
    sides = (plane[0], plane[-1], plane[:, 0], plane[:, -1])
    return most if all((side == most).any() for side in sides) else 0


def _pieces(labels: np.ndarray) -> tuple[int, int, int]:
    """Return how many ids a plane has, pieces that are not specks, and slivers where these are most of the pieces."""
    compact = _numbered(labels)
    ids = int(np.count_nonzero(np.bincount(compact.ravel())[1:]))
    regions = equal_regions(compact, connectivity=labels.ndim)
    if int(regions.max(initial=0)) <= ids:  # every id is one piece
        return ids, ids, 0
    areas = np.bincount(regions.ravel())
    owner = np.zeros(len(areas), np.int64)
    owner[regions.ravel()] = compact.ravel()
    largest = np.zeros(int(compact.max()) + 1, np.int64)
    np.maximum.at(largest, owner[1:], areas[1:])
    large = areas >= np.maximum(1, SPECK * largest[owner])
    large[0] = False
    thin = large & _thin(regions, len(areas))
    others = large & ~thin
    slivers = int(np.count_nonzero(thin))
    if (
        2 * slivers <= np.count_nonzero(large)
        or not others.any()
        or np.median(areas[thin]) > SLIVER_SHARE * np.median(areas[others])
    ):
        slivers = 0
    return ids, int(np.count_nonzero(large)), slivers


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Return ids as int32, 0 being background: as they are, or without gaps where they are large."""
    if int(labels.max(initial=0)) <= max(65535, 4 * labels.size):
        return labels.astype(np.int32)
    found, numbers = np.unique(labels, return_inverse=True)
    return np.asarray(numbers.reshape(labels.shape).astype(np.int32) + (1 if found[0] > 0 else 0))


def _thin(regions: np.ndarray, count: int) -> np.ndarray:
    """Return which regions have no inner pixel and touch another region."""
    inner = regions > 0
    touching = np.zeros(count, bool)
    for axis in range(regions.ndim - 2, regions.ndim):
        one, other = (np.swapaxes(regions, axis, -1)[..., part] for part in (slice(1, None), slice(None, -1)))
        differs = one != other
        meeting = differs & (one > 0) & (other > 0)
        touching[one[meeting]] = touching[other[meeting]] = True
        edge = np.swapaxes(inner, axis, -1)
        edge[..., 1:] &= ~differs
        edge[..., :-1] &= ~differs
    with_core = np.zeros(count, bool)
    with_core[regions[inner]] = True
    return touching & ~with_core


def doubts_of(
    foreground: np.ndarray,
    labels: np.ndarray | None = None,
    ignore: np.ndarray | None = None,
    soft_share: float = 0.0,
) -> tuple[Doubt, ...]:
    """Judge one annotation by itself, without its image.

    Parameters
    ----------
    foreground : numpy.ndarray
        (Y, X) bool, True on beads.
    labels : numpy.ndarray or None
        (Y, X), one id per bead, where the annotation has ids.
    ignore : numpy.ndarray or None
        (Y, X) bool, True where nothing is said.
    soft_share : float
        `Mask.soft_share`.

    Returns
    -------
    tuple of Doubt
        The worst first; empty for an annotation that looks right.
    """
    found = [*_crowded(foreground, ignore), *_broken(labels), *_rings(foreground), *_specks(foreground, labels)]
    if soft_share >= SOFT_SHARE:
        text = f"The mask has soft edges: {soft_share:.0%} of what it marks is neither background nor white."
        found.append(Doubt("soft", text, "It is cut at half of white; save 0 and 255 to decide yourself."))
    return tuple(found)


def doubts_of_points(
    points: np.ndarray, foreground: np.ndarray | None, ignore: np.ndarray | None = None
) -> tuple[Doubt, ...]:
    """Judge bead centres (N, 2), px, by themselves and, where there is one, by the mask (Y, X) beside them."""
    found = []
    nearest = np.asarray(cKDTree(points).query(points, 2)[0])[:, 1] if len(points) > 1 else np.empty(0)
    double = int(np.count_nonzero(nearest < SAME_POINT_PX))
    if double:
        text = f"{double} of {len(points)} points lie less than {SAME_POINT_PX:g} px from another one."
        found.append(Doubt("points", text, "Delete points that were set twice."))
    if foreground is None or not (len(points) or foreground.any()):
        return tuple(found)
    rows, columns = np.rint(points).astype(np.int64).T
    off = int(np.count_nonzero(~foreground[rows, columns]))
    labels = label_objects(foreground)
    if ignore is not None:
        labels = np.where(np.isin(labels, labels[ignore]), 0, labels)
    objects = np.unique(labels[labels > 0])
    bare = int(np.count_nonzero(~np.isin(objects, labels[rows, columns])))
    if off > DISAGREE * len(points) or bare > DISAGREE * len(objects):
        text = f"Points and mask disagree: {off} of {len(points)} points lie beside the mask, " \
               f"and {bare} of {len(objects)} marked objects have no point."  # fmt: skip
        found.append(Doubt("points", text, "Correct one of them, or delete it."))
    return tuple(found)


def _crowded(foreground: np.ndarray, ignore: np.ndarray | None) -> list[Doubt]:
    counted = foreground.size if ignore is None else foreground.size - int(np.count_nonzero(ignore))
    marked = foreground if ignore is None else foreground & ~ignore
    share = np.count_nonzero(marked) / max(1, counted)
    if share <= CROWDED:
        return []
    spots, round_ = _round_spots(~foreground)
    if round_ >= FEWEST_SPOTS and round_ > spots / 2:
        text = f"{share:.0%} of the image is marked as bead, and the rest is {round_} round spots: it looks inverted."
        return [Doubt("inverted", text, "Save 255 (or ids) on beads and 0 elsewhere.")]
    text = f"{share:.0%} of the image is marked as bead."
    return [Doubt("full", text, "Check that the mask is not inverted and that 0 is background.")]


def _round_spots(spots: np.ndarray) -> tuple[int, int]:
    """Return how many separate regions of some pixels there are away from the border, and how many are round."""
    regions = label_objects(spots)
    areas = np.bincount(regions.ravel())
    boxes = ndimage.find_objects(regions.astype(np.int32))
    inside = round_ = 0
    for area, box in zip(areas[1:], boxes, strict=True):
        starts, stops = np.array([[side.start, side.stop] for side in box]).T
        if area < SLIVER_PX or (starts == 0).any() or (stops == spots.shape).any():
            continue
        height, width = stops - starts
        inside += 1
        fill = area / (np.pi / 4 * height * width)
        square = max(height, width) <= ROUND_ASPECT * min(height, width)
        round_ += bool(square and ROUND_FILL[0] <= fill <= ROUND_FILL[1])
    return inside, round_


def _broken(labels: np.ndarray | None) -> list[Doubt]:
    if labels is None or not labels.any():
        return []
    ids, pieces, _ = _pieces(labels)
    extra = pieces - ids
    if extra < 2 or extra < BROKEN_SHARE * ids:
        return []
    text = f"{ids} ids lie in {pieces} separate pieces."
    return [Doubt("pieces", text, "Give every bead a number of its own.")]


def _rings(foreground: np.ndarray) -> list[Doubt]:
    """Doubt marks most of which have a round hole: outlines that nobody filled."""
    objects = int(label_objects(foreground).max(initial=0))
    if objects < FEWEST_RINGS or np.count_nonzero(foreground) > CROWDED * foreground.size:
        return []
    holes = int(equal_regions(~foreground, connectivity=1).max(initial=0)) - 1
    if holes <= objects / 2:
        return []
    _, round_ = _round_spots(~foreground)
    if round_ <= objects / 2:
        return []
    text = f"{objects} marked objects have {round_} round holes."
    return [Doubt("rings", text, "Where these are outlines, fill them.")]


def _specks(foreground: np.ndarray, labels: np.ndarray | None) -> list[Doubt]:
    areas = np.bincount((label_objects(foreground) if labels is None else _numbered(labels)).ravel())[1:]
    areas = areas[areas > 0]
    small = int(np.count_nonzero(areas < SLIVER_PX))
    if small < FEWEST_SPECKS or small <= len(areas) / 2:
        return []
    text = f"{small} of {len(areas)} marked objects are smaller than {SLIVER_PX:g} px."
    return [Doubt("specks", text, "Such specks are not counted; save the mask without compression or noise.")]


def _regions_between(values: np.ndarray, highest: float) -> tuple[int, float]:
    """Count the regions of equal value between background and the highest value, and give their median area, px."""
    between = (values > 0) & (values < highest)
    # As consecutive integers: int64 ids and floats may not fit the type that regions are found in.
    numbered = np.zeros(values.shape, np.int32)
    numbered[between] = np.unique(values[between], return_inverse=True)[1] + 1
    areas = np.bincount(equal_regions(_at_most_3d(numbered), connectivity=1).ravel())[1:]
    return len(areas), float(np.median(areas)) if len(areas) else 0.0


def _at_most_3d(values: np.ndarray) -> np.ndarray:
    """Return a stack over time and depth as one over both, since regions are found in at most three dimensions."""
    return values.reshape(-1, *values.shape[-2:]) if values.ndim > 3 else values


def _white(values: np.ndarray, highest: float) -> float:
    if values.dtype.kind == "f" and highest <= 1.0:
        return 1.0
    return 255.0 if highest <= 255.0 else highest


def _integral(values: np.ndarray) -> bool:
    return values.dtype.kind in "ui" or bool((values == np.floor(values)).all())


def _refuse_negative(values: np.ndarray, path: Path) -> None:
    if values.dtype.kind != "u" and values.min() < 0:
        text = f"Holds negative values (down to {values.min()})."
        raise ImageError(text, path, "Use 0 for background, and a mask in the ignore folder for what is neither.")


def _unclear(present: np.ndarray, detail: str, path: Path) -> ImageError:
    shown = ", ".join(f"{value:g}" for value in present[:4])
    more = f" … {present[-1]:g}" if len(present) > 4 else ""
    return ImageError(
        f"Holds the values {shown}{more} {detail}: neither a binary mask, nor soft edges, nor one number per bead.",
        path,
        "Save 0 and 255, or one number per bead in the labels folder.",
    )


def label_objects(foreground: np.ndarray, min_area: int = 1) -> np.ndarray:
    """Label the objects of a foreground mask.

    Parameters
    ----------
    foreground : numpy.ndarray
        (Y, X) bool; other dtypes are foreground where they are not 0.
    min_area : int
        Smaller objects are dropped, px.

    Returns
    -------
    numpy.ndarray
        (Y, X) uint32, 0 is background, objects 1, 2, … in the order of their first pixel, row by row.
    """
    labels = equal_regions(np.asarray(foreground) != 0, connectivity=2).astype(np.uint32)
    if min_area <= 1:
        return labels
    return drop_small(labels, min_area)


def drop_small(labels: np.ndarray, min_area: int) -> np.ndarray:
    """Return (Y, X) uint32 labels without objects of fewer than `min_area` px, renumbered without gaps."""
    areas = np.bincount(labels.ravel())
    keep = areas >= min_area
    keep[0] = False
    numbers = np.where(keep, np.cumsum(keep), 0).astype(np.uint32)
    return np.asarray(numbers[labels])


def count_objects(foreground: np.ndarray, min_area: int = 1) -> int:
    """Return the number of objects of a (Y, X) foreground mask."""
    return int(label_objects(foreground, min_area).max(initial=0))


def equal_regions(values: np.ndarray, connectivity: int) -> np.ndarray:
    """Find the connected regions of equal value, 0 being background.

    Parameters
    ----------
    values : numpy.ndarray
        Any number of dimensions, bool or int32.
    connectivity : int
        1: neighbours share a side; 2: or a corner; at most the number of dimensions.

    Returns
    -------
    numpy.ndarray
        The same shape, integers, 1, 2, … in storage order.
    """
    return np.asarray(label(values, background=0, connectivity=connectivity))  # type: ignore[no-untyped-call]
