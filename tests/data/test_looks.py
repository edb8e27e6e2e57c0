"""Random looks: what is drawn, and that the truth says so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from beadseg.data.simulate.look_config import ARRANGEMENTS, EMPTIES, FAMILIES, LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.model.inputs import luminance

BEADS = LookConfig(empty=0.0, cells=0.0, dirty=0.0, written=0.0, mixed=0.0)


def grey(look):
    image = look.image
    return luminance(image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0))


def test_the_same_seed_gives_the_same_image_and_another_one_does_not() -> None:
    first, again, other = (draw_look(LookConfig(), seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.image.shape != other.image.shape or (first.image != other.image).any()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_truth_is_in_its_place(family: str, arrangement: str) -> None:
    config = BEADS.replace(families={family: 1}, arrangements={arrangement: 1}, elongated=0.0)
    look = draw_look(config, 1)
    assert (look.family, look.arrangement) == (family, arrangement)
    assert look.labels.max() >= len(look.centres) > 0
    assert look.image.dtype in (np.uint8, np.uint16)
    for number, (centre, diameter) in enumerate(zip(look.centres, look.diameters, strict=True), start=1):
        rows, columns = np.nonzero(look.labels == number)
        assert np.hypot(rows - centre[0], columns - centre[1]).max() <= diameter / 2 + 1e-3


@pytest.mark.parametrize("kind", EMPTIES)
def test_empty_pictures_have_no_beads(kind: str) -> None:
    look = draw_look(LookConfig(empty=1.0, empties={kind: 1}), 2)
    assert look.family == kind
    assert not len(look.centres)
    assert not look.labels.any()


@pytest.mark.parametrize(("family", "sign"), [("dark", -1), ("bright", 1), ("fluorescence", 1)])
def test_beads_differ_from_the_ground_by_more_than_the_noise(family: str, sign: int) -> None:
    config = BEADS.replace(families={family: 1}, arrangements={"sparse": 1}, uneven=(0, 0), vignette=(0, 0),
                           mottle=(0, 0), clipped=0.0, stripes=0.0, hot=0.0)  # fmt: skip
    for seed in range(12):
        look = draw_look(config, seed)
        if not len(look.centres):
            continue
        image, core = grey(look), ndimage.binary_erosion(look.labels > 0)
        ground = ~ndimage.binary_dilation(look.labels > 0, iterations=5)
        off = sign * (image[core].mean() - image[ground].mean())
        assert off > 0
        assert off * np.sqrt(core.sum() / len(look.centres)) > 3 * image[ground].std()


def test_light_that_is_absorbed_adds_up_where_beads_overlap() -> None:
    config = BEADS.replace(
        families={"dark": 1}, arrangements={"clumps": 1}, overlap=(0.3, 0.3), blur=(0.03, 0.03), diameter=(13, 13),
        contrast=(0.4, 0.4), contrast_spread=(0, 0), noise=(1e-6, 1e-6), uneven=(0, 0), vignette=(0, 0), mottle=(0, 0),
        colour=0, enlarged=0, jpeg=0, sharpened=0, gamma=(1, 1), clipped=0, pedestal=(0, 0), stripes=0, hot=0,
        spread=(0, 0), elongated=0, coverage=(0.3, 0.3), unequal=0, dark_pairs=0,
    )  # fmt: skip
    ratios = []
    for seed in range(6):  # the profile of a bead is random: of a flat one the overlap is darkest
        look = draw_look(config, seed)
        rows, columns = np.indices(look.labels.shape)
        covering = sum(np.hypot(rows - y, columns - x) < 5 for y, x in look.centres)
        image = grey(look)
        ratios.append(np.median(image[covering == 2]) / np.median(image[covering == 1]))
    assert min(ratios) < 0.8


def test_sizes_between_bead_and_no_bead_are_ignored() -> None:
    config = BEADS.replace(diameter=(20.0, 20.0), spread=(0, 0), arrangements={"free": 1})
    look = draw_look(config, 7)
    assert not len(look.centres)
    assert look.ignore.any()


def test_large_images_of_other_sizes_can_be_drawn() -> None:
    config = LookConfig(side=320, diameter=(40, 60), labelled=(0.1, 1e4), ignored=(0.0, 1e5), empty=0.0)
    look = draw_look(config, 0)
    assert look.image.shape[:2] == (320, 320)
    assert 25 < np.median(look.diameters) < 75
