"""Predict many images into a folder. One bad image never stops the rest; what is done is on disk at once."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import platform
import re
import secrets
import shutil
from collections import Counter
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import psutil

from beadseg import files
from beadseg.data.documents import refuse_output
from beadseg.data.fields import listed
from beadseg.data.image_io import open_image
from beadseg.data.raw import (
    IMAGE_SUFFIXES,
    KNOWN_KINDS,
    conversion,
    is_picture_kind,
    is_zarr,
    kind_of,
    refuse_address,
)
from beadseg.data.scan import is_hidden, natural_key, results_among, stem_of
from beadseg.errors import BeadsegError, Cancelled, InputError, MachineError, is_out_of_memory
from beadseg.events import Event, Level, OnEvent, StopFlag, ignore, log, track
from beadseg.files import ensure_folder, printable, user_path
from beadseg.model.backends import free_memory
from beadseg.predict.blocks import Means, is_large
from beadseg.predict.counts import NOT_COMPARED, sentence
from beadseg.predict.results import predict_file
from beadseg.predict.tables import BatchResult, ElementIndex, PredictionIndex, described
from beadseg.runtime.locking import locked
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from beadseg.predict.prediction import Predictor
    from beadseg.predict.segmenter import Segmenter

Answer: TypeAlias = tuple[list[dict[str, Any]], dict[str, Any]]
Elsewhere: TypeAlias = "Callable[[list[Order], StopFlag | None], Iterator[tuple[Order, Answer | str]]]"

BLOCKS = f"{files.TEMPORARY_PREFIX}blocks-"
"""Folders of the blocks of large images begin with this; the image's name and what the blocks are of follow."""
MOST_DEATHS = 2
"""An image is listed as failed when so many processes were killed while they predicted it."""


@dataclass(frozen=True)
class Order:
    """An image that another process predicts.

    Attributes
    ----------
    path : pathlib.Path
        Where it lies, seen from any machine.
    name : str
        The name of its results.
    stage : pathlib.Path
        Folder that the results are written to.
    made_with : str
        What model and options are known by.
    kinds : tuple of str
        Which results are wanted, see `beadseg.predict.results`.
    means : Means, optional
        Memory; an image that takes more is predicted in blocks.
    """

    path: Path
    name: str
    stage: Path
    made_with: str
    kinds: tuple[str, ...]
    means: Means | None = None

    def work(self, predictor: Predictor) -> Answer | str:
        """Predict the image; return its rows of counts and what the results are of, or why it failed.

        Raises
        ------
        MachineError
            The folder cannot be written to.
        """
        try:
            rows, result = self.predicted(predictor)
        except MachineError:
            raise
        except Exception as error:  # one bad image never stops the rest, whatever is wrong with it
            return reason_of(error, self.path)
        return rows, result

    def predicted(
        self, predictor: Predictor, on_event: OnEvent = ignore, stop: StopFlag | None = None,
        begun: Callable[[], None] = lambda: None,
    ) -> Answer:  # fmt: skip
        """Predict the image, in blocks where it is too large; `begun` is called where a kill costs no more than one."""
        result, image = described(self.path, self.made_with, self.kinds), open_image(self.path)
        ensure_folder(self.stage)
        overlays, maps = (kind in self.kinds for kind in (files.OVERLAYS, files.MAPS))
        if self.means is not None and is_large(image, self.means.memory):
            from beadseg.predict.large import predict_large  # late: most images are not large
            from beadseg.predict.segmenter import Segmenter

            if isinstance(predictor, Segmenter):
                text = f"{self.name}: predicted in blocks, since it does not fit into memory; no mask"
                on_event(log(f"{text} and no overlay are written." if overlays else f"{text} is written."))
                if maps:
                    raise InputError("Is too large for its maps to be kept.", self.path, "Leave out --maps.")
                begun()
                work = self._work_folder(predictor, result)
                rows = predict_large(predictor, self.path, self.name, self.stage, work, self.means, on_event, stop)
                return rows, result | {"in_blocks": True}
        rows = predict_file(predictor, image, self.name, self.stage, overlays=overlays, maps=maps,
                            on_event=on_event, stop=stop)  # fmt: skip
        return rows, result

    def _work_folder(self, segmenter: Segmenter, result: dict[str, Any]) -> Path:
        """Return the folder of the blocks of this very file, model and options; blocks of others are removed."""
        told = [result, version("beadseg"), segmenter.backend().name, segmenter.precision()]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
        folder = self.stage.parent / f"{BLOCKS}{self.name}-{digest if self.made_with else secrets.token_hex(6)}"
        remove_blocks(self.stage.parent, self.name, but=folder)
        return folder


def remove_blocks(folder: Path, name: str, but: Path | None = None) -> None:
    """Remove the blocks of an image from a prediction folder."""
    for left in folder.glob(f"{BLOCKS}{glob.escape(name)}-*"):
        if left != but and re.fullmatch(r"[0-9a-f]{12}", left.name.removeprefix(f"{BLOCKS}{name}-")):
            shutil.rmtree(left, ignore_errors=True)


def predict_folder(
    predictor: Predictor,
    images: Sequence[Path],
    out: Path | str,
    *,
    overlays: bool = True,
    maps: bool = False,
    source: str = "",
    model_sha256: str = "",
    again: bool = False,
    sources: Mapping[Path, str] | None = None,
    names: Mapping[Path, str] | None = None,
    element: int | None = None,
    elsewhere: Elsewhere | None = None,
    means: Means | None = None,
    has_ended: Callable[[str], bool] = lambda job: False,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> BatchResult:
    """Predict images and write masks, labels, overlays, bead tables and counts.

    An image that was predicted into the folder before, from the same file, by the same model with the same options, is
    skipped. What an image has is replaced when all its new results are complete, never before.

    Parameters
    ----------
    predictor : Segmenter or StoredMaps
        The model, or what it left on disk.
    images : sequence of path
        Image files and OME-Zarr folders; see `find_images` for folders. One that is named twice is predicted once.
    out : path
        The prediction folder. Results of other images of the same run that are there are kept.
    overlays : bool
        Also draw the outlines over each image.
    maps : bool
        Also keep what the network says of every pixel, so that beads can be chosen again without it.
    source : str
        What the model is called in ``prediction.json``, e.g. the path of its run.
    model_sha256 : str
        What the model is known by wherever it lies: `Segmenter.model_sha256`. When empty, or where the folder's earlier
        predictions say none, `source` decides whether they are of the same run.
    again : bool
        Predict also what would be skipped.
    sources : mapping of path to str, optional
        What images are known by that do not lie where they come from, such as layers of a viewer.
    names : mapping of path to str, optional
        Names of the results that were given to the images, and to others, before.
    element : int, optional
        Number of an element of a job array, which predicts `images` beside others that predict others: it writes no
        tables. A call without it takes over what all elements found, and predicts what is missing.
    elsewhere : callable, optional
        Predicts the images in other processes, and yields what becomes of each; see `Order`.
    means : Means, optional
        Memory: a single image that takes more is predicted in blocks (`beadseg.predict.large`). What the machine has
        when not given.
    has_ended : callable
        Tells whether the PBS job of this id has certainly ended: one that left the folder locked.
    on_event, stop
        Progress, and the flag that ends the batch between tiles; finished images are kept and counted.

    Raises
    ------
    Cancelled
        `stop` was set.
    BusyError
        Another process predicts into the folder.
    InputError
        The folder holds predictions of another run, masks or labels that no prediction wrote, or an image of the batch;
        or it belongs to a dataset.
    MachineError
        The folder cannot be written to.
    """
    folder = user_path(out)
    refuse_output(folder, images)
    refuse_foreign(folder, source, model_sha256)
    ensure_folder(folder)
    alone = locked(folder, on_event, stop, has_ended) if element is None else nullcontext()
    with alone:
        refuse_foreign(folder, source, model_sha256)
        index = PredictionIndex(folder, on_event) if element is None else ElementIndex(folder, element, on_event)
        index.know(names or {})
        batch = _Batch(predictor, index, index.names_of(images, sources), overlays, maps, on_event, stop)
        batch.made_with = made_with(predictor, model_sha256)
        batch.one_model = bool(model_sha256)
        batch.elsewhere = elsewhere
        batch.means = means or Means(psutil.virtual_memory().total)
        index.write_tables()
        index.write_about(about(predictor, source, model_sha256))
        if len(batch.names) < len(images):
            text = plural(len(images) - len(batch.names), "image is", "images are")
            on_event(log(f"{text} named more than once; each is counted once."))
        # The general model knows of no training images; of elements one says it.
        if predictor.appearance is None and not predictor.fingerprint.get("simulated") and not element:
            on_event(log(NOT_COMPARED, "warning"))
        try:
            batch.run(again)
            if element is None:
                batch.report_copies()
        except BaseException:
            with suppress(BeadsegError):  # what was to be said first is why it ended; the journal has all
                index.arrange(batch.names.values())
                index.close()
            raise
        index.arrange(batch.names.values())
        index.close()
        return index.result_of(batch.names, batch.failures, batch.skipped)


class _Batch:
    """The images of a batch, one after the other."""

    made_with = ""
    elsewhere: Elsewhere | None = None
    means: Means | None = None
    one_model = False
    """All images of the folder are of this very model; otherwise of several of one kind, as in a cross-validation."""

    def __init__(
        self, predictor: Predictor, index: PredictionIndex, names: dict[Path, str], overlays: bool, maps: bool,
        on_event: OnEvent, stop: StopFlag | None,
    ) -> None:  # fmt: skip
        self.names, self.skipped = names, 0
        self.failures: dict[str, str] = {}
        self._predictor, self._index, self._on_event, self._stop = predictor, index, on_event, stop
        self._overlays, self._maps = overlays, maps
        wanted = (files.OVERLAYS, overlays), (files.MAPS, maps)
        self._kinds = [files.MASKS, files.LABELS, files.BEADS, *(kind for kind, wish in wanted if wish)]

    def run(self, again: bool) -> None:
        """Predict what is not there already."""
        left = {path: name for path, name in self.names.items() if again or not self._is_current(name, path)}
        self.skipped = len(self.names) - len(left)
        if self.skipped:
            text = (
                f"Skipped {plural(self.skipped, 'image')} of {len(self.names)}: predicted before, with the same model"
            )
            self._on_event(log(f"{text} and options. Use --again to predict again.", skipped=self.skipped))
        others = self._index.other_options(self.made_with, self.names.values())
        if others and self.one_model:
            text = f"{listed(others)} in this folder: predicted with other options, so that counts are not comparable."
            self._on_event(log(f"{text} Predict them again too, or use a new --out folder.", "warning"))
        if self.elsewhere is not None:
            self._collect(self.elsewhere(self._orders(left), self._stop), len(left))
            return
        for path in track(left, "images", len(left), self._on_event, self._stop):
            self._predict(path, left[path])

    def report_copies(self) -> None:
        """Warn of copies, and of images that were renamed or removed since they were predicted: all are counted."""
        remedy = "Predict into a new --out folder to leave them out."
        groups = [
            " = ".join([*group[:3], *["…"][: len(group) > 3]]) for group in self._index.copies(self.names.values())
        ]
        if groups:
            text = f"Files of the same content are all counted: {listed(groups)}."
            self._on_event(log(f"{text} Remove the copies. {remedy}", "warning"))
        gone = self._index.gone(self.names.values())
        if gone:
            text = (
                f"{plural(len(gone), 'image is', 'images are')} not there any more, and still counted: {listed(gone)}."
            )
            self._on_event(log(f"{text} {remedy}", "warning"))

    def _orders(self, left: Mapping[Path, str]) -> list[Order]:
        start = self._index.stage.absolute().as_posix().removesuffix(files.TEMPORARY_SUFFIX)
        return [
            Order(
                path.absolute(),
                name,
                Path(f"{start}-{number}{files.TEMPORARY_SUFFIX}"),
                self.made_with,
                (*self._kinds,),
                self.means,
            )
            for number, (path, name) in enumerate(left.items())
        ]

    def _collect(self, answers: Iterator[tuple[Order, Answer | str]], count: int) -> None:
        """Take over what other processes found, as it comes."""
        for order, answer in track(answers, "images", count, self._on_event, self._stop):
            if isinstance(answer, str):
                self._fail(order.path, order.name, answer, keep=self._is_current(order.name, order.path))
            else:
                self._index.done(order.name, *answer, order.stage)
                remove_blocks(self._index.folder, order.name)
                self._on_event(image_event(order.name, answer[0]))
            shutil.rmtree(order.stage, ignore_errors=True)

    def _is_current(self, name: str, path: Path) -> bool:
        return self._index.is_current(name, path, self.made_with, self._kinds)

    def _predict(self, path: Path, name: str) -> None:
        """Predict an image, unless processes ended in the middle of it before, killed by what it needs."""
        if self._index.deaths[name] >= MOST_DEATHS:
            reason = f"{path}: {MOST_DEATHS} processes were killed while they predicted it. Does it fit into memory?"
            self._fail(path, name, reason, keep=self._is_current(name, path), given_up=True)
            return
        self._index.begin(name)
        try:
            self._try(path, name)
        except BaseException:
            with suppress(BeadsegError):
                self._index.leave(name)
            raise

    def _try(self, path: Path, name: str) -> None:
        stage = self._index.stage
        try:
            order = Order(path, name, stage, self.made_with, (*self._kinds,), self.means)
            leave = partial(self._index.leave, name)
            rows, result = order.predicted(self._predictor, self._on_event, self._stop, leave)
            self._index.done(name, rows, result)
            remove_blocks(self._index.folder, name)
        except Cancelled:
            raise
        except MachineError as error:
            if not isinstance(error.__cause__, PermissionError) or not os.access(stage, os.W_OK):
                raise
            self._fail(path, name, f"{error} Is it open in another program?", keep=False)
        except Exception as error:  # one bad image never stops the rest, whatever is wrong with it
            if is_out_of_memory(error):  # what this image took is wanted for the next one
                free_memory(error)
            self._fail(path, name, reason_of(error, path), keep=self._is_current(name, path))
        else:
            self._on_event(image_event(name, rows))

    def _fail(self, path: Path, name: str, reason: str, *, keep: bool, given_up: bool = False) -> None:
        shutil.rmtree(self._index.stage, ignore_errors=True)
        if keep:
            reason = f"{reason} Its earlier results, of the same file and options, are kept."
        self._index.failed(name, reason, keep=keep, given_up=given_up)
        self.failures[self._index.sources[name]] = reason
        self._on_event(Event("failure", f"Failed: {reason}", "error", {"image": str(path)}))


def about(predictor: Predictor, source: str, model_sha256: str) -> dict[str, Any]:
    """Return what ``prediction.json`` says of the model and the options."""
    known = {"run": source, "model_sha256": model_sha256, "made_with": made_with(predictor, model_sha256),
             "made_on": made_on()}  # fmt: skip
    return {"schema_version": 1, **known, **predictor.describe()}


def made_on() -> dict[str, str]:
    """Return the programs and the machine that a prediction is computed by."""
    versions = {name: version(name) for name in ("beadseg", "torch", "numpy")}
    return {**versions, "python": platform.python_version(), "platform": platform.platform()}


def made_with(predictor: Predictor, model_sha256: str) -> str:
    """Return what a model with its options is known by; empty where the model has no file, and is never the same."""
    model = getattr(predictor, "model_sha256", "") or model_sha256
    if not model:
        return ""
    said = predictor.describe()
    # Backends are tested for finding the same beads: results of one are not predicted again by another.
    options = {name: value for name, value in (said.get("options") or {}).items() if name != "backend"}
    values = {"model": model, "options": options, "image": said.get("image")}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def reason_of(error: Exception, path: Path) -> str:
    """Return in one line what is wrong with an image."""
    if isinstance(error, BeadsegError):
        return str(error) if error.where else f"{printable(path)}: {error}"
    if is_out_of_memory(error):
        smaller = "(--set tiling.whole_image_pixels=1000000 --set tiling.tile=512)"
        remedy = f"Use smaller tiles {smaller}, blocks (--memory 4GB), or more memory."
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


def find_images(paths: Sequence[Path], on_event: OnEvent = ignore) -> list[Path]:
    """Return the images among `paths`, those of folders in natural order. An OME-Zarr folder is an image itself.

    Of a dataset folder its ``images/`` are taken. What a folder holds beside its images is reported as left out.

    Parameters
    ----------
    paths : sequence of path
        Image files, folders of images, dataset folders, and patterns with ``*`` or ``?`` that no shell has replaced.
    on_event
        Is told what was left out, and why.

    Raises
    ------
    InputError
        A path does not exist or is an address on the network, a folder holds no images, a folder is one that beadseg
        wrote, or there is no path.
    """
    found: list[Path] = []
    for path in (one for given in paths for one in _matches(given)):
        refuse_address(path)
        if path.is_dir() and not is_zarr(path):
            found += _images_in(path, on_event)
        elif path.exists():
            found.append(path)
        else:
            raise InputError("No such image or folder.", path, "Check the path.")
    if not found:
        raise InputError("No images were given.", remedy="Name image files or folders.")
    return list(dict.fromkeys(found))


def _matches(path: Path) -> list[Path]:
    """Return the paths that a pattern stands for, where there is no file of that name: not every shell replaces it."""
    if not set(path.name) & set("*?[") or path.exists() or not path.parent.is_dir():
        return [path]
    return sorted(path.parent.glob(path.name), key=lambda p: natural_key(p.name)) or [path]


def _images_in(folder: Path, on_event: OnEvent) -> list[Path]:
    try:
        entries = [path for path in folder.iterdir() if not is_hidden(path)]
    except OSError as error:
        raise InputError(f"Cannot be listed: {error.strerror}.", folder, "Check its permissions.") from None
    found = [path for path in entries if _is_image(path)]
    _refuse_own(folder, found)
    if not found and (folder / files.IMAGES).is_dir():
        on_event(log(f"{folder} is a dataset folder: the images in {folder / files.IMAGES} are taken."))
        return _images_in(folder / files.IMAGES, on_event)
    others = _others([path for path in entries if not _is_image(path)])
    if not found:
        what = f"Holds no images, but {'; '.join(text for text, _, _ in others)}." if others else "No images found."
        remedy = others[0][1] if others else f"Known types: {KNOWN_KINDS}."
        raise InputError(what, folder, remedy)
    if results := results_among(found):
        found = [path for path in found if path not in results]
        names = listed(sorted((path.name for path in results), key=natural_key), 3)
        number = plural(len(results), "mask or other result", "masks or other results")
        text = f"{number} of images beside them ({names})"
        others.append((text, "To count these, name the files themselves.", "warning"))
    kinds = Counter(stem_of(path).casefold() for path in found)
    if several := sorted((path.name for path in found if kinds[stem_of(path).casefold()] > 1), key=natural_key):
        text = f"Files in {folder} have the same name but for its ending or capitals ({listed(several, 3)})"
        on_event(log(f"{text}: all of them are counted.", "warning"))
    for text, remedy, level in others:
        on_event(Event("left-out", f"Left out in {folder}: {text}. {remedy}", level, {"path": str(folder)}))
    return sorted(found, key=lambda p: natural_key(p.name))


def _others(paths: Sequence[Path]) -> list[tuple[str, str, Level]]:
    """Return in words what a folder holds beside its images, what to do with it, and whether it may be images."""
    inside = [path for path in paths if path.is_dir() and _holds_images(path)]
    said: list[tuple[str, str, Level]] = []
    if inside:
        names = listed(sorted((path.name for path in inside), key=natural_key), 3)
        remedy = f"Give the folders themselves, such as {inside[0]}."
        said.append((f"{plural(len(inside), 'folder')} with images ({names})", remedy, "warning"))
    alike = [path for path in paths if path.is_dir() and path.suffix.lower() in IMAGE_SUFFIXES and path not in inside]
    if alike:
        names = listed(sorted((path.name for path in alike), key=natural_key), 3)
        remedy = "Each is a folder, not an image file: rename it, or copy the image again."
        said.append((f"{plural(len(alike), 'folder')} named like an image ({names})", remedy, "warning"))
    kinds = Counter(kind_of(path) for path in paths if path.is_file())
    for kind, count in sorted(kinds.items(), key=lambda item: (not is_picture_kind(item[0]), item[0])):
        name = next(path.name for path in paths if path.is_file() and kind_of(path) == kind)
        text = f"{plural(count, 'file')} of the kind {kind} ({name}{', …' if count > 1 else ''})"
        said.append((text, conversion(kind), "warning" if is_picture_kind(kind) else "info"))
    return said


def _holds_images(folder: Path) -> bool:
    try:
        return any(_is_image(path) and not is_hidden(path) for path in folder.iterdir())
    except OSError:  # a folder that may not be entered
        return False


def _refuse_own(folder: Path, found: Sequence[Path]) -> None:
    """Raise `InputError` for folders that beadseg wrote, whose pictures nobody wants to have predicted."""
    remedy = "Give the folder of the images themselves."
    if (folder / files.CONFIG).is_file() and (folder / files.HISTORY).is_file():
        raise InputError("Is a run folder.", folder, remedy)
    if not found and (folder / files.PREDICTION).is_file() and not (folder / files.IMAGES).is_dir():
        raise InputError("Is a folder of predictions.", folder, remedy)
    results = (files.OVERLAYS, files.MASKS, files.LABELS)
    if folder.name in results and (folder.resolve().parent / files.PREDICTION).is_file():
        raise InputError(f"Holds the {folder.name} of a prediction, not images.", folder, remedy)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES if not path.is_dir() else is_zarr(path)


def image_event(name: str, rows: list[dict[str, Any]]) -> Event:
    """Return the event that says what was found in an image."""
    beads = sum(row["beads"] for row in rows)
    flagged = sorted({row["flags"] for row in rows if row["flags"]})
    text = f"{name}: {plural(beads, 'bead')}" + (f" in {len(rows)} planes" if len(rows) > 1 else "")
    if flagged:
        return Event(
            "count", f"{text}. {sentence(flagged[0])}", "warning", {"image": name, "beads": beads, "flags": flagged}
        )
    return Event("count", text, data={"image": name, "beads": beads, "flags": []})
