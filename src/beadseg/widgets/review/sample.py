"""Everything that is shown of one sample, read from the disk, and read ahead in a thread. No Qt."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from beadseg.annotation.audit.correction import correction
from beadseg.annotation.edit import beads_at
from beadseg.annotation.review.store import is_review_file
from beadseg.data.image_io import read_labels, read_mask
from beadseg.data.masks import label_objects
from beadseg.data.points import read_points
from beadseg.errors import BeadsegError, ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.annotation.audit import Audit
    from beadseg.annotation.audit.document import Box
    from beadseg.annotation.review import SampleReview
    from beadseg.data.dataset import Dataset, Sample
    from beadseg.data.image_io import Image
    from beadseg.data.masks import Mask

    Labels = NDArray[np.uint32]

Size = tuple[float, Literal["dark", "bright"]]
"""Diameter of a bead, px, and what beads are against their surroundings."""
Mark = tuple[int, int, int]
"""What tells that a file is still the one that was read: its number on the disk, size and time."""

KEPT = 6
"""Pages in memory: the one shown, those ahead, and some to go back to."""


@dataclass(frozen=True, eq=False)
class ReviewSample:
    """A sample to look at.

    Attributes
    ----------
    review : SampleReview
        Its state when it was read: what a decision is about.
    pixels : numpy.ndarray
        (Y, X), (Y, X, 3), or with the axes of a stack before them.
    rgb : bool
        Whether the last axis is colour.
    planes : tuple of str
        Names of the planes of a stack in storage order; ``("",)`` for a single image.
    labels : numpy.ndarray
        uint32, of the shape of `pixels` without colour: the mask that holds now; 0 everywhere where there is none.
    proposal : numpy.ndarray or None
        uint32, the corrected mask that the audit proposes.
    why : str
        What the proposal does, in words.
    mark : tuple of int
        Of the image file.
    ignored : numpy.ndarray or None
        bool, of the shape of `labels`: what is neither bead nor background; None where nothing is marked so.
    problem : str
        Why a mask could not be read, so that none is shown; empty where all could.
    limits : (float, float)
        Values shown as black and white.
    """

    review: SampleReview
    pixels: NDArray[np.generic]
    rgb: bool
    planes: tuple[str, ...]
    labels: Labels
    proposal: Labels | None
    why: str
    mark: Mark
    ignored: NDArray[np.bool_] | None = None
    problem: str = ""
    limits: tuple[float, float] = (0.0, 255.0)

    @property
    def name(self) -> str:
        """Name of the sample."""
        return self.review.name

    def plane_index(self, plane: str) -> tuple[int, ...]:
        """Return the place of a named plane in the stack; empty for a single image or an unknown name."""
        stack = self.labels.shape[:-2]
        if not stack or plane not in self.planes:
            return ()
        return tuple(int(place) for place in np.unravel_index(self.planes.index(plane), stack))

    def region(self, box: Box, plane: tuple[int, ...] = ()) -> NDArray[np.bool_]:
        """Return a box of one plane, px, as a mask of the shape of `labels`."""
        top, left, bottom, right = box
        region = np.zeros(self.labels.shape, np.bool_)
        region[plane][top:bottom, left:right] = True
        return region


def read_sample(
    review: SampleReview, dataset: Dataset, audit: Audit | None, folder: Path | None, size: Size = (7.0, "dark")
) -> ReviewSample:
    """Read a sample; a mask that cannot be read is an empty one, with the reason in `problem`.

    Where there are centres alone, a bead is drawn at each.

    Parameters
    ----------
    review : SampleReview
        The sample with the files that hold.
    dataset : Dataset
        Where it is.
    audit, folder
        The audit with its folder, for the proposal; None where there is none.
    size
        Of the beads that are drawn at centres.

    Raises
    ------
    ImageError
        The image cannot be read.
    """
    mark = mark_of(review.sample.image_path)
    image = review.sample.read_image()
    shape = (*image.stack_shape, *image.size)
    problems = []
    try:
        labels = _mask(review.sample, shape) if _has_area(review.sample) else _at_centres(review.sample, image, size)
    except ImageError as error:
        labels = np.zeros(shape, np.uint32)
        problems.append(str(error))
    try:
        ignored = _ignored(review.sample, shape)
    except ImageError as error:
        ignored = None
        problems.append(str(error))
    proposal, why = _proposal(review, dataset, audit, folder)
    if proposal is not None and proposal.shape != shape:
        proposal, why = None, ""
    pixels, rgb = displayed(image)
    names, problem = tuple(image.names), "\n".join(problems)
    return ReviewSample(review, pixels, rgb, names, labels, proposal, why, mark, ignored, problem, _limits(pixels))


def _limits(pixels: NDArray[np.generic]) -> tuple[float, float]:
    """Return what is shown as black and white: the whole range of a byte, else from the lowest to the highest value."""
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    low, high = float(pixels.min()), float(pixels.max())
    return low, high if high > low else low + 1.0


def _has_area(sample: Sample) -> bool:
    """Tell whether a sample has more than centres, or nothing."""
    return sample.mask_path is not None or sample.points_path is None


def _at_centres(sample: Sample, image: Image, size: Size) -> Labels:
    """Return beads at the centres that a sample is annotated by."""
    shape = (*image.stack_shape, *image.size)
    found = [beads_at(grey, centres, *size) for grey, centres in planes_with_centres(sample, image)]
    return np.stack(found).reshape(shape)


def planes_with_centres(sample: Sample, image: Image) -> list[tuple[NDArray[np.generic], NDArray[np.float32]]]:
    """Return brightness (Y, X) and centres (N, 2) of every plane of a sample with points; raises `ImageError`."""
    if sample.points_path is None:
        return []
    centres = read_points(sample.points_path, image.size, image.stack_shape, image.names)
    pixels, rgb = displayed(image)
    grey = pixels.mean(axis=-1) if rgb else pixels
    return list(zip(grey.reshape(-1, *image.size), centres, strict=True))


def _mask(sample: Sample, shape: tuple[int, ...]) -> Labels:
    if sample.mask_path is None:
        return np.zeros(shape, np.uint32)
    mask = sample.read_mask()
    if mask.foreground.shape != shape:
        what = f"The mask has the shape {mask.foreground.shape}, the image {shape}."
        raise ImageError(what, sample.mask_path, "Reject it, or mark the beads again.")
    return ids_of(mask)


def _ignored(sample: Sample, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    if sample.ignore_path is None:
        return None
    region = read_mask(sample.ignore_path).foreground
    if region.shape != shape:
        what = f"The ignored region has the shape {region.shape}, the image {shape}."
        raise ImageError(what, sample.ignore_path, "Remove the file, or mark the region again.")
    return region if region.any() else None


def displayed(image: Image) -> tuple[NDArray[np.generic], bool]:
    """Return an image with colour last, and whether it is colour; of other channels their mean."""
    if "C" not in image.axes:
        return image.data, False
    last = np.moveaxis(image.data, image.axes.index("C"), -1)
    if image.channels == 3:
        return np.ascontiguousarray(last), True
    return last.mean(axis=-1, dtype=np.float32), False


def ids_of(mask: Mask) -> Labels:
    """Return (a copy of) the ids of a mask; where it has none, every 8-connected piece of a plane gets one."""
    if mask.labels is not None:
        return mask.labels.astype(np.uint32, copy=True)
    size = mask.foreground.shape[-2:]
    planes = [label_objects(plane) for plane in mask.foreground.reshape(-1, *size)]
    return np.stack(planes).reshape(mask.foreground.shape) if mask.foreground.ndim > 2 else planes[0]


def mark_of(path: Path) -> Mark:
    """Return the mark of a file; raises `ImageError` when it is not there any more."""
    try:
        status = path.stat()
    except OSError as error:
        remedy = "Put it back, or reject the sample."
        raise ImageError(f"Cannot be found any more ({error.strerror}).", path, remedy) from None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _proposal(
    review: SampleReview, dataset: Dataset, audit: Audit | None, folder: Path | None
) -> tuple[Labels | None, str]:
    """Return the corrected mask that the audit wrote, or could write; none of a sample that was corrected."""
    if audit is None or _is_corrected(review, dataset):
        return None, ""
    try:
        if audit.proposals and folder is not None:
            return _written(audit, folder, review.name)
        made = correction(audit, dataset, review.name)
    except (BeadsegError, StopIteration):  # a proposal is an offer: without it the sample is reviewed all the same
        return None, ""
    if made is None:
        return None, ""
    values = made.mask
    return (label_objects(values) if values.dtype == np.bool_ else values.astype(np.uint32)), made.why


def _written(audit: Audit, folder: Path, name: str) -> tuple[Labels | None, str]:
    for proposal in audit.proposals:
        if proposal.sample == name:
            path = folder / proposal.file
            return ids_of(read_labels(path) if path.suffix == ".tif" else read_mask(path)), proposal.why
    return None, ""


def _is_corrected(review: SampleReview, dataset: Dataset) -> bool:
    path = review.sample.mask_path
    if path is None or not path.is_relative_to(dataset.root):
        return False
    return is_review_file(path.relative_to(dataset.root).as_posix())


def grey_plane(sample: ReviewSample, index: tuple[int, ...]) -> NDArray[np.generic]:
    """Return the (Y, X) brightness of one plane; `index` has one number per axis of the stack."""
    plane = sample.pixels[index]
    return np.asarray(plane.mean(axis=-1) if sample.rgb else plane)


class Preload:
    """Reads pages by name, each once as long as it is kept.

    Parameters
    ----------
    read : callable
        Reads a page; called in a thread of its own.
    """

    def __init__(self, read: Callable[[str], ReviewSample]) -> None:
        self._read = read
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beadseg preload")
        self._pages: OrderedDict[str, Future[ReviewSample]] = OrderedDict()

    def sample(self, name: str) -> ReviewSample:
        """Return a page, waiting for it where it was not read ahead; raises what reading it raised."""
        future = self._future(name)
        try:
            return future.result()
        except Exception:
            self.forget([name])  # perhaps the file is there again when it is asked for the next time
            raise

    def ahead(self, names: Iterable[str]) -> None:
        """Begin to read these pages."""
        for name in names:
            self._future(name)

    def ready(self, name: str) -> bool:
        """Tell whether `sample` would return at once."""
        return name in self._pages and self._pages[name].done()

    def forget(self, names: Iterable[str]) -> None:
        """Read these pages again when they are asked for: what they show has changed."""
        for name in names:
            self._pages.pop(name, None)

    def close(self) -> None:
        """End the thread; what it is reading is finished."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pages.clear()

    def _future(self, name: str) -> Future[ReviewSample]:
        if name not in self._pages:
            self._pages[name] = self._pool.submit(self._read, name)
            while len(self._pages) > KEPT:
                self._pages.popitem(last=False)[1].cancel()
        self._pages.move_to_end(name)
        return self._pages[name]
