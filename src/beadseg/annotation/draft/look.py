"""What the beads of a folder look like, measured without any annotation: size, polarity, contrast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from beadseg.annotation.draft.scale_space import WINDOW_PX, Blobs, blobs
from beadseg.config.base import Config
from beadseg.errors import InputError
from beadseg.events import OnEvent, StopFlag, ignore, track
from beadseg.model.background import relative_to_background
from beadseg.model.inputs import luminance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Polarity = Literal["dark", "bright"]

MEASURED_SIDE = 768
"""Only the middle of larger images is looked at, px."""
NOISE = 4.0
"""Blobs this many times as strong as the median blob, which is noise, may be beads."""
VISIBLE = 6.0
"""Beads' typical strength must be this many times the median blob's: else there is nothing but noise."""
BLUR = 0.83
"""Optics and sensor blur beads, so that they respond at a scale larger than a sharp disk of their size would."""


class BeadLook(Config):
    """What beads look like."""

    diameter_px: float
    """Diameter, px."""
    polarity: Polarity
    """Whether they are darker or brighter than what surrounds them."""
    response: float
    """Typical strength of their blobs, relative to the background's brightness."""


def relative(plane: NDArray[np.generic]) -> NDArray[np.float32]:
    """Return a plane (C, Y, X) as (Y, X) float32: brightness relative to the local background, which is 0."""
    return relative_to_background(luminance(plane), WINDOW_PX, 1.0)


def measure_look(
    planes: Sequence[NDArray[np.generic]],
    *,
    polarity: Polarity | None = None,
    diameter_px: float | None = None,
    on_event: OnEvent = ignore,
    stop: StopFlag | None = None,
) -> BeadLook:
    """Measure size and polarity of the beads in some planes together.

    Blobs of either polarity are found over sizes of 3 to 40 px. Those of the beads' polarity are stronger than their
    halos and gaps, so that the polarity with more energy above the noise is theirs; the size is the mean of their
    blobs' sizes (geometric, weighed by energy), less what blur adds.

    Parameters
    ----------
    planes : sequence of (C, Y, X) arrays
        A dozen is plenty.
    polarity, diameter_px : optional
        Known already; not measured then.
    on_event, stop
        Progress, and the flag that ends the work between planes.

    Raises
    ------
    InputError
        Nothing stands out from the noise.
    Cancelled
        `stop` was set.
    """
    found: dict[Polarity, list[Blobs]] = {"dark": [], "bright": []}
    for plane in track(planes, "measuring beads", len(planes), on_event, stop):
        dark, bright = blobs(relative(_middle(plane)))
        found["dark"].append(dark)
        found["bright"].append(bright)
    strong = {kind: _above_noise(parts) for kind, parts in found.items() if polarity in (None, kind)}
    chosen = max(strong, key=lambda kind: float((strong[kind].response ** 2).sum()))
    beads, noise = strong[chosen], _noise(found[chosen])
    typical = typical_response(beads.response)
    if typical <= VISIBLE * noise:
        raise InputError(
            "No beads stand out from the noise in these images.",
            "draft",
            "Draft by a trained run (--run), or annotate some by hand.",
        )
    clear = beads.response > typical / 2
    scale = np.average(np.log(beads.diameter[clear]), weights=beads.response[clear] ** 2)
    diameter = BLUR * float(np.exp(scale)) if diameter_px is None else diameter_px
    return BeadLook(diameter_px=round(diameter, 2), polarity=chosen, response=round(typical, 5))


def typical_response(responses: NDArray[np.float32]) -> float:
    """Return the strength above and below which lies half of the blobs' energy; 0 for none."""
    if not len(responses):
        return 0.0
    ascending = np.sort(responses)
    energy = np.cumsum(ascending.astype(np.float64) ** 2)
    return float(ascending[np.searchsorted(energy, energy[-1] / 2)])


def _middle(plane: NDArray[np.generic]) -> NDArray[np.generic]:
    top, left = (max(0, (length - MEASURED_SIDE) // 2) for length in plane.shape[-2:])
    return plane[:, top : top + MEASURED_SIDE, left : left + MEASURED_SIDE]


def _noise(parts: list[Blobs]) -> float:
    responses = np.concatenate([part.response for part in parts])
    return float(np.median(responses)) if len(responses) else 0.0


def _above_noise(parts: list[Blobs]) -> Blobs:
    noise = _noise(parts)
    responses = np.concatenate([part.response for part in parts])
    strong = responses > NOISE * noise
    return Blobs(responses[strong], np.concatenate([part.diameter for part in parts])[strong])
