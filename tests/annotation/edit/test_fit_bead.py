"""A bead that is pointed at roughly is found exactly, in simulated images whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from beadseg.annotation.edit import bead_size_at, beads_at, fit_bead
from beadseg.data.simulate import SceneConfig, simulate


@pytest.mark.parametrize("beads", [40, 250])
def test_centres_are_found(beads: int) -> None:
    scene = simulate(SceneConfig(height=256, width=256, beads=beads, debris=0.0), 3)
    grey = scene.image.mean(axis=-1)
    truth = scene.beads[scene.beads["defocus_px"].abs() < 1.0]
    random = np.random.default_rng(0)
    errors, sizes = [], []
    for bead in truth.itertuples():
        dy, dx = random.uniform(-2.0, 2.0, 2)
        found = fit_bead(grey, bead.y + dy, bead.x + dx, float(truth["diameter_px"].median()))
        assert found.fitted
        errors.append(np.hypot(found.y - bead.y, found.x - bead.x))
        sizes.append(2 * found.radius / bead.diameter_px)
    assert np.median(errors) < 0.7
    assert np.mean(np.array(errors) < 2.0) > 0.9
    assert 0.8 < np.median(sizes) < 1.2


def test_bright_beads_and_other_types() -> None:
    y, x = np.mgrid[:40, :40]
    disk = np.hypot(y - 18.5, x - 21) <= 4
    image = np.where(disk, 60000, 20000).astype(np.uint16)
    found = fit_bead(image, 20, 20, 8.0, "bright")
    assert found.fitted
    assert np.hypot(found.y - 18.5, found.x - 21) < 0.6
    assert abs(found.radius - 4) < 0.5


def test_nothing_to_see_is_the_place_pointed_at() -> None:
    found = fit_bead(np.full((30, 30), 7, np.uint8), 0, 29, 7.0)
    assert (found.y, found.x, found.radius, found.fitted) == (0.0, 29.0, 3.5, False)
    noise = np.random.default_rng(1).normal(100, 3, (60, 60))
    assert not fit_bead(noise, 30, 30, 7.0).fitted


@pytest.mark.parametrize("diameter", [5, 7, 15, 30])
def test_the_size_of_beads_at_centres_is_found(diameter: int) -> None:
    config = SceneConfig(height=256, width=256, beads=30, debris=0, diameter_px=diameter, defocus_px=diameter / 20)
    made = simulate(config.replace(channels="grey"), 3)
    found = bead_size_at(made.image, made.beads[["y", "x"]].to_numpy())
    assert found is not None
    assert found == (pytest.approx(diameter, rel=0.2), "dark")
    assert bead_size_at(255 - made.image, made.beads[["y", "x"]].to_numpy()) == (found[0], "bright")
    assert bead_size_at(np.zeros((30, 30)), np.array([[5.0, 5.0]])) is None


def test_every_centre_is_a_bead() -> None:
    """Also where two lie in one bead, and where nothing is seen."""
    y, x = np.mgrid[:60, :60]
    image = np.where(np.hypot(y - 30, x - 30) <= 5, 60, 160).astype(np.uint8)
    centres = np.array([[30, 30], [31, 32], [0, 0], [59, 59], [10, 50]], np.float32)
    labels = beads_at(image, centres, 10.0)
    assert [labels[round(a), round(b)] for a, b in centres.tolist()] == [1, 2, 3, 4, 5]
    assert beads_at(image, centres[:0], 10.0).max() == 0
