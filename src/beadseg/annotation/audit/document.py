"""The audit as a document: frozen, versioned, written as JSON and as CSV with one row a finding.

Every code that the audit can find stands here with its one-line text; docs and reports take their wording from it.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from beadseg import files
from beadseg.config.base import Config
from beadseg.errors import InputError
from beadseg.files import ensure_folder, write_together
from beadseg.text import csv_rows

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
"""Version of the document; a change that old readers would misread raises it."""

FINDING_COLUMNS = (
    "sample",
    "code",
    "severity",
    "value",
    "unit",
    "message",
    "box",
    "partner",
    "field",
    "badness",
    "proposal",
)
"""Columns of the CSV. ``box`` is ``y0 x0 y1 x1`` in px."""

Box = tuple[int, int, int, int]

Severity = Literal["error", "warning", "note"]
"""``error``: training on it does harm; ``warning``: look at it; ``note``: worth knowing, no fault by itself."""

SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")
"""Worst first."""

Code = Literal[
    "unreadable", "size", "dtype", "empty", "full", "inverted", "mismatch", "orientation", "scale", "affine", "shift",
    "dilated", "eroded", "partial", "extra", "merged", "broken", "rings", "specks", "soft", "duplicate", "leak",
    "contradicted", "polarity", "focus", "saturated", "light",
]  # fmt: skip
"""Code of a finding."""

MEANING: Final[dict[Code, str]] = {
    "unreadable": "A file cannot be read, or its values are neither a mask nor labels.",
    "size": "The mask has another size than its image, or the image another size than the others.",
    "dtype": "A file stores other numbers than the rest of the data set, or in a way that loses some.",
    "empty": "The mask marks nothing, although beads are visible.",
    "full": "The mask marks (nearly) everything.",
    "inverted": "The mask marks the background instead of the beads.",
    "mismatch": "The mask belongs to another image.",
    "orientation": "The mask is turned, mirrored or transposed.",
    "scale": "The mask is too large or too small in scale, per cent.",
    "affine": "The mask is turned by a few degrees, or stretched along one direction.",
    "shift": "The mask lies beside the beads, everywhere or in one part; dy, dx in px.",
    "dilated": "The marked beads are larger than elsewhere in the data set, measured against the image.",
    "eroded": "The marked beads are smaller than elsewhere in the data set, measured against the image.",
    "partial": "Beads are visible that are not marked.",
    "extra": "Something is marked where no bead is.",
    "merged": "One label covers several beads.",
    "broken": "A bead has several labels, or a label lies in pieces.",
    "rings": "Most of what the mask marks has a round hole: outlines that were not filled.",
    "specks": "Most of what the mask marks is too small to be beads.",
    "soft": "The mask is not binary but has soft edges.",
    "duplicate": "The same image (also turned, mirrored, cut out or saved again) or the same mask is there twice.",
    "leak": "Tiles of one field of view are on both sides of the split.",
    "contradicted": "Networks that never saw this sample contradict its mask more than usual.",
    "polarity": "The beads are bright where the data set's are dark, or the other way round.",
    "focus": "The beads are more blurred, or much fainter, than elsewhere in the data set.",
    "saturated": "Many pixels are at the end of the range of intensities.",
    "light": "The light is far more uneven than elsewhere in the data set, or nearly absent.",
}
"""What each code means."""

CORRECTABLE: Final[tuple[Code, ...]] = ("mismatch", "orientation", "scale", "affine", "shift", "inverted", "soft")
"""Codes for which a corrected mask can be computed (``mismatch`` where the right mask is in the data set)."""


class Finding(Config):
    """One thing that is, or may be, wrong with a sample."""

    sample: str
    """Name of the sample; with the plane's name behind a slash in a stack."""
    field: str
    """Its field of view."""
    code: Code
    """What it is; see the table of codes."""
    severity: Severity
    """How bad that kind of fault is."""
    badness: Annotated[float, Field(ge=0.0, le=1.0)]
    """How bad this one is: about the share of the annotation that is wrong. Worst come first within a severity."""
    value: float
    """The number that matters most, in `unit`."""
    unit: str
    """Unit of `value`: px, %, degrees …, empty for a plain number."""
    values: dict[str, float] = Field(default_factory=dict)
    """All numbers: ``dy``, ``dx`` (px, how far the mask lies beside the beads), ``scale`` (%), …"""
    message: str
    """One plain sentence."""
    box: Box | None = None
    """Where to look: first row, first column, and the row and column behind the last, px. The whole image when None."""
    partner: str | None = None
    """The other sample concerned: the duplicate, or the one whose mask or image this is."""


class NotAssessable(Config):
    """What could not be assessed in a sample, and why."""

    codes: tuple[Code, ...]
    """Checks that were not made."""
    reason: str
    """One plain sentence."""


class Proposal(Config):
    """A corrected mask that was written, and what it improves."""

    sample: str
    """Name of the sample."""
    codes: tuple[Code, ...]
    """Findings that it corrects."""
    file: str
    """File, relative to the audit's folder."""
    before: float
    """Fit of the mask as it is: correlation with the image, -1 to 1."""
    after: float
    """Fit of the corrected mask."""
    why: str
    """What was done, in words."""


class MaskFit(Config):
    """How a mask must be moved to fit its image: ``q = centre + matrix (p - centre) + (dy, dx)``."""

    orientation: int
    """First turned or mirrored, 0-7; see `beadseg.annotation.audit.registration.ORIENTATIONS`."""
    matrix: tuple[float, float, float, float]
    """Row by row, for points (y, x) about the centre of the image."""
    dy: float
    """Then shifted down, px."""
    dx: float
    """Then shifted right, px."""
    pairs: int
    """Beads of the mask that then lie on beads of the image."""
    marked: float
    """Their share of the mask's beads, beyond chance."""
    seen: float
    """Their share of the image's beads, beyond chance."""


class SampleAudit(Config):
    """What is known of one sample."""

    sample: str
    """Its name."""
    field: str
    """Its field of view."""
    beads_seen: int | None = None
    """Beads found in the image without looking at the mask; touching ones may count once."""
    beads_marked: int | None = None
    """Objects in the mask, found in the same way; or its ids."""
    codes: tuple[Code, ...] = ()
    """Codes of its findings, notes left out."""
    fit: MaskFit | None = None
    """The best fit of its mask; None where mask or image has no beads."""
    not_assessable: tuple[NotAssessable, ...] = ()
    """What could not be assessed."""


class Baseline(Config):
    """What is usual in this data set, and what findings are measured against."""

    bead_diameter_px: float
    """Bead diameter in the masks, px."""
    polarity: Literal["dark", "bright"]
    """What beads are against the background."""
    response: float
    """Typical answer of the bead filter, in units of contrast."""
    dy: float = 0.0
    """Usual place of the masks against the beads, px: positive is down."""
    dx: float = 0.0
    """Usual place of the masks against the beads, px: positive is right."""
    shift_spread: float = 0.0
    """Robust standard deviation of that place over samples, px."""
    radius_offset: float | None = None
    """Usual radius in the masks less that in the image, px."""
    radius_spread: float = 0.0
    """Its robust standard deviation over samples, px."""
    edge_width: float | None = None
    """Usual width of the beads' edges in the image, px."""
    edge_spread: float = 0.0
    """Its robust standard deviation over samples, px."""
    contrast: float | None = None
    """Usual contrast of the beads."""
    missing: float = 0.0
    """Usual share of visible beads that are not marked."""
    extra: float = 0.0
    """Usual share of marked places without a bead."""
    unevenness: float = 0.0
    """Usual range of the background over its median."""
    saturated: float = 0.0
    """Usual share of pixels at an end of the range."""
    samples: int = 0
    """Samples that fit well enough to tell the usual geometry."""


class Audit(Config):
    """Findings about a data set, worst first."""

    schema_version: Literal[1] = 1
    """Version of this document."""
    beadseg_version: str
    """Version of the program."""
    dataset: str
    """Folder of the data set."""
    baseline: Baseline | None
    """What is usual here; None where no mask marks a bead."""
    findings: tuple[Finding, ...]
    """Worst first."""
    samples: tuple[SampleAudit, ...]
    """Every sample, in natural order."""
    failures: dict[str, str] = Field(default_factory=dict)
    """Samples that could not be read, and why."""
    left_out: tuple[str, ...] = ()
    """Files that belong to no sample."""
    proposals: tuple[Proposal, ...] = ()
    """Corrected masks that were written."""

    @property
    def flagged(self) -> tuple[str, ...]:
        """Names of samples with an error or a warning, in natural order."""
        return tuple(sample.sample for sample in self.samples if sample.codes)

    def of(self, sample: str) -> tuple[Finding, ...]:
        """Return the findings of one sample, worst first."""
        return tuple(finding for finding in self.findings if finding.sample == sample)

    def to_csv(self) -> str:
        """Return the findings as CSV, one row each; a cell that a spreadsheet would run as a formula gets a quote."""
        proposed = {(p.sample, code): p.file for p in self.proposals for code in p.codes}
        rows = (  # numbers as such, not as texts that are made safe
            (f.sample, f.code, f.severity, Decimal(f"{f.value:.4g}"), f.unit, f.message,
             " ".join(map(str, f.box or ())), f.partner, f.field, Decimal(f"{f.badness:.3f}"),
             proposed.get((f.sample, f.code)))
            for f in self.findings
        )  # fmt: skip
        return csv_rows(FINDING_COLUMNS, rows)

    def write(self, folder: Path) -> None:
        """Write ``audit.json`` and ``audit.csv`` into `folder`; raises `MachineError`."""
        ensure_folder(folder)
        document = self.model_dump_json(indent=1) + "\n"
        write_together({folder / files.AUDIT: document, folder / files.AUDIT_TABLE: self.to_csv()})

    @classmethod
    def read(cls, folder: Path) -> Audit:
        """Read what `write` wrote; raises `InputError` when it is missing, damaged or of a newer version."""
        path = folder / files.AUDIT
        try:
            values: Any = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError("Holds no audit.", folder, "Run `beadseg-batch audit` first.") from None
        except (OSError, ValueError) as error:
            raise InputError(f"Cannot be read as JSON: {error}.", path, "Run the audit again.") from None
        found = values.get("schema_version") if isinstance(values, dict) else None
        if found != SCHEMA_VERSION:
            text = f"Has the schema version {found}, this program reads {SCHEMA_VERSION}."
            raise InputError(text, path, "Use the beadseg that wrote it, or run the audit again.")
        return cls.parse(values, path)


def worst_first(finding: Finding) -> tuple[int, float, str, str]:
    """Return the key by which findings are sorted."""
    return SEVERITIES.index(finding.severity), -finding.badness, finding.sample, finding.code
