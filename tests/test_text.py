from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest

from beadseg.text import csv_text, original, original_cells, plural, safe_cell


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "image", "0 images"),
        (1, "image", "1 image"),
        (2, "image", "2 images"),
        (np.int64(1), "bead", "1 bead"),
        (1234, "bead", "1,234 beads"),
        (1.5, "bead", "1.5 beads"),
        (2, "density class", "2 density classes"),
        (2, "entry", "2 entries"),
        (2, "day", "2 days"),
        (2, "epoch", "2 epochs"),
        (2, "batch", "2 batches"),
        (2, "field of view", "2 fields of view"),
    ],
)
def test_a_number_and_its_noun_agree(count: float, noun: str, text: str) -> None:
    assert plural(count, noun) == text


def test_an_irregular_noun_is_given() -> None:
    assert [plural(n, "axis", "axes") for n in (1, 2)] == ["1 axis", "2 axes"]


NAMES = ["a", "=1+2", "+3", "-4", "@sum", "\tx", "\rx", "'quoted", "''", "'=1", "", "a=b", "\uff1d1"]


@pytest.mark.parametrize("name", NAMES)
def test_a_safe_cell_gives_its_text_back(name: str) -> None:
    assert original(safe_cell(name)) == name
    assert not safe_cell(name).startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d"))


def test_a_table_keeps_its_numbers_and_protects_its_texts() -> None:
    table = pd.DataFrame({"image": ["=1+2", "-4"], "bias": [-1.0, 0.25], "note": [None, "+3"]})
    assert csv_text(table, "%.3g") == "image,bias,note\n'=1+2,-1,\n'-4,0.25,'+3\n"


def test_every_name_in_a_table_is_read_back() -> None:
    text = csv_text(pd.DataFrame({"image": NAMES, "beads": range(len(NAMES))}))
    read = original_cells(pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False))
    assert read["image"].tolist() == NAMES
    assert read["beads"].tolist() == [str(n) for n in range(len(NAMES))]
