"""The page of a prediction folder, from hand-made tables: counts, flags, pictures, size."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pandas as pd
import pytest
from page_reader import ReadPage, read

from beadseg import files
from beadseg.errors import InputError
from beadseg.predict.counts import COUNT_COLUMNS
from beadseg.report.prediction_page import MOST_PICTURES, chosen_rows, read_counts, write_prediction_page
from beadseg.text import plural

HOSTILE = "<img src=x onerror=alert(1)>_$a$_grid_r0_c0"
FLAG = "62% of the image is foreground (training images: at most 9%)"


def make(
    folder: Path,
    beads: dict[str, int],
    *,
    flagged: tuple[str, ...] = (),
    failed: dict[str, str] | None = None,
    side: int = 32,
    pixel_size: str = "",
    overlays: bool = True,
) -> Path:
    """Write the files of a prediction folder with so many beads in each image."""
    for name in (files.BEADS, *([files.OVERLAYS] if overlays else [])):
        (folder / name).mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    picture = iio.imwrite("<bytes>", noise, extension=".png")
    with (folder / files.COUNTS).open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COUNT_COLUMNS)
        writer.writeheader()
        for name, count in beads.items():
            per_mm2 = count / (side * side * float(pixel_size) ** 2) * 1e6 if pixel_size else ""
            writer.writerow({
                "image": name, "beads": count, "beads_per_mpx": count / side**2 * 1e6, "beads_per_mm2": per_mm2,
                "coverage": 0.1, "height": side, "width": side, "pixel_size_um": pixel_size,
                "flags": FLAG if name in flagged else "",
            })  # fmt: skip
            rows = [f"{n},{n % side},{n % side},7.0,{n == 0}" for n in range(count)]
            (folder / files.BEADS / f"{name}.csv").write_text(
                "\n".join(["id,y,x,equivalent_diameter_px,edge", *rows]) + "\n"
            )
            if overlays:
                (folder / files.OVERLAYS / f"{name}.png").write_bytes(picture)
    if failed:
        with (folder / files.FAILURES).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("image", "error"), *failed.items()])
    made_by = {"run": "/runs/<b>", "options": {"objects": {"threshold": 0.5, "min_area": None}},
               "network": {"kind": "unet"}, "fingerprint": {"bead_diameter_px": 7.1}}  # fmt: skip
    (folder / files.PREDICTION).write_text(json.dumps(made_by))
    return folder


def page_of(folder: Path) -> ReadPage:
    return read(write_prediction_page(folder).read_text(encoding="utf-8"))


def test_a_page_says_everything_and_escapes_names(tmp_path: Path) -> None:
    folder = make(
        tmp_path, {HOSTILE: 5, "b_grid_r0_c0": 30}, flagged=(HOSTILE,), failed={"x": "x<u>: Is not an image."}
    )
    page = page_of(folder)
    assert "35 beads in 2 images; 1 flagged, 1 failed." in page.text
    assert "1 of 2 counts flagged" in page.text
    assert page.text.count(HOSTILE) >= 2
    assert "x<u>: Is not an image." in page.text
    assert "/runs/<b>" in page.text
    assert "33 beads, without those cut by a border" in page.text
    assert page.tags.count("img") == 2


def test_densities_per_area_only_where_the_pixel_size_is_known(tmp_path: Path) -> None:
    known = page_of(make(tmp_path / "known", {"a": 16}, pixel_size="0.5"))
    # 16 beads on 32 x 32 px of 0.5 µm: 16 / 256 µm².
    assert "62,500.0" in known.text
    assert "equivalent diameter, µm" in known.text
    unknown = page_of(make(tmp_path / "unknown", {"a": 16}))
    assert "per mm²" not in unknown.text.replace("Beads per mm²unknown", "")
    assert "equivalent diameter, px" in unknown.text


def test_a_model_of_simulated_images_shows_the_diameter_of_each_image_and_none_of_its_own(tmp_path: Path) -> None:
    folder = make(tmp_path, {"a": 3})
    made_by = json.loads((folder / files.PREDICTION).read_text())
    made_by["fingerprint"] |= {"simulated": True}
    (folder / files.PREDICTION).write_text(json.dumps(made_by))
    table = pd.read_csv(folder / files.COUNTS)
    table.assign(diameter_px=31.4).to_csv(folder / files.COUNTS, index=False)
    page = page_of(folder)
    assert "31.4" in page.text
    assert "Diameter, px" in page.text
    assert "simulated images of many looks" in page.text
    assert "Diameter, px" not in page_of(make(tmp_path / "trained", {"a": 3})).text


@pytest.mark.parametrize("beads", [{}, {"a": 0}, {"a": 0, "b": 0}, {"a": 1}])
def test_nothing_or_little_found(tmp_path: Path, beads: dict[str, int]) -> None:
    page = page_of(make(tmp_path, beads))
    found = f"{plural(sum(beads.values()), 'bead')} in {plural(len(beads), 'image')}"
    assert f"{found}; none flagged, none failed." in page.text


def test_hundreds_of_images_fit_into_one_page(tmp_path: Path) -> None:
    beads = {f"f{n // 100}_grid_r{n}_c0": n % 50 for n in range(400)}
    page = page_of(make(tmp_path, beads, side=120, flagged=tuple(list(beads)[:300])))
    assert page.size < 15_000_000
    assert page.tags.count("img") == MOST_PICTURES
    assert page.text.count("_grid_r399_c0") >= 1


def test_noise_is_the_worst_case_of_size(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, {f"i{n}": 3 for n in range(14)}, side=1000))
    assert page.size < 15_000_000
    assert "its densest part" in page.text


def test_without_overlays_the_page_says_so(tmp_path: Path) -> None:
    page = page_of(make(tmp_path, {"a": 3}, overlays=False))
    assert page.tags.count("img") == 0
    assert "made without overlays" in page.text


def test_a_missing_or_damaged_overlay_is_named(tmp_path: Path) -> None:
    folder = make(tmp_path, {"a": 3, "b": 4, "c": 5})
    (folder / files.OVERLAYS / "a.png").unlink()
    (folder / files.OVERLAYS / "b.png").write_bytes(b"no picture")
    page = page_of(folder)
    assert page.tags.count("img") == 1
    assert "a: " in page.text
    assert "b: " in page.text


def test_flagged_come_first_then_densest_sparsest_middle(tmp_path: Path) -> None:
    counts = read_counts(make(tmp_path, {f"i{n:02}": n for n in range(20)}, flagged=("i03", "i07")))
    assert [int(counts["beads"].iloc[at]) for at in chosen_rows(counts)][:5] == [3, 7, 19, 0, 10]
    assert len(chosen_rows(counts)) == MOST_PICTURES


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "image,plane,beads\nx,,many\n"])
def test_a_damaged_table_is_refused(tmp_path: Path, text: str) -> None:
    folder = make(tmp_path, {"a": 3})
    (folder / files.COUNTS).write_text(text)
    with pytest.raises(InputError, match=r"counts\.csv"):
        write_prediction_page(folder)
