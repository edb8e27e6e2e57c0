"""The page of an audit: every finding in words, the worst with a picture of image, mask and corrected mask."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from beadseg import files
from beadseg.annotation.audit.document import MEANING, SEVERITIES, Code
from beadseg.data.fields import listed
from beadseg.data.image_io import read_labels, read_mask
from beadseg.data.masks import label_objects
from beadseg.errors import BeadsegError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.measure.beads import bead_table
from beadseg.predict.results import outlines, overlay
from beadseg.report.html import (
    Badge,
    Block,
    Column,
    Gallery,
    Items,
    Key,
    Notice,
    Page,
    Picture,
    Section,
    Table,
    Text,
    Tone,
    picture_of,
)
from beadseg.report.samples import Window, fullest_window
from beadseg.text import plural

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from beadseg.annotation.audit import Audit, Finding
    from beadseg.data.dataset import Dataset, Sample


MASK, CORRECTED, BOX = "#FFB000", "#56B4E9", "#D55E00"
"""Amber, sky blue and vermilion: told apart with any colour vision (Okabe and Ito 2008), and by brightness."""
LEGEND = (
    Key(MASK, "outline of the mask"),
    Key(CORRECTED, "outline of the corrected mask that is proposed"),
    Key(BOX, "where to look"),
)
"""What the colours mean."""
MOST_PICTURES = 120
"""Findings with a picture, worst first; the page leaves out the last ones when it would grow too large."""
SIDE = 160
"""Side of the shown part of an image, px, at least; a finding's own box may be larger."""
SHOWN = 480
"""Parts are enlarged by a whole number up to about this, px."""
WHOLE: tuple[Code, ...] = ("full", "inverted", "saturated", "light", "leak")
"""Findings that are seen in the whole image."""
PICTURELESS: tuple[Code, ...] = ("leak", "unreadable")
"""Findings that no picture shows."""
TONES: dict[str, Tone] = {"error": "bad", "warning": "warn", "note": "neutral"}


def write_audit_page(
    audit: Audit, dataset: Dataset, folder: Path, on_event: OnEvent = ignore, stop: StopFlag | None = None
) -> Path:
    """Write ``audit.html`` into an audit's folder and return its path.

    Parameters
    ----------
    audit : Audit
        What was found.
    dataset : Dataset
        What it was found in: pictures are made from its files; a file that cannot be read has none.
    folder : pathlib.Path
        Of the audit, where its proposals are too.
    on_event, stop
        See `beadseg.events`.

    Raises
    ------
    MachineError
        The folder is not writable.
    Cancelled
        `stop` was set.
    """
    page = Page(
        title=f"Audit of {dataset.root.resolve().name}",
        kind="Audit of annotations",
        lead=_lead(audit),
        facts=_facts(audit),
        notices=_notices(audit),
        sections=(
            Section("What was found", _by_code(audit)),
            Section("Worst first", _pictures(audit, dataset, folder, on_event, stop)),
            Section("All findings", _table(audit)),
            Section("What could not be assessed", _unknown(audit)),
        ),
        source=folder.resolve(),
    )
    return page.write(folder / files.AUDIT_PAGE)


def _lead(audit: Audit) -> str:
    flagged, total = len(audit.flagged), len(audit.samples)
    if not flagged:
        return f"Nothing wrong was found in {plural(total, 'sample')}."
    proposed = len(audit.proposals)
    return (
        f"{flagged:,} of {plural(total, 'sample')} have findings that matter; "
        f"{plural(proposed, 'correction')} proposed."
    )


def _facts(audit: Audit) -> list[tuple[str, str]]:
    facts = [("Samples", f"{len(audit.samples):,}"), ("Findings", f"{len(audit.findings):,}")]
    usual = audit.baseline
    if usual is None:
        return facts
    facts += [
        ("Beads", f"{usual.polarity}, {usual.bead_diameter_px:g} px across in the masks"),
        ("Masks usually lie", _place(usual.dy, usual.dx)),
    ]
    if usual.radius_offset is not None:
        facts.append(("Marked radius, usually", f"{usual.radius_offset:+.2f} px against the image"))
    return facts


def _place(dy: float, dx: float) -> str:
    down, right = "below" if dy > 0 else "above", "right" if dx > 0 else "left"
    return f"{abs(dy):.2f} px {down} and {abs(dx):.2f} px {right} of the beads"


def _notices(audit: Audit) -> list[Notice]:
    notices = []
    if audit.failures:
        text = f"{plural(len(audit.failures), 'sample')} could not be read."
        notices.append(Notice(text, listed([f"{name}: {why}" for name, why in audit.failures.items()], 3)))
    if audit.left_out:
        notices.append(
            Notice(f"{plural(len(audit.left_out), 'file')} without a sample.", listed(list(audit.left_out), 3))
        )
    if audit.proposals:
        text = "Corrections are proposals: nothing was changed."
        notices.append(Notice(text, "Accept them in the review, or a whole kind by --apply.", "info"))
    return notices


def _by_code(audit: Audit) -> list[Block]:
    counts = Counter((finding.severity, finding.code) for finding in audit.findings)
    samples = {key: len({f.sample for f in audit.findings if (f.severity, f.code) == key}) for key in counts}
    order = sorted(counts, key=lambda key: (SEVERITIES.index(key[0]), -counts[key], key[1]))
    if not order:
        return [Text("Nothing.")]
    columns = (Column("Severity"), Column("Code"), Column("Findings", ",d"), Column("Samples", ",d"), Column("Meaning"))
    rows = [(_badge(severity), code, counts[severity, code], samples[severity, code], MEANING[code])
            for severity, code in order]  # fmt: skip
    return [Table(columns, rows)]


def _badge(severity: str) -> Badge:
    return Badge(severity, TONES[severity])


def _table(audit: Audit) -> list[Block]:
    proposed = {(p.sample, code): f"{p.before:.2f} → {p.after:.2f}" for p in audit.proposals for code in p.codes}
    columns = (
        Column("Severity"), Column("Code"), Column("Sample"), Column("Value", ".3g"), Column("Unit"), Column("Message"),
        Column("Correction", help="Correlation of mask and image, before and after."),
    )  # fmt: skip
    rows = [
        (_badge(f.severity), f.code, f.sample, f.value, f.unit, f.message, proposed.get((f.sample, f.code)))
        for f in audit.findings
    ]
    return [Table(columns, rows, complete_in=files.AUDIT_TABLE)] if rows else [Text("None.")]


def _unknown(audit: Audit) -> list[Block]:
    entries = [
        f"{sample.sample}: {', '.join(missing.codes)}: {missing.reason}"
        for sample in audit.samples
        for missing in sample.not_assessable
        # Masks without ids are the rule, not an exception.
        if missing.codes != ("merged", "broken")
    ]
    return [Items(entries)] if entries else [Text("Everything could be assessed.")]


def _pictures(audit: Audit, dataset: Dataset, folder: Path, on_event: OnEvent, stop: StopFlag | None) -> list[Block]:
    shown = [f for f in audit.findings if f.severity != "note" and f.code not in PICTURELESS][:MOST_PICTURES]
    by_name = {sample.name: sample for sample in dataset}
    corrected = {proposal.sample: folder / proposal.file for proposal in audit.proposals}
    pictures = []
    for finding in track(shown, "pictures", len(shown), on_event, stop):
        name, _, plane = finding.sample.partition("/")
        try:
            pictures.append(finding_picture(finding, by_name[name], plane, corrected.get(finding.sample)))
        except BeadsegError:
            continue  # a mask of another size, say: the table has it
    return [Gallery(pictures, LEGEND)] if pictures else [Text("Nothing to show.")]


def finding_picture(finding: Finding, sample: Sample, plane: str = "", corrected: Path | None = None) -> Picture:
    """Return the picture of a finding: the image with the outline of its mask and, in another colour, of the proposal.

    Parameters
    ----------
    finding : Finding
        What is shown.
    sample : Sample
        Its sample.
    plane : str
        Name of the plane, empty for a single image.
    corrected : pathlib.Path, optional
        The proposed mask.

    Raises
    ------
    ImageError
        A file cannot be read.
    """
    pixels, labels = next((p, t) for name, p, t in sample.planes() if name == plane)
    marked = label_objects(labels.foreground) if labels.labels is None else labels.labels
    shape = (marked.shape[0], marked.shape[1])
    window = _window(finding, marked, shape)
    picture = overlay(pixels, np.zeros(shape, np.uint8))[window.slices]
    scale = max(1, SHOWN // max(window.height, window.width))
    large = Image.fromarray(np.ascontiguousarray(picture)).resize(
        (window.width * scale, window.height * scale), Image.Resampling.BICUBIC
    )
    canvas = np.asarray(large).copy()
    _draw(canvas, marked[window.slices], scale, MASK)
    if corrected is not None:
        _draw(canvas, _objects(corrected)[window.slices], scale, CORRECTED)
    if finding.box is not None:
        _frame(canvas, finding.box, window, scale)
    return picture_of(canvas, f"{finding.code}: {finding.sample}", f"{finding.message} {window.caption(shape)}".strip())


def _objects(path: Path) -> NDArray[np.uint32]:
    found = read_labels(path) if path.suffix == ".tif" else read_mask(path)
    return label_objects(found.foreground) if found.labels is None else found.labels


def _window(finding: Finding, marked: NDArray[np.uint32], shape: tuple[int, int]) -> Window:
    """Return the part to show: around the finding's box, where the fault is largest, or where most beads are."""
    if finding.box is not None:
        y0, x0, y1, x1 = finding.box
        height, width = (min(n, max(SIDE, side)) for n, side in zip(shape, (y1 - y0, x1 - x0), strict=True))
        top = min(max(0, (y0 + y1 - height) // 2), shape[0] - height)
        left = min(max(0, (x0 + x1 - width) // 2), shape[1] - width)
        return Window(top, left, height, width)
    if finding.code in WHOLE or not marked.any():
        return Window(0, 0, *shape)
    centres = bead_table(marked)[["y", "x"]].to_numpy(np.float64)
    if finding.code in ("scale", "affine"):
        # Errors of scale and angle are largest far from the centre.
        middle = (np.array(shape) - 1) / 2
        far = np.abs(centres - middle).min(axis=1) > 0.4 * min(middle)
        centres = centres[far] if far.any() else centres
    return fullest_window(centres, shape, SIDE)


def _draw(canvas: NDArray[np.uint8], labels: NDArray[np.integer], scale: int, colour: str) -> None:
    """Draw outlines, two pixels wide where the picture is enlarged."""
    large = labels.repeat(scale, axis=0).repeat(scale, axis=1)
    ring = outlines(large)
    if scale > 1:
        ring |= outlines(np.where(ring, 0, large))
    canvas[ring] = tuple(bytes.fromhex(colour[1:]))


def _frame(canvas: NDArray[np.uint8], box: tuple[int, int, int, int], window: Window, scale: int) -> None:
    """Draw the finding's box, as far as it lies inside the picture and does not run along its border."""
    y0, x0, y1, x1 = box
    if (y0, x0, y1, x1) == (window.top, window.left, window.top + window.height, window.left + window.width):
        return
    top, bottom = (math.floor((y - window.top) * scale) for y in (y0, y1))
    left, right = (math.floor((x - window.left) * scale) for x in (x0, x1))
    inside = np.zeros(canvas.shape[:2], np.uint8)
    inside[max(0, top) : bottom, max(0, left) : right] = 1
    canvas[outlines(inside)] = tuple(bytes.fromhex(BOX[1:]))
