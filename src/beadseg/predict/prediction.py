"""What was found in one plane, in memory or on disk, and how to choose again from it without the network.

The bead table of a plane says which beads count: those at borders and out of focus have rules. Maps are stored as
one uncompressed TIFF per plane, of which only what is looked at is read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import tifffile

from beadseg import files
from beadseg.config import PredictConfig
from beadseg.config.train import ImageConfig
from beadseg.data.documents import read_document
from beadseg.errors import ConfigError, RunError
from beadseg.events import OnEvent, StopFlag, ignore
from beadseg.files import write_atomically
from beadseg.measure.appearance import TrainingAppearance, appearance, sample_of
from beadseg.measure.beads import MICROMETRE_COLUMNS, bead_shapes, bead_table
from beadseg.measure.calibration import CALIBRATION, Calibration
from beadseg.model.inputs import chosen_channel, luminance, prepare
from beadseg.predict.instances import needed_diameter, separate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig
    from beadseg.data.image_io import Image, LazyImage
    from beadseg.measure.appearance import Appearance, ImageSample
    from beadseg.predict.instances import Separation

_SELECTING = {"threshold", "min_area", "max_area", "min_circularity", "min_confidence", "border", "min_focus"}
"""Fields of `ObjectConfig` that only choose among the candidates of a separation."""

BEAD_COLUMNS = (
    "id", "y", "x", "area_px", "equivalent_diameter_px", "circularity", "mean_intensity", "integrated_intensity",
    "mean_probability", "confidence", "focus", "group", "edge", "counted",
)  # fmt: skip
"""Columns of the bead table of a prediction; `MICROMETRE_COLUMNS` follow where the pixel size is known."""


@dataclass(frozen=True, eq=False)
class Maps:
    """What the network says of one plane.

    Attributes
    ----------
    probability : (Y, X) float32
        Of being part of a bead.
    centre : (Y, X) float32 or None
        Peaks at the centres of beads, 0 to 1; None where the network has no such output.
    scale : float
        Pixels that the network saw per pixel of the plane, along an axis.
    doubt : str
        Why the size of the beads, and with it the count, is not sure; empty when it is.
    size : (Y, X) float32 or None
        Diameters of the beads that pixels belong to, as `beadseg.predict.bead_size.decoded` reads them (px as the
        network saw it); None where the network has no such output.
    """

    probability: NDArray[np.float32]
    centre: NDArray[np.float32] | None = None
    scale: float = 1.0
    doubt: str = ""
    size: NDArray[np.float32] | None = None

    @classmethod
    def of_heads(cls, maps: NDArray[np.float32], scale: float = 1.0, doubt: str = "") -> Maps:
        """Return the (K, Y, X) output of a network by its heads: foreground, then centre and size where it has them."""
        return cls(maps[0], maps[1] if len(maps) > 1 else None, scale, doubt, maps[2] if len(maps) > 2 else None)

    @property
    def heads(self) -> NDArray[np.float32]:
        """All maps (K, Y, X), in the order of `of_heads`."""
        return np.stack([values for values in (self.probability, self.centre, self.size) if values is not None])

    def separated(self, objects: ObjectConfig) -> Separation:
        """Return the candidates for beads; see `beadseg.predict.instances.separate`."""
        return separate(self.probability, objects, self.centre, self.diameter(objects))

    def diameter(self, objects: ObjectConfig) -> float:
        """Return the diameter, px of the plane, of beads that have `objects.diameter` for the network."""
        return needed_diameter(objects) / self.scale


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in one plane.

    Attributes
    ----------
    maps : Maps
        The network's output.
    intensity : (Y, X) float32
        Brightness of the image, in its own units.
    pixel_size_um : float or None
        µm per px.
    objects : ObjectConfig
        What was chosen.
    separation : Separation
        The candidates for beads, among which `objects` chose.
    labels : (Y, X) uint32
        Instances: 0 is background, ids run from 1.
    sample : ImageSample or None
        What the image's appearance is measured from; None where it is not compared with the training images.
    """

    maps: Maps
    intensity: NDArray[np.float32]
    pixel_size_um: float | None
    objects: ObjectConfig
    separation: Separation
    labels: NDArray[np.uint32]
    sample: ImageSample | None = None

    @classmethod
    def of(
        cls,
        maps: Maps,
        intensity: NDArray[np.float32],
        pixel_size_um: float | None,
        objects: ObjectConfig,
        separation: Separation | None = None,
        sample: ImageSample | None = None,
    ) -> Prediction:
        """Separate, unless that was done, and choose."""
        separation = maps.separated(objects) if separation is None else separation
        return cls(maps, intensity, pixel_size_um, objects, separation, separation.chosen(objects), sample)

    @cached_property
    def beads(self) -> pd.DataFrame:
        """One row per instance, columns as in `beadseg.predict.prediction.bead_list`; measured when first asked for."""
        return bead_list(
            self.labels, self.separation, self.objects, self.probability, self.intensity, self.pixel_size_um
        )

    @property
    def probability(self) -> NDArray[np.float32]:
        """The probability (Y, X) of being part of a bead."""
        return self.maps.probability

    @property
    def count(self) -> int:
        """Number of beads that count; see `beadseg.predict.prediction.counts`."""
        if self.objects.all_count:
            return self.every
        return int(self.beads["counted"].sum())

    @property
    def shape(self) -> tuple[int, int]:
        """Y and X of the plane, px."""
        return self.labels.shape[0], self.labels.shape[1]

    @property
    def every(self) -> int:
        """Number of beads, counted or not."""
        return int(self.labels.max(initial=0))

    @property
    def coverage(self) -> float:
        """Share of the plane that is bead."""
        return float((self.labels > 0).mean())

    @property
    def diameter(self) -> float:
        """The bead diameter that was expected, px of the image."""
        return self.maps.diameter(self.objects)

    @property
    def doubt(self) -> str:
        """Why the size of the beads, and with it the count, is not sure; empty when it is."""
        return self.maps.doubt

    @property
    def seen_pixels(self) -> float:
        """Pixels of the image as the network saw it."""
        return float(self.labels.size) * self.maps.scale**2

    @property
    def integral(self) -> float:
        """Summed probability of what can be bead, px² as the network saw it: what the count by area is made from."""
        return float(self.separation.probability.sum(dtype="float64")) * self.maps.scale**2

    def appearance(self, diameter: float) -> Appearance | None:
        """Return what the image looks like, measured with a bead diameter (px as the network saw it).

        None without a sample of it.
        """
        if self.sample is None:
            return None
        maps, candidates = self.maps, self.separation.positions
        near = diameter / maps.scale
        found = appearance(self.sample, self.labels, maps.probability, maps.centre, candidates, near)
        return found if maps.scale == 1 else found.seen_at(maps.scale)

    def select(self, objects: ObjectConfig) -> Prediction:
        """Return what another choice finds, without the network.

        Threshold, smallest area and least confidence are look-ups; where anything else differs, the beads are separated
        again.

        Raises
        ------
        ConfigError
            `objects` has no diameter.
        """
        kept = self.separation if same_candidates(objects, self.objects) else None
        return Prediction.of(self.maps, self.intensity, self.pixel_size_um, objects, kept, self.sample)


def same_candidates(one: ObjectConfig, other: ObjectConfig) -> bool:
    """Tell whether two choices only select differently among the candidates of one separation."""
    return one.model_dump(exclude=_SELECTING) == other.model_dump(exclude=_SELECTING)


def bead_list(
    labels: NDArray[np.uint32],
    separation: Separation,
    objects: ObjectConfig,
    probability: NDArray[np.float32],
    intensity: NDArray[np.float32],
    pixel_size_um: float | None = None,
    corner: tuple[int, int] = (0, 0),
) -> pd.DataFrame:
    """Measure the beads that were chosen.

    Parameters
    ----------
    labels : (Y, X) uint32
        What `objects` chose from `separation`, ids from 1 without gaps.
    separation, objects
        The candidates and the choice.
    probability, intensity : (Y, X) float32
        Of being bead; brightness of the image.
    pixel_size_um : float, optional
        µm per px.
    corner : (int, int)
        Where the first pixel lies in a larger image, px.

    Returns
    -------
    pandas.DataFrame
        `BEAD_COLUMNS`, one row per bead: `bead_table`, `bead_shapes`, and ``confidence`` (the highest of the bead's
        pixels' candidates) and ``counted`` (`counts`).
    """
    basic = bead_table(labels, intensity, probability, pixel_size_um, corner)
    table = basic.join(bead_shapes(labels, intensity))
    table["confidence"] = _confidence(labels, separation, len(table))
    table["counted"] = counts(table, labels, objects)
    micrometres = MICROMETRE_COLUMNS if pixel_size_um is not None else ()
    return table[[*BEAD_COLUMNS, *micrometres]]


def counts(table: pd.DataFrame, labels: NDArray[np.uint32], objects: ObjectConfig) -> NDArray[np.bool_]:
    """Return which beads of a table count.

    At borders (`objects.border`) as in stereology: all count; or none that touches the border; or those that touch the
    upper or left border only, not those at the lower or right one (the unbiased counting frame of Gundersen 1977), so
    that images side by side count every bead once. Beads below `objects.min_focus` or `objects.min_circularity`, or
    above `objects.max_area`, do not count.
    """
    counted = np.ones(len(table), bool)
    if objects.border == "exclude":
        counted &= ~table["edge"].to_numpy(bool)
    elif objects.border == "half":
        counted &= ~np.isin(table["id"], np.union1d(labels[-1], labels[:, -1]))
    if objects.min_focus is not None:
        counted &= ~(table["focus"].to_numpy(np.float64) < objects.min_focus)
    if objects.max_area is not None:
        counted &= table["area_px"].to_numpy(np.float64) <= objects.max_area
    counted &= ~(table["circularity"].to_numpy(np.float64) < objects.min_circularity)
    return counted


def _confidence(labels: NDArray[np.uint32], separation: Separation, count: int) -> NDArray[np.float32]:
    found = np.zeros(count + 1, np.float32)
    np.maximum.at(found, labels.reshape(-1)[separation.pixels], separation.confidence[separation.owner - 1])
    return found[1:]


class StoredMaps:
    """Predicts one image again, from its maps in a prediction folder that ``predict --maps`` wrote.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder.
    name : str
        The image's name there.
    objects : ObjectConfig, optional
        What an object is; as it was predicted when not given.

    Raises
    ------
    RunError
        The folder's description is missing or damaged.
    """

    def __init__(self, folder: Path, name: str, objects: ObjectConfig | None = None) -> None:
        self.folder, self.name = folder, name
        self.document = read_document(folder / files.PREDICTION, "run", "options", "fingerprint")
        try:
            self.options = PredictConfig.parse(self.document["options"], folder / files.PREDICTION)
        except ConfigError as error:
            text = f"Does not fit this version of beadseg ({error.what})."
            raise RunError(text, folder / files.PREDICTION, "Update beadseg, or predict again.") from None
        if objects is not None:
            self.options = self.options.replace(objects=objects)

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Of the training data."""
        return dict(self.document["fingerprint"])

    @cached_property
    def appearance(self) -> TrainingAppearance | None:
        """What the training images looked like; None where the model was stored without."""
        return TrainingAppearance.stored_in(self.fingerprint, self.folder / files.PREDICTION)

    @property
    def calibration(self) -> Calibration | None:
        """How the model's counts are to be read; None where it was stored without."""
        stored = self.document.get(CALIBRATION)
        try:
            return None if stored is None else Calibration.parse(stored, self.folder / files.PREDICTION)
        except ConfigError as error:
            text = f"Holds a calibration of another version, or a damaged one ({error.what})."
            raise RunError(text, self.folder / files.PREDICTION, "Update beadseg, or predict again.") from None

    @property
    def source(self) -> str:
        """What the model is called."""
        return str(self.document["run"])

    @property
    def model_sha256(self) -> str:
        """What the model is known by."""
        return str(self.document.get("model_sha256", ""))

    def describe(self) -> dict[str, Any]:
        """Return what ``prediction.json`` says of the model, with the options of now."""
        kept = ("image", "network", "backend", "precision", "device", "fingerprint", CALIBRATION)
        options = self.options.model_dump(mode="json")
        return {"options": options} | {key: self.document[key] for key in kept if key in self.document}

    def predict_planes(
        self, image: Image | LazyImage, on_event: OnEvent = ignore, stop: StopFlag | None = None
    ) -> Iterator[tuple[str, NDArray[np.generic], Prediction]]:
        """Yield name, (C, Y, X) pixels and `Prediction` of every plane; raises `RunError` where its maps are gone."""
        for plane, every in image.planes():
            if stop is not None:
                stop.check()
            pixels = chosen_channel(every, self.options.channel)
            maps, objects = read_maps(map_path(self.folder, self.name, plane)), self.options.objects
            sample = self.sample(every, maps.scale)
            yield plane, pixels, Prediction.of(maps, luminance(pixels), image.pixel_size_um, objects, sample=sample)

    def sample(self, pixels: NDArray[np.generic], scale: float = 1.0) -> ImageSample | None:
        """Return what the appearance of a plane (C, Y, X) is measured from; None where it is not compared.

        `scale` is that of its maps.
        """
        training = self.appearance
        if training is None:
            return None
        config = ImageConfig.parse(self.document["image"], self.folder / files.PREDICTION)
        pixels = chosen_channel(pixels, self.options.channel, config.channels)
        return sample_of(pixels, prepare(pixels, config.seen_at(scale)), config, training.diameter / scale)


def map_path(folder: Path, name: str, plane: str) -> Path:
    """Return the file of the maps of one plane in a prediction folder."""
    return folder / files.MAPS / (f"{name}_{plane}.tif" if plane else f"{name}.tif")


def write_maps(path: Path, maps: Maps) -> None:
    """Write the maps of a plane: (K, Y, X) float32, the probability first, then centre and size where they are there.

    Raises
    ------
    MachineError
        The disk is full, or the folder not writable.
    """
    values = maps.heads
    about = {"axes": "CYX", "scale": maps.scale, "doubt": maps.doubt}
    write_atomically(path, lambda file: tifffile.imwrite(file, values, photometric="minisblack", metadata=about))


def read_maps(path: Path) -> Maps:
    """Return the maps of a plane; their pixels are read from the disk when they are used.

    Raises
    ------
    RunError
        There is no such file, or it holds no maps.
    """
    try:
        values = tifffile.memmap(path, mode="r")
        about = _description(path)
    except FileNotFoundError:
        raise RunError("The maps are not there.", path, "Predict the image again.") from None
    except (OSError, ValueError, struct.error, tifffile.TiffFileError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise RunError(f"The maps cannot be read ({detail}).", path, "Predict the image again.") from None
    planes = values.reshape(-1, *values.shape[-2:])
    if values.dtype != np.float32 or len(planes) > 3:
        raise RunError("Holds no maps of beads.", path, "Predict the image again.")
    return Maps.of_heads(planes, float(about.get("scale", 1.0)), str(about.get("doubt", "")))


def _description(path: Path) -> dict[str, Any]:
    """Return what `write_maps` says of the maps beside their pixels."""
    with tifffile.TiffFile(path) as file:
        found = file.shaped_metadata
    return dict(found[0]) if found else {}


class Predictor(Protocol):
    """Predicts images plane by plane."""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Of the training data, for telling implausible results."""

    @property
    def appearance(self) -> TrainingAppearance | None:
        """What the training images looked like; None for a model that was stored without."""

    @property
    def calibration(self) -> Calibration | None:
        """How the model's counts are to be read; None where it was stored without."""

    def describe(self) -> dict[str, Any]:
        """Return what ``prediction.json`` says of the model and the options."""

    def predict_planes(
        self, image: Image | LazyImage, on_event: OnEvent = ..., stop: StopFlag | None = None
    ) -> Iterator[tuple[str, NDArray[np.generic], Prediction]]:
        """Yield name, (C, Y, X) pixels and `Prediction` of every plane."""
