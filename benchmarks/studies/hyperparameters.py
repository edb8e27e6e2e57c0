"""The laboratory's document on hyperparameters, re-examined on its own kind of data: docs/studies/hyperparameters.md.

    python benchmarks/studies/hyperparameters.py run --out runs/study
    python benchmarks/studies/hyperparameters.py report --out runs/study --page PAGE.md --figures docs/images

``run`` computes what is missing, most important first, one small result file each: interrupted and started again it
goes on. ``--share 0/2`` and ``--share 1/2`` in two terminals divide the work. ``--data DATASET`` takes a folder of real
tiles in place of the simulated dense ones (give it an ``--out`` of its own). ``report`` prints the tables, puts
them into the page and draws the figures. One thread; an hour of one core or more in all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study_cells import SEEDS, Cell, in_order

from beadseg.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Callable

    from beadseg.data.dataset import Dataset

    Task = Callable[[], Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--out", type=Path, default=Path("runs/study"))
    parser.add_argument("--data", type=Path, help="real tiles in place of the simulated dense ones")
    parser.add_argument("--share", default="0/1", help="which part of the work: NUMBER/OF")
    parser.add_argument("--page", type=Path, help="page whose tables are replaced")
    parser.add_argument("--figures", type=Path, help="folder for the figures")
    arguments = parser.parse_args()
    if arguments.what == "report":
        _report(arguments.out / "results", arguments.page, arguments.figures)
        return
    import study_data
    import torch

    from beadseg.data.dataset import Dataset

    torch.set_num_threads(1)
    part, parts = (int(number) for number in arguments.share.split("/"))
    data = {"dense": arguments.out / "dense", "sparse": arguments.out / "sparse"}
    datasets = {
        "dense": Dataset.open(arguments.data) if arguments.data else study_data.dense(data["dense"]),
        "sparse": study_data.sparse(data["sparse"]),
    }
    for name, task in list(_tasks(datasets, arguments.out / "runs").items())[part::parts]:
        path = arguments.out / "results" / f"{name}.json"
        if not path.exists():
            result = task()
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(result))
            print(name, flush=True)


def _report(results: Path, page: Path | None, figures: Path | None) -> None:
    """Print the tables, put them into the page and draw the figures where these are named."""
    from study_report import fill, tables

    for name, table in tables(results).items():
        print(f"{name}\n\n{table}\n")
    if page is not None:
        write_atomically(page, fill(page.read_text(encoding="utf-8"), results))
    if figures is not None:
        from study_figures import draw

        draw(results, figures)


def _tasks(datasets: dict[str, Dataset], runs: Path) -> dict[str, Task]:
    """Return everything to compute, by the name of its result, in the order of importance."""
    import study_gradient
    from study_split import splits

    tasks: dict[str, Task] = {"split": lambda: splits(datasets["dense"])}
    for seed in SEEDS:
        tasks[f"gradient-{seed}"] = lambda seed=seed: list(study_gradient.gradients(seed))
        tasks[f"scaled-{seed}"] = lambda seed=seed: list(study_gradient.scaled(seed))
    for cell, seed in in_order():
        name = f"{cell.group}-{cell.name}-{seed}".replace(" ", "_").replace(",", "").replace("'", "")
        tasks[name] = _training(cell, seed, datasets[cell.data], runs / name)
    return tasks


def _training(cell: Cell, seed: int, dataset: Dataset, folder: Path) -> Task:
    from study_train import run_cell

    return lambda: run_cell(cell, seed, dataset, folder)


if __name__ == "__main__":
    main()
