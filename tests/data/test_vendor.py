"""Files of microscopes' makers: read by the extra `vendor`, and without it the message names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from beadseg.data.image_io import open_image, read_image
from beadseg.data.raw import VENDOR_READERS, VENDOR_SUFFIXES, conversion
from beadseg.errors import ImageError

pytestmark = pytest.mark.filterwarnings("ignore")  # of the readers about themselves


@pytest.mark.parametrize("suffix", VENDOR_READERS)
def test_without_the_extra_its_name_is_said(suffix: str, tmp_path: Path) -> None:
    assert 'pip install "beadseg[vendor]"' in conversion(suffix)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"no picture of any maker")
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert caught.value.remedy == (
        conversion(suffix) if suffix not in VENDOR_SUFFIXES else "Export it again from its source."
    )


@pytest.mark.parametrize("planes", [1, 3])
def test_czi(planes: int, tmp_path: Path) -> None:
    czi = pytest.importorskip("pylibCZIrw.czi")
    pytest.importorskip("bioio_czi")
    pixels = np.random.default_rng(0).integers(0, 60_000, (planes, 40, 56)).astype(np.uint16)
    path = tmp_path / "a.czi"
    with czi.create_czi(str(path), exist_ok=True) as document:
        for time, plane in enumerate(pixels):
            document.write(data=plane[..., np.newaxis], plane={"T": time, "C": 0, "Z": 0})
        document.write_metadata(document_name="a", scale_x=0.5e-6, scale_y=0.5e-6)
    image = read_image(path)
    assert image.axes == ("YX" if planes == 1 else "TYX")
    assert np.array_equal(image.data, pixels[0] if planes == 1 else pixels)
    assert image.pixel_size_um == pytest.approx(0.5)
    lazy = open_image(path)
    assert lazy.size == (40, 56)
    assert [name for name, _ in lazy.planes()] == lazy.names
