"""First annotations by a model: a dataset of pending drafts, which nothing trains on before a person has decided."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from beadseg import files
from beadseg.annotation.review import Review
from beadseg.config import GENERAL
from beadseg.data.dataset import Dataset
from beadseg.data.documents import names_of, source_of
from beadseg.data.image_io import read_image
from beadseg.data.scan import ending_of, sha256_of, signature_of, stem_of
from beadseg.data.tiff import tiff_bytes
from beadseg.errors import BeadsegError, Cancelled, InputError, MachineError
from beadseg.events import Event, Level, OnEvent, StopFlag, ignore, track
from beadseg.files import ensure_folder, machine_error, write_atomically
from beadseg.model.inputs import luminance, relative_to_background
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.predict.segmenter import Segmenter

Polarity = Literal["dark", "bright"]

WINDOW_DIAMETERS = 12
"""Side of the blocks whose median is the background that a bead is darker or brighter than, in bead diameters."""


@dataclass(frozen=True)
class DraftResult:
    """What happened to the images.

    Attributes
    ----------
    beads : dict of str to int
        Number of beads marked, by name of sample.
    skipped : tuple of str
        Samples that have an annotation already, which is never replaced.
    failures : dict of str to str
        Reason by path of the images that failed.
    doubts : dict of str to str
        Why drafts are not sure, by name of sample.
    """

    beads: dict[str, int]
    skipped: tuple[str, ...]
    failures: dict[str, str]
    doubts: dict[str, str]


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
    doubts: dict[str, str] = {}
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
            doubt = annotator.doubt or ("" if beads[name] else "nothing found")
            doubts |= {name: doubt} if doubt else {}
            text = f"{name}: {plural(beads[name], 'bead')}{f'. In doubt: {doubt}.' if doubt else ''}"
            level: Level = "warning" if doubt else "info"
            on_event(Event("draft", text, level, {"sample": name, "beads": beads[name], "doubt": doubt}))
    return DraftResult(beads, tuple(skipped), failures, doubts)


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
    planes, doubts = [], []
    for _, plane in image.planes():
        planes.append(annotator.annotate(plane, stop))
        doubts.append(annotator.doubt)
    annotator.doubt = next((doubt for doubt in doubts if doubt), "")
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


class Annotator(Protocol):
    """Makes instance labels of an image."""

    doubt: str
    """Why what it made last is not sure; empty where it is."""

    @property
    def description(self) -> str:
        """What makes the labels, for the review's history."""

    def annotate(self, plane: NDArray[np.generic], stop: StopFlag | None = None) -> NDArray[np.uint32]:
        """Return labels (Y, X) uint32 of a plane (C, Y, X)."""


@dataclass
class ModelAnnotator:
    """A network: the general model's, or a run's.

    Attributes
    ----------
    segmenter : Segmenter
        The model.
    source : str
        What it is called: ``general``, or its run folder.
    polarity : {"dark", "bright"} or None
        Only objects that are darker, or brighter, than the background are beads; None: both.
    doubt : str
        See `Annotator`.
    """

    segmenter: Segmenter
    source: str
    polarity: Polarity | None = None
    doubt: str = ""

    @property
    def description(self) -> str:
        """What makes the labels."""
        model = "the general model" if self.source == GENERAL else f"the run {self.source}"
        only = f", {self.polarity} beads only" if self.polarity else ""
        return f"draft by {model}{only}"

    def annotate(self, plane: NDArray[np.generic], stop: StopFlag | None = None) -> NDArray[np.uint32]:
        """Return labels (Y, X) uint32 of a plane (C, Y, X)."""
        found = self.segmenter.predict(plane, stop=stop)
        self.doubt = found.doubt
        if self.polarity is None or not found.count:
            return found.labels
        window = max(16, round(WINDOW_DIAMETERS * found.diameter))
        contrast = relative_to_background(luminance(plane), window, 1.0)
        return _of_polarity(found.labels, contrast, self.polarity)


def _of_polarity(labels: NDArray[np.uint32], contrast: NDArray[np.float32], polarity: Polarity) -> NDArray[np.uint32]:
    """Return the labels whose mean contrast to the background has the sign of `polarity`, renumbered."""
    sums = np.bincount(labels.reshape(-1), weights=contrast.reshape(-1))
    kept = sums < 0 if polarity == "dark" else sums > 0
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0).astype(np.uint32)[labels]
