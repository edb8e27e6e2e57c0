"""Is a result plausible? What is not gets a flag in ``counts.csv`` and an exit code of its own, never "Success"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from beadseg.measure.calibration import Calibration

NEARLY_EVERYTHING = 0.5
"""Share of the image from which a foreground is implausible for separate beads."""
DENSITY_FACTOR = 3.0
"""How far outside the training densities a result may lie before it is flagged."""


def flags(count: int, coverage: float, pixels: int, fingerprint: Mapping[str, Any]) -> list[str]:
    """Return what is implausible about a count, in plain words; empty when nothing is.

    Parameters
    ----------
    count : int
        Beads found.
    coverage : float
        Share of foreground pixels, 0 to 1.
    pixels : int
        Pixels of the image.
    fingerprint : mapping
        Of the training data (`beadseg.data.fingerprint.Fingerprint`).
    """
    found: list[str] = []
    highest = float(fingerprint["objects_per_mpx_max"])
    lowest = float(fingerprint["objects_per_mpx_min"])
    density = count / pixels * 1e6
    expected_least = lowest / DENSITY_FACTOR * pixels / 1e6
    if count == 0:
        if expected_least >= 1:
            found.append("nothing found, although every training image had beads")
        else:
            found.append("nothing found")
    nearly = max(NEARLY_EVERYTHING, float(fingerprint["positive_ratio_max"]))
    if coverage >= nearly or coverage > 3 * float(fingerprint["positive_ratio_max"]) + 0.05:
        found.append(f"{coverage:.0%} of the image is foreground (training images: at most "
                     f"{float(fingerprint['positive_ratio_max']):.0%})")  # fmt: skip
    if density > highest * DENSITY_FACTOR:
        found.append(f"{density:.0f} beads per megapixel, training images had at most {highest:.0f}")
    elif count and count < expected_least - 2:
        found.append(f"{density:.0f} beads per megapixel, training images had at least {lowest:.0f}")
    return found


def disagreement(count: float, second: float | None, pixels: int, calibration: Calibration | None) -> list[str]:
    """Return a flag where the count by separation and the count by area differ by more than they usually do.

    Parameters
    ----------
    count : float
        Beads that were separated.
    second : float or None
        Beads by area; None where there is no such count.
    pixels : int
        Pixels of the image.
    calibration : Calibration or None
        Of the model.
    """
    if second is None or calibration is None or not calibration.disagrees(count, second, pixels):
        return []
    low, high = calibration.usual_seconds(count, pixels)
    return [f"two counts disagree: {count:.0f} beads separated, {second:.0f} by area (usual: {low:.0f} to {high:.0f})"]
