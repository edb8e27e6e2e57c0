from __future__ import annotations

from typing import TYPE_CHECKING

import imageio.v3 as iio
import numpy as np
import pytest

from beadseg.data.dataset import Target
from beadseg.measure.evaluation import Evaluation
from beadseg.measure.scores import group_scores, score_image, with_density
from beadseg.report.evaluation_page import count_ticks, counts_figure, density_figure, draw_evaluation, scores_figure

if TYPE_CHECKING:
    from pathlib import Path


def evaluation(counts: list[tuple[int, int]]) -> Evaluation:
    """Images with so many true and found single-pixel beads, two images to a field."""
    images = []
    for index, pair in enumerate(counts):
        true, found = (np.zeros((3, 400), bool) for _ in pair)
        true[1, 1 : 1 + 2 * pair[0] : 2] = True
        found[1, 1 : 1 + 2 * pair[1] : 2] = True
        images.append(score_image(f"i{index}", f"i{index}", f"f{index // 2}", found, None, Target(true)))
    scored = with_density(images)
    groups = group_scores(scored) if scored else ()
    return Evaluation(predictions="p", dataset="d", samples=len(counts), images=scored, groups=groups, failures=())


COUNTS = [(4, 5), (10, 8), (0, 0), (100, 90), (7, 7)]


def test_counts_are_drawn_against_the_truth_with_the_line_of_equality() -> None:
    axes = counts_figure(evaluation(COUNTS)).axes[0]
    drawn = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    assert drawn["f0"] == [[4, 5], [10, 8]]
    assert drawn["f1"] == [[0, 0], [100, 90]]
    assert all(x == y for x, y in drawn["equal"])
    assert "bias -2.2" in axes.get_title()


def test_every_image_has_its_scores_in_its_row() -> None:
    result = evaluation(COUNTS)
    axes = scores_figure(result).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    by_name = {image.image: image for image in result.images}
    assert sorted(names) == sorted(by_name)
    lines = {line.get_label(): list(line.get_xdata()) for line in axes.lines}
    assert lines["Jaccard"] == [by_name[name].jaccard for name in names]
    assert lines["detection F1"] == [by_name[name].f1 for name in names]


def test_count_error_by_density_in_per_cent() -> None:
    result = evaluation(COUNTS)
    bars = [patch.get_height() for patch in density_figure(result).axes[1].patches]
    expected = [100 * group.relative_bias for group in result.by("density") if group.relative_bias is not None]
    assert bars == pytest.approx(expected)


@pytest.mark.parametrize("counts", [COUNTS, [(0, 0)], [(n, n + 1) for n in range(80)]])
def test_pngs_are_written(tmp_path: Path, counts: list[tuple[int, int]]) -> None:
    paths = draw_evaluation(evaluation(counts), tmp_path / "report")
    names = [path.name for path in paths]
    assert names[:3] == ["scores.png", "counts.png", "density.png"]
    assert ("agreement.png" in names) == (len(counts) > 1)
    for path in paths:
        assert len(np.unique(iio.imread(path))) > 20


def test_nothing_scored_draws_nothing(tmp_path: Path) -> None:
    assert draw_evaluation(evaluation([]), tmp_path / "report") == ()
    assert not (tmp_path / "report").exists()


def test_a_count_axis_has_ticks_also_below_100_beads() -> None:
    axes = counts_figure(evaluation([(4, 5), (30, 32)])).axes[0]
    assert list(axes.get_xticks()) == [0, 5, 10, 20]
    assert count_ticks(3000) == [0, 5, 10, 100, 1000]
