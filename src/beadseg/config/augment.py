"""Augmentation of training patches."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from beadseg.config.base import Config

Probability = Annotated[float, Field(ge=0.0, le=1.0)]


class AugmentConfig(Config):
    """Random changes of a training patch; a probability of 0 switches one off."""

    flip: Probability = 0.5
    """Probability of a mirror image along each axis."""
    rotate90: Probability = 0.5
    """Probability of a rotation by a multiple of 90 degrees."""
    affine: Probability = 0.3
    """Probability of a free rotation and scaling together."""
    rotate_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 180.0
    """Largest free rotation, degrees either way."""
    scale: Annotated[float, Field(ge=0.0, lt=0.9)] = 0.15
    """Largest relative change of size either way."""
    intensity: Probability = 0.5
    """Probability of a change of contrast and brightness."""
    contrast: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.4
    """Largest relative change of contrast either way."""
    brightness: Annotated[float, Field(ge=0.0, le=2.0)] = 0.1
    """Largest brightness offset either way, in units of the normalised image."""
    noise: Probability = 0.3
    """Probability of added Gaussian noise."""
    noise_std: Annotated[float, Field(ge=0.0, le=2.0)] = 0.05
    """Largest standard deviation of the noise, in units of the normalised image."""
    blur: Probability = 0.2
    """Probability of a Gaussian blur."""
    blur_sigma: Annotated[float, Field(ge=0.0, le=5.0)] = 1.0
    """Largest sigma of the blur, px."""

    @classmethod
    def none(cls) -> AugmentConfig:
        """Return the configuration that changes nothing."""
        return cls(flip=0, rotate90=0, affine=0, intensity=0, noise=0, blur=0)
