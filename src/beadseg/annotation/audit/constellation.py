"""Recognise the same beads in two images by how each bead's neighbours lie, whatever the turn, mirroring or cutting.

Every bead has a token: the rounded distances to its four nearest neighbours and between these (as in blind astrometric
calibration, Lang et al., AJ 2010). Turned, mirrored and cut images share tokens; so few images share any by chance that
ten thousand are compared by sorting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
BLOCK = 256
"""Sets whose pairs with all others are looked for at once: what bounds the memory."""
SHARED = 3
"""Tokens that two images must share to be compared bead by bead."""
SHARED_SHARE = 0.01
"""And this share of the beads of the one with fewer: dense packings look alike here and there."""


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
