"""The steps of `beadseg-batch demo`, by the same calls that the other commands make."""

from __future__ import annotations

import shutil
from pathlib import Path

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.events import Event, OnEvent, StopFlag, log
from beadseg.measure.evaluation import evaluate
from beadseg.predict.batch import find_images, predict_folder
from beadseg.predict.segmenter import Segmenter
from beadseg.report.evaluation import draw_evaluation
from beadseg.report.run import write_run_report
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
            on_event(log(f"Simulating {series.tiles} images into {out / name}."))
            unfinished = out / f"{name}-unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            write_dataset(unfinished, series, on_event, stop)
            unfinished.rename(out / name)
    on_event(log("Training a small UNet."))
    config = TrainConfig.preset("dense").with_overrides(OVERRIDES)
    run = train(Dataset.open(out / "known"), config, out / "run", on_event=on_event, stop=stop)
    write_run_report(run)
    on_event(log("Predicting and counting images of fields that the network has never seen."))
    segmenter = Segmenter.load(run.folder)
    images = find_images([out / "new" / files.IMAGES])
    result = predict_folder(
        segmenter, images, out / "predictions", source=str(run.folder), on_event=on_event, stop=stop
    )
    scores = evaluate(out / "predictions", Dataset.open(out / "new"), on_event=on_event, stop=stop)
    scores.write(out / "evaluation")
    draw_evaluation(scores, out / "evaluation" / files.REPORT)
    overall = scores.overall
    for what, where in (
        ("the trained model", run.folder),
        ("masks, labels, overlays, bead tables", out / "predictions"),
        ("counts", out / "predictions" / files.COUNTS),
        ("scores and figures", out / "evaluation"),
    ):
        on_event(Event("result", f"{what}: {where}", data={"path": str(where)}))
    text = (
        f"{int(result.counts['beads'].sum())} beads counted, {overall.true_count} are there; detection F1 "
        f"{overall.f1:.3f}, Jaccard {overall.jaccard_images:.3f}."
    )
    on_event(Event("result", text, data={"overall": overall.model_dump()}))
