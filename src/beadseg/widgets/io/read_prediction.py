"""A prediction folder as layers: images where they still are, labels over them, a point at every bead."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg import files
from beadseg.data.documents import REMEDY, inner, is_plain_name, read_document, read_table
from beadseg.data.fields import text_table
from beadseg.data.lazy import open_image
from beadseg.data.predictions import read_unmerged, with_unmerged
from beadseg.errors import RunError
from beadseg.widgets.io.layer_data import LayerData, Picture, grouped, named, stacked, title
from beadseg.widgets.io.pictures import image_picture, is_rgb, labels_picture, size_of
from beadseg.widgets.io.read_beads import coordinates, points_look
from beadseg.widgets.io.read_beads import read_table as read_beads

if TYPE_CHECKING:
    from collections.abc import Iterator


def read_prediction(folder: Path) -> list[LayerData]:
    """Return the layers of a prediction folder; images of one size, with their labels and beads, are one stack.

    An image that is not where it was predicted from is shown by its overlay, if there is one.

    Raises
    ------
    RunError
        The folder's documents are damaged, or it holds no labels.
    """
    results = _Folder(folder)
    pictures = list(results.pictures())
    if not pictures:
        raise RunError("Holds no labels of an image.", folder, "Predict again.")
    layers: list[LayerData] = []
    for group in grouped(pictures):
        metadata = named(group, folder)
        if is_rgb(group[0]) or group[0].dtype != np.uint32:
            shown = {"name": title(group, "image"), "rgb": is_rgb(group[0]), "metadata": metadata}
            layers.append((stacked(group), shown, "image"))
        labels = [labels_picture(p.name, results.file(files.LABELS, f"{p.name}.tif"), size_of(p)) for p in group]
        layers.append(
            (stacked(labels), {"name": title(group, "beads"), "opacity": 0.6, "metadata": metadata}, "labels")
        )
        layers.append(_points(results, group, metadata))
    return layers


class _Folder:
    """Where the results of every image are, also of those that a killed process had no time to move and to list."""

    def __init__(self, root: Path) -> None:
        document = read_document(root / files.PREDICTION)
        self.root, self._ways = root, inner(document, "relative")
        unmerged = {entry["image"]: entry for entry in read_unmerged(root)}
        self._stages = {name: root / Path(str(entry.get("stage") or ".")).name for name, entry in unmerged.items()}
        self._sources = inner(document, "images") | {n: entry.get("source", "") for n, entry in unmerged.items()}
        columns = ("image", "plane", "beads")
        if unmerged:
            counts = with_unmerged(text_table(root / files.COUNTS, columns, REMEDY), root)
            self._images = list(dict.fromkeys(counts["image"]))
        else:
            self._images = list(dict.fromkeys(row["image"] for row in read_table(root / files.COUNTS, *columns)))

    def file(self, kind: str, name: str) -> Path:
        """Return a result of an image, such as ``labels`` and ``a.tif``."""
        image = name.rpartition(".")[0]
        moving = self._stages.get(image, self.root) / kind / name
        return moving if moving.is_file() else self.root / kind / name

    def pictures(self) -> Iterator[Picture]:
        """Yield what there is to show below the labels of each image that was predicted."""
        for name in self._images:
            if is_plain_name(name) and self.file(files.LABELS, f"{name}.tif").is_file():
                way = str(self._ways.get(name, ""))
                yield _below(self, name, files.find_again(str(self._sources.get(name, "")), way, self.root))


def _below(folder: _Folder, name: str, source: Path) -> Picture:
    """Return the image where it is still the one that was predicted, else its overlay, else its labels."""
    labels = folder.file(files.LABELS, f"{name}.tif")
    shape = open_image(labels).shape
    for path in (source, folder.file(files.OVERLAYS, f"{name}.png")):
        if path.name and path.exists():
            picture = image_picture(name, path)
            if size_of(picture) == shape:
                return picture
    return labels_picture(name, labels, shape)


def _points(folder: _Folder, group: list[Picture], metadata: dict[str, Any]) -> LayerData:
    import pandas as pd

    tables = [read_beads(folder.file(files.BEADS, f"{picture.name}.csv")) for picture in group]
    axes = len(size_of(group[0]))
    places = [coordinates(table) if len(table) else np.zeros((0, axes)) for table in tables]
    if len(group) > 1:
        places = [np.column_stack([np.full(len(part), at), part]) for at, part in enumerate(places)]
        tables = [table.assign(image=picture.name) for picture, table in zip(group, tables, strict=True)]
    data, table = np.concatenate(places), pd.concat([t for t in tables if len(t)] or tables[:1], ignore_index=True)
    return data, {**points_look(table, title(group, "centres")), "ndim": data.shape[1], "metadata": metadata}, "points"
