"""Predict many images into a folder. One bad image never stops the rest; what is done is on disk at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.data.dataset import natural_key, stem_of
from beadseg.data.documents import inner
from beadseg.data.raw import IMAGE_SUFFIXES, KNOWN_KINDS, ZARR_SUFFIX, is_zarr, refuse_address
from beadseg.errors import BeadsegError, Cancelled, InputError, MachineError, is_out_of_memory
from beadseg.events import Event, OnEvent, StopFlag, ignore, track
from beadseg.files import ensure_folder, printable, write_atomically
from beadseg.model.device import free_memory
from beadseg.predict.results import predict_file
from beadseg.predict.tables import BatchResult, earlier_tables, write_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beadseg.predict.predictor import Predictor


def predict_folder(
    predictor: Predictor,
    images: Sequence[Path],
    out: Path | str,
    *,
    overlays: bool = True,
    maps: bool = False,
    source: str = "",
    model_sha256: str = "",
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> BatchResult:
    """Predict images and write masks, labels, overlays, bead tables and counts.

    Parameters
    ----------
    predictor : Segmenter or StoredMaps
        The model, or what it left on disk.
    images : sequence of path
        Image files and OME-Zarr folders; see `find_images` for folders.
    out : path
        The prediction folder. Results of the same run that are there are kept; those of the same images are replaced.
    overlays : bool
        Also draw the outlines over each image.
    maps : bool
        Also keep what the network says of every pixel, so that beads can be chosen again without it.
    source : str
        What the model is called in ``prediction.json``, e.g. the path of its run.
    model_sha256 : str
        What the model is known by wherever it lies: `Segmenter.model_sha256`. When empty, or where the folder's earlier
        predictions say none, `source` decides whether they are of the same run.
    on_event, stop
        Progress, and the flag that ends the batch between tiles; finished images are kept and counted.

    Raises
    ------
    Cancelled
        `stop` was set.
    InputError
        The folder holds predictions of another run, or masks or labels that no prediction wrote.
    MachineError
        The folder cannot be written to.
    """
    folder = ensure_folder(Path(out))
    refuse_foreign(folder, source, model_sha256)
    names = unique_names(images)
    earlier = earlier_tables(folder, names)
    write_about(predictor, names, folder, source, model_sha256)
    counts: list[dict[str, Any]] = []
    failures: list[dict[str, str]] = []
    result = write_tables(folder, counts, failures, earlier)
    for path in track(images, "images", len(images), on_event, stop):
        try:
            rows = predict_file(predictor, path, names[path], folder, overlays=overlays, maps=maps,
                                on_event=on_event, stop=stop)  # fmt: skip
        except (Cancelled, MachineError):
            raise
        except Exception as error:  # one bad image never stops the rest, whatever is wrong with it
            reason = reason_of(error, path)
            if is_out_of_memory(error):  # what this image took is wanted for the next one
                free_memory(error)
            failures.append({"image": printable(path), "error": reason})
            on_event(Event("failure", f"Failed: {reason}", "error", {"image": str(path)}))
        else:
            counts += rows
            on_event(told(names[path], rows))
        result = write_tables(folder, counts, failures, earlier)
    return result


def write_about(predictor: Predictor, names: dict[Path, str], folder: Path, source: str, model_sha256: str) -> None:
    """Write ``prediction.json``: what predicts, and where all images in the folder were read from."""
    about = {"schema_version": 1, "run": source, "model_sha256": model_sha256, **predictor.describe()}
    about["images"] = _sources(folder) | {name: printable(path.resolve()) for path, name in names.items()}
    write_atomically(folder / files.PREDICTION, json.dumps(about, indent=2))


def _sources(folder: Path) -> dict[str, str]:
    """Return where the images that were predicted into the folder before came from, by name."""
    path = folder / files.PREDICTION
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return inner(document, "images")


def reason_of(error: Exception, path: Path) -> str:
    """Return in one line what is wrong with an image."""
    if isinstance(error, BeadsegError):
        return str(error)
    if is_out_of_memory(error):
        remedy = "Use smaller tiles (--set tiling.whole_image_pixels=1000000 --set tiling.tile=512) or more memory."
        return f"{path}: Does not fit into memory. {remedy}"
    return f"{path}: {type(error).__name__}: {' '.join(str(error).split())}"


def refuse_foreign(folder: Path, source: str, model_sha256: str) -> None:
    """Raise `InputError` where results would mix with another run's, or replace what no prediction wrote."""
    if (folder / files.PREDICTION).exists():
        try:
            document = json.loads((folder / files.PREDICTION).read_text(encoding="utf-8"))
            run, known = document["run"], document.get("model_sha256", "")
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            text = "Cannot be read, so that it is not known which run these predictions are of."
            raise InputError(text, folder / files.PREDICTION, "Give a new --out folder.") from None
        same = known == model_sha256 if known and model_sha256 else run == source
        if not same:
            what = "this run with other weights" if run == source else f"another run ({run})"
            text = f"Holds predictions of {what}; the counts would mix."
            raise InputError(text, folder, "Give a new --out folder; nothing was written.")
        return
    for kind in (files.MASKS, files.LABELS, files.BEADS, files.OVERLAYS):
        if (folder / kind).is_dir() and any((folder / kind).iterdir()):
            text = f"Holds {kind}/ that `predict` did not write; files of the same names would be replaced."
            raise InputError(text, folder, "Give a new --out folder; nothing was written.")


def find_images(paths: Sequence[Path]) -> list[Path]:
    """Return the images among `paths`, those of folders in natural order. An OME-Zarr folder is an image itself.

    Raises
    ------
    InputError
        A path does not exist or is an address on the network, a folder holds no images, or there is no path.
    """
    found: list[Path] = []
    for path in paths:
        refuse_address(path)
        if path.is_dir() and not is_zarr(path):
            inside = [p for p in path.iterdir() if _is_image(p) and not p.name.startswith(".")]
            if not inside:
                raise InputError("No images found.", path, f"Known types: {KNOWN_KINDS}.")
            found += sorted(inside, key=lambda p: natural_key(p.name))
        elif path.exists():
            found.append(path)
        else:
            raise InputError("No such image or folder.", path, "Check the path.")
    if not found:
        raise InputError("No images were given.", remedy="Name image files or folders.")
    return list(dict.fromkeys(found))


def _is_image(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES or (suffix == ZARR_SUFFIX and path.is_dir())


def unique_names(images: Sequence[Path]) -> dict[Path, str]:
    """Return a name for every image: its stem, with the extension or folder added where stems repeat."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in images:
        candidates = [stem_of(path), path.name.replace(".", "_"), f"{path.parent.name}_{path.name.replace('.', '_')}"]
        candidates += [f"{path.stem}_{number}" for number in range(2, len(images) + 2)]
        names[path] = next(name for name in candidates if name.casefold() not in taken)
        taken.add(names[path].casefold())
    return names


def told(name: str, rows: list[dict[str, Any]]) -> Event:
    """Return the event that says what was found in an image."""
    beads = sum(row["beads"] for row in rows)
    flagged = sorted({row["flags"] for row in rows if row["flags"]})
    text = f"{name}: {beads} beads" + (f" in {len(rows)} planes" if len(rows) > 1 else "")
    if flagged:
        return Event(
            "count", f"{text}. IMPLAUSIBLE: {flagged[0]}", "warning", {"image": name, "beads": beads, "flags": flagged}
        )
    return Event("count", text, data={"image": name, "beads": beads, "flags": []})
