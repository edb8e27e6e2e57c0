"""Predict, as a person uses it: name a run, press Predict, move sliders, click rows and beads, keep the result."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch

from beadseg import files
from beadseg.annotation.review import Review
from beadseg.cli.app import main
from beadseg.data.dataset import Dataset
from beadseg.data.image_io import read_labels
from beadseg.data.simulate import SceneConfig, simulate
from beadseg.errors import ExitCode

pytestmark = [pytest.mark.gui, pytest.mark.timeout(900)]
pytest.importorskip("napari")

PATIENCE_MS = 240_000


def click(qtbot: Any, button: Any) -> None:
    from qtpy.QtCore import Qt

    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def name_run(qtbot: Any, widget: Any, run: Path) -> None:
    from qtpy.QtCore import Qt

    widget.run.line.setFocus()
    widget.run.line.clear()
    qtbot.keyClicks(widget.run.line, str(run))
    qtbot.keyClick(widget.run.line, Qt.Key.Key_Return)


def predict(qtbot: Any, widget: Any) -> None:
    """Press Predict and wait for layers, count and table."""
    with qtbot.waitSignal(widget.image.background.ended, timeout=PATIENCE_MS):
        click(qtbot, widget.image.predict)
    settle(qtbot, widget)


def settle(qtbot: Any, widget: Any) -> None:
    live = widget.image.live
    qtbot.waitUntil(lambda: live.shown.centres is not None and not live.busy, timeout=PATIENCE_MS)


def shown_labels(viewer: Any) -> np.ndarray:
    layer = [layer for layer in viewer.layers if layer.name.endswith(": beads")][-1]
    return np.asarray(layer.data[0])


def batch(run: Path, image: Path, out: Path, *words: str) -> None:
    """Run the command line on the same image."""
    threads = torch.get_num_threads()
    try:
        code = main(["predict", str(run), str(image), "--out", str(out), "--quiet", "--no-report", *words])
    finally:
        torch.set_num_threads(threads)
    assert code in (ExitCode.OK, ExitCode.FLAGGED)


def test_viewer_and_batch_give_the_same(
    open_widget: Any, qtbot: Any, run_folder: Path, image_file: Path, tmp_path: Path
) -> None:
    viewer, widget = open_widget("Count")
    assert widget.image.empty.isVisibleTo(widget)
    assert not widget.image.predict.isEnabled()
    (layer,) = viewer.open(str(image_file), plugin="napari")
    name_run(qtbot, widget, run_folder)
    assert "unet" in widget.about.text()
    predict(qtbot, widget)
    assert widget.messages.text == ""
    batch(run_folder, image_file, tmp_path / "batch")
    labels = read_labels(tmp_path / "batch" / files.LABELS / f"{image_file.stem}.tif").labels
    assert np.array_equal(shown_labels(viewer), labels)
    counts = pd.read_csv(tmp_path / "batch" / files.COUNTS)
    assert widget.image.results.count.text() == f"{counts['beads'][0]:,} beads"
    assert counts["beads"][0] > 5
    table = widget.image.results.beads.table
    assert len(table) == counts["beads"][0]
    from qtpy.QtCore import Qt

    model = widget.image.results.bead_view.model()
    headers = [model.headerData(column, Qt.Orientation.Horizontal) for column in range(4)]
    assert headers == ["id", "y", "x", "area,\npx²"]
    names = [part.name.rpartition(": ")[2] for part in viewer.layers]
    assert names == [layer.name, "probability", "beads", "centres"]
    assert np.allclose(viewer.layers[3].data, table[["y", "x"]])
    # other choices by the sliders are what the batch gives with the same options
    widget.image.sliders.threshold.setValue(0.7)
    widget.image.sliders.min_area.setValue(30)
    settle(qtbot, widget)
    batch(run_folder, image_file, tmp_path / "other", "--set", "objects.threshold=0.7", "--set", "objects.min_area=30")
    expected = read_labels(tmp_path / "other" / files.LABELS / f"{image_file.stem}.tif").labels
    assert np.array_equal(shown_labels(viewer), expected)
    # and saved they are its files, byte by byte
    qtbot.keyClicks(widget.image.keep.folder.line, str(tmp_path / "saved"))
    with qtbot.waitSignal(widget.image.keep.background.ended, timeout=PATIENCE_MS):
        click(qtbot, widget.image.keep.save)
    assert widget.messages.text.startswith("Saved")
    for path in sorted((tmp_path / "other").rglob("*")):
        if path.is_file() and path.name not in (files.PREDICTION, files.REPORT_PAGE):
            assert (tmp_path / "saved" / path.relative_to(tmp_path / "other")).read_bytes() == path.read_bytes(), path
    assert (tmp_path / "saved" / files.REPORT_PAGE).exists()


def test_sliders_change_everything(open_widget: Any, qtbot: Any, run_folder: Path, image_file: Path) -> None:
    viewer, widget = open_widget("Count")
    viewer.open(str(image_file), plugin="napari")
    name_run(qtbot, widget, run_folder)
    predict(qtbot, widget)
    image = widget.image
    before = len(image.results.beads.table)
    sliders = image.sliders
    for slider, value in ((sliders.min_area, 60), (sliders.confidence, 0.9), (sliders.separation, 1.2)):
        slider.setValue(value)
        settle(qtbot, widget)
        count = int(shown_labels(viewer).max())
        assert image.results.count.text() == f"{count:,} bead{'' if count == 1 else 's'}"
        assert len(image.results.beads.table) == len(viewer.layers[-1].data) == count
    assert count < before
    click(qtbot, image.sliders.reset)
    settle(qtbot, widget)
    assert len(image.results.beads.table) == before
    click(qtbot, image.sliders.cut)
    settle(qtbot, widget)
    assert len(image.results.beads.table) <= before


def test_links_region_and_draft(
    open_widget: Any, qtbot: Any, run_folder: Path, image_file: Path, tmp_path: Path
) -> None:
    viewer, widget = open_widget("Count")
    viewer.open(str(image_file), plugin="napari")
    name_run(qtbot, widget, run_folder)
    predict(qtbot, widget)
    click_a_row(qtbot, viewer, widget)
    click_a_bead(qtbot, viewer, widget)
    count_in_a_region(qtbot, viewer, widget)
    accept_as_draft(qtbot, viewer, widget, image_file, tmp_path / "dataset")
    predict_again_without_the_file(qtbot, viewer, widget, image_file)


def click_a_row(qtbot: Any, viewer: Any, widget: Any) -> None:
    from qtpy.QtCore import Qt

    from beadseg.widgets.layers import camera_of

    results = widget.image.results
    view, table = results.bead_view, results.beads.table
    row = len(table) - 2
    view.scrollTo(results.beads.index(row, 0))
    where = view.visualRect(results.beads.index(row, 1)).center()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert np.allclose(camera_of(viewer).center[-2:], table[["y", "x"]].to_numpy()[row])
    assert viewer.layers[-1].selected_data == {row}


def click_a_bead(qtbot: Any, viewer: Any, widget: Any) -> None:
    """Bring a bead into the middle of the canvas and click there."""
    from qtpy.QtCore import Qt

    from beadseg.widgets.layers import camera_of

    clicked: list[int] = []
    widget.image.live.bead_clicked.connect(clicked.append)
    bead = 3
    y, x = widget.image.results.beads.table[["y", "x"]].to_numpy()[bead]
    camera_of(viewer).center = (0, y, x)
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.waitUntil(canvas.isVisible)
    qtbot.mouseMove(canvas, canvas.rect().center())
    qtbot.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=canvas.rect().center())
    qtbot.waitUntil(lambda: clicked == [bead])
    assert widget.image.results.bead_view.currentIndex().row() == bead


def count_in_a_region(qtbot: Any, viewer: Any, widget: Any) -> None:
    table, detail = widget.image.results.beads.table, widget.image.results.detail
    shapes = viewer.add_shapes([[[-1, -1], [-1, 80], [200, 80], [200, -1]]], shape_type="rectangle", name="left half")
    widget.image.region.setCurrentText("left half")
    left = int((table["x"] < 80).sum())
    assert f"{left:,} beads in left half" in detail.text()
    shapes.add_ellipses([[20.0, 120.0], [20.0, 150.0], [60.0, 150.0], [60.0, 120.0]])
    in_it = int((((table["y"] - 40) / 20) ** 2 + ((table["x"] - 135) / 15) ** 2 <= 1).sum())
    qtbot.waitUntil(lambda: f"{left + in_it:,} beads in" in detail.text())
    count = widget.image.results.count
    assert count.text() == f"{left + in_it:,} beads"
    assert "left half" in widget.image.results.title.text()
    shapes.translate = (0, 1000)  # beside the image
    qtbot.waitUntil(lambda: count.text() == "0 beads")
    shapes.translate = (0, 0)
    qtbot.waitUntil(lambda: count.text() == f"{left + in_it:,} beads")
    viewer.layers.remove("left half")
    assert "left half" not in detail.text()
    assert count.text() == f"{len(table):,} beads"
    assert "left half" not in widget.image.results.title.text()


def accept_as_draft(qtbot: Any, viewer: Any, widget: Any, image_file: Path, root: Path) -> None:
    widget.image.sliders.threshold.setValue(0.6)
    settle(qtbot, widget)
    qtbot.keyClicks(widget.image.keep.folder.line, str(root))
    for said in ("are a draft in", "never replaced"):
        with qtbot.waitSignal(widget.image.keep.background.ended, timeout=PATIENCE_MS):
            click(qtbot, widget.image.keep.draft)
        assert said in widget.messages.text
    blocked = root.with_name("a file")
    blocked.write_text("in the way, as good as a folder that may not be written in")
    widget.image.keep.folder.choose(blocked)
    for button in (widget.image.keep.draft, widget.image.keep.save):
        with qtbot.waitSignal(widget.image.keep.background.ended, timeout=PATIENCE_MS):
            click(qtbot, button)
        assert "a file" in widget.messages.text
        assert widget.messages.tone == "error"
        assert button.isEnabled()
    dataset = Dataset.open(root)
    assert np.array_equal(dataset[image_file.stem].read_target().labels, shown_labels(viewer))
    assert Review.open(root).state(image_file.stem).state == "pending"
    assert dataset[image_file.stem].image_path.read_bytes() == image_file.read_bytes()


def predict_again_without_the_file(qtbot: Any, viewer: Any, widget: Any, image_file: Path) -> None:
    """The pixels of the layer are enough; the result is shown in the layers that are there."""
    layers = list(viewer.layers)
    click(qtbot, widget.image.sliders.reset)
    settle(qtbot, widget)
    before = shown_labels(viewer)
    image_file.unlink()
    predict(qtbot, widget)
    assert widget.messages.text == ""
    assert list(viewer.layers) == layers
    assert np.array_equal(shown_labels(viewer), before)
    assert len(viewer.layers[-1].data) == before.max()


def test_a_result_is_shown_again_after_its_layers_were_deleted(open_widget: Any, qtbot: Any, run_folder: Path) -> None:
    thresholds = gc.get_threshold()
    viewer, widget = open_widget("Count")
    single = viewer.add_image(stack_of("16-bit stack")[0], name="single")
    name_run(qtbot, widget, run_folder)
    predict(qtbot, widget)
    assert viewer.layers.selection.active is single
    first = shown_labels(viewer)
    for layer in list(viewer.layers)[1:]:
        viewer.layers.remove(layer)
    predict(qtbot, widget)
    assert np.array_equal(shown_labels(viewer), first)
    assert gc.get_threshold() == thresholds


def stack_of(kind: str) -> Any:
    scenes = [simulate(SceneConfig(height=96, width=128, beads=n, debris=0), n).image for n in (10, 30, 20)]
    if kind == "rgb stack":
        return np.stack(scenes)
    grey = np.stack([scene[..., 1] for scene in scenes]).astype(np.uint16) * 200
    if kind == "16-bit stack":
        return grey
    import dask.array

    return dask.array.from_array(grey, chunks=(1, 48, 64))


@pytest.mark.parametrize("kind", ["16-bit stack", "rgb stack", "dask"])
def test_stacks_are_counted_plane_by_plane(
    open_widget: Any, qtbot: Any, run_folder: Path, kind: str, tmp_path: Path
) -> None:
    viewer, widget = open_widget("Count")
    pixels = stack_of(kind)
    viewer.add_image(pixels, rgb=kind == "rgb stack", name="depths")
    viewer.dims.axis_labels = ("z", "y", "x")
    name_run(qtbot, widget, run_folder)
    predict(qtbot, widget)
    saved = tmp_path / "depths.tif"
    colour = {"photometric": "rgb"} if kind == "rgb stack" else {"photometric": "minisblack"}
    tifffile.imwrite(saved, np.asarray(pixels), metadata={"axes": "ZYXS" if kind == "rgb stack" else "ZYX"}, **colour)
    batch(run_folder, saved, tmp_path / "batch")
    assert np.array_equal(shown_labels(viewer), read_labels(tmp_path / "batch" / files.LABELS / "depths.tif").labels)
    counts = pd.read_csv(tmp_path / "batch" / files.COUNTS)
    planes = widget.image.results.planes.table
    assert list(planes["plane"]) == list(counts["plane"]) == ["z000", "z001", "z002"]
    assert list(planes["beads"]) == list(counts["beads"])
    view = widget.image.results.plane_view
    assert view.isVisibleTo(widget)
    from qtpy.QtCore import Qt

    where = view.visualRect(widget.image.results.planes.index(1, 0)).center()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert viewer.dims.current_step[0] == 1
    assert widget.image.results.count.text().startswith(f"{counts['beads'][1]} bead")
    settle(qtbot, widget)
    assert len(widget.image.results.beads.table) == counts["beads"][1]
    assert set(viewer.layers[-1].data[:, 0]) == {1.0}


def test_a_stack_after_a_single_image(open_widget: Any, qtbot: Any, run_folder: Path) -> None:
    """The results of the one before make room; planes are shown for the stack only."""
    viewer, widget = open_widget("Count")
    pixels = stack_of("16-bit stack")
    viewer.add_image(pixels[0], name="single")
    name_run(qtbot, widget, run_folder)
    predict(qtbot, widget)
    one = shown_labels(viewer)
    results = widget.image.results
    assert not results.plane_view.isVisibleTo(widget)
    stack = viewer.add_image(pixels, name="stack")
    assert widget.image.layer.layer == stack
    viewer.layers.selection.active = viewer.layers["single"]
    assert widget.image.layer.currentText() == "single"
    viewer.layers.selection.active = stack
    predict(qtbot, widget)
    assert widget.messages.text == ""
    assert results.plane_view.isVisibleTo(widget)
    found = shown_labels(viewer)
    assert np.array_equal(found[0], one)
    assert list(results.planes.table["beads"]) == [int(plane.max()) for plane in found]
    viewer.dims.set_point(0, 2)
    settle(qtbot, widget)
    assert len(results.beads.table) == results.planes.table["beads"][2]
    widget.image.layer.layer = viewer.layers["single"]
    predict(qtbot, widget)
    assert not results.plane_view.isVisibleTo(widget)
    assert len(results.beads.table) == one.max()


def test_a_multiscale_ome_zarr_layer(open_widget: Any, qtbot: Any, run_folder: Path, tmp_path: Path) -> None:
    import dask.array

    from beadseg.data.image_io import Image
    from beadseg.data.ome_zarr_write import write_ome_zarr

    pixels = simulate(SceneConfig(height=600, width=640, beads=200, debris=0, channels="grey"), 3).image
    write_ome_zarr(tmp_path / "tile.zarr", None, Image(pixels, "YX", 0.5))
    viewer, widget = open_widget("Count")
    levels = [dask.array.from_zarr(str(tmp_path / "tile.zarr"), component=name) for name in ("0", "1")]
    layer = viewer.add_image(levels, multiscale=True, name="tile", scale=(0.5, 0.5), units=("um", "um"))
    assert layer.multiscale
    name_run(qtbot, widget, run_folder)
    predict(qtbot, widget)
    batch(run_folder, tmp_path / "tile.zarr", tmp_path / "batch")
    assert np.array_equal(shown_labels(viewer), read_labels(tmp_path / "batch" / files.LABELS / "tile.tif").labels)
    written = pd.read_csv(tmp_path / "batch" / files.BEADS / "tile.csv")
    assert np.allclose(widget.image.results.beads.table["area_um2"], written["area_um2"], rtol=1e-5)
    assert "mm²" in widget.image.results.detail.text()
    assert np.allclose(viewer.layers[-2].scale, 0.5)


def names_of(viewer: Any) -> list[str]:
    return [layer.name for layer in viewer.layers]


def test_results_stay_with_their_image(open_widget: Any, qtbot: Any, run_folder: Path) -> None:
    """Each image has its own results, where it lies; they go with it, and no number stands beside another image."""
    viewer, widget = open_widget("Count")
    results = widget.image.results
    one, two = stack_of("16-bit stack")[:2]
    place = {"scale": (0.25, 0.25), "units": ("um", "um"), "rotate": 30, "shear": [0.2], "translate": (3.0, 4.0)}
    first = viewer.add_image(one, name="first", **place)
    name_run(qtbot, widget, run_folder)
    predict(qtbot, widget)
    labels = widget.image.live.shown.labels
    corner = (10.0, 20.0)
    assert np.allclose(labels.data_to_world(corner), first.data_to_world(corner))
    assert results.title.text() == "first"
    assert "per mm²" in results.detail.text()
    first.rotate = 75
    first.translate = (50.0, -20.0)
    assert np.allclose(labels.data_to_world(corner), first.data_to_world(corner))
    assert np.allclose(widget.image.live.shown.centres.data_to_world(corner), first.data_to_world(corner))
    widget.image.sliders.threshold.setValue(0.7)
    settle(qtbot, widget)
    of_first = results.count.text()

    second = viewer.add_image(two, name="second")
    assert results.count.text() == results.title.text() == ""
    assert not widget.image.found.isVisibleTo(widget)
    predict(qtbot, widget)
    assert results.title.text() == "second"
    parts = ("probability", "beads", "centres")
    assert names_of(viewer) == ["first", *(f"first: {part}" for part in parts), "second",
                                *(f"second: {part}" for part in parts)]  # fmt: skip
    assert widget.image.sliders.threshold.value() == 0.7  # kept from image to image
    widget.image.sliders.threshold.setValue(0.6)
    settle(qtbot, widget)
    viewer.layers.selection.active = first
    assert (results.title.text(), results.count.text()) == ("first", of_first)
    assert widget.image.sliders.threshold.value() == 0.7
    assert len(results.beads.table) == int(of_first.split()[0])

    viewer.layers.remove(first)
    assert "first" not in results.title.text()
    qtbot.waitUntil(lambda: names_of(viewer) == ["second", *(f"second: {part}" for part in parts)])
    viewer.layers.selection.active = second
    assert results.title.text() == "second"
    second.data = one
    assert results.count.text() == ""
    assert "was replaced" in widget.messages.text
    qtbot.waitUntil(lambda: names_of(viewer) == ["second"])


def test_the_layers_pixel_size_counts_and_settings_are_kept_per_image(
    open_widget: Any, qtbot: Any, run_folder: Path, tmp_path: Path
) -> None:
    """The file says 0.5 µm and the layer 0.25; changed later, numbers and files follow. Each image has its settings."""
    import json

    path = tmp_path / "one.tif"
    pixels = stack_of("16-bit stack")
    tifffile.imwrite(path, pixels[0], resolution=(2e4, 2e4), resolutionunit="CENTIMETER")
    viewer, widget = open_widget("Count")
    (layer,) = viewer.open(str(path), plugin="napari")
    layer.scale, layer.units = (0.25, 0.25), ("um", "um")
    name_run(qtbot, widget, run_folder)
    predict(qtbot, widget)
    keep, out = widget.image.keep, tmp_path / "saved"
    for size in (0.25, 0.2):
        layer.scale = (size, size)
        settle(qtbot, widget)
        assert widget.image.live.measured_now.row["pixel_size_um"] == pytest.approx(size)
        keep.folder.choose(out)
        with qtbot.waitSignal(keep.background.ended, timeout=PATIENCE_MS):
            click(qtbot, keep.save)
        assert list(pd.read_csv(out / files.COUNTS)["pixel_size_um"])[-1:] == pytest.approx([size])
    viewer.add_shapes([[[0, 0], [0, 64], [96, 64], [96, 0]]], name="left", scale=(0.2, 0.2), units=("um", "um"))
    widget.image.region.setCurrentText("left")
    viewer.add_image(pixels[1], name="two")
    widget.image.region.setCurrentIndex(0)
    predict(qtbot, widget)
    widget.image.sliders.threshold.setValue(0.77)
    settle(qtbot, widget)
    widget.image.region.setCurrentText("left")
    with qtbot.waitSignal(keep.background.ended, timeout=PATIENCE_MS):
        click(qtbot, keep.save)
    document = json.loads((out / files.PREDICTION).read_text())
    chosen = [document["chosen"][result["made_with"]]["threshold"] for result in document["results"].values()]
    assert chosen[-1] == 0.77
    assert chosen[0] != 0.77
    assert "Settings per image" in (out / files.REPORT_PAGE).read_text()
    region = pd.read_csv(out / files.REGIONS)
    assert list(region["region"]) == ["left"]
    with qtbot.waitSignal(keep.background.ended, timeout=PATIENCE_MS):
        click(qtbot, keep.draft)
    assert "not a dataset" in widget.messages.text


def test_channels_are_not_a_time_series(open_widget: Any, qtbot: Any, run_folder: Path) -> None:
    viewer, widget = open_widget("Count")
    pixels = np.stack([np.full((96, 128), 100, np.uint16), stack_of("16-bit stack")[1]])
    viewer.add_image(pixels, name="both", axis_labels=("c", "y", "x"))
    assert widget.image.axis.currentText() == "channels: predict channel 0"
    widget.image.axis.setCurrentText("channels: predict channel 1")
    name_run(qtbot, widget, run_folder)
    predict(qtbot, widget)
    assert shown_labels(viewer).shape == (96, 128)
    assert shown_labels(viewer).max() > 5
    # sorted by another column the same bead stays selected, and the arrow says what is sorted
    from qtpy.QtCore import Qt

    view, model = widget.image.results.bead_view, widget.image.results.beads
    assert view.horizontalHeader().sortIndicatorSection() == -1
    widget.image.results.choose_bead(3)
    view.sortByColumn(list(model.table.columns).index("area_px"), Qt.SortOrder.DescendingOrder)
    assert model.position_of(view.currentIndex().row()) == 3
    assert [index.row() for index in view.selectionModel().selectedRows()] == [view.currentIndex().row()]
    # what follows the sliders is not painted on, and that is said
    viewer.layers.selection.active = widget.image.live.shown.centres
    assert "cannot be painted on or moved" in widget.messages.text
    assert not widget.image.live.shown.centres.editable
