"""Read one sample's files and measure them; what cannot be read is a measurement too."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg.annotation.audit.measure import Settings, measure_plane
from beadseg.annotation.audit.measurement import Measurement
from beadseg.data.image_io import read_image
from beadseg.data.raw import is_zarr
from beadseg.errors import BeadsegError, ImageError

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.data.dataset import Sample
    from beadseg.data.image_io import Image, Mask

METHOD = 7
"""Version of the measurements: raised when the same files would give other numbers."""
LOSSY = (".jpg", ".jpeg")


def key_of(sample: Sample, settings: Settings) -> str:
    """Return what a measurement depends on as one hash: the files' bytes, the settings and the method.

    Raises
    ------
    ImageError
        A file cannot be read.
    """
    parts = [METHOD, sample.has_labels, sorted(asdict(settings).items()), sorted(sample.sha256().items())]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def measure_sample(sample: Sample, settings: Settings, key: str) -> Measurement:
    """Measure one sample; a file that cannot be read gives a `Measurement` with `failure` set."""
    try:
        image, mask = sample.read_image(), sample.read_mask()
        found = _file_facts(sample, mask)
        if image.size != mask.foreground.shape[-2:]:
            height, width = mask.foreground.shape[-2:]
            return Measurement(key=key, wrong_size=(*image.size, int(height), int(width)), **found)
        return Measurement(key=key, planes=_planes(sample, image, settings), **found)
    except BeadsegError as error:
        return Measurement(key=key, failure=str(error))


def _planes(sample: Sample, image: Image, settings: Settings) -> tuple[Any, ...]:
    return tuple(measure_plane(name, pixels, target, settings) for name, pixels, target in sample.planes(image))


def _file_facts(sample: Sample, mask: Mask) -> dict[str, Any]:
    """Return how the mask's file stores its values."""
    path = sample.mask_path
    facts: dict[str, Any] = {"mask_kind": mask.kind}
    if path is None or is_zarr(path) or (mask.kind != "soft" and path.suffix.lower() == ".png"):
        return facts  # how a PNG stores two values or ids makes no difference
    values = _values(path)
    if values is None:
        return facts
    facts |= {"mask_dtype": str(values.dtype), "mask_lossy": path.suffix.lower() in LOSSY}
    if mask.kind == "soft":
        facts |= _softness(values, mask)
    return facts


def _values(path: Path) -> np.ndarray | None:
    try:
        return read_image(path).data
    except ImageError:
        return None


def _softness(values: np.ndarray, mask: Mask) -> dict[str, Any]:
    present = np.unique(values)
    marked = int(np.count_nonzero(values > 0))
    between = int(np.count_nonzero((values > 0) & (values < present[-1])))
    read = max(1, int(np.count_nonzero(mask.foreground)))
    channels = max(1, values.size // mask.foreground.size)
    return {
        "levels": len(present),
        "soft_share": float(between / max(1, marked)),
        "soft_area": float(marked / channels / read),
    }
