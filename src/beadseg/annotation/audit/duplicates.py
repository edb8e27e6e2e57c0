"""The same beads in two images: the same image twice, or a mask that belongs to another image.

Beads are recognised by how their neighbours lie, whatever the turn, mirroring or cutting.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from beadseg.annotation.audit import thresholds
from beadseg.annotation.audit.measurement import interior
from beadseg.annotation.audit.registration import ORIENTATIONS, REACH, STEPS, displacements, oriented_points, vote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from beadseg.annotation.audit.measurement import PlaneMeasurement

    Floats = NDArray[np.float64]

BIN = 3.0
"""Displacements that differ by less than this are the same, px."""
MANY_PAIRS = 200
"""Of more pairs of beads the displacements are not compared with each other to rule out orientations."""
TOLERANCE = 0.6
"""The same bead in both images, in bead radii."""

ALL_PAIRS = 150
"""Up to this many mismatched samples are compared pairwise; beyond, only by their constellations."""

NEIGHBOURS = 4
"""Neighbours of a bead in its token."""
STEP = 0.7
"""Distances are rounded to this, in bead radii: several times the error of a position."""
COMMON = 40
"""A token that more images have than this tells nothing (a lattice, say)."""
BLOCK = 256
"""Sets whose pairs with all others are looked for at once: what bounds the memory."""
SHARED = 3
"""Tokens that two images must share to be compared bead by bead."""
SHARED_SHARE = 0.01
"""And this share of the beads of the one with fewer: dense packings look alike here and there."""


@dataclass(frozen=True)
class Duplicate:
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


def find_duplicates(planes: Mapping[str, PlaneMeasurement], radius: float) -> list[Duplicate]:
    """Return all pairs of samples, given in natural order, that are there twice."""
    images = [Duplicate(a, b, "image") for a, b in _equal(planes, lambda plane: plane.image_digest)]
    known = {(pair.first, pair.second) for pair in images}
    masks = [Duplicate(a, b, "mask") for a, b in _equal(planes, lambda plane: plane.mask_digest) if (a, b) not in known]
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
            images.append(Duplicate(names[i], names[j], "near", *match))
    return images + masks


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
        Beads of both that may be the same; see `correspondences`.
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
        if smaller < thresholds.DUPLICATE_BEADS:
            continue
        hits = int(np.count_nonzero(tree.query(moved[here])[0] <= TOLERANCE * radius))
        if (
            hits >= thresholds.DUPLICATE_BEADS
            and hits >= thresholds.DUPLICATE_SHARE * smaller
            and (not best or hits > best[0])
        ):
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


def owners(mismatched: Sequence[str], planes: Mapping[str, PlaneMeasurement], radius: float) -> dict[str, str]:
    """Return, for mismatched samples, the sample whose image their mask fits; those without one are left out.

    Parameters
    ----------
    mismatched : sequence of str
        Names of samples whose masks fit nowhere on their own images.
    planes : mapping of str to PlaneMeasurement
        All samples.
    radius : float
        Bead radius, px.
    """
    names = list(planes)
    index = {name: at for at, name in enumerate(names)}
    seen = {name: planes[name].seen() for name in names}
    marked = {name: planes[name].marked() for name in mismatched}
    pairs = {
        (name, names[other])
        for at, other in candidates(
            [tokens(marked[name], radius) for name in mismatched], [tokens(seen[name], radius) for name in names]
        )
        for name in [mismatched[at]]
    }
    if len(mismatched) <= ALL_PAIRS:
        pairs |= {(name, other) for name in mismatched for other in mismatched}
    best: dict[str, tuple[float, str]] = {}
    for name, other in sorted(pairs, key=lambda pair: (index[pair[0]], index[pair[1]])):
        if name == other or _shape(planes[name]) != _shape(planes[other]):
            continue
        score = fits(marked[name], seen[other], radius)
        if score >= thresholds.FITS and score > best.get(name, (0.0, ""))[0]:
            best[name] = score, other
    return {name: other for name, (_, other) in best.items()}


def fits(mask: Floats, image: Floats, radius: float) -> float:
    """Return the larger share of beads that coincide after the best shift, beyond chance."""
    if min(len(mask), len(image)) < thresholds.FEWEST_PAIRS:
        return 0.0
    shift, _ = vote(displacements(mask, image, REACH), REACH)
    tolerance = 0.75 * radius
    found = np.count_nonzero(cKDTree(image).query(mask + shift)[0] <= tolerance)
    covered = np.count_nonzero(cKDTree(mask + shift).query(image)[0] <= tolerance)
    area = float((image.max(axis=0) - image.min(axis=0) + 1).prod())
    return max(
        _beyond(found / len(mask), len(image) * np.pi * tolerance**2 / area),
        _beyond(covered / len(image), len(mask) * np.pi * tolerance**2 / area),
    )


def _beyond(share: float, expected: float) -> float:
    chance = 1 - float(np.exp(-expected))
    return max(0.0, (share - chance) / max(1e-9, 1 - chance))


class Tokens(NamedTuple):
    """Tokens of one set of beads, each different one once."""

    values: NDArray[np.uint32]
    """In ascending order, (K,)."""
    beads: NDArray[np.uint32]
    """A bead that has it, (K,)."""
    total: int
    """Beads in the set."""


def tokens(points: Floats, radius: float) -> Tokens:
    """Return the tokens of (N, 2) `points`; none where there are too few.

    A distance near the edge between two rounded values would often fall into the other one in the second image, so each
    bead has two tokens, rounded with an offset of half a step.
    """
    if len(points) <= NEIGHBOURS:
        return Tokens(np.empty(0, np.uint32), np.empty(0, np.uint32), len(points))
    _, nearest = cKDTree(points).query(points, NEIGHBOURS + 1)
    star = points[nearest]
    first, second = np.triu_indices(NEIGHBOURS + 1, 1)
    apart = np.sort(np.hypot(*(star[:, first] - star[:, second]).transpose(2, 0, 1)), axis=1)
    found = []
    for offset in (0.0, 0.5):
        steps = np.floor(apart / (STEP * radius) + offset).astype(np.uint64)
        token = np.full(len(points), 1 + int(2 * offset), np.uint64)
        for column in steps.T:
            token = token * np.uint64(1099511628211) + column
        found.append(token)
    mixed = np.concatenate(found) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(32)
    values, at = np.unique(mixed.astype(np.uint32), return_index=True)
    return Tokens(values, (at % len(points)).astype(np.uint32), len(points))


def candidates(of: Sequence[Tokens], among: Sequence[Tokens] | None = None) -> Iterator[tuple[int, int]]:
    """Yield pairs of indices (i, j) of sets whose tokens suggest that they show the same beads, in ascending order.

    Parameters
    ----------
    of : sequence of Tokens
        Of each set of beads.
    among : sequence of Tokens, optional
        What they are compared with; with each other, i < j, when None.
    """
    every = [*of] if among is None else [*of, *among]
    owner, end = _repeated(every)
    by_owner = np.argsort(owner, kind="stable")
    edges = np.searchsorted(owner, np.arange(len(every) + 1), sorter=by_owner)
    for start in range(0, len(of), BLOCK):
        mine = by_owner[edges[start] : edges[min(start + BLOCK, len(of))]]
        codes = np.concatenate([first * len(every) + second for first, second in _sharing(mine, owner, end)])
        pairs, shared = np.unique(codes, return_counts=True)
        enough = (shared >= SHARED) & (pairs % len(every) >= (0 if among is None else len(of)))
        for pair, number in zip(pairs[enough].tolist(), shared[enough].tolist(), strict=True):
            i, j = divmod(pair, len(every))
            if number >= SHARED_SHARE * min(every[i].total, every[j].total):
                yield i, j if among is None else j - len(of)


def _repeated(every: Sequence[Tokens]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return whose the tokens are that several sets have, equal ones side by side, and where the equal ones end.

    Those that more than `COMMON` sets have are left out.
    """
    values = np.concatenate([np.empty(0, np.uint32), *(found.values for found in every)])
    owner = np.repeat(np.arange(len(every)), [len(found.values) for found in every])
    order = np.argsort(values, kind="stable")
    values, owner = values[order], owner[order]
    del order
    edges = np.flatnonzero(np.concatenate((values[1:] != values[:-1], [True]))) + 1 if len(values) else np.empty(0, int)
    sizes = np.diff(edges, prepend=0)
    kept = (sizes > 1) & (sizes <= COMMON)
    return owner[np.repeat(kept, sizes)], np.repeat(np.cumsum(sizes[kept]), sizes[kept])


def _sharing(
    mine: NDArray[np.int64], owner: NDArray[np.int64], end: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the set of each token at the places `mine`, and each later set that has it too.

    Equal tokens are neighbours: comparing each with the one 1, 2, 3 ... places on finds all pairs of a group.
    """
    for step in range(1, COMMON):
        mine = mine[mine + step < end[mine]]
        yield owner[mine], owner[mine + step]


def correspondences(first: Floats, second: Floats, mine: Tokens, theirs: Tokens) -> tuple[Floats, Floats]:
    """Return beads (K, 2) of two sets that have a token in common, given the `tokens` of both."""
    _, at, there = np.intersect1d(mine.values, theirs.values, assume_unique=True, return_indices=True)
    return first[mine.beads[at]], second[theirs.beads[there]]
