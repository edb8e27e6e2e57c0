"""The centre map: what the second head learns, and how much it weighs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from beadseg.config.base import Config


class GaussianTargetConfig(Config):
    """A Gaussian of height 1 at every bead's centre; where two overlap, the higher one."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: Annotated[float, Field(gt=0.0, le=1.0)] = 0.13
    """Standard deviation, share of the bead diameter."""


class DistanceTargetConfig(Config):
    """The distance to the bead's own edge, 1 where it is largest."""

    kind: Literal["distance"] = "distance"


CentreTargetConfig = Annotated[GaussianTargetConfig | DistanceTargetConfig, Field(discriminator="kind")]


class CentreConfig(Config):
    """What the head ``centre`` learns; without effect where the network has none.

    Centres come from instance labels or points. In a mask without ids they are those that the model sees which training
    starts from; where it starts from none, those of the mask's parts, divided by their shape.
    """

    target: CentreTargetConfig = GaussianTargetConfig()
    """The map to learn."""
    loss: Literal["cross-entropy", "squared"] = "cross-entropy"
    """Per pixel: binary cross-entropy with the map as soft truth, or the squared difference."""
    weight: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    """Factor on this loss beside that of the foreground."""
    per_area: Annotated[float, Field(gt=0.0)] = 60.0
    """Each patch's summed loss is divided by the sum of its map plus this many px², so that dense patches do not decide
    alone."""
