"""The images of a field of view, as numbers of one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from beadseg.errors import ImageError, InputError
from beadseg.text import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from beadseg.data.dataset import Sample

MOST_TILES = 24
"""Images of a field of view that are looked at, evenly spread."""

_DEPTHS: dict[str, Literal[8, 16]] = {"uint8": 8, "uint16": 16}


@dataclass(frozen=True)
class Kind:
    """What all images of a data set have in common."""

    channels: Literal[1, 3]
    bit_depth: Literal[8, 16]

    @property
    def unit(self) -> float:
        """Values per 8-bit grey level."""
        return 1.0 if self.bit_depth == 8 else 257.0


@dataclass(frozen=True, eq=False)
class Picture:
    """One image: (C, Y, X) float64, 8-bit grey levels, and its annotation (Y, X) bool."""

    name: str
    kind: Kind
    pixels: NDArray[np.float64]
    foreground: NDArray[np.bool_]


def pictures(samples: Sequence[Sample]) -> list[Picture]:
    """Read the images of a field of view.

    Raises
    ------
    ImageError
        One cannot be read, is neither grey nor RGB, or has neither 8 nor 16 bits.
    """
    step = max(1, -(-len(samples) // MOST_TILES))
    return [picture for sample in samples[::step] for picture in _planes(sample)]


def _planes(sample: Sample) -> Iterator[Picture]:
    for plane, pixels, target in sample.planes():
        depth, channels = _DEPTHS.get(pixels.dtype.name), len(pixels)
        if depth is None or channels not in (1, 3):
            raise ImageError(
                f"Has {plural(channels, 'channel')} of {pixels.dtype.name}; "
                "grey or RGB images of 8 or 16 bits can be measured.",
                sample.image_path,
                "Convert it, or leave it out with --exclude.",
            )
        kind = Kind(1 if channels == 1 else 3, depth)
        name = f"{sample.name}_{plane}" if plane else sample.name
        yield Picture(name, kind, pixels / kind.unit, target.foreground)


def same_kind(kinds: set[Kind]) -> Kind:
    """Return the one kind of all images; raise `InputError` when they are of several."""
    if len(kinds) > 1:
        text = " and ".join(
            sorted(f"{'RGB' if kind.channels == 3 else 'grey'} of {kind.bit_depth} bits" for kind in kinds)
        )
        raise InputError(f"The images are of several kinds: {text}.", None, "Choose those of one with --include.")
    return next(iter(kinds))
