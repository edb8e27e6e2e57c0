"""One image through the network: whole where it fits, else in blocks that give what the whole image would.

A block overlaps its neighbours by as much as an output of the network can see, and only what saw all of it is kept. The
reach is measured; where it has no end (instance norm), tiles are blended with Gaussian weights instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore, progress
from beadseg.model.backends import OPENVINO

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor, nn

    from beadseg.config.predict import TilingConfig
    from beadseg.data.image_io import LazyImage
    from beadseg.model.backends import Backend

LEAN = 3
"""OpenVINO gets blocks of so many times the pixels: it frees what is not needed any more."""
WORTH = 2.0
"""Blocks are computed when their pixels, overlaps included, are at most so many times the image's."""
PROBED = 24
"""Length, in multiples of the network's coarsest pixel, of the image that a network's reach is measured on."""
SIDES = (512, 1024, 2048, 4096)
"""Sides of a block of an image that does not fit into memory, px."""
NETWORK_BYTES = 160
"""Memory that a pixel takes while OpenVINO computes the network; torch takes three times as much."""
BLOCK_BYTES = 150
"""Memory that a pixel of a block takes while beads are separated."""
PROGRAM_BYTES = 900_000_000
"""Memory of Python with its libraries and the model."""
WHOLE_BYTES = 120
"""Memory that a pixel takes of an image that is predicted whole."""
_REACHES: WeakKeyDictionary[nn.Module, int | None] = WeakKeyDictionary()


def probabilities(
    backend: Backend,
    image: NDArray[np.float32],
    tiling: TilingConfig,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> NDArray[np.float32]:
    """Return the probability of every head at every pixel.

    Parameters
    ----------
    backend : Backend
        What computes the network, which is in evaluation mode.
    image : (C, Y, X) float32
        The prepared (normalised) image.
    tiling : TilingConfig
        When and how to cut the image.
    on_event, stop
        Progress per block, and the flag that ends the work between blocks.

    Returns
    -------
    (K, Y, X) float32
        One map per head, between 0 and 1.
    """
    multiple = int(backend.network.size_multiple)  # type: ignore[arg-type]
    height, width = image.shape[-2:]
    limit = pixels_at_once(backend, tiling)
    if height * width <= limit:
        return _whole(backend, image, multiple, stop)
    reach = network_reach(backend.network, len(image))
    padded = (max(math.ceil(side / multiple), 2) * multiple for side in (height, width))
    block = None if reach is None else _block(next(padded), next(padded), limit, reach, multiple)
    if reach is None or block is None:
        return _blended(backend, image, tiling, on_event, stop)
    return _in_blocks(backend, image, block, reach, on_event, stop)


def pixels_at_once(backend: Backend, tiling: TilingConfig) -> int:
    """Return how many pixels may pass through the network together."""
    return tiling.whole_image_pixels * (LEAN if backend.name == OPENVINO else 1)


def _whole(backend: Backend, image: NDArray[np.float32], multiple: int, stop: StopFlag | None) -> NDArray[np.float32]:
    if stop is not None:
        stop.check()
    return sigmoid(backend(pad_to_multiple(image[np.newaxis], multiple))[0], image.shape[-2:])


def sigmoid(logits: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the probabilities of the upper left part, of Y and X as in `shape`, of logits (K, Y, X)."""
    cropped = np.ascontiguousarray(logits[:, : shape[0], : shape[1]])
    result: NDArray[np.float32] = torch.from_numpy(cropped).sigmoid_().numpy()
    return result


def network_reach(network: nn.Module, channels: int) -> int | None:
    """Return how far from a pixel the network sees, px, a multiple of its coarsest pixel; None where there is no end.

    Measured: what a band of NaN turns into NaN can see the band.
    """
    if network not in _REACHES:
        multiple = int(network.size_multiple)  # type: ignore[arg-type]
        like = next(network.parameters())
        x = torch.zeros(1, channels, PROBED * multiple, 2 * multiple, device=like.device)
        first = PROBED // 2 * multiple
        x[:, :, first : first + multiple] = torch.nan
        with torch.inference_mode():
            seen = network(x).isnan().any(dim=1).any(dim=-1)[0].nonzero()[:, 0].tolist()
        endless = seen[0] == 0 or seen[-1] == PROBED * multiple - 1
        reach = max(first - seen[0], seen[-1] + 1 - first - multiple)
        _REACHES[network] = None if endless else math.ceil(reach / multiple) * multiple
    return _REACHES[network]


def _block(height: int, width: int, limit: int, reach: int, multiple: int) -> tuple[int, int] | None:
    """Return Y and X of the parts that an image of whole multiples is cut into, so that least is computed twice.

    None where blocks of `limit` pixels, overlaps included, are not worth it.
    """
    best, least = None, WORTH * height * width
    for columns in range(1, width // multiple + 1):
        across = width + 2 * reach * (columns - 1)
        if across * height > least:
            break
        wide = math.ceil(width / columns / multiple) * multiple
        rows = limit // min(width, wide + 2 * reach)
        high = height if rows >= height else (rows - 2 * reach) // multiple * multiple
        if high < multiple:
            continue
        computed = (height + 2 * reach * (math.ceil(height / high) - 1)) * across
        if computed < least:
            best, least = (high, wide), computed
    return best


def _in_blocks(
    backend: Backend, image: NDArray[np.float32], block: tuple[int, int], reach: int, on_event: OnEvent,
    stop: StopFlag | None,
) -> NDArray[np.float32]:  # fmt: skip
    """Return the probabilities of an image computed in parts of Y and X as in `block`, each with what it can see."""
    height, width = image.shape[-2:]
    padded = pad_to_multiple(image[np.newaxis], int(backend.network.size_multiple))  # type: ignore[arg-type]
    parts = list(_parts(padded.shape[-2], padded.shape[-1], block))
    out: NDArray[np.float32] | None = None
    for done, (top, left) in enumerate(parts, 1):
        if stop is not None:
            stop.check()
        above, before = max(0, top - reach), max(0, left - reach)
        seen = padded[:, :, above : top + block[0] + reach, before : left + block[1] + reach]
        logits = backend(np.ascontiguousarray(seen))[0][:, top - above :, left - before :]
        if out is None:
            out = np.empty((len(logits), height, width), np.float32)
        own = out[:, top : top + block[0], left : left + block[1]]
        own[...] = sigmoid(logits, own.shape[1:])
        on_event(progress("tiles", done, len(parts)))
    assert out is not None  # an image has pixels
    return out


def _parts(height: int, width: int, block: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Yield the upper left corners of the parts of an image."""
    for top in range(0, height, block[0]):
        for left in range(0, width, block[1]):
            yield top, left


def _blended(
    backend: Backend, image: NDArray[np.float32], tiling: TilingConfig, on_event: OnEvent, stop: StopFlag | None
) -> NDArray[np.float32]:
    """Return the probabilities of an image computed in tiles whose logits are blended with Gaussian weights."""
    from monai.inferers import SlidingWindowInferer  # late: MONAI takes seconds to import

    height, width = image.shape[-2:]
    multiple = int(backend.network.size_multiple)  # type: ignore[arg-type]
    tile = _multiple(tiling.tile, multiple)
    total, done = _tiles(height, tile, tiling.overlap) * _tiles(width, tile, tiling.overlap), 0

    def forward(x: Tensor) -> Tensor:
        nonlocal done
        if stop is not None:
            stop.check()
        logits = backend(pad_to_multiple(x.numpy(), multiple))
        done += 1
        on_event(progress("tiles", done, total))
        return torch.from_numpy(logits[..., : x.shape[-2], : x.shape[-1]])

    inferer = SlidingWindowInferer(
        roi_size=(tile, tile),
        sw_batch_size=1,
        overlap=tiling.overlap,
        mode="gaussian",
        padding_mode="reflect" if min(height, width) > tile // 2 else "constant",
        device="cpu",
    )
    with torch.inference_mode():
        logits = torch.as_tensor(inferer(torch.from_numpy(np.ascontiguousarray(image))[None], forward))
        result: NDArray[np.float32] = logits[0].sigmoid_().numpy()
    return result


def pad_to_multiple(x: NDArray[np.float32], multiple: int) -> NDArray[np.float32]:
    """Return `x` (N, C, Y, X) padded below and right to multiples, two of them at least; mirrored if possible."""
    height, width = x.shape[-2:]
    bottom = max(_multiple(height, multiple), 2 * multiple) - height
    right = max(_multiple(width, multiple), 2 * multiple) - width
    if not bottom and not right:
        return np.ascontiguousarray(x)
    mode = "reflect" if bottom < height and right < width else "edge"
    padded: NDArray[np.float32] = np.pad(x, ((0, 0), (0, 0), (0, bottom), (0, right)), mode=mode)  # type: ignore[call-overload]
    return padded


def _multiple(size: int, of: int) -> int:
    return math.ceil(size / of) * of


def _tiles(size: int, tile: int, overlap: float) -> int:
    step = max(1, int(tile * (1 - overlap)))
    return max(1, math.ceil((size - tile) / step) + 1)


@dataclass(frozen=True)
class Means:
    """What one image may take.

    Attributes
    ----------
    memory : int
        Bytes, of all processes together.
    processes : int
        Processes that share the blocks.
    side : int or None
        Of a block, px; None: as large as the memory allows. The results are the same.
    backwards : bool
        Last block first; the results are the same.
    """

    memory: int
    processes: int = 1
    side: int | None = None
    backwards: bool = False

    def block(self, where: Path) -> int:
        """Return the side of a block, px.

        Raises
        ------
        InputError
            There is less memory than the smallest block takes.
        """
        fits = [side for side in SIDES if (1.25 * side) ** 2 <= self.pixels]
        if not fits:
            least = self.processes * (PROGRAM_BYTES + BLOCK_BYTES * (1.25 * SIDES[0]) ** 2)
            text = f"{self.memory / 1e9:.1f} GB of memory are not enough for an image in blocks."
            raise InputError(text, where, f"Give at least {least / 1e9:.1f} GB, or fewer --processes.")
        return fits[-1] if self.side is None else self.side

    @property
    def free(self) -> int:
        """Bytes that a process may take beside the program itself."""
        return max(0, self.memory // self.processes - PROGRAM_BYTES)

    @property
    def pixels(self) -> int:
        """Pixels of a block, with what is around it, that fit."""
        return self.free // BLOCK_BYTES


def is_large(image: LazyImage, memory: int) -> bool:
    """Tell whether a single image takes more than so many bytes when it is predicted whole."""
    return not image.stack_shape and PROGRAM_BYTES + WHOLE_BYTES * math.prod(image.size) > memory
