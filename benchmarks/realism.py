"""Tell how well simulated tiles pass for those of a data set, and by what they are distinguished.

    python benchmarks/realism.py DATASET --exclude 'synthetic_*'

Every second tile of each field of view is measured (`beadseg.data.simulate.like.fit`) and trains the classifiers;
the others, less a margin that neighbouring tiles share, only judge. For the parametric simulator and for the likeness,
both with the measured number of beads per field:

- a small convolutional network learns to tell 64-px patches of real tiles from simulated ones. *Fooled* is the share of
  simulated patches that it takes for real, *real seen* the share of real ones that it takes for real, both in held-out
  tiles; at best they are equal;
- boosted trees do the same with named statistics of a patch, and say which ones tell most;
- differences from the held-out tiles, field by field, then averaged: of the mean bead (root mean square over its stamp,
  share of its height), of the logarithm of the power spectrum (root mean square over bands and channels), of the
  number of beads (ratio), and of the share of beads that have a neighbour nearer than 1.3 diameters.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.inspection import permutation_importance
from sklearn.metrics import roc_auc_score
from torch import nn

from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.data.simulate.like import Likeness, LikeSeriesConfig, background, measure, plan_like, templates
from beadseg.data.simulate.like.background import to_ycc

if TYPE_CHECKING:
    from collections.abc import Sequence

PATCH = 64
MARGIN = 40
STEPS = 350
BATCH = 64
JUDGED = 40
Plane = NDArray[np.float64]
Tiles = dict[str, list[Plane]]


@dataclass(frozen=True)
class Told:
    """How a classifier did in held-out tiles."""

    accuracy: float
    real_seen: float
    fooled: float
    auc: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--exclude", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", choices=("parametric", "like"), help="One simulator instead of both.")
    parser.add_argument("--likeness", type=Path, help="Where the likeness is kept between runs (read when it exists).")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    dataset = Dataset.open(arguments.dataset, exclude=arguments.exclude)
    seen, kept = halves(dataset)
    path = arguments.likeness
    likeness = Likeness.read(path) if path and path.exists() else measure(dataset.subset(seen))
    if path:
        likeness.write(path)
    took = time.monotonic() - began
    print(f"{len(seen)} tiles measured and learned from, {len(kept)} to judge; measured in {took:.0f} s.")
    real, judged = load(dataset, seen), load(dataset, kept)
    counts = {field: len(tiles) for field, tiles in real.items()}
    print("| simulator | classifier | seed | accuracy | real seen | fooled | AUC |\n" + "|" + " --- |" * 7)
    says, far = [], []
    for name, draw in (("parametric", parametric), ("like", alike)):
        if arguments.only not in (None, name):
            continue
        learned, tested = draw(likeness, counts, 1), draw(likeness, counts, 2)
        for seed in range(arguments.seeds):
            told = network(real, learned, judged, tested, seed)
            print(row(name, "network", seed, told), flush=True)
        told, features = trees(real, learned, judged, tested)
        print(row(name, "trees", 0, told), flush=True)
        says.append(f"{name}: {features}")
        far.append(f"| {name} | {distances(judged, tested, likeness)} |")
    print("\nWhat the trees see (AUC lost without it):\n" + "\n".join(says))
    print("\n| simulator | bead | spectrum | count ratio | share near |\n" + "|" + " --- |" * 5 + "\n" + "\n".join(far))
    print(f"\n{time.monotonic() - began:.0f} s in all.")


def row(simulator: str, classifier: str, seed: int, told: Told) -> str:
    numbers = f"{told.accuracy:.3f} | {told.real_seen:.3f} | {told.fooled:.3f} | {told.auc:.3f}"
    return f"| {simulator} | {classifier} | {seed} | {numbers} |"


def halves(dataset: Dataset) -> tuple[list[str], list[str]]:
    """Return the names of every second tile of each field, and of the others."""
    seen, kept = [], []
    for field in dataset.fields:
        names = [sample.name for sample in dataset if sample.field == field]
        seen += names[::2]
        kept += names[1::2]
    return seen, kept


def load(dataset: Dataset, names: Sequence[str]) -> Tiles:
    """Return (C, Y, X) tiles by field of view."""
    tiles: Tiles = {field: [] for field in dataset.fields}
    for name in names:
        sample = dataset[name]
        tiles[sample.field] += [pixels.astype(np.float64) for _, pixels in sample.read_image().planes()]
    return tiles


def alike(likeness: Likeness, counts: dict[str, int], seed: int) -> Tiles:
    """Simulate as many tiles of each field as there are real ones, by the likeness."""
    tiles: Tiles = {}
    for field in likeness.fields:
        alone = likeness.replace(fields=(field,))
        planned = plan_like(alone, LikeSeriesConfig(tiles=counts[field.name], seed=seed))
        tiles[field.name] = [planes(tile.simulate().image) for tile in planned]
    return tiles


def parametric(likeness: Likeness, counts: dict[str, int], seed: int) -> Tiles:
    """Do the same by the simulator's own defaults."""
    tiles: Tiles = {}
    for field in likeness.fields:
        beads = np.mean([look.beads_per_mpx for look in field.looks]) * likeness.height * likeness.width / 1e6
        config = SceneConfig(height=likeness.height, width=likeness.width, beads=float(beads))
        seeds = [1000 * field.dilution + 100 * seed + index for index in range(counts[field.name])]
        tiles[field.name] = [planes(simulate(config, each).image) for each in seeds]
    return tiles


def distances(real: Tiles, simulated: Tiles, likeness: Likeness) -> str:
    """Return the mean differences of the fields of view, as cells of a table."""
    rows = []
    for field in real:
        a, b = (look(tiles[field], likeness) for tiles in (real, simulated))
        bead = np.sqrt(((a[0] - b[0]) ** 2).mean()) / max(a[0].max(), 1e-6)
        spectrum = np.sqrt(((a[1] - b[1]) ** 2).mean())
        rows.append((bead, spectrum, b[2] / max(a[2], 1e-6), abs(a[3] - b[3])))
    return " | ".join(f"{value:.3f}" for value in np.nanmean(rows, axis=0))


def look(tiles: list[Plane], likeness: Likeness) -> tuple[Plane, Plane, float, float]:
    """Return the mean bead (C, K, K), the spectrum, the beads per tile and the share of them with a near neighbour."""
    sign, diameter = (-1.0 if likeness.polarity == "dark" else 1.0), likeness.diameter_px
    cut, near, counts = [], [], []
    for tile in tiles:
        shape = tile.shape[1], tile.shape[2]
        off = background.density_of(tile, background.surface(background.fit_background(tile, sign), shape), sign)
        found = templates.find_peaks(off, diameter)
        found = found.at_least(templates.WEAK * float(np.median(found.height)) if len(found.height) else 0.0)
        distance = templates.neighbour_distance(found.centres)
        cut.append(templates.cut_stamps(off, found.centres[distance > 2.4 * diameter], diameter)[0])
        near.append(distance < 1.3 * diameter)
        counts.append(len(distance))
    bead = np.concatenate(cut)
    mean = bead.mean(axis=0) if len(bead) else np.full(bead.shape[1:], np.nan)
    known = [statistics(patch) for patch in patches({"": tiles}, 10, np.random.default_rng(0))]
    spectrum = np.mean([[value for name, value in one.items() if "power" in name] for one in known], axis=0)
    return mean, spectrum, float(np.mean(counts)), float(np.concatenate(near).mean())


def planes(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.moveaxis(np.atleast_3d(image), 2, 0).astype(np.float64)


def patches(tiles: Tiles, each: int, rng: np.random.Generator, margin: int = 0) -> NDArray[np.float32]:
    """Cut random patches (N, C, 64, 64), `each` from every tile."""
    cut = []
    for tile in (tile for field in tiles.values() for tile in field):
        rows = rng.integers(margin, tile.shape[1] - PATCH - margin + 1, each)
        columns = rng.integers(margin, tile.shape[2] - PATCH - margin + 1, each)
        cut += [tile[:, top : top + PATCH, left : left + PATCH] for top, left in zip(rows, columns, strict=True)]
    return np.stack(cut).astype(np.float32)


def judge(score: NDArray[np.float64], real: NDArray[np.bool_]) -> Told:
    seen, fooled = float((score[real] > 0).mean()), float((score[~real] > 0).mean())
    return Told((seen + 1 - fooled) / 2, seen, fooled, float(roc_auc_score(real, score)))


def network(real: Tiles, learned: Tiles, judged: Tiles, tested: Tiles, seed: int) -> Told:
    """Train a network on random patches of `real` and `learned`, and ask it about those of `judged` and `tested`."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = nn.Sequential(
        *stage(next(iter(real.values()))[0].shape[0], 16, 1), *stage(16, 32, 2), *stage(32, 48, 2), *stage(48, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, 1),
    )  # fmt: skip
    pool = np.concatenate([patches(real, 60, rng), patches(learned, 60, rng)])
    truth = np.arange(len(pool)) < len(pool) // 2
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = rng.integers(0, len(pool), BATCH)
        batch, wanted = scaled(pool[chosen]), torch.from_numpy(truth[chosen].astype(np.float32))
        if rng.random() < 0.5:
            batch = batch.flip(3)
        if rng.random() < 0.5:
            batch = batch.flip(2)
        loss = nn.functional.binary_cross_entropy_with_logits(model(batch)[:, 0], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.eval()
    unseen = np.concatenate([patches(judged, JUDGED, rng, MARGIN), patches(tested, JUDGED, rng, MARGIN)])
    with torch.no_grad():
        score = torch.cat([model(scaled(part))[:, 0] for part in np.array_split(unseen, 20)]).numpy()
    return judge(score, np.arange(len(unseen)) < sum(map(len, judged.values())) * JUDGED)


def stage(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def scaled(batch: NDArray[np.float32]) -> torch.Tensor:
    return torch.from_numpy((batch - 110.0) / 25.0)


def trees(real: Tiles, learned: Tiles, judged: Tiles, tested: Tiles) -> tuple[Told, str]:
    """Do the same with named statistics, and return the ones that tell most."""
    rng = np.random.default_rng(0)
    known = [statistics(patch) for tiles in (real, learned) for patch in patches(tiles, 40, rng)]
    asked = [statistics(patch) for tiles in (judged, tested) for patch in patches(tiles, 20, rng, MARGIN)]
    names = list(known[0])
    x, t = (np.array([[patch[name] for name in names] for patch in rows]) for rows in (known, asked))
    y = np.arange(len(x)) < sum(map(len, real.values())) * 40
    z = np.arange(len(t)) < sum(map(len, judged.values())) * 20
    model = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.06, random_state=0).fit(x, y)
    score = model.predict_proba(t)[:, 1] - 0.5
    importance = permutation_importance(model, t, z, n_repeats=3, random_state=0, scoring="roc_auc").importances_mean
    best = np.argsort(-importance)[:8]
    return judge(score, z), ", ".join(f"{names[index]} {importance[index]:.3f}" for index in best)


def statistics(patch: NDArray[np.float32]) -> dict[str, float]:
    """Return named statistics of a patch (C, Y, X)."""
    found: dict[str, float] = {}
    ycc = to_ycc(patch.astype(np.float64))
    for channel, plane in zip(("Y", "Cb", "Cr"), ycc, strict=False):
        off = plane - plane.mean()
        spread = off.std() + 1e-6
        found[f"{channel} mean"] = float(plane.mean())
        found[f"{channel} spread"] = float(spread)
        found[f"{channel} skew"] = float((off**3).mean() / spread**3)
        found |= {f"{channel} {q} %": float(np.percentile(off, q)) for q in (1, 10, 50, 90, 99)}
        power = np.abs(np.fft.rfft2(off * np.outer(np.hanning(PATCH), np.hanning(PATCH)))) ** 2
        radius = np.hypot(np.fft.fftfreq(PATCH)[:, None], np.fft.rfftfreq(PATCH)[None, :])
        for low, high in zip(
            (0.02, 0.05, 0.08, 0.12, 0.17, 0.23, 0.3, 0.4), (0.05, 0.08, 0.12, 0.17, 0.23, 0.3, 0.4, 0.5), strict=True
        ):
            found[f"{channel} power {low}-{high}/px"] = float(
                np.log(power[(radius >= low) & (radius < high)].mean() + 1e-3)
            )
        steps = [np.abs(np.diff(plane, axis=axis)) for axis in (0, 1)]
        found |= {f"{channel} steps {way}": float(step.mean()) for way, step in zip("yx", steps, strict=True)}
        found[f"{channel} flat"] = float((steps[1] < 0.5).mean())
    if len(ycc) == 3:
        correlation = np.corrcoef(ycc.reshape(3, -1))
        found |= {"Y-Cb": correlation[0, 1], "Y-Cr": correlation[0, 2], "Cb-Cr": correlation[1, 2]}
        red_blue = np.corrcoef(
            ndimage.gaussian_filter(patch[0], 1).ravel(), ndimage.gaussian_filter(patch[2], 1).ravel()
        )
        found["red-blue"] = red_blue[0, 1]
    smooth = ndimage.gaussian_filter(ycc[0], 1.5)
    bottom = (smooth == ndimage.minimum_filter(smooth, 7)) & (smooth < np.median(smooth) - 6)
    found["beads"] = float(bottom.sum())
    found["darkest bead"] = float(np.median(smooth) - smooth.min())
    depths = np.median(smooth) - smooth[bottom]
    found["depth of beads"] = float(np.median(depths)) if len(depths) else 0.0
    found["spread of depth"] = float(depths.std()) if len(depths) else 0.0
    found["dark area"] = float((smooth < np.median(smooth) - 8).mean())
    return {name: float(np.nan_to_num(value)) for name, value in found.items()}


if __name__ == "__main__":
    main()
