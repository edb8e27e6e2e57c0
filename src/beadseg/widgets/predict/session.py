"""One predicted image in the viewer: its maps, its candidates for beads, and what is chosen among them. Knows no Qt.

A layer becomes an image file, which the batch engine predicts in a process of its own.
"""

from __future__ import annotations

import atexit
import itertools
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from beadseg import files
from beadseg.annotation.corrections import Correction, key_of, without_gaps
from beadseg.annotation.review.autosave import abandoned
from beadseg.annotation.review.steps import who
from beadseg.data.documents import read_table
from beadseg.data.image_io import LazyImage, open_image
from beadseg.data.raw import micrometres
from beadseg.data.scan import sha256_of, stem_of
from beadseg.data.tiff import resolution_of
from beadseg.errors import BeadsegError, InputError, RunError
from beadseg.events import OnEvent, StopFlag, ignore, progress, track
from beadseg.files import write_atomically
from beadseg.model.inputs import luminance
from beadseg.predict.counts import corrected_cells, count_row
from beadseg.predict.prediction import Maps, Prediction, StoredMaps, map_path, read_maps, same_candidates
from beadseg.runtime.process import run_command
from beadseg.widgets.common import temporary_folder
from beadseg.widgets.layers import finest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from tempfile import TemporaryDirectory
    from typing import Literal

    import pandas as pd
    from napari.layers import Image
    from numpy.typing import NDArray

    from beadseg.config.predict import ObjectConfig
    from beadseg.measure.appearance import ImageSample
    from beadseg.predict.instances import Separation
    from beadseg.widgets.predict.result_tables import Region

SAMPLED = 3
"""Every so many-th row and column tells whether beads are dark or bright."""
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
        The plane's row of ``counts.csv``, with `CORRECTED_COLUMNS` where a person corrected it.
    """

    plane: int
    beads: pd.DataFrame
    counts: tuple[int, ...]
    row: dict[str, Any]
    seen_pixels: float = 0.0
    """Pixels of the plane as the network saw it."""
    automatic: pd.DataFrame | None = None
    """The bead table before a person corrected it."""


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
        self.corrections: dict[int, Correction] = {}
        """What a person corrects, by number of the plane; made by `correction`."""
        self.unsaved: Path | None = None
        """Where corrections that nobody saved yet are kept; None: nowhere, so that nothing can be corrected."""
        self.recovered = 0
        """Corrections among them that an earlier session left."""
        self.saved: object = None
        """The `state` that was saved last."""
        self._keys: list[str] = []
        self._labels: dict[int, NDArray[np.uint32]] = {}
        self._automatic: dict[int, tuple[dict[str, Any], pd.DataFrame]] = {}
        self._polarity: dict[int, Literal["dark", "bright"]] = {}
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
        self._labels, self._automatic = {}, {}
        for correction in self.corrections.values():
            correction.close()
        self.corrections = {}

    def can_choose(self, objects: ObjectConfig) -> bool:
        """Tell whether `objects` can be chosen among the candidates that there are."""
        return bool(self.separations) and same_candidates(objects, self.objects)

    # --- Corrections --------------------------------------------------------------------------------------------------

    def keep_unsaved_in(self, folder: Path, stop: StopFlag | None = None) -> int:
        """Keep corrections in a folder from now on; take over those of an earlier session and return how many."""
        self.unsaved = folder
        for plane, (_, pixels) in zip(self.planes, self.image.planes(), strict=True):
            if stop is not None:
                stop.check()
            self._keys.append(key_of(self.name, [pixels], plane))
        left, found = abandoned(folder, who()), 0
        for number, key in enumerate(self._keys):
            if key in left and (unsaved := self.correction(number).recover()) is not None:
                found += unsaved.strokes
        return found

    def correction(self, plane: int) -> Correction:
        """Return what a person corrects of a plane. Raises `InputError` where it could not be kept."""
        if self.unsaved is None:
            raise InputError("Corrections cannot be kept here.", remedy="Count the image again.")
        if plane not in self.corrections:
            self.corrections[plane] = Correction(self.labels(plane), self.unsaved, self._keys[plane], who())
        return self.corrections[plane]

    @property
    def corrected(self) -> dict[int, Correction]:
        """Corrections that change something, by number of the plane."""
        return {number: each for number, each in self.corrections.items() if each.changed}

    @property
    def state(self) -> object:
        """What tells whether anything was chosen or corrected since."""
        return self.objects, self.image.pixel_size_um, {number: each.when for number, each in self.corrected.items()}

    def corrected_planes(self) -> dict[str, tuple[NDArray[np.uint32], pd.DataFrame, dict[str, Any]]]:
        """Return labels, bead table and cells of every corrected plane by name, as `write_corrections` takes them."""
        found = {}
        for number in self.corrected:
            measured = self.measure(number)
            cells = {name: value for name, value in measured.row.items() if name.startswith("corrected")}
            found[self.planes[number]] = self.labels(number).copy(), measured.beads, cells
        return found

    # --- Labels and counts --------------------------------------------------------------------------------------------

    def labels(self, plane: int) -> NDArray[np.uint32]:
        """Return the labels (Y, X) of a plane: as a person corrected them, else as chosen."""
        correction = self.corrections.get(plane)
        return self._chosen(plane) if correction is None else correction.labels

    def _chosen(self, plane: int) -> NDArray[np.uint32]:
        labels = self._labels.get(plane)
        if labels is None:
            labels = self.separations[plane].chosen(self.objects)
            kept = list(self._labels.items())[1 - REMEMBERED :]
            self._labels = dict([*kept, (plane, labels)])
        return labels

    def count(self, plane: int) -> int | None:
        """Return the number of beads of a plane as corrected or chosen; None where only measured beads tell it."""
        if not self.objects.all_count:
            return None
        if plane in self.corrections:
            return self.corrections[plane].count
        where = self.separations[plane].pixels  # there are no beads elsewhere
        return int(self.labels(plane).reshape(-1)[where].max(initial=0))

    def measure(self, plane: int, stop: StopFlag | None = None) -> Measured:
        """Measure the beads of a plane, and count those of every plane."""
        objects, separations = self.objects, self.separations
        prediction = self._prediction(plane, objects, separations[plane])
        if plane not in self._automatic:
            row = count_row(self.name, self.planes[plane], self.image, prediction, self.stored)
            self._automatic = {plane: (row, prediction.beads)}
        row, automatic = self._automatic[plane]
        beads, row = self._measured(plane, prediction, row)
        counts = []
        for number, separation in enumerate(separations):
            if stop is not None:
                stop.check()
            if number == plane:
                counts.append(int(beads["counted"].sum()))
            elif objects.all_count:
                correction = self.corrections.get(number)
                chosen = correction.count if correction else int(separation.chosen(objects).max(initial=0))
                counts.append(chosen)
            else:
                other = self._prediction(number, objects, separation)
                counts.append(int(self._measured(number, other, {})[0]["counted"].sum()))
        return Measured(plane, beads, tuple(counts), row, prediction.seen_pixels, automatic)

    def _measured(self, plane: int, prediction: Prediction, row: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Return the bead table of a plane as a person corrected it, else as predicted, and its row with that count."""
        correction = self.corrections.get(plane)
        if correction is None or not correction.changed:
            return (self._automatic[plane][1] if plane in self._automatic else prediction.beads), row
        labels, ids = without_gaps(correction.labels.copy())
        beads = replace(prediction, labels=labels).beads
        beads["id"] = ids
        count = int(beads["counted"].sum())
        cells = corrected_cells(count, correction.by, correction.when, self.image.size, self.image.pixel_size_um)
        return beads, row | cells

    def brightness(self, plane: int) -> NDArray[Any]:
        """Return the brightness (Y, X) of a plane; at once where it was looked at last."""
        looked_at = self._looked_at
        if looked_at is not None and looked_at[0] == plane:
            return looked_at[1]
        _, pixels = next(itertools.islice(self.image.planes(), plane, None))
        return luminance(pixels)

    def polarity(self, plane: int) -> Literal["dark", "bright"]:
        """Return what beads of a plane are against what lies around them."""
        if plane not in self._polarity:
            grey = self.brightness(plane)[::SAMPLED, ::SAMPLED]
            inside = self._chosen(plane)[::SAMPLED, ::SAMPLED] > 0
            middle = float(np.median(grey))
            if inside.any() and not inside.all():
                brighter = float(np.median(grey[inside])) > float(np.median(grey[~inside]))
            else:
                brighter = float(grey.max()) - middle > middle - float(grey.min())
            self._polarity[plane] = "bright" if brighter else "dark"
        return self._polarity[plane]

    def region_row(self, region: Region, measured: Measured) -> dict[str, Any]:
        """Return count, area and density of the beads of a measured plane in a region; `""` where it cannot be told.

        The interval is that of the calibration for an image of the region's area, where the whole image has one.
        """
        plane, size = self.plane_index(measured.plane), self.image.pixel_size_um
        automatic = measured.beads if measured.automatic is None else measured.automatic
        count, area = _inside(region, plane, automatic), region.area(plane, self.image.size)
        calibration = self.stored.calibration if measured.row["beads_low"] != "" else None
        height, width = self.image.size
        seen = round(measured.seen_pixels * area / (height * width))
        low, high = calibration.interval(count, seen) if calibration is not None and seen else ("", "")
        found = {
            "image": self.name, "plane": self.planes[measured.plane], "region": region.name, "shape": region.shape,
            "beads": count, "beads_low": low, "beads_high": high, "area_px": area,
            "area_mm2": "" if size is None else area * size**2 / 1e6,
            **_region_densities("beads", count, area, size),
            "corrected": "", "corrected_per_mpx": "", "corrected_per_mm2": "",
        }  # fmt: skip
        if "corrected" in measured.row:
            corrected = _inside(region, plane, measured.beads)
            found |= {"corrected": corrected, **_region_densities("corrected", corrected, area, size)}
        return found

    def plane_index(self, number: int) -> tuple[int, ...]:
        """Return the place in the stack of a plane's number."""
        if not self.image.stack_shape:
            return ()
        return tuple(int(place) for place in np.unravel_index(number, self.image.stack_shape))

    def set_pixel_size(self, pixel_size_um: float) -> None:
        """Take another pixel size, such as one that was given to the layer meanwhile."""
        self.image = replace(self.image, pixel_size_um=pixel_size_um)
        self._automatic = {}

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
        for correction in self.corrections.values():
            correction.close()
        self.maps, self.separations, self._labels, self._looked_at = [], [], {}, None
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


def region_rows(session: Session, region: Region, measured: Measured) -> list[dict[str, Any]]:
    """Return the row of ``regions.csv`` of a measured plane: of all shapes together, then of each where they are more.

    Shapes of other planes are left out.
    """
    plane = session.plane_index(measured.plane)
    return [session.region_row(part, measured) for part in (region, *region.parts) if part.on(plane)]


def image_row(session: Session, name: str, measured: Measured) -> dict[str, Any]:
    """Return the row of an image in the table of images: its count, and how sure and how dense it is.

    Interval, density and flags are those of a single image; of a stack there are several.
    """
    row, single = measured.row, len(session.planes) == 1
    corrected = row.get("corrected", "") != ""
    total = sum(measured.counts)
    unit, per = ("mm²", "per_mm2") if row["beads_per_mm2"] != "" else ("megapixel", "per_mpx")
    density = row[f"{'corrected' if corrected else 'beads'}_{per}"] if single else ""
    sure = single and not corrected and row["beads_low"] != ""
    return {
        "image": name, "beads": total, "automatic": row["beads"] if single and corrected else "",
        "95 %": f"{row['beads_low']:,.0f} to {row['beads_high']:,.0f}" if sure else "",
        "density": "" if density == "" else f"{density:,.4g} / {unit}", "flags": row["flags"] if single else "",
        "saved": "yes" if session.saved == session.state else "",
    }  # fmt: skip


def _inside(region: Region, plane: tuple[int, ...], beads: pd.DataFrame) -> int:
    """Return how many beads of a table that count lie in a region."""
    inside = region.inside(plane, beads[["y", "x"]].to_numpy(float))
    return int((inside & beads["counted"].to_numpy(bool)).sum() if "counted" in beads else inside.sum())


def _region_densities(name: str, count: int, area: int, size: float | None) -> dict[str, Any]:
    return {
        f"{name}_per_mpx": round(count / area * 1e6, 2) if area else "",
        f"{name}_per_mm2": round(count / (area * size**2) * 1e6, 3) if area and size is not None else "",
    }


def predict_layer(
    image: LayerImage, run: Path, options: Sequence[str], unsaved: Path, on_event: OnEvent, stop: StopFlag
) -> Session:
    """Predict a layer with a run; `options` are those of `beadseg-batch predict`.

    Corrections are kept in the folder `unsaved`; those that are left there of this image are taken over.

    Raises
    ------
    RunError
        There is no model in the run, or it does not fit.
    ImageError
        The image cannot be predicted.
    MachineError
        The process failed, or the disk is full.
    Cancelled
        `stop` was set; nothing is left.
    """
    folder = temporary_folder()
    try:
        on_event(progress("reading the image", 0, 1))
        path = image.write(Path(folder.name), stop)
        out = Path(folder.name) / "prediction"
        words = ["predict", str(run), str(path), "--out", str(out), "--maps", "--no-overlays", "--no-report", *options]
        run_command(words, Path(folder.name) / "events", on_event, stop, at_once=True)
        session = Session(folder, path, StoredMaps(out, _name(out)), image)
        if image.pixel_size_um is not None:
            session.set_pixel_size(image.pixel_size_um)
        session.choose(session.objects, session.separate(session.objects, on_event, stop))
        session.recovered = session.keep_unsaved_in(unsaved, stop)
    except BaseException:
        folder.cleanup()
        raise
    return session


def _name(out: Path) -> str:
    """Return what the image is called in a prediction folder; raises `RunError` with the reason where it failed."""
    counts = read_table(out / files.COUNTS, "image")
    if counts:
        return counts[0]["image"]
    failures = read_table(out / files.FAILURES, "error")
    raise RunError(failures[0]["error"] if failures else "Nothing was predicted.")


@dataclass(frozen=True, eq=False)
class LayerImage:
    """What a prediction needs of a layer, taken in the viewer's thread.

    Attributes
    ----------
    name : str
        A name for files.
    data : array
        The finest pixels; maybe lazy: (…, Y, X), or (…, Y, X, 3 or 4) of a colour image.
    rgb : bool
        The last axis is colour.
    stack_axes : str
        Letters of the axes before y and x.
    pixel_size_um : float or None
        Of the layer as it is shown: from its scale and units. None where these tell nothing; a file may then.
    path : pathlib.Path or None
        The file that it was opened from.
    """

    name: str
    data: Any
    rgb: bool
    stack_axes: str
    pixel_size_um: float | None
    path: Path | None

    @classmethod
    def of(cls, layer: Image, axis_labels: tuple[str, ...] = (), first_axis: str = "") -> LayerImage:
        """Look at a layer; `axis_labels` are the viewer's.

        `first_axis` says what a single axis before y and x is: T, Z, or C and the number of the channel to predict; as
        it is labelled when not given.

        Raises
        ------
        InputError
            It has no y and x, or more axes before them than time and depth, or its pixels are not numbers.
        """
        data = finest(layer)
        channel = int(first_axis[1:]) if first_axis.startswith("C") else None
        if channel is not None:
            data = data[channel]
        shape = data.shape[:-1] if layer.rgb else data.shape
        if len(shape) < 2 or 0 in shape:
            raise InputError(f"The layer has the shape {tuple(data.shape)}.", layer.name, "Choose an image of y and x.")
        if len(shape) > 4:
            text = f"The layer has {len(shape) - 2} axes before y and x, time and depth are two."
            raise InputError(text, layer.name, "Split its channels into layers (right click on the layer).")
        if np.dtype(data.dtype).kind not in "uifb":
            raise InputError(f"The pixels are {data.dtype}.", layer.name, "Choose an image of whole or real numbers.")
        source = layer.source.path
        path = Path(source) if source and Path(source).exists() else None
        name = stem_of(path) if path is not None else re.sub(r"[^\w.-]+", "_", layer.name).strip("._") or "image"
        if channel is not None:
            name = f"{name}_c{channel}"
        axes = (
            first_axis
            if first_axis in ("T", "Z") and len(shape) == 3
            else _stack_axes(layer, len(shape) - 2, axis_labels)
        )
        return cls(name, data, bool(layer.rgb), axes, pixel_size_of(layer), None if channel is not None else path)

    def write(self, folder: Path, stop: StopFlag) -> Path:
        """Return the file to predict: the one that the layer was opened from where it holds the same, else a new one.

        Raises
        ------
        Cancelled
            `stop` was set.
        MachineError
            The disk is full.
        """
        if self.path is not None and self._same(self.path, stop):
            return self.path
        target = folder / f"{self.name}.tif"
        write_atomically(target, lambda file: self._write(file, stop))
        return target

    def planes(self, stop: StopFlag) -> Iterator[np.ndarray]:
        """Yield every plane as the layer has it, reading one at a time."""
        stack = self.data.shape[: len(self.stack_axes)]
        for index in np.ndindex(*stack):
            stop.check()
            plane = np.asarray(self.data[index])
            yield plane.astype(np.uint8) * np.uint8(255) if plane.dtype.kind == "b" else plane

    def _same(self, path: Path, stop: StopFlag) -> bool:
        """Tell whether a file is one image with just these pixels."""
        try:
            image = open_image(path)
            if not self._fits(image) or not self._same_size(image.pixel_size_um):
                return False
            pairs = zip(image.planes(), self.planes(stop), strict=True)
            return all(np.array_equal(_channels_last(pixels), shown) for (_, pixels), shown in pairs)
        except BeadsegError:
            stop.check()
            return False

    def _same_size(self, other: float | None) -> bool:
        """Tell whether a file says no other pixel size than the layer, which is the one that counts."""
        own = self.pixel_size_um
        return own is None or (other is not None and bool(np.isclose(own, other, rtol=1e-3)))

    def _fits(self, image: LazyImage) -> bool:
        shape = tuple(int(length) for length in self.data.shape)
        own = (*image.stack_shape, *image.size, *((image.channels,) if image.channels > 1 else ()))
        return own == shape and (image.channels > 1) == self.rgb and image.dtype == np.dtype(self.data.dtype)

    def _write(self, file: Path, stop: StopFlag) -> None:
        dtype = np.uint8 if np.dtype(self.data.dtype).kind == "b" else self.data.dtype
        colour: dict[str, Any] = {"photometric": "rgb"} if self.rgb else {"photometric": "minisblack"}
        if self.rgb and self.data.shape[-1] == 4:
            colour["extrasamples"] = ["unassalpha"]
        axes = f"{self.stack_axes}YX{'S' if self.rgb else ''}"
        tifffile.imwrite(
            file, self.planes(stop), shape=self.data.shape, dtype=dtype, metadata={"axes": axes},
            bigtiff=self.data.size * np.dtype(dtype).itemsize > 2**32 - 2**25, **colour,
            **resolution_of(self.pixel_size_um),
        )  # fmt: skip


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    """Return (C, Y, X) as (Y, X), or (Y, X, C) of several channels."""
    return pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)


def first_axis_of(layer: Image, axis_labels: tuple[str, ...] = ()) -> str:
    """Return what the single axis before y and x is labelled as, T, Z or C; empty where nothing tells."""
    if finest(layer).ndim - int(layer.rgb) != 3:
        return ""
    for names in (getattr(layer, "axis_labels", ()), axis_labels):
        label = str(names[-3]).strip().lower() if len(names) > 2 else ""
        if label[:1] in ("z", "t", "c"):
            return label[:1].upper()
    return ""


def _stack_axes(layer: Image, count: int, axis_labels: tuple[str, ...]) -> str:
    """Return T or Z for one axis before y and x, as it is labelled (else T); TZ for two."""
    if count != 1:
        return "TZ"[:count]
    return "Z" if first_axis_of(layer, axis_labels) == "Z" else "T"


def pixel_size_of(layer: Image) -> float | None:
    """Return the side of a pixel, µm, where the layer's scale and units tell it."""
    units = getattr(layer, "units", None) or ()
    if len(units) < 2:
        return None
    scale = np.asarray(layer.scale, float) * np.linalg.norm(np.asarray(layer.affine.linear_matrix, float), axis=0)
    sizes = [float(scale[at]) * (micrometres(units[at]) or np.nan) for at in (-2, -1)]
    return sizes[0] if np.isfinite(sizes[0]) and np.isclose(sizes[0], sizes[1], rtol=1e-3) else None
