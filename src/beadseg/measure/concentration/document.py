"""The document of densities and a dilution series: what ``density.json`` holds, and its published JSON schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pandas as pd

from beadseg import files
from beadseg.config.base import Config
from beadseg.config.predict import DensityConfig
from beadseg.errors import ConfigError, InputError
from beadseg.text import csv_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Unit = Literal["beads_per_ml", "beads_per_mm2", "beads_per_mpx"]
"""Beads per millilitre, per square millimetre, per million pixels: the first that all images allow."""
Interval = tuple[float, float]
"""Lower and upper limit, 95 %."""


class Density(Config):
    """Beads of one or several images over what they cover."""

    images: int
    """Images, or planes of stacks."""
    beads: float
    """Beads counted."""
    counting: Interval | None
    """Interval of the beads that are there, from the errors of counting; None where a prediction gave none."""
    area_mpx: float
    """Covered area, million pixels."""
    area_mm2: float | None
    """Covered area, mm²; None where a pixel size is not known."""
    volume_ul: float | None
    """Covered volume, µl; None without a chamber depth."""
    dispersion: float | None
    """Variance of the counts over what chance alone would give; None for one image."""
    density: float
    """Beads in the analysis' unit."""
    density_counting: Interval | None
    """Its interval from the errors of counting alone: how many beads were in these images."""
    density_sampling: Interval
    """Its interval from chance alone: other drops of the same suspension would have held other numbers."""
    density_total: Interval
    """Its interval from both."""


class ImageDensity(Density):
    """One image, or plane of a stack."""

    image: str
    """Name of the image in the prediction folder."""
    plane: str
    """Name of the plane; empty for a single image."""
    group: str
    """Group of the image."""
    factor: float | None
    """Dilution factor; None where the name tells none."""
    flags: str
    """What the prediction flagged as implausible."""

    @property
    def name(self) -> str:
        """Name of the image, with the plane."""
        return f"{self.image}_{self.plane}" if self.plane else self.image


class GroupDensity(Density):
    """Several images together."""

    group: str
    """Name of the group."""
    factor: float | None
    """Dilution factor; None where its images have none, or several."""


class DilutionPoint(Density):
    """All images of one dilution."""

    factor: float
    """Dilution factor."""
    expected: float | None
    """Density that the fitted line expects here; None where none could be fitted."""
    outlier: bool
    """Lies off the line that the other dilutions make."""


class DilutionFit(Config):
    """Regression of counts on the dilution: log(mean) = intercept + slope * log(factor) + log(covered area)."""

    model: Literal["poisson", "negative-binomial"]
    """Distribution of the counts of images."""
    overdispersion: float
    """Pearson's chi squared of the images over its degrees of freedom, before a negative binomial is chosen."""
    overdispersion_p: float
    """Chance of that much or more if counts were Poisson."""
    alpha: float
    """Of the negative binomial: variance = mean + alpha * mean²; 0 for Poisson."""
    slope: float
    """Change of log(density) per log(factor); -1 where a dilution does what it says."""
    slope_interval: Interval
    """Interval of the slope."""
    intercept: float
    """log(density) at factor 1."""
    covariance: tuple[float, float, float]
    """Variances of intercept and slope, and their covariance, widening included."""
    quantile: float
    """Standard errors on either side of an estimate that make an interval."""
    contains_minus_one: bool
    """The slope's interval contains -1."""
    lack_of_fit: float | None
    """Likelihood ratio of a mean of its own for every dilution, over its degrees of freedom; None for two dilutions."""
    lack_of_fit_p: float | None
    """Chance of that much or more if the dilutions lie on a line."""
    widened: float
    """Factor on standard errors, above 1 where dilutions scatter more about the line than their images tell."""
    undiluted: float
    """Density at factor 1 if the slope is -1: of the suspension before it was diluted."""
    undiluted_interval: Interval
    """Its interval."""
    outlier_images: tuple[str, ...]
    """Images unlike the others of their dilution."""


class ManualCount(Config):
    """One image counted by hand."""

    image: str
    """Name of the image."""
    manual: float
    """Beads counted by hand."""
    beads: float
    """Beads counted by beadseg."""


class DensityReport(Config):
    """Densities of a prediction folder, its dilution series, and manual counts beside it."""

    schema_version: Literal[1] = 1
    """Version of this document."""
    predictions: str
    """The prediction folder."""
    options: DensityConfig
    """How it was made."""
    unit: Unit
    """What every density is given in."""
    images: tuple[ImageDensity, ...]
    """One per image, or plane of a stack."""
    groups: tuple[GroupDensity, ...]
    """One per group."""
    points: tuple[DilutionPoint, ...]
    """One per dilution, least diluted first."""
    dilution: DilutionFit | None
    """The regression; None where there is no series, for the reason in ``notes``."""
    manual: tuple[ManualCount, ...] = ()
    """Images that were counted by hand too."""
    notes: tuple[str, ...] = ()
    """What a reader should know: images left out of the series, and why."""

    def image_table(self) -> pd.DataFrame:
        """Return one row per image."""
        return density_table(self.images, ("image", "plane", "group", "factor"), ("flags",))

    def group_table(self) -> pd.DataFrame:
        """Return one row per group."""
        return density_table(self.groups, ("group", "factor"), ())

    def point_table(self) -> pd.DataFrame:
        """Return one row per dilution."""
        return density_table(self.points, ("factor",), ("expected", "outlier"))

    def write(self, out: Path) -> None:
        """Write ``density.json``, ``density.csv``, ``density_groups.csv``, and of a series ``dilution.csv``.

        Raises
        ------
        InputError
            The folder holds a dataset, a run or predictions.
        MachineError
            The folder cannot be written to.
        """
        for name in (files.IMAGES, files.MASKS, files.LABELS, files.COUNTS, files.CONFIG):
            if (out / name).exists():
                text = f"Holds {name}, so that densities cannot be written there."
                raise InputError(text, out, "Give another --out folder; nothing was written.")
        files.ensure_folder(out)
        files.write_together(
            {
                out / files.DENSITY_IMAGES: csv_text(self.image_table(), "%.6g"),
                out / files.DENSITY_GROUPS: csv_text(self.group_table(), "%.6g"),
                out / files.DILUTION: csv_text(self.point_table(), "%.6g") if self.points else None,
                out / files.DENSITY: self.model_dump_json(indent=2) + "\n",
            }
        )

    @classmethod
    def read(cls, out: Path) -> DensityReport:
        """Read what `write` wrote; raises `ConfigError` when it is missing, damaged or of another version."""
        try:
            return cls.from_file(out / files.DENSITY)
        except ConfigError as error:
            raise ConfigError(error.what, error.where, "Run beadseg-batch density again.") from None


def density_table(rows: Sequence[Density], first: tuple[str, ...], last: tuple[str, ...]) -> pd.DataFrame:
    """Return rows as a table: what they are, what they hold, what is said of them; an interval has two columns."""
    values = [row.model_dump() for row in rows]
    columns: dict[str, list[object]] = {}
    for name in (*first, *Density.model_fields, *last):
        cells = [row[name] for row in values]
        if name == "counting" or (name.startswith("density_")):
            for side, end in enumerate(("low", "high")):
                columns[f"{'beads' if name == 'counting' else name}_{end}"] = [c[side] if c else None for c in cells]
        else:
            columns[name] = cells
    return pd.DataFrame(columns)
