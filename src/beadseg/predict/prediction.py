"""What was found in one plane, and what to find it again from with other choices, without the network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from beadseg.measure.appearance import appearance
from beadseg.predict.bead_list import bead_list
from beadseg.predict.separate import separate
from beadseg.predict.separation import needed_diameter

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig
    from beadseg.measure.appearance import Appearance, ImageSample
    from beadseg.predict.separation import Separation

_SELECTING = {"threshold", "min_area", "min_confidence", "border", "min_focus"}
"""Fields of `ObjectConfig` that only choose among the candidates of a separation."""


@dataclass(frozen=True, eq=False)
class Maps:
    """What the network says of one plane.

    Attributes
    ----------
    probability : (Y, X) float32
        Of being part of a bead.
    centre : (Y, X) float32 or None
        Peaks at the centres of beads, 0 to 1; None where the network has no such output.
    scale : float
        Pixels that the network saw per pixel of the plane, along an axis.
    doubt : str
        Why the size of the beads, and with it the count, is not sure; empty when it is.
    size : (Y, X) float32 or None
        Diameters of the beads that pixels belong to, as `beadseg.predict.bead_size.decoded` reads them (px as the
        network saw it); None where the network has no such output.
    """

    probability: NDArray[np.float32]
    centre: NDArray[np.float32] | None = None
    scale: float = 1.0
    doubt: str = ""
    size: NDArray[np.float32] | None = None

    @classmethod
    def of_heads(cls, maps: NDArray[np.float32], scale: float = 1.0, doubt: str = "") -> Maps:
        """Return the (K, Y, X) output of a network by its heads: foreground, then centre and size where it has them."""
        return cls(maps[0], maps[1] if len(maps) > 1 else None, scale, doubt, maps[2] if len(maps) > 2 else None)

    @property
    def heads(self) -> NDArray[np.float32]:
        """All maps (K, Y, X), in the order of `of_heads`."""
        return np.stack([values for values in (self.probability, self.centre, self.size) if values is not None])

    def separated(self, objects: ObjectConfig) -> Separation:
        """Return the candidates for beads; see `beadseg.predict.separate.separate`."""
        return separate(self.probability, objects, self.centre, self.diameter(objects))

    def diameter(self, objects: ObjectConfig) -> float:
        """Return the diameter, px of the plane, of beads that have `objects.diameter` for the network."""
        return needed_diameter(objects) / self.scale


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in one plane.

    Attributes
    ----------
    maps : Maps
        The network's output.
    intensity : (Y, X) float32
        Brightness of the image, in its own units.
    pixel_size_um : float or None
        µm per px.
    objects : ObjectConfig
        What was chosen.
    separation : Separation
        The candidates for beads, among which `objects` chose.
    labels : (Y, X) uint32
        Instances: 0 is background, ids run from 1.
    sample : ImageSample or None
        What the image's appearance is told from; None where it is not compared with the training images.
    """

    maps: Maps
    intensity: NDArray[np.float32]
    pixel_size_um: float | None
    objects: ObjectConfig
    separation: Separation
    labels: NDArray[np.uint32]
    sample: ImageSample | None = None

    @classmethod
    def of(
        cls,
        maps: Maps,
        intensity: NDArray[np.float32],
        pixel_size_um: float | None,
        objects: ObjectConfig,
        separation: Separation | None = None,
        sample: ImageSample | None = None,
    ) -> Prediction:
        """Separate, unless that was done, and choose."""
        separation = maps.separated(objects) if separation is None else separation
        return cls(maps, intensity, pixel_size_um, objects, separation, separation.chosen(objects), sample)

    @cached_property
    def beads(self) -> pd.DataFrame:
        """One row per instance, columns as in `beadseg.predict.bead_list.bead_list`; measured when first asked for."""
        return bead_list(
            self.labels, self.separation, self.objects, self.probability, self.intensity, self.pixel_size_um
        )

    @property
    def probability(self) -> NDArray[np.float32]:
        """The probability (Y, X) of being part of a bead."""
        return self.maps.probability

    @property
    def count(self) -> int:
        """Number of beads that count; see `beadseg.predict.bead_list.counts`."""
        if self.objects.border == "count" and self.objects.min_focus is None:
            return int(self.labels.max(initial=0))
        return int(self.beads["counted"].sum())

    @property
    def diameter(self) -> float:
        """The bead diameter that was expected, px of the image."""
        return self.maps.diameter(self.objects)

    @property
    def doubt(self) -> str:
        """Why the size of the beads, and with it the count, is not sure; empty when it is."""
        return self.maps.doubt

    @property
    def seen_pixels(self) -> float:
        """Pixels of the image as the network saw it."""
        return float(self.labels.size) * self.maps.scale**2

    @property
    def integral(self) -> float:
        """Summed probability of what can be bead, px² as the network saw it: what the count by area is made from."""
        return float(self.separation.probability.sum(dtype="float64")) * self.maps.scale**2

    def appearance(self, diameter: float) -> Appearance | None:
        """Return what the image looks like, measured with a bead diameter (px as the network saw it).

        None without a sample of it.
        """
        if self.sample is None:
            return None
        maps, candidates = self.maps, self.separation.positions
        near = diameter / maps.scale
        found = appearance(self.sample, self.labels, maps.probability, maps.centre, candidates, near)
        return found if maps.scale == 1 else found.seen_at(maps.scale)

    def select(self, objects: ObjectConfig) -> Prediction:
        """Return what another choice finds, without the network.

        Threshold, smallest area and least confidence are look-ups; where anything else differs, the beads are separated
        again.

        Raises
        ------
        ConfigError
            `objects` has no diameter.
        """
        kept = self.separation if same_candidates(objects, self.objects) else None
        return Prediction.of(self.maps, self.intensity, self.pixel_size_um, objects, kept, self.sample)


def same_candidates(one: ObjectConfig, other: ObjectConfig) -> bool:
    """Tell whether two choices only select differently among the candidates of one separation."""
    return one.model_dump(exclude=_SELECTING) == other.model_dump(exclude=_SELECTING)
