"""Ways to divide accepted samples into training and validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from beadseg.config.base import Config

Fraction = Annotated[float, Field(title="Validation share", gt=0.0, lt=1.0)]


class RandomSplitConfig(Config):
    """Plain random split."""

    kind: Literal["random"] = "random"
    val_fraction: Fraction = 0.1
    """Share of the samples held out."""


class StratifiedSplitConfig(Config):
    """Random within classes of objects per image (quantiles), as the laboratory's document writes it."""

    kind: Literal["stratified"] = "stratified"
    val_fraction: Fraction = 0.15
    """Share of the samples held out."""
    bins: Annotated[int, Field(ge=2, le=20)] = 5
    """Number of quantile classes."""


class FieldSplitConfig(Config):
    """Whole fields of view held out, densities balanced as far as the number of fields allows."""

    kind: Literal["field"] = "field"
    val_fraction: Fraction = 0.2
    """Share of the samples held out, about."""


class BlockSplitConfig(Config):
    """A contiguous block of tiles of every field held out: for few fields, where whole ones cannot be spared."""

    kind: Literal["block"] = "block"
    val_fraction: Fraction = 0.2
    """Share of every field held out, about."""


class FileSplitConfig(Config):
    """A given split: a CSV with the columns ``sample`` and ``fold`` (``train``, ``val`` or ``test``)."""

    kind: Literal["file"] = "file"
    path: Path
    """The CSV file."""


SplitConfig = Annotated[
    RandomSplitConfig | StratifiedSplitConfig | FieldSplitConfig | BlockSplitConfig | FileSplitConfig,
    Field(discriminator="kind"),
]
