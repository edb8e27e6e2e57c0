"""From counts to densities: what an image covers, how images are grouped, where a dilution factor stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from beadseg.config.base import Config

FACTOR_PATTERN = r"^([0-9.]+)x_"
"""An example: the number before ``x_`` at the beginning of a name, ``320x_slide2_grid_r0_c1``."""


def _one_group(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from None
    if groups == 0:
        raise ValueError(f"put the part that is looked for in brackets, e.g. {FACTOR_PATTERN}")
    return pattern


class NamePattern(Config):
    """What is looked for is a part of the image's name."""

    kind: Literal["pattern"] = "pattern"
    pattern: Annotated[str, AfterValidator(_one_group)]
    """Regular expression searched in the name, upper or lower case; its first group counts."""


class NameTable(Config):
    """What is looked for stands in a CSV."""

    kind: Literal["csv"] = "csv"
    path: Path
    """CSV with the column ``image`` and one named after what is looked for, ``group`` or ``factor``."""


class NameFactor(Config):
    """The dilution factor stands in the image's name: ``320x``, ``2.5x``, ``1e3x``, ``1:100``."""

    kind: Literal["name"] = "name"


class Together(Config):
    """All images are one group."""

    kind: Literal["all"] = "all"


class ByField(Config):
    """Images of one field of view are a group; see `beadseg.data.fields.PatternFields`."""

    kind: Literal["field"] = "field"


GroupRule = Annotated[ByField | Together | NamePattern | NameTable, Field(discriminator="kind")]
"""How images are grouped."""
FactorRule = Annotated[NameFactor | NamePattern | NameTable, Field(discriminator="kind")]
"""Where the dilution factor stands."""


class DensityConfig(Config):
    """Everything that turns counts into densities and a dilution series."""

    pixel_size_um: Annotated[float, Field(gt=0.0, le=1e4, title="Pixel size")] | None = None
    """Side of a pixel, µm, of all images; None: as each image's file told it."""
    depth_um: Annotated[float, Field(gt=0.0, le=1e6, title="Chamber depth")] | None = None
    """Depth of the counting chamber, µm, for densities by volume; None: by area only."""
    groups: GroupRule = ByField()
    """How images are grouped."""
    factor: FactorRule = NameFactor()
    """Where the dilution factor stands."""
    model: Annotated[Literal["auto", "poisson", "negative-binomial"], Field(title="Model of counts")] = "auto"
    """Distribution of counts in a dilution series; auto: negative binomial where they vary more than Poisson."""
