from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from monai.data.meta_obj import get_track_meta
from torch import Tensor

from beadseg.config import AugmentConfig
from beadseg.model.augment import Augmenter


def patch(height: int = 48, width: int = 48) -> tuple[Tensor, Tensor]:
    image = torch.zeros(2, height, width)
    image[:, 6:20, 8:30] = -1.0
    image[:, 30:36, 30:36] = 1.0
    return image, (image < 0).float()


def only(**changes: float) -> Augmenter:
    return Augmenter(AugmentConfig.none().replace(**changes))


def test_nothing_changes_nothing() -> None:
    image, target = patch()
    out_image, out_target = Augmenter(AugmentConfig.none())(image, target, 3)
    assert torch.equal(out_image, image)
    assert torch.equal(out_target, target)
    assert out_image.data_ptr() != image.data_ptr()


def test_the_result_depends_on_the_seed_only() -> None:
    image, target = patch()
    first, second = Augmenter(AugmentConfig()), Augmenter(AugmentConfig())
    forward = [first(image, target, seed) for seed in range(30)]
    np.random.default_rng(0)
    torch.manual_seed(99)
    backward = [second(image, target, seed) for seed in reversed(range(30))][::-1]
    for (a, b), (c, d) in zip(forward, backward, strict=True):
        assert torch.equal(a, c)
        assert torch.equal(b, d)
    distinct = {tuple(a.flatten().tolist()) for a, _ in forward}
    assert len(distinct) > 25


def test_neither_input_nor_global_generators_are_touched() -> None:
    image, target = patch()
    kept = image.clone(), target.clone()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    everything = AugmentConfig(flip=1, rotate90=1, affine=1, intensity=1, noise=1, blur=1)
    Augmenter(everything)(image, target, 1)
    assert torch.equal(image, kept[0])
    assert torch.equal(target, kept[1])
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index]
    assert get_track_meta()


@pytest.mark.parametrize("name", ["flip", "rotate90", "affine"])
def test_geometry_moves_image_and_target_together(name: str) -> None:
    image, target = patch()
    augment = only(**{name: 1.0})
    moved = 0
    for seed in range(12):
        out_image, out_target = augment(image, target, seed)
        assert out_image.shape == image.shape
        assert set(out_target.unique().tolist()) <= {0.0, 1.0}
        disagree = ((out_image < -0.5) != (out_target > 0.5)).float().mean()
        assert disagree < 0.03
        moved += not torch.equal(out_target, target)
    assert moved >= 6


@pytest.mark.parametrize("name", ["intensity", "noise", "blur"])
def test_appearance_leaves_the_target_alone(name: str) -> None:
    image, target = patch()
    out_image, out_target = only(**{name: 1.0})(image, target, 2)
    assert torch.equal(out_target, target)
    assert not torch.equal(out_image, image)


def test_contrast_and_brightness_stay_within_their_bounds() -> None:
    image, target = patch()
    augment = only(intensity=1.0, contrast=0.4, brightness=0.1)
    offsets, factors = [], []
    for seed in range(60):
        out, _ = augment(image, target, seed)
        offsets.append(out[0, 0, 0].item())
        factors.append((out[0, 0, 0] - out[0, 10, 10]).item())
    assert max(map(abs, offsets)) <= 0.1 + 1e-6
    assert max(map(abs, offsets)) > 0.08
    assert 0.6 - 1e-6 <= min(factors) < 0.7
    assert 1.3 < max(factors) <= 1.4 + 1e-6


def test_noise_is_at_most_as_strong_as_asked() -> None:
    image, target = patch()
    augment = only(noise=1.0, noise_std=0.05)
    strengths = [(augment(image, target, seed)[0] - image).std().item() for seed in range(30)]
    assert 0.03 < max(strengths) < 0.055
    assert min(strengths) < 0.02


def test_probabilities_are_respected() -> None:
    image, target = patch()
    augment = only(noise=0.25)
    changed = sum(not torch.equal(augment(image, target, seed)[0], image) for seed in range(200))
    assert 30 <= changed <= 70


def test_one_change_switched_off_leaves_the_others_as_they_were() -> None:
    image, target = patch()
    both, flips = only(flip=0.5, noise=1.0), only(flip=0.5)
    assert all(torch.equal(both(image, target, s)[1], flips(image, target, s)[1]) for s in range(10))


def test_patches_that_are_not_square_keep_their_shape() -> None:
    image, target = patch(40, 56)
    augment = Augmenter(AugmentConfig(flip=1, rotate90=1, affine=1))
    for seed in range(10):
        out_image, out_target = augment(image, target, seed)
        assert out_image.shape == image.shape
        assert out_target.shape == target.shape


def test_arrays_of_other_types_come_back_as_float32() -> None:
    image, target = patch()
    out = Augmenter(AugmentConfig())(image.numpy().astype(np.float64), target.numpy().astype(bool), 4)
    assert [type(t) for t in out] == [Tensor, Tensor]
    assert [t.dtype for t in out] == [torch.float32] * 2
    for a, b in zip(out, Augmenter(AugmentConfig())(image, target, 4), strict=True):
        assert torch.equal(a, b)


def test_threads_with_instances_of_their_own_agree() -> None:
    image, target = patch()
    expected = [Augmenter(AugmentConfig())(image, target, seed)[0] for seed in range(16)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda seed: Augmenter(AugmentConfig())(image, target, seed)[0], range(16)))
    assert all(torch.equal(a, b) for a, b in zip(expected, results, strict=True))
    assert get_track_meta()
