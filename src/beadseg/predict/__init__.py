"""Prediction: a trained model applied to images, tiled where needed, beads separated, batches over folders."""

from beadseg.predict.prediction import Prediction
from beadseg.predict.segmenter import Segmenter

__all__ = ["Prediction", "Segmenter"]
