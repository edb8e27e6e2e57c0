"""A simulated dilution series over three decades: counts against the beads that are there, and the slope.

    python benchmarks/dilution.py --run runs/intervals/run --out runs/dilution

Predicts tiles of 512x512 px with 1,000, 100, 10 and 1 beads expected, at least as many of each as hold 1,000 beads
together, by a run that was trained on simulated tiles (``benchmarks/intervals.py`` makes one), and analyses the counts
as `beadseg-batch density` does. Prints counted and true beads of every dilution and the slope with its interval. There
is not debris, since where there is as much of it as there are beads a count says more of it than of dilution;
``--debris 1`` shows how much. Finished tiles in ``--out`` are not predicted again: a repeated command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from counting_tiles import TRAINING_SCENE

from beadseg import files
from beadseg.cli.config_options import use_threads
from beadseg.data.simulate import simulate
from beadseg.files import ensure_folder, write_atomically
from beadseg.measure import density
from beadseg.predict.segmenter import Segmenter
from beadseg.report.density_page import write_density_page

if TYPE_CHECKING:
    from beadseg.data.simulate import SceneConfig

SIDE = 512
STEPS = {10: 1000.0, 100: 100.0, 1000: 10.0, 10000: 1.0}
"""Dilution factor, and beads expected in a tile."""
LEAST = 1000
"""Beads of a dilution, pooled."""
FEWEST_TILES = 4
SEED = 50_000
BAR = 0.02


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True, help="a run that was trained on simulated tiles")
    parser.add_argument("--out", type=Path, default=Path("runs/dilution"))
    parser.add_argument("--debris", type=float, default=0.0, help="specks and fibres expected in a tile")
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    use_threads(arguments.threads)
    segmenter = Segmenter.load(arguments.run)
    scene = TRAINING_SCENE.replace(height=SIDE, width=SIDE, debris=arguments.debris)
    table = _predicted(segmenter, scene, ensure_folder(arguments.out) / files.COUNTS)
    report = density(arguments.out)
    report.write(arguments.out / "density")
    write_density_page(arguments.out / "density", report)
    print(*_lines(table), sep="\n")
    fit = report.dilution
    if fit is None:
        raise SystemExit(" ".join(report.notes))
    low, high = fit.slope_interval
    print(f"{'met    ' if fit.contains_minus_one else 'NOT met'} slope {fit.slope:.4f}, 95 % interval {low:.4f} to "
          f"{high:.4f} ({fit.model}, standard errors times {fit.widened:.2f}), contains -1")  # fmt: skip


def _predicted(segmenter: Segmenter, scene: SceneConfig, path: Path) -> pd.DataFrame:
    """Return one row per tile: what ``counts.csv`` needs, and the true beads. Go on where an earlier call stopped."""
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    for factor, expected in STEPS.items():
        known = [row for row in rows if row["factor"] == factor]
        while sum(row["true"] for row in known) < LEAST or len(known) < FEWEST_TILES:
            known.append(_tile(segmenter, scene.replace(beads=expected), factor, len(known)))
            rows.append(known[-1])
            if len(rows) % 50 == 0:
                write_atomically(path, pd.DataFrame(rows).to_csv(index=False))
    table = pd.DataFrame(rows)
    write_atomically(path, table.to_csv(index=False))
    return table


def _tile(segmenter: Segmenter, scene: SceneConfig, factor: int, number: int) -> dict[str, object]:
    made = simulate(scene, SEED + factor * 10 + number)
    beads = segmenter.predict(made.image).count
    limits = segmenter.calibration.interval(beads, SIDE * SIDE) if segmenter.calibration else ("", "")
    return {
        "image": f"{factor}x_simulated_grid_r0_c{number}",
        "factor": factor,
        "true": len(made.beads),
        "beads": beads,
        "beads_low": limits[0],
        "beads_high": limits[1],
        "height": SIDE,
        "width": SIDE,
    }


def _lines(table: pd.DataFrame) -> list[str]:
    lines = ["| dilution | tiles | true beads | counted | error % |", "|" + " --- |" * 5]
    worst = 0.0
    for factor, group in table.groupby("factor"):
        true, counted = group["true"].sum(), group["beads"].sum()
        worst = max(worst, abs(counted / true - 1))
        lines.append(f"| {factor}x | {len(group)} | {true} | {counted} | {100 * (counted / true - 1):+.2f} |")
    verdict = "met    " if worst <= BAR else "NOT met"
    return [*lines, "", f"{verdict} largest count error {100 * worst:.2f} % (at most {100 * BAR:.0f} %)"]


if __name__ == "__main__":
    main()
