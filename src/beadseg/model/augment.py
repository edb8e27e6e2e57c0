"""Random changes of training patches by MONAI's transforms; the result depends on the seed only."""

from __future__ import annotations

import math
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from monai.data.meta_obj import get_track_meta, set_track_meta
from monai.data.meta_tensor import MetaTensor
from monai.transforms.intensity.dictionary import (
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from monai.transforms.spatial.dictionary import RandAffined, RandFlipd, RandRotate90d
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt
    from monai.transforms.transform import RandomizableTransform

    from beadseg.config.train import AugmentConfig

IMAGE = "image"
TARGET = "target"
_BOTH = (IMAGE, TARGET)
_SMALLEST_SIGMA = 0.3


class Augmenter:
    """Changes a patch and its target together.

    In order: mirror images, rotation by 90 degrees (square patches only), free rotation and scaling (reflected at the
    border; the image interpolated, the target nearest neighbour), contrast (a factor about 0, the background of the
    normalised image), brightness (an offset), noise, blur. Contrast and brightness are drawn independently, each with
    the probability `intensity`.

    Every change draws from a generator of its own, seeded by the call's seed and the change's place in that list. So
    the result depends neither on earlier calls nor on any global generator, and switching one change off leaves the
    others' draws as they were. One instance belongs to one thread at a time; instances are independent of each
    other. While a call runs, MONAI's process-wide tracking of metadata is off (`monai.data.set_track_meta`).

    Parameters
    ----------
    config : AugmentConfig
        What to change, how often, how much.
    """

    def __init__(self, config: AugmentConfig) -> None:
        self._transforms = _transforms(config)

    def __call__(
        self, patch: Tensor | npt.NDArray[Any], target: Tensor | npt.NDArray[Any], seed: int
    ) -> tuple[Tensor, Tensor]:
        """Return changed copies.

        Parameters
        ----------
        patch : (Cin, Y, X)
            Normalised image.
        target : (K, Y, X)
            Target maps; masks such as ignored pixels travel as further channels.
        seed : int
            Decides everything that is random; not negative.

        Returns
        -------
        patch : (Cin, Y, X) float32 tensor
        target : (K, Y, X) float32 tensor
        """
        data: dict[str, Any] = {IMAGE: _copy(patch), TARGET: _copy(target)}
        square = data[IMAGE].shape[-1] == data[IMAGE].shape[-2]
        with _untracked():
            for place, transform in self._transforms.items():
                if isinstance(transform, RandRotate90d) and not square:
                    continue
                transform.set_random_state(state=_generator(seed, place))
                data = transform(data)
        return _plain(data[IMAGE]), _plain(data[TARGET])


def _generator(seed: int, place: int) -> np.random.RandomState:
    """Return a generator of the kind that MONAI takes; over PCG64, which is far quicker to seed than its usual one."""
    return np.random.RandomState(np.random.PCG64(np.random.SeedSequence((seed, place))))


class _Untracked:
    """How many calls are under way without MONAI's metadata, and what the setting was before the first of them."""

    lock = threading.Lock()
    calls = 0
    before = True


@contextmanager
def _untracked() -> Iterator[None]:
    """Switch MONAI's process-wide tracking of metadata off for the block: it doubles the time of small transforms."""
    with _Untracked.lock:
        if _Untracked.calls == 0:
            _Untracked.before = get_track_meta()
            set_track_meta(False)
        _Untracked.calls += 1
    try:
        yield
    finally:
        with _Untracked.lock:
            _Untracked.calls -= 1
            if _Untracked.calls == 0:
                set_track_meta(_Untracked.before)


def _transforms(config: AugmentConfig) -> dict[int, RandomizableTransform]:
    """Return the transforms that can do anything, by their place in the fixed list of all."""
    angle = math.radians(config.rotate_degrees)
    sigma = (min(_SMALLEST_SIGMA, config.blur_sigma), config.blur_sigma)
    everything: list[tuple[bool, Any]] = [
        (config.flip > 0, lambda: RandFlipd(_BOTH, config.flip, spatial_axis=0)),
        (config.flip > 0, lambda: RandFlipd(_BOTH, config.flip, spatial_axis=1)),
        (config.rotate90 > 0, lambda: RandRotate90d(_BOTH, config.rotate90)),
        (
            config.affine > 0 and (angle > 0 or config.scale > 0),
            lambda: RandAffined(
                _BOTH, prob=config.affine, rotate_range=angle, scale_range=(config.scale, config.scale),
                mode=("bilinear", "nearest"), padding_mode="reflection",
            ),
        ),
        (config.intensity * config.contrast > 0, lambda: RandScaleIntensityd(IMAGE, config.contrast, config.intensity)),
        (
            config.intensity * config.brightness > 0,
            lambda: RandShiftIntensityd(IMAGE, config.brightness, prob=config.intensity),
        ),
        (config.noise * config.noise_std > 0, lambda: RandGaussianNoised(IMAGE, config.noise, std=config.noise_std)),
        (config.blur * config.blur_sigma > 0, lambda: RandGaussianSmoothd(IMAGE, sigma, sigma, prob=config.blur)),
    ]  # fmt: skip
    return {place: build() for place, (wanted, build) in enumerate(everything) if wanted}


def _copy(array: Tensor | npt.NDArray[Any]) -> Tensor:
    return torch.as_tensor(array).detach().to(torch.float32, copy=True)


def _plain(tensor: Tensor) -> Tensor:
    plain = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    return plain.to(torch.float32).contiguous()
