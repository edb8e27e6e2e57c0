"""Coverage of the 95 % intervals of counts over simulated images, as trained on and with a look never calibrated on.

    python benchmarks/intervals.py --out runs/intervals

Trains a network on simulated tiles, whose validation tiles calibrate its counts, and predicts new tiles, as dense as 10
to 1,000 beads in 512x512 px. Prints per density, and over all, how many intervals
contain the true number of beads, their mean width, and how many images are flagged because the count by separation and
the count by area disagree. The same for tiles with a blur and noise that nothing was calibrated on. Images that look
unlike the training images get no interval from `predict`; here they are counted apart. ``--run RUN`` takes a finished
run. Tiles, run and counts in ``--out`` are used again, so that a repeated command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from counting_tiles import BEADS, DILUTIONS, TEST_SCENE, TRAINING_SCENE

from beadseg.cli.config_options import use_threads
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, simulate, write_dataset
from beadseg.files import ensure_folder, write_atomically
from beadseg.predict.counts import unlike
from beadseg.predict.segmenter import Segmenter
from beadseg.training.run import train

if TYPE_CHECKING:
    import numpy as np

    from beadseg.events import Event
    from beadseg.predict.prediction import Prediction

SIDE = 512
"""Height and width, px, that the number of expected beads is given for."""
LOOKS = {"as calibrated": TRAINING_SCENE, "other blur and noise": TEST_SCENE}
SEED = 10_000
LEVEL_OVERALL, LEVEL_CLASS = 0.93, 0.90


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/intervals"))
    parser.add_argument("--run", type=Path, help="a finished run instead of training one")
    parser.add_argument("--train-tiles", type=int, default=120)
    parser.add_argument("--side", type=int, default=256, help="height and width of the tiles, px")
    parser.add_argument("--images", type=int, default=800, help="test images as calibrated")
    parser.add_argument("--other-images", type=int, default=200, help="test images of another look")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="of the training")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    ensure_folder(arguments.out)
    run = arguments.run or _train(arguments.out, arguments.side, arguments.train_tiles, arguments.set)
    segmenter = Segmenter.load(run)
    if segmenter.calibration is None:
        parser.error(f"{run} holds no calibration: train it again.")
    known = segmenter.calibration
    print(f"Calibrated on {known.images} {known.source} images with {known.beads} beads: {known.misses} missed, "
          f"{known.false_finds} found where none is.")  # fmt: skip
    many = (arguments.images, arguments.other_images)
    tables = {look: _counts(segmenter, scene, arguments.side, images, arguments.out / f"{look.replace(' ', '-')}.csv")
              for (look, scene), images in zip(LOOKS.items(), many, strict=True)}  # fmt: skip
    print(*_report(tables), sep="\n")


def _scene(scene: SceneConfig, side: int, beads: float) -> SceneConfig:
    """Return a scene of another size, with beads and debris as dense as they are expected for `SIDE`."""
    share = (side / SIDE) ** 2
    return scene.replace(height=side, width=side, beads=beads * share, debris=scene.debris * share)


def _train(out: Path, side: int, tiles: int, changes: list[str]) -> Path:
    data = out / "train"
    if not data.exists():
        series = SeriesConfig(scene=_scene(TRAINING_SCENE, side, BEADS), tiles=tiles, dilutions=DILUTIONS, fields=6)
        write_dataset(data, series, on_event=_tell)
    config = TrainConfig.preset("dense", "unet").with_overrides(["network.heads=[foreground, centre]", *changes])
    return train(Dataset.open(data), config, out / "run", on_event=_tell).folder


def _counts(segmenter: Segmenter, scene: SceneConfig, side: int, images: int, path: Path) -> pd.DataFrame:
    """Return one row per test image; those that an earlier call wrote are not predicted again."""
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    for number in range(len(rows), images):
        expected = BEADS / DILUTIONS[number % len(DILUTIONS)]
        made = simulate(_scene(scene, side, expected), SEED + number)
        rows.append({"expected": round(expected, 1), "true": len(made.beads), **_counted(segmenter, made.image)})
        if number % 50 == 49 or number == images - 1:
            write_atomically(path, pd.DataFrame(rows).to_csv(index=False))
    return pd.DataFrame(rows[:images])


def _counted(segmenter: Segmenter, image: np.ndarray) -> dict[str, float]:
    prediction = segmenter.predict(image)
    calibration, pixels = segmenter.calibration, prediction.labels.size
    low, high = calibration.interval(prediction.count, pixels)
    second = calibration.second_count(prediction.integral, pixels)
    return {
        "beads": prediction.count,
        "low": low,
        "high": high,
        "integral": second,
        "flagged": calibration.disagrees(prediction.count, second, pixels),
        "unlike": _unlike(segmenter, prediction),
    }


def _unlike(segmenter: Segmenter, prediction: Prediction) -> bool:
    training = segmenter.appearance
    image = None if training is None else prediction.appearance(training.diameter)
    return training is not None and image is not None and bool(unlike(training, image))


def _report(tables: dict[str, pd.DataFrame]) -> list[str]:
    lines = ["", "| look | expected | images | true beads | count bias % | bias by area % | covered % "
             "| mean width, beads | mean width % | flagged % | unlike % | others covered % |",
             "|" + " --- |" * 12]  # fmt: skip
    verdicts = []
    for look, table in tables.items():
        groups = [(f"{expected:.0f}", group) for expected, group in table.groupby("expected")]
        for name, group in [*groups, ("all", table)]:
            lines.append(_row(look, name, group))
        if look == next(iter(tables)):
            classes = min(_covered(group) for _, group in groups)
            alike = table[~table["unlike"]]
            verdicts = [_verdict(f"of {len(table)} intervals cover", _covered(table), LEVEL_OVERALL),
                        _verdict(f"of {len(alike)} intervals of images like the training images",
                                 _covered(alike), LEVEL_OVERALL),
                        _verdict("in the worst density class", classes, LEVEL_CLASS)]  # fmt: skip
    return [*lines, "", *verdicts]


def _covered(table: pd.DataFrame) -> float:
    return float(((table["low"] <= table["true"]) & (table["true"] <= table["high"])).mean())


def _row(look: str, name: str, table: pd.DataFrame) -> str:
    true, width = table["true"].sum(), table["high"] - table["low"]
    bias, by_area = (100 * (table[column].sum() / true - 1) for column in ("beads", "integral"))
    covered, flagged, apart = 100 * _covered(table), 100 * table["flagged"].mean(), 100 * table["unlike"].mean()
    others = 100 * _covered(table[~table["unlike"]]) if apart < 100 else float("nan")
    return (f"| {look} | {name} | {len(table)} | {true} | {bias:+.2f} | {by_area:+.2f} | {covered:.1f} "
            f"| {width.mean():.1f} | {100 * width.sum() / true:.1f} | {flagged:.1f} "
            f"| {apart:.1f} | {others:.1f} |")  # fmt: skip


def _verdict(what: str, value: float, bar: float) -> str:
    return f"{'met    ' if value >= bar else 'NOT met'} {100 * value:.1f} % {what} (at least {100 * bar:.0f} %)"


def _tell(event: Event) -> None:
    if event.kind != "progress" and event.message:
        print(event.message, flush=True)


if __name__ == "__main__":
    main()
