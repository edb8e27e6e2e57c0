"""A dataset is a folder: images, with masks or labels of the same stem, and what cannot be paired is reported.

An OME-Zarr folder is one image; where it has no other annotation, its own label image is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from beadseg import files
from beadseg.data.documents import is_predicted
from beadseg.data.fields import FieldRule, PatternFields, composed, fields_of, listed
from beadseg.data.image_io import Image, plane_names, read_image, read_labels, read_mask
from beadseg.data.masks import TURNED, Doubt, Mask, count_objects, doubts_of, doubts_of_points
from beadseg.data.ome_zarr import label_group
from beadseg.data.points import POINT_SUFFIXES, read_points
from beadseg.data.raw import IMAGE_SUFFIXES, KNOWN_KINDS, NOT_UTF8, is_zarr, refuse_address
from beadseg.data.scan import Filter, Found, Problem, natural_key, scan, sha256_of
from beadseg.errors import ImageError, InputError
from beadseg.events import OnEvent, log
from beadseg.events import ignore as no_listener
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_SUFFIXES = {"points": POINT_SUFFIXES}
"""Kinds of files in the folders that hold no images."""


@dataclass(frozen=True, eq=False)
class Target:
    """What a sample's annotation says of one plane.

    Attributes
    ----------
    foreground : numpy.ndarray
        (Y, X) bool, True on beads; nowhere for an annotation by points alone.
    labels : numpy.ndarray or None
        (Y, X) uint32, one id per bead, where the annotation has ids.
    ignore : numpy.ndarray or None
        (Y, X) bool, True where it is neither bead nor background.
    soft_share : float
        `beadseg.data.Mask.soft_share`.
    turned : bool
        The image was turned by its orientation tag, and the mask has none.
    points : (N, 2) float32 or None
        (y, x) of bead centres, px, where the annotation has them; those under the ignore mask are left out.
    areas : bool
        Whether `foreground` is annotated. False for points alone.
    unsure : numpy.ndarray or None
        (Y, X) bool, True where `foreground` is not known, while points are; made by training.
    """

    foreground: np.ndarray
    labels: np.ndarray | None = None
    ignore: np.ndarray | None = None
    soft_share: float = 0.0
    turned: bool = False
    points: np.ndarray | None = None
    areas: bool = True
    unsure: np.ndarray | None = None

    @property
    def objects(self) -> int:
        """Number of annotated objects: ids where there are some, else points, else 8-connected components."""
        if self.labels is not None:
            return int(np.unique(self.labels[self.labels > 0]).size)
        return count_objects(self.foreground) if self.points is None else len(self.points)

    def doubts(self) -> tuple[Doubt, ...]:
        """Return what the annotation probably gets wrong; empty where it looks right."""
        found = doubts_of(self.foreground, self.labels, self.ignore, self.soft_share)
        if self.points is not None:
            found += doubts_of_points(self.points, self.foreground if self.areas else None, self.ignore)
        return (*found, TURNED) if self.turned else found


@dataclass(frozen=True)
class Sample:
    """An image with its annotation.

    Attributes
    ----------
    name : str
        Stem of the image file.
    image_path, mask_path, ignore_path : pathlib.Path or None
        Its files, or OME-Zarr folders.
    field : str
        Its field of view.
    has_labels : bool
        `mask_path` holds one id per object.
    points_path : pathlib.Path or None
        Bead centres, in place of a mask or labels or beside them.
    """

    name: str
    image_path: Path
    mask_path: Path | None = None
    ignore_path: Path | None = None
    field: str = ""
    has_labels: bool = False
    points_path: Path | None = None

    @property
    def annotated(self) -> bool:
        """Whether there is a mask, labels or points."""
        return self.mask_path is not None or self.points_path is not None

    def read_image(self) -> Image:
        """Read the image; raises `ImageError`."""
        return read_image(self.image_path)

    def read_mask(self) -> Mask:
        """Read the annotation as its file has it; raises `ImageError`, also when there is none."""
        if self.mask_path is None:
            raise ImageError(
                "Has no mask.", self.image_path, "Put a file of the same stem in the masks or labels folder."
            )
        return read_labels(self.mask_path) if self.has_labels else read_mask(self.mask_path)

    def read_target(self) -> Target:
        """Read the annotation of a single image.

        Raises
        ------
        ImageError
            It cannot be read, has another size than the image, or belongs to a stack (then use `planes`).
        """
        planes = list(self.planes())
        if len(planes) != 1:
            raise ImageError(
                f"Is a stack of {plural(len(planes), 'plane')}.", self.image_path, "Read it plane by plane."
            )
        return planes[0][2]

    def planes(self, image: Image | None = None) -> Iterator[tuple[str, np.ndarray, Target]]:
        """Yield name, (C, Y, X) pixels and `Target` of every plane.

        The name is ``""`` for a single image, else ``"t003"``, ``"z001"`` or ``"t003_z001"``. Give `image` where it
        has been read already.

        Raises
        ------
        ImageError
            A file cannot be read, or the annotation has not exactly the image's planes and size.
        """
        image = image or self.read_image()
        names = plane_names(image.axes, image.stack_shape)
        mask = None
        marked: list[tuple[np.ndarray, np.ndarray | None]] = [(np.zeros(image.size, bool), None)] * len(names)
        if self.mask_path is not None or self.points_path is None:
            mask = self.read_mask()
            _check_same(image, mask, self.mask_path or self.image_path)
            marked = list(mask.planes())
        soft, turned = (0.0, False) if mask is None else (mask.soft_share, image.turned and not mask.turned)
        ignored: list[np.ndarray] | list[None] = [None] * len(names)
        if self.ignore_path is not None:
            ignore = read_mask(self.ignore_path)
            _check_same(image, ignore, self.ignore_path)
            ignored = [foreground for foreground, _ in ignore.planes()]
        points: list[np.ndarray] | list[None] = [None] * len(names)
        if self.points_path is not None:
            found = read_points(self.points_path, image.size, image.stack_shape, names)
            points = [_seen(at, hidden) for at, hidden in zip(found, ignored, strict=True)]
        parts = zip(image.planes(), marked, ignored, points, strict=True)
        for (name, plane), (foreground, labels), hidden, at in parts:
            yield name, plane, Target(foreground, labels, hidden, soft, turned, at, mask is not None)

    def sha256(self) -> dict[str, str]:
        """Return the SHA-256 of each file's bytes: ``"image"`` and, if there, ``"mask"``, ``"ignore"``, ``"points"``.

        Of an OME-Zarr image its label images are left out, so that correcting them does not change the image's.
        """
        paths = {"mask": self.mask_path, "ignore": self.ignore_path, "points": self.points_path}
        image = {"image": sha256_of(self.image_path, without_labels=True)}
        return image | {role: sha256_of(path) for role, path in paths.items() if path is not None}


class Decoded:
    """Remembers what was read of samples while it fits, so that several passes over a dataset decode every file once.

    Parameters
    ----------
    room : float
        Bytes that may be remembered; later samples are read again in each pass.
    """

    def __init__(self, room: float = 0.0) -> None:
        self._room = room
        self.held = 0
        """Bytes that are remembered now."""
        self._known: dict[Path, tuple[float | None, list[tuple[str, np.ndarray, Target]]]] = {}

    def read(self, sample: Sample) -> tuple[float | None, list[tuple[str, np.ndarray, Target]]]:
        """Return the pixel size, µm, and what `Sample.planes` yields; raises `ImageError`."""
        known = self._known.get(sample.image_path)
        if known is not None:
            return known
        found = self.decode(sample)
        size = sum(_bytes_of(pixels, target) for _, pixels, target in found[1])
        if size <= self._room:
            self._room -= size
            self.held += size
            self._known[sample.image_path] = found
        return found

    def decode(self, sample: Sample) -> tuple[float | None, list[tuple[str, np.ndarray, Target]]]:
        """Return what the files of a sample hold; raises `ImageError`."""
        image = sample.read_image()
        return image.pixel_size_um, list(sample.planes(image))

    def take(self, sample: Sample) -> tuple[float | None, list[tuple[str, np.ndarray, Target]]]:
        """Return the same as `read`, and forget it."""
        found = self.read(sample)
        if self._known.pop(sample.image_path, None) is not None:
            self.held -= sum(_bytes_of(pixels, target) for _, pixels, target in found[1])
        return found


def _seen(points: np.ndarray, ignore: np.ndarray | None) -> np.ndarray:
    """Return the points that no ignore mask covers."""
    if ignore is None:
        return points
    rows, columns = np.rint(points).astype(np.int64).T
    return np.asarray(points[~ignore[rows, columns]])


def _bytes_of(pixels: np.ndarray, target: Target) -> int:
    return sum(part.nbytes for part in (pixels, target.foreground, target.labels, target.ignore) if part is not None)


def _check_same(image: Image, mask: Mask, path: Path) -> None:
    height, width = image.size
    found = mask.foreground.shape[-2:]
    if found != (height, width):
        text = f"Is {found[1]}x{found[0]} px (width x height), its image {width}x{height} px."
        if image.turned and found == (width, height):
            remedy = "The image has an orientation tag (EXIF) and is turned as it says; turn the mask too."
            raise ImageError(text, path, remedy)
        raise ImageError(text, path, "Export both at the same size; resizing a mask moves its edges.")
    if mask.foreground.shape[:-2] != image.stack_shape:
        text = f"Has {_planes_text(mask.foreground.shape[:-2])}, its image {_planes_text(image.stack_shape)}."
        raise ImageError(text, path, "A stack needs a mask with the same planes.")


def _planes_text(stack_shape: tuple[int, ...]) -> str:
    count = int(np.prod(stack_shape, dtype=int))
    return "1 plane" if count == 1 else f"{'x'.join(map(str, stack_shape))} planes"


@dataclass(frozen=True)
class Dataset:
    """Samples of one folder.

    Attributes
    ----------
    root : pathlib.Path
        The folder.
    samples : tuple of Sample
        In natural order of their names (``c2`` before ``c10``).
    problems : tuple of Problem
        Files that were left out, and why.
    """

    root: Path
    samples: tuple[Sample, ...]
    problems: tuple[Problem, ...] = ()

    @classmethod
    def open(
        cls,
        root: Path | str,
        *,
        images: str = files.IMAGES,
        masks: str = files.MASKS,
        labels: str = files.LABELS,
        ignore: str = files.IGNORE,
        points: str | None = files.POINTS,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        fields: FieldRule | None = None,
        require_masks: bool = True,
    ) -> Dataset:
        """Pair the files of a dataset folder.

        Parameters
        ----------
        root : path
            The dataset folder.
        images, masks, labels, ignore, points : str
            Names of its folders. A sample with both a mask and labels takes the labels; points may stand alone, or
            beside either, and are not looked at where that is None.
        include, exclude : sequence of str
            Shell patterns (``*``, ``?``, ``[…]``) on sample names; a sample stays that matches one of `include` (or
            there are none) and none of `exclude`.
        fields : FieldRule, optional
            How fields of view are found; by the pattern of tile names when None.
        require_masks : bool
            Leave out, and report, images without an annotation. With False they are kept with `mask_path` None, and
            a plain folder of images is a dataset too.

        Raises
        ------
        InputError
            A folder is missing, holds no images, or no sample is left.
        """
        root = _existing(files.user_path(root), images, masks, labels)
        image_folder = _image_folder(root, images, require_masks)
        problems: list[Problem] = []
        wanted = Filter(tuple(map(composed, include)), tuple(map(composed, exclude)))
        image_files = scan(image_folder, wanted, problems)
        if image_folder == root:
            used = {root / folder for folder in (masks, labels, ignore, points or files.POINTS, files.REVIEW)}
            problems = [problem for problem in problems if problem.path not in used]
        if not image_files.paths:
            raise InputError(*_nothing_found(image_folder, wanted, problems))
        own = _own_labels(image_files, problems)
        if (
            require_masks
            and not own
            and not any((root / folder).is_dir() for folder in (masks, labels, points) if folder)
        ):
            raise InputError(
                f"Has no {masks}/, {labels}/ or {points or files.POINTS}/.",
                root,
                "Put the annotations there, or say what their folder is called (--masks, --labels, --points).",
            )
        known = set(image_files.paths) | image_files.ambiguous
        folders = {"labels": root / labels, "masks": root / masks, "ignore": root / ignore}
        folders |= {} if points is None else {"points": root / points}
        found = {
            role: scan(folder, wanted, problems, known, _SUFFIXES.get(role, frozenset(IMAGE_SUFFIXES)))
            if folder.is_dir()
            else Found({}, frozenset())
            for role, folder in folders.items()
        }
        found.setdefault("points", Found({}, frozenset()))
        predicted = next((folder for folder in folders.values() if folder.is_dir() and is_predicted(folder)), None)
        if predicted is not None:
            remedy = "Move them to a folder of their own; to correct predictions for training, use beadseg-batch draft."
            raise InputError("Holds predictions of a model, not annotations.", predicted, remedy)
        samples = _samples(image_files, found, own, require_masks, problems)
        if not samples:
            raise InputError(*_nothing_paired(root, image_files, found))
        by_name = fields_of([sample.name for sample in samples], fields or PatternFields())
        return cls(root, tuple(replace(sample, field=by_name[sample.name]) for sample in samples), tuple(problems))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the samples, in natural order."""
        return tuple(sample.name for sample in self.samples)

    @property
    def fields(self) -> tuple[str, ...]:
        """Distinct fields of view, in natural order."""
        return tuple(sorted({sample.field for sample in self.samples}, key=natural_key))

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @cached_property
    def _by_name(self) -> dict[str, Sample]:
        return {sample.name: sample for sample in self.samples}

    def __getitem__(self, name: str) -> Sample:
        sample = self._by_name.get(name) or self._by_name.get(composed(name))
        if sample is not None:
            return sample
        raise InputError(f"Has no sample {name!r}.", self.root, f"Its samples: {listed(list(self.names))}.")

    def with_areas(self, task: str, on_event: OnEvent = no_listener) -> Dataset:
        """Return the samples with masks or labels, and report those that have points alone.

        Parameters
        ----------
        task : str
            What needs them, as the beginning of a sentence: ``"The audit"``.

        Raises
        ------
        InputError
            All samples have points alone.
        """
        alone = [sample.name for sample in self if sample.mask_path is None and sample.points_path is not None]
        if not alone:
            return self
        if len(alone) == len(self):
            text = f"{task} needs masks or labels, and the samples have points alone."
            raise InputError(text, self.root, "Train on the points, or draft masks (beadseg-batch draft).")
        on_event(log(f"{task} needs masks or labels: left out {plural(len(alone), 'sample')} with points alone "
                     f"({listed(alone)}).", "warning"))  # fmt: skip
        return self.subset(name for name in self.names if name not in set(alone))

    def subset(self, names: Iterable[str]) -> Dataset:
        """Return the dataset of the named samples only; raises `InputError` for a name that it has not."""
        wanted = {name if name in self._by_name else composed(name) for name in names}
        missing = sorted(wanted - self._by_name.keys(), key=natural_key)
        if missing:
            raise InputError(
                f"Has no sample {listed(missing)}.", self.root, f"Its samples: {listed(list(self.names))}."
            )
        return replace(self, samples=tuple(sample for sample in self.samples if sample.name in wanted))


def _existing(root: Path, images: str, masks: str, labels: str) -> Path:
    """Return `root`; raise `InputError` where it cannot be a dataset's folder."""
    if files.printable(root) != str(root):
        raise InputError(NOT_UTF8, files.printable(root), "Rename the folder.")
    refuse_address(root)
    if is_zarr(root):
        raise InputError("Is one image, not a dataset folder.", root, f"Put it into the {images}/ of a folder.")
    if not root.is_dir():
        what = "Is a file, not a dataset folder." if root.exists() else "No such folder."
        raise InputError(what, root, f"Give a folder that holds {images}/ with {masks}/ or {labels}/.")
    return root


def _image_folder(root: Path, images: str, require_masks: bool) -> Path:
    if (root / images).is_dir():
        return root / images
    if require_masks:
        remedy = f"Put the images into {images}/, or say what their folder is called (--images)."
        raise InputError(f"Has no folder {images}/.", root, remedy)
    return root


def _nothing_found(folder: Path, wanted: Filter, problems: list[Problem]) -> tuple[str, Path, str]:
    if wanted.include or wanted.exclude:
        return (
            "No image is left by the include and exclude patterns.",
            folder,
            "Patterns match names without extension.",
        )
    if problems:
        return f"Holds no image that can be used ({problems[0].path.name}: {problems[0].message})", folder, "See there."
    return "Holds no images.", folder, f"Files of these kinds are read: {KNOWN_KINDS}."


def _nothing_paired(root: Path, images: Found, annotations: dict[str, Found]) -> tuple[str, Path, str]:
    """Return the error of a dataset in which no annotation belongs to an image, with an example of either side."""
    text = f"None of its {plural(len(images.paths), 'image')} has a usable annotation."
    remedy = "Masks are paired by stem: a.png with a.png, a.tif or a_mask.png."
    image = next(iter(images.paths.values()), None)
    alone = [path for role in ("labels", "masks", "points") for path in annotations[role].paths.values()]
    if image is not None and alone:
        names = ", ".join(f"{path.parent.name}/{path.name}" for path in (image, alone[0]))
        text = f"{text} Their names differ, e.g. {names}."
    return text, root, remedy


def _own_labels(images: Found, problems: list[Problem]) -> dict[str, Path]:
    """Return the label images that lie inside OME-Zarr images, by sample name."""
    found: dict[str, Path] = {}
    for name, path in images.paths.items():
        try:
            group = label_group(path) if is_zarr(path) else None
        except ImageError as error:
            problems.append(Problem(path, f"Its label images cannot be used: {error.what}"))
            continue
        if group is not None:
            found[name] = group
    return found


def _samples(
    images: Found, annotations: dict[str, Found], own: dict[str, Path], require_masks: bool, problems: list[Problem]
) -> list[Sample]:
    """Pair what was found by name, `own` being the labels inside the images, and report what has no partner."""
    known = images.paths.keys() | images.ambiguous
    for found in annotations.values():
        for name, path in found.paths.items():
            if name not in known:
                problems.append(Problem(path, "No image has the same name."))
    labels, masks, ignored = annotations["labels"], annotations["masks"], annotations["ignore"]
    samples = []
    for name, path in images.paths.items():
        if any(name in found.ambiguous for found in annotations.values()):
            problems.append(Problem(path, "Left out: several annotation files have its stem."))
            continue
        annotation = labels.paths.get(name) or masks.paths.get(name) or own.get(name)
        points = annotations["points"].paths.get(name)
        if annotation is None and points is None and require_masks:
            problems.append(Problem(path, "Has no mask, no labels and no points of its stem."))
            continue
        is_labels = name in labels.paths or (name in own and name not in masks.paths)
        samples.append(
            Sample(name, path, annotation, ignored.paths.get(name), has_labels=is_labels, points_path=points)
        )
    return samples
