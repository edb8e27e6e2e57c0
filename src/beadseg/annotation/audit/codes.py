"""What the audit can find, by code, in one line each; `docs` and reports take their wording from here."""

from __future__ import annotations

from typing import Final, Literal

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
