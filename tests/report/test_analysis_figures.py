from __future__ import annotations

from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from beadseg.data.dataset import Dataset
from beadseg.data.simulate import SceneConfig, SeriesConfig, write_dataset
from beadseg.measure.analysis import Analysis, analyze
from beadseg.report.analysis import analysis_figure, chosen_samples, draw_analysis, samples_figure
from beadseg.report.dataset_comparison import Domain, DomainComparison, compare_domains
from beadseg.text import TIMES, box_table, pipe_table


def simulated(folder: Path, beads: int, tiles: int = 3, fields: int = 2) -> Dataset:
    """A dataset with exactly so many well-separated beads in every image."""
    scene = SceneConfig(
        height=192, width=192, beads=beads, poisson=False, cluster_probability=0, max_overlap=0, debris=0
    )
    write_dataset(folder, SeriesConfig(scene=scene, tiles=tiles, dilutions=(1,), fields=fields, seed=beads))
    return Dataset.open(folder)


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> tuple[Domain, Domain]:
    """Three images of 3 beads each, and three of 109."""
    root = tmp_path_factory.mktemp("domains")
    sparse, dense = (simulated(root / name, beads) for name, beads in (("sparse", 3), ("dense", 109)))
    return Domain("sparse", sparse, analyze(sparse)), Domain("dense", dense, analyze(dense))


def rows(table: str) -> dict[str, list[str]]:
    """Return the cells of a Markdown table by the first of their row."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")]
    return {row[0]: row[1:] for row in reversed(cells)}


def test_figures_are_written(domains: tuple[Domain, Domain], tmp_path: Path) -> None:
    paths = draw_analysis(domains[1].analysis, domains[1].dataset, tmp_path / "out")
    assert [path.name for path in paths] == ["analysis.png", "samples.png"]
    for path in paths:
        assert len(np.unique(iio.imread(path))) > 50


def drawn(axes: Any) -> list[float]:
    return sorted(x for line in axes.lines if line.get_marker() == "o" for x in line.get_xdata())


def test_distributions_hold_every_image(domains: tuple[Domain, Domain]) -> None:
    analysis = domains[1].analysis
    figure = analysis_figure(analysis)
    by_name = {axes.get_xlabel(): axes for axes in figure.axes}
    assert len(figure.axes) == 12
    heights = [patch.get_height() for patch in by_name["objects per image"].patches]
    assert sum(heights) == len(analysis.images)
    assert drawn(by_name["objects per image, by field"]) == [109, 109, 109]
    names = [label.get_text() for label in by_name["objects per image, by field"].get_yticklabels()]
    assert names == [f"1x_simulated-s109-{number:03d}" for number in (1, 2)]


def test_the_contact_sheet_has_each_image_once_suspects_first(domains: tuple[Domain, Domain]) -> None:
    analysis = domains[1].analysis
    assert sorted(image.image for _, image in chosen_samples(analysis)) == sorted(i.image for i in analysis.images)
    suspect = analysis.images[2].image
    found = analysis.summary.partial_masks.model_copy(update={"names": (suspect,)})
    changed: Analysis = analysis.model_copy(
        update={"summary": analysis.summary.model_copy(update={"partial_masks": found})}
    )
    assert chosen_samples(changed)[0] == ("suspect", analysis.images[2])
    titles = [axes.get_title() for axes in samples_figure(changed, domains[1].dataset).axes]
    assert titles[0].startswith(suspect)
    assert all("109 objects" in title for title in titles if title)


def test_an_image_that_is_gone_leaves_a_note(tmp_path: Path) -> None:
    dataset = simulated(tmp_path / "beads", 5, tiles=1, fields=1)
    analysis = analyze(dataset)
    dataset.samples[0].image_path.unlink()
    texts = [text.get_text() for text in samples_figure(analysis, dataset).axes[0].texts]
    assert len(texts) == 1
    assert texts[0].endswith("Check the path.")


def test_three_and_109_beads_print_the_36_fold_ratio(domains: tuple[Domain, Domain]) -> None:
    comparison = compare_domains(*domains)
    assert comparison.density_ratio == pytest.approx(109 / 3)
    table = rows(comparison.text())
    assert table["Objects per image"] == ["3.0 (3-3)", "109.0 (109-109)", f"36.3{TIMES}"]
    assert table["Metric"] == ["sparse", "dense", "Ratio"]
    assert table["Training samples"] == ["3", "3", f"1.0{TIMES}"]
    assert table["Domain"] == ["sparse", "dense", "-"]
    assert f"36.3{TIMES} as many objects" in comparison.conclusion


def test_the_laboratorys_rule_is_that_of_its_document(domains: tuple[Domain, Domain]) -> None:
    settings = {setting.name: setting for setting in compare_domains(*domains).settings}
    rule = {name: (setting.first, setting.second, setting.change) for name, setting in settings.items()}
    assert rule == {
        "Learning rate": ("1e-3 (unet), 1e-4 (others)", "1e-4", "÷10 (unet)"),
        "Batch size": ("16", "32", f"{TIMES}2"),
        "Dropout": ("0", "0.3", "+0.3"),
        "Loss function": ("Focal (gamma=2)", "Dice", "changed"),
        "Train/val split": ("random 90/10", "stratified 85/15", "changed"),
    }
    assert "acts like 0.036" in settings["Learning rate"].reason
    assert settings["Learning rate"].planned_second == "2e-3"
    assert settings["Train/val split"].planned_second == "whole fields 80/20"
    assert "0.27" in settings["Learning rate"].evidence


def test_the_denser_dataset_may_come_first(domains: tuple[Domain, Domain]) -> None:
    comparison = compare_domains(domains[1], domains[0])
    settings = {setting.name: setting for setting in comparison.settings}
    assert comparison.density_ratio == pytest.approx(3 / 109)
    assert (settings["Dropout"].first, settings["Dropout"].change) == ("0.3", "-0.3")
    assert settings["Learning rate"].change == f"{TIMES}10 (unet)"
    assert comparison.conclusion.startswith("dense has 36.3")


def test_equal_densities_ask_for_equal_settings(domains: tuple[Domain, Domain]) -> None:
    comparison = compare_domains(domains[1], domains[1])
    assert "alike" in comparison.conclusion
    assert {setting.change for setting in comparison.settings} == {"same"}


def test_the_comparison_is_written(domains: tuple[Domain, Domain], tmp_path: Path) -> None:
    comparison = compare_domains(*domains)
    comparison.write(tmp_path)
    assert DomainComparison.from_file(tmp_path / "comparison.json") == comparison
    assert f"| 36.3{TIMES} |" in (tmp_path / "comparison.md").read_text("utf-8")


def test_hostile_names_do_not_break_a_table() -> None:
    table = pipe_table(("a|b", "<script>"), [("1\n2", "x")])
    assert table.splitlines()[0] == r"| a\|b | &lt;script> |"
    assert len(table.splitlines()) == 3


def test_boxes_wrap_long_cells_and_stay_straight() -> None:
    lines = box_table(("name", "value"), [[("one", "word " * 12)], [("two", "")]], widest=20).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len(lines) > 7
    assert (lines[0][0], lines[-1][-1]) == ("┌", "┘")
