"""Configuration: frozen pydantic models, one concept per file, and the packaged presets."""

from beadseg.config.augment import AugmentConfig
from beadseg.config.base import Config
from beadseg.config.image import ImageConfig
from beadseg.config.loss import LossConfig
from beadseg.config.network import NETWORK_KINDS, NetworkConfig
from beadseg.config.predict import ObjectConfig, PredictConfig, TilingConfig
from beadseg.config.split import SplitConfig
from beadseg.config.train import GENERAL, METRICS, PRESETS, ImageEpochConfig, PatchEpochConfig, TrainConfig

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
