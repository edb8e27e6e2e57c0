"""The corrected mask of a sample, where one can be computed and fits better. Nothing here changes a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from beadseg.annotation.audit.codes import CORRECTABLE, Code
from beadseg.annotation.audit.filters import response, strength
from beadseg.annotation.audit.local import with_parts_moved
from beadseg.annotation.audit.measure import Settings, measure_plane
from beadseg.annotation.audit.transform import ORIENTATIONS, Transform, oriented
from beadseg.data.dataset import Target
from beadseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.annotation.audit.document import Audit, Baseline, Finding, MaskFit
    from beadseg.data.dataset import Dataset, Sample

BETTER = 0.01
"""A moved mask must correlate with the image better than the original by this, or it is not offered."""
GEOMETRY: tuple[Code, ...] = ("orientation", "scale", "affine", "shift")
"""Findings that moving the mask corrects."""


@dataclass(frozen=True, eq=False)
class Correction:
    """A corrected mask.

    Attributes
    ----------
    sample : str
        Name of the sample.
    codes : tuple of str
        Findings that it corrects.
    mask : numpy.ndarray
        (Y, X): bool, or uint32 with the original's ids.
    before, after : float
        Correlation of the original and of this mask with the image, -1 to 1.
    why : str
        What was done, in words.
    """

    sample: str
    codes: tuple[Code, ...]
    mask: NDArray[np.generic]
    before: float
    after: float
    why: str


def correction(audit: Audit, dataset: Dataset, sample: str) -> Correction | None:
    """Return the corrected mask of a sample.

    Parameters
    ----------
    audit : Audit
        Findings about `dataset`.
    dataset : Dataset
        Where the files are.
    sample : str
        Name of the sample.

    Returns
    -------
    Correction or None
        None where nothing correctable was found, or where the corrected mask does not fit better than the original.

    Raises
    ------
    ImageError
        A file cannot be read.
    InputError
        The data set has no such sample.
    """
    found = tuple(f for f in audit.of(sample) if f.code in CORRECTABLE and f.severity != "note")
    if not found or audit.baseline is None or "/" in sample:
        return None
    known = dataset[sample]
    if known.read_image().stack_shape:
        return None
    target = known.read_target()
    state = next(state for state in audit.samples if state.sample == sample)
    made = _made(audit, dataset, known, target, found, state.fit)
    if made is None:
        return None
    mask, codes, why = made
    before = _score(known, target.foreground, audit.baseline)
    after = _score(known, mask.astype(np.bool_), audit.baseline)
    moved = set(codes) - {"soft"}
    if after < before + (BETTER if moved else 0.0):
        return None
    return Correction(sample, codes, mask, round(before, 4), round(after, 4), why)


def _made(
    audit: Audit, dataset: Dataset, sample: Sample, target: Target, found: tuple[Finding, ...], fit: MaskFit | None
) -> tuple[NDArray[np.generic], tuple[Code, ...], str] | None:
    """Return the corrected mask, the codes it corrects, and what was done."""
    codes = {finding.code for finding in found}
    if "mismatch" in codes:
        owner = next((f.sample for f in audit.findings if f.code == "mismatch" and f.partner == sample.name), None)
        if owner is None:
            return None
        other = dataset[owner].read_target()
        return _values(other), ("mismatch",), f"Taken from {owner}, whose mask fits this image."
    if "inverted" in codes:
        return ~target.foreground, ("inverted",), "Foreground and background exchanged."
    moves = tuple(f.code for f in found if f.code in GEOMETRY and not f.values.get("local"))
    soft: tuple[Code, ...] = ("soft",) if "soft" in codes else ()
    mask, done = _values(target), []
    if moves and fit is not None and audit.baseline is not None:
        transform = _transform(fit, moves, target.foreground.shape, audit.baseline)
        mask, done = moved_mask(mask, transform), [_told(transform, moves)]
    if any(f.values.get("local") for f in found) and audit.baseline is not None:
        parts = _parts_moved(sample, target, mask, audit.baseline)
        if parts is not None:
            mask, moves = parts, (*moves, "shift")
            done.append("Objects of shifted parts moved back onto their beads.")
    if soft:
        done.append("Made binary, cut at half of white, as it is read anyway.")
    return (mask, tuple(dict.fromkeys(moves + soft)), " ".join(done)) if done else None


def _parts_moved(
    sample: Sample, target: Target, mask: NDArray[np.generic], baseline: Baseline
) -> NDArray[np.generic] | None:
    """Return the mask, moved as a whole already, with its shifted parts moved too; None where nothing moves."""
    _, pixels, _ = next(iter(sample.planes()))
    settings = Settings(baseline.bead_diameter_px, baseline.polarity, baseline.response)
    moved = Target(mask.astype(np.bool_), None if target.labels is None else mask.astype(np.uint32), target.ignore)
    plane = measure_plane("", pixels, moved, settings)
    answer = response(strength(pixels, settings.polarity, settings.diameter), settings.radius)
    found = with_parts_moved(mask, plane.parts, answer, plane.response or settings.response)
    return found if found is None or target.labels is not None else found > 0


def _values(target: Target) -> NDArray[np.generic]:
    return target.foreground if target.labels is None else target.labels


def _transform(fit: MaskFit, codes: tuple[Code, ...], shape: tuple[int, ...], baseline: Baseline) -> Transform:
    """Return what moves the mask to the place usual in this data set; size and angle only where they are off."""
    matrix = np.array(fit.matrix).reshape(2, 2) if {"scale", "affine"} & set(codes) else np.eye(2)
    shift = np.array([fit.dy + baseline.dy, fit.dx + baseline.dx])
    return Transform((np.array(shape, np.float64) - 1) / 2, matrix, shift, fit.orientation)


def moved_mask(mask: NDArray[np.generic], transform: Transform) -> NDArray[np.generic]:
    """Return a (Y, X) mask moved by `transform`.

    A bool mask is interpolated linearly and cut at half, so that its edges move by parts of a pixel; of labels each
    pixel takes the nearest id. What comes from outside is background.

    Raises
    ------
    InputError
        The orientation would exchange the sides of a mask that is not square.
    """
    turned = oriented(mask, transform.orientation)
    if turned.shape != mask.shape:
        raise InputError(f"A mask of {mask.shape} px cannot be {ORIENTATIONS[transform.orientation]} in its place.")
    inverse = np.linalg.inv(transform.matrix)
    offset = transform.centre - inverse @ (transform.centre + transform.shift)
    if mask.dtype == np.bool_:
        grey = ndimage.affine_transform(turned.astype(np.float32), inverse, offset, order=1)
        return np.asarray(grey >= 0.5)
    ids = turned.astype(np.uint32)
    return np.asarray(ndimage.affine_transform(ids, inverse, offset, order=0))


def _told(transform: Transform, codes: tuple[Code, ...]) -> str:
    done = [ORIENTATIONS[transform.orientation]] if transform.orientation else []
    if "scale" in codes or "affine" in codes:
        done.append(f"scaled by {transform.scale:.4f}")
    if "affine" in codes:
        done.append(f"rotated by {transform.rotation:.2f} degrees, stretched by {transform.stretch:.2%}")
    dy, dx = (float(value) for value in transform.shift)
    ways = f"{abs(dy):.2f} px {'down' if dy > 0 else 'up'} and {abs(dx):.2f} px to the {'right' if dx > 0 else 'left'}"
    done.append(f"moved by {ways}")
    text = ", ".join(done)
    return text[0].upper() + text[1:] + "."


def _score(sample: Sample, mask: NDArray[np.bool_], baseline: Baseline) -> float:
    """Return the correlation of a mask with its image, both seen through the bead filter."""
    _, pixels, target = next(iter(sample.planes()))
    radius = baseline.bead_diameter_px / 2
    seen = response(strength(pixels, baseline.polarity, baseline.bead_diameter_px), radius)
    # Where masks usually lie is where this one should.
    seen = ndimage.shift(seen, (baseline.dy, baseline.dx), order=1, mode="nearest")
    marked = response(mask.astype(np.float32), radius)
    counted = np.ones(mask.shape, bool) if target.ignore is None else ~target.ignore
    a, b = seen[counted].astype(np.float64), marked[counted].astype(np.float64)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / size) if size > 0 else 0.0
