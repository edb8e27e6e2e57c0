"""The ranges of random looks: one frozen configuration, every range with its reason."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from beadseg.config.base import Config

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Range = tuple[float, float]
"""Lowest and highest value, drawn uniformly unless the field says logarithmically."""

Family = Literal["dark", "bright", "ring", "fluorescence", "opaque"]
FAMILIES: tuple[Family, ...] = ("dark", "bright", "ring", "fluorescence", "opaque")
"""How beads change the light: absorb it, focus it, show rings, emit it, or hide what is below."""
Arrangement = Literal["sparse", "free", "chains", "clumps", "lattice", "packed"]
ARRANGEMENTS: tuple[Arrangement, ...] = ("sparse", "free", "chains", "clumps", "lattice", "packed")
"""How beads lie."""
Empty = Literal[
    "blank", "gradient", "noise", "scene", "text", "gratings", "cells", "weave", "debris", "too-large", "too-small"
]
EMPTIES: tuple[Empty, ...] = (
    "blank", "gradient", "noise", "scene", "text", "gratings", "cells", "weave", "debris", "too-large", "too-small"
)  # fmt: skip
"""Pictures without beads of the size that is looked for."""


class LookConfig(Config):
    """Ranges of random looks. Lengths are px of the finished image; intensities are shares of full scale.

    The defaults are what the general model is trained on: its beads are about 8 px across.
    """

    side: Annotated[int, Field(ge=32, le=4096)] = 128
    """Side of the square image, px: sixteen bead diameters, so that clumps and uneven light fit in."""

    families: dict[Family, float] = Field(
        default={"dark": 0.27, "bright": 0.17, "ring": 0.21, "fluorescence": 0.19, "opaque": 0.16}
    )
    """How often each family is drawn (relative). Dark absorbing beads are the commonest in brightfield counting."""
    arrangements: dict[Arrangement, float] = Field(default={
        "sparse": 0.11, "free": 0.22, "chains": 0.13, "clumps": 0.26, "lattice": 0.09, "packed": 0.19
    })  # fmt: skip
    """How often each arrangement is drawn (relative). Clumps lead: they decide the error of a count. Packings follow:
    between packed beads gaps look like smaller beads of the other brightness, and only many of them teach which is
    which."""
    empty: Share = 0.2
    """Share of images without beads: enough to learn them, few enough not to make the model timid."""
    empties: dict[Empty, float] = Field(default={
        "blank": 1, "gradient": 0.7, "noise": 2.2, "scene": 3.5, "text": 2, "gratings": 1.2, "cells": 1.2, "weave": 1,
        "debris": 1.2, "too-large": 5, "too-small": 2,
    })  # fmt: skip
    """How often each kind of empty image is drawn (relative). Scenes stand for photographs. Beads far from the size
    that the model works at are empty images too: this is how it knows that a scale is the wrong one."""

    diameter: Range = (5.0, 13.0)
    """Median bead diameter of an image, px, logarithmically: 0.6 to 1.6 times the working diameter of 8 px."""
    middle: Share = 0.5
    """Share of images whose median diameter is drawn from the middle half of that range: images come to the model
    resampled, so that most beads have nearly the working diameter."""
    labelled: Range = (4.0, 17.0)
    """Beads of these diameters are in the truth."""
    ignored: Range = (3.0, 23.0)
    """Beads outside `labelled` but within this are neither bead nor background; those beyond are not beads."""
    spread: Range = (0.0, 0.12)
    """Standard deviation of the diameters, share: suppliers of microbeads state 1 to 12 %."""
    mixed: Share = 0.2
    """Share of images with several sizes, as mixtures of products and emulsions have."""
    mixed_ratio: Range = (1.3, 3.0)
    """Largest to smallest diameter there."""
    elongated: Share = 0.25
    """Share of images whose beads are not quite round: cells, nuclei, squeezed droplets."""
    elongation: Range = (1.0, 1.45)
    """Long to short axis there; beyond it one bead looks like two."""
    rough: Range = (0.0, 0.05)
    """Amplitude of an irregular outline in those images, share of the radius."""
    cells: Share = 0.16
    """Share of images whose beads look like cells: nuclei with a texture inside and unequally bright, or pale cells
    with a wide middle as bright as the ground. Both have sharp edges and are up to 1.7 times as long as wide. At the
    right scale each is one; where they are too large, nothing inside them is a bead."""
    overlap: Range = (0.0, 0.42)
    """Deepest overlap of two beads in an image, share of their mean diameter: a little beyond the 30 % promised."""
    dark_pairs: Share = 0.5
    """Share of images of dark beads with deep overlaps, much blur, and beads that are equally dark. Two of them are
    then one oval without a waist; only its darkness and length tell. Most that was missed in real tiles was this."""
    coverage: Range = (0.02, 0.5)
    """Share of the area that free, chained or clumped beads are to cover, logarithmically."""
    gap: Range = (0.96, 1.9)
    """Lattice and close packing: distance of neighbours, diameters. Balls in one layer touch and do not overlap; a
    little below 1 stands for sizes and edges that are not exact."""

    square: Share = 0.02
    """Share of close packings, and of lattices nearly as close, that are square: equal balls in a layer settle
    hexagonally. In a square one the gaps look like beads of the other brightness, and nothing tells which is which."""
    blur: Range = (0.03, 0.28)
    """Standard deviation of a bead's blur, diameters. Beads of 7.5 px blurred over 2 px are common; at 0.28 two that
    touch hardly have a valley between them, but are longer, and darker where they overlap, than one."""
    packed_blur: Annotated[float, Field(ge=0.0)] = 0.17
    """No more blur than this where beads fill the image: at 0.17 a lattice of touching beads keeps a third of its
    modulation, at 0.28 a tenth, which noise hides."""
    clumped_blur: Annotated[float, Field(ge=0.0)] = 0.2
    """No more blur than this in clumps that do not absorb: in the middle of a clump nothing else tells how many."""
    packed_rose: Annotated[float, Field(ge=1.0)] = 18.0
    """In place of `rose` there. Packed beads are equally bright, and the images without stripes of the sensor and
    lightly compressed, since only the modulation between beads tells them apart."""
    blur_spread: Range = (0.0, 0.3)
    """Difference of blur between the beads of an image, share of it: beads lie at different heights."""
    contrast: Range = (0.05, 0.85)
    """Dark, bright, ring and opaque: contrast to the ground, logarithmically."""
    contrast_spread: Range = (0.0, 0.25)
    """Standard deviation of the contrast between beads, share."""
    rose: Annotated[float, Field(ge=1.0)] = 14.0
    """Limit of what can be seen: contrast times the root of a bead's area in sensor pixels, over the noise of a pixel;
    where beads touch, the contrast of what tells them apart, which four beads out of five have.
    Rose (1948) found 5 to be what an observer needs to detect a disc; to tell
    two that touch, in noise that enlargement and JPEG made coarse, takes more than twice."""
    grey_levels: Annotated[float, Field(ge=1.0)] = 7.0
    """Fewest steps of the file's numbers between bead and ground: an 8-bit image of less contrast is given 16 bits."""
    unequal: Share = 0.25
    """Share of images whose beads differ in brightness up to `inequality`: stained to unequal degrees, or dividing."""
    inequality: Range = (1.5, 5.0)
    """Strongest to weakest bead there."""
    textured: Share = 0.2
    """Share of fluorescent and opaque images whose beads have a texture inside, as nuclei and porous beads have."""
    texture: Range = (0.05, 0.3)
    """Its standard deviation, share of the bead's light."""
    grain: Range = (0.15, 0.5)
    """Size of its features, diameters, logarithmically: specks of chromatin to lobes."""
    pale: Share = 0.35
    """Share of images whose beads have a paler or a stronger middle, as lenses and red blood cells have."""
    paleness: Range = (-0.6, 1.0)
    """How much paler the middle is: 1 as the ground, below 0 stronger."""
    noise: Range = (0.002, 0.1)
    """Noise of a sensor pixel in bright light, share of it, logarithmically, below what `rose` allows."""
    photons: Range = (4.0, 3000.0)
    """Fluorescence: photons in a pixel of a bead, logarithmically, above what `rose` demands."""
    dim: Range = (0.0, 0.25)
    """Fluorescence: glow of the ground, share of a bead's light: out-of-focus light and free dye."""

    uneven: Range = (0.0, 0.4)
    """Change of the light across the image, share: a lamp that is not centred."""
    vignette: Range = (0.0, 0.25)
    """Loss of light in the corners, share."""
    mottle: Range = (0.0, 0.05)
    """Standard deviation of smooth stains of the light, share: dust far from the focus, dirty optics."""
    stripes: Share = 0.06
    """Share of images with lines of unequal gain, as CMOS sensors and scanners have."""
    hot: Share = 0.06
    """Share of images with hot and dead pixels."""
    dirty: Share = 0.2
    """Share of images with debris. Few: with debris everywhere, clumps were taken for dirt (half of them lost)."""
    haze: Range = (0.02, 0.08)
    """Fluorescence: light of beads above and below the focus, share of a bead's light, in a third of the images."""
    pieces: tuple[int, int] = (1, 5)
    """Pieces of debris in such an image."""
    written: Share = 0.05
    """Share of images with a scale bar or text on top."""

    enlarged: Share = 0.4
    """Share of images that are enlarged after the exposure: real tiles are, and small beads are scaled up."""
    enlargement: Range = (1.1, 2.6)
    """Enlargement there."""
    colour: Share = 0.4
    """Share of colour cameras."""
    bayer: Share = 0.4
    """Share of these with a Bayer pattern."""
    fringe: Range = (0.0, 0.12)
    """Lateral shift of red and blue against green, bead diameters: cheap objectives."""
    sharpened: Share = 0.2
    """Share of images that the camera's software sharpened."""
    sharpening: Range = (0.3, 1.8)
    """Strength of the unsharp mask there."""
    gamma: Range = (0.55, 1.6)
    """Exponent of the camera's tone curve, logarithmically, in half of the images."""
    exposure: Range = (0.25, 0.95)
    """Level of the brightest of ground and beads, share of full scale."""
    clipped: Share = 0.06
    """Share of images that are overexposed."""
    pedestal: Range = (0.0, 0.15)
    """Offset of black, share of full scale."""
    sixteen: Share = 0.25
    """Share of images with 12 to 16 bits in uint16."""
    jpeg: Share = 0.4
    """Share of 8-bit images that went through JPEG."""
    jpeg_small: Annotated[float, Field(ge=0.0)] = 110.0
    """No quality below this less eight for every px of a bead's diameter: less leaves nothing of small beads."""
    jpeg_quality: tuple[int, int] = (45, 96)
    """Its quality; below 45 the blocks are as large as beads."""
