"""Feed a parser with inputs that coverage guides (atheris); what is not an error of beadseg's own is a finding.

    python tests/properties/fuzz.py --list
    python tests/properties/fuzz.py coco -runs=1000000 -timeout=20 -rss_limit_mb=4096     # options of libFuzzer

Every parser begins with a whole file of its kind. Linux.
"""

from __future__ import annotations

import io
import json
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np

warnings.simplefilter("ignore")
with atheris.instrument_imports(include=["beadseg"]):
    from beadseg.annotation.audit.document import Audit
    from beadseg.annotation.review.journal import Journal
    from beadseg.config import PredictConfig, TrainConfig
    from beadseg.config.predict import DensityConfig
    from beadseg.data.annotations.coco import read_coco
    from beadseg.data.annotations.fiji import read_fiji_rois, write_fiji_rois
    from beadseg.data.annotations.regions import LabelledImage, decode_rle, encode_rle, paint, tight
    from beadseg.data.documents import read_journal, read_results, read_sources
    from beadseg.data.image_io import LazyImage, open_image, read_image, read_labels, read_mask
    from beadseg.data.ome_zarr_write import write_ome_zarr
    from beadseg.data.points import read_points
    from beadseg.data.split import Split
    from beadseg.errors import BeadsegError
    from beadseg.measure.evaluation import Evaluation
    from beadseg.model.checkpoint import read_meta
    from beadseg.predict.exchange import take_in
    from beadseg.report.prediction_page import read_counts

SIZE = (20, 24)
SCRATCH = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
LABELS = np.zeros(SIZE, np.uint32)
LABELS[2:6, 3:9], LABELS[8:15, 8:15], LABELS[10:12, 10:12] = 3, 4, 0
IMAGE = LazyImage("YX", SIZE, np.dtype(np.uint8), None, lambda: iter(()))
COCO = {
    "images": [{"id": 1, "file_name": "a.tif", "height": 20, "width": 24}],
    "categories": [{"id": 1, "name": "bead"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]},
        {"id": 2, "image_id": 1, "iscrowd": 1, "segmentation": {"size": [20, 24], "counts": "540"}},
        {"id": 3, "image_id": 1, "category_id": 1, "bbox": [3, 3, 5, 6], "attributes": {"label_id": 7, "rotation": 3}},
    ],
}  # fmt: skip
CIRCLE = {"label": "b", "shape_type": "circle", "points": [[5, 5], [8, 5]], "group_id": None}
LABELME = {"imagePath": "a.png", "imageHeight": 20, "imageWidth": 24, "shapes": [CIRCLE]}


def file(name: str, data: bytes) -> Path:
    path = SCRATCH / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def coco(data: bytes) -> None:
    for entry in read_coco(file("a.json", data)).entries:
        paint(entry.draw(IMAGE)[0], (1, *SIZE), "a")


def fiji(data: bytes) -> None:
    for entry in read_fiji_rois(file("a.zip", data), 5.0).entries:
        paint(entry.draw(IMAGE)[0], (1, *SIZE), "a")


def roi(data: bytes) -> None:
    for entry in read_fiji_rois(file("a.roi", data), 5.0).entries:
        paint(entry.draw(IMAGE)[0], (1, *SIZE), "a")


def rle(data: bytes) -> None:
    decode_rle(data.decode("latin-1"), SIZE)


def tiff(data: bytes) -> None:
    path = file("a.tif", data)
    for read in (read_image, read_labels, read_mask):
        try:
            read(path)
        except BeadsegError:
            continue
    for _ in open_image(path).planes():
        pass


def raster(data: bytes) -> None:
    read_image(file("a.png", data))


def zarr(data: bytes) -> None:
    """The metadata of an OME-Zarr folder."""
    folder = SCRATCH / "a.ome.zarr"
    if not folder.exists():
        write_ome_zarr(folder, LABELS, None)
    (folder / "zarr.json").write_bytes(data)
    read_image(folder)


def points(data: bytes) -> None:
    read_points(file("a.csv", data), SIZE)


def split(data: bytes) -> None:
    Split.from_csv(file("split.csv", data))


def config(data: bytes) -> None:
    path = file("a.yaml", data)
    for kind in (TrainConfig, PredictConfig, DensityConfig):
        try:
            kind.from_file(path)
        except BeadsegError:
            continue


def documents(data: bytes) -> None:
    """Documents and tables of result folders."""
    for name in ("prediction.json", "evaluation.json", "audit.json", "counts.csv", "unmerged.jsonl"):
        file(f"run/{name}", data)
    folder = SCRATCH / "run"
    read_sources(folder)
    read_results(folder)
    read_journal(folder / "unmerged.jsonl")
    for read in (read_counts, Evaluation.read, Audit.read):
        try:
            read(folder)
        except BeadsegError:
            continue


def journal(data: bytes) -> None:
    file("journal/a.csv", data)
    _ = Journal(SCRATCH / "journal").refresh()


def checkpoint(data: bytes) -> None:
    read_meta(file("a.safetensors", data))


def package(data: bytes) -> None:
    take_in(file("p.zip", data), SCRATCH / "taken")


def _whole() -> dict[str, bytes]:
    """Return a whole file of each kind."""
    import imageio.v3 as iio
    from safetensors.numpy import save

    from beadseg.annotation.review.steps import STEP_COLUMNS
    from beadseg.data.tiff import tiff_bytes
    from beadseg.predict.exchange import _write_zip

    write_fiji_rois(SCRATCH / "whole.zip", LabelledImage("a", "a.tif", LABELS))
    write_ome_zarr(SCRATCH / "whole.ome.zarr", LABELS, None)
    _write_zip(SCRATCH / "package.zip", {"SHA256SUMS": b"00  a\n", "a": b"b"})
    import zipfile

    with zipfile.ZipFile(SCRATCH / "whole.zip") as archive:
        single = archive.read(archive.namelist()[0])
    buffer = io.BytesIO()
    iio.imwrite(buffer, LABELS.astype(np.uint8), extension=".png")
    region = tight(LABELS > 0)
    assert region is not None
    return {
        "coco": json.dumps(COCO).encode(), "fiji": (SCRATCH / "whole.zip").read_bytes(), "roi": single,
        "rle": encode_rle(region, SIZE).encode(), "tiff": tiff_bytes(LABELS, "YX"), "raster": buffer.getvalue(),
        "zarr": (SCRATCH / "whole.ome.zarr" / "zarr.json").read_bytes(), "points": b"y,x\n1,2\n3.5,4\n",
        "split": b"sample,fold\na,train\nb,val\n", "config": b"epochs: 3\noptimizer: {lr: 1e-3}\n",
        "documents": b'{"schema_version": 1, "images": {"a": "/a.png"}, "results": {"a": {"size": 1}}}',
        "journal": ("\ufeff" + ",".join(STEP_COLUMNS) + "\n" + "," * (len(STEP_COLUMNS) - 1) + "\n").encode(),
        "checkpoint": save({"a": np.zeros(2, np.float32)}, metadata={"beadseg": '{"schema_version": 2}'}),
        "package": (SCRATCH / "package.zip").read_bytes(),
    }  # fmt: skip


PARSERS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        coco,
        fiji,
        roi,
        rle,
        tiff,
        raster,
        zarr,
        points,
        split,
        config,
        documents,
        journal,
        checkpoint,
        package,
    )
}


def main() -> None:
    if sys.argv[1:2] == ["--list"]:
        print("\n".join(PARSERS))
        return
    name = sys.argv.pop(1)
    parse = PARSERS[name]

    def one(data: bytes) -> None:
        try:
            parse(data)
        except BeadsegError:
            return

    corpus = Path(tempfile.mkdtemp())
    (corpus / "whole").write_bytes(_whole()[name])
    if name == "coco":
        (corpus / "labelme").write_text(json.dumps(LABELME))
    atheris.Setup([*sys.argv, str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
