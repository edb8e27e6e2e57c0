"""The page itself: complete, escaped, bounded, and asking for nothing from outside."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

import numpy as np
import pytest
from page_reader import read

from beadseg.errors import InputError
from beadseg.report.figure import label_of, new_figure, tidy
from beadseg.report.html import (
    MOST_ROWS,
    MOST_SIDE,
    PICTURE_BYTES,
    Badge,
    Chart,
    Charts,
    Column,
    Gallery,
    Items,
    Key,
    Notice,
    Page,
    Section,
    Table,
    Text,
    Verbatim,
    picture_of,
)

HOSTILE = "<img src=x onerror=alert(1)>.png & \"$b$\" 'c' </script><script>alert(2)</script>"


def chart(label: str = "a") -> Chart:
    figure = new_figure(4, 3)
    axes = figure.add_subplot()
    axes.plot([1, 2, 3], [1, 4, 9], "o-", label=label_of(label))
    axes.legend()
    axes.set_title(label_of(label))
    tidy(axes)
    return Chart(figure, f"caption {label}")


def everything(text: str) -> Page:
    """A page in which every place for text holds `text`."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    blocks = (
        Text(text),
        Table((Column(text, help=text), Column("n", ".2f")), [(text, 1.5), (Badge(text, "bad"), None)], text),
        Table((Column("a"),), [(text,)] * 3, text, folded_from=1, complete_in=text),
        Items([text], text),
        Items([text] * 3, text, folded_from=1),
        Verbatim(text, text),
        chart(text),
        Charts((chart(text), chart(text))),
        Gallery((picture_of(pixels, text, text),), (Key("#123456", text),)),
    )
    sections = (Section(text, blocks, text), *(Section(f"s{n}", (Text("x"),)) for n in range(4)))
    return Page(
        text, text, text, ((text, text),), (Notice(text, text),), sections, source=text, made="2026-01-02 03:04"
    )


def test_every_block_is_shown_and_nothing_comes_from_outside() -> None:
    page = read(everything("plain words").render())
    assert page.text.count("plain words") > 20
    assert page.tags.count("svg") == 3
    assert "Made by beadseg" in page.text
    assert "2026-01-02 03:04" in page.text


def test_hostile_text_is_text_everywhere() -> None:
    page = read(everything(HOSTILE).render())
    assert page.tags.count("img") == 1
    assert page.text.count(HOSTILE) >= 18


def test_the_policy_allows_the_one_script_and_nothing_else() -> None:
    page = read(everything("a").render())
    policy = next(value for value in page.values("content") if "default-src" in value)
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    digest = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": "'unsafe-inline'",
        "script-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_charts_have_ids_of_their_own_and_the_pages_colours() -> None:
    page = read(everything("a").render())
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    used = {value[1:] for tag, name, value in page.attributes if name == "href" and tag == "use"}
    assert used
    assert used <= set(ids)
    inside = " ".join(value for tag, name, value in page.attributes if name == "style" and tag not in {"span"})
    assert "#000000" not in inside
    assert "currentColor" in inside
    assert "var(--grid)" in inside


def test_a_section_without_blocks_is_left_out() -> None:
    page = read(Page("t", "k", sections=(Section("Nothing", ()), Section("Something", (Text("x"),)))).render())
    assert "Something" in page.text
    assert "Nothing" not in page.text


def test_an_empty_page_is_a_page() -> None:
    assert "k" in read(Page("t", "k").render()).text


def test_pictures_are_bounded_in_number_and_size() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), dtype=np.uint8)
    one = picture_of(noise, lossless=True)
    number = PICTURE_BYTES // len(one.data) + 3
    page = read(Page("t", "k", sections=(Section("s", (Gallery([one] * number), Gallery([one]))),)).render())
    assert page.size < 15_000_000
    assert page.tags.count("img") == number - 3
    assert "3 more pictures are left out" in page.text
    assert "1 more picture is left out" in page.text


@pytest.mark.parametrize(("shape", "size"), [((3000, 1500, 3), (512, MOST_SIDE)), ((40, 60), (60, 40))])
def test_large_pictures_are_scaled_down(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    picture = picture_of(np.full(shape, 128, np.uint8))
    assert (picture.width, picture.height) == size
    assert picture.uri.startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4), np.uint8)])
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="is not a picture"):
        picture_of(pixels)


def test_long_tables_are_folded_and_cut_with_a_note() -> None:
    rows = [(f"row {n}", n) for n in range(MOST_ROWS + 7)]
    table = Table((Column("a"), Column("n", "d")), rows, "All", complete_in="all.csv")
    page = read(Page("t", "k", sections=(Section("s", (table,)),)).render())
    assert page.tags.count("tr") == MOST_ROWS + 1
    assert "7 more rows are left out; all.csv has them all." in page.text
    assert "details" in page.tags


def test_numbers_sort_by_value_and_what_is_none_has_a_dash() -> None:
    columns = (Column("a", "+.1f"),)
    page = read(
        Page("t", "k", sections=(Section("s", (Table(columns, [(-1234.56,), (None,), (float("nan"),)]),)),)).render()
    )
    assert page.values("data-v") == ["-1234.56"]
    assert "\N{MINUS SIGN}1234.6" in page.text
    assert page.text.count("–") == 2  # noqa: RUF001


def test_labels_of_figures_are_short_and_no_formulas() -> None:
    assert label_of("a$b$") == r"a\$b\$"
    assert label_of("_hidden") == " _hidden"
    assert label_of("new\nline") == "new?line"
    assert len(label_of("x" * 300)) == 32


def test_a_page_is_written_whole(tmp_path: Path) -> None:
    path = Page("t", "k", source=tmp_path).write(tmp_path / "new" / "report.html")
    assert re.search("<title>t · k</title>", path.read_text(encoding="utf-8"))
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
