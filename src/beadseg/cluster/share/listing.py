"""The frozen list of a shared batch: which images, and how they are predicted. Written once, read by everybody."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beadseg import files
from beadseg.cluster.share.parts import Part, part_path, read_part
from beadseg.cluster.share.turn import turn
from beadseg.data.documents import read_document
from beadseg.data.predictions import names_of, read_sources, refuse_output
from beadseg.errors import InputError, RunError
from beadseg.files import ensure_folder, write_atomically
from beadseg.predict.batch import refuse_foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beadseg.events import StopFlag


@dataclass(frozen=True)
class Item:
    """An image of the list: its place there, the name of its results, and where it lies."""

    index: int
    name: str
    path: Path


@dataclass(frozen=True)
class Share:
    """A batch that several processes predict together.

    Attributes
    ----------
    folder : pathlib.Path
        The prediction folder, absolute.
    run : str
        The run folder, absolute.
    model_sha256 : str
        What the model is known by.
    items : tuple of Item
        The images.
    changes : tuple of str
        Changes of the run's prediction options, ``field=value``.
    overlays, maps : bool
        As of `beadseg.predict.batch.predict_folder`.
    """

    folder: Path
    run: str = field(compare=False)
    model_sha256: str
    items: tuple[Item, ...]
    changes: tuple[str, ...] = ()
    overlays: bool = True
    maps: bool = False

    @classmethod
    def of(cls, folder: Path, run: Path, model_sha256: str, images: Sequence[Path], **options: Any) -> Share:
        """Return the batch of these images, with their paths made absolute; `options` as the attributes."""
        refuse_output(folder, images)
        names = names_of([path.absolute() for path in images], read_sources(folder))
        items = tuple(Item(index, name, path) for index, (path, name) in enumerate(names.items()))
        return cls(folder.absolute(), str(run.resolve()), model_sha256, items, **options)

    @classmethod
    def read(cls, folder: Path) -> Share:
        """Return the batch that was begun in a prediction folder.

        Raises
        ------
        RunError
            There is none, or its list is damaged.
        """
        path = folder / files.SHARE / files.SHARE_LIST
        document = read_document(path, "run", "model_sha256", "images", "changes", "overlays", "maps")
        try:
            items = tuple(Item(index, row["name"], Path(row["path"])) for index, row in enumerate(document["images"]))
            return cls(folder.absolute(), document["run"], document["model_sha256"], items,
                       tuple(document["changes"]), bool(document["overlays"]), bool(document["maps"]))  # fmt: skip
        except (TypeError, KeyError):
            text = "Is not a list of images to share."
            raise RunError(text, path, f"Remove the folder {files.SHARE}/ and begin again.") from None

    @property
    def names(self) -> dict[Path, str]:
        """The name of every image, by its path."""
        return {item.path: item.name for item in self.items}

    def claim_path(self, item: Item) -> Path:
        """Return the file that claims an image; the folder is made."""
        return ensure_folder(self.folder / files.SHARE / files.CLAIMS) / f"{item.index:06d}.json"

    def part(self, item: Item) -> Part | None:
        """Return what is known of an image that is done; None while it is not, or when file or results changed."""
        return read_part(self.folder, item.index, item.path)

    def deaths(self, item: Item) -> list[Path]:
        """Return one file for every process that died of an image."""
        return list(self.claim_path(item).parent.glob(f"{item.index:06d}.died-*"))

    def left(self) -> list[Item]:
        """Return the images that are not done."""
        return [item for item in self.items if self.part(item) is None]

    def write(self) -> None:
        """Write the list; whatever was known of another one is removed."""
        inside = self.folder / files.SHARE
        (inside / files.SHARE_LIST).unlink(missing_ok=True)  # first: what is left without it counts for nothing
        shutil.rmtree(inside, ignore_errors=True)
        document = {
            "schema_version": 1, "run": self.run, "model_sha256": self.model_sha256, "changes": self.changes,
            "overlays": self.overlays, "maps": self.maps,
            "images": [{"name": item.name, "path": str(item.path)} for item in self.items],
        }  # fmt: skip
        write_atomically(ensure_folder(inside) / files.SHARE_LIST, json.dumps(document, indent=1))


def begin(
    wanted: Share,
    has_ended: Callable[[str], bool] = lambda job: False,
    stop: StopFlag | None = None,
    *,
    again: bool = False,
) -> Share:
    """Freeze a list of images in its prediction folder, or join the same one that is there.

    Images of it that are done stay done; those that failed are tried again once all are done and merged.

    Parameters
    ----------
    wanted : Share
        See `Share.of`.
    has_ended : callable
        Tells whether the PBS job of this id has certainly ended.
    stop : StopFlag, optional
        Ends the waiting while another process begins or merges.
    again : bool
        Predict all images again where the same list is finished.

    Raises
    ------
    InputError
        Another list is not finished, or the folder holds other results; see `predict_folder`.
    """
    folder = ensure_folder(wanted.folder)
    refuse_foreign(folder, wanted.run, wanted.model_sha256)
    with turn(folder, has_ended, stop):
        if not (folder / files.SHARE / files.SHARE_LIST).exists():
            wanted.write()
            return wanted
        there = Share.read(folder)
        left = len(there.left())
        if there == wanted and (left or not again):
            if not left and (folder / files.SHARE / files.MERGED).exists():
                _forget_failures(there)
            return there
        if left:
            raise InputError(
                f"Processes share another list of images here, of which {left} are left.", folder,
                f"Wait, give a new --out folder, or end them all and remove the folder {files.SHARE}/.",
            )  # fmt: skip
        wanted.write()
        return wanted


def join(folder: Path, run: str, model_sha256: str) -> Share:
    """Return the batch that was begun in a folder, to work on it with this model.

    Raises
    ------
    InputError
        None was begun there, or with another model.
    """
    if not (folder / files.SHARE / files.SHARE_LIST).exists():
        raise InputError("No batch was begun here.", folder, "Name images or folders.")
    share = Share.read(folder)
    refuse_foreign(folder, run, model_sha256)
    if share.model_sha256 != model_sha256:
        raise InputError(f"The batch here was begun with another model ({share.run}).", folder, "Give that run.")
    return share


def close(folder: Path) -> None:
    """Forget a finished shared batch, so that one process can go on alone.

    Raises
    ------
    InputError
        It is not finished.
    """
    if not (folder / files.SHARE / files.SHARE_LIST).exists():
        return
    share = Share.read(folder)
    left = len(share.left())
    if left:
        raise InputError(
            f"Processes share this folder; {left} of their {len(share.items)} images are left.", folder,
            f"Add --share to work with them, or end them all and remove the folder {files.SHARE}/.",
        )  # fmt: skip
    (folder / files.SHARE / files.SHARE_LIST).unlink(missing_ok=True)
    shutil.rmtree(folder / files.SHARE, ignore_errors=True)


def withdraw(folder: Path) -> None:
    """Remove a list that nobody has worked on, since the jobs that were to do so could not be sent."""
    inside = folder / files.SHARE
    if not any((inside / name).exists() for name in (files.PARTS, files.CLAIMS)):
        shutil.rmtree(inside, ignore_errors=True)


def _forget_failures(share: Share) -> None:
    """Let images that failed be tried again; the batch is then no longer merged."""
    for item in share.items:
        part = share.part(item)
        if part is not None and part.error is not None:
            (share.folder / files.SHARE / files.MERGED).unlink(missing_ok=True)
            for mark in (*share.deaths(item), share.claim_path(item).with_suffix(".tried")):
                mark.unlink(missing_ok=True)
            part_path(share.folder, item.index).unlink(missing_ok=True)
