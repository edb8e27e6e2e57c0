"""What a plugin shares with a whole viewer or program: threads, keys, the collector, names that look like markup."""

from __future__ import annotations

import gc
import io
import sys
import threading
import tomllib
from importlib import metadata
from pathlib import Path

import matplotlib as mpl
from packaging.version import Version

from beadseg import files
from beadseg.annotation.draft import _copy
from beadseg.cli.console import _terminal
from beadseg.events import log
from beadseg.report.figure import new_figure
from beadseg.report.html import svg_of


def test_figures_drawn_in_threads_leave_matplotlib_as_it_was() -> None:
    names = ("svg.fonttype", "svg.hashsalt", "font.sans-serif")
    before = {name: mpl.rcParams[name] for name in names}
    figures = []
    for _ in range(8):
        figure = new_figure(2, 2)
        figure.add_subplot().plot([1, 2])
        figures.append(figure)
    start = threading.Barrier(len(figures))

    def draw(figure: object) -> None:
        start.wait(60)
        svg_of(figure, "one", "a line")  # type: ignore[arg-type]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=draw, args=(figure,)) for figure in figures]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert {name: mpl.rcParams[name] for name in names} == before


def test_keys_are_given_back_to_whom_they_belonged() -> None:
    from napari.components import ViewerModel

    from beadseg.widgets.review.keys import ACTIONS, Keys

    def own(viewer: object) -> None:
        """Another plugin's."""

    viewer = ViewerModel()
    viewer.bind_key(ACTIONS[0].key, own, overwrite=True)
    before = dict(viewer.keymap)
    keys = Keys(lambda name: None)
    keys.bind([viewer])
    assert len(viewer.keymap) >= len(ACTIONS)
    assert viewer.keymap != before
    keys.release()
    assert dict(viewer.keymap) == before
    keys.bind([viewer])
    viewer.bind_key(ACTIONS[1].key, own, overwrite=True)  # meanwhile somebody else takes one
    keys.release()
    assert len(viewer.keymap) == 2


def test_the_collector_of_the_viewer_goes_on() -> None:
    from beadseg.widgets.common.background import collect_all_again, keep_collections_short

    before = gc.get_threshold()
    keep_collections_short(1)
    keep_collections_short(2)
    assert gc.get_freeze_count() == 0, "nothing is taken from it"
    assert gc.get_threshold()[2] > before[2]
    collect_all_again(1)
    collect_all_again(2)
    assert gc.get_threshold() == before


def test_names_are_printed_as_they_are() -> None:
    out = io.StringIO()
    name = "[red]:bead: <b>plate</b> :smiley:[/red] [link=x]"
    with _terminal(out) as listen:
        listen(log(name))
    assert name in out.getvalue()


def test_names_are_tool_tips_as_they_are() -> None:
    from beadseg.widgets.common import plain_tip

    assert plain_tip("<b>A1</b> & B") == "<qt>&lt;b&gt;A1&lt;/b&gt; &amp; B</qt>"


def test_the_copy_of_an_image_folder_does_not_follow_links(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "large").write_bytes(b"x")
    image = tmp_path / "a.ome.zarr"
    image.mkdir()
    (image / ".zattrs").write_text("{}")
    (image / "away").symlink_to(elsewhere, target_is_directory=True)
    _copy(image, tmp_path / "copy.ome.zarr")
    assert (tmp_path / "copy.ome.zarr" / "away").is_symlink()


def test_a_validation_image_of_any_name_is_shown(tmp_path: Path) -> None:
    from beadseg.widgets.train.overlay import _only_file

    labels = tmp_path / files.LABELS
    assert _only_file(labels) is None
    labels.mkdir()
    (labels / "f1_r2.tif").write_bytes(b"")  # predicted from f1_r2.ome.tif, or .ome.zarr
    assert _only_file(labels) == labels / "f1_r2.tif"


def test_the_lowest_napari_that_is_allowed_has_what_review_uses() -> None:
    """Review sets the viewer's grid where napari 0.9 has it; before, an installation of 0.6 opened no Review."""
    from napari.components import ViewerModel

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    napari = [each for each in project["optional-dependencies"]["napari"] if each.startswith("napari>=")]
    assert [Version(each.removeprefix("napari>=")) >= Version("0.9") for each in napari] == [True]
    assert Version(metadata.version("napari")) >= Version("0.9")
    assert hasattr(ViewerModel().canvas.grid, "stride")
