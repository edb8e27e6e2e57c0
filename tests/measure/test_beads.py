from __future__ import annotations

import numpy as np
import pytest

from beadseg.errors import InputError
from beadseg.measure.beads import MICROMETRE_COLUMNS, bead_table

BASIC_COLUMNS = ("id", "y", "x", "area_px", "equivalent_diameter_px", "mean_intensity", "integrated_intensity",
                 "mean_probability", "edge")  # fmt: skip


def scene() -> np.ndarray:
    labels = np.zeros((8, 10), np.uint32)
    labels[2:4, 3:7] = 4
    labels[7, 9] = 90_000
    return labels


def test_table_by_hand() -> None:
    labels = scene()
    intensity = np.arange(80, dtype=np.uint16).reshape(8, 10)
    probability = np.where(labels == 4, 0.75, 0.5).astype(np.float32)
    table = bead_table(labels, intensity, probability)
    assert tuple(table.columns) == BASIC_COLUMNS
    assert table["id"].tolist() == [4, 90_000]
    assert table[["y", "x"]].to_numpy().tolist() == [[2.5, 4.5], [7.0, 9.0]]
    assert table["area_px"].tolist() == [8, 1]
    assert table["equivalent_diameter_px"].tolist() == pytest.approx([np.sqrt(32 / np.pi), np.sqrt(4 / np.pi)])
    assert table["mean_intensity"].tolist() == [29.5, 79.0]
    assert table["mean_probability"].tolist() == [0.75, 0.5]
    assert table["edge"].tolist() == [False, True]


def test_micrometres_when_the_pixel_size_is_known() -> None:
    table = bead_table(scene(), pixel_size_um=0.5)
    assert tuple(table.columns) == BASIC_COLUMNS + MICROMETRE_COLUMNS
    first = table.iloc[0]
    assert (first["y_um"], first["x_um"], first["area_um2"]) == (1.25, 2.25, 2.0)
    assert first["equivalent_diameter_um"] == pytest.approx(np.sqrt(8 / np.pi))


def test_unknown_intensity_is_nan_not_zero() -> None:
    assert bead_table(scene())[["mean_intensity", "mean_probability"]].isna().all(axis=None)


def test_no_beads_give_an_empty_table_with_all_columns() -> None:
    table = bead_table(np.zeros((5, 5), np.uint32), pixel_size_um=1.0)
    assert len(table) == 0
    assert tuple(table.columns) == BASIC_COLUMNS + MICROMETRE_COLUMNS
    assert table["edge"].dtype == bool


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_any_whole_numbered_dtype(dtype: type) -> None:
    labels = np.array([[0, 2, 2], [0, 0, 0], [5, 0, 0]], dtype)
    assert bead_table(labels)["area_px"].tolist() == [2, 1]


def test_ids_beyond_the_number_of_pixels() -> None:
    labels = np.array([[0, 4_294_967_295, 7]], np.uint32)
    assert bead_table(labels)[["id", "x"]].to_numpy().tolist() == [[7, 2], [4_294_967_295, 1]]


def test_agrees_with_scikit_image() -> None:
    from skimage.measure import label, regionprops_table

    rng = np.random.default_rng(1)
    labels = label(rng.random((60, 70)) > 0.7, connectivity=2)
    intensity = rng.random(labels.shape)
    theirs = regionprops_table(
        labels, intensity, properties=("label", "centroid", "area", "equivalent_diameter_area", "intensity_mean")
    )
    ours = bead_table(labels, intensity)
    assert ours[["id", "y", "x", "area_px", "equivalent_diameter_px", "mean_intensity"]].to_numpy() == pytest.approx(
        np.stack(list(theirs.values()), axis=1)
    )


def test_every_side_is_an_edge() -> None:
    labels = np.zeros((5, 5), np.uint8)
    labels[0, 2], labels[4, 2], labels[2, 0], labels[2, 4], labels[2, 2] = 1, 2, 3, 4, 5
    assert bead_table(labels)["edge"].tolist() == [True, True, True, True, False]


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="intensity has shape"):
        bead_table(scene(), np.zeros((8, 9)))
    with pytest.raises(InputError, match="label image"):
        bead_table(np.zeros((2, 2)))
    with pytest.raises(InputError, match="label image"):
        bead_table(np.zeros((2, 2, 2), int))
    with pytest.raises(InputError, match="pixel size"):
        bead_table(scene(), pixel_size_um=0.0)
