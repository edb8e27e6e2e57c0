"""The classical detector measures what beads look like, and finds them."""

from __future__ import annotations

import numpy as np
import pytest

from beadseg.annotation.draft import BeadLook, ClassicalAnnotator, measure_look
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import InputError
from beadseg.measure.beads import bead_table
from beadseg.measure.matching import match_points


def scene(diameter: float, polarity: str, beads: int = 40) -> SceneConfig:
    values = {"height": 192, "width": 192, "beads": beads, "diameter_px": diameter, "polarity": polarity}
    looks = {"defocus_px": 1.6 * min(1.0, diameter / 7), "contrast": 0.5 if polarity == "dark" else 1.0}
    return SceneConfig.parse({**values, **looks, "cluster_probability": 0.1, "debris": 0.0})


def pixels(image: np.ndarray) -> np.ndarray:
    return np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]


@pytest.mark.parametrize("polarity", ["dark", "bright"])
@pytest.mark.parametrize("diameter", [4.0, 7.0, 14.0])
def test_size_and_polarity_are_measured_and_the_beads_found(diameter: float, polarity: str) -> None:
    made = [simulate(scene(diameter, polarity), seed) for seed in range(2)]
    look = measure_look([pixels(one.image) for one in made])
    assert look.polarity == polarity
    assert 0.75 * diameter <= look.diameter_px <= 1.35 * diameter
    found = bead_table(ClassicalAnnotator(look).annotate(pixels(made[0].image)))
    centres = [table[["y", "x"]].to_numpy(np.float64) for table in (found, bead_table(made[0].labels))]
    assert match_points(centres[0], centres[1], diameter / 2).counts.f1 > 0.75


def test_brightness_and_depth_do_not_matter() -> None:
    made = simulate(scene(7.0, "dark"), 0)
    grey = made.image.mean(axis=2, keepdims=False)[None]
    look = measure_look([grey])
    deep = (grey * 200).astype(np.uint16)
    assert measure_look([deep]).diameter_px == pytest.approx(look.diameter_px, rel=0.01)
    one, other = (ClassicalAnnotator(look).annotate(plane) for plane in (grey, deep))
    assert (one > 0).mean() == pytest.approx((other > 0).mean(), rel=0.02)


def test_an_empty_image_of_a_folder_stays_empty() -> None:
    full, empty = (simulate(scene(7.0, "dark", beads), 1) for beads in (40, 0))
    look = measure_look([pixels(full.image), pixels(empty.image)])
    assert not ClassicalAnnotator(look).annotate(pixels(empty.image)).any()
    assert not ClassicalAnnotator(look).annotate(np.full((1, 64, 64), 100, np.uint8)).any()


@pytest.mark.parametrize("plane", [np.full((1, 96, 96), 80, np.uint8), pixels(simulate(scene(7, "dark", 0), 3).image)])
def test_nothing_but_noise_is_no_bead(plane: np.ndarray) -> None:
    with pytest.raises(InputError, match="No beads stand out"):
        measure_look([plane])


def test_what_is_known_is_not_measured() -> None:
    plane = pixels(simulate(scene(7.0, "dark"), 0).image)
    assert measure_look([plane], diameter_px=9.0).diameter_px == 9.0
    assert measure_look([plane], polarity="dark").polarity == "dark"


def test_the_detector_says_what_it_is() -> None:
    text = ClassicalAnnotator(BeadLook(diameter_px=7.04, polarity="dark", response=0.2)).description
    assert "dark beads of 7.0 px" in text
