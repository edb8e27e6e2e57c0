from __future__ import annotations

import numpy as np
import pytest

from beadseg.errors import InputError
from beadseg.predict.results import OUTLINE_RGB, outlines, overlay


def square() -> np.ndarray:
    labels = np.zeros((7, 7), np.uint32)
    labels[1:6, 1:6] = 90_000
    return labels


def test_outline_is_the_outermost_pixel_of_a_bead() -> None:
    expected = np.zeros((7, 7), bool)
    expected[1:6, 1:6] = True
    expected[2:5, 2:5] = False
    assert np.array_equal(outlines(square()), expected)


def test_touching_beads_stay_two() -> None:
    labels = np.zeros((5, 8), np.uint8)
    labels[:, :4], labels[:, 4:] = 1, 2
    assert np.array_equal(np.flatnonzero(outlines(labels).all(axis=0)), [3, 4])
    # The image's border is not an edge of a bead that goes on outside.
    assert not outlines(labels)[:, [0, 1, 2, 5, 6, 7]].any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_outlines_in_colour_over_any_image(dtype: type, channels: int | None) -> None:
    shape = (7, 7) if channels is None else (channels, 7, 7)
    image = (np.random.default_rng(0).random(shape) * 200).astype(dtype)
    picture = overlay(image, square())
    assert picture.shape == (7, 7, 3)
    assert picture.dtype == np.uint8
    assert (picture[outlines(square())] == OUTLINE_RGB).all()
    assert not (picture[~outlines(square())] == OUTLINE_RGB).all(axis=-1).any()


def test_contrast_is_stretched_and_rgb_keeps_its_channels() -> None:
    image = np.zeros((3, 40, 40), np.uint16)
    image[0] = np.linspace(1000, 1100, 1600).reshape(40, 40)
    image[1:] = 1000
    picture = overlay(image, np.zeros((40, 40), int))
    assert picture[0, 0, 0] == 0
    assert picture[-1, -1, 0] == 255
    assert (picture[..., 1:] < 3).all()


def test_flat_and_not_finite_images_can_be_drawn() -> None:
    labels = np.zeros((4, 4), int)
    assert (overlay(np.full((4, 4), 7, np.uint8), labels) == 0).all()
    assert (overlay(np.full((4, 4), np.nan), labels) == 0).all()


def test_image_and_labels_are_left_as_they_were() -> None:
    image, labels = np.arange(49, dtype=np.uint8).reshape(7, 7), square()
    before = image.copy(), labels.copy()
    overlay(image, labels, caption="1 bead")
    assert np.array_equal(image, before[0])
    assert np.array_equal(labels, before[1])


def test_caption_is_written_in_the_upper_left_corner_only() -> None:
    image = np.tile(np.linspace(50, 200, 200), (120, 1))
    labels = np.zeros((120, 200), int)
    changed = (overlay(image, labels, caption="12") != overlay(image, labels)).any(axis=-1)
    assert changed[:15, :15].any()
    assert not changed[60:].any()
    assert not changed[:, 100:].any()


def test_different_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(7, 8\)"):
        overlay(np.zeros((7, 8)), square())
