"""Instances to label images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from beadseg.data.annotations.model import Failure, Instance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Painted:
    """The instances of one image as pixels.

    Attributes
    ----------
    labels : numpy.ndarray
        (planes, Y, X) uint32; 0 is background.
    ignore : numpy.ndarray
        (planes, Y, X) bool.
    objects : int
        Number of objects painted that are still to be seen.
    contested : int
        Pixels that several objects claimed; the later one has them.
    failures : list of Failure
        Duplicates, ids given twice, and objects that later ones cover wholly.
    """

    labels: NDArray[np.uint32]
    ignore: NDArray[np.bool_]
    objects: int
    contested: int
    failures: list[Failure] = field(default_factory=list)


def paint(instances: Sequence[Instance], shape: tuple[int, int, int], image: str) -> Painted:
    """Paint instances in their order, later ones on top.

    Parameters
    ----------
    instances : sequence of Instance
        The objects. Ids that they ask for are kept; the others get the lowest free numbers of their plane.
    shape : (int, int, int)
        Planes, height, width.
    image : str
        What the image is called in `Painted.failures`.
    """
    labels, ignore = np.zeros(shape, np.uint32), np.zeros(shape, bool)
    failures: list[Failure] = []
    different = _without_duplicates(instances, image, failures)
    for instance in different:
        if instance.ignore:
            ignore[instance.plane][instance.region.slices] |= instance.region.mask
    beads = [instance for instance in different if not instance.ignore]
    contested = 0
    left: dict[tuple[int, int], int] = {}
    painted: dict[tuple[int, int], Instance] = {}
    for instance, number in zip(beads, _numbers(beads, image, failures), strict=True):
        view = labels[instance.plane][instance.region.slices]
        lost, counts = np.unique(view[instance.region.mask], return_counts=True)
        for other, count in zip(lost.tolist(), counts.tolist(), strict=True):
            if other:
                contested += count
                left[instance.plane, other] -= count
        view[instance.region.mask] = number
        left[instance.plane, number] = instance.region.area
        painted[instance.plane, number] = instance
    covered = [painted[key] for key, area in left.items() if not area]
    failures += [Failure(image, f"{instance.what} is wholly covered by later ones.") for instance in covered]
    return Painted(labels, ignore, len(beads) - len(covered), contested, failures)


def _without_duplicates(instances: Sequence[Instance], image: str, failures: list[Failure]) -> list[Instance]:
    """Drop, and list, what covers exactly the same pixels as one before it."""
    seen: dict[tuple[object, ...], str] = {}
    kept = []
    for instance in instances:
        region = instance.region
        key = (instance.plane, instance.ignore, region.top, region.left, region.mask.shape, region.mask.tobytes())
        if key in seen:
            failures.append(Failure(image, f"{instance.what} is a duplicate of {seen[key]}; it was left out."))
        else:
            seen[key] = instance.what
            kept.append(instance)
    return kept


def _numbers(instances: Sequence[Instance], image: str, failures: list[Failure]) -> list[int]:
    """Return the id of every instance: the one asked for, or the lowest free one of its plane."""
    taken: dict[int, set[int]] = {}
    wanted: list[int | None] = []
    for instance in instances:
        used = taken.setdefault(instance.plane, set())
        if instance.id is not None and instance.id in used:
            failures.append(Failure(image, f"{instance.what} has the id {instance.id} of another; it got a new one."))
        wanted.append(None if instance.id in used else instance.id)
        if instance.id is not None:
            used.add(instance.id)
    following = dict.fromkeys(taken, 1)
    numbers = []
    for instance, number in zip(instances, wanted, strict=True):
        if number is None:
            number = following[instance.plane]
            while number in taken[instance.plane]:
                number += 1
            following[instance.plane] = number + 1
        numbers.append(number)
    return numbers
