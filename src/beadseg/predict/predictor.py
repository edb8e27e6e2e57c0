"""What a batch asks for predictions: a network, or maps that one left on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from beadseg.data.image_io import Image
    from beadseg.data.lazy import LazyImage
    from beadseg.events import OnEvent, StopFlag
    from beadseg.measure.appearance import TrainingAppearance
    from beadseg.measure.calibration import Calibration
    from beadseg.predict.prediction import Prediction


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
