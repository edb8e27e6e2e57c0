"""Which patches a step sees. Depends on the seed, the epoch and the step only, so that a resumed run repeats itself.

Training images are held in memory: prepared once, cut into patches many times.
"""

from __future__ import annotations

import atexit
import math
import os
import secrets
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import psutil
import torch
from torch import Tensor

from beadseg import files
from beadseg.config.train import GaussianTargetConfig, ImageEpochConfig, PatchEpochConfig
from beadseg.data.dataset import Target
from beadseg.data.simulate.look_config import LookConfig
from beadseg.data.simulate.looks import draw_look
from beadseg.errors import BeadsegError, ImageError, MachineError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.files import machine_error
from beadseg.measure.appearance import PixelStats
from beadseg.model.augment import Augmenter
from beadseg.model.inputs import chosen_channel, luminance, prepare, resized
from beadseg.predict.instances import needed_diameter
from beadseg.text import plural
from beadseg.training.targets import Completed, Guide, KnownBeads, centre_map, known_beads, look_target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from beadseg.config import TrainConfig
    from beadseg.data.dataset import Decoded, Sample
    from beadseg.data.simulate.look_config import Family
    from beadseg.training.distributed import Team

SMALLEST_LOOK = 128
"""Simulated images are at least so large, px; smaller patches are cut out of them."""

ALIGNED = 64
"""Arrays in a file start at multiples of this many bytes."""

MEMORY_SHARE = 0.8
"""Training images may take up this share of the free memory."""


@dataclass(frozen=True)
class Batch:
    """One batch of patches, or one process' share of it.

    Attributes
    ----------
    image : (N, C, Y, X) float32
    target : (N, K, Y, X) float32
        One map per head: 1 on beads, then the centre map where there is one.
    counted : (N, 1 or 2, Y, X) float32
        0 where the loss must not look; of two, the second is for the centre map.
    places : (N,) int64
        Where in the whole batch these patches stand.
    size : int
        Patches of the whole batch.
    """

    image: Tensor
    target: Tensor
    counted: Tensor
    places: Tensor
    size: int

    def parts(self, count: int) -> list[Batch]:
        """Return the batch in `count` nearly equal parts of the whole one, each with what is here of it."""
        if count == 1:
            return [self]
        parts = []
        for places in torch.arange(self.size).chunk(count):
            first = int(places[0])
            here = (self.places >= first) & (self.places < first + len(places))
            image, target, counted = self.image[here], self.target[here], self.counted[here]
            parts.append(Batch(image, target, counted, self.places[here] - first, len(places)))
        return parts


@dataclass(frozen=True, eq=False)
class Stack:
    """A patch that is not augmented yet.

    Attributes
    ----------
    pixels : (C + K + W, Y, X) float32
        Image, targets and counted (`Batch.counted`), one over the other.
    channels : int
        C.
    seed : int
        Of its augmentation.
    """

    pixels: NDArray[np.float32]
    channels: int
    seed: int


class Sampler:
    """Draws the batches of a run.

    Patch epochs draw an image, then a place in it; with ``balance=fields`` first a field of view, so that all fields
    weigh the same however many tiles each has. Image epochs take every image once, in random order.

    Of several processes each makes its share of a batch: patch number ``rank``, ``rank + size`` … of those that one
    process would make.
    """

    def __init__(self, images: Sequence[TrainingImage], config: TrainConfig, rank: int = 0, size: int = 1) -> None:
        self.images = images
        self.rank, self.size = rank, size
        self.seed, self._config = config.seed, config
        self.batch = config.batch or 8
        self.epoch = config.epoch
        self._augment, self._by_thread = config.augment, threading.local()
        self._counts = 2 if any(image.certain is not None for image in images) else 1
        by_field: dict[str, list[int]] = {}
        for number, image in enumerate(images):
            by_field.setdefault(image.field, []).append(number)
        self._by_field = [by_field[field] for field in sorted(by_field)]
        if isinstance(self.epoch, PatchEpochConfig) and self.epoch.balance == "images":
            self._by_field = [[i] for i in range(len(images))]

    @property
    def steps(self) -> int:
        """Optimizer steps per epoch."""
        if isinstance(self.epoch, PatchEpochConfig):
            return self.epoch.steps or 100
        return math.ceil(len(self.images) / self.batch)

    def draw(self, epoch: int, step: int, *, pin: bool = False) -> Batch:
        """Return the batch of `step` (from 0) of `epoch` (from 1), or this process' share of it.

        Several threads may draw at once. With `pin` it lies in memory that a GPU reads while the processor goes on.
        """
        rng = np.random.default_rng([self.seed, epoch, step])
        stacks: list[Stack] = []
        if isinstance(self.epoch, ImageEpochConfig):
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.images))
            chosen = order[step * self.batch : (step + 1) * self.batch]
            stacks = [self._whole(self.images[i], self.epoch, rng) for i in chosen]
        else:
            stacks = [self._drawn(self.epoch, rng) for _ in range(self.batch)]
        own = stacks[self.rank :: self.size]
        # An empty share has the shape of a patch, too.
        patches = [self._augmented(stack) for stack in own or stacks[:1]]
        image, target, counted = (torch.stack(parts)[: len(own)] for parts in zip(*patches, strict=True))
        if pin:
            image, target, counted = image.pin_memory(), target.pin_memory(), counted.pin_memory()
        return Batch(image, target, counted, torch.arange(self.rank, len(stacks), self.size), len(stacks))

    def _drawn(self, epoch: PatchEpochConfig, rng: np.random.Generator) -> Stack:
        """Return a patch of an image or, with the share that is asked for, a simulated one."""
        if not epoch.simulated or rng.random() >= epoch.simulated:
            return self._patch(epoch, rng)
        return self._simulated(epoch, int(rng.integers(2**62)), rng)

    def _simulated(self, epoch: PatchEpochConfig, seed: int, rng: np.random.Generator) -> Stack:
        """Return a simulated patch, all of whose centres are known."""
        diameter = needed_diameter(self._config.predict.objects)
        look = draw_look(patch_looks(epoch, diameter), seed)
        plane = np.moveaxis(look.image, -1, 0) if look.image.ndim == 3 else look.image[None]
        if self._config.image.channels.kind == "single":
            plane = chosen_channel(luminance(plane)[None], 0, self._config.image.channels)
        target = look_target(look, diameter, _sigma(self._config)).astype(np.float32)
        heads = len(self.images[0].targets)
        parts = [prepare(plane, self._config.image), target[:heads], *([target[-1:]] * self._counts)]
        side = epoch.size or SMALLEST_LOOK
        pixels = np.ascontiguousarray(np.concatenate(parts)[:, :side, :side])
        return Stack(pixels, len(parts[0]), int(rng.integers(2**31)))

    def _patch(self, epoch: PatchEpochConfig, rng: np.random.Generator) -> Stack:
        members = self._by_field[rng.integers(len(self._by_field))]
        image = self.images[members[rng.integers(len(members))]]
        size = epoch.size or 128
        centre = None
        if rng.random() < epoch.on_bead and len(image.spots):
            centre = divmod(int(image.spots[rng.integers(len(image.spots))]), image.foreground.shape[1])
        return self._stack(crop(image, size, rng, centre, self._counts), image, rng)

    def _whole(self, image: TrainingImage, epoch: ImageEpochConfig, rng: np.random.Generator) -> Stack:
        return self._stack(crop(image, epoch.size, rng, None, self._counts), image, rng)

    def _stack(self, pixels: NDArray[np.float32], image: TrainingImage, rng: np.random.Generator) -> Stack:
        return Stack(pixels, len(image.image), int(rng.integers(2**31)))

    def _augmented(self, stack: Stack) -> tuple[Tensor, Tensor, Tensor]:
        """Return image, targets and counted of a stack of all three, changed together."""
        pixels, channels = stack.pixels, stack.channels
        if not hasattr(self._by_thread, "augment"):  # an `Augmenter` belongs to one thread
            self._by_thread.augment = Augmenter(self._augment)
        image, target = self._by_thread.augment(
            torch.from_numpy(pixels[:channels]), torch.from_numpy(pixels[channels:]), stack.seed
        )
        return image, target[: -self._counts], target[-self._counts :]


def patch_looks(epoch: PatchEpochConfig, diameter: float) -> LookConfig:
    """Return the ranges of simulated patches: beads of about `diameter` px, dark or bright, mostly touching."""
    families: dict[Family, float] = {"dark": 0.7, "ring": 0.15, "opaque": 0.15}
    if epoch.looks == "bright":
        families = {"fluorescence": 0.4, "bright": 0.3, "ring": 0.15, "opaque": 0.15}
    return LookConfig(
        side=max(SMALLEST_LOOK, epoch.size or 0), families=families, empty=0.05,
        diameter=(0.8 * diameter, 1.25 * diameter),
        labelled=(0.5 * diameter, 2.1 * diameter), ignored=(0.35 * diameter, 2.9 * diameter),
        arrangements={"sparse": 0.1, "free": 0.2, "chains": 0.25, "clumps": 0.35, "packed": 0.1},
    )  # fmt: skip


def _sigma(config: TrainConfig) -> float:
    target = config.centre.target
    return target.sigma if isinstance(target, GaussianTargetConfig) else GaussianTargetConfig().sigma


def crop(
    image: TrainingImage, size: int, rng: np.random.Generator, centre: tuple[int, int] | None, counts: int = 1
) -> NDArray[np.float32]:
    """Return image channels, targets and counted as one (C + K + counts, Y, X) stack: a random `size` x `size` crop.

    With `centre` the crop lies around it, within a quarter of its side.
    An image smaller than the crop is padded: mirrored pixels, marked as not counted.
    """
    tops = []
    for axis, length in enumerate(image.foreground.shape):
        room = max(0, length - size)
        if centre is None:
            tops.append(int(rng.integers(room + 1)))
        else:
            jitter = int(rng.integers(-(size // 4), size // 4 + 1))
            tops.append(min(max(centre[axis] - size // 2 + jitter, 0), room))
    window = (slice(tops[0], tops[0] + size), slice(tops[1], tops[1] + size))
    parts: list[NDArray[Any]] = [
        image.image[(slice(None), *window)],
        *(target[window][None] for target in image.targets),
        *(counted[window][None] for counted in (image.counted, image.judged)[:counts]),
    ]
    patch = np.concatenate([part.astype(np.float32) for part in parts])
    missing = [(0, size - length) for length in patch.shape[1:]]
    if not any(after for _, after in missing):
        return patch
    padded = np.pad(patch, [(0, 0), *missing], mode="symmetric")
    padded[-counts:, patch.shape[1] :] = 0
    padded[-counts:, :, patch.shape[2] :] = 0
    return padded


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
