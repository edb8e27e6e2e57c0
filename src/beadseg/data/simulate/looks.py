"""Random looks: small images of beads as any microscope may show them, each with its beads known, without end.

The camera turns light into a file's numbers.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from PIL import Image
from scipy.ndimage import convolve, gaussian_filter, map_coordinates, shift, uniform_filter

from beadseg.data.simulate import look_scene

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from beadseg.data.simulate.look_config import Arrangement, Family, LookConfig
    from beadseg.data.simulate.look_scene import Discs, Floats

Key = TypeVar("Key", bound=str)

_UNCLEAR = 0.2
"""Share of an image's beads that may be harder to see than the limit says."""

_BAYER = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32) / 4


@dataclass(frozen=True, eq=False)
class Look:
    """One simulated image.

    Attributes
    ----------
    image : (Y, X) or (Y, X, 3) uint8 or uint16
        As a file would hold it.
    labels : (Y, X) int32
        Which bead a pixel belongs to, 0 for none; ids are 1 to N, the rows of `centres` and `diameters`.
    centres : (N, 2) float32
        Row and column of every bead whose centre lies in the image, px.
    diameters : (N,) float32
        px.
    ignore : (Y, X) bool
        Neither bead nor background: beads hardly larger or smaller than what is labelled, and what writing covers.
    family : str
        A look of `FAMILIES`, or the kind of picture in `EMPTIES`.
    arrangement : str
        How the beads lie, one of `ARRANGEMENTS`; empty where there are none.
    """

    image: NDArray[Any]
    labels: NDArray[np.int32]
    centres: Floats
    diameters: Floats
    ignore: NDArray[np.bool_]
    family: str
    arrangement: str = ""


def draw_look(config: LookConfig, seed: int) -> Look:
    """Return a random look; the same configuration and seed give the same image."""
    rng = np.random.default_rng(np.random.SeedSequence((seed, 16)))
    if rng.random() < config.empty:
        kind = _chosen(config.empties, rng)
        if kind not in ("too-large", "too-small"):
            return _empty(config, kind, rng)
        low, high = config.labelled[0], config.labelled[1]
        limits = (1.5 * high, 8 * high) if kind == "too-large" else (0.3 * low, 0.65 * low)
        return _beads(config, float(np.exp(rng.uniform(*np.log(limits)))), rng, kind)
    low, high = np.log(config.diameter)
    if config.middle and rng.random() < config.middle:
        low, high = low + (high - low) / 4, high - (high - low) / 4
    return _beads(config, float(np.exp(rng.uniform(low, high))), rng)


def _chosen(weights: dict[Key, float], rng: np.random.Generator) -> Key:
    names = list(weights)
    shares = np.array([weights[name] for name in names], float)
    return names[int(rng.choice(len(names), p=shares / shares.sum()))]


def _beads(config: LookConfig, diameter: float, rng: np.random.Generator, kind: str = "") -> Look:
    """Return an image of beads of about `diameter` px."""
    family, arrangement = _chosen(config.families, rng), _chosen(config.arrangements, rng)
    if kind == "too-small" and arrangement == "packed":
        arrangement = "free"
    blur = float(rng.uniform(*config.blur))
    if config.cells and rng.random() < config.cells:
        config, family, arrangement, blur = _cells(config, arrangement, rng)
    elif arrangement == "clumps" and family != "dark":
        blur = min(blur, config.clumped_blur)
    # In the middle of a blurred clump nothing tells how many beads there are: pairs, triples and chains only.
    telling = arrangement in ("sparse", "free", "chains")
    if family == "dark" and telling and config.pale < 1 and config.dark_pairs and rng.random() < config.dark_pairs:
        config, blur = _pairs(config, blur)
    if arrangement in ("packed", "lattice"):
        blur = min(blur, config.packed_blur)
        plain = {
            "unequal": 0.0,
            "textured": 0.0 if config.textured < 1 else 1.0,
            "stripes": 0.0,
            "contrast_spread": (0.0, 0.12),
            "jpeg_quality": (75, 96),
        }
        config = config.model_copy(update={**plain, "rose": config.packed_rose})
    least = round(min(config.jpeg_small - 8 * diameter, config.jpeg_quality[1] - 1))
    if config.jpeg_small and least > config.jpeg_quality[0]:
        config = config.model_copy(update={"jpeg_quality": (least, config.jpeg_quality[1])})
    discs = look_scene.lay(config, arrangement, diameter, _deepest(config, family, blur), rng)
    side = _sensor_side(config, diameter, rng)
    on_sensor = discs.scaled(side / config.side)
    exposure = _exposed(config, family, on_sensor, diameter * side / config.side, side, blur, rng)
    exposure = _visible(config, exposure, on_sensor, diameter * side / config.side)
    exposure, covered = _with_extras(config, exposure, diameter * side / config.side, rng)
    image = photograph(config, exposure, config.side, diameter * side / config.side, rng)
    labels, centres, diameters, ignore = _truth(config, discs, top=family == "opaque")
    if covered is not None:
        ignore |= enlarged(covered.astype(np.float32), config.side) > 0.3
    return Look(image, labels, centres, diameters, ignore, kind or family, arrangement)


def _cells(
    config: LookConfig, arrangement: str, rng: np.random.Generator
) -> tuple[LookConfig, Family, Arrangement, float]:
    """Return ranges, family, arrangement and blur of nuclei, or of pale cells."""
    shaped = {"elongated": 0.8, "elongation": (1.05, 1.7), "rough": (0.0, 0.08), "spread": (0.04, 0.2), "mixed": 0.1}
    nuclei = rng.random() < 0.55
    if nuclei:
        own = {"textured": 1.0, "texture": (0.05, 0.4), "overlap": (0.0, 0.15), "unequal": 0.6, "inequality": (1.5, 8)}
        families: dict[Family, float] = {"fluorescence": 0.6, "opaque": 0.25, "dark": 0.15}
    else:
        own = {"pale": 1.0, "paleness": (0.2, 1.1), "contrast": (0.06, 0.5), "unequal": 0.1}
        families = {"dark": 0.55, "bright": 0.2, "opaque": 0.15, "ring": 0.1}
    if arrangement in ("lattice", "packed", "chains") and (nuclei or arrangement != "packed"):
        arrangement = "free"
    family = _chosen({name: share for name, share in families.items() if config.families.get(name)} or families, rng)
    sharpest = config.blur[0]
    blur = float(rng.uniform(sharpest, max(sharpest, sum(config.blur) / 2.4)))
    return config.model_copy(update=shaped | own), family, cast("Arrangement", arrangement), blur


def _pairs(config: LookConfig, blur: float) -> tuple[LookConfig, float]:
    """Return ranges and blur of equal beads whose overlaps are deep and blurred."""
    deep = {"overlap": (0.5 * config.overlap[1], config.overlap[1]), "unequal": 0.0, "contrast_spread": (0.0, 0.12)}
    low, high = config.blur
    return config.model_copy(update=deep), (low + high) / 2 + (blur - low) / 2


def _deepest(config: LookConfig, family: str, blur: float) -> float:
    """Return the deepest overlap: less where beads are so blurred that two of them would be one to everybody.

    Of beads that absorb light, the darkness still tells.
    """
    if family == "dark":
        return config.overlap[1]
    low, high = config.blur
    return config.overlap[1] * (1 - 0.3 * (blur - low) / max(high - low, 1e-6))


def _sensor_side(config: LookConfig, diameter: float, rng: np.random.Generator) -> int:
    """Return the side of the sensor's grid: smaller than the image where it is enlarged afterwards."""
    if rng.random() >= config.enlarged:
        return config.side
    factor = min(rng.uniform(*config.enlargement), max(diameter / 3.2, 1.0))
    return round(config.side / factor)


def _empty(config: LookConfig, kind: str, rng: np.random.Generator) -> Look:
    """Return an image without beads."""
    side = config.side if rng.random() > config.enlarged else round(config.side / rng.uniform(*config.enlargement))
    field = look_scene.picture(kind, side, rng)
    ground = look_scene.light(config, side, 1.0, rng) if kind in ("blank", "debris") else np.ones_like(field)
    size = float(np.exp(rng.uniform(*np.log(config.diameter))))
    if kind == "debris":
        field = np.clip(1 - rng.uniform(0.2, 0.8) * look_scene.dirt(config, side, size, rng), 0.02, None)
    noise = float(np.exp(rng.uniform(np.log(config.noise[0]), np.log(2.5 * config.noise[1]))))
    full = float(np.percentile(field, 99.5)) if rng.random() < 0.8 else 1.0 / rng.uniform(0.02, 1.0)
    exposure = Exposure(field * ground, ground, full, noise, float(rng.uniform(0, 1)), 0.3)
    image = photograph(config, exposure, config.side, size, rng)
    nothing = np.zeros((config.side, config.side), np.int32)
    return Look(image, nothing, np.zeros((0, 2), np.float32), np.zeros(0, np.float32), nothing > 0, kind)


def _exposed(
    config: LookConfig, family: str, discs: Discs, diameter: float, side: int, blur: float, rng: np.random.Generator
) -> Exposure:
    """Return the light on the sensor."""
    count = len(discs)
    table = look_scene.profiles(
        family, blur, float(rng.uniform(*config.blur_spread)), rng, (config.pale, config.paleness)
    )
    level = rng.integers(0, len(table), count)
    contrast = float(np.exp(rng.uniform(*np.log(config.contrast))))
    ground = look_scene.light(config, side, 1.0 if family == "fluorescence" else contrast, rng)
    spread = rng.normal(1.0, rng.uniform(*config.contrast_spread), count)
    factor = np.asarray(np.clip(spread, 0.55, 1.6), np.float32)
    if rng.random() < config.unequal:
        half = 0.5 * np.log(rng.uniform(*config.inequality))
        factor *= np.exp(rng.uniform(-half, half, count)).astype(np.float32)
    body = _strength(table)
    if family == "fluorescence":
        return _fluorescence(config, discs, ground, table, level, factor, diameter, rng)
    noise = min(float(np.exp(rng.uniform(*np.log(config.noise)))), _allowed(config, contrast * body, diameter))
    shot = float(rng.uniform(0, 1))
    if family == "opaque":
        shade = max(1 - contrast, 0.05) if rng.random() < 0.35 else 1 + 2 * contrast
        turn, slope = rng.uniform(0, 2 * np.pi), rng.choice([0.0, rng.uniform(0, 0.5)])
        rim = rng.choice([0.0, rng.uniform(-0.4, 0.6)])
        if config.packed_rose == config.rose:  # without a rim, equal beads that hide each other would be one area
            rim = rng.choice([-1, 1]) * rng.uniform(0.25, 0.6)
        opacity = look_scene.profiles("opaque", blur, 0.2, np.random.default_rng(0))
        light = (slope * np.cos(turn), slope * np.sin(turn), rim)
        beads, hidden = look_scene.cover(side, discs, opacity, shade * factor**0.5, level, light)
        total = ground * (1 - hidden) + beads * _texture(config, side, diameter, rng)
        return Exposure(np.clip(total, 0.0, None), ground, max(1.0, shade), noise * max(1.0, shade), shot, shade - 1)
    if family == "dark":
        absorbed = look_scene.stamp(side, discs, table, -np.log1p(-min(contrast, 0.9)) * factor, level)
        if config.textured == 1:
            absorbed = absorbed * _texture(config, side, diameter, rng)
        return Exposure(ground * np.exp(-absorbed), ground, 1.0, noise, shot, -contrast * body)
    sign = 1.0 if family == "bright" or rng.random() < 0.5 else -1.0
    strength = sign * contrast * (2.0 if family == "bright" and rng.random() < 0.4 else 1.0)
    shown = look_scene.stamp(side, discs, table, strength * factor, level)
    light = np.clip(ground * (1 + shown), 0.02, None)
    return Exposure(light, ground, max(1.0, 1 + max(strength, 0.0)), noise, shot, strength * body)


def _texture(config: LookConfig, side: int, diameter: float, rng: np.random.Generator) -> Floats | float:
    """Return the factor (Y, X) by which the inside of beads differs in brightness."""
    if rng.random() >= config.textured:
        return 1.0
    size = diameter * float(np.exp(rng.uniform(*np.log(config.grain))))
    grain = look_scene.clouds(side, max(size, 1.5), rng)
    return np.asarray(np.clip(1 + rng.uniform(*config.texture) * grain, 0.3, 2.0), np.float32)


def _strength(table: Floats) -> float:
    """Return the root mean square over a bead's area of a profile, which the limit of what can be seen refers to."""
    inside = table[len(table) // 2, : look_scene.STEPS]
    weights = np.arange(len(inside)) + 0.5
    return float(np.sqrt((inside**2 * weights).sum() / weights.sum()))


def _allowed(config: LookConfig, contrast: float, diameter: float) -> float:
    """Return the most noise under which beads can still be seen (Rose's criterion)."""
    return contrast * float(np.sqrt(np.pi / 4) * diameter) / config.rose


def _visible(config: LookConfig, exposure: Exposure, discs: Discs, diameter: float) -> Exposure:
    """Return the exposure with no more noise than lets beads be told apart, not only seen.

    What tells them is the detail of about their size on their own pixels: less than the contrast where they touch. The
    mean over an image would not do: beads beside a gap have much of it, those in the midst of a packing little.
    """
    owner = look_scene.owners(len(exposure.light), discs, top=True)
    own = owner > 0
    if not own.any():
        return exposure
    detail = exposure.light - gaussian_filter(exposure.light, 0.6 * diameter)
    areas = np.bincount(owner.reshape(-1))[1:]
    powers = np.bincount(owner.reshape(-1), detail.reshape(-1) ** 2)[1:][areas > 0] / areas[areas > 0]
    shown = 2.0 * float(np.sqrt(np.percentile(powers, 100 * _UNCLEAR)))
    light = float(np.mean(exposure.light[own])) if exposure.shot > 0.5 else 1.0
    noise = min(exposure.noise, _allowed(config, shown, diameter) / max(np.sqrt(light), 0.2))
    contrast = float(np.copysign(min(abs(exposure.contrast), shown), exposure.contrast))
    return replace(exposure, noise=noise, contrast=contrast)


def _fluorescence(
    config: LookConfig, discs: Discs, ground: Floats, table: Floats, level: NDArray[np.int64], factor: Floats,
    diameter: float, rng: np.random.Generator,
) -> Exposure:  # fmt: skip
    """Return bright beads on a dark ground; one photon has the same light everywhere."""
    dim = float(rng.uniform(*config.dim)) if rng.random() < 0.7 else 0.003
    beads = look_scene.stamp(len(ground), discs, table, factor, level)
    light = dim * ground + beads * _texture(config, len(ground), diameter, rng)
    if rng.random() < 0.3:  # light from beads above and below the focus
        light = light + rng.uniform(*config.haze) * (1 + look_scene.clouds(len(ground), 3 * diameter, rng)).clip(0)
    body = _strength(table)
    # Rose: body * photons * sqrt(area) / sqrt((dim + body) * photons) >= limit
    needed = config.rose**2 * (dim + 0.1 + body) / (body**2 * np.pi / 4 * diameter**2)
    photons = max(float(np.exp(rng.uniform(*np.log(config.photons)))), needed)
    noise = (1 + rng.uniform(0, 0.15)) / np.sqrt(photons)
    full = float(np.clip(np.percentile(light, 99.7), 0.5, None))
    dark_ground = np.asarray(dim * ground, np.float32)
    return Exposure(np.clip(light, 0, None), dark_ground, full, noise, 0.93, body)


def _with_extras(
    config: LookConfig, exposure: Exposure, diameter: float, rng: np.random.Generator
) -> tuple[Exposure, NDArray[np.bool_] | None]:
    """Return the light with debris and writing where the draw says so, and what writing covers."""
    light, side, covered = exposure.light, len(exposure.light), None
    if rng.random() < config.dirty:
        strength = rng.uniform(0.4, 1.2) * exposure.contrast
        piece = look_scene.dirt(config, side, diameter, rng)
        light = np.clip(light + strength * piece, 0.0, None)
    if rng.random() < config.written:
        opacity, covered = look_scene.writing(side, rng)
        light = light * (1 - opacity) + opacity * exposure.full * rng.choice([0.0, 1.1])
    return replace(exposure, light=np.asarray(light, np.float32)), covered


def _truth(
    config: LookConfig, discs: Discs, *, top: bool
) -> tuple[NDArray[np.int32], Floats, Floats, NDArray[np.bool_]]:
    """Return labels, centres, diameters and what is ignored, for beads of the sizes that are labelled."""
    owner = look_scene.owners(config.side, discs, top=top)
    within = np.minimum(discs.y, discs.x) >= -0.5
    within &= np.maximum(discs.y, discs.x) < config.side - 0.5
    low, high = config.labelled
    labelled = (discs.diameter >= low) & (discs.diameter <= high)
    unsure = ~labelled & (discs.diameter >= config.ignored[0]) & (discs.diameter <= config.ignored[1])
    area = np.bincount(owner.reshape(-1), minlength=len(discs) + 1)[1:]
    visible = labelled & within & (area > 0)
    # Beads whose centre lies outside follow, so that their pixels are foreground all the same.
    order = np.concatenate((np.flatnonzero(visible), np.flatnonzero(labelled & ~visible & (area > 0))))
    names = np.zeros(len(discs) + 1, np.int32)
    names[order + 1] = np.arange(1, len(order) + 1)
    kept = order[: int(visible.sum())]
    centres = np.stack((discs.y[kept], discs.x[kept]), axis=1)
    return names[owner], centres, discs.diameter[kept], np.append(False, unsure)[owner]


@dataclass(frozen=True)
class Exposure:
    """What a camera is pointed at.

    Attributes
    ----------
    light : (Y, X) float32
        Light on the sensor, 0 or more.
    ground : (Y, X) float32
        The light without beads.
    full : float
        Light that is to reach the exposure's level.
    noise : float
        Standard deviation of a pixel's noise at the light 1.
    shot : float
        Share of that variance that grows with the light; the rest is the same everywhere.
    contrast : float
        Typical difference of light between bead and ground.
    """

    light: Floats
    ground: Floats
    full: float
    noise: float
    shot: float
    contrast: float


def photograph(
    config: LookConfig, exposure: Exposure, side: int, diameter: float, rng: np.random.Generator
) -> NDArray[Any]:
    """Return the file's numbers, (side, side) or (side, side, 3), uint8 or uint16.

    Parameters
    ----------
    config : LookConfig
        Ranges.
    exposure : Exposure
        On the sensor's grid, which may be coarser than the image.
    side : int
        Of the finished image, px.
    diameter : float
        Typical bead diameter on the sensor, px: colour fringes grow with it.
    rng : numpy.random.Generator
        Decides everything random.
    """
    coloured = rng.random() < config.colour
    channels = _channels(config, exposure, diameter, rng) if coloured else exposure.light[None]
    image = _sensed(config, channels, exposure, rng)
    if coloured and rng.random() < config.bayer:
        image = _through_bayer(image)
    if image.shape[1] != side:
        image = np.stack([enlarged(channel, side, order=int(rng.choice([1, 1, 3]))) for channel in image])
    if rng.random() < config.sharpened:
        sigma, strength = rng.uniform(0.7, 1.8), rng.uniform(*config.sharpening)
        image = image + strength * (image - gaussian_filter(image, (0, sigma, sigma)))
    return _developed(config, image, exposure, rng)


def _channels(config: LookConfig, exposure: Exposure, diameter: float, rng: np.random.Generator) -> Floats:
    """Return red, green and blue (3, Y, X): a bead's colour is a power of its contrast, which Beer and Lambert give."""
    tints = rng.uniform(0.75, 1.0, 3)
    powers = rng.uniform(0.45, 1.15, 3)
    powers[1] = max(powers[1], 0.85)
    ground = np.maximum(exposure.ground, 1e-3)
    ratio = np.clip(exposure.light / ground, 1e-3, None)
    channels = [tint * ground * ratio**power for tint, power in zip(tints, powers, strict=True)]
    far, turn = float(rng.uniform(*config.fringe)) * diameter, float(rng.uniform(0, 2 * np.pi))
    for index, sign in ((0, 1), (2, -1)):
        away = (sign * far * np.sin(turn), sign * far * np.cos(turn))
        channels[index] = shift(channels[index], away, order=1, mode="nearest")
    return np.asarray(np.stack(channels), np.float32)


def _sensed(config: LookConfig, light: Floats, exposure: Exposure, rng: np.random.Generator) -> Floats:
    """Return noisy readings; few photons come in whole numbers."""
    variance = exposure.noise**2 * (exposure.shot * np.clip(light, 0, None) + (1 - exposure.shot))
    per_photon = exposure.noise**2 * exposure.shot
    if per_photon > 1 / 60 and exposure.shot > 0.5:
        drawn = rng.poisson(np.clip(light, 0, None) / per_photon) * per_photon
        reading = drawn + exposure.noise * np.sqrt(1 - exposure.shot) * rng.standard_normal(light.shape)
    else:
        reading = light + np.sqrt(variance) * rng.standard_normal(light.shape, np.float32)
    if rng.random() < config.stripes:
        lines = rng.standard_normal((light.shape[-1],)) * rng.uniform(0.05, 0.2) * exposure.contrast
        reading = reading + (lines if rng.random() < 0.5 else lines[:, None])
    if rng.random() < config.hot:
        count = int(rng.integers(1, 1 + light[0].size // 800))
        at = rng.integers(0, light.shape[-1], (2, count))
        reading[:, at[0], at[1]] = rng.choice([0.0, 1.3], count) * exposure.full
    return np.asarray(reading, np.float32)


def _through_bayer(image: Floats) -> Floats:
    """Return red, green and blue as interpolated from one colour per pixel (linear interpolation)."""
    rows, columns = np.indices(image.shape[1:]) % 2
    masks = ((rows == 0) & (columns == 0), rows != columns, (rows == 1) & (columns == 1))
    out = []
    for channel, mask in zip(image, masks, strict=True):
        weights = convolve(mask.astype(np.float32), _BAYER, mode="mirror")
        out.append(convolve(channel * mask, _BAYER, mode="mirror") / weights)
    return np.stack(out)


def enlarged(channel: Floats, side: int, order: int = 1) -> Floats:
    """Return a square image (Y, X) resampled to `side`; averaged first where it shrinks."""
    factor = channel.shape[0] / side
    if factor > 1.5:
        channel = uniform_filter(channel, round(factor), mode="nearest")
    axis = np.clip((np.arange(side) + 0.5) * factor - 0.5, 0, channel.shape[0] - 1)
    at = np.stack(np.meshgrid(axis, axis, indexing="ij"))
    out = np.empty((side, side), np.float32)
    map_coordinates(channel, at, output=out, order=order, mode="nearest")  # type: ignore[call-overload]
    return out


def _developed(config: LookConfig, image: Floats, exposure: Exposure, rng: np.random.Generator) -> NDArray[Any]:
    """Return the file's numbers, with exposure, pedestal, tone curve, clipping, bits and JPEG."""
    level = rng.uniform(*config.exposure)
    if rng.random() < config.clipped:
        level = rng.uniform(1.0, 1.3)
    pedestal = rng.uniform(*config.pedestal) if rng.random() < 0.5 else 0.0
    gain = level * (1 - pedestal) / exposure.full
    share = np.clip(pedestal + gain * image, 0, 1)
    gamma = float(np.exp(rng.uniform(*np.log(config.gamma)))) if rng.random() < 0.5 else 1.0
    share = share**gamma
    steps = _steps(exposure, pedestal, gain, gamma)
    if rng.random() < config.sixteen or steps < config.grey_levels:
        bits = 16 if rng.random() < 0.5 or steps * 16 < config.grey_levels else 12
        return _last(np.rint(share * (2**bits - 1)).astype(np.uint16))
    rounded = _last(np.rint(share * 255).astype(np.uint8))
    if steps > 2.5 * config.grey_levels and rng.random() < config.jpeg:
        return _through_jpeg(rounded, int(rng.integers(*config.jpeg_quality)))
    return rounded


def _last(image: NDArray[Any]) -> NDArray[Any]:
    """Return an image (C, Y, X) as (Y, X) or (Y, X, 3)."""
    return image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)


def _steps(exposure: Exposure, pedestal: float, gain: float, gamma: float) -> float:
    """Return the difference of 8-bit numbers between typical ground and typical bead."""
    ground = float(np.median(exposure.ground))
    first, second = (np.clip(pedestal + gain * at, 0, 1) ** gamma for at in (ground, ground + exposure.contrast))
    return 255 * abs(float(second - first))


def _through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))
