"""A bead that is pointed at roughly is found exactly, in simulated images whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from beadseg.annotation.edit import fit_bead
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
