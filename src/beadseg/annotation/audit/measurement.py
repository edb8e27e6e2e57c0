"""What is measured of one sample: small, so that ten thousand fit into memory, and stored between runs.

Wrong beads are counted and grouped, with the place to look at first.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from beadseg.annotation.audit.document import Box
from beadseg.config.base import Config
from beadseg.data.masks import DoubtKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

POINT_UNIT = 1 / 16
"""Points are stored in steps of this, px."""
MOST_POINTS = 3000
"""Points stored of one image or mask; of more, an evenly spread part."""

GROUP = 3.0
"""Wrong beads nearer than this, in bead radii, are one group."""
LOOK = 20.0
"""Side of the square that a person is sent to, in bead radii."""


class FitNumbers(Config):
    """A `registration.Fit` in numbers; see there."""

    orientation: int
    dy: float
    dx: float
    scale: float
    rotation: float
    stretch: float
    pairs: int
    marked: float
    seen: float
    shift_error: float | None
    scale_error: float | None
    angle_error: float | None
    matrix: tuple[float, float, float, float]

    @property
    def agreement(self) -> float:
        """The better of the two shares of beads in pairs."""
        return max(self.marked, self.seen)


class Part(Config):
    """A part of the image whose beads agree on a shift of their own."""

    box: Box
    dy: float
    dx: float
    beads: int


class ErrorRegions(Config):
    """Beads that are wrong in one way."""

    count: int = 0
    """How many."""
    groups: int = 0
    """How many separate groups they form: the peaks of one thread are one."""
    of: int = 0
    """Out of how many."""
    box: Box | None = None
    """Where most of them are."""

    @property
    def share(self) -> float:
        """Count over total; 0 of nothing."""
        return self.count / self.of if self.of else 0.0


class RadiusNumbers(Config):
    """A `response.Radii` in numbers; see there."""

    image: float
    mask: float
    width: float
    contrast: float
    rays: int


class PlaneMeasurement(Config):
    """One annotated plane."""

    plane: str
    """Name of the plane, empty for a single image."""
    height: int
    width: int
    image_dtype: str
    image_digest: str
    """Hash of the pixels."""
    mask_digest: str
    """Hash of the foreground; empty where nothing is marked."""
    marked_share: float
    """Share of pixels marked."""
    objects: int
    """Objects, or ids, in the mask."""
    has_labels: bool
    opposite: bool
    """The beads are of the other polarity than the data set's; everything below was measured with theirs."""
    inverted: bool
    """Background is marked; everything below was measured with the mask inverted."""
    response: float | None
    """Typical answer of the bead filter on this image's beads, in units of contrast."""
    under_marked: float | None
    """Median answer of the bead filter under the marked beads, as the mask lies; None where nothing is marked."""
    plain: FitNumbers | None
    """Best fit by a shift."""
    best: FitNumbers | None
    """Best fit of all."""
    parts: tuple[Part, ...]
    missing: ErrorRegions
    extra: ErrorRegions
    radii: RadiusNumbers | None
    merged: ErrorRegions
    broken: ErrorRegions
    saturated_low: float
    saturated_high: float
    level: float
    """Median intensity over the range of the dtype (of the image for floats)."""
    unevenness: float
    image_points: str
    mask_points: str
    doubts: tuple[tuple[DoubtKind, str], ...] = ()
    """What the annotation probably gets wrong, judged without the image (`beadseg.data.masks.doubts_of`)."""

    def seen(self) -> Floats:
        """Return the beads of the image, (N, 2) px."""
        return decode_points(self.image_points)

    def marked(self) -> Floats:
        """Return the beads of the mask, (N, 2) px."""
        return decode_points(self.mask_points)


class Measurement(Config):
    """Everything measured of one sample's files."""

    key: str
    """Hashes of the files and the settings."""
    failure: str = ""
    """Why it could not be read; then there are no planes."""
    wrong_size: tuple[int, int, int, int] | None = None
    """Height and width of the image and of its mask, where they differ."""
    mask_kind: Literal["binary", "soft", "labels", ""] = ""
    mask_dtype: str = ""
    mask_lossy: bool = False
    """The mask is stored as JPEG."""
    levels: int = 0
    """Different values in a soft mask."""
    soft_share: float = 0.0
    """Share of values between background and white, among those above 0."""
    soft_area: float = 1.0
    """Area of everything above 0 over the area that is read as foreground."""
    planes: tuple[PlaneMeasurement, ...] = ()


def encode_points(points: Floats) -> str:
    """Return (N, 2) points up to 4096 px as short text; (larger images are stored in coarser steps)."""
    if len(points) > MOST_POINTS:
        points = points[np.linspace(0, len(points) - 1, MOST_POINTS).astype(np.int64)]
    unit = POINT_UNIT
    while len(points) and points.max() / unit > 65000:
        unit *= 2
    steps = np.clip(np.rint(points / unit), 0, 65535).astype("<u2")
    return f"{unit:g}:{base64.b64encode(steps.tobytes()).decode('ascii')}"


def decode_points(text: str) -> Floats:
    """Return what `encode_points` stored."""
    unit, _, data = text.partition(":")
    steps = np.frombuffer(base64.b64decode(data), "<u2").reshape(-1, 2)
    return steps.astype(np.float64) * float(unit)


def error_regions(points: Floats, of: int, shape: tuple[int, ...], radius: float) -> ErrorRegions:
    """Return the numbers of (N, 2) wrong `points`, out of `of` judged ones, in an image of `shape`."""
    if len(points) == 0:
        return ErrorRegions(of=of)
    near = cKDTree(points).sparse_distance_matrix(cKDTree(points), GROUP * radius, output_type="coo_matrix")
    groups = int(connected_components(near, directed=False)[0])
    return ErrorRegions(count=len(points), groups=groups, of=of, box=busiest(points, shape, radius))


def busiest(points: Floats, shape: tuple[int, ...], radius: float) -> Box:
    """Return the square, clipped to the image, around the point with most others near it."""
    half = LOOK / 2 * radius
    tree = cKDTree(points)
    counts = tree.query_ball_point(points, half, p=np.inf, return_length=True)
    return square(points[int(np.argmax(counts))], half, shape)


def square(centre: Floats, half: float, shape: tuple[int, ...]) -> Box:
    """Return the square of `half` a side around `centre`, clipped to the image; at least one pixel."""
    top, left = (max(0, min(int(c - half), n - 1)) for c, n in zip(centre, shape, strict=True))
    bottom, right = (max(1, min(int(c + half) + 1, n)) for c, n in zip(centre, shape, strict=True))
    return top, left, max(bottom, top + 1), max(right, left + 1)


def interior(points: Floats, shape: tuple[int, ...], margin: float) -> NDArray[np.bool_]:
    """Tell which of (N, 2) `points` lie at least `margin` px inside the image's border."""
    return np.asarray(((points >= margin) & (points <= np.array(shape) - 1 - margin)).all(axis=1))
