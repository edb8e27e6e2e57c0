"""Drafts as a dataset: images copied, labels beside them, every sample noted as a pending draft before it is there."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from beadseg import files
from beadseg.annotation.review import Review
from beadseg.annotation.review.masks import tiff_bytes
from beadseg.data.dataset import Dataset, stem_of
from beadseg.data.hashes import sha256_of, signature_of
from beadseg.data.image_io import read_image
from beadseg.data.predictions import names_of, source_of
from beadseg.data.scan import ending_of
from beadseg.errors import BeadsegError, Cancelled, InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, ignore, track
from beadseg.files import ensure_folder, machine_error, write_atomically
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from beadseg.annotation.draft.annotators import Annotator


@dataclass(frozen=True)
class DraftResult:
    """What became of the images.

    Attributes
    ----------
    beads : dict of str to int
        Number of beads marked, by name of sample.
    skipped : tuple of str
        Samples that have an annotation already, which is never replaced.
    failures : dict of str to str
        Reason by path of the images that failed.
    """

    beads: dict[str, int]
    skipped: tuple[str, ...]
    failures: dict[str, str]


def draft_dataset(
    images: Sequence[Path],
    out: Path,
    annotator: Annotator,
    *,
    by: str | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> DraftResult:
    """Annotate images by a machine and write them as a dataset of pending drafts; the same call continues.

    Parameters
    ----------
    images : sequence of path
        Image files. Those of ``out/images`` stay where they are, others are copied there.
    out : path
        The dataset folder: new, or one to add to. What is annotated there already is left alone.
    annotator : Annotator
        What makes the labels.
    by : str, optional
        Who asked for it.
    on_event, stop
        Progress, and the flag that ends the work between images; finished ones are kept.

    Raises
    ------
    MachineError
        The folder cannot be written to.
    Cancelled
        `stop` was set.
    """
    for folder in (files.IMAGES, files.LABELS):
        ensure_folder(out / folder)
    review = Review(Dataset(out, ()))
    names = _names(images, out)
    annotated = _annotated(out)
    beads: dict[str, int] = {}
    skipped: list[str] = []
    failures: dict[str, str] = {}
    for path in track(names, "drafts", len(names), on_event, stop):
        name = names[path]
        if name in annotated:
            skipped.append(name)
            continue
        try:
            beads[name] = _draft(review, path, name, annotator, by, stop)
        except (Cancelled, MachineError):
            raise
        except BeadsegError as error:  # one bad image never stops the rest
            failures[files.printable(path)] = str(error)
            on_event(Event("failure", f"Failed: {error}", "error", {"image": str(path)}))
        else:
            on_event(
                Event("draft", f"{name}: {plural(beads[name], 'bead')}", data={"sample": name, "beads": beads[name]})
            )
    return DraftResult(beads, tuple(skipped), failures)


def _names(images: Sequence[Path], out: Path) -> dict[Path, str]:
    """Return what samples the images are or become: one that was copied here before is the same sample, no other is."""
    inside = _entries(out / files.IMAGES)
    known = {stem_of(path): source_of(path) for path in inside}
    copies: dict[Path, str] = {}
    for path in images:
        copy = next((copy for copy in inside if copy.name.endswith(path.name) and _is_copy(copy, path)), None)
        if copy is not None:
            copies[path] = source_of(copy)
    return names_of(images, known, copies)


def _is_copy(copy: Path, path: Path) -> bool:
    return signature_of(copy)[:1] == signature_of(path)[:1] and sha256_of(copy) == sha256_of(path)


def _draft(review: Review, path: Path, name: str, annotator: Annotator, by: str | None, stop: StopFlag | None) -> int:
    """Write one sample, its labels last; return the number of beads."""
    image = read_image(path)
    planes = [annotator.annotate(plane, stop) for _, plane in image.planes()]
    labels = np.stack(planes).reshape(*image.stack_shape, *image.size)
    _copy(path, review.root / files.IMAGES / f"{name}{ending_of(path)}")
    content = tiff_bytes(labels, image.axes.replace("C", ""))
    target = review.root / files.LABELS / f"{name}.tif"
    review.draft(name, target, hashlib.sha256(content).hexdigest(), by=by, why=annotator.description)
    write_atomically(target, content)
    return sum(int(plane.max(initial=0)) for plane in planes)


def _copy(source: Path, target: Path) -> None:
    """Copy an image file or folder, whole or not at all; raise `InputError` where another one has its name."""
    if target.exists():
        if target.samefile(source) or (source.is_file() and _same_bytes(source, target)):
            return
        raise InputError("Another image of this name is in the dataset.", source, "Rename one of them.")
    if source.is_file():
        write_atomically(target, lambda path: shutil.copyfile(source, path))
        return
    unfinished = target.with_name(f"{files.TEMPORARY_PREFIX}{target.name}")
    try:
        shutil.copytree(source, unfinished, symlinks=True, dirs_exist_ok=True)  # a link may lead anywhere
        unfinished.rename(target)
    except OSError as error:
        raise machine_error(error, target) from error


def _same_bytes(one: Path, other: Path) -> bool:
    return one.stat().st_size == other.stat().st_size and one.read_bytes() == other.read_bytes()


def _annotated(root: Path) -> set[str]:
    """Return the names in a dataset folder that have an annotation, or of which it is not clear whether they do."""
    stems = {
        kind: {stem_of(path) for path in _entries(root / kind)} for kind in (files.IMAGES, files.LABELS, files.MASKS)
    }
    if not stems[files.IMAGES]:
        return stems[files.LABELS] | stems[files.MASKS]
    without = {sample.name for sample in Dataset.open(root, require_masks=False) if not sample.annotated}
    return (stems[files.IMAGES] - without) | stems[files.LABELS] | stems[files.MASKS]


def _entries(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if not path.name.startswith(".")] if folder.is_dir() else []
