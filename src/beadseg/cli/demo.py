"""`beadseg-batch demo`: the whole way, from simulated images to counted predictions, in a few minutes.

Its steps are the calls that the other commands make.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from beadseg import files
from beadseg.cli import options
from beadseg.cli.console import STOP, reporter
from beadseg.events import Event, OnEvent, log
from beadseg.text import plural, score_text

if TYPE_CHECKING:
    from beadseg.measure.scores import GroupScore
    from beadseg.training.run import Run

OVERRIDES = ["epochs=5", "epoch.steps=60"]
"""Of the training: short, so that the demo ends in minutes."""

OutFolder = Annotated[
    Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write to.", callback=options.writable_folder)
]


def demo(out: OutFolder = Path("demo"), json: options.Json = False, quiet: options.Quiet = False) -> None:
    """Simulate images, train, predict, count and evaluate, in a few minutes; continues when repeated."""
    from beadseg.cli.config_options import use_threads

    with reporter(json, quiet) as on_event:
        use_threads(None)
        _simulate(out, on_event)
        run = _train(out, on_event)
        beads, overall = _predict(run, out, on_event)
        for what, where in (
            ("the trained model", run.folder),
            ("masks, labels, overlays, bead tables", out / "predictions"),
            ("counts", out / "predictions" / files.COUNTS),
            ("scores and figures", out / "evaluation"),
            *(
                (f"report of the {name}", out / name / files.REPORT_PAGE)
                for name in ("run", "predictions", "evaluation")
            ),
        ):
            on_event(Event("result", f"{what}: {where}", data={"path": str(where)}))
        text = (
            f"{plural(beads, 'bead')} counted, {overall.true_count} are there; detection F1 {overall.f1:.3f}, Jaccard "
            f"{score_text(overall.jaccard_images)}."
        )
        on_event(Event("result", text, data={"overall": overall.model_dump()}))


def _simulate(out: Path, on_event: OnEvent) -> None:
    """Make what the demo trains on, and what it predicts: fields of view that the network has never seen."""
    from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset

    scene = SceneConfig(height=384, width=384, beads=250)
    known = SeriesConfig(scene=scene, tiles=24, dilutions=(80, 160, 640), fields=2)
    for name, series in (("known", known), ("new", known.replace(tiles=6, fields=1, seed=1))):
        if not (out / name).exists():
            on_event(log(f"Simulating {plural(series.tiles, 'image')} into {out / name}."))
            unfinished = out / f"{name}-unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            write_dataset(unfinished, series, on_event, STOP)
            unfinished.rename(out / name)


def _train(out: Path, on_event: OnEvent) -> Run:
    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Dataset
    from beadseg.report.pages import report_or_warn
    from beadseg.report.run_page import write_run_page
    from beadseg.training.run import train

    on_event(log("Training, starting from the general model."))
    config = TrainConfig.preset("dense").with_overrides(OVERRIDES)
    run = train(Dataset.open(out / "known"), config, out / "run", on_event=on_event, stop=STOP)
    report_or_warn(partial(write_run_page, run, on_event, STOP), run.folder, on_event)
    return run


def _predict(run: Run, out: Path, on_event: OnEvent) -> tuple[int, GroupScore]:
    """Predict and score the new images; return the beads counted and the scores of all."""
    from beadseg.data.dataset import Dataset
    from beadseg.measure.evaluation import evaluate
    from beadseg.predict.batch import find_images, predict_folder
    from beadseg.predict.segmenter import Segmenter
    from beadseg.report.evaluation_page import write_evaluation_page
    from beadseg.report.pages import report_or_warn
    from beadseg.report.prediction_page import write_prediction_page

    on_event(log("Predicting and counting images of fields that the network has never seen."))
    segmenter = Segmenter.load(run.folder)
    images = find_images([out / "new" / files.IMAGES])
    predictions, evaluation, truth = out / "predictions", out / "evaluation", Dataset.open(out / "new")
    result = predict_folder(segmenter, images, predictions, source=str(run.folder),
                            model_sha256=segmenter.model_sha256, on_event=on_event, stop=STOP)  # fmt: skip
    report_or_warn(partial(write_prediction_page, predictions, on_event, STOP), predictions, on_event)
    scores = evaluate(predictions, truth, on_event=on_event, stop=STOP)
    scores.write(evaluation)
    report_or_warn(partial(write_evaluation_page, evaluation, scores, truth, on_event, STOP), evaluation, on_event)
    return int(result.counts["beads"].sum()), scores.overall
