"""Training images in memory: prepared once, cut into patches many times."""

from __future__ import annotations

import atexit
import math
import os
import secrets
import tempfile
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import psutil

from beadseg import files
from beadseg.data.dataset import Target
from beadseg.errors import BeadsegError, ImageError, MachineError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.files import machine_error
from beadseg.measure.appearance import PixelStats
from beadseg.model.inputs import prepare, resized
from beadseg.text import plural
from beadseg.training.guide import Completed, Guide
from beadseg.training.targets import KnownBeads, centre_map, known_beads

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Decoded, Sample
    from beadseg.training.processes import Team


ALIGNED = 64
"""Arrays in a file start at multiples of this many bytes."""

MEMORY_SHARE = 0.8
"""Training images may take up this share of the free memory."""


@dataclass(frozen=True, eq=False)
class TrainingImage:
    """One annotated plane, ready for the network.

    Attributes
    ----------
    name : str
        Sample name, with the plane's name behind a slash in a stack.
    field : str
        Field of view.
    image : (C, Y, X) float32
        Prepared (normalised) image.
    foreground : (Y, X) uint8
        1 on beads.
    beads : (N, 2) float32
        (y, x) of the centre of every bead, px; of a mask without ids, of its parts.
    counted : (Y, X) uint8
        0 where an ignore mask lies, 1 elsewhere.
    spots : (N,) uint32
        Flat indices of the foreground pixels, for patches that must show a bead.
    centre : (Y, X) float16, optional
        The centre map to learn, for networks with such a head.
    certain : (Y, X) uint8, optional
        1 where it is known which beads there are, for the centre map and for counting; where `counted` is 1 when None.
    areas : bool
        The foreground is annotated, and not made from points.
    pixels : PixelStats, optional
        The values in the file, for comparison with images that are predicted.
    """

    name: str
    field: str
    image: NDArray[np.float32]
    foreground: NDArray[np.uint8]
    beads: NDArray[np.float32]
    counted: NDArray[np.uint8]
    spots: NDArray[np.uint32]
    centre: NDArray[np.float16] | None = None
    pixels: PixelStats | None = None
    certain: NDArray[np.uint8] | None = None
    areas: bool = True

    @property
    def judged(self) -> NDArray[np.uint8]:
        """(Y, X), 1 where it is known which beads there are."""
        return self.counted if self.certain is None else self.certain

    @property
    def targets(self) -> list[NDArray[Any]]:
        """One (Y, X) map per head of the network, in its order."""
        return [self.foreground] if self.centre is None else [self.foreground, self.centre]

    @property
    def nbytes(self) -> int:
        """Memory of all arrays, bytes."""
        parts: list[NDArray[Any]] = [self.image, self.counted, self.spots, self.beads, *self.targets]
        parts += [] if self.certain is None else [self.certain]
        return sum(part.nbytes for part in parts)


def load_images(
    samples: Sequence[Sample],
    config: TrainConfig,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    decoded: Decoded | None = None,
) -> list[TrainingImage]:
    """Read and prepare every plane of `samples` for a network with the heads of `config`, which must be complete.

    What `decoded` remembers of the files is not read again, and given back.

    Raises
    ------
    ImageError
        One cannot be read.
    MachineError
        They do not fit into memory.
    """
    return list(_images(samples, config, on_event, stop, decoded or Completed(0.0, config)))


def _images(
    samples: Sequence[Sample], config: TrainConfig, on_event: OnEvent, stop: StopFlag | None, decoded: Decoded
) -> Iterator[TrainingImage]:
    room = MEMORY_SHARE * (psutil.virtual_memory().available + decoded.held)
    guide = Guide(config)
    for number, sample in enumerate(track(samples, "reading images", len(samples), on_event, stop), start=1):
        for image in _planes(sample, config, decoded, guide):
            yield image
            room -= image.nbytes
        if room < 0:
            raise MachineError(
                f"{number} of {plural(len(samples), 'sample')} fill {MEMORY_SHARE:.0%} of the free memory.",
                "training images",
                "Train on fewer or smaller images, or ask for more memory.",
            )


def load_images_of_machine(
    parts: Mapping[str, Sequence[Sample]],
    config: TrainConfig,
    team: Team,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
    decoded: Decoded | None = None,
) -> dict[str, list[TrainingImage]]:
    """Return the images of several parts, such as training and validation, as `load_images` does, once per machine.

    Where several processes of a machine train together the first of them reads and prepares the images and writes their
    arrays into a file in memory, which all of them map: the machine holds them once. Raises as `load_images`, in every
    process.
    """
    if team.local_size == 1:
        return {part: load_images(samples, config, on_event, stop, decoded) for part, samples in parts.items()}
    error: BeadsegError | None = None
    written: tuple[Path, dict[str, list[_Mapped]]] | None = None
    if team.local_rank == 0:
        try:
            every = {part: _images(samples, config, on_event, stop, decoded or Completed(0.0, config))
                     for part, samples in parts.items()}  # fmt: skip
            written = write_mapped(every)
        except BeadsegError as failed:
            error = failed
    team.check(error)
    found = team.gather(written)[team.rank - team.local_rank]
    if found is None:
        raise MachineError("The first process of this machine is not among the others.", str(team),
                           "Start the processes of a machine with consecutive ranks, as torchrun does.")  # fmt: skip
    images = map_images(*found)
    team.wait()
    if team.local_rank == 0:
        _remove(found[0])  # what is mapped stays until the last process ends
    return images


@dataclass(frozen=True)
class _Mapped:
    """A `TrainingImage` whose arrays lie in a file: offset, shape and dtype by name."""

    others: dict[str, Any]
    arrays: dict[str, tuple[int, tuple[int, ...], str]]


def write_mapped(parts: Mapping[str, Iterable[TrainingImage]]) -> tuple[Path, dict[str, list[_Mapped]]]:
    """Write the arrays of images, one image after the other, into a new file; return it and what is where.

    Raises
    ------
    MachineError
        There is no room for them.
    """
    path = _memory_folder() / f"{files.TEMPORARY_PREFIX}images-{os.getpid()}-{secrets.token_hex(4)}"
    found: dict[str, list[_Mapped]] = {}
    try:
        with path.open("xb") as file:
            for part, images in parts.items():
                found[part] = [_write_image(file, image) for image in images]
    except OSError as error:
        _remove(path)
        raise machine_error(error, path) from error
    except BaseException:
        _remove(path)
        raise
    return path, found


def _write_image(file: BinaryIO, image: TrainingImage) -> _Mapped:
    found = _Mapped({}, {})
    for name in (field.name for field in fields(image)):
        value = getattr(image, name)
        if not isinstance(value, np.ndarray):
            found.others[name] = value
            continue
        file.write(b"\0" * (-file.tell() % ALIGNED))
        found.arrays[name] = (file.tell(), value.shape, value.dtype.str)
        file.write(np.ascontiguousarray(value).tobytes())
    return found


def map_images(path: Path, parts: Mapping[str, Sequence[_Mapped]]) -> dict[str, list[TrainingImage]]:
    """Return the images that `write_mapped` wrote; their pages are shared with every process that maps the file."""
    content = np.asarray(np.memmap(path, np.uint8, "c"))  # a page that is written to becomes this process' own

    def array(at: int, shape: tuple[int, ...], kind: str) -> Any:
        dtype = np.dtype(kind)
        size = math.prod(shape) * dtype.itemsize
        return content[at : at + size].view(dtype).reshape(shape)

    return {
        part: [
            TrainingImage(**one.others, **{name: array(*where) for name, where in one.arrays.items()}) for one in images
        ]
        for part, images in parts.items()
    }


def _memory_folder() -> Path:
    """Return where a file is kept in memory, if it has as much room as there is memory, else the temporary folder."""
    folder = Path("/dev/shm")
    with suppress(OSError):
        if os.access(folder, os.W_OK) and psutil.disk_usage(str(folder)).free >= psutil.virtual_memory().available / 2:
            return folder
    return Path(tempfile.gettempdir())


def _remove(path: Path) -> None:
    """Remove a file; Windows keeps one that is mapped until the process ends."""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        atexit.register(lambda: path.unlink(missing_ok=True))


def _prepared(sample: Sample, pixels: NDArray[Any], config: TrainConfig) -> NDArray[np.float32]:
    try:
        return prepare(pixels, config.image)
    except ImageError as error:  # it does not know which file the pixels are of
        raise ImageError(error.what, error.where or sample.image_path, error.remedy) from None


def _planes(sample: Sample, config: TrainConfig, decoded: Decoded, guide: Guide) -> Iterable[TrainingImage]:
    objects = config.predict.objects
    for plane, pixels, annotated in decoded.take(sample)[1]:
        pixels, target = _seen(pixels, annotated, config)
        target = guide.completed(pixels, target, objects)
        found = known_beads(target, objects, guide.seeds(pixels, target, objects))
        told = np.ones(target.foreground.shape, bool) if target.ignore is None else ~target.ignore
        counted = told if target.unsure is None else told & ~target.unsure
        certain = told if found.certain is None else told & found.certain
        with_centre = "centre" in config.network.heads
        yield TrainingImage(
            name=f"{sample.name}/{plane}" if plane else sample.name,
            field=sample.field,
            image=_prepared(sample, pixels, config),
            foreground=target.foreground.astype(np.uint8),
            beads=found.centres,
            counted=counted.astype(np.uint8),
            spots=np.flatnonzero(target.foreground & counted).astype(np.uint32),
            centre=centre_map(found.labels, config.centre.target, objects, _peaks(target, found))
            if with_centre
            else None,
            pixels=PixelStats.of(pixels, config.image),
            certain=None if np.array_equal(certain, counted) else certain.astype(np.uint8),
            areas=target.areas,
        )


def _peaks(target: Target, found: KnownBeads) -> NDArray[np.float32] | None:
    """Return where the peaks of the centre map lie; at the centroids of the labels where that is None."""
    return None if found.certain is None and target.points is None else found.centres


def _seen(pixels: NDArray[np.generic], target: Target, config: TrainConfig) -> tuple[NDArray[np.generic], Target]:
    """Return a plane and its annotation as the network sees them: resampled where beads have a size for it."""
    known, diameter = config.image.bead_px, config.predict.size.diameter
    if known is None or diameter is None:
        return pixels, target
    small = resized(pixels, known / diameter)
    rows, columns = (
        ((np.arange(now) + 0.5) * before / now).astype(np.int64)
        for now, before in zip(small.shape[-2:], pixels.shape[-2:], strict=True)
    )
    labels, ignore = (None if part is None else part[rows][:, columns] for part in (target.labels, target.ignore))
    unsure = None if target.unsure is None else target.unsure[rows][:, columns]
    factor = np.array(small.shape[-2:]) / pixels.shape[-2:]
    points = None if target.points is None else np.asarray((target.points + 0.5) * factor - 0.5, np.float32)
    foreground = target.foreground[rows][:, columns]
    return small, Target(foreground, labels, ignore, points=points, areas=target.areas, unsure=unsure)
