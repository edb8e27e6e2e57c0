"""Score a prediction folder against a dataset's masks or labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from beadseg import files
from beadseg.config.base import Config
from beadseg.data.dataset import Dataset, Sample, natural_key
from beadseg.data.fields import listed
from beadseg.data.image_io import read_labels, read_mask
from beadseg.errors import InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, ignore, log, track
from beadseg.measure.groups import GroupScore, group_scores, with_density
from beadseg.measure.matching import IOU_THRESHOLDS
from beadseg.measure.score import ImageScore, score_image
from beadseg.text import csv_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = (".png", ".tif", ".tiff")
"""What predicted masks and labels are stored as."""


class Failure(Config):
    """A sample that could not be scored, or a prediction that belongs to none."""

    kind: Literal["missing", "unreadable", "unknown", "unpaired"]
    """Sample without prediction; prediction or mask that cannot be compared; prediction without sample; dataset file
    that was left out."""
    name: str
    """Name of the sample or prediction."""
    reason: str
    """One sentence for a person."""


class Evaluation(Config):
    """All scores of a prediction folder.

    Samples in `failures` enter no mean: an image without a result has no score, and is named instead.
    """

    schema_version: Literal[1] = 1
    """Version of this document."""
    predictions: str
    """The prediction folder."""
    dataset: str
    """The dataset folder."""
    samples: int
    """Samples that were to be scored."""
    images: tuple[ImageScore, ...]
    """One per image, or plane of a stack."""
    groups: tuple[GroupScore, ...]
    """All images, every field of view, every density class."""
    failures: tuple[Failure, ...]
    """What could not be scored."""

    @property
    def failed_samples(self) -> tuple[str, ...]:
        """Names of the samples that have no score."""
        return tuple(failure.name for failure in self.failures if failure.kind in ("missing", "unreadable"))

    @property
    def overall(self) -> GroupScore:
        """The score of all images together; raises `InputError` when nothing was scored."""
        if not self.groups:
            raise InputError("Nothing was scored.", self.predictions, "See the failures.")
        return self.groups[0]

    def by(self, what: Literal["field", "density"]) -> tuple[GroupScore, ...]:
        """Return the scores by field of view or density class."""
        return tuple(group for group in self.groups if group.by == what)

    def image_table(self) -> pd.DataFrame:
        """Return one row per image."""
        return _table(self.images, ImageScore)

    def group_table(self) -> pd.DataFrame:
        """Return one row per group, `overall` first."""
        return _table(self.groups, GroupScore)

    def write(self, out: Path) -> None:
        """Write ``evaluation.json``, ``evaluation.csv``, ``evaluation_groups.csv`` and, if any, ``failures.csv``.

        Raises
        ------
        MachineError
            The folder cannot be written to.
        """
        files.ensure_folder(out)
        files.write_atomically(out / files.EVALUATION, self.model_dump_json(indent=2) + "\n")
        _write_table(out / files.EVALUATION_IMAGES, self.image_table())
        _write_table(out / files.EVALUATION_GROUPS, self.group_table())
        if self.failures:
            _write_table(out / files.FAILURES, pd.DataFrame([failure.model_dump() for failure in self.failures]))
        else:
            (out / files.FAILURES).unlink(missing_ok=True)

    @classmethod
    def read(cls, out: Path) -> Evaluation:
        """Read what `write` wrote; raises `ConfigError` when it is missing or of another version."""
        return cls.from_file(out / files.EVALUATION)


def evaluate(
    predictions: Path | str,
    dataset: Dataset,
    *,
    density_bins: Sequence[int] | None = None,
    diameter_px: float | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> Evaluation:
    """Score a prediction folder.

    Parameters
    ----------
    predictions : path
        A folder with ``masks/`` (0 and 255), ``labels/`` (one id per bead), or both, paired with samples by name. Beads
        are those of the labels; where there are none, the 8-connected components of the mask.
    dataset : Dataset
        The truth: labels where a sample has them, otherwise the 8-connected components of its mask.
    density_bins : sequence of int, optional
        Lower bounds of the density classes, true beads per image; quintiles when not given.
    diameter_px : float, optional
        Bead diameter, px: centres match within half of it. When not given, the median equivalent diameter of the true
        objects of each image.
    on_event, stop
        Progress and warnings; the flag that ends the work.

    Returns
    -------
    Evaluation
        With what could not be scored in ``failures``; nothing is left out in silence.

    Raises
    ------
    InputError
        There is no such folder, it holds neither masks nor labels, or a number is wrong.
    Cancelled
        `stop` was set.
    """
    folder = _Predictions.open(Path(predictions))
    if diameter_px is not None and not 0 < diameter_px < float("inf"):
        raise InputError(f"The bead diameter is {diameter_px} px.", remedy="Give a positive number.")
    failures = [*_unpaired(dataset), *folder.without_sample(dataset)]
    images: list[ImageScore] = []
    for sample in track(dataset.samples, "evaluate", len(dataset.samples), on_event, stop):
        try:
            images.extend(_score_sample(sample, folder, diameter_px))
        except MachineError:
            raise
        except _MissingError as error:
            failures.append(Failure(kind="missing", name=sample.name, reason=str(error)))
        except InputError as error:
            reason = str(error).removeprefix(f"{sample.name}: ")
            failures.append(Failure(kind="unreadable", name=sample.name, reason=reason))
    _tell(failures, on_event)
    scored = with_density(images, density_bins)
    if any(not image.instances for image in scored):
        on_event(log("Some masks have no ids: touching beads count as one there, so that counts may look too high."))
    return Evaluation(
        predictions=files.printable(predictions),
        dataset=str(dataset.root),
        samples=len(dataset.samples),
        images=scored,
        groups=group_scores(scored) if scored else (),
        failures=tuple(failures),
    )


class _MissingError(InputError):
    """A sample has no prediction."""


class _Predictions:
    """The files of a prediction folder by name."""

    def __init__(self, root: Path, masks: dict[str, Path], labels: dict[str, Path]) -> None:
        self.root, self.masks, self.labels = root, masks, labels

    @classmethod
    def open(cls, root: Path) -> _Predictions:
        if not root.is_dir():
            raise InputError("No such prediction folder.", root, "Give the folder that `predict` wrote.")
        masks, labels = _scan(root / files.MASKS), _scan(root / files.LABELS)
        if not masks and not labels:
            raise InputError(
                f"Holds no predictions in {files.MASKS}/ or {files.LABELS}/.",
                root,
                "Give the folder that `predict` wrote.",
            )
        return cls(root, masks, labels)

    def without_sample(self, dataset: Dataset) -> list[Failure]:
        """Return the predictions that no sample of the dataset has the name of."""
        unknown = sorted({*self.masks, *self.labels} - set(dataset.names), key=natural_key)
        reason = "Predicted, but the dataset has no such sample (or it was left out by pattern)."
        return [Failure(kind="unknown", name=files.printable(name), reason=reason) for name in unknown]

    def planes(self, name: str) -> list[tuple[NDArray[np.bool_], NDArray[np.uint32] | None]]:
        """Return the predicted foreground and instances of every plane."""
        mask_path, label_path = self.masks.get(name), self.labels.get(name)
        if label_path is None:
            if mask_path is None:
                raise _MissingError("Has no prediction.", remedy="Predict it, or leave it out with --exclude.")
            return [(foreground, None) for foreground, _ in read_mask(mask_path).planes()]
        instances = [labels for _, labels in read_labels(label_path).planes() if labels is not None]
        if mask_path is None:
            return [(labels > 0, labels) for labels in instances]
        foregrounds = [foreground for foreground, _ in read_mask(mask_path).planes()]
        if len(foregrounds) != len(instances):
            raise InputError(
                f"Has {len(foregrounds)} planes, its labels {len(instances)}.", mask_path, "Predict it again."
            )
        if foregrounds[0].shape != instances[0].shape:
            (height, width), (rows, columns) = foregrounds[0].shape, instances[0].shape
            text = f"Is {width}x{height} px (width x height), its labels {columns}x{rows} px."
            raise InputError(text, mask_path, "Predict it again.")
        return list(zip(foregrounds, instances, strict=True))


def _scan(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    }


def _score_sample(sample: Sample, folder: _Predictions, diameter_px: float | None) -> list[ImageScore]:
    predicted = folder.planes(sample.name)
    truths = [(plane, target) for plane, _, target in sample.planes()]
    if len(predicted) != len(truths):
        raise InputError(
            f"The prediction has {len(predicted)} planes, the truth {len(truths)}.", sample.name, "Predict it again."
        )
    scores = []
    for (foreground, labels), (plane, target) in zip(predicted, truths, strict=True):
        image = f"{sample.name}_{plane}" if plane else sample.name
        scores.append(score_image(image, sample.name, sample.field, foreground, labels, target, diameter_px))
    return scores


def _unpaired(dataset: Dataset) -> list[Failure]:
    return [
        Failure(kind="unpaired", name=files.printable(problem.path.name), reason=problem.message)
        for problem in dataset.problems
    ]


def _tell(failures: Sequence[Failure], on_event: OnEvent) -> None:
    """Report failures, those of one kind and reason together."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for failure in failures:
        by_reason.setdefault((failure.kind, failure.reason), []).append(failure.name)
    for (kind, reason), names in by_reason.items():
        on_event(Event("failure", f"{listed(names)}: {reason}", "warning", {"kind": kind, "names": names}))


def _table(scores: Sequence[ImageScore] | Sequence[GroupScore], kind: type[Config]) -> pd.DataFrame:
    """Return one row per score, its average precisions as columns ``ap50`` … ``ap95``."""
    names = [f"ap{threshold * 100:.0f}" for threshold in IOU_THRESHOLDS]
    rows = [{**score.model_dump(), **dict(zip(names, score.average_precisions, strict=True))} for score in scores]
    columns = [name for name in kind.model_fields if name != "average_precisions"]
    return pd.DataFrame(rows, columns=[*columns, *(name for name in names if name not in columns)])


def _write_table(path: Path, table: pd.DataFrame) -> None:
    files.write_atomically(path, csv_text(table))
