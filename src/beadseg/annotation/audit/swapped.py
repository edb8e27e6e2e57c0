"""Find the image that a mask belongs to, among those of the data set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from beadseg.annotation.audit import limits
from beadseg.annotation.audit.constellation import candidates, tokens
from beadseg.annotation.audit.register import REACH, displacements, vote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from beadseg.annotation.audit.measurement import PlaneMeasurement

    Floats = NDArray[np.float64]

ALL_PAIRS = 150
"""Up to this many mismatched samples are compared pairwise; beyond, only by their constellations."""


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
        if score >= limits.FITS and score > best.get(name, (0.0, ""))[0]:
            best[name] = score, other
    return {name: other for name, (_, other) in best.items()}


def fits(mask: Floats, image: Floats, radius: float) -> float:
    """Return the larger share of beads that coincide after the best shift, beyond chance."""
    if min(len(mask), len(image)) < limits.FEWEST_PAIRS:
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


def _shape(plane: PlaneMeasurement) -> tuple[int, int]:
    return plane.height, plane.width
