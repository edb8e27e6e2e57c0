"""What a person paints before it is decided on, stroke by stroke on the disk: a crash loses the stroke in hand at most.

One file per sample and session, JSON lines: a header, the whole mask as it was, then one line per stroke with the box
that it changed. A line counts from its line feed on. The file is deleted when the correction is in the journal or
saved, or dropped on purpose. Those of a dataset's review lie in ``review/unsaved``.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import socket
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beadseg import files
from beadseg.annotation.edit import Patch
from beadseg.annotation.review.steps import new_id, now
from beadseg.annotation.review.store import NAME_BYTES
from beadseg.errors import InputError, MachineError
from beadseg.files import ensure_folder, machine_error, write_atomically
from beadseg.runtime.locking import ProcessId, is_running

if TYPE_CHECKING:
    from pathlib import Path

    from beadseg.annotation.edit import Labels

VERSION = 1
"""Of the file; a newer one is refused."""
SUFFIX = ".jsonl"


class Strokes:
    """The file of one sample in this session.

    Parameters
    ----------
    folder : pathlib.Path
        Where such files lie.
    sample : str
        Name of the sample.
    labels : uint32
        The mask before the first stroke, (Y, X) or a stack.
    by : str
        Who paints.

    Raises
    ------
    MachineError
        The disk is full, or the folder not writable.
    """

    def __init__(self, folder: Path, sample: str, labels: Labels, by: str) -> None:
        short = sample.encode()[:NAME_BYTES].decode(errors="ignore")
        self.path = ensure_folder(folder) / f"{short}--{new_id()}{SUFFIX}"
        header = {
            "version": VERSION, "sample": sample, "by": by, "host": socket.gethostname(),
            "process": os.getpid(), "writer": ProcessId.of(os.getpid()).model_dump(), "shape": list(labels.shape),
        }  # fmt: skip
        whole = Patch(tuple(slice(0, length) for length in labels.shape), labels)
        write_atomically(self.path, f"{json.dumps(header)}\n{_line(whole)}")

    def add(self, patch: Patch) -> None:
        """Add a stroke; when this returns it is on the disk. Raises `MachineError`."""
        try:
            with self.path.open("ab", buffering=0) as file:
                file.write(_line(patch).encode())
                os.fsync(file.fileno())
        except OSError as error:
            raise machine_error(error, self.path) from error

    def drop(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class Unsaved:
    """Strokes that a session left when it ended.

    Attributes
    ----------
    path : pathlib.Path
        Their file.
    sample, by, when : str
        Whose mask was painted, by whom, and when last (UTC).
    strokes : int
        How many.
    labels : numpy.ndarray
        uint32, the mask with all of them.
    """

    path: Path
    sample: str
    by: str
    when: str
    strokes: int
    labels: Labels


def unsaved_folder(root: Path) -> Path:
    """Return where the unsaved strokes on the samples of a dataset folder lie."""
    return root / files.REVIEW / files.UNSAVED


def abandoned(folder: Path, by: str) -> dict[str, list[Path]]:
    """Return the files of `by` that no other living process writes, by sample, oldest first, without damaged ones.

    Raises
    ------
    MachineError
        The disk does not answer.
    """
    found: dict[str, list[Path]] = {}
    try:
        paths = sorted(folder.glob(f"*{SUFFIX}"), key=_age)
    except OSError as error:
        text = f"The changes that were not saved cannot be listed: {error.strerror}."
        raise MachineError(text, folder, "Check the disk, then try again.") from error
    for path in paths:
        try:
            header = _header(path)
        except InputError:
            continue
        if header["by"] == by and not _goes_on(header):
            found.setdefault(header["sample"], []).append(path)
    return found


def _age(path: Path) -> str:
    """Return the part of a file's name that begins with the time it was made."""
    return path.stem.rsplit("--", 1)[-1]


def read_unsaved(path: Path) -> Unsaved:
    """Read the strokes of a file up to its last whole line.

    Raises
    ------
    InputError
        It is not such a file, of a newer version, or not one whole mask is in it.
    """
    header = _header(path)
    shape = tuple(header["shape"])
    labels = np.zeros(shape, np.uint32)
    patches, when = 0, ""
    for line in path.read_bytes().split(b"\n")[1:-1]:
        stroke = _stroke(line, shape)
        if stroke is None:
            break
        when, patch = stroke
        patch.apply(labels)
        patches += 1
    if not patches:
        raise InputError("Holds no whole mask.", path, "Delete the file.")
    return Unsaved(path, header["sample"], header["by"], when, patches - 1, labels)


def save_comment(root: Path, sample: str, by: str, text: str) -> None:
    """Keep what `by` has written about a sample and not decided with yet; an empty text deletes it.

    Raises
    ------
    MachineError
        The disk is full, or the folder not writable.
    """
    path = _comment_file(root, sample, by)
    if text.strip():
        write_atomically(ensure_folder(path.parent) / path.name, json.dumps({"sample": sample, "by": by, "text": text}))
    else:
        path.unlink(missing_ok=True)


def saved_comment(root: Path, sample: str, by: str) -> str:
    """Return the comment that `save_comment` kept; empty where there is none."""
    try:
        found = json.loads(_comment_file(root, sample, by).read_text("utf-8"))
        return str(found["text"]) if (found["sample"], found["by"]) == (sample, by) else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _comment_file(root: Path, sample: str, by: str) -> Path:
    short = sample.encode()[:NAME_BYTES].decode(errors="ignore")
    number = zlib.crc32(f"{sample}\n{by}".encode())
    return root / files.REVIEW / files.UNSAVED / f"{short}--comment-{number:08x}.json"


def _line(patch: Patch) -> str:
    data = zlib.compress(np.ascontiguousarray(patch.values, "<u4").tobytes(), 1)
    window = [[part.start, part.stop] for part in patch.window]
    values = {
        "time": now(),
        "window": window,
        "crc": zlib.crc32(data),
        "values": base64.b64encode(data).decode("ascii"),
    }
    return json.dumps(values) + "\n"


def _stroke(line: bytes, shape: tuple[int, ...]) -> tuple[str, Patch] | None:
    """Return the time and the patch of a line; None where the line is damaged."""
    try:
        values = json.loads(line)
        window = tuple(slice(int(start), int(stop)) for start, stop in values["window"])
        data = base64.b64decode(values["values"], validate=True)
        size = tuple(part.stop - part.start for part in window)
        inside = len(size) == len(shape) and all(
            0 <= part.start < part.stop <= length for part, length in zip(window, shape, strict=True)
        )
        if not inside or zlib.crc32(data) != values["crc"]:
            return None
        wanted = 4 * int(np.prod(size))
        raw = zlib.decompressobj().decompress(data, wanted)
        patch = Patch(window, np.frombuffer(raw, "<u4").reshape(size).astype(np.uint32))
        return str(values["time"]), patch
    except (ValueError, KeyError, TypeError, binascii.Error, zlib.error):
        return None


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline())
        version, shape = header["version"], header["shape"]
        texts = [header[name] for name in ("sample", "by", "host")]
        good = all(isinstance(text, str) for text in texts) and all(isinstance(n, int) and n > 0 for n in shape)
        good = good and isinstance(header["process"], int) and isinstance(version, int)
        if "writer" in header:
            ProcessId.model_validate(header["writer"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"Cannot be read: {error}.", path, "Delete the file.") from None
    if not good:
        raise InputError("Holds no unsaved strokes.", path, "Delete the file.")
    if version > VERSION:
        raise InputError(f"Is of version {version}, which this beadseg does not know.", path, "Update beadseg.")
    return dict(header)


def _goes_on(header: dict[str, Any]) -> bool:
    """Tell whether another process of this computer wrote a file and still runs; of other computers it cannot be told.

    What this process wrote is left: it opens a dataset again after it has left it.
    """
    process = header["process"]
    if process == os.getpid():
        return False
    if "writer" in header:
        return bool(ProcessId.model_validate(header["writer"]).runs)
    return bool(header["host"] == socket.gethostname() and is_running(process))  # of an earlier beadseg
