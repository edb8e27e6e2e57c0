"""Fiji's ROI files from disk: single ``.roi`` files, and ``.zip`` files of the ROI Manager.

Nothing is extracted; a zip file is read in memory, and one that claims absurdly much is refused.
"""

from __future__ import annotations

import logging
import zipfile
import zlib
from typing import TYPE_CHECKING

from beadseg.data.fields import listed
from beadseg.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from roifile import ImagejRoi

MAX_ROIS = 500_000
"""Most ROIs in one zip file."""
MAX_BYTES = 512 * 1024**2
"""Most bytes of all ROIs of a zip file, decompressed."""

# Its remarks on odd files belong to whoever configures logging, not on the terminal of somebody who did not.
logging.getLogger("roifile").addHandler(logging.NullHandler())


def read_rois(path: Path) -> list[tuple[str, ImagejRoi | InputError]]:
    """Return the ROIs of a file by name, in the order of the file; an error in place of one that is damaged.

    Raises
    ------
    InputError
        The file is missing, no zip file, encrypted, or claims to hold absurdly much.
    """
    try:
        contents = list(_contents(path))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        detail = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"Cannot be read as a zip file ({detail}).", path, "Save it again in Fiji.") from None
    except FileNotFoundError:
        raise InputError("No such file.", path, "Check the path.") from None
    except OSError as error:
        raise InputError(f"Cannot be read: {error.strerror or error}.", path, "Check the file.") from None
    return [_parsed(name, data) for name, data in contents]


def _contents(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.suffix.lower() == ".roi":
        if path.stat().st_size > MAX_BYTES:
            raise _absurd(path, f"{path.stat().st_size} bytes")
        yield path.stem, path.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if _is_roi(info.filename)]
        held = [info.filename for info in archive.infolist() if not info.is_dir()]
        if held and not members:  # without any file it is of an image without beads
            text = f"Holds no ROI, but {listed(held, 3)}."
            raise InputError(text, path, "Save the ROIs in Fiji's ROI Manager: More > Save.")
        claimed = sum(info.file_size for info in members)
        if len(members) > MAX_ROIS or claimed > MAX_BYTES:
            raise _absurd(path, f"{len(members)} ROIs of {claimed} bytes")
        for info in members:
            yield (
                info.filename.split("/")[-1][:-4],
                archive.read(info),
            )  # no more than the size it claims is decompressed


def _is_roi(name: str) -> bool:
    """Tell whether a file in a zip file is a ROI; macOS puts a shadow ``__MACOSX/._NAME`` beside every file."""
    parts = name.split("/")
    return name.lower().endswith(".roi") and "__MACOSX" not in parts and not parts[-1].startswith("._")


def _absurd(path: Path, claim: str) -> InputError:
    text = f"Claims to hold {claim}; at most {MAX_ROIS} ROIs of {MAX_BYTES} bytes are read."
    return InputError(text, path, "Save the ROIs of each image in a file of its own.")


def _parsed(name: str, data: bytes) -> tuple[str, ImagejRoi | InputError]:
    """Return a ROI under its own name, or that of the file where it has none."""
    from roifile import ImagejRoi

    try:
        roi = ImagejRoi.frombytes(data)
    except Exception as error:  # damaged bytes make the parser raise nearly anything
        return name, InputError(f"Is damaged or no ROI ({' '.join(str(error).split()).rstrip('.')}).")
    return roi.name or name, roi
