"""A model that predicts without having been trained."""

from __future__ import annotations

import pytest
import torch
from predict_helpers import FINGERPRINT, Darkness

from beadseg.config import TrainConfig
from beadseg.predict import Segmenter


@pytest.fixture
def segmenter() -> Segmenter:
    config = TrainConfig.preset("dense", "unet").with_overrides(
        ["image.channels.kind=grey", "predict.objects.diameter=7", "predict.precision=fp32"]
    )
    return Segmenter(Darkness(), config, FINGERPRINT, torch.device("cpu"))
