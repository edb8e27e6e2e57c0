"""Configuration: frozen pydantic models, one concept per file, and the packaged presets."""

from beadseg.config.base import Config
from beadseg.config.predict import ObjectConfig, PredictConfig, TilingConfig
from beadseg.config.train import (
    GENERAL,
    METRICS,
    NETWORK_KINDS,
    PRESETS,
    AugmentConfig,
    ImageConfig,
    ImageEpochConfig,
    LossConfig,
    NetworkConfig,
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
