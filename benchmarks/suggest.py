"""Is a model wrong where `suggest` finds it unsure, and does annotating what it suggests teach more than other tiles.

    python benchmarks/suggest.py --seeds 3

Simulated. A network is trained on a few sparse, sharp tiles. A pool of unlabelled tiles differs in density, defocus,
contrast and bead size, each tile there twice, slightly moved. Prints the rank correlation of every measure with the
true error (1 - F1) over the pool; then the F1 on unseen tiles of all kinds after adding tiles to the training: those
suggested, those of the highest score alone (without novelty), random ones; each by the mean over seeds.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import tifffile
from scipy.stats import spearmanr

from beadseg import files
from beadseg.annotation.suggest import SuggestResult, suggest
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.data.split import Split
from beadseg.measure.scores import ImageScore, group_score, score_image
from beadseg.predict.segmenter import Segmenter
from beadseg.training.run import train

SIDE = 192
KNOWN = SceneConfig(height=SIDE, width=SIDE, beads=15, cluster_probability=0.05, defocus_px=1.2, debris=0)
KINDS = {
    "as known": KNOWN,
    "dense": KNOWN.replace(beads=160, cluster_probability=0.5),
    "defocused": KNOWN.replace(beads=40, defocus_px=4.0),
    "faint": KNOWN.replace(beads=40, contrast=0.15),
    "large": KNOWN.replace(beads=25, diameter_px=14.0),
    "dirty": KNOWN.replace(beads=25, debris=8.0),
}
COPIES = 2
SETTINGS = ["epoch.size=64", "epoch.steps=60", "batch=8", "network.width=8", "network.depth=3", "precision=fp32",
            "stop.patience=null", "optimizer.lr=5e-3", "predict.objects.diameter=7"]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--pool", type=int, default=4, help="different tiles of each kind in the pool")
    parser.add_argument("-n", type=int, default=6, help="tiles to annotate")
    arguments = parser.parse_args()
    table: dict[str, list[float]] = {}
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as scratch:
            for name, value in _once(Path(scratch), seed, arguments).items():
                table.setdefault(name, []).append(value)
    for name, values in table.items():
        print(f"{name:<44} {np.mean(values):.3f}   ({', '.join(f'{value:.3f}' for value in values)})")


def _once(folder: Path, seed: int, arguments: argparse.Namespace) -> dict[str, float]:
    _write(folder / "known", {"as known": KNOWN}, 4, 1, 1000 * seed)
    _write(folder / "pool", KINDS, arguments.pool, COPIES, 1000 * seed + 100)
    _write(folder / "unseen", KINDS, 3, 1, 1000 * seed + 500)
    pool, unseen = Dataset.open(folder / "pool"), Dataset.open(folder / "unseen")
    segmenter = _train(folder / "first", [Dataset.open(folder / "known")], arguments.epochs, seed)
    result = suggest(segmenter, [sample.image_path for sample in pool])
    errors = {score.sample: 1 - score.f1 for score in _scores(segmenter, pool)}
    found = _correlations(result, errors)
    found["F1 before"] = _f1(segmenter, unseen)
    by_score = sorted(result.suggestions, key=lambda one: -one.score)
    paths = {one.index: path for one, path in zip(result.suggestions, result.images, strict=True)}
    choices = {
        "suggested": [path.stem for path in result.images[: arguments.n]],
        "highest score, without novelty": [paths[one.index].stem for one in by_score[: arguments.n]],
        "random": list(np.random.default_rng(seed).choice(pool.names, arguments.n, replace=False)),
    }
    for name, names in choices.items():
        data = [Dataset.open(folder / "known"), pool.subset(names)]
        better = _train(folder / name.split()[0].strip(","), data, arguments.epochs, seed)
        kinds = len({one.rsplit("-", 2)[0] for one in names})
        found[f"F1 with {arguments.n} more: {name}"] = _f1(better, unseen)
        found[f"  kinds of {len(KINDS)} among them"] = kinds if name == "suggested" else found.get(
            f"  kinds of {len(KINDS)} among them", 0)  # fmt: skip
    return found


def _write(root: Path, kinds: dict[str, SceneConfig], tiles: int, copies: int, seed: int) -> None:
    """Write tiles of each kind, `copies` of each moved by a few pixels."""
    for part in (files.IMAGES, files.LABELS):
        (root / part).mkdir(parents=True)
    for at, (kind, scene) in enumerate(kinds.items()):
        for number in range(tiles):
            made = simulate(scene.replace(height=SIDE + 8, width=SIDE + 8), seed + 20 * at + number)
            for copy in range(copies):
                window = (slice(4 * copy, 4 * copy + SIDE),) * 2
                name = f"{kind.replace(' ', '_')}-{number}-{copy}"
                iio.imwrite(root / files.IMAGES / f"{name}.png", made.image[window])
                tifffile.imwrite(root / files.LABELS / f"{name}.tif", made.labels[window])


def _train(out: Path, data: list[Dataset], epochs: int, seed: int) -> Segmenter:
    samples = tuple(sample for dataset in data for sample in dataset)
    whole = Dataset(data[0].root, samples)
    config = TrainConfig.preset("dense", "unet").with_overrides([*SETTINGS, f"epochs={epochs}", f"seed={seed}"])
    run = train(whole, config, out, split=Split(train=whole.names, val=()), device="cpu")
    return Segmenter.load(run.folder, device="cpu")


def _scores(segmenter: Segmenter, dataset: Dataset) -> list[ImageScore]:
    scores = []
    for sample in dataset:
        for _, plane, target in sample.planes():
            labels = segmenter.predict(plane).labels
            scores.append(score_image(sample.name, sample.name, sample.field, labels > 0, labels, target))
    return scores


def _f1(segmenter: Segmenter, dataset: Dataset) -> float:
    return group_score("all", "all", _scores(segmenter, dataset)).f1_images


def _correlations(result: SuggestResult, errors: dict[str, float]) -> dict[str, float]:
    wrong = [errors[path.stem] for path in result.images]
    columns = {
        "disagreement": [measured.disagreement for measured in result.measures],
        "entropy": [measured.entropy for measured in result.measures],
        "count spread": [measured.count_spread for measured in result.measures],
        "score": [one.score for one in result.suggestions],
        "number of beads": [measured.beads for measured in result.measures],
    }
    return {f"rank correlation with 1 - F1: {name}": float(spearmanr(values, wrong).statistic)
            for name, values in columns.items()}  # fmt: skip


if __name__ == "__main__":
    main()
