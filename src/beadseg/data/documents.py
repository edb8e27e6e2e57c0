"""Read the documents and tables of a run or prediction folder, and what a prediction folder says of its images.

They may be damaged or written by hand. Of a prediction folder: which source every name stands for, and what was done.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from beadseg import files
from beadseg.config.base import Config
from beadseg.data.fields import decoded, separator_of
from beadseg.data.image_io import open_image
from beadseg.data.scan import sha256_of, signature_of, stem_of
from beadseg.errors import ConfigError, ImageError, InputError, RunError
from beadseg.text import original

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

C = TypeVar("C", bound=Config)

REMEDY = "Copy it again from where it was made, or make it again."

LONGEST_NAME = 180
"""Maximum number of bytes of a name: with planes and extensions it must fit into the 255 of a file name."""
_PLANE = re.compile(r"(.+)_(?:t\d{3,}(?:_z\d{3,})?|z\d{3,})")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029/\\]")
_FIRST = re.compile(r"[\s.\-=+@'\uff1d\uff0b\uff0d\uff20]")


def read_document(path: Path, *keys: str) -> dict[str, Any]:
    """Return the object in a JSON file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    *keys : str
        What the object must have.

    Raises
    ------
    RunError
        There is no such file, it holds no JSON object, or a key is missing.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError("No such file.", path, REMEDY) from None
    except OSError as error:
        raise files.read_error(error, path) from None
    except (ValueError, RecursionError) as error:
        raise RunError(f"Cannot be read as JSON ({_reason(error)}).", path, REMEDY) from None
    if not isinstance(document, dict):
        raise RunError(f"Holds no JSON object but a {type(document).__name__}.", path, REMEDY)
    missing = [key for key in keys if key not in document]
    if missing:
        raise RunError(f"Lacks {', '.join(map(repr, missing))}.", path, REMEDY)
    return document


def read_entries(path: Path, key: str, kind: type[C]) -> list[C]:
    """Return the list that a JSON file holds under `key`, each entry validated as `kind`.

    Raises
    ------
    RunError
        There is no such file, no such list, or an entry is not valid.
    """
    entries = read_document(path, key)[key]
    if not isinstance(entries, list):
        raise RunError(f"{key!r} is not a list.", path, REMEDY)
    try:
        return [kind.parse(entry) for entry in entries]
    except ConfigError as error:
        raise RunError(f"{key!r} holds a wrong entry: {error.what}", path, REMEDY) from None


def read_table(path: Path, *columns: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header line; every row has a text, maybe empty, for each of `columns`.

    Raises
    ------
    RunError
        There is no such file, it is not a table, a column is missing, or a row is cut off.
    """
    try:
        text = decoded(path, REMEDY)
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator_of(text, columns))
        rows = list(reader)
        names = reader.fieldnames or ()
    except InputError as error:
        raise RunError(error.what, path, error.remedy) from None
    except (ValueError, csv.Error) as error:
        raise RunError(f"Cannot be read as a table ({_reason(error)}).", path, REMEDY) from None
    missing = [column for column in columns if column not in names]
    if missing:
        raise RunError(f"Lacks the column {', '.join(map(repr, missing))}.", path, REMEDY)
    for number, row in enumerate(rows, start=1):
        if any(row[column] is None for column in columns):
            raise RunError(f"Row {number} is cut off.", path, REMEDY)
    return [{name: original(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]


def inner(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object under `key`; empty where there is none."""
    value = document.get(key)
    return value if isinstance(value, dict) else {}


def is_plain_name(name: str) -> bool:
    """Return whether `name` names something in a folder, never something outside it."""
    return not set(name) & {"/", "\\", "\0"} and name not in (".", "..") and not Path(name).drive


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def source_of(path: Path) -> str:
    """Return what an image is known by: its absolute path, links and ``..`` resolved."""
    return files.printable(files.real_path(files.user_path(path)))


def name_key(name: str) -> str:
    """Return what two names must differ in so that no file system takes one for the other."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def plain_name(text: str) -> str:
    """Return `text` as a name of files that every system and every command takes.

    In one Unicode form (NFC); without separators, back slashes and control characters; not beginning like an option, a
    formula or a hidden file; not ending with a space or dot; of at most `LONGEST_NAME` bytes, a longer one cut and with
    a hash at its end.
    """
    name = _UNSAFE.sub("_", unicodedata.normalize("NFC", files.printable(text)))
    name = re.sub(r"[\s.]+$", "_", name)
    if _FIRST.match(name):
        name = f"_{name[1:]}"
    if len(name.encode()) <= LONGEST_NAME:
        return name or "_"
    cut = name.encode()[: LONGEST_NAME - 9].decode("utf-8", "ignore")
    return f"{cut}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def names_of(
    images: Iterable[Path], known: Mapping[str, str] | None = None, sources: Mapping[Path, str] | None = None
) -> dict[Path, str]:
    """Return a name for every image, each image once: its stem, or more of its path where that is taken.

    Parameters
    ----------
    images : iterable of path
        Of several paths of one file the first is kept.
    known : mapping of str to str
        Names that were given before, with the sources that they stand for: an image of such a source keeps its name,
        and no other gets it.
    sources : mapping of path to str
        What images are known by that do not lie where they come from; their resolved paths when not given.
    """
    known, sources = known or {}, sources or {}
    given = {source: name for name, source in known.items()}
    names: dict[Path, str] = {}
    groups: dict[str, list[tuple[Path, str]]] = defaultdict(list)
    seen: set[str] = set()
    for path in images:
        source = sources.get(path) or source_of(path)
        if source in seen:
            continue
        seen.add(source)
        names[path] = given.get(source, "")  # in the order of the images
        if not names[path]:
            groups[name_key(plain_name(stem_of(path)))].append((path, source))
    taken = _Taken(known)
    for group in sorted(groups.values(), key=len):  # those that are alone first: they keep their stems
        for (path, source), name in zip(group, _names_of_group(group, taken), strict=True):
            names[path] = name
            taken.add(name, source)
    return names


def _names_of_group(group: list[tuple[Path, str]], taken: _Taken) -> list[str]:
    """Return names of images of one stem: as much of their paths as they need to differ, the same for all."""
    for candidates in _candidates(group, taken):
        different = len({name_key(name) for name in candidates}) == len(group)
        if different and not any(taken.has(name, source) for name, (_, source) in zip(candidates, group, strict=True)):
            return candidates
    raise InputError("No name is left for this image.", group[0][0], "Give a new --out folder.")


def _candidates(group: list[tuple[Path, str]], taken: _Taken) -> Iterator[list[str]]:
    """Yield names for the images of a group: stems, with the folder, the extension, more folders, and a hash last."""
    paths = [_given(path, source) for path, source in group]
    stems = [stem_of(path) for path in paths]
    kinds = [_with_kind(path, stem) for path, stem in zip(paths, stems, strict=True)]
    folders = {str(Path(source).parent) for _, source in group}
    holder = taken.source(plain_name(stems[0]))
    one_folder = len(folders) < len(group) or str(Path(holder).parent) in folders
    first = [(0, kinds), (1, stems)] if one_folder else [(1, stems), (0, kinds)]
    for depth, ends in ((0, stems), *first, (1, kinds), (2, stems), (2, kinds), (3, stems), (3, kinds)):
        starts = ["".join(f"{folder}_" for folder in path.parent.parts[1:][-depth:] if depth) for path in paths]
        yield [plain_name(start + end) for start, end in zip(starts, ends, strict=True)]
    for digits in (8, 16, 32):
        codes = [hashlib.sha256(source.encode()).hexdigest()[:digits] for _, source in group]
        yield [plain_name(f"{code}_{stem}") for code, stem in zip(codes, stems, strict=True)]


def _given(path: Path, source: str) -> Path:
    """Return the path that an image was given by; of one that is a copy only its name, which tells something."""
    absolute = files.user_path(path).absolute()
    return absolute if source == source_of(path) else Path(absolute.anchor, path.name)


def _with_kind(path: Path, stem: str) -> str:
    return f"{stem}_{path.name[len(stem) :].strip('.').replace('.', '_')}"


class _Taken:
    """Names that stand for a source, also those that the planes of a stack give to their files."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self._names: dict[str, str] = {}
        self._planes: dict[str, list[str]] = defaultdict(list)
        for name, source in known.items():
            self.add(name, source)

    def add(self, name: str, source: str) -> None:
        key = name_key(name)
        self._names[key] = source
        if match := _PLANE.fullmatch(key):
            self._planes[match[1]].append(key)

    def source(self, name: str) -> str:
        """Return the source that a name stands for, or ``""``."""
        return self._names.get(name_key(name), "")

    def has(self, name: str, source: str) -> bool:
        """Tell whether files of `name`, or of its planes, are those of another image."""
        key = name_key(name)
        if key in self._names:
            return True
        match = _PLANE.fullmatch(key)
        if match and match[1] in self._names and _is_stack(Path(self._names[match[1]])):
            return True
        return key in self._planes and _is_stack(Path(source))


def _is_stack(path: Path) -> bool:
    try:
        return len(open_image(path).names) > 1
    except (ImageError, OSError):
        return False


def read_sources(folder: Path) -> dict[str, str]:
    """Return the source of every image of a prediction folder, by name; empty where the folder does not say."""
    return {name: str(source) for name, source in inner(_document(folder), "images").items()}


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what results were made of (size, time and SHA-256 of a file) and with, by name."""
    found = inner(_document(folder), "results")
    return {name: result for name, result in found.items() if isinstance(result, dict)}


def _document(folder: Path) -> dict[str, Any]:
    path = folder / files.PREDICTION
    return read_document(path) if path.exists() else {}


def seen_in_training(folder: Path) -> set[str]:
    """Return the images of a prediction folder, by name, that its model was trained or chosen with, as far as known."""
    run = Path(str(_document(folder).get("run", "")))
    try:
        rows = read_table(run / files.SAMPLES, "image_sha256")
    except RunError:  # the general model, or a run that is not there any more
        return set()
    known = {row["image_sha256"] for row in rows} - {""}
    return {name for name, result in read_results(folder).items() if result.get("sha256") in known}


def read_failures(folder: Path) -> dict[str, str]:
    """Return why images of a prediction folder failed, by source."""
    failures = {}
    try:
        for row in read_table(folder / files.FAILURES, "image", "error"):
            failures[source_of(Path(row["image"]))] = row["error"]
    except RunError:  # absent where none failed
        return {}
    return failures


@dataclass(frozen=True)
class Pairing:
    """Which prediction is of which sample.

    Attributes
    ----------
    names : dict of str to str
        Name in the prediction folder by name of the sample.
    failed : dict of str to str
        Why a sample could not be predicted.
    doubtful : tuple of str
        Samples that are paired by name alone, although another file was predicted under that name.
    changed : tuple of str
        Samples whose image was changed after it was predicted.
    """

    names: dict[str, str]
    failed: dict[str, str]
    doubtful: tuple[str, ...]
    changed: tuple[str, ...]


def pair(folder: Path, stored: Iterable[str], samples: Iterable[tuple[str, Path]]) -> Pairing:
    """Pair predictions with samples: those of the very file, then of the same content, then of the same name.

    Parameters
    ----------
    folder : pathlib.Path
        The prediction folder.
    stored : iterable of str
        The names that it has results of.
    samples : iterable of tuple of str and path
        Name and image of every sample.
    """
    sources, failures, results = read_sources(folder), read_failures(folder), read_results(folder)
    there = {name for name in stored if sources.get(name) not in failures}
    by_source = {sources[name]: name for name in there if name in sources}
    samples = list(samples)
    names = {name: by_source[source] for name, path in samples if (source := source_of(path)) in by_source}
    free = there - set(names.values())
    by_file: dict[tuple[str, Any], list[str]] = defaultdict(list)
    for name in free & results.keys() & sources.keys():
        by_file[Path(sources[name]).name, results[name].get("size")].append(name)
    others = [(sample, path) for sample, path in samples if sample not in names]
    hashes = _Hashes()
    changed = [name for name, path in samples if name in names and _differs(path, results.get(names[name], {}), hashes)]
    for sample, path in others:
        alike = by_file.get((path.name, next(iter(signature_of(path)), None)), ())
        same = next((name for name in alike if name in free and results[name].get("sha256") == hashes(path)), None)
        if same is not None:
            names[sample] = same
            free.discard(same)
    by_name = {name_key(name): name for name in free}
    doubtful = []
    for sample, path in others:
        found = None if sample in names else by_name.get(name_key(sample), by_name.get(name_key(plain_name(sample))))
        if found is not None:
            names[sample] = found
            known = results.get(found, {}).get("sha256")
            if known and known != hashes(path):
                doubtful.append(sample)
    failed = {name: failures[source] for name, path in samples if (source := source_of(path)) in failures}
    return Pairing(names, failed, tuple(doubtful), tuple(changed))


def _differs(path: Path, result: dict[str, Any], hashes: _Hashes) -> bool:
    """Tell whether a file is not the one any more that a result was made of, as far as that is known."""
    signature = signature_of(path)
    if not signature or "size" not in result or signature == [result["size"], result.get("mtime_ns")]:
        return False
    return signature[0] != result["size"] or bool(result.get("sha256") and hashes(path) != result["sha256"])


class _Hashes:
    """SHA-256 of files, each read once; empty for folders, and for what cannot be read."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def __call__(self, path: Path) -> str:
        if path not in self._known:
            try:
                self._known[path] = "" if path.is_dir() else sha256_of(path)
            except ImageError:
                self._known[path] = ""
        return self._known[path]


def journal_of(folder: Path, element: int | None = None) -> Path:
    """Return the journal of who holds the lock of a prediction folder, or of an element of a job array."""
    start, end = files.UNMERGED.split(".")
    return folder / (files.UNMERGED if element is None else f"{start}-{element:05d}.{end}")


def journals_of(folder: Path) -> list[Path]:
    """Return the journals of a prediction folder: those of the elements of an array, then that of who merges them."""
    start, end = files.UNMERGED.split(".")
    elements = sorted(folder.glob(f"{start}-*.{end}"), key=lambda path: path.name)
    return [*elements, *(path for path in [folder / files.UNMERGED] if path.exists())]


def read_unmerged(folder: Path) -> list[dict[str, Any]]:
    """Return what became of images since the tables of a prediction folder were written."""
    entries = [entry for journal in journals_of(folder) for entry in read_journal(journal)]
    return [entry for entry in entries if "begun" not in entry]


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a journal: images that were begun, and what became of images.

    An unfinished last line, of a process that was killed, counts for nothing.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    entries = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and isinstance(entry.get("image"), str):
            entries.append(entry)
    return entries


def with_unmerged(counts: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return rows of ``counts.csv``, read as text, with those that a killed process left unmerged in their places."""
    import pandas as pd

    entries = {entry["image"]: entry for entry in read_unmerged(folder)}
    if not entries or "image" not in counts.columns:
        return counts
    counts = without_cut_off(counts, folder)
    kept = counts[~counts["image"].isin(list(entries))]
    rows = [{name: _cell(value) for name, value in row.items()} for entry in entries.values()
            for row in entry.get("rows", [])]  # fmt: skip
    new = pd.DataFrame(rows, columns=list(counts.columns)).fillna("")
    return pd.concat([kept, new], ignore_index=True) if rows else kept.reset_index(drop=True)


def without_cut_off(counts: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Return rows of ``counts.csv`` without a last one that a sudden end cut off; the journal has it."""
    journal, table = folder / files.UNMERGED, folder / files.COUNTS
    cut_off = journal.exists() and table.exists() and not table.read_bytes().endswith(b"\n")
    return counts.iloc[:-1] if cut_off else counts


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)


def refuse_output(folder: Path, images: Sequence[Path]) -> None:
    """Raise `InputError` where results would go into a dataset, a run, or a folder that holds what is predicted.

    Parameters
    ----------
    folder : pathlib.Path
        The folder of the results; it need not exist.
    images : sequence of path
        The images that are predicted.
    """
    remedy = "Give a folder of its own; nothing was written."
    out = files.real_path(folder)
    dataset = _dataset_of(out)
    if dataset is not None:
        text = f"Belongs to the dataset {dataset}: predictions would be taken for its annotations."
        raise InputError(text, folder, remedy)
    if any((out / name).is_file() for name in (files.CONFIG, files.SWEEP, files.CROSSVAL)):
        raise InputError("Is the folder of a training, whose report would be replaced.", folder, remedy)
    for image in images:
        source = files.real_path(files.user_path(image))
        if out == source or out in source.parents or source in out.parents:
            raise InputError(f"Holds an image to be predicted ({files.printable(image)}).", folder, remedy)


def refuse_foreign_folder(folder: Path, own: str, what: str) -> None:
    """Raise `InputError` where `what` (a run, an audit …) would be written among the files of something else.

    `own` is the file by which its own folder is known; results of other commands and datasets have others.
    """
    remedy = "Give a folder of its own; nothing was written."
    place = files.real_path(folder)
    dataset = _dataset_of(place)
    if dataset is not None:
        raise InputError(f"Belongs to the dataset {dataset}, so that {what} cannot be written there.", folder, remedy)
    for name in (files.CONFIG, files.PREDICTION, files.CROSSVAL, files.SWEEP, files.EVALUATION, files.DENSITY):
        if name != own and (place / name).is_file():
            raise InputError(f"Holds {name} of something else, so that {what} cannot be written there.", folder, remedy)


def _dataset_of(out: Path) -> Path | None:
    """Return the dataset folder that `out` is, or is one of the folders of."""
    if (out / files.IMAGES).is_dir():
        return out
    parts = (files.IMAGES, files.MASKS, files.LABELS, files.IGNORE, files.POINTS, files.REVIEW)
    return out.parent if out.name in parts and (out.parent / files.IMAGES).is_dir() else None


def is_predicted(folder: Path) -> bool:
    """Tell whether a folder of masks or labels, where it really lies, is one that `predict` wrote."""
    return (files.real_path(folder).parent / files.PREDICTION).is_file()
