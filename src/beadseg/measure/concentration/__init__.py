"""From counts to concentrations: densities of images and groups, and the regression of a dilution series."""

from beadseg.measure.concentration.densities import density
from beadseg.measure.concentration.document import DensityReport

__all__ = ["DensityReport", "density"]
