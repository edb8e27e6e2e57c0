"""A trained model knows how its counts are to be read, from images it was not trained on where there are some."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from beadseg import files
from beadseg.config import TrainConfig
from beadseg.data.dataset import Dataset
from beadseg.errors import Cancelled
from beadseg.events import StopFlag
from beadseg.measure.calibration import CALIBRATION, TRAINING_WIDER
from beadseg.model.checkpoint import load_checkpoint, read_meta, save_checkpoint
from beadseg.predict import Segmenter
from beadseg.training import train
from beadseg.training.batches import TrainingImage, load_images
from beadseg.training.postprocessing import calibrate_model, known_parts


@pytest.fixture(scope="module")
def run(dataset: Dataset, tiny: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(dataset, tiny, tmp_path_factory.mktemp("calibrated") / "run", device="cpu").folder


@pytest.fixture(scope="module")
def images(dataset: Dataset, run: Path) -> list[TrainingImage]:
    return load_images(list(dataset)[:2], TrainConfig.from_file(run / files.CONFIG))


def test_a_run_ends_with_a_calibration(run: Path, dataset: Dataset, tiny: TrainConfig) -> None:
    segmenter = Segmenter.load(run, device="cpu")
    known = segmenter.calibration
    assert known is not None
    assert known.source == "validation"
    assert known.wider == 1
    assert known.fits(segmenter.options.objects)
    assert not known.fits(segmenter.options.objects.replace(threshold=0.7))
    before = (run / files.BEST).read_bytes()
    train(dataset, tiny, run, device="cpu")
    assert (run / files.BEST).read_bytes() == before


def test_without_validation_images_intervals_are_wider(run: Path, images: list[TrainingImage], tmp_path: Path) -> None:
    model = without_calibration(run, tmp_path)
    calibrate_model(model, [], images, "cpu")
    known = Segmenter.load(model, device="cpu").calibration
    assert known is not None
    assert (known.source, known.images, known.wider) == ("training", 2, TRAINING_WIDER)


def test_parts_of_an_image_add_up_to_it(run: Path, images: list[TrainingImage]) -> None:
    segmenter = Segmenter.load(run, device="cpu")
    image = images[0]
    counted = image.counted.copy()
    counted[:, :20] = 0
    beads = image.beads[image.beads[:, 1] >= 24]
    for one in (image, replace(image, counted=counted, beads=beads)):
        (whole,) = known_parts(segmenter, one, 1)
        parts = known_parts(segmenter, one, 9)
        assert len(parts) > 1
        for name in ("pixels", "found", "misses", "false_finds"):
            assert sum(getattr(part, name) for part in parts) == getattr(whole, name)
        assert sum(part.integral for part in parts) == pytest.approx(whole.integral)
        assert whole.true == len(one.beads)
        assert whole.pixels == int(one.counted.sum())
    full, hidden = (known_parts(segmenter, one, 1)[0] for one in (image, replace(image, counted=counted, beads=beads)))
    assert hidden.integral < full.integral


def test_an_image_that_is_ignored_whole_teaches_nothing(run: Path, images: list[TrainingImage]) -> None:
    nothing = replace(images[0], counted=np.zeros_like(images[0].counted), beads=images[0].beads[:0])
    assert known_parts(Segmenter.load(run, device="cpu"), nothing, 3) == []


def test_stopped_it_leaves_the_model_as_it_was(run: Path, images: list[TrainingImage], tmp_path: Path) -> None:
    model = without_calibration(run, tmp_path)
    before = model.read_bytes()
    stop = StopFlag()
    stop.set()
    with pytest.raises(Cancelled):
        calibrate_model(model, images, [], "cpu", stop=stop)
    assert model.read_bytes() == before


def without_calibration(run: Path, folder: Path) -> Path:
    """Return a copy of the run's model as it was before it was calibrated."""
    tensors, meta = load_checkpoint(run / files.BEST)
    assert CALIBRATION in meta
    model = folder / files.BEST
    save_checkpoint(model, tensors, {name: value for name, value in meta.items() if name != CALIBRATION})
    assert CALIBRATION not in read_meta(model)
    return model
