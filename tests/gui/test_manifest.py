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
        (("Layers", "Segment", "Count (beadseg)"), "PredictWidget"),
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
    [("sparse", ["image", "labels"]), ("dense", ["image", "labels"]), ("dilutions", ["image", "labels"])],
)
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


def test_practice_data_open_in_review(
    make_napari_viewer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    from beadseg.widgets.opening import open_widget

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    viewer = make_napari_viewer(show=True, strict_qt=True)
    viewer.open_sample("beadseg", "flawed")
    found: list[Any] = []
    open_widget(viewer, "Review", found.append)
    qtbot.waitUntil(lambda: bool(found) and found[0].controller is not None, timeout=60000)
    (review,) = found
    qtbot.waitUntil(lambda: not review.auditing.running, timeout=200000)
    assert review.controller.session.audit is not None
    assert review.controller.session.dataset.root.parent == tmp_path


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


def folder_of(root: Path, **contents: str | bytes) -> Path:
    """Write files into a folder; names have __ for a dot and ___ for a slash."""
    root.mkdir(exist_ok=True)
    for name, content in contents.items():
        path = root / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


@pytest.mark.parametrize(
    "contents",
    [
        {},
        {"notes__txt": "images"},
        {"images___readme__txt": "none yet"},
        {"a__png": "not a picture at all", "b__tif": ""},
        {"images___a__png": "<html>404</html>"},
        {"config__yaml": "server: localhost\nports: [80]\n"},
        {"prediction__json": '{"model": "weather", "rain": true}'},
        {"best__safetensors": b"\0" * 40},
    ],
)
def test_folders_of_others_are_left_to_others(tmp_path: Path, contents: dict[str, str | bytes]) -> None:
    from beadseg.widgets.io.files import get_folder_reader

    assert get_folder_reader(str(folder_of(tmp_path / "other", **contents))) is None
    assert get_folder_reader([str(tmp_path)]) is None


def test_a_folder_that_may_not_be_read_is_left_to_others(tmp_path: Path) -> None:
    from beadseg.widgets.io.files import get_folder_reader

    assert get_folder_reader(str(tmp_path / "gone")) is None


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("table.csv", "name,value\na,1\n"),
        ("words.csv", "id,y,x\nfirst,top,left\n"),
        ("empty.csv", ""),
        ("counts.csv", "image,plane,beads\na,,12\n"),
        ("binary.csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256))),
        ("workbook.csv", b"PK\x03\x04" + bytes(100)),
    ],
)
def test_tables_of_others_are_left_to_others(tmp_path: Path, name: str, content: str | bytes) -> None:
    from beadseg.widgets.io.files import get_table_reader

    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    assert get_table_reader(str(path)) is None
    assert get_table_reader([str(path)]) is None


def test_a_long_table_is_known_by_its_first_lines(tmp_path: Path) -> None:
    from beadseg.widgets.io.files import get_table_reader

    path = tmp_path / "beads.csv"
    rows = "".join(f"{number};{number},5;{number},25\n" for number in range(9000))
    path.write_text(f"\ufeffid;y;x\n{rows}", encoding="utf-8")
    read = get_table_reader(str(path))
    assert read is not None
    ((points, _, kind),) = read(str(path))
    assert (kind, points.shape) == ("points", (9000, 2))
    assert tuple(points[8]) == (8.5, 8.25)


def test_counts_open_their_prediction_folder(tmp_path: Path) -> None:
    from beadseg.widgets.io.files import get_folder_reader, get_table_reader

    folder = folder_of(tmp_path / "predicted", prediction__json='{\n  "run": "r",\n  "model_sha256": "0"\n}',
                       counts__csv="image,plane,beads\na,,12\n", other__csv="image,plane\na,\n")  # fmt: skip
    assert get_folder_reader(str(folder)) is not None
    assert get_table_reader(str(folder / "counts.csv")) is not None
    assert get_table_reader(str(folder / "other.csv")) is None


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
