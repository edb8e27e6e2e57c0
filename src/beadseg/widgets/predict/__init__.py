"""Predict in the viewer: counts, sliders, tables, comparison."""
