"""Count the beads of an image with the model that comes with beadseg: no training, no viewer."""

from __future__ import annotations

import beadseg
from beadseg.data.simulate import SceneConfig


def main() -> tuple[int, int]:
    """Count a simulated image, whose beads are known; return how many are true and how many were found."""
    scene = beadseg.simulate(SceneConfig(height=128, width=128, beads=25), seed=1)
    segmenter = beadseg.Segmenter.load("general", device="cpu")
    prediction = segmenter.predict(scene.image, pixel_size_um=0.65)
    print(f"{len(scene.beads)} beads are true, {prediction.count} were found:")
    print(prediction.beads[["id", "y", "x", "area_px"]].head())
    return len(scene.beads), prediction.count


if __name__ == "__main__":
    main()
