"""Prediction: a trained model applied to images, tiled where needed, beads separated, batches over folders."""

from beadseg.predict.segmenter import Prediction, Segmenter

__all__ = ["Prediction", "Segmenter"]
