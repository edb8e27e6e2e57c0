"""From annotated images to a model, a prediction folder and its scores, with the Python API alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

import beadseg
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.predict.batch import find_images, predict_folder

SETTINGS = ("epochs=1", "epoch.steps=12", "epoch.size=64", "network.width=8", "network.depth=3")
"""So few that it takes seconds; leave them out to train a model that can be used."""


def main(folder: Path) -> float:
    """Train on simulated beads and score the model on the same; return F1 of the beads found."""
    scene = SceneConfig(height=96, width=96, beads=20)
    write_dataset(folder / "beads", SeriesConfig(scene=scene, tiles=6, dilutions=(640,), fields=3, seed=1))
    dataset = beadseg.Dataset.open(folder / "beads")
    config = beadseg.TrainConfig.preset("dense", "unet").with_overrides(SETTINGS)
    run = beadseg.train(dataset, config, folder / "run", device="cpu", on_event=lambda event: print(event.message))
    segmenter = beadseg.Segmenter.load(run.folder, device="cpu")
    predict_folder(segmenter, find_images([folder / "beads" / "images"]), folder / "counts")
    evaluation = beadseg.evaluate(folder / "counts", dataset)
    print(f"F1 {evaluation.overall.f1:.3f}, Jaccard {evaluation.overall.jaccard_images:.3f}")
    return float(evaluation.overall.f1)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
