"""`beadseg-batch reproduce`: repeat a prediction or an evaluation, and say what differs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from beadseg.cli.console import STOP, reporter
from beadseg.cli.options import Json, Quiet, Threads
from beadseg.errors import ExitCode
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from beadseg.events import OnEvent
    from beadseg.predict.segmenter import Segmenter

SHOWN = 20
"""Differences that are printed."""
MEASURED = ("calibration", "fingerprint", "image", "network")
"""What ``prediction.json`` says of a model that its file must still say."""

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="Folder that predict or evaluate wrote.", show_default=False)
]
Model = Annotated[
    str | None, typer.Option("--model", metavar="general|RUN", help="Where the model of a prediction is now.")
]
Dataset = Annotated[
    Path | None, typer.Option("--dataset", metavar="DIR", help="Where the dataset of an evaluation is now.")
]


def reproduce(
    folder: Folder,
    model: Model = None,
    dataset: Dataset = None,
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Repeat a prediction or an evaluation in a temporary folder, and say "identical" or what differs.

    Compared are the hashes of model and images, every number of counts.csv, and every pixel of the labels; of an
    evaluation every score. Nothing in FOLDER is changed. Exit code 5 where something differs.
    """
    from beadseg import files
    from beadseg.cli.config_options import use_threads
    from beadseg.errors import InputError
    from beadseg.events import Event

    with reporter(json, quiet) as on_event:
        use_threads(threads)
        if (folder / files.EVALUATION).is_file():
            compared, differences = _evaluation(folder, dataset, on_event)
        elif (folder / files.PREDICTION).is_file():
            compared, differences = _prediction(folder, model, on_event)
        else:
            raise InputError(
                "Holds no prediction and no evaluation.", folder, "Give a folder that predict or evaluate wrote."
            )
        lines = [f"{'Different' if differences else 'Identical'}: {compared}.", *differences[:SHOWN]]
        lines += [f"… and {len(differences) - SHOWN} more"] if len(differences) > SHOWN else []
        data = {"identical": not differences, "differences": differences}
        on_event(Event("result", "\n".join(lines), "warning" if differences else "info", data))
    if differences:
        raise typer.Exit(ExitCode.FLAGGED)


def _prediction(folder: Path, model: str | None, on_event: OnEvent) -> tuple[str, list[str]]:
    """Predict again; return what was compared, and what differs."""
    from beadseg import files
    from beadseg.config import PredictConfig
    from beadseg.data.documents import inner, read_document, read_results
    from beadseg.model.checkpoint import named_model
    from beadseg.predict.batch import predict_folder
    from beadseg.predict.segmenter import Segmenter
    from beadseg.report.prediction_page import read_counts

    document = read_document(folder / files.PREDICTION, "run", "options")
    options = PredictConfig.parse(document["options"], folder / files.PREDICTION)
    segmenter = Segmenter.load(named_model(model or str(document["run"])), options=options)
    differences = _differences_of_model(document, segmenter)
    results = read_results(folder)
    paths, missing = _images(folder, document, results)
    differences += missing
    old = {
        name
        for name in paths.values()
        if inner(results, name).get("made_with") not in (None, document.get("made_with"))
    }
    differences += [f"{name}: was predicted with other options than the last command's" for name in sorted(old)]
    with tempfile.TemporaryDirectory() as scratch:
        again = Path(scratch) / "predictions"
        predict_folder(segmenter, [*paths], again, overlays=False, names=paths, on_event=on_event, stop=STOP)
        before, after = read_counts(folder), read_counts(again)
        differences += _differences_of_rows(before[before["image"].isin(list(paths.values()))], after)
        differences += _differences_of_labels(folder, again)
    return f"{plural(len(paths), 'image')}, {int(after['beads'].sum())} beads", differences


def _differences_of_model(document: dict[str, Any], segmenter: Segmenter) -> list[str]:
    """Return what the model and the machine are that they were not; the machine alone makes no difference."""
    from beadseg.predict.batch import made_on

    said = segmenter.describe()
    found = [f"model: its {key} is another" for key in MEASURED if key in document and document[key] != said.get(key)]
    if document.get("model_sha256") not in (None, "", segmenter.model_sha256):
        found.insert(0, f"model: SHA-256 {segmenter.model_sha256[:12]}…, was {document['model_sha256'][:12]}…")
    now, then = made_on(), document.get("made_on") or {}
    changed = [f"{key} {now[key]} (was {then[key]})" for key in now if key in then and now[key] != then[key]]
    return [*found, f"computed by other programs: {', '.join(changed)}"] if found and changed else found


def _images(folder: Path, document: dict[str, Any], results: dict[str, Any]) -> tuple[dict[Path, str], list[str]]:
    """Return the names of the images that are still there by their paths, and what is wrong with the others."""
    from beadseg.data.documents import inner, read_failures, source_of
    from beadseg.data.scan import sha256_of
    from beadseg.errors import InputError
    from beadseg.files import find_again

    failed = read_failures(folder)
    paths: dict[Path, str] = {}
    wrong = []
    for name, source in inner(document, "images").items():
        path = find_again(str(source), str(inner(document, "relative").get(name, "")), folder)
        if source_of(Path(source)) in failed:
            continue
        known = inner(results, name).get("sha256")
        if not path.exists():
            wrong.append(f"{name}: its image is not there any more ({source})")
        elif known and path.is_file() and sha256_of(path) != known:
            wrong.append(f"{name}: its image was changed since")
        else:
            paths[path] = name
    if not paths:
        raise InputError("None of its images can be predicted again.", folder, "; ".join(wrong[:3]) or "Predict first.")
    return paths, wrong


def _differences_of_rows(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """Return in which numbers two tables of counts differ; columns that one of them lacks are not compared."""
    columns = [name for name in before.columns if name in after.columns and name not in ("corrected", "field", "name")]
    tables = [
        {str(row["name"]): {key: row[key] for key in columns} for row in table.to_dict("records")}
        for table in (before, after)
    ]
    found = []
    for name in dict.fromkeys([*tables[0], *tables[1]]):
        if any(name not in table for table in tables):
            found.append(f"{name}: has a row in one of the tables only")
        else:
            found += _differences(name, tables[0][name], tables[1][name])
    return found


def _differences_of_labels(folder: Path, again: Path) -> list[str]:
    import numpy as np
    import tifffile

    from beadseg.files import LABELS

    found = []
    for path in sorted((again / LABELS).iterdir()):
        if not (folder / LABELS / path.name).is_file():
            found.append(f"{path.stem}: its labels are not there any more")
            continue
        one, other = tifffile.imread(folder / LABELS / path.name), tifffile.imread(path)
        share = np.count_nonzero(one != other) / other.size if one.shape == other.shape else 1.0
        found += [f"{path.stem}: {share:.2%} of the pixels of its labels"] if share else []
    return found


def _evaluation(folder: Path, dataset: Path | None, on_event: OnEvent) -> tuple[str, list[str]]:
    """Score again; return what was compared, and what differs."""
    from beadseg.data.dataset import Dataset as Samples
    from beadseg.measure.evaluation import Evaluation, evaluate

    before = Evaluation.read(folder)
    opened = before.open_dataset(folder, dataset)
    scored = {image.sample for image in before.images}
    truth = Samples(opened.root, tuple(sample for sample in opened if sample.name in scored))
    again = evaluate(before.find_predictions(folder), truth, on_event=on_event, stop=STOP)
    after = {image.image: image.model_dump() for image in again.images}
    found = []
    for image in before.images:
        now = after.get(image.image)
        found += (
            [f"{image.image}: cannot be scored any more"]
            if now is None
            else _differences(image.image, image.model_dump(), now)
        )
    return plural(len(before.images), "scored image"), found


def _differences(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return in which values two records of an image differ, as one line; none where they agree."""
    different = [key for key in before if key in after and repr(before[key]) != repr(after[key])]
    values = ", ".join(f"{key} {after[key]} (was {before[key]})" for key in different[:4])
    return [f"{name}: {values}"] if different else []
