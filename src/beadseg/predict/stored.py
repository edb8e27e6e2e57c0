"""Predictions from maps that a network left on disk: other thresholds and sizes, without the network."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.config import PredictConfig
from beadseg.config.image import ImageConfig
from beadseg.data.documents import read_document
from beadseg.errors import ConfigError, RunError
from beadseg.events import OnEvent, StopFlag, ignore
from beadseg.measure.appearance import TrainingAppearance, sample_of
from beadseg.measure.calibration import CALIBRATION, Calibration
from beadseg.model.inputs import chosen_channel, luminance, prepare
from beadseg.predict.map_files import map_path, read_maps
from beadseg.predict.prediction import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig
    from beadseg.data.image_io import Image
    from beadseg.data.lazy import LazyImage
    from beadseg.measure.appearance import ImageSample


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
        kept = ("image", "network", "precision", "device", "fingerprint", CALIBRATION)
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
        """Return what the appearance of a plane (C, Y, X) is told from; None where it is not compared.

        `scale` is that of its maps.
        """
        training = self.appearance
        if training is None:
            return None
        config = ImageConfig.parse(self.document["image"], self.folder / files.PREDICTION)
        pixels = chosen_channel(pixels, self.options.channel, config.channels)
        return sample_of(pixels, prepare(pixels, config.seen_at(scale)), config, training.diameter / scale)
