"""The same image twice: the same file, or turned, mirrored, cut out, or saved again."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from beadseg.annotation.audit import limits
from beadseg.annotation.audit.constellation import SHARED, candidates, correspondences, tokens
from beadseg.annotation.audit.places import interior
from beadseg.annotation.audit.transform import ORIENTATIONS, STEPS, oriented_points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from beadseg.annotation.audit.measurement import PlaneMeasurement

    Floats = NDArray[np.float64]

BIN = 3.0
"""Displacements that differ by less than this are the same, px."""
MANY_PAIRS = 200
"""Of more pairs of beads the displacements are not compared with each other to rule out orientations."""
TOLERANCE = 0.6
"""The same bead in both images, in bead radii."""


@dataclass(frozen=True)
class Twin:
    """Two samples that show the same.

    Attributes
    ----------
    first, second : str
        Their names, in natural order.
    kind : {"image", "near", "mask"}
        The same pixels; the same place, shown differently; or the same mask on different images.
    overlap : float
        Share of the second image that is shown in the first.
    orientation : int
        How the second is turned against the first.
    """

    first: str
    second: str
    kind: str
    overlap: float = 1.0
    orientation: int = 0


def find_twins(planes: Mapping[str, PlaneMeasurement], radius: float) -> list[Twin]:
    """Return all pairs of samples, given in natural order, that are there twice."""
    twins = [Twin(a, b, "image") for a, b in _equal(planes, lambda plane: plane.image_digest)]
    known = {(twin.first, twin.second) for twin in twins}
    masks = [Twin(a, b, "mask") for a, b in _equal(planes, lambda plane: plane.mask_digest) if (a, b) not in known]
    names = list(planes)
    points = [plane.seen() for plane in planes.values()]
    marks = [tokens(found, radius) for found in points]
    for i, j in candidates(marks):
        if (names[i], names[j]) in known:
            continue
        first, second = planes[names[i]], planes[names[j]]
        alike = correspondences(points[i], points[j], marks[i], marks[j])
        match = same_place(points[i], points[j], alike, _shape(first), _shape(second), radius)
        if match is not None:
            twins.append(Twin(names[i], names[j], "near", *match))
    return twins + masks


def _shape(plane: PlaneMeasurement) -> tuple[int, int]:
    return plane.height, plane.width


def _equal(planes: Mapping[str, PlaneMeasurement], digest: Callable[[PlaneMeasurement], str]) -> list[tuple[str, str]]:
    """Return each sample whose digest an earlier one has, after the first that has it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name, plane in planes.items():
        if digest(plane):
            groups[digest(plane)].append(name)
    return [(names[0], name) for names in groups.values() for name in names[1:]]


def same_place(
    first: Floats,
    second: Floats,
    alike: tuple[Floats, Floats],
    shape: tuple[int, int],
    other: tuple[int, int],
    radius: float,
) -> tuple[float, int] | None:
    """Tell whether the beads of two images coincide.

    Parameters
    ----------
    first, second : (N, 2) and (M, 2) float64
        Beads, px.
    alike : pair of (K, 2) float64
        Beads of both that may be the same; see `constellation.correspondences`.
    shape, other : (int, int)
        Of the two images, px.
    radius : float
        Bead radius, px.

    Returns
    -------
    (float, int) or None
        Share of the second image that the first shows, and how it is turned; None where they do not coincide.
    """
    best: tuple[int, float, int] | None = None
    here_too, there_too = alike
    possible = _possible_orientations(here_too, there_too)
    if not possible:
        return None
    tree = cKDTree(first)
    for orientation in possible:
        turned_shape = other if orientation % 2 == 0 else (other[1], other[0])
        shift, agreeing = _most_common(here_too - oriented_points(there_too, other, orientation))
        if agreeing < SHARED:
            continue
        moved = oriented_points(second, other, orientation) + shift
        here, there = interior(moved, shape, 0.0), interior(first - shift, turned_shape, 0.0)
        smaller = min(int(here.sum()), int(there.sum()))
        if smaller < limits.DUPLICATE_BEADS:
            continue
        hits = int(np.count_nonzero(tree.query(moved[here])[0] <= TOLERANCE * radius))
        if hits >= limits.DUPLICATE_BEADS and hits >= limits.DUPLICATE_SHARE * smaller and (not best or hits > best[0]):
            best = hits, _overlap(shape, turned_shape, shift), orientation
    return None if best is None else best[1:]


def _possible_orientations(here: Floats, there: Floats) -> list[int]:
    """Return the orientations in which `SHARED` of (K, 2) pairs are moved alike; all where there are many pairs.

    Most pairs of dense images share some tokens by chance; this lets go of them without a tree for every orientation.
    """
    if len(here) > MANY_PAIRS:
        return list(range(len(ORIENTATIONS)))
    moves = (here - there @ STEPS) @ (1.0, 1.0j)
    apart = np.abs(moves[:, :, np.newaxis] - moves[:, np.newaxis])
    alike = (apart <= BIN).sum(axis=2).max(axis=1, initial=0)
    return np.flatnonzero(alike >= SHARED).tolist()


def _most_common(moves: Floats) -> tuple[Floats, int]:
    """Return the displacement that most of (K, 2) `moves` have, the median of those near it, and how many these are."""
    near = cKDTree(moves).query_ball_point(moves, BIN, return_length=True)
    centre = moves[int(np.argmax(near))]
    middle: Floats = np.median(moves[np.abs(moves - centre).max(axis=1) <= BIN], axis=0)
    return middle, int(near.max())


def _overlap(shape: tuple[int, int], other: tuple[int, int], shift: Floats) -> float:
    sides = [
        max(0.0, min(length, move + length_of_other) - max(0.0, move))
        for length, length_of_other, move in zip(shape, other, shift, strict=True)
    ]
    return float(sides[0] * sides[1] / (other[0] * other[1]))
