"""The manifest as napari uses it: valid, every command there, every menu, sample, reader, writer and setting works."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile

import beadseg
from beadseg import files
from beadseg.data.dataset import Dataset
from beadseg.data.image_io import read_mask
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.errors import InputError

pytestmark = pytest.mark.gui
pytest.importorskip("napari")

MANIFEST = Path(beadseg.__file__).parent / "napari.yaml"


@pytest.fixture
def manifest() -> Any:
    from npe2 import PluginManifest

    return PluginManifest.from_file(MANIFEST)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    scene = SceneConfig(height=64, width=80, beads=12)
    write_dataset(tmp_path / "beads", SeriesConfig(scene=scene, tiles=3, dilutions=(1,), fields=1))
    return tmp_path / "beads"


def test_manifest_is_valid() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "npe2.cli", "validate", str(MANIFEST)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_command_is_there(manifest: Any) -> None:
    from npe2.manifest.utils import import_python_name

    commands = {command.id: command for command in manifest.contributions.commands}
    for command in commands.values():
        assert callable(import_python_name(command.python_name))
    used = [item for kind in ("widgets", "readers", "writers", "sample_data") for item in
            getattr(manifest.contributions, kind)]  # fmt: skip
    assert {item.command for item in used} == set(commands)


def test_every_widget_is_in_a_menu_of_the_layers(manifest: Any) -> None:
    menus = manifest.contributions.menus
    placed = {item.command for items in menus.values() for item in items}
    assert placed == {widget.command for widget in manifest.contributions.widgets}
    from napari._app_model.constants import MenuId

    assert set(menus) <= {str(menu) for menu in MenuId.contributables()}


def test_every_widget_opens(manifest: Any, open_widget: Any, make_napari_viewer: Any, qtbot: Any) -> None:
    viewer = make_napari_viewer(show=True, strict_qt=True)
    for contribution in manifest.contributions.widgets:
        _, widget = open_widget(contribution.display_name, viewer)
        qtbot.waitUntil(widget.isVisible)


@pytest.mark.parametrize(
    ("path", "opens"),
    [
        (("Plugins", "beadseg", "Review (beadseg)"), "ReviewWidget"),
        (("Plugins", "beadseg", "Compare (beadseg)"), "CompareWidget"),
        (("Layers", "Annotate", "Review (beadseg)"), "ReviewWidget"),
        (("Layers", "Segment", "Train (beadseg)"), "TrainWidget"),
        (("Layers", "Segment", "Predict (beadseg)"), "PredictWidget"),
        (("Layers", "Measure", "Compare (beadseg)"), "CompareWidget"),
    ],
)
def test_every_menu_opens_its_widget(make_napari_viewer: Any, qtbot: Any, path: tuple[str, ...], opens: str) -> None:
    from qtpy.QtCore import Qt
    from qtpy.QtWidgets import QWidget

    viewer = make_napari_viewer(show=True, strict_qt=True)
    window = viewer.window._qt_window
    menu = window.menuBar()
    for text in path:
        found = {action.text().replace("&", ""): action for action in menu.actions()}
        assert text in found, list(found)
        qtbot.waitUntil(menu.isVisible)
        place = menu.actionGeometry(found[text]).center()
        qtbot.mouseMove(menu, place)
        qtbot.mouseClick(menu, Qt.MouseButton.LeftButton, pos=place)
        menu = found[text].menu() or menu
    qtbot.waitUntil(
        lambda: any(type(child).__name__ == opens and child.isVisible() for child in window.findChildren(QWidget))
    )


@pytest.mark.parametrize(
    ("key", "kinds"),
    [("sparse", ["image", "labels"]), ("dense", ["image", "labels"]), ("dilutions", ["image", "labels"]),
     ("flawed", ["image", "labels"])],
)  # fmt: skip
def test_every_sample_opens(
    make_napari_viewer: Any, key: str, kinds: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    viewer = make_napari_viewer(show=True)
    viewer.open_sample("beadseg", key)
    assert [layer._type_string for layer in viewer.layers] == kinds
    image, labels = viewer.layers
    assert image.rgb
    assert image.data.shape[:-1] == labels.data.shape
    canvas = viewer.screenshot(canvas_only=True, flash=False)
    assert len(np.unique(canvas.reshape(-1, canvas.shape[-1]), axis=0)) > 50


def test_all_samples_are_tested(manifest: Any) -> None:
    assert {sample.key for sample in manifest.contributions.sample_data} == {"sparse", "dense", "dilutions", "flawed"}


def test_faulty_annotations_are_found_by_the_audit(tmp_path: Path) -> None:
    from beadseg.widgets.io.samples import write_practice

    root = write_practice(tmp_path)
    found = beadseg.audit(Dataset.open(root), tmp_path / "audit")
    codes = {name.split("_", 2)[2]: found.of(name) for name in Dataset.open(root).names}
    wrong = {word for word, findings in codes.items() if any(f.severity in ("error", "warning") for f in findings)}
    assert wrong == {"shifted", "flipped", "scaled", "dilated", "partial", "soft", "inverted", "other", "empty"}


def test_a_dataset_folder_opens_as_stacks(make_napari_viewer: Any, dataset: Path) -> None:
    viewer = make_napari_viewer(show=True)
    viewer.open(str(dataset), plugin="beadseg")
    image, annotation = viewer.layers
    assert image.data.shape == (3, 64, 80, 3)
    names = Dataset.open(dataset).names
    assert image.metadata["beadseg"]["samples"] == list(names)
    viewer.dims.set_point(0, 2)
    expected = tifffile.imread(dataset / files.LABELS / f"{names[2]}.tif")
    assert np.array_equal(np.asarray(annotation.data[2]), expected)


def test_what_cannot_be_opened_is_a_sentence(make_napari_viewer: Any, tmp_path: Path) -> None:
    """napari offers the plugin for every folder and table: another one is a warning, never an error."""
    from napari.utils.notifications import Notification, notification_manager

    viewer = make_napari_viewer()
    said: list[Notification] = []
    notification_manager.notification_ready.connect(said.append)
    (tmp_path / "other").mkdir()
    (tmp_path / "table.csv").write_text("name,value\na,1\n")
    try:
        viewer.open(str(tmp_path / "other"), plugin="beadseg")
        viewer.open(str(tmp_path / "table.csv"), plugin="beadseg")
    finally:
        notification_manager.notification_ready.disconnect(said.append)
    assert not viewer.layers
    assert [note.severity.value for note in said] == ["warning", "warning"]
    assert "is not a dataset, run, prediction folder or folder of images" in said[0].message
    assert "is not a table of beads" in said[1].message
    assert "table.csv" in said[1].message


def test_a_plain_folder_of_images_opens(make_napari_viewer: Any, dataset: Path) -> None:
    viewer = make_napari_viewer()
    viewer.open(str(dataset / files.IMAGES), plugin="beadseg")
    (layer,) = viewer.layers
    assert layer.data.shape == (3, 64, 80, 3)
    assert layer.metadata["beadseg"]["samples"] == list(Dataset.open(dataset).names)


def test_the_palette_has_what_a_person_can_run(manifest: Any) -> None:
    """Readers, writers and samples need arguments: run from the command palette they fail."""
    run_by_hand = {widget.command for widget in manifest.contributions.widgets}
    for command in manifest.contributions.commands:
        assert command.enablement == (None if command.id in run_by_hand else "false"), command.id


def test_labels_are_saved_as_a_dataset_reads_them(make_napari_viewer: Any, dataset: Path, tmp_path: Path) -> None:
    viewer = make_napari_viewer()
    truth = Dataset.open(dataset)
    name = truth.names[0]
    labels = truth[name].read_target().labels
    layer = viewer.add_labels(labels, name=name)
    other = tmp_path / "other"
    for folder in (files.IMAGES, files.LABELS, files.MASKS):
        (other / folder).mkdir(parents=True)
    (other / files.IMAGES / f"{name}.png").write_bytes(truth[name].image_path.read_bytes())
    layer.save(str(other / files.MASKS / f"{name}.png"), plugin="beadseg")
    assert read_mask(other / files.MASKS / f"{name}.png").kind == "binary"
    assert Dataset.open(other)[name].read_target().objects <= len(np.unique(labels)) - 1
    layer.save(str(other / files.LABELS / f"{name}.tif"), plugin="beadseg")
    assert np.array_equal(Dataset.open(other)[name].read_target().labels, labels)


def test_tables_are_saved_and_read_as_points(make_napari_viewer: Any, dataset: Path, tmp_path: Path) -> None:
    viewer = make_napari_viewer()
    labels = Dataset.open(dataset).samples[0].read_target().labels
    layer = viewer.add_labels(labels)
    layer.save(str(tmp_path / "beads.csv"), plugin="beadseg")
    (points,) = viewer.open(str(tmp_path / "beads.csv"), plugin="beadseg")
    table = pd.read_csv(tmp_path / "beads.csv")
    assert len(points.data) == len(table) == len(np.unique(labels)) - 1
    assert np.allclose(points.data, table[["y", "x"]])
    points.data = points.data[:-1]
    points.save(str(tmp_path / "fewer.csv"), plugin="beadseg")
    assert len(pd.read_csv(tmp_path / "fewer.csv")) == len(table) - 1


def test_a_stack_is_no_png(tmp_path: Path) -> None:
    from beadseg.widgets.io.files import write_mask

    with pytest.raises(InputError, match=r"Save it as \.tif"):
        write_mask(str(tmp_path / "stack.png"), np.zeros((2, 8, 8), np.uint8), {})
    assert not list(tmp_path.iterdir())


def test_settings_are_read_from_the_preferences(make_napari_viewer: Any) -> None:
    from napari.settings import get_plugin_settings

    from beadseg.widgets.common.settings import PluginSettings

    assert PluginSettings.read() == PluginSettings()
    get_plugin_settings("beadseg").computing.threads = 3
    try:
        assert PluginSettings.read().options() == ["--device", "auto", "--threads", "3"]
    finally:
        get_plugin_settings("beadseg").computing.threads = 0
