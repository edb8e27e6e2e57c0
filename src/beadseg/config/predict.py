"""Prediction: tiling, threshold, what an object is; and densities: what an image covers, how images are grouped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from beadseg.config.base import Config

FACTOR_PATTERN = r"^([0-9.]+)x_"
"""An example: the number before ``x_`` at the beginning of a name, ``320x_slide2_grid_r0_c1``."""


class SeedConfig(Config):
    """Where beads are looked for before any threshold; a change separates again, without the network."""

    lowest: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Lowest probability that `ObjectConfig.threshold` may be set to afterwards."""
    threshold: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.2
    """A peak of the centre map below this does not become a seed. Networks without a centre map have none."""
    distance: Annotated[float, Field(gt=0.0, le=2.0)] = 0.4
    """Two seeds are at least this share of a bead diameter apart."""
    valley: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Between two seeds nearer than a bead diameter the map falls by this share of the lower peak."""
    smoothing: Annotated[float, Field(ge=0.0, le=1.0)] = 0.07
    """Without a centre map: standard deviation of the Gaussian that smooths the distance to the edge, share of a bead
    diameter."""


class ObjectConfig(Config):
    """What an object is, everywhere: 8-connected, at least `min_area`, separated where beads touch."""

    threshold: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.5
    """Probability from which a pixel is foreground; at least `seeds.lowest`."""
    min_area: Annotated[int, Field(ge=1)] | None = None
    """Smallest object, px²; None: a sixth of the area of a bead of `diameter`."""
    max_area: Annotated[int, Field(ge=1)] | None = None
    """Larger beads, px², are listed and not counted. None: all count."""
    min_circularity: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Beads of a lower ``circularity`` are listed and not counted."""
    min_confidence: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    """Least confidence of a bead: the height of its peak in the centre map, else its highest probability."""
    diameter: Annotated[float, Field(gt=0.0)] | None = None
    """Expected bead diameter, px of the image as the network sees it (`image.bead_px`); None: the training data's."""
    separate: bool = True
    """Cut touching beads apart: from seeds, each pixel to the nearest one that it can be reached from."""
    seeds: SeedConfig = SeedConfig()
    """Where beads are looked for."""
    border: Literal["count", "exclude", "half"] = "count"
    """Beads cut by the image's border: all count, none counts, or only those at the upper and left border."""
    min_focus: Annotated[float, Field(ge=0.0)] | None = None
    """Beads of a lower ``focus`` are listed and not counted. None: beads out of focus count."""

    @property
    def all_count(self) -> bool:
        """Whether every bead counts, whatever it is like and wherever it lies."""
        return self.all_like == self

    @property
    def all_like(self) -> ObjectConfig:
        """The same without what leaves beads uncounted."""
        return self.replace(border="count", min_focus=None, max_area=None, min_circularity=0.0)

    @model_validator(mode="after")
    def _refuse(self) -> ObjectConfig:
        if self.threshold < self.seeds.lowest:
            raise ValueError(f"threshold {self.threshold} is below seeds.lowest {self.seeds.lowest}: lower that too")
        return self


class TilingConfig(Config):
    """When and how an image is cut into tiles."""

    whole_image_pixels: Annotated[int, Field(ge=4096)] = 4_000_000
    """Images of up to this many pixels pass through the network whole (with OpenVINO three times as many). Larger ones
    do in blocks of that size, which overlap by as much as the network sees: the result is that of the whole image."""
    tile: Annotated[int, Field(ge=64, le=8192)] = 1024
    """Side of a tile, px, where blocks cannot do that: networks with instance norm, or that see more than a block."""
    overlap: Annotated[float, Field(ge=0.0, lt=0.9)] = 0.125
    """Share of a tile shared with its neighbour; blended with Gaussian weights."""


class SizeConfig(Config):
    """How large beads are in the images; images are resampled so that beads have the size that the model knows."""

    diameter: Annotated[float, Field(gt=0.0)] | None = None
    """Bead diameter in the images. None: measured in every image where `search` is on; else the training images'."""
    unit: Literal["px", "um"] = "px"
    """Unit of `diameter`: pixels of the image, or µm, for images that tell their pixel size."""
    search: bool = False
    """Without a diameter: find it in every image, by the model's own answer over a range of scales."""


class PredictConfig(Config):
    """Everything about prediction that can be chosen after training."""

    objects: ObjectConfig = ObjectConfig()
    """What an object is."""
    size: SizeConfig = SizeConfig()
    """How large beads are in the images."""
    tiling: TilingConfig = TilingConfig()
    """When and how an image is cut into tiles."""
    channel: Annotated[int, Field(ge=0)] | None = None
    """The one channel of every image that is predicted, from 0, as a grey image; None: those that the training used."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the network; auto takes bf16 where the machine has it, it finds the same beads and is faster."""
    backend: Literal["auto", "torch", "openvino"] = "auto"
    """What computes the network; auto tests what is installed, takes the fastest that finds the same beads, and
    remembers it for this machine and model."""


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
    """Side of a pixel, µm, of all images; None: the size that each image file stores."""
    depth_um: Annotated[float, Field(gt=0.0, le=1e6, title="Chamber depth")] | None = None
    """Depth of the counting chamber, µm, for densities by volume; None: by area only."""
    groups: GroupRule = ByField()
    """How images are grouped."""
    factor: FactorRule = NameFactor()
    """Where the dilution factor stands."""
    model: Annotated[Literal["auto", "poisson", "negative-binomial"], Field(title="Model of counts")] = "auto"
    """Distribution of counts in a dilution series; auto: negative binomial where they vary more than Poisson."""
