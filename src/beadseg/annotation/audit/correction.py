"""Corrected masks, where they can be computed and fit better, written beside the audit for a person to accept.

Nothing here changes a data set.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import tifffile
from scipy import ndimage

from beadseg import files
from beadseg.annotation.audit import thresholds
from beadseg.annotation.audit.document import CORRECTABLE, Audit, Code, Proposal
from beadseg.annotation.audit.measure import Settings, measure_plane
from beadseg.annotation.audit.registration import ORIENTATIONS, Transform, oriented
from beadseg.annotation.audit.response import response, strength
from beadseg.annotation.review import Review, new_id
from beadseg.data.dataset import Target
from beadseg.data.image_io import read_labels, read_mask
from beadseg.data.masks import label_objects
from beadseg.data.tiff import png_bytes
from beadseg.errors import ConfigError, ImageError, InputError
from beadseg.events import OnEvent, StopFlag, ignore, log, track
from beadseg.files import ensure_folder, write_atomically
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.annotation.audit.document import Baseline, Finding, MaskFit
    from beadseg.annotation.audit.measurement import Part
    from beadseg.annotation.review.steps import Kind
    from beadseg.data.dataset import Dataset, Sample

    Floats = NDArray[np.float32]
    Ids = NDArray[np.integer]

BETTER = 0.01
"""A moved mask must correlate with the image better than the original by this, or it is not offered."""
GEOMETRY: tuple[Code, ...] = ("orientation", "scale", "affine", "shift")
"""Findings that moving the mask corrects."""

BEYOND = 0.5
"""Objects outside a shifted part, up to this share of its sides, may be shifted with it: faults keep to no grid."""


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
        mask, done = moved_mask(mask, transform), [_change_text(transform, moves)]
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


def _change_text(transform: Transform, codes: tuple[Code, ...]) -> str:
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


def with_parts_moved(mask: NDArray[np.generic], parts: Sequence[Part], answer: Floats, typical: float) -> Ids | None:
    """Return the mask with the objects of shifted parts moved to where the image answers best.

    An object moves by the shift of a part in or near which it lies, to whole pixels, where the bead filter answers
    better by `thresholds.CLEARER` of a typical bead; elsewhere it stays, so that a part's border cuts no object.

    Parameters
    ----------
    mask : (Y, X) bool or integer
        Foreground, or ids; oriented as the image.
    parts : sequence of Part
        See `local_shifts`.
    answer : (Y, X) float32
        Answer of the bead filter to the image.
    typical : float
        That of a typical bead.

    Returns
    -------
    (Y, X) integer or None
        Ids (those given, or of components); None where no object moves.
    """
    ids = label_objects(np.asarray(mask, bool)) if mask.dtype == np.bool_ else np.asarray(mask)
    names, rows, columns, owner = _pixels(ids)
    if len(names) == 0:
        return None
    centres = np.stack([np.bincount(owner, axis) / np.bincount(owner) for axis in (rows, columns)], axis=1)
    best = _mean_answer(answer, rows, columns, owner) + thresholds.CLEARER * typical
    moves = np.zeros((len(names), 2), np.int64)
    for part in parts:
        shift = np.rint((part.dy, part.dx)).astype(np.int64)
        found = _mean_answer(answer, rows + shift[0], columns + shift[1], owner)
        better = _near(centres, part) & (found > best)
        moves[better], best[better] = shift, found[better]
    if not moves.any():
        return None
    return _painted(ids, rows, columns, moves[owner])


def _pixels(ids: Ids) -> tuple[Ids, Ids, Ids, Ids]:
    """Return the ids that there are, and row, column and index of the id of every marked pixel."""
    rows, columns = np.nonzero(ids)
    names, owner = np.unique(ids[rows, columns], return_inverse=True)
    return names, rows, columns, owner


def _mean_answer(answer: Floats, rows: Ids, columns: Ids, owner: Ids) -> NDArray[np.float64]:
    """Return the mean answer under every object; beyond the border there is none."""
    height, width = answer.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    values = np.where(inside, answer[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)], 0.0)
    mean: NDArray[np.float64] = np.bincount(owner, values) / np.bincount(owner)
    return mean


def _near(centres: NDArray[np.float64], part: Part) -> NDArray[np.bool_]:
    low, high = np.array(part.box[:2], float), np.array(part.box[2:], float)
    reach = BEYOND * (high - low)
    return np.asarray(((centres >= low - reach) & (centres <= high + reach)).all(axis=1))


def _painted(ids: Ids, rows: Ids, columns: Ids, moves: Ids) -> Ids:
    """Return the objects in their new places; what moves lies over what stays."""
    out = np.zeros_like(ids)
    to = np.stack((rows, columns), axis=1) + moves
    inside = ((to >= 0) & (to < np.array(ids.shape))).all(axis=1)
    moved = moves.any(axis=1)
    for chosen in (inside & ~moved, inside & moved):
        out[to[chosen, 0], to[chosen, 1]] = ids[rows[chosen], columns[chosen]]
    return out


def propose(
    audit: Audit, dataset: Dataset, out: Path, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> Audit:
    """Write a corrected mask for every sample that has one, and return the audit with the proposals; write that too.

    Parameters
    ----------
    audit : Audit
        Findings about `dataset`.
    dataset : Dataset
        Nothing in its folder is changed.
    out : pathlib.Path
        The audit's folder: masks go to ``proposals/``, bool ones as PNG (0 and 255), labels as TIFF (uint32).
    on_event, stop
        See `beadseg.events`.

    Raises
    ------
    MachineError
        The folder cannot be written.
    Cancelled
        `stop` was set.
    """
    names = list(dict.fromkeys(f.sample for f in audit.findings if f.code in CORRECTABLE and f.severity != "note"))
    made = []
    for name in track(names, "proposals", len(names), on_event, stop):
        try:
            corrected = correction(audit, dataset, name)
        except ImageError as error:
            on_event(log(str(error), "warning"))
            continue
        if corrected is not None:
            made.append(_written(corrected, out))
    result = audit.replace(proposals=tuple(made))
    result.write(out)
    on_event(log(f"{len(made)} corrected masks proposed, {len(names) - len(made)} would not fit better."))
    return result


def _written(corrected: Correction, out: Path) -> Proposal:
    folder = ensure_folder(out / files.PROPOSALS)
    if corrected.mask.dtype == np.bool_:
        path = folder / f"{corrected.sample}.png"
        write_atomically(path, png_bytes(corrected.mask.astype(np.uint8) * 255))
    else:
        path = folder / f"{corrected.sample}.tif"
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, corrected.mask.astype(np.uint32), compression="zlib", metadata=None, software=False)
        write_atomically(path, buffer.getvalue())
    return Proposal(
        sample=corrected.sample,
        codes=corrected.codes,
        file=f"{files.PROPOSALS}/{path.name}",
        before=corrected.before,
        after=corrected.after,
        why=corrected.why,
    )


def known_codes(text: str) -> tuple[Code, ...]:
    """Read ``"shift,soft"``; raises `ConfigError` for what cannot be corrected."""
    given = [word.strip() for word in text.split(",") if word.strip()]
    found = tuple(code for code in CORRECTABLE if code in given)
    unknown = [word for word in given if word not in CORRECTABLE]
    if unknown or not found:
        what = f"{unknown[0]!r} cannot be corrected." if unknown else "No code is given."
        raise ConfigError(what, "--apply", f"Give some of {', '.join(CORRECTABLE)}.")
    return found


def apply(
    audit: Audit, dataset: Dataset, out: Path, codes: Sequence[Code], by: str | None = None, on_event: OnEvent = ignore
) -> tuple[str, ...]:
    """Accept proposals in the data set's review, and return the samples that were corrected.

    Parameters
    ----------
    audit : Audit
        With proposals, as `propose` returns it.
    dataset : Dataset
        Whose review is written; its masks stay as they are, and every correction can be undone there.
    out : pathlib.Path
        The audit's folder.
    codes : sequence of str
        A proposal is accepted when all that it corrects is among these, and nobody has decided about the sample yet.
    by : str, optional
        Who accepts; the user of the machine when None.
    on_event
        See `beadseg.events`.

    Raises
    ------
    ImageError
        A proposal cannot be read.
    MachineError
        The review cannot be written.
    """
    review = Review.open(dataset)
    states = review.states()
    accepted, decided = [], []
    group = new_id()
    for proposal in audit.proposals:
        if not set(proposal.codes) <= set(codes):
            continue
        if states[proposal.sample].state != "pending":
            decided.append(proposal.sample)
            continue
        path = out / proposal.file
        found = read_labels(path) if path.suffix == ".tif" else read_mask(path)
        mask = found.foreground if found.labels is None else found.labels
        kind: Kind = "mask" if found.labels is None else "labels"
        why = f"audit {', '.join(proposal.codes)}: {proposal.why}"
        review.correct(proposal.sample, mask, by=by, why=why, kind=kind, group=group)
        accepted.append(proposal.sample)
    if decided:
        on_event(
            log(
                f"{plural(len(decided), 'sample')} decided about before, "
                f"and left as they are: {', '.join(decided[:5])}."
            )
        )
    on_event(log(f"{len(accepted)} corrected masks accepted in the review; undo with `beadseg-batch review`."))
    return tuple(accepted)
