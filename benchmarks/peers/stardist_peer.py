"""StarDist on the tiles of `counting.py`: trained for given CPU minutes, then asked for the centres in the test tiles.

Runs in an environment of its own (``pip install stardist tensorflow``) and imports nothing of beadseg:

    STARDIST/bin/python benchmarks/peers/stardist_peer.py --train DIR --test DIR --split CSV --minutes 5 --out DIR

``--train`` and ``--test`` are folders with ``images/*.png`` and ``labels/*.tif``; the samples that ``--split`` calls
``val`` are StarDist's validation tiles, on which it also chooses its thresholds. Writes ``centres.csv`` (sample, y, x).
Network and training are StarDist's defaults, but for: three channels, patches of 128 px, batch 8, epochs of 50 steps,
the flips, rotations and changes of intensity of its own example, and a stop when the CPU minutes are over.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from pathlib import Path

import numpy as np

CHOOSING_TILES = 6
"""Validation tiles on which thresholds are chosen."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--train", "--test", "--split", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.random.set_seed(0)
    np.random.seed(0)
    folds = _folds(arguments.split)
    training = [_annotated(arguments.train, name) for name, fold in folds.items() if fold == "train"]
    validation = [_annotated(arguments.train, name) for name, fold in folds.items() if fold == "val"]
    model = _model(arguments.out, arguments.minutes)
    started = time.process_time()
    model.train(*_pairs(training), validation_data=_pairs(validation), augmenter=_augmented)
    print(f"StarDist trained for {(time.process_time() - started) / 60:.1f} CPU minutes.", flush=True)
    few = validation[:: max(1, len(validation) // CHOOSING_TILES)]
    model.optimize_thresholds(*_pairs(few))
    _write(arguments.out / "centres.csv", model, arguments.test)


def _model(out: Path, minutes: float):
    from stardist.models import Config2D, StarDist2D
    from tensorflow import keras

    class Deadline(keras.callbacks.Callback):
        def on_train_begin(self, logs=None) -> None:
            self.end = time.process_time() + 60 * minutes

        def on_train_batch_end(self, batch, logs=None) -> None:
            self.model.stop_training |= time.process_time() > self.end

    config = Config2D(
        n_rays=32, grid=(1, 1), n_channel_in=3, axes="YXC", train_patch_size=(128, 128), train_batch_size=8,
        train_epochs=10_000, train_steps_per_epoch=50, train_tensorboard=False, use_gpu=False,
    )  # fmt: skip
    model = StarDist2D(config, name="model", basedir=str(out))
    model.prepare_for_training()
    model.callbacks.append(Deadline())
    return model


def _folds(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["sample"]: row["fold"] for row in csv.DictReader(file)}


def _image(folder: Path, name: str) -> np.ndarray:
    import imageio.v3 as iio
    from csbdeep.utils import normalize

    return normalize(iio.imread(folder / "images" / f"{name}.png").astype(np.float32), 1, 99.8, axis=(0, 1, 2))


def _annotated(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    import tifffile

    return _image(folder, name), tifffile.imread(folder / "labels" / f"{name}.tif").astype(np.int32)


def _pairs(tiles: list[tuple[np.ndarray, np.ndarray]]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return [image for image, _ in tiles], [labels for _, labels in tiles]


def _augmented(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn, mirror, and change contrast, brightness and noise, as StarDist's example notebook does."""
    draw = np.random.uniform
    for _ in range(np.random.randint(4)):
        image, labels = np.rot90(image), np.rot90(labels)
    if draw() < 0.5:
        image, labels = image[::-1], labels[::-1]
    image = image * draw(0.6, 2.0) + draw(-0.2, 0.2)
    sigma = 0.02 * draw()
    return image + sigma * np.random.normal(size=image.shape), labels


def _write(path: Path, model, folder: Path) -> None:
    """Find the beads of every test tile and write their centres, whole or not at all."""
    unfinished = path.with_suffix(".part")
    started = time.perf_counter()
    images = sorted((folder / "images").glob("*.png"))
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("sample", "y", "x"))
        for image in images:
            _, details = model.predict_instances(_image(folder, image.stem))
            rows.writerows((image.stem, y, x) for y, x in details["points"])
    unfinished.replace(path)
    print(f"StarDist: {(time.perf_counter() - started) / len(images):.2f} s per tile.", flush=True)


if __name__ == "__main__":
    main()
