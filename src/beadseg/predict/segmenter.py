"""A trained model, ready to find and count beads: one image whole where it fits, else in Gaussian-blended tiles."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image as PilImage

from beadseg import files
from beadseg.config import ObjectConfig, PredictConfig, TrainConfig
from beadseg.config.train import ChannelConfig, SingleChannelConfig
from beadseg.data.image_io import Image, LazyImage
from beadseg.data.scan import sha256_of
from beadseg.errors import ConfigError, InputError, RunError
from beadseg.events import OnEvent, StopFlag, ignore
from beadseg.measure.appearance import TrainingAppearance, sample_of
from beadseg.measure.calibration import CALIBRATION, Calibration
from beadseg.measure.matching import match_labels
from beadseg.model.backends import Backend, Precision, TorchBackend, Wish, choose_device, chosen_backend
from beadseg.model.checkpoint import load_checkpoint, model_file, named_model
from beadseg.model.inputs import chosen_channel, luminance, prepare, resized
from beadseg.model.networks import Network, build_network
from beadseg.predict.bead_size import Size, checked_size, find_size, given_size
from beadseg.predict.blocks import probabilities
from beadseg.predict.instances import needed_diameter
from beadseg.predict.prediction import Maps, Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from beadseg.measure.appearance import ImageSample

SAME_SIZE = 0.02
"""Images whose beads differ by less than this share from the size that the network knows are not resampled."""
WHOLE_IMAGES = 8
"""So many times the pixels that pass through the network whole (`tiling.whole_image_pixels`) are enlarged at a time."""
BESIDE = 8
"""So many bead diameters are seen around a band of rows."""
MOST_CHANNELS = 8
"""A last axis as short as this, behind longer ones, holds the channels."""
PILLOW_MODES = ("1", "L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16L", "I;16B")
"""Modes of Pillow whose samples are grey or red, green and blue; of a palette they would be indices."""

SAME_COUNT, SAME_BEAD, SAME_MASK = 0.02, 0.8, 0.95
"""Two computations of one image agree when their counts differ by this share (or one) at most, as many beads have a
partner with this intersection over union, and their masks overlap so."""
FEW_BEADS, MOST_DIFFERENCE = 5, 0.1
"""With fewer beads the probabilities are compared: no pixel may differ by more."""


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
        self.appearance = TrainingAppearance.stored_in(fingerprint)
        """What the training images looked like; None for a model that was stored without."""
        self.calibration: Calibration | None = None
        """How its counts are to be read; None for a model that was stored without."""
        self.model_sha256 = ""
        """SHA-256 of the file that the weights were loaded from; empty where they come from none."""
        self._backends: dict[Wish, Backend] = {}

    @classmethod
    def load(cls, run: Path | str, *, device: str = "auto", options: PredictConfig | None = None) -> Segmenter:
        """Load the general model, the model of a run folder (the refitted one, else the best), or one model file.

        Parameters
        ----------
        run : str or path
            ``"general"``, which comes with beadseg; or a run folder, or a ``.safetensors`` file that beadseg wrote. A
            run folder of that name is ``"./general"`` or ``Path("general")``.
        device : str
            ``auto``, ``cpu``, ``cuda`` …
        options : PredictConfig, optional
            Prediction options; the run's own when not given.

        Raises
        ------
        RunError
            There is no model there, it is damaged, or of a newer version.
        """
        path = model_file(named_model(run))
        tensors, meta = load_checkpoint(path)
        if meta.get("kind") != "model":
            raise RunError("This checkpoint is for resuming, not for prediction.", path, f"Give {files.BEST}.")
        try:
            config = TrainConfig.parse(meta["config"], path)
            network = build_network(config.network, meta["in_channels"])
            network.load_state_dict(tensors)
            fingerprint = dict(meta["fingerprint"])
            TrainingAppearance.stored_in(fingerprint, path)
            fitted = ObjectConfig.parse(meta["objects"], path) if "objects" in meta else config.predict.objects
            calibration = Calibration.parse(meta[CALIBRATION], path) if CALIBRATION in meta else None
        except (ConfigError, KeyError, TypeError, RuntimeError) as error:
            detail = error.what if isinstance(error, ConfigError) else " ".join(str(error).split()).rstrip(".")
            text = f"Does not fit this version of beadseg, or is incomplete ({detail})."
            raise RunError(text, path, "Update beadseg, or train again.") from None
        if not all(math.isfinite(float(tensor.double().sum())) for tensor in tensors.values()):
            raise RunError("Holds weights that are not numbers.", path, "Train again; see the run's diagnosis.")
        segmenter = cls(network, config, fingerprint, choose_device(device))
        segmenter.model_sha256, segmenter.calibration = sha256_of(path), calibration
        segmenter.options = config.predict.replace(objects=fitted) if options is None else options
        return segmenter

    def predict(
        self,
        image: ArrayLike | Image | LazyImage,
        *,
        pixel_size_um: float | None = None,
        diameter_px: float | None = None,
        on_event: OnEvent = ignore,
        stop: StopFlag | None = None,
    ) -> Prediction:
        """Find and count the beads of one plane.

        Parameters
        ----------
        image : (Y, X), (C, Y, X) or (Y, X, 3 or 4), or Image or LazyImage
            Any integer or float dtype; also what NumPy makes an array of, such as tensors of torch or arrays of dask. A
            last axis of 3 or 4 is taken for colour, another short one for channels; alpha is dropped. Of a file's
            stack use `predict_planes`.
        pixel_size_um : float, optional
            µm per px, for the columns of the bead table in µm; images that were read from files bring their own.
        diameter_px : float, optional
            Of the beads in this image, px. When not given, as the options say (`options.size`): the general model
            measures it.

        Raises
        ------
        InputError
            The array is not such an image, or the diameter is given in µm and the pixel size is not known.
        Cancelled
            `stop` was set.
        """
        if isinstance(image, Image | LazyImage):
            pixel_size_um = image.pixel_size_um if pixel_size_um is None else pixel_size_um
        plane = chosen_channel(as_plane(image), self.options.channel, self.config.image.channels)
        size = self.size(plane, pixel_size_um, stop) if diameter_px is None else Size(diameter_px)
        factor = self.factor(size)
        x = prepare(plane, self.config.image.seen_at(factor)) if self.appearance is not None else None
        if x is None or factor != 1 or size.diameter is None:
            maps = self.maps(plane, on_event, stop, size)
        else:
            maps = replace(self.prepared_maps(x, on_event, stop), doubt=size.doubt)
        sample = None if x is None else self._sample(plane, x, factor)
        del x
        return Prediction.of(maps, luminance(plane), pixel_size_um, self.options.objects, sample=sample)

    def _sample(self, plane: NDArray[np.generic], x: NDArray[np.float32], factor: float) -> ImageSample | None:
        training = self.appearance
        return None if training is None else sample_of(plane, x, self.config.image, training.diameter / factor)

    def factor(self, size: Size) -> float:
        """Return the factor that a plane is resampled by; 1 where its beads have the size that the network knows."""
        factor = 1.0 if size.diameter is None else self.knows / size.diameter
        return 1.0 if abs(factor - 1) < SAME_SIZE else factor

    def predict_planes(
        self, image: Image | LazyImage, on_event: OnEvent = ignore, stop: StopFlag | None = None
    ) -> Iterator[tuple[str, NDArray[np.generic], Prediction]]:
        """Yield name, (C, Y, X) pixels and `Prediction` of every plane of a file's image (stacks by slice).

        Of a `LazyImage` one plane at a time is in memory.
        """
        for name, plane in image.planes():
            found = self.predict(plane, pixel_size_um=image.pixel_size_um, on_event=on_event, stop=stop)
            yield name, chosen_channel(plane, self.options.channel), found
            del plane

    @property
    def knows(self) -> float:
        """The bead diameter that the network was trained on, px as it sees them."""
        return self.config.image.bead_px or needed_diameter(self.options.objects)

    def size(
        self, plane: NDArray[np.generic], pixel_size_um: float | None = None, stop: StopFlag | None = None
    ) -> Size:
        """Return the diameter of the beads in a plane (C, Y, X): as given in the options, measured, or as trained on.

        Raises
        ------
        InputError
            It is given in µm, and `pixel_size_um` is not known.
        """
        wanted = self.options.size
        if wanted.diameter is not None:
            size = given_size(wanted, pixel_size_um)
            return checked_size(self._scaled, plane, self.options.objects, size) if wanted.search else size
        if wanted.search:
            return find_size(self._scaled, plane, self.options.objects, stop)
        return Size(self.knows)

    def maps(
        self,
        plane: NDArray[np.generic],
        on_event: OnEvent = ignore,
        stop: StopFlag | None = None,
        size: Size | None = None,
    ) -> Maps:
        """Return what the network says of a plane (C, Y, X), in the plane's own pixels.

        With `size` (as of `Segmenter.size`, which is asked when it is not given) the plane is resampled for the
        network, so that its beads have the size that the network knows.
        """
        size = self.size(plane, stop=stop) if size is None else size
        if size.diameter is None:
            nothing = np.zeros((len(self.config.network.heads), *plane.shape[-2:]), np.float32)
            return Maps.of_heads(nothing, doubt=size.doubt)
        factor = self.factor(size)
        if factor == 1:
            return replace(self.prepared_maps(prepare(plane, self.config.image), on_event, stop), doubt=size.doubt)
        seen = self._resampled_maps(plane, factor, on_event, stop)
        return Maps.of_heads(seen, factor, size.doubt)

    def _resampled_maps(
        self, plane: NDArray[np.generic], factor: float, on_event: OnEvent = ignore, stop: StopFlag | None = None
    ) -> NDArray[np.float32]:
        """Return the network's maps (K, Y, X) of a plane that it sees resampled, brought back to the plane's pixels.

        Where the network sees more pixels than the image has, it is given bands of rows, one after the other, that
        overlap by several beads.
        """
        shape = (plane.shape[-2], plane.shape[-1])
        if factor <= 1:
            return brought_back(self._heads(prepare(resized(plane, factor), self.config.image), on_event, stop), shape)
        x = prepare(plane, self.config.image.seen_at(factor))
        rows = max(1, int(WHOLE_IMAGES * self.options.tiling.whole_image_pixels / (shape[1] * factor**2)))
        if rows >= shape[0]:
            return brought_back(self._heads(resized(x, factor), on_event, stop), shape)
        beside = math.ceil(BESIDE * self.knows / factor)
        out = np.empty((len(self.config.network.heads), *shape), np.float32)
        for top in range(0, shape[0], rows):
            first, last = max(0, top - beside), min(shape[0], top + rows + beside)
            seen = self._heads(resized(x[:, first:last], factor), on_event, stop)
            out[:, top : top + rows] = brought_back(seen, (last - first, shape[1]))[:, top - first :][:, :rows]
        return out

    def _scaled(self, plane: NDArray[np.generic], factor: float) -> Maps:
        """Return what the network says of a plane resampled by `factor`, in the pixels that it sees."""
        return Maps.of_heads(self._heads(prepare(resized(plane, factor), self.config.image), ignore, None))

    def prepared_maps(self, x: NDArray[np.float32], on_event: OnEvent = ignore, stop: StopFlag | None = None) -> Maps:
        """Return what the network says of an image (C, Y, X) that `beadseg.model.inputs.prepare` has normalised."""
        return Maps.of_heads(self._heads(x, on_event, stop))

    def _heads(self, x: NDArray[np.float32], on_event: OnEvent, stop: StopFlag | None) -> NDArray[np.float32]:
        return probabilities(self.backend(on_event), x, self.options.tiling, on_event, stop)

    def describe(self) -> dict[str, Any]:
        """Return what ``prediction.json`` says of the model and the options."""
        return {
            "options": self.options.model_dump(mode="json"),
            "image": self.config.image.model_dump(mode="json"),
            "network": self.config.network.model_dump(mode="json"),
            "backend": self.backend().name,
            "precision": self.precision(),
            "device": str(self.device),
            "fingerprint": self.fingerprint,
            CALIBRATION: None if self.calibration is None else self.calibration.model_dump(mode="json"),
        }

    def precision(self) -> Precision:
        """Return the arithmetic in use."""
        return self.backend().precision

    def backend(self, on_event: OnEvent = ignore) -> Backend:
        """Return what computes the network: as asked for, tested once for the beads of fp32 on a simulated tile."""
        wish = Wish(self.options.backend, self.options.precision)
        if wish not in self._backends:
            self._backends[wish] = chosen_backend(
                self.network, wish, self._tile, self._agrees, self.model_sha256, on_event
            )
        return self._backends[wish]

    def _tile(self) -> NDArray[np.float32]:
        tile = tile_with_beads(self.knows, self.fingerprint.get("polarity") == "bright", self.config.image.channels)
        return prepare(tile, self.config.image)

    def _agrees(self, backend: Backend, x: NDArray[np.float32]) -> bool:
        """Return whether a backend finds the beads of an image (C, Y, X) that torch finds in fp32."""
        exact, fast = (
            Maps.of_heads(probabilities(each, x, self.options.tiling)) for each in (TorchBackend(self.network), backend)
        )
        return same_beads(exact, fast, self.options.objects.replace(diameter=self.knows))


def tile_with_beads(diameter: float, bright: bool, channels: ChannelConfig) -> NDArray[np.generic]:
    """Return a simulated image (C, Y, X) with some fifty beads, for tests of the arithmetic."""
    from beadseg.data.simulate import SceneConfig, simulate  # late: a remembered backend needs no tile

    side = int(min(1024, max(192, 24 * diameter)))
    scene = SceneConfig(
        height=side, width=side, diameter_px=min(500.0, max(2.0, diameter)), poisson=False, debris=0,
        beads=round(0.08 * side**2 / diameter**2), polarity="bright" if bright else "dark",
    )  # fmt: skip
    image = np.moveaxis(simulate(scene, 0).image, -1, 0)
    most = channels.index + 1 if isinstance(channels, SingleChannelConfig) else 0
    return image if most <= len(image) else np.resize(image, (most, side, side))


def same_beads(exact: Maps, fast: Maps, objects: ObjectConfig) -> bool:
    """Return whether two computations of one image find the same beads: counts, labels, masks, numbers everywhere.

    Where `exact` finds hardly any bead the probabilities themselves must agree at every pixel.
    """
    if not np.isfinite(fast.heads).all():
        return False
    one, other = (maps.separated(objects).chosen(objects) for maps in (exact, fast))
    count = int(one.max(initial=0))
    if count < FEW_BEADS:
        return bool(np.abs(exact.probability - fast.probability).max() <= MOST_DIFFERENCE)
    same_count = abs(count - int(other.max(initial=0))) <= max(1, SAME_COUNT * count)
    overlap = np.count_nonzero((one > 0) & (other > 0)) / np.count_nonzero((one > 0) | (other > 0))
    same = len(match_labels(other, one, SAME_BEAD).true) >= min(count - 1, (1 - SAME_COUNT) * count)
    return bool(same_count and same and overlap >= SAME_MASK)


def as_plane(image: ArrayLike | Image | LazyImage) -> NDArray[np.generic]:
    """Return an image as (C, Y, X): channels moved to the front, alpha dropped; raise `InputError` for a stack."""
    if isinstance(image, Image | LazyImage):
        if len(image.names) != 1:
            raise InputError(f"The image has {len(image.names)} planes.", remedy="Use predict_planes.")
        return next(plane for _, plane in image.planes())
    array = _as_array(image)
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3:
        raise InputError(
            f"An array of shape {array.shape} is not a single image.", remedy="Give (Y, X), (C, Y, X) or (Y, X, 3)."
        )
    first, last = array.shape[0], array.shape[-1]
    if last in (3, 4) and first not in (1, 3):
        return np.moveaxis(array[..., :3], -1, 0)
    return np.moveaxis(array, -1, 0) if last <= MOST_CHANNELS < first else array


def _as_array(image: ArrayLike) -> NDArray[np.generic]:
    """Return what Python calls an array (also of torch, dask, Pillow …) as one of NumPy's, of real numbers."""
    remedy = "Give a NumPy array of grey values or of red, green and blue."
    if isinstance(image, str | bytes | os.PathLike):
        raise InputError("The name of a file is not an image.", remedy="Read it first: beadseg.read_image(PATH).")
    if np.ma.is_masked(image):
        text = "Some pixels of the array are masked, and a count cannot leave them out."
        raise InputError(text, remedy="Fill them first, e.g. by array.filled(numpy.median(array.compressed())).")
    if isinstance(image, PilImage.Image) and image.mode not in PILLOW_MODES:
        raise InputError(f"A Pillow image of the mode {image.mode} has no grey values.", remedy='Use .convert("RGB").')
    try:
        array: NDArray[np.generic] = np.asarray(image)
    except Exception as error:  # of any library's own kind
        detail = str(error).strip().partition("\n")[0].rstrip(".")
        raise InputError(f"The image cannot be made an array ({detail}).", remedy=remedy) from None
    if array.dtype.kind not in "buif":
        raise InputError(f"Values of the kind {array.dtype} are not grey values.", remedy=remedy)
    return array


def brought_back(maps: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return maps (K, Y, X) of a resampled image in the pixels of the image itself, whose Y and X are `shape`.

    Interpolated linearly where they grow. Where they shrink they are averaged, but of the centre map the highest value
    stays: a peak of a small bead's centre is not lost.
    """
    if maps.shape[-2] <= shape[0]:
        return np.stack([_enlarged(values, shape) for values in maps])
    x = torch.from_numpy(maps)[None]
    out: NDArray[np.float32] = torch.nn.functional.interpolate(x, shape, mode="bilinear", antialias=True)[0].numpy()
    if len(maps) > 1:
        out[1] = torch.nn.functional.adaptive_max_pool2d(x[:, 1:2], shape)[0, 0].numpy()
    return out


def _enlarged(values: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map (Y, X) of values from 0 to 1 interpolated linearly to `shape`.

    Beyond the outer pixels' centres it goes on as it was: an even rim along the image's border would be full of peaks.
    """
    top, bottom, down = neighbours(values.shape[0], shape[0])
    left, right, across = neighbours(values.shape[1], shape[1])
    wide = values[:, left] * (1 - across) + values[:, right] * across
    out = wide[top]
    out *= (1 - down)[:, np.newaxis]
    out += wide[bottom] * down[:, np.newaxis]
    return np.clip(out, 0.0, 1.0, out=out)


def neighbours(count: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return, for each of `length` pixels, two pixels of a side of `count` px and the weight of the second."""
    position = (np.arange(length) + 0.5) * (count / length) - 0.5
    first = np.clip(np.floor(position), 0, max(0, count - 2)).astype(np.int64)
    return first, np.minimum(first + 1, count - 1), (position - first).astype(np.float32)
