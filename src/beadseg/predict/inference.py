"""One image through the network: whole where it fits, in Gaussian-blended tiles where not."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

from beadseg.events import OnEvent, StopFlag, ignore, progress
from beadseg.model.device import Precision, arithmetic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.config.predict import TilingConfig
    from beadseg.model.networks import Network


def probabilities(
    network: Network,
    image: NDArray[np.float32],
    tiling: TilingConfig,
    precision: Precision = "fp32",
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> NDArray[np.float32]:
    """Return the probability of every head at every pixel.

    Parameters
    ----------
    network : Network
        In evaluation mode, on the device to use.
    image : (C, Y, X) float32
        The prepared (normalised) image.
    tiling : TilingConfig
        When and how to cut the image.
    precision : {"fp32", "bf16", "fp16"}
        Arithmetic of the forward pass; blending is always fp32.
    on_event, stop
        Progress per tile, and the flag that ends the work between tiles.

    Returns
    -------
    (K, Y, X) float32
        One map per head, between 0 and 1.
    """
    device = next(network.parameters()).device
    height, width = image.shape[-2:]
    x = torch.from_numpy(np.ascontiguousarray(image))[None]
    forward = _Forward(network, precision, device, on_event, stop)
    with torch.inference_mode():
        if height * width <= tiling.whole_image_pixels:
            logits = forward(x)
        else:
            tile = _multiple(tiling.tile, network.size_multiple)
            forward.total = _tiles(height, tile, tiling.overlap) * _tiles(width, tile, tiling.overlap)
            inferer = SlidingWindowInferer(
                roi_size=(tile, tile),
                sw_batch_size=1,
                overlap=tiling.overlap,
                mode="gaussian",
                padding_mode="reflect" if min(height, width) > tile // 2 else "constant",
                device="cpu",
            )
            logits = torch.as_tensor(inferer(x, forward))
        result: NDArray[np.float32] = logits[0].float().sigmoid_().numpy()
    return result


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
    top, bottom, down = _neighbours(values.shape[0], shape[0])
    left, right, across = _neighbours(values.shape[1], shape[1])
    wide = values[:, left] * (1 - across) + values[:, right] * across
    out = wide[top]
    out *= (1 - down)[:, np.newaxis]
    out += wide[bottom] * down[:, np.newaxis]
    return np.clip(out, 0.0, 1.0, out=out)


def _neighbours(count: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return, for each of `length` pixels, two pixels of a side of `count` px and the weight of the second."""
    position = (np.arange(length) + 0.5) * (count / length) - 0.5
    first = np.clip(np.floor(position), 0, max(0, count - 2)).astype(np.int64)
    return first, np.minimum(first + 1, count - 1), (position - first).astype(np.float32)


class _Forward:
    """The network's forward pass on a padded input, with progress and cancelling between calls."""

    def __init__(
        self, network: nn.Module, precision: Precision, device: torch.device, on_event: OnEvent, stop: StopFlag | None
    ) -> None:
        self.network, self.precision, self.device = network, precision, device
        self.on_event, self.stop = on_event, stop
        self.done, self.total = 0, 1

    def __call__(self, x: Tensor) -> Tensor:
        if self.stop is not None:
            self.stop.check()
        padded = pad_to_multiple(x, int(self.network.size_multiple))  # type: ignore[arg-type]
        padded = padded.to(self.device, memory_format=torch.channels_last)
        with arithmetic(self.precision, self.device):
            logits = self.network(padded)
        self.done += 1
        if self.total > 1:
            self.on_event(progress("tiles", self.done, self.total))
        result: Tensor = logits[..., : x.shape[-2], : x.shape[-1]].float().cpu()
        return result


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Return `x` (N, C, Y, X) padded below and right to multiples, two of them at least; mirrored if possible."""
    height, width = x.shape[-2:]
    bottom = max(_multiple(height, multiple), 2 * multiple) - height
    right = max(_multiple(width, multiple), 2 * multiple) - width
    mode = "reflect" if bottom < height and right < width else "replicate"
    return torch.nn.functional.pad(x, (0, right, 0, bottom), mode=mode) if bottom or right else x


def _multiple(size: int, of: int) -> int:
    return math.ceil(size / of) * of


def _tiles(size: int, tile: int, overlap: float) -> int:
    step = max(1, int(tile * (1 - overlap)))
    return max(1, math.ceil((size - tile) / step) + 1)
