"""Prediction: tiling, threshold, what an object is."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from beadseg.config.base import Config


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
    """Smallest object, px²; None: a quarter of the area of a bead of `diameter`."""
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

    @model_validator(mode="after")
    def _refuse(self) -> ObjectConfig:
        if self.threshold < self.seeds.lowest:
            raise ValueError(f"threshold {self.threshold} is below seeds.lowest {self.seeds.lowest}: lower that too")
        return self


class TilingConfig(Config):
    """When and how an image is cut into tiles."""

    whole_image_pixels: Annotated[int, Field(ge=4096)] = 4_000_000
    """Images of up to this many pixels pass through the network whole."""
    tile: Annotated[int, Field(ge=64, le=8192)] = 1024
    """Side of a tile, px, for larger images."""
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
    """Arithmetic of the network; auto takes bf16 where the machine has it and a self-test agrees with fp32."""
