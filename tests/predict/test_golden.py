"""Golden counts: frozen images and frozen counts of the general model.

No change of backend, threads, tiling or version may alter a count unseen. A change that is meant to alter counts
updates them, with a line in CHANGELOG.md::

    BEADSEG_GOLDEN=1 python -m pytest tests/predict/test_golden.py
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from beadseg.config import TilingConfig
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.predict.segmenter import Segmenter

GOLDEN = Path(__file__).parent / "golden"
IMAGES, COUNTS = GOLDEN / "images.npz", GOLDEN / "counts.json"
RENEW = os.environ.get("BEADSEG_GOLDEN") == "1"
SCENES = {
    "small-dark": {"diameter_px": 4.5, "beads": 60, "height": 112, "width": 136},
    "dark-clumps": {"diameter_px": 8, "beads": 60, "cluster_probability": 0.5},
    "bright": {"diameter_px": 11, "beads": 30, "polarity": "bright", "contrast": 1.5},
    "noisy": {"diameter_px": 9, "beads": 40, "contrast": 0.35, "read_noise": 6},
    "large": {"diameter_px": 30, "beads": 12, "defocus_px": 3, "height": 200, "width": 176},
    "empty": {"beads": 0},
}
"""What the frozen images were made from; they are not made anew."""


def frozen() -> dict[str, NDArray[np.uint8]]:
    """Return the frozen images; make them where there are none."""
    if not IMAGES.exists():
        shared = {"height": 144, "width": 144, "channels": "grey", "poisson": False, "debris": 0, "upscaling": 1,
                  "jpeg_quality": None, "max_overlap": 0.1, "defocus_px": 0.8}  # fmt: skip
        made = {name: simulate(SceneConfig.parse({**shared, **look}), 7).image for name, look in SCENES.items()}
        GOLDEN.mkdir(exist_ok=True)
        np.savez_compressed(IMAGES, **made)  # type: ignore[arg-type]
    with np.load(IMAGES) as stored:
        return {name: stored[name] for name in stored.files}


def counted(segmenter: Segmenter, **changes: object) -> dict[str, list[float]]:
    """Return beads and diameter (px, rounded to a tenth) of every image."""
    segmenter.options = segmenter.options.replace(**changes)
    found = {name: segmenter.predict(image) for name, image in frozen().items()}
    return {name: [one.count, round(one.diameter, 1)] for name, one in found.items()}


def frozen_counts(way: str) -> dict[str, list[float]]:
    """Return the frozen counts, as `counted` does, of whole images or of tiles."""
    golden: dict[str, list[float]] = json.loads(COUNTS.read_text(encoding="utf-8"))[way]
    return golden


def beads(counts: dict[str, list[float]]) -> dict[str, float]:
    return {name: number for name, (number, _) in counts.items()}


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def general() -> Segmenter:
    return Segmenter.load("general", device="cpu")


WAYS: dict[str, dict[str, object]] = {
    "whole": {"precision": "fp32"},
    "tiles": {"precision": "fp32", "tiling": TilingConfig(whole_image_pixels=4096, tile=128, overlap=0.5)},
}
"""What the network sees at a time, whole images or tiles: at their borders a bead that is hardly one may come or go."""


@pytest.mark.parametrize("way", WAYS)
def test_counts_are_the_frozen_ones(general: Segmenter, way: str):
    now = counted(general, **WAYS[way])
    if RENEW:
        before = json.loads(COUNTS.read_text(encoding="utf-8")) if COUNTS.exists() else {}
        COUNTS.write_text(json.dumps({**before, way: now}, indent=2) + "\n", encoding="utf-8")
    golden = frozen_counts(way)
    assert beads(now) == beads(golden)
    for name, (_, diameter) in now.items():
        assert diameter == pytest.approx(golden[name][1], abs=0.15), name
    assert golden["empty"][0] <= (way == "tiles")  # a tile's border may make one speck a bead; it is flagged
    assert sum(abs(golden[name][0] - frozen_counts("whole")[name][0]) for name in golden) <= 3


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(
    ("number", "backend", "precision"),
    [(2, "torch", "bf16"), (3, "torch", "fp32"), (1, "openvino", "fp32"), (2, "openvino", "bf16")],
)
def test_no_backend_and_no_number_of_threads_changes_a_count(
    general: Segmenter, number: int, backend: str, precision: str
):
    if backend == "openvino":
        pytest.importorskip("openvino")
    torch.set_num_threads(number)
    assert beads(counted(general, backend=backend, precision=precision)) == beads(frozen_counts("whole"))
    assert (general.backend().name, general.precision()) == (backend, precision)


def test_the_frozen_images_are_small():
    assert IMAGES.stat().st_size < 200_000
    assert {image.dtype for image in frozen().values()} == {np.dtype(np.uint8)}
    assert set(SCENES) == set(frozen_counts("whole")) == set(frozen_counts("tiles"))
