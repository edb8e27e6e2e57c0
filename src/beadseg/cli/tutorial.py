"""The steps of `beadseg-batch demo`, by the same calls that the other commands make."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.events import Event, OnEvent, StopFlag, log
from beadseg.measure.evaluation import evaluate
from beadseg.predict.batch import find_images, predict_folder
from beadseg.predict.segmenter import Segmenter
from beadseg.report.evaluation_page import write_evaluation_page
from beadseg.report.pages import report_or_warn
from beadseg.report.prediction_page import write_prediction_page
from beadseg.report.run_page import write_run_page
from beadseg.text import plural, score_text
from beadseg.training.run import train

KNOWN = SeriesConfig(scene=SceneConfig(height=384, width=384, beads=250), tiles=24, dilutions=(80, 160, 640), fields=2)
"""What the demo trains on: three dilutions, two fields of view each."""
NEW = KNOWN.replace(tiles=6, fields=1, seed=1)
"""What it predicts: fields of view that the network has never seen."""
OVERRIDES = ["epochs=5", "epoch.steps=60"]
"""Short, so that the demo ends in minutes."""


def run_demo(out: Path, on_event: OnEvent, stop: StopFlag) -> None:
    """Simulate, train, predict, count and evaluate in the folder `out`; what is finished there is not done again."""
    for name, series in (("known", KNOWN), ("new", NEW)):
        if not (out / name).exists():
            on_event(log(f"Simulating {plural(series.tiles, 'image')} into {out / name}."))
            unfinished = out / f"{name}-unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            write_dataset(unfinished, series, on_event, stop)
            unfinished.rename(out / name)
    on_event(log("Training, starting from the general model."))
    config = TrainConfig.preset("dense").with_overrides(OVERRIDES)
    run = train(Dataset.open(out / "known"), config, out / "run", on_event=on_event, stop=stop)
    report_or_warn(partial(write_run_page, run, on_event, stop), run.folder, on_event)
    on_event(log("Predicting and counting images of fields that the network has never seen."))
    segmenter = Segmenter.load(run.folder)
    images = find_images([out / "new" / files.IMAGES])
    predictions, evaluation, truth = out / "predictions", out / "evaluation", Dataset.open(out / "new")
    result = predict_folder(segmenter, images, predictions, source=str(run.folder),
                            model_sha256=segmenter.model_sha256, on_event=on_event, stop=stop)  # fmt: skip
    report_or_warn(partial(write_prediction_page, predictions, on_event, stop), predictions, on_event)
    scores = evaluate(predictions, truth, on_event=on_event, stop=stop)
    scores.write(evaluation)
    report_or_warn(partial(write_evaluation_page, evaluation, scores, truth, on_event, stop), evaluation, on_event)
    overall = scores.overall
    for what, where in (
        ("the trained model", run.folder),
        ("masks, labels, overlays, bead tables", predictions),
        ("counts", predictions / files.COUNTS),
        ("scores and figures", evaluation),
        *(
            (f"report of the {name}", folder / files.REPORT_PAGE)
            for name, folder in (
                ("run", run.folder),
                ("predictions", predictions),
                ("evaluation", evaluation),
            )
        ),
    ):
        on_event(Event("result", f"{what}: {where}", data={"path": str(where)}))
    text = (
        f"{plural(int(result.counts['beads'].sum()), 'bead')} counted, {overall.true_count} are there; detection F1 "
        f"{overall.f1:.3f}, Jaccard {score_text(overall.jaccard_images)}."
    )
    on_event(Event("result", text, data={"overall": overall.model_dump()}))
