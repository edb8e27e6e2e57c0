"""What is in an image of random looks: its beads, uneven light, dirt, writing, and pictures of something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, gaussian_filter1d, zoom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beadseg.data.simulate.look_config import Arrangement, LookConfig

Floats = NDArray[np.float32]

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ,.;:+-=%()"
_GAIN = 4.0
"""Masks of drawn shapes are drawn this many times finer, so that their edges are smooth."""

STEPS = 128
"""Entries of a profile per radius."""
REACH = 3.0
"""Where a profile ends, radii."""
_LEVELS = 6
"""Blurs that a profile is tabulated for."""
_WIDE = 1.25
"""Distance of neighbours, diameters, beyond which a square lattice cannot be taken for its own gaps."""
_CHUNK = 400_000
"""Pixels drawn at a time."""


def light(config: LookConfig, side: int, contrast: float, rng: np.random.Generator) -> Floats:
    """Return the light (Y, X) of an empty slide, about 1: a gradient, dark corners and stains weaker than beads."""
    axis = np.linspace(-0.5, 0.5, side, dtype=np.float32)
    y, x = axis[:, None], axis[None, :]
    turn, centre = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5, 2)
    field = 1 + rng.uniform(*config.uneven) * (y * np.sin(turn) + x * np.cos(turn))
    field = field * (1 - rng.uniform(*config.vignette) * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2))
    if rng.random() < 0.4:
        stains = min(rng.uniform(*config.mottle), 0.12 * contrast)
        field = field * (1 + stains * clouds(side, rng.uniform(0.12, 0.4) * side, rng))
    return np.asarray(np.clip(field, 0.05, None), np.float32)


def clouds(side: int, size: float, rng: np.random.Generator) -> Floats:
    """Return smooth random values (Y, X) of standard deviation 1 whose features are about `size` px."""
    coarse = int(np.clip(np.ceil(2 * side / max(size, 1.0)), 4, side))
    field = zoom(rng.standard_normal((coarse, coarse)), (side + 1) / coarse, order=3 if coarse < side else 0)
    field = field[:side, :side]
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), np.float32)


def fractal(side: int, power: float, rng: np.random.Generator, stretch: float = 1.0) -> Floats:
    """Return noise (Y, X) with a spectrum of ``1 / frequency ** power``, standard deviation 1."""
    fy, fx = np.fft.fftfreq(side)[:, None] * stretch, np.fft.rfftfreq(side)[None, :] / stretch
    amplitude = np.maximum(np.hypot(fy, fx), 1 / side) ** -power
    amplitude[0, 0] = 0
    spectrum = amplitude * (rng.standard_normal(amplitude.shape) + 1j * rng.standard_normal(amplitude.shape))
    field = np.fft.irfft2(spectrum, s=(side, side))
    return np.asarray(field / field.std(), np.float32)


def dirt(config: LookConfig, side: int, diameter: float, rng: np.random.Generator) -> Floats:
    """Return the contrast (Y, X), -1 to 1, of pieces of debris of random kinds."""
    layer = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(config.pieces[0], config.pieces[1] + 1))):
        kind = rng.choice(["blot", "fibre", "scratch", "bubble", "cell", "dust", "grit"])
        sign = 1.0 if rng.random() < 0.7 else -1.0
        layer += sign * rng.uniform(0.2, 1.0) * _piece(str(kind), side, diameter, rng)
    return np.clip(layer, -1.2, 1.2)


def _piece(kind: str, side: int, diameter: float, rng: np.random.Generator) -> Floats:
    """Return one piece of debris (Y, X), 0 to 1; none is as round and as large as a bead."""
    centre = rng.uniform(0, side, 2)
    if kind in ("fibre", "scratch"):
        return _thread(side, centre, diameter, rng, straight=kind == "scratch")
    if kind == "grit":
        return _drawn(side, [_blob(centre, rng.uniform(0.1, 0.3) * diameter, 0.4, rng)], 0.4)
    if kind == "blot":
        size = rng.uniform(1.1, 4.0) * diameter
        blot = _drawn(side, [_blob(centre, size, rng.uniform(0.3, 0.6), rng)], rng.uniform(0.5, 0.2 * diameter + 0.6))
        return np.asarray(blot * np.clip(0.85 + 0.2 * clouds(side, diameter, rng), 0, 1.2), np.float32)
    axis = np.arange(side, dtype=np.float32)
    radius = rng.uniform(1.6, 6.0) * diameter
    away = np.hypot(axis[:, None] - centre[0], axis[None, :] - centre[1]) / radius
    if kind == "bubble":
        rim = np.exp(-0.5 * ((away - 1) / rng.uniform(0.04, 0.12)) ** 2)
        return np.asarray(rim - rng.uniform(0, 0.6) * np.exp(-0.5 * ((away - 0.85) / 0.1) ** 2), np.float32)
    if kind == "dust":
        return np.asarray(0.4 * (1 + np.cos(rng.uniform(4, 14) * away)) * np.exp(-(away**4)), np.float32)
    body = _drawn(side, [_blob(centre, radius, 0.25, rng)], 1.0)
    nucleus = _drawn(side, [_blob(centre + rng.normal(0, 0.15 * radius, 2), 0.4 * radius, 0.15, rng)], 1.5)
    return np.asarray(0.4 * body + rng.uniform(0.2, 0.6) * nucleus, np.float32)


def _blob(centre: NDArray[np.float64], radius: float, rough: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the corners (N, 2) of a closed irregular outline, stretched to up to three times its width."""
    turn = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = sum(rng.normal(0, rough / k**0.7) * np.cos(k * turn + rng.uniform(0, 6.3)) for k in range(2, 7))
    reach = radius * np.clip(1 + waves, 0.25, 2.0)
    stretch = rng.uniform(1.0, 1.7)
    outline = np.stack((reach * np.sin(turn) * stretch, reach * np.cos(turn) / stretch), axis=1)
    angle = rng.uniform(0, 2 * np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.asarray(centre + outline @ rotation)


def _thread(
    side: int, centre: NDArray[np.float64], diameter: float, rng: np.random.Generator, *, straight: bool
) -> Floats:
    """Return a fibre or scratch (Y, X), 0 to 1."""
    count = 60
    bends = np.zeros(count) if straight else rng.normal(0, 0.15, count) + rng.normal(0, 0.04)
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(bends)
    step = rng.uniform(4, 20) * diameter / count
    path = centre + np.cumsum(np.stack((np.sin(heading), np.cos(heading)), axis=1), axis=0) * step
    image = Image.new("L", (int(side * 2), int(side * 2)))
    width = max(1, round(2 * rng.uniform(0.1, 0.5) * diameter))
    ImageDraw.Draw(image).line([(float(x) * 2, float(y) * 2) for y, x in path], 255, width, joint="curve")
    fine = np.asarray(image, np.float32).reshape(side, 2, side, 2).mean(axis=(1, 3)) / 255
    return np.asarray(gaussian_filter(fine, rng.uniform(0.4, 1.2)), np.float32)


def _drawn(side: int, outlines: list[NDArray[np.float64]], blur: float) -> Floats:
    """Return filled outlines (Y, X), 0 to 1, with soft edges."""
    image = Image.new("L", (side * 2, side * 2))
    pen = ImageDraw.Draw(image)
    for outline in outlines:
        pen.polygon([(float(x) * 2, float(y) * 2) for y, x in outline], 255)
    fine = np.asarray(image, np.float32).reshape(side, 2, side, 2).mean(axis=(1, 3)) / 255
    return np.asarray(gaussian_filter(fine, blur), np.float32)


def writing(side: int, rng: np.random.Generator) -> tuple[Floats, NDArray[np.bool_]]:
    """Return opacity (Y, X) of a scale bar with its label, and the box around it (Y, X)."""
    image = Image.new("L", (side, side))
    pen = ImageDraw.Draw(image)
    left, top = (int(at) for at in rng.integers(0, max(side // 2, 1), 2))
    length, thick = int(rng.integers(side // 8, side // 2)), int(rng.integers(2, 6))
    size = int(rng.integers(8, max(9, side // 6)))
    pen.rectangle((left, top, left + length, top + thick), 255)
    text = f"{rng.choice([1, 2, 5, 10, 20, 50, 100])} {rng.choice(['um', 'mm', 'nm'])}"
    pen.text((left, top + thick + 2), text, 255, ImageFont.load_default(size))
    box = np.zeros((side, side), bool)
    used = image.getbbox()
    if used:
        box[max(used[1] - 2, 0) : used[3] + 2, max(used[0] - 2, 0) : used[2] + 2] = True
    return np.asarray(image, np.float32) / np.float32(255), box


def picture(kind: str, side: int, rng: np.random.Generator) -> Floats:
    """Return the light (Y, X), about 0.1 to 1.5, of a picture without beads; blank ones are 1 everywhere."""
    draw = {
        "gradient": _gradient, "noise": _noise, "scene": _photograph, "text": _page, "gratings": _grating,
        "cells": _sheet, "weave": _weave,
    }.get(kind)  # fmt: skip
    if draw is None:
        return np.ones((side, side), np.float32)
    field = draw(side, rng)
    spread = max(float(np.abs(field - np.median(field)).max()), 1e-6)
    contrast = np.exp(rng.uniform(np.log(0.05), np.log(0.9)))
    return np.asarray(np.clip(1 + contrast * (field - np.median(field)) / spread, 0.02, None), np.float32)


def _gradient(side: int, rng: np.random.Generator) -> Floats:
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    turn = rng.uniform(0, 6.3)
    along = axis[:, None] * np.sin(turn) + axis[None, :] * np.cos(turn)
    return np.asarray(along if rng.random() < 0.5 else np.sqrt(np.abs(along)) + 0.3 * clouds(side, side / 2, rng))


def _noise(side: int, rng: np.random.Generator) -> Floats:
    """White to brown noise, sometimes in one direction or folded into ridges, or of one grain without any edge."""
    if rng.random() < 0.3:
        grain = np.exp(rng.uniform(np.log(0.6), np.log(6.0)))
        return np.asarray(gaussian_filter(rng.standard_normal((side, side)), grain), np.float32)
    field = fractal(side, rng.uniform(0.0, 2.2), rng, rng.choice([1.0, 1.0, rng.uniform(2, 6)]))
    return np.asarray(-np.abs(field) if rng.random() < 0.3 else field)


def _photograph(side: int, rng: np.random.Generator) -> Floats:
    """Overlapping shaded shapes with texture on a fractal ground, as in photographs of things."""
    field = fractal(side, rng.uniform(1.2, 2.2), rng) * rng.uniform(0.1, 1.0)
    for _ in range(int(rng.integers(2, 14))):
        centre, size = rng.uniform(0, side, 2), np.exp(rng.uniform(np.log(0.08), np.log(0.7))) * side
        if rng.random() < 0.5:
            outline = _blob(centre, size / 2, rng.uniform(0.1, 0.5), rng)
        else:
            turn = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 6))))
            outline = centre + size * np.stack((np.sin(turn), np.cos(turn) * rng.uniform(0.3, 1)), axis=1)
        mask = _drawn(side, [outline], rng.choice([0.4, 0.8, rng.uniform(0.5, 4)]))
        shade = rng.normal(0, 1.2) + 0.5 * _gradient(side, rng)
        if rng.random() < 0.4:
            shade = shade + rng.uniform(0.1, 0.6) * fractal(side, rng.uniform(0.3, 1.8), rng)
        field = field * (1 - mask) + mask * shade
    for _ in range(int(rng.integers(0, 5))):
        field += rng.normal(0, 1) * _thread(side, rng.uniform(0, side, 2), side / 12, rng, straight=rng.random() < 0.5)
    return np.asarray(field, np.float32)


def _page(side: int, rng: np.random.Generator) -> Floats:
    """Lines of text, dark on pale or the reverse."""
    image = Image.new("L", (side, side))
    pen = ImageDraw.Draw(image)
    size = int(np.exp(rng.uniform(np.log(7), np.log(44))))
    font = ImageFont.load_default(size)
    for top in np.arange(rng.uniform(-size, size), side, size * rng.uniform(1.05, 1.8)):
        line = "".join(rng.choice(list(_LETTERS), int(2 * side / size) + 2))
        pen.text((float(rng.uniform(-size, size)), float(top)), line, 255, font)
    return np.asarray(np.asarray(image, np.float32) * rng.choice([-1.0, 1.0]) / 255, np.float32)


def _grating(side: int, rng: np.random.Generator) -> Floats:
    """Stripes, crossed stripes, chequers or bricks; soft or hard."""
    axis = np.arange(side, dtype=np.float32)
    turn, period = rng.uniform(0, 6.3), np.exp(rng.uniform(np.log(3), np.log(60)))
    u, v = (np.cos(turn + d) * axis[:, None] + np.sin(turn + d) * axis[None, :] for d in (0, np.pi / 2))
    kind = rng.integers(0, 3)
    first, second = np.sin(2 * np.pi * u / period), np.sin(2 * np.pi * v / (period * rng.uniform(0.7, 3)))
    if kind == 0:
        field = first
    elif kind == 1:
        field = np.sign(first) * np.sign(second)
    else:  # joints of bricks
        row = np.floor(u / period)
        field = np.maximum(np.cos(2 * np.pi * u / period), np.cos(2 * np.pi * (v / period / 2 + 0.25 * (row % 2)))) ** 9
    hard = rng.random() < 0.5 and kind == 0
    return np.asarray(gaussian_filter(np.sign(field) if hard else field, rng.uniform(0.3, 1.2)), np.float32)


def _sheet(side: int, rng: np.random.Generator) -> Floats:
    """Borders of a Voronoi diagram of random points, as in a sheet of cells or a foam."""
    size = np.exp(rng.uniform(np.log(10), np.log(60)))
    seeds = rng.uniform(-size, side + size, (max(4, int(((side + 2 * size) / size) ** 2)), 2)).astype(np.float32)
    axis = np.arange(side, dtype=np.float32)
    step = max(1, side // 128)
    away = ((axis[::step, None, None] - seeds[:, 0]) ** 2 + (axis[None, ::step, None] - seeds[:, 1]) ** 2) ** 0.5
    nearest = np.partition(away, 1, axis=2)[:, :, :2]
    border = np.exp(-(((nearest[:, :, 1] - nearest[:, :, 0]) / (size * rng.uniform(0.05, 0.25))) ** 2))
    field = border if step == 1 else zoom(border, side / border.shape[0], order=1)
    return np.asarray(rng.choice([-1.0, 1.0]) * field + 0.1 * clouds(side, size, rng), np.float32)


def _weave(side: int, rng: np.random.Generator) -> Floats:
    """Wood, hair or cloth: stripes along a direction that wanders."""
    axis = np.arange(side, dtype=np.float32)
    turn, period = rng.uniform(0, 6.3), rng.uniform(3, 25)
    u = np.cos(turn) * axis[:, None] + np.sin(turn) * axis[None, :]
    bent = u + rng.uniform(0.3, 1.5) * period * clouds(side, side / rng.uniform(1, 5), rng)
    return np.asarray(np.sin(2 * np.pi * bent / period) + rng.uniform(0, 0.6) * fractal(side, 1.0, rng), np.float32)


@dataclass(frozen=True, eq=False)
class Discs:
    """Beads of one image, later ones on top.

    Attributes
    ----------
    y, x : (N,) float32
        Centres, px; some lie beyond the image's border.
    diameter : (N,) float32
        Geometric mean of the axes, px.
    elongation, angle : (N,) float32
        Long to short axis, and the direction of the long one, radians.
    rough, phase : (N,) float32
        Amplitude of the outline's waves, share of the radius, and where they start.
    """

    y: Floats
    x: Floats
    diameter: Floats
    elongation: Floats
    angle: Floats
    rough: Floats
    phase: Floats

    def __len__(self) -> int:
        return len(self.y)

    def scaled(self, factor: float) -> Discs:
        """Return the beads on a grid with `factor` times as many pixels along an axis."""
        y, x = ((at + 0.5) * factor - 0.5 for at in (self.y, self.x))
        return Discs(y, x, self.diameter * factor, self.elongation, self.angle, self.rough, self.phase)


def lay(
    config: LookConfig, arrangement: Arrangement, diameter: float, deepest: float, rng: np.random.Generator
) -> Discs:
    """Draw the beads of an image whose median diameter is `diameter` px, and whose overlap is at most `deepest`."""
    overlap = float(rng.uniform(min(config.overlap[0], deepest), deepest))
    margin = 1.2 * diameter
    if arrangement in ("lattice", "packed"):
        y, x = _lattice(config, arrangement, diameter, deepest, margin, rng)
        sizes = _sizes(config, len(y), diameter, rng, narrow=True)
    else:
        cover = float(np.exp(rng.uniform(*np.log(config.coverage))))
        area = (config.side + 2 * margin) ** 2
        count = int(rng.integers(1, 7)) if arrangement == "sparse" else 1 + round(cover * area / (0.785 * diameter**2))
        sizes = _sizes(config, count, diameter, rng)
        y, x, sizes = _insert(config.side, arrangement, sizes, overlap, margin, rng)
    count = len(y)
    shaped = rng.random() < config.elongated
    most = float(rng.uniform(*config.elongation)) if shaped else 1.0
    rough = float(rng.uniform(*config.rough)) if shaped else 0.0
    elongation = rng.uniform(1.0, most, count) if shaped else np.ones(count)
    angle, phase = rng.uniform(0, 2 * np.pi, (2, count))
    columns = (y, x, sizes, elongation, angle, np.full(count, rough), phase)
    return Discs(*(np.asarray(column, np.float32) for column in columns))


def _sizes(
    config: LookConfig, count: int, median: float, rng: np.random.Generator, *, narrow: bool = False
) -> NDArray[np.float64]:
    """Return diameters; sizes are mixed in some images, where `narrow` allows it."""
    sizes = median * np.exp(rng.normal(0.0, rng.uniform(*config.spread), count))
    if not narrow and rng.random() < config.mixed:
        half = 0.5 * np.log(rng.uniform(*config.mixed_ratio))
        kinds = rng.integers(2, 4)
        steps = np.linspace(-half, half, kinds) if rng.random() < 0.5 else rng.uniform(-half, half, count)
        sizes *= np.exp(steps[rng.integers(0, len(steps), count)])
    limits = (0.85 * config.labelled[0], 1.2 * config.labelled[1])
    return np.asarray(np.clip(sizes, *limits) if config.labelled[0] <= median <= config.labelled[1] else sizes)


def _lattice(
    config: LookConfig, arrangement: str, diameter: float, deepest: float, margin: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions on a turned square or hexagonal grid with vacancies and jitter."""
    low, high = max(config.gap[0], 1 - deepest), config.gap[1]
    gap = float(rng.uniform(max(low, 1.05), max(high, 1.1)) if arrangement == "lattice" else rng.uniform(low, 1.12))
    step, reach = gap * diameter, 0.75 * (config.side + 2 * margin)
    along = np.arange(-reach, reach, step)
    hexagonal = rng.random() < (0.5 if gap > _WIDE else 1 - config.square)
    across = np.arange(-reach, reach, step * (np.sqrt(3) / 2 if hexagonal else 1.0))
    v, u = np.meshgrid(across, along, indexing="ij")
    u = u + (np.arange(len(across)) % 2)[:, None] * step / 2 * hexagonal
    spare = max(gap - 0.8, 0.03) * diameter
    jitter = rng.uniform(0.0, 0.2) * spare
    v, u = (grid + rng.normal(0.0, jitter, grid.shape) + rng.uniform(0, step) for grid in (v, u))
    turn = rng.uniform(0, 2 * np.pi)
    half = (config.side - 1) / 2
    y, x = half + u * np.sin(turn) + v * np.cos(turn), half + u * np.cos(turn) - v * np.sin(turn)
    keep = (np.minimum(y, x) > -margin) & (np.maximum(y, x) < config.side + margin)
    keep &= rng.random(y.shape) > (rng.uniform(0.0, 0.3) if rng.random() < 0.6 else 0.0)
    if arrangement == "packed" and rng.random() < 0.5:  # an island with an edge
        keep &= (y - half) * np.cos(3 * turn) + (x - half) * np.sin(3 * turn) < rng.uniform(-0.2, 0.4) * config.side
    return y[keep], x[keep]


def _insert(
    side: int, arrangement: str, sizes: NDArray[np.float64], overlap: float, margin: float, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Place beads one after the other, free or beside another one; what finds no room is left out."""
    beside = {"sparse": 0.3, "free": rng.uniform(0.0, 0.6)}.get(arrangement, rng.uniform(0.55, 0.97))
    placed = np.empty((len(sizes), 3))
    count, heading = 0, rng.uniform(0, 2 * np.pi)
    attached = rng.random(len(sizes)) < beside
    for size, joins in zip(sizes, attached, strict=True):
        tries = 4
        if joins and count:
            last = arrangement == "chains" and rng.random() < 0.85
            partner = placed[[count - 1] * tries if last else _partners(count, arrangement, tries, rng)]
            turn = rng.normal(heading, 0.5, tries) if arrangement == "chains" else rng.uniform(0, 2 * np.pi, tries)
            depth = rng.uniform(-0.05, overlap, tries) if rng.random() < 0.6 else rng.uniform(0.7, 1.0, tries) * overlap
            reach = (1 - depth) * (size + partner[:, 2]) / 2
            y, x = partner[:, 0] + reach * np.sin(turn), partner[:, 1] + reach * np.cos(turn)
        else:
            y, x = rng.uniform(-margin, side + margin, (2, tries))
            turn = rng.uniform(0, 2 * np.pi, tries)
        others = placed[:count]
        apart = (y[:, None] - others[:, 0]) ** 2 + (x[:, None] - others[:, 1]) ** 2
        allowed = ((1 - overlap - 1e-6) / 2 * (size + others[:, 2])) ** 2
        outside = np.maximum(np.abs(y - side / 2), np.abs(x - side / 2)) > side / 2 + margin
        fits = np.flatnonzero((apart >= allowed).all(axis=1) & ~outside)
        if len(fits):
            best = fits[0]
            placed[count] = y[best], x[best], size
            count, heading = count + 1, float(turn[best])
    y, x, kept = placed[:count].T
    return y, x, kept


def _partners(count: int, arrangement: str, tries: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Return indices of beads to be joined; of a clump rather the same few, so that it becomes compact."""
    if arrangement == "clumps" and rng.random() < 0.6:
        return rng.integers(max(0, count - 5), count, tries)
    return rng.integers(0, count, tries)


def profiles(
    family: str,
    blur: float,
    spread: float,
    rng: np.random.Generator,
    pale: tuple[float, tuple[float, float]] = (0.35, (-0.6, 1.0)),
) -> Floats:
    """Return a random radial profile at `_LEVELS` blurs, (L, `REACH` * `STEPS`), largest magnitude about 1.

    Values are relative to the ground, positive in the direction in which the family changes the light. The blur is a
    Gaussian along the radius, which is near enough to one in the plane for a look that is random anyway. `pale` is how
    often the middle is paler, and how much (`LookConfig.pale`, `LookConfig.paleness`).
    """
    rho = np.arange(int(REACH * STEPS)) / STEPS
    body = _body(rho, rng, pale)
    if family == "ring":
        body = _ring(rho, body, rng)
    elif rng.random() < 0.35 and family != "fluorescence":  # first diffraction ring
        body -= rng.uniform(0.05, 0.35) * np.exp(-0.5 * ((rho - rng.uniform(1.2, 1.5)) / rng.uniform(0.08, 0.2)) ** 2)
    mirrored = np.concatenate((body[::-1], body))
    widths = 2 * blur * np.linspace(1 - spread, 1 + spread, _LEVELS) * STEPS
    table = np.stack([gaussian_filter1d(mirrored, max(width, 2.0), truncate=3.0)[len(body) :] for width in widths])
    return np.asarray(table / np.abs(table).max(), np.float32)


def _body(
    rho: NDArray[np.float64], rng: np.random.Generator, pale: tuple[float, tuple[float, float]]
) -> NDArray[np.float64]:
    """Return a disc, a sphere, a dome, or a disc with a paler or darker middle."""
    inside = (rho < 1).astype(float)
    power = rng.choice([0.0, 0.5, 1.0], p=[0.4, 0.4, 0.2])
    body = inside * np.clip(1 - rho**2, 1e-9, 1) ** power
    if rng.random() < pale[0]:
        body *= 1 - rng.uniform(*pale[1]) * np.exp(-0.5 * (rho / rng.uniform(0.2, 0.7)) ** 2)
    return np.asarray(body)


def _ring(rho: NDArray[np.float64], body: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a rim with a core of the other sign or of none, or the rings of a bead out of focus."""
    kind = rng.integers(0, 3)
    if kind == 0:
        rim = np.exp(-0.5 * ((rho - rng.uniform(0.78, 0.97)) / rng.uniform(0.07, 0.22)) ** 2)
        core = np.exp(-0.5 * (rho / rng.uniform(0.2, 0.6)) ** 2)
        return np.asarray(rim - rng.uniform(-0.2, 1.4) * core)
    if kind == 1:
        core = np.exp(-0.5 * (rho / rng.uniform(0.25, 0.6)) ** 2)
        return np.asarray(rng.uniform(0.4, 1.0) * body - rng.uniform(0.6, 2.0) * core)
    waves = np.cos(rng.uniform(3.0, 9.0) * rho + rng.uniform(0, 2 * np.pi))
    return np.asarray(waves * np.exp(-((rho / rng.uniform(0.8, 1.15)) ** 4)) + 0.4 * body)


def stamp(side: int, discs: Discs, table: Floats, amplitude: Floats, level: NDArray[np.int64]) -> Floats:
    """Return the sum (Y, X) of all beads' profiles.

    Parameters
    ----------
    side : int
        Of the square image.
    discs : Discs
        On its grid.
    table : (L, S) float32
        See `profiles`.
    amplitude : (N,) float32
        Factor per bead.
    level : (N,) int
        Row of the table.
    """
    total = np.zeros(side * side)
    for at, flat, rho in _pieces(side, discs, REACH):
        values = _looked_up(table, level[at], rho) * amplitude[at]
        total += np.bincount(flat, values, side * side)
    return np.asarray(total.reshape(side, side), np.float32)


def cover(
    side: int, discs: Discs, table: Floats, shades: Floats, level: NDArray[np.int64], light: tuple[float, float, float]
) -> tuple[Floats, Floats]:
    """Return the light (Y, X) of beads that hide what is below them, and how much (Y, X) of the ground they hide.

    Parameters
    ----------
    side, discs, table, level
        As in `stamp`; the profile is a bead's opacity.
    shades : (N,) float32
        Light of each bead.
    light : tuple of float
        How much brighter (share) a bead is towards the right, towards the bottom, and at its rim.
    """
    total, hidden = np.zeros((2, side * side), np.float32)
    pieces = list(_pieces(side, discs, 1.7))
    if not pieces:
        return total.reshape(side, side), hidden.reshape(side, side)
    at, flat, rho = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    opacity = np.clip(_looked_up(table, level[at], rho), 0, 1)
    right, down = ((flat % side - discs.x[at]), (flat // side - discs.y[at]))
    slope = (light[0] * right + light[1] * down) / (discs.diameter[at] / 2)
    shade = shades[at] * (1 + slope + light[2] * np.minimum(rho, 1) ** 3)
    order = np.argsort(at, kind="stable")
    ends = np.cumsum(np.bincount(at, minlength=len(discs)))
    for own in np.split(order, ends[:-1]):
        pixels, clear = flat[own], 1 - opacity[own]
        total[pixels] = clear * total[pixels] + opacity[own] * shade[own]
        hidden[pixels] = 1 - clear * (1 - hidden[pixels])
    return total.reshape(side, side), hidden.reshape(side, side)


def _looked_up(table: Floats, level: NDArray[np.int64], rho: Floats) -> Floats:
    index = np.minimum((rho * STEPS).astype(np.int64), table.shape[1] - 1)
    values: Floats = table.reshape(-1)[index + level * table.shape[1]]
    values[rho >= REACH] = 0.0
    return values


def owners(side: int, discs: Discs, *, top: bool) -> NDArray[np.int32]:
    """Return which bead (1 to N) a pixel belongs to: of several the nearest relative to its size, or the topmost."""
    flats: list[NDArray[np.intp]] = []
    keys: list[Floats] = []
    names: list[NDArray[np.int32]] = []
    for at, flat, rho in _pieces(side, discs, 1.0):
        inside = rho < 1.0
        flats.append(flat[inside])
        names.append(at[inside].astype(np.int32) + 1)
        keys.append(-at[inside].astype(np.float32) if top else rho[inside])
    labels = np.zeros(side * side, np.int32)
    if flats:
        order = np.argsort(-np.concatenate(keys), kind="stable")
        labels[np.concatenate(flats)[order]] = np.concatenate(names)[order]
    return labels.reshape(side, side)


def _pieces(side: int, discs: Discs, reach: float) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp], Floats]]:
    """Yield, for groups of beads of like size: bead, flat pixel and distance in radii, each (P,)."""
    half = np.ceil(reach * discs.diameter / 2 * np.sqrt(discs.elongation) * (1 + discs.rough) + 1).astype(np.int64)
    order = np.argsort(half, kind="stable")
    start = 0
    while start < len(order):
        size = int(half[order[start]])
        stop = start + max(1, _CHUNK // (2 * size + 1) ** 2)
        stop = min(stop, start + int(np.searchsorted(half[order[start:]], 1.5 * size, side="right")))
        yield _distances(side, discs, order[start:stop], int(half[order[stop - 1]]))
        start = stop


def _distances(
    side: int, discs: Discs, at: NDArray[np.intp], half: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """Return bead, flat pixel and distance in radii of the pixels in the windows of the beads `at`."""
    steps = np.arange(-half, half + 1)
    rows, columns = (np.rint(centre[at]).astype(np.int64)[:, None] + steps for centre in (discs.y, discs.x))
    dy = (rows - discs.y[at, None]).astype(np.float32)[:, :, None]
    dx = (columns - discs.x[at, None]).astype(np.float32)[:, None, :]
    cos, sin = (f(discs.angle[at]).astype(np.float32)[:, None, None] for f in (np.cos, np.sin))
    stretch = np.sqrt(discs.elongation[at])[:, None, None]
    along, across = (dx * cos + dy * sin) / stretch, (dy * cos - dx * sin) * stretch
    rho = np.sqrt(along * along + across * across) / (discs.diameter[at] / 2)[:, None, None]
    if discs.rough[at].any():
        turn = np.arctan2(across, along) + discs.phase[at, None, None]
        rho = rho / (1 + discs.rough[at, None, None] * (np.cos(2 * turn) + np.cos(3 * turn + 1) + np.cos(5 * turn)) / 2)
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    flat = (rows[:, :, None] * side + columns[:, None, :])[inside]
    bead = np.broadcast_to(at[:, None, None], inside.shape)[inside]
    return bead, flat, np.asarray(rho[inside], np.float32)
