"""A trained model, ready to find and count beads in images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from beadseg import files
from beadseg.config import ObjectConfig, PredictConfig, TrainConfig
from beadseg.data.hashes import sha256_of
from beadseg.data.image_io import Image
from beadseg.data.lazy import LazyImage
from beadseg.errors import ConfigError, InputError, RunError
from beadseg.events import OnEvent, StopFlag, ignore, log
from beadseg.measure.calibration import CALIBRATION, Calibration
from beadseg.model.checkpoint import load_checkpoint
from beadseg.model.device import Precision, agrees_with_fp32, choose_device, choose_precision
from beadseg.model.inputs import input_channels, luminance, prepare
from beadseg.model.networks import Network, build_network
from beadseg.predict.inference import probabilities
from beadseg.predict.model_file import model_file
from beadseg.predict.prediction import Maps, Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


class Segmenter:
    """A network with the normalisation and the object definition that it was trained with.

    Parameters
    ----------
    network : Network
        Trained weights.
    config : TrainConfig
        The complete configuration of its run.
    fingerprint : dict
        Of the training data: what densities and sizes the network has seen.
    device : torch.device
        Where to compute.
    """

    def __init__(
        self, network: Network, config: TrainConfig, fingerprint: dict[str, Any], device: torch.device
    ) -> None:
        self.network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config, self.fingerprint, self.device = config, fingerprint, device
        self.options = config.predict
        self.calibration: Calibration | None = None
        """How its counts are to be read; None for a model that was stored without."""
        self.model_sha256 = ""
        """SHA-256 of the file that the weights were loaded from; empty where they come from none."""
        self._precision: Precision | None = None

    @classmethod
    def load(cls, run: Path | str, *, device: str = "auto", options: PredictConfig | None = None) -> Segmenter:
        """Load the model of a run folder (the refitted one where there is one, else the best), or one model file.

        Parameters
        ----------
        run : path
            Run folder, or a ``.safetensors`` file that beadseg wrote.
        device : str
            ``auto``, ``cpu``, ``cuda`` …
        options : PredictConfig, optional
            Prediction options; the run's own when not given.

        Raises
        ------
        RunError
            There is no model there, it is damaged, or of a newer version.
        """
        path = model_file(Path(run))
        tensors, meta = load_checkpoint(path)
        if meta.get("kind") != "model":
            raise RunError("This checkpoint is for resuming, not for prediction.", path, f"Give {files.BEST}.")
        try:
            config = TrainConfig.parse(meta["config"], path)
            network = build_network(config.network, meta["in_channels"])
            network.load_state_dict(tensors)
            fingerprint = dict(meta["fingerprint"])
            fitted = ObjectConfig.parse(meta["objects"], path) if "objects" in meta else config.predict.objects
            calibration = Calibration.parse(meta[CALIBRATION], path) if CALIBRATION in meta else None
        except (ConfigError, KeyError, TypeError, RuntimeError) as error:
            detail = error.what if isinstance(error, ConfigError) else " ".join(str(error).split()).rstrip(".")
            text = f"Does not fit this version of beadseg, or is incomplete ({detail})."
            raise RunError(text, path, "Update beadseg, or train again.") from None
        if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
            raise RunError("Holds weights that are no numbers.", path, "Train again; see the run's diagnosis.")
        segmenter = cls(network, config, fingerprint, choose_device(device))
        segmenter.model_sha256, segmenter.calibration = sha256_of(path), calibration
        segmenter.options = config.predict.replace(objects=fitted) if options is None else options
        return segmenter

    def predict(
        self,
        image: NDArray[np.generic] | Image | LazyImage,
        *,
        pixel_size_um: float | None = None,
        on_event: OnEvent = ignore,
        stop: StopFlag | None = None,
    ) -> Prediction:
        """Find and count the beads of one plane.

        Parameters
        ----------
        image : (Y, X), (C, Y, X) or (Y, X, 3 or 4), or Image or LazyImage
            Any integer or float dtype. A last axis of 3 or 4 is taken for colour; alpha is dropped. Of a file's stack
            use `predict_planes`.
        pixel_size_um : float, optional
            µm per px, for the columns of the bead table in µm; images that were read from files bring their own.

        Raises
        ------
        InputError
            The array is no such image.
        Cancelled
            `stop` was set.
        """
        if isinstance(image, Image | LazyImage):
            pixel_size_um = image.pixel_size_um if pixel_size_um is None else pixel_size_um
        plane = as_plane(image)
        maps = self.maps(plane, on_event, stop)
        return Prediction.of(maps, luminance(plane), pixel_size_um, self.options.objects)

    def predict_planes(
        self, image: Image | LazyImage, on_event: OnEvent = ignore, stop: StopFlag | None = None
    ) -> Iterator[tuple[str, NDArray[np.generic], Prediction]]:
        """Yield name, (C, Y, X) pixels and `Prediction` of every plane of a file's image (stacks by slice).

        Of a `LazyImage` one plane at a time is in memory.
        """
        for name, plane in image.planes():
            yield name, plane, self.predict(plane, pixel_size_um=image.pixel_size_um, on_event=on_event, stop=stop)
            del plane

    def maps(self, plane: NDArray[np.generic], on_event: OnEvent = ignore, stop: StopFlag | None = None) -> Maps:
        """Return what the network says of a plane (C, Y, X)."""
        return self.prepared_maps(prepare(plane, self.config.image), on_event, stop)

    def prepared_maps(self, x: NDArray[np.float32], on_event: OnEvent = ignore, stop: StopFlag | None = None) -> Maps:
        """Return what the network says of an image (C, Y, X) that `beadseg.model.inputs.prepare` has normalised."""
        maps = probabilities(self.network, x, self.options.tiling, self.precision(on_event), on_event, stop)
        return Maps.of_heads(maps)

    def describe(self) -> dict[str, Any]:
        """Return what ``prediction.json`` says of the model and the options."""
        return {
            "options": self.options.model_dump(mode="json"),
            "image": self.config.image.model_dump(mode="json"),
            "network": self.config.network.model_dump(mode="json"),
            "precision": self.precision(),
            "device": str(self.device),
            "fingerprint": self.fingerprint,
            CALIBRATION: None if self.calibration is None else self.calibration.model_dump(mode="json"),
        }

    def precision(self, on_event: OnEvent = ignore) -> Precision:
        """Return the arithmetic in use: the one asked for, tested once against fp32 on a small image."""
        if self._precision is None:
            chosen = choose_precision(self.options.precision, self.device)
            if chosen != "fp32" and not self._agrees(chosen):
                on_event(log(f"{chosen} disagrees with fp32 on this machine: fp32 is used.", "warning"))
                chosen = "fp32"
            self._precision = chosen
        return self._precision

    def _agrees(self, precision: Precision) -> bool:
        generator = torch.Generator().manual_seed(0)
        channels = input_channels(self.config.image.channels)
        side = max(64, 2 * self.network.size_multiple)
        x = torch.randn((1, channels, side, side), generator=generator).to(self.device)
        return agrees_with_fp32(self.network, x, precision)


def as_plane(image: NDArray[np.generic] | Image | LazyImage) -> NDArray[np.generic]:
    """Return an image as (C, Y, X): channels moved to the front, alpha dropped; raise `InputError` for a stack."""
    if isinstance(image, Image | LazyImage):
        if len(image.names) != 1:
            raise InputError(f"The image has {len(image.names)} planes.", remedy="Use predict_planes.")
        return next(plane for _, plane in image.planes())
    if image.ndim == 2:
        return image[None]
    if image.ndim != 3:
        raise InputError(
            f"An array of shape {image.shape} is no single image.", remedy="Give (Y, X), (C, Y, X) or (Y, X, 3)."
        )
    if image.shape[-1] in (3, 4) and image.shape[0] not in (1, 3):
        return np.moveaxis(image[..., :3], -1, 0)
    return image
