"""One predicted image in the viewer: its maps, its candidates for beads, and what is chosen among them. Knows no Qt."""

from __future__ import annotations

import atexit
import itertools
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg.data.hashes import sha256_of
from beadseg.data.lazy import LazyImage, open_image
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.model.inputs import luminance
from beadseg.predict.counts import count_row
from beadseg.predict.map_files import map_path, read_maps
from beadseg.predict.prediction import Maps, Prediction, same_candidates

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    import pandas as pd
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig
    from beadseg.measure.appearance import ImageSample
    from beadseg.predict.separation import Separation
    from beadseg.predict.stored import StoredMaps
    from beadseg.widgets.predict.layer_image import LayerImage
    from beadseg.widgets.predict.region import Region

REMEMBERED = 4
"""So many planes' labels are kept at a time."""


@dataclass(frozen=True, eq=False)
class Measured:
    """What takes longer than a slider may wait for.

    Attributes
    ----------
    plane : int
        Number of the plane whose beads were measured.
    beads : pandas.DataFrame
        Its bead table, as the batch engine writes it.
    counts : tuple of int
        Beads of every plane.
    row : dict
        The plane's row of ``counts.csv``.
    """

    plane: int
    beads: pd.DataFrame
    counts: tuple[int, ...]
    row: dict[str, Any]
    seen_pixels: float = 0.0
    """Pixels of the plane as the network saw it."""


class Session:
    """A predicted image.

    Parameters
    ----------
    folder : TemporaryDirectory
        Holds the prediction folder with the maps; removed by `close`.
    path : pathlib.Path
        The image that was predicted.
    stored : StoredMaps
        Its maps.
    layer : LayerImage, optional
        The layer that it was.
    """

    def __init__(
        self, folder: TemporaryDirectory[str], path: Path, stored: StoredMaps, layer: LayerImage | None = None
    ) -> None:
        self._folder, self.path, self.stored, self._layer = folder, path, stored, layer
        self.image: LazyImage = open_image(path)
        self.maps: list[Maps] = [read_maps(map_path(stored.folder, stored.name, plane)) for plane in self.image.names]
        self.objects: ObjectConfig = stored.options.objects
        self.separations: list[Separation] = []
        self._labels: dict[int, NDArray[np.uint32]] = {}
        self._looked_at: tuple[int, NDArray[Any], ImageSample | None] | None = None

    @property
    def name(self) -> str:
        """What the image is called."""
        return self.stored.name

    @property
    def source(self) -> str | None:
        """What the image is known by where it is a layer that no file holds; None where `path` is its file."""
        if Path(self._folder.name).resolve() not in self.path.resolve().parents:
            return None
        return f"layer {self.name}, SHA-256 {sha256_of(self.path)}"

    @property
    def planes(self) -> list[str]:
        """Names of its planes; ``[""]`` of a single image."""
        return self.image.names

    @property
    def predicted(self) -> ObjectConfig:
        """What an object was when the image was predicted."""
        return self.stored.options.objects

    def separate(
        self, objects: ObjectConfig, on_event: OnEvent = ignore, stop: StopFlag | None = None
    ) -> list[Separation]:
        """Find the candidates for beads of every plane; changes nothing, so that it can run in a thread."""
        maps = track(self.maps, "separating", len(self.maps), on_event, stop)
        return [plane.separated(objects) for plane in maps]

    def choose(self, objects: ObjectConfig, separations: list[Separation] | None = None) -> None:
        """Take other objects among the candidates, or among new ones."""
        if separations is not None:
            self.separations = separations
        self.objects = objects
        self._labels = {}

    def can_choose(self, objects: ObjectConfig) -> bool:
        """Tell whether `objects` can be chosen among the candidates that there are."""
        return bool(self.separations) and same_candidates(objects, self.objects)

    def labels(self, plane: int) -> NDArray[np.uint32]:
        """Return the labels (Y, X) of a plane as chosen."""
        labels = self._labels.get(plane)
        if labels is None:
            labels = self.separations[plane].chosen(self.objects)
            kept = list(self._labels.items())[1 - REMEMBERED :]
            self._labels = dict([*kept, (plane, labels)])
        return labels

    def count(self, plane: int) -> int | None:
        """Return the number of beads of a plane as chosen; None where beads must be measured to tell which count."""
        if not _all_count(self.objects):
            return None
        where = self.separations[plane].pixels  # elsewhere is no bead
        return int(self.labels(plane).reshape(-1)[where].max(initial=0))

    def measure(self, plane: int, stop: StopFlag | None = None) -> Measured:
        """Measure the beads of a plane, and count those of every plane."""
        objects, separations = self.objects, self.separations
        prediction = self._prediction(plane, objects, separations[plane])
        counts = []
        for number, separation in enumerate(separations):
            if stop is not None:
                stop.check()
            if number == plane:
                counts.append(prediction.count)
            elif _all_count(objects):
                counts.append(int(separation.chosen(objects).max(initial=0)))
            else:
                counts.append(self._prediction(number, objects, separation).count)
        row = count_row(self.name, self.planes[plane], self.image, prediction, self.stored)
        return Measured(plane, prediction.beads, tuple(counts), row, prediction.seen_pixels)

    def region_row(self, region: Region, measured: Measured) -> dict[str, Any]:
        """Return count, area and density of the beads of a measured plane in a region; `""` where it cannot be told.

        The interval is that of the calibration for an image of the region's area, where the whole image has one.
        """
        plane = self.plane_index(measured.plane)
        beads, size = measured.beads, self.image.pixel_size_um
        inside = region.inside(plane, beads[["y", "x"]].to_numpy(float))
        if "counted" in beads:
            inside &= beads["counted"].to_numpy(bool)
        count, area = int(inside.sum()), region.area(plane, self.image.size)
        calibration = self.stored.calibration if measured.row["beads_low"] != "" else None
        height, width = self.image.size
        seen = round(measured.seen_pixels * area / (height * width))
        low, high = calibration.interval(count, seen) if calibration is not None and seen else ("", "")
        return {
            "image": self.name, "plane": self.planes[measured.plane], "region": region.name, "beads": count,
            "beads_low": low, "beads_high": high, "area_px": area,
            "area_mm2": "" if size is None else area * size**2 / 1e6,
            "beads_per_mpx": round(count / area * 1e6, 2) if area else "",
            "beads_per_mm2": round(count / (area * size**2) * 1e6, 3) if area and size is not None else "",
        }  # fmt: skip

    def plane_index(self, number: int) -> tuple[int, ...]:
        """Return the place in the stack of a plane's number."""
        if not self.image.stack_shape:
            return ()
        return tuple(int(place) for place in np.unravel_index(number, self.image.stack_shape))

    def set_pixel_size(self, pixel_size_um: float) -> None:
        """Take another pixel size, such as one that was given to the layer meanwhile."""
        self.image = replace(self.image, pixel_size_um=pixel_size_um)

    def file(self, folder: Path, stop: StopFlag) -> Path:
        """Return the image as a file that tells the pixel size of now: `path` where that does, else a new one.

        The new one is in `folder`.
        """
        size = self.image.pixel_size_um
        if self._layer is None or size is None or open_image(self.path).pixel_size_um == size:
            return self.path
        return replace(self._layer, pixel_size_um=size).write(folder, stop)

    def _prediction(self, plane: int, objects: ObjectConfig, separation: Separation) -> Prediction:
        brightness, sample = self._pixels(plane)
        return Prediction.of(self.maps[plane], brightness, self.image.pixel_size_um, objects, separation, sample)

    def close(self) -> None:
        """Remove what was written for it.

        Maps are let go of first: Windows does not remove a file that is mapped. What a thread still measures is removed
        when the viewer ends.
        """
        self.maps, self.separations, self._labels, self._intensity = [], [], {}, None
        try:
            self._folder.cleanup()
        except OSError:
            atexit.register(shutil.rmtree, self._folder.name, ignore_errors=True)

    def _pixels(self, plane: int) -> tuple[NDArray[Any], ImageSample | None]:
        """Return luminance (Y, X) and sample of a plane; those of the last one are remembered."""
        if self._looked_at is None or self._looked_at[0] != plane:
            _, pixels = next(itertools.islice(self.image.planes(), plane, None))
            self._looked_at = plane, luminance(pixels), self.stored.sample(pixels, self.maps[plane].scale)
        return self._looked_at[1:]


def _all_count(objects: ObjectConfig) -> bool:
    """Tell whether every bead counts, wherever it lies and however sharp it is."""
    return objects.border == "count" and objects.min_focus is None
