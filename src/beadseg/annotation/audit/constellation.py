"""Recognise the same beads in two images by how each bead's neighbours lie, whatever the turn, mirroring or cutting.

Every bead has a token: the rounded distances to its four nearest neighbours and between these (as in blind astrometric
calibration, Lang et al., AJ 2010). Turned, mirrored and cut images share tokens; so few images share any by chance that
ten thousand are compared by sorting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

NEIGHBOURS = 4
"""Neighbours of a bead in its token."""
STEP = 0.7
"""Distances are rounded to this, in bead radii: several times the error of a position."""
COMMON = 40
"""A token that more images have than this tells nothing (a lattice, say)."""
SHARED = 3
"""Tokens that two images must share to be compared bead by bead."""
SHARED_SHARE = 0.01
"""And this share of the beads of the one with fewer: dense packings look alike here and there."""


def tokens(points: Floats, radius: float) -> NDArray[np.uint64]:
    """Return one or more tokens (K,) for every bead of (N, 2) `points`; none where there are too few.

    A distance near the edge between two rounded values would often fall into the other one in the second image, so each
    bead has two tokens, rounded with an offset of half a step.
    """
    if len(points) <= NEIGHBOURS:
        return np.empty(0, np.uint64)
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
    return np.concatenate(found)


def candidates(
    of: Sequence[NDArray[np.uint64]], among: Sequence[NDArray[np.uint64]] | None = None
) -> list[tuple[int, int]]:
    """Return pairs of indices (i, j) whose tokens suggest that they show the same beads.

    Parameters
    ----------
    of : sequence of (K,) uint64
        Tokens of each set of beads.
    among : sequence of (K,) uint64, optional
        What they are compared with; with each other, i < j, when None.
    """
    others = of if among is None else among
    offset = 0 if among is None else len(of)
    token, owner = _sorted(of if among is None else [*of, *among])
    count = offset + len(others)
    codes = [np.empty(0, np.int64)]
    for first, second in _sharing(token, owner):
        # Of two lists only pairs across them count.
        wanted = (first < offset) & (second >= offset) if among is not None else first < second
        codes.append(first[wanted] * count + second[wanted])
    pairs, shared = np.unique(np.concatenate(codes), return_counts=True)
    enough = shared >= SHARED
    found = []
    for pair, number in zip(pairs[enough].tolist(), shared[enough].tolist(), strict=True):
        i, j = divmod(pair, count)
        beads = min(len(of[i]), len(others[j - offset])) / 2
        if number >= SHARED_SHARE * beads:
            found.append((i, j - offset))
    return found


def _sorted(sets: Sequence[NDArray[np.uint64]]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the tokens of all sets in ascending order, each once per set, and the set of each."""
    unique = [np.unique(found) for found in sets] or [np.empty(0, np.uint64)]
    token = np.concatenate(unique)
    owner = np.repeat(np.arange(len(unique)), [len(found) for found in unique])
    order = np.argsort(token, kind="stable")
    return token[order], owner[order]


def _sharing(
    token: NDArray[np.uint64], owner: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of sets that have a token in common, the smaller index first; those of `COMMON` tokens are left out.

    Equal tokens are neighbours: comparing each with the one 1, 2, 3 ... places on finds all pairs of a group.
    """
    edges = (
        np.flatnonzero(np.concatenate(([True], token[1:] != token[:-1], [True]))) if len(token) else np.zeros(1, int)
    )
    sizes = np.diff(edges)
    size = np.repeat(sizes, sizes)
    for step in range(1, min(COMMON, int(sizes.max(initial=1)))):
        same = (token[step:] == token[:-step]) & (size[step:] <= COMMON)
        yield owner[:-step][same], owner[step:][same]


def correspondences(
    first: Floats, second: Floats, mine: NDArray[np.uint64], theirs: NDArray[np.uint64]
) -> tuple[Floats, Floats]:
    """Return beads (K, 2) of two sets that have a token in common, given the `tokens` of both."""
    _, at, there = np.intersect1d(mine, theirs, return_indices=True)
    return first[at % len(first)], second[there % len(second)]


def _tokens_that_repeat(
    of: Sequence[NDArray[np.uint64]], among: Sequence[NDArray[np.uint64]] | None
) -> NDArray[np.uint64]:
    """Return the tokens that occur in more than one set."""
    empty = np.empty(0, np.uint64)
    mine = np.concatenate([np.unique(found) for found in of] or [empty])
    if among is not None:
        return np.intersect1d(mine, np.concatenate([*among, empty]))
    values, counts = np.unique(mine, return_counts=True)
    repeated: NDArray[np.uint64] = values[counts > 1]
    return repeated
