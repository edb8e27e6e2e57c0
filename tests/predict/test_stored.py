"""Maps that `predict --maps` keeps: other choices from them are what the network would give."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from beadseg import files
from beadseg.config.predict import ObjectConfig
from beadseg.data.image_io import open_image
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import RunError
from beadseg.predict import Segmenter
from beadseg.predict.batch import predict_folder
from beadseg.predict.counts import corrected_cells
from beadseg.predict.prediction import StoredMaps, map_path, read_maps
from beadseg.predict.tables import write_corrections
from beadseg.report.prediction_page import write_prediction_page


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    scenes = [simulate(SceneConfig(height=96, width=128, beads=30, channels="grey"), seed) for seed in (1, 2)]
    path = tmp_path / "stack.tif"
    tifffile.imwrite(
        path, np.stack([scene.image for scene in scenes]), metadata={"axes": "ZYX"}, photometric="minisblack"
    )
    return path


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files but the description, by their path."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != files.PREDICTION]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_maps_are_what_the_network_says(segmenter: Segmenter, stack: Path, tmp_path: Path) -> None:
    predict_folder(segmenter, [stack], tmp_path / "out", maps=True)
    for plane, pixels, prediction in segmenter.predict_planes(open_image(stack)):
        maps = read_maps(map_path(tmp_path / "out", "stack", plane))
        assert np.array_equal(maps.probability, prediction.probability)
        assert maps.centre is None or np.array_equal(maps.centre, prediction.maps.centre)
        assert pixels.shape == (1, 96, 128)


@pytest.mark.parametrize(
    "change",
    [{}, {"threshold": 0.7}, {"min_area": 30}, {"separate": False}, {"seeds": {"distance": 0.6}}],
    ids=["the same", "threshold", "size", "joined", "seeds"],
)
def test_another_choice_is_what_the_network_would_give(
    segmenter: Segmenter, stack: Path, tmp_path: Path, change: dict[str, object]
) -> None:
    predict_folder(segmenter, [stack], tmp_path / "kept", maps=True, source="run")
    objects = ObjectConfig.parse({**segmenter.options.objects.model_dump(), **change})
    stored = StoredMaps(tmp_path / "kept", "stack", objects)
    predict_folder(stored, [stack], tmp_path / "again", source=stored.source, model_sha256=stored.model_sha256)
    segmenter.options = segmenter.options.replace(objects=objects)
    predict_folder(segmenter, [stack], tmp_path / "direct", source="run")
    assert contents(tmp_path / "again") == contents(tmp_path / "direct")
    assert len(contents(tmp_path / "again")) == 7
    documents = [json.loads((tmp_path / name / files.PREDICTION).read_text()) for name in ("again", "direct")]
    assert documents[0] == documents[1]
    assert documents[0]["images"] == {"stack": str(stack)}


def test_missing_or_foreign_maps_are_an_error(segmenter: Segmenter, stack: Path, tmp_path: Path) -> None:
    predict_folder(segmenter, [stack], tmp_path / "out", maps=True)
    path = map_path(tmp_path / "out", "stack", "z001")
    tifffile.imwrite(path, np.zeros((4, 4), np.uint8))
    with pytest.raises(RunError, match="no maps"):
        read_maps(path)
    path.write_bytes(b"II*\0")
    with pytest.raises(RunError, match="Predict the image again"):
        read_maps(path)
    path.unlink()
    with pytest.raises(RunError, match="not there"):
        list(StoredMaps(tmp_path / "out", "stack").predict_planes(open_image(stack)))


def test_a_batch_ended_by_force_keeps_its_counts(segmenter: Segmenter, stack: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tif"
    other.write_bytes(stack.read_bytes())

    class Ended(BaseException):
        """The process is gone."""

    def end_at_the_second(event: object) -> None:
        if (tmp_path / "out" / files.LABELS / "stack.tif").exists() and getattr(event, "kind", "") == "progress":
            raise Ended

    with pytest.raises(Ended):
        predict_folder(segmenter, [stack, other], tmp_path / "out", on_event=end_at_the_second)
    assert (tmp_path / "out" / files.COUNTS).read_text().count("stack") == 2


def test_corrections_lie_beside_the_automatic_result_and_stay_when_it_is_predicted_again(
    segmenter: Segmenter, stack: Path, tmp_path: Path
) -> None:
    """Only the plane that a person corrected has a corrected count; another file of the name has none."""
    out = tmp_path / "out"
    segmenter.model_sha256 = "one"
    predict_folder(segmenter, [stack], out, model_sha256="one")
    automatic = tifffile.imread(out / files.LABELS / "stack.tif")
    image, table = open_image(stack), pd.DataFrame({"id": [1, 9], "y": [3.0, 8.0], "x": [4.0, 5.0]})
    labels = np.zeros(image.size, np.uint32)
    labels[2:5, 3:6], labels[7:10, 4:7] = 1, 9
    cells = corrected_cells(2, "ada", "2026-12-01T10:00:00Z", image.size, 0.5)
    write_corrections(
        out, "stack", image, {"z001": (labels, table, cells)}, lambda plane: automatic[image.names.index(plane)]
    )
    written = tifffile.imread(out / files.CORRECTED / "stack.tif")
    assert np.array_equal(written[0], automatic[0])
    assert np.array_equal(written[1], labels)
    assert pd.read_csv(out / files.CORRECTED / "stack.csv")["plane"].tolist() == ["z001", "z001"]
    before = pd.read_csv(out / files.COUNTS)
    assert before["corrected"].isna().tolist() == [True, False]
    assert before["corrected_by"][1] == "ada"
    assert before["corrected_per_mm2"][1] == pytest.approx(2 / (96 * 128 * 0.25) * 1e6, rel=1e-3)
    predict_folder(segmenter, [stack], out, model_sha256="one", again=True)
    pd.testing.assert_frame_equal(pd.read_csv(out / files.COUNTS), before)
    assert np.array_equal(tifffile.imread(out / files.CORRECTED / "stack.tif"), written)
    assert "Corrected by hand" in write_prediction_page(out).read_text(encoding="utf-8")
    stack.write_bytes(stack.read_bytes() + b"\0")
    predict_folder(segmenter, [stack], out, model_sha256="one")
    assert pd.read_csv(out / files.COUNTS)["corrected"].isna().all()
    write_corrections(out, "stack", image, {}, lambda plane: labels)
    assert not list((out / files.CORRECTED).iterdir())


def test_a_corrected_count_is_a_whole_number_beside_images_that_nobody_corrected(
    segmenter: Segmenter, stack: Path, tmp_path: Path
) -> None:
    other, out = tmp_path / "other.tif", tmp_path / "out"
    other.write_bytes(stack.read_bytes())
    predict_folder(segmenter, [stack, other], out)
    image, labels = open_image(stack), np.zeros(open_image(stack).size, np.uint32)
    table = pd.DataFrame({"id": [1, 9], "y": [3.0, 8.0], "x": [4.0, 5.0]})
    cells = corrected_cells(2, "ada", "2026-12-01T10:00:00Z", image.size, None)
    for _ in range(2):  # the same correction again gives the same bytes
        write_corrections(out, "stack", image, {"z001": (labels, table, cells)}, lambda plane: labels)
        counts = pd.read_csv(out / files.COUNTS, dtype=str, keep_default_na=False)
        assert sorted(counts["corrected"]) == ["", "", "", "2"]
