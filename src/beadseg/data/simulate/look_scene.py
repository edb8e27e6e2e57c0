"""What is in random looks beside beads: uneven light, dirt, writing, and pictures of something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter, zoom

if TYPE_CHECKING:
    from beadseg.data.simulate.look_config import LookConfig

Floats = NDArray[np.float32]

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ,.;:+-=%()"
_GAIN = 4.0
"""Masks of drawn shapes are drawn this many times finer, so that their edges are smooth."""


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
