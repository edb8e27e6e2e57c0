"""Pictures without beads: those that scikit-image, scikit-learn and matplotlib bring along, and generated ones.

Left out are `coins` of scikit-image, whose coins are round particles, and what is only loaded over the network.
"""

from __future__ import annotations

import gzip
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import imageio.v3 as imageio
import numpy as np
import skimage
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import ndimage, spatial
from skimage.draw import line, polygon
from skimage.transform import resize

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Pixels = NDArray[np.generic]

PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cell", "chelsea", "chessboard_GRAY", "chessboard_RGB", "clock_motion", "coffee",
    "color", "grass", "gravel", "horse", "hubble_deep_field", "ihc", "logo", "microaneurysms", "moon",
    "motorcycle_left", "motorcycle_right", "page", "phantom", "retina", "rocket", "text",
)  # fmt: skip
CROPPED = (
    "astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "ihc", "moon", "motorcycle_left", "page",
    "retina", "rocket", "text", "china", "flower", "grace_hopper",
)  # fmt: skip
WORDS = "Sample 17 B, diluted 1:640 in buffer; objective 20x, exposure 12 ms. Do not freeze. Counted by nobody so far."


def empty_pictures() -> dict[str, Callable[[], Pixels]]:
    """Return the pictures by name, each made or read when it is called; (Y, X) or (C, Y, X), uint8 or uint16."""
    found: dict[str, Callable[[], Pixels]] = {}
    for name, file in _files().items():
        if name not in ("china", "flower", "grace_hopper"):
            found[f"photo/{name}"] = partial(_read, file)
        if name in CROPPED:
            for part in range(3):
                found[f"crop/{name}-{part}"] = partial(_crop, file, part)
    for kind, (make, number) in GENERATED.items():
        for seed in range(number):
            found[f"{kind}/{seed}"] = partial(_generated, make, seed)
    return found


def _files() -> dict[str, Path]:
    folder = Path(str(files(skimage))) / "data"
    found = {path.stem: path for path in sorted(folder.iterdir()) if path.stem in PHOTOGRAPHS and path.suffix != ".npz"}
    sklearn, matplotlib = (Path(str(files(package))) for package in ("sklearn", "matplotlib"))
    found |= {name: sklearn / "datasets" / "images" / f"{name}.jpg" for name in ("china", "flower")}
    samples = matplotlib / "mpl-data"
    found["grace_hopper"] = samples / "sample_data" / "grace_hopper.jpg"
    found["minduka"] = samples / "sample_data" / "Minduka_Present_Blue_Pack.png"
    found |= {f"icon-{path.stem}": path for path in sorted((samples / "images").glob("*_large.png"))}
    found["s1045"] = samples / "sample_data" / "s1045.ima.gz"
    return {name: path for name, path in found.items() if path.exists()}


def _read(file: Path) -> Pixels:
    if file.suffix == ".gz":  # a magnetic resonance image
        with gzip.open(file) as stream:
            return np.frombuffer(stream.read(), np.uint16).reshape(256, 256)
    image = imageio.imread(file)
    if image.dtype == bool:
        image = image.astype(np.uint8) * 255
    if image.ndim == 3 and image.shape[-1] == 4:
        alpha = image[..., 3:] / 255
        image = (image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    if min(image.shape[:2]) < 100:  # icons are drawn large
        image = np.kron(image, np.ones((6, 6, 1)[: image.ndim], np.uint8))
    return np.moveaxis(image, -1, 0) if image.ndim == 3 else image


def _crop(file: Path, part: int) -> Pixels:
    """Return a part: as it is, enlarged three times, or of the picture at a third of its size."""
    image = _read(file)
    rng = np.random.default_rng((part, sum(file.stem.encode())))
    factor = (1.0, 3.0, 0.34)[part]
    side = min(round(320 / factor), *image.shape[-2:])
    y, x = (int(rng.integers(0, length - side + 1)) for length in image.shape[-2:])
    piece = image[..., y : y + side, x : x + side]
    size = max(round(side * factor), 100)
    shape = (*piece.shape[:-2], size, size)
    return resize(piece, shape, preserve_range=True, anti_aliasing=factor < 1).astype(image.dtype)


def _generated(make: Callable[[np.random.Generator, int], NDArray[np.floating]], seed: int) -> Pixels:
    rng = np.random.default_rng((seed, sum(make.__name__.encode())))
    field = make(rng, int(rng.choice([192, 256, 384, 512])))
    if seed % 3 == 1:  # noise of a camera
        field = field + rng.normal(0, rng.uniform(0.005, 0.08), field.shape)
    if seed % 4 == 2:
        return np.round(np.clip(field, 0, 1) * 65535 * rng.uniform(0.02, 1)).astype(np.uint16)
    return np.round(np.clip(field, 0, 1) * 255).astype(np.uint8)


def _blank(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    return np.full((side, side), rng.choice([0.0, 1.0, rng.uniform()]))


def _gradient(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    y, x = np.mgrid[0 : 1 : side * 1j, 0 : 1 : side * 1j]
    turn = rng.uniform(0, 2 * np.pi)
    vignette = rng.uniform(0, 1) * ((y - 0.5) ** 2 + (x - 0.5) ** 2)
    return 0.5 + rng.uniform(0.1, 0.4) * (np.cos(turn) * x + np.sin(turn) * y) - vignette


def _noise(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    return rng.uniform(0.2, 0.8) + rng.normal(0, np.exp(rng.uniform(np.log(0.005), np.log(0.3))), (side, side))


def _shot_noise(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    light = np.exp(rng.uniform(np.log(0.02), np.log(100)))
    return rng.poisson(light, (side, side)) / (light + 5 * np.sqrt(light) + 1)


def _impulses(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    field, share = np.full((side, side), 0.5), rng.uniform(0.001, 0.2)
    field[rng.random((side, side)) < share] = 1.0
    field[rng.random((side, side)) < share] = 0.0
    return field


def _smooth_noise(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    field = ndimage.gaussian_filter(rng.normal(size=(side, side)), np.exp(rng.uniform(np.log(0.8), np.log(30))))
    return 0.5 + 0.12 * field / field.std()


def _fractal(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1
    spectrum = np.fft.fft2(rng.normal(size=(side, side))) / frequency ** rng.uniform(0.7, 2)
    field = np.fft.ifft2(spectrum).real
    return 0.5 + 0.15 * (field - field.mean()) / field.std()


def _checks(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    size = rng.integers(4, 60)
    y, x = np.indices((side, side)) // size
    return 0.5 + rng.uniform(0.1, 0.5) * ((y + x) % 2 - 0.5)


def _stripes(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    y, x = np.indices((side, side))
    turn, period = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(4), np.log(100)))
    wave = np.sin(2 * np.pi * (np.cos(turn) * x + np.sin(turn) * y) / period)
    return 0.5 + 0.3 * (np.sign(wave) if rng.random() < 0.5 else wave)


def _written(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    figure = Figure((side / 100, side / 100), dpi=100, facecolor=str(rng.choice(["white", "black", "0.6"])))
    ink = "white" if figure.get_facecolor()[0] < 0.3 else "black"
    words, size = WORDS.split(), float(np.exp(rng.uniform(np.log(5), np.log(60))))
    for row in range(int(side / (1.9 * size)) + 1):
        figure.text(0.02, 1 - 1.9 * size * (row + 0.5) / side, " ".join(rng.permutation(words)), size=size, color=ink)
    return _drawn(figure)


def _plot(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    figure = Figure((side / 70, side / 70), dpi=70)
    axes = figure.subplots(2, 2)
    axes[0, 0].plot(rng.normal(size=(60, 3)).cumsum(axis=0))
    axes[0, 1].bar(range(6), rng.uniform(1, 5, 6))
    axes[1, 0].hist(rng.normal(size=300), 20)
    axes[1, 1].imshow(rng.normal(size=(6, 9)))
    return _drawn(figure)


def _drawn(figure: Figure) -> NDArray[np.floating]:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].mean(axis=2) / 255


def _tissue(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    """Polygons that touch, as cells of an epithelium: bright membranes around dark bodies, or the reverse."""
    seeds = rng.uniform(0, side, (int(rng.integers(12, 200)), 2))
    tree = spatial.cKDTree(seeds)
    near = tree.query(np.moveaxis(np.indices((side, side)), 0, -1), 2)[0]
    edge = np.exp(-((near[..., 1] - near[..., 0]) ** 2) / rng.uniform(4, 30))
    return 0.5 + rng.choice([-0.35, 0.35]) * edge


def _fibres(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    field = np.zeros((side, side))
    for _ in range(int(rng.integers(8, 60))):
        (a, b), turn, reach = rng.integers(0, side, 2), rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 2) * side
        rows, columns = line(a, b, int(a + reach * np.sin(turn)), int(b + reach * np.cos(turn)))
        inside = (rows >= 0) & (rows < side) & (columns >= 0) & (columns < side)
        field[rows[inside], columns[inside]] = 1
    field = ndimage.gaussian_filter(field, rng.uniform(0.7, 3))
    return 0.5 + rng.choice([-0.4, 0.4]) * np.clip(field / np.percentile(field, 99), 0, 1)


def _shards(rng: np.random.Generator, side: int) -> NDArray[np.floating]:
    """Long and pointed polygons: crystals and splinters."""
    field = np.full((side, side), 0.5)
    for _ in range(int(rng.integers(5, 60))):
        middle, turn, long = rng.uniform(0, side, 2), rng.uniform(0, 2 * np.pi), rng.uniform(12, 80)
        angles = turn + np.array([0, 0.9, np.pi, np.pi + 0.9])
        reach = long * np.array([1.0, 0.18, 1.0, 0.18])
        rows, columns = polygon(middle[0] + reach * np.sin(angles), middle[1] + reach * np.cos(angles), (side, side))
        field[rows, columns] += rng.uniform(-0.3, 0.3)
    return ndimage.gaussian_filter(field, rng.uniform(0.3, 2))


GENERATED: dict[str, tuple[Callable[[np.random.Generator, int], NDArray[np.floating]], int]] = {
    "blank": (_blank, 12), "gradient": (_gradient, 12), "noise": (_noise, 16), "shot noise": (_shot_noise, 12),
    "impulses": (_impulses, 8), "smooth noise": (_smooth_noise, 14), "fractal": (_fractal, 14), "checks": (_checks, 8),
    "stripes": (_stripes, 12), "text": (_written, 14), "plot": (_plot, 6), "tissue": (_tissue, 12),
    "fibres": (_fibres, 12),
    "shards": (_shards, 12),
}  # fmt: skip
