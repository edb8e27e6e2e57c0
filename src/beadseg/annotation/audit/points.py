"""Where beads are: sub-pixel peaks of a response map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NEIGHBOURS = ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1))


@dataclass(frozen=True, eq=False)
class Peaks:
    """Local maxima of a map.

    Attributes
    ----------
    position : (N, 2) float64
        Row and column, px; the centre of the first pixel is 0.
    height : (N,) float64
        Value of the map there.
    roundness : (N,) float64
        Smaller over larger curvature: 1 for a round peak, 0 for a ridge.
    """

    position: Floats
    height: Floats
    roundness: Floats

    def __len__(self) -> int:
        return len(self.height)

    def where(self, keep: NDArray[np.bool_]) -> Peaks:
        """Return the peaks of which `keep`, (N,), is True."""
        return Peaks(self.position[keep], self.height[keep], self.roundness[keep])


def find_peaks(response: NDArray[np.float32], threshold: float) -> Peaks:
    """Return the local maxima (of 3x3 px) above `threshold`, refined by a parabola through their neighbours."""
    padded = np.pad(response, 1, constant_values=-np.inf)
    width = padded.shape[1]
    flat = padded.ravel()
    at = np.flatnonzero(flat > threshold)
    for dy, dx in _NEIGHBOURS:
        step = dy * width + dx
        # Of two equal neighbours the first one counts.
        ahead = flat[at + step]
        at = at[(flat[at] > ahead) if step < 0 else (flat[at] >= ahead)]
    rows, columns = np.divmod(at, width)
    return _refined(response, rows - 1, columns - 1)


def _refined(response: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Peaks:
    framed = np.pad(response, 1, mode="edge")

    def around(dy: int, dx: int) -> Floats:
        return np.asarray(framed[rows + 1 + dy, columns + 1 + dx], np.float64)

    centre = around(0, 0)
    down, up, right, left = around(1, 0), around(-1, 0), around(0, 1), around(0, -1)
    yy, xx = down - 2 * centre + up, right - 2 * centre + left
    xy = (around(1, 1) - around(1, -1) - around(-1, 1) + around(-1, -1)) / 4
    offset_y = np.where(yy < 0, (up - down) / np.where(yy < 0, 2 * yy, 1.0), 0.0)
    offset_x = np.where(xx < 0, (left - right) / np.where(xx < 0, 2 * xx, 1.0), 0.0)
    position = np.stack((rows + np.clip(offset_y, -0.5, 0.5), columns + np.clip(offset_x, -0.5, 0.5)), axis=1)
    mean, spread = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    weakest, strongest = mean + spread, mean - spread
    roundness = np.where(strongest < 0, np.clip(weakest / np.where(strongest < 0, strongest, -1.0), 0.0, 1.0), 0.0)
    return Peaks(position.astype(np.float64), centre, roundness)
