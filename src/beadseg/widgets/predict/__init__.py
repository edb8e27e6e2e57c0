"""Predict in the viewer: counts, sliders, tables, keeping what was chosen."""

from beadseg.widgets.predict.widget import PredictWidget

__all__ = ["PredictWidget"]
