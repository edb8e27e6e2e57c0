"""Configuration: frozen pydantic models, one concept per file, and the packaged presets."""

from beadseg.config.base import Config
from beadseg.config.network import NETWORK_KINDS, ImageConfig, NetworkConfig
from beadseg.config.predict import ObjectConfig, PredictConfig, TilingConfig
from beadseg.config.train import (
    GENERAL,
    METRICS,
    PRESETS,
    AugmentConfig,
    ImageEpochConfig,
    LossConfig,
    PatchEpochConfig,
    SplitConfig,
    TrainConfig,
)

__all__ = [
    "GENERAL",
    "METRICS",
    "NETWORK_KINDS",
    "PRESETS",
    "AugmentConfig",
    "Config",
    "ImageConfig",
    "ImageEpochConfig",
    "LossConfig",
    "NetworkConfig",
    "ObjectConfig",
    "PatchEpochConfig",
    "PredictConfig",
    "SplitConfig",
    "TilingConfig",
    "TrainConfig",
]
