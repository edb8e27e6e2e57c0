"""The plain baseline without a network: difference of Gaussians, then Otsu's threshold.

What a network is worth is what it finds beyond this. Benchmarks and cross-validation report it beside their results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from skimage.filters import difference_of_gaussians, threshold_otsu

from beadseg.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIGMA_LOW = 1.0
"""Standard deviation of the narrow Gaussian, px: takes away noise."""
SIGMA_HIGH = 15.0
"""Standard deviation of the wide Gaussian, px: the local background, wider than a bead."""


def threshold_baseline(grey: NDArray[np.generic], polarity: Literal["dark", "bright"] = "dark") -> NDArray[np.bool_]:
    """Segment beads with a difference of Gaussians and Otsu's threshold (Otsu 1979; scikit-image).

    Parameters
    ----------
    grey : (Y, X), any real dtype
        Grey values of one plane; the result does not change with their scale or offset.
    polarity : {"dark", "bright"}
        Whether beads are darker or brighter than their surroundings.

    Returns
    -------
    (Y, X) bool
        True in beads; nowhere where the image is of one grey value, which has no threshold.

    Raises
    ------
    InputError
        The image is not 2D, is empty, holds NaN or infinity, or the polarity is unknown.
    """
    if polarity not in ("dark", "bright"):
        raise InputError(f"The polarity is {polarity!r}.", remedy="Choose dark or bright.")
    if grey.ndim != 2 or not grey.size:
        raise InputError(f"The image has shape {grey.shape}.", remedy="Give one grey plane (Y, X).")
    values = grey.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError("The image holds NaN or infinity.", remedy="Replace them first.")
    if values.min() == values.max():
        return np.zeros(grey.shape, dtype=np.bool_)
    # Offset and scale away first: rounding would otherwise make the result depend on them.
    values = (values - values.min()) / (values.max() - values.min())
    contrast = difference_of_gaussians(values, SIGMA_LOW, SIGMA_HIGH, mode="nearest")  # type: ignore[no-untyped-call]
    if polarity == "dark":
        contrast = -contrast
    level = threshold_otsu(contrast)  # type: ignore[no-untyped-call]
    return np.asarray(contrast > level, dtype=np.bool_)
