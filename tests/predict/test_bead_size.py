"""The general model finds how large beads are, and says where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from beadseg.data.simulate.look_config import LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.predict.bead_size import LARGEST_PX, SMALLEST_PX, decoded, encoded
from beadseg.predict.segmenter import Segmenter, as_plane

CLEAR = LookConfig(
    cells=0.0, empty=0.0, labelled=(0.1, 1e4), ignored=(0.0, 1e5), spread=(0.0, 0.05), mixed=0.0, elongated=0.0,
    unequal=0.0, overlap=(0.0, 0.1), blur=(0.05, 0.12), contrast=(0.4, 0.7), dirty=0.0, written=0.0, jpeg=0.0,
    clipped=0.0, stripes=0.0, hot=0.0, dark_pairs=0.0, noise=(0.002, 0.02), photons=(300.0, 3000.0),
    coverage=(0.1, 0.25),
)  # fmt: skip


@pytest.fixture(scope="module")
def general() -> Segmenter:
    return Segmenter.load("general")


def test_the_size_map_covers_four_octaves() -> None:
    sizes = np.array([2.5, 8.0, 30.0])
    np.testing.assert_allclose(decoded(encoded(sizes, 8.0), 8.0), sizes, rtol=1e-3)
    assert encoded(8.0, 8.0) == pytest.approx(0.5)


@pytest.mark.parametrize("diameter", [4.0, 8.0, 19.0, 50.0, 120.0])
@pytest.mark.parametrize("family", ["dark", "fluorescence"])
def test_diameters_from_a_few_px_to_a_large_part_of_the_image(general: Segmenter, diameter: float, family: str) -> None:
    side = int(max(12 * diameter, 160))
    look = draw_look(
        CLEAR.replace(side=side, diameter=(diameter, diameter), families={family: 1}, arrangements={"free": 1}), 2
    )
    size = general.size(as_plane(look.image))
    assert size.diameter == pytest.approx(float(np.median(look.diameters)), rel=0.35)
    found = general.predict(look.image)
    assert found.count == pytest.approx(len(look.centres), rel=0.15, abs=1)


def test_the_size_does_not_hang_on_where_in_a_large_image_the_beads_lie(general: Segmenter) -> None:
    look = draw_look(CLEAR.replace(side=160, diameter=(9, 9), families={"dark": 1}, arrangements={"clumps": 1}), 4)
    grey = look.image if look.image.ndim == 2 else look.image.mean(axis=2)
    large = np.full((900, 700), np.median(grey), np.float32)
    large[700:860, 30:190] = grey
    large += np.random.default_rng(0).normal(0, 0.004 * np.median(grey), large.shape)
    size = general.size(large[None])
    assert size.diameter == pytest.approx(9.0, rel=0.4)


@pytest.mark.parametrize("kind", ["blank", "noise", "gratings"])
def test_pictures_without_beads_have_none_or_say_that_they_are_doubtful(general: Segmenter, kind: str) -> None:
    for seed in range(3):
        look = draw_look(LookConfig(side=192, empty=1.0, empties={kind: 1}), seed)
        found = general.predict(look.image)
        assert found.count == 0 or found.maps.doubt
        assert not found.count or SMALLEST_PX <= found.diameter <= LARGEST_PX


def test_what_looks_like_beads_below_three_px_is_flagged(general: Segmenter) -> None:
    image = np.random.default_rng(0).poisson(3.0, (256, 256)).astype(np.uint8)
    image[np.random.default_rng(1).random(image.shape) < 0.08] = 40
    found = general.predict(image)
    assert found.count == 0 or found.maps.doubt
