"""Where the beads lie: random, some in contact, never closer than the configured overlap allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from beadseg.errors import InputError
from beadseg.text import plural

if TYPE_CHECKING:
    from beadseg.data.simulate.config import SceneConfig

ROUNDS = 400
"""Attempts to find room for the beads that are left."""

Floats = NDArray[np.float64]
Proposal = Callable[[NDArray[np.intp]], NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Beads:
    """Bead centres and diameters, px, each (N,) float64; a later bead lies on top of an earlier one."""

    y: Floats
    x: Floats
    diameter: Floats

    def __len__(self) -> int:
        return len(self.y)


def place(config: SceneConfig, rng: np.random.Generator) -> Beads:
    """Draw the beads of one image by random sequential insertion.

    Beads to be placed alone are drawn uniformly; each of the others is set beside a random one that is already there. A
    bead that would overlap any by more than `SceneConfig.max_overlap` is drawn again.

    Raises
    ------
    InputError
        When that many beads do not fit in the image.
    """
    wanted = int(rng.poisson(config.beads)) if config.poisson else round(config.beads)
    diameter = _diameters(config, wanted, rng)
    if wanted > (most := _most(config, diameter)):
        raise _no_room(config, most, wanted)
    clustered = rng.random(wanted) < config.cluster_probability
    if wanted:
        clustered[0] = False
    order = np.argsort(clustered, kind="stable")
    beads = _Insertion(config, diameter[order], rng)
    alone = int(np.count_nonzero(~clustered))
    beads.fill(alone, beads.anywhere)
    beads.fill(wanted, beads.beside_another)
    shuffled = rng.permutation(wanted)
    centres = beads.centres[shuffled]
    return Beads(centres[:, 0], centres[:, 1], beads.diameter[shuffled])


def _diameters(config: SceneConfig, count: int, rng: np.random.Generator) -> Floats:
    mean = config.diameter_px
    drawn = rng.normal(mean, config.diameter_spread * mean, count)
    return np.clip(drawn, max(0.5 * mean, 1.5), 2.0 * mean)


def _most(config: SceneConfig, diameter: Floats) -> int:
    """Return how many beads fit at most, packed hexagonally: beyond that, trying takes memory for nothing."""
    spacing = (1.0 - config.max_overlap) * float(diameter.min(initial=config.diameter_px))
    if spacing <= 0:
        return len(diameter)
    return int((config.height + spacing) * (config.width + spacing) / (np.sqrt(3) / 2 * spacing**2)) + 1


def _no_room(config: SceneConfig, room: int, wanted: int) -> InputError:
    return InputError(
        f"There is room for {plural(room, 'bead')} only, not for {wanted}, "
        f"in an image of {config.height} x {config.width} px"
        f" with beads of {config.diameter_px:g} px.",
        remedy="Choose fewer or smaller beads, a larger image, or a larger max_overlap.",
    )


class _Insertion:
    """Beads placed so far: the first `placed` rows of `centres`."""

    def __init__(self, config: SceneConfig, diameter: Floats, rng: np.random.Generator) -> None:
        self.config = config
        self.rng = rng
        self.diameter = diameter
        self.centres: Floats = np.empty((len(diameter), 2))
        self.placed = 0

    def anywhere(self, pending: NDArray[np.intp]) -> Floats:
        """Propose uniform centres (N, 2) for the `pending` beads."""
        return self.rng.uniform((-0.5, -0.5), (self.config.height - 0.5, self.config.width - 0.5), (len(pending), 2))

    def beside_another(self, pending: NDArray[np.intp]) -> Floats:
        """Propose centres (N, 2) in contact with random beads that are already placed."""
        partner = self.rng.integers(0, self.placed, len(pending))
        overlap = self.rng.uniform(0.0, self.config.max_overlap, len(pending))
        reach = (1.0 - overlap) * (self.diameter[pending] + self.diameter[partner]) / 2
        angle = self.rng.uniform(0.0, 2.0 * np.pi, len(pending))
        # A hair farther, so that rounding does not break the bound on the overlap.
        offset = (reach * (1.0 + 1e-9))[:, None] * np.stack((np.sin(angle), np.cos(angle)), axis=1)
        proposed: Floats = self.centres[partner] + offset
        return proposed

    def fill(self, until: int, propose: Proposal) -> None:
        """Place beads until `until` are there; raise `InputError` when there is no room."""
        for _ in range(ROUNDS):
            pending = np.arange(self.placed, until)
            if not len(pending):
                return
            self._accept(pending, propose(pending))
        if self.placed < until:
            raise _no_room(self.config, self.placed, len(self.diameter))

    def _accept(self, pending: NDArray[np.intp], proposed: Floats) -> None:
        """Keep the proposals that lie in the image and break no bound; of two that exclude each other, the earlier."""
        limits = (self.config.height - 0.5, self.config.width - 0.5)
        inside = ((proposed >= -0.5) & (proposed < limits)).all(axis=1)
        centres = np.concatenate((self.centres[: self.placed], proposed[inside]))
        diameter = np.concatenate((self.diameter[: self.placed], self.diameter[pending][inside]))
        keep = np.ones(len(centres), dtype=bool)
        for first, second in self._conflicts(centres, diameter):
            if keep[first]:
                keep[second] = False
        new = np.flatnonzero(keep[self.placed :]) + self.placed
        # The diameters of the pending beads are put into the order of acceptance, so that none is drawn again.
        accepted = np.flatnonzero(inside)[new - self.placed]
        refused = np.setdiff1d(np.arange(len(pending)), accepted)
        self.diameter[pending] = self.diameter[pending][np.concatenate((accepted, refused))]
        stop = self.placed + len(new)
        self.centres[self.placed : stop] = centres[new]
        self.placed = stop

    def _conflicts(self, centres: Floats, diameter: Floats) -> NDArray[np.intp]:
        """Return pairs (M, 2) of indices, sorted, that are too close and of which the second is a proposal."""
        if len(centres) < 2:
            return np.empty((0, 2), dtype=np.intp)
        allowed = 1.0 - self.config.max_overlap
        pairs = cKDTree(centres).query_pairs(allowed * float(diameter.max()), output_type="ndarray")
        first, second = pairs.min(axis=1), pairs.max(axis=1)
        distance = np.hypot(*(centres[first] - centres[second]).T)
        close = (distance < allowed * (diameter[first] + diameter[second]) / 2) & (second >= self.placed)
        pairs = np.stack((first, second), axis=1)[close]
        sorted_pairs: NDArray[np.intp] = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
        return sorted_pairs
