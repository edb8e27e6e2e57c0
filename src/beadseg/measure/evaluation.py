"""Score a prediction folder against a dataset's masks, labels or points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from pydantic import Field

from beadseg import files
from beadseg.config.base import Config
from beadseg.data.dataset import Dataset, Sample, Target
from beadseg.data.documents import pair
from beadseg.data.fields import listed
from beadseg.data.image_io import read_labels, read_mask
from beadseg.data.masks import Doubt, Doubts
from beadseg.data.scan import natural_key
from beadseg.errors import ConfigError, InputError, MachineError
from beadseg.events import Event, OnEvent, StopFlag, ignore, log, track
from beadseg.measure.matching import IOU_THRESHOLDS
from beadseg.measure.scores import GroupScore, ImageScore, count_overlap, group_scores, score_image, with_density
from beadseg.text import csv_text, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FEW_BEADS = 10
"""With fewer beads than this in all images, equal masks prove nothing."""
LEAST_OPPOSITE, MOST_ALIKE = 0.5, 0.1
"""Jaccard with the inverted annotation from which, and with the annotation up to which, one side looks inverted."""
SUFFIXES = (".png", ".tif", ".tiff")
"""What predicted masks and labels are stored as."""

IDENTICAL = "Every prediction equals its annotation in every pixel."
IDENTICAL_REMEDY = (
    "If the annotations were made from these predictions, the scores say nothing about the model: score against "
    "annotations that a person made or corrected."
)
"""Said where a perfect score is more likely an error than a success."""


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
    predictions_relative: str = ""
    """The way to the prediction folder from the one that this document is in, for when both are moved together."""
    dataset_relative: str = ""
    """The way to the dataset folder."""
    folders: dict[str, str] = Field(default_factory=dict)
    """What the dataset's folders are called, where they are not ``images``, ``masks``, ``labels`` and ``ignore``."""
    samples: int
    """Samples that were to be scored."""
    images: tuple[ImageScore, ...]
    """One per image, or plane of a stack."""
    groups: tuple[GroupScore, ...]
    """All images, every field of view, every density class."""
    failures: tuple[Failure, ...]
    """What could not be scored."""
    identical: int = 0
    """Images with beads whose prediction equals the annotation in every pixel."""

    @property
    def failed_samples(self) -> tuple[str, ...]:
        """Names of the samples that have no score."""
        return tuple(failure.name for failure in self.failures if failure.kind in ("missing", "unreadable"))

    @property
    def flagged(self) -> tuple[str, ...]:
        """Names of the images whose annotation may not be what it claims, so that their scores say little."""
        return tuple(image.image for image in self.images if image.flags)

    @property
    def scored_itself(self) -> bool:
        """Whether every image with beads has a prediction that equals its annotation in every pixel.

        Never with fewer than `FEW_BEADS` beads, which a good model may happen to draw alike.
        """
        beads = sum(image.true_count for image in self.images)
        with_areas = sum(image.true_px > 0 for image in self.images)
        return 0 < self.identical == with_areas and beads >= FEW_BEADS

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
        InputError
            The folder holds something else, whose files would be replaced.
        MachineError
            The folder cannot be written to.
        """
        refuse_output(out)
        files.ensure_folder(out)
        placed = self.replace(
            predictions_relative=files.relative_path(Path(self.predictions), out),
            dataset_relative=files.relative_path(Path(self.dataset), out),
        )
        failures = pd.DataFrame([failure.model_dump() for failure in self.failures])
        files.write_together(
            {
                out / files.EVALUATION: placed.model_dump_json(indent=2) + "\n",
                out / files.EVALUATION_IMAGES: csv_text(self.image_table()),
                out / files.EVALUATION_GROUPS: csv_text(self.group_table()),
                out / files.FAILURES: csv_text(failures) if len(failures) else None,
            }
        )

    @classmethod
    def read(cls, out: Path) -> Evaluation:
        """Read what `write` wrote; raises `ConfigError` when it is missing or of another version."""
        try:
            return cls.from_file(out / files.EVALUATION)
        except ConfigError as error:
            raise ConfigError(error.what, error.where, "Evaluate again.") from None

    def find_predictions(self, folder: Path) -> Path:
        """Return where the prediction folder is now; `folder` is that of the evaluation.

        Raises
        ------
        InputError
            It is not where it was, and was not moved together with the evaluation.
        """
        for place in (files.find_again(self.predictions, self.predictions_relative, folder), folder.resolve().parent):
            if (place / files.LABELS).is_dir() or (place / files.MASKS).is_dir():
                return place
        raise InputError("No such prediction folder.", self.predictions, "Move it back and make the report again.")

    def open_dataset(self, folder: Path, moved: Path | None = None) -> Dataset:
        """Open the dataset where it is now.

        Parameters
        ----------
        folder : pathlib.Path
            The evaluation folder.
        moved : pathlib.Path, optional
            The dataset folder, when it was moved without the evaluation.

        Raises
        ------
        InputError
            It is gone, or not a dataset any more.
        """
        place = files.find_again(self.dataset, self.dataset_relative, folder) if moved is None else moved
        usual = (files.IMAGES, files.MASKS, files.LABELS, files.IGNORE, files.POINTS)
        names = {name: name for name in usual} | self.folders
        return Dataset.open(
            place,
            images=names[files.IMAGES],
            masks=names[files.MASKS],
            labels=names[files.LABELS],
            ignore=names[files.IGNORE],
            points=names[files.POINTS],
        )


def refuse_output(out: Path) -> None:
    """Raise `InputError` where an evaluation would replace files of a dataset, a run or predictions."""
    for name in (files.IMAGES, files.MASKS, files.LABELS, files.PREDICTION, files.COUNTS, files.CONFIG, files.DENSITY):
        if (out / name).exists():
            text = f"Holds {name}, so that an evaluation cannot be written there."
            raise InputError(text, out, "Give another --out folder; nothing was written.")


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
        The truth: labels where a sample has them, else points, otherwise the 8-connected components of its mask.
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
        There is no such folder, it holds neither masks nor labels, a number is wrong, or the truth is the predictions
        themselves.
    Cancelled
        `stop` was set.
    """
    predictions = files.user_path(predictions)
    folder = _Predictions.open(predictions).of_samples(dataset, on_event)
    if diameter_px is not None and not 0 < diameter_px < float("inf"):
        raise InputError(f"The bead diameter is {diameter_px} px.", remedy="Give a positive number.")
    folder.refuse_as_truth(dataset)
    failures = [*_unpaired(dataset), *folder.without_sample(dataset)]
    images: list[ImageScore] = []
    doubts = Doubts(len(dataset))
    identical = 0
    for sample in track(dataset.samples, "evaluate", len(dataset.samples), on_event, stop):
        try:
            scores, same = _score_sample(sample, folder, diameter_px, doubts)
        except MachineError:
            raise
        except _MissingError as error:
            failures.append(Failure(kind="missing", name=sample.name, reason=str(error)))
        except InputError as error:
            reason = str(error).removeprefix(f"{sample.name}: ")
            failures.append(Failure(kind="unreadable", name=sample.name, reason=reason))
        else:
            images += scores
            identical += same
    _report_failures(failures, on_event)
    doubts.report(on_event)
    scored = with_density(images, density_bins)
    if points := sum(not image.areas for image in scored):
        on_event(log(points_text(points)))
    if any(not image.instances for image in scored):
        on_event(log("Some masks have no ids: touching beads count as one there, so that counts may look too high."))
    evaluation = Evaluation(
        predictions=files.printable(predictions.absolute()),
        dataset=str(dataset.root.absolute()),
        folders=_folders(dataset),
        samples=len(dataset.samples),
        images=scored,
        groups=group_scores(scored) if scored else (),
        failures=tuple(failures),
        identical=identical,
    )
    if evaluation.scored_itself:
        on_event(Event("identical", f"{predictions}: {IDENTICAL} {IDENTICAL_REMEDY}", "warning"))
    return evaluation


def points_text(images: int) -> str:
    """Return what is said of images whose truth is points."""
    return f"The truth of {plural(images, 'image')} is points: no Jaccard, Dice or AP there."


class _MissingError(InputError):
    """A sample has no prediction."""


class _Predictions:
    """The files of a prediction folder by name."""

    def __init__(self, root: Path, masks: dict[str, Path], labels: dict[str, Path]) -> None:
        self.root, self.masks, self.labels = root, masks, labels
        self.failed: dict[str, str] = {}

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

    def of_samples(self, dataset: Dataset, on_event: OnEvent) -> _Predictions:
        """Return the files by the names of the samples that they are of; others keep the names that they have here."""
        stored = {*self.masks, *self.labels}
        pairing = pair(self.root, stored, [(sample.name, sample.image_path) for sample in dataset])
        if pairing.changed:
            text = "The image was changed after it was predicted. Predict it again."
            on_event(log(f"{listed(list(pairing.changed))}: {text}", "warning"))
        if pairing.doubtful:
            text = "Another file was predicted under this name than the dataset's image"
            on_event(log(f"{listed(list(pairing.doubtful))}: {text}. Check that they show the same.", "warning"))
        sample_of = {name: sample for sample, name in pairing.names.items()}
        rest = {name: f"{self.root.name}/{name}" if name in dataset.names else name for name in stored - set(sample_of)}
        masks, labels = ({(sample_of | rest)[name]: path for name, path in found.items()}
                         for found in (self.masks, self.labels))  # fmt: skip
        folder = _Predictions(self.root, masks, labels)
        folder.failed = pairing.failed
        return folder

    def refuse_as_truth(self, dataset: Dataset) -> None:
        """Raise `InputError` where the dataset's annotations are these predictions, or those of another folder."""
        remedy = "Give a dataset whose annotations a person made or corrected."
        for sample in dataset:
            if sample.mask_path is None:
                continue
            own = (self.labels.get(sample.name), self.masks.get(sample.name))
            if any(path is not None and path.samefile(sample.mask_path) for path in own):
                text = "Is the prediction itself, so that its score would be perfect."
                raise InputError(text, sample.mask_path, remedy)
            folder = sample.mask_path.resolve().parent
            if folder.name in (files.MASKS, files.LABELS) and (folder.parent / files.PREDICTION).is_file():
                raise InputError("Holds predictions, not annotations.", folder, remedy)

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
                if name in self.failed:
                    raise _MissingError(f"Could not be predicted: {self.failed[name]}")
                raise _MissingError("Has no prediction.", remedy="Predict it, or leave it out with --exclude.")
            return [(foreground, None) for foreground, _ in read_mask(mask_path).planes()]
        instances = [labels for _, labels in read_labels(label_path).planes() if labels is not None]
        if mask_path is None:
            return [(labels > 0, labels) for labels in instances]
        foregrounds = [foreground for foreground, _ in read_mask(mask_path).planes()]
        if len(foregrounds) != len(instances):
            raise InputError(
                f"Has {plural(len(foregrounds), 'plane')}, its labels {len(instances)}.", mask_path, "Predict it again."
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


def _score_sample(
    sample: Sample, folder: _Predictions, diameter_px: float | None, doubts: Doubts
) -> tuple[list[ImageScore], int]:
    """Return the scores of every plane, and how many planes with beads were predicted as they are annotated."""
    predicted = folder.planes(sample.name)
    truths = [(plane, target) for plane, _, target in sample.planes()]
    if len(predicted) != len(truths):
        raise InputError(
            f"The prediction has {plural(len(predicted), 'plane')}, the truth {len(truths)}.",
            sample.name,
            "Predict it again.",
        )
    scores, identical = [], 0
    for (foreground, labels), (plane, target) in zip(predicted, truths, strict=True):
        image = f"{sample.name}_{plane}" if plane else sample.name
        score = score_image(image, sample.name, sample.field, foreground, labels, target, diameter_px)
        found = [*target.doubts(), *(_opposite(foreground, target) if score.areas else ())]
        doubts.add(sample.name, found)
        flags = " ".join(doubt.text for doubt in found if doubt.kind != "soft")  # soft edges are cut, and mean no less
        scores.append(score.replace(flags=flags))
        identical += bool(target.foreground.any()) and _equal(foreground, labels, target)
    return scores, identical


def _opposite(foreground: NDArray[np.bool_], truth: Target) -> list[Doubt]:
    """Doubt an annotation that marks what the prediction leaves out, and leaves out what the prediction marks."""
    kept = np.ones(foreground.shape, bool) if truth.ignore is None else ~truth.ignore
    alike, inverted = (
        count_overlap(foreground, marked, truth.ignore).jaccard for marked in (truth.foreground, ~truth.foreground)
    )
    marks = (foreground & kept).any() and (truth.foreground & kept).any()
    if not marks or inverted < LEAST_OPPOSITE or alike > MOST_ALIKE:
        return []
    text = f"The annotation marks what the prediction leaves out: inverted, it has a Jaccard of {inverted:.2f} with it."
    return [Doubt("opposite", text, "Look at both; save 255 (or ids) on beads and 0 elsewhere.")]


def _equal(foreground: NDArray[np.bool_], labels: NDArray[np.uint32] | None, truth: Target) -> bool:
    same = np.array_equal(foreground, truth.foreground)
    return same and (labels is None or truth.labels is None or np.array_equal(labels, truth.labels))


def _folders(dataset: Dataset) -> dict[str, str]:
    """Return what the dataset's folders are called, those of the usual names left out."""
    root, found = dataset.root.resolve(), {}
    for sample in dataset:
        annotation = files.LABELS if sample.has_labels else files.MASKS
        parts = ((files.IMAGES, sample.image_path), (annotation, sample.mask_path), (files.IGNORE, sample.ignore_path),
                 (files.POINTS, sample.points_path))  # fmt: skip
        for part, path in parts:
            if path is not None and path.resolve().parent.parent == root and path.parent.name != part:
                found[part] = path.parent.name
    return found


def _unpaired(dataset: Dataset) -> list[Failure]:
    return [
        Failure(kind="unpaired", name=files.printable(problem.path.name), reason=problem.message)
        for problem in dataset.problems
    ]


def _report_failures(failures: Sequence[Failure], on_event: OnEvent) -> None:
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
