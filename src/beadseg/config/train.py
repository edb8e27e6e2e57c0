"""The training configuration: everything that decides what a run does: network, image, loss, augmentation, split."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from beadseg.config.base import Config, merge, read_yaml
from beadseg.config.predict import PredictConfig
from beadseg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

NETWORK_KINDS = ("unet", "attention-unet", "attention-resunet")
"""The three networks of the laboratory's presets, in the order of its tables."""

Head = Literal["foreground", "centre", "size"]


class NetworkBase(Config):
    """What all networks share."""

    depth: Annotated[int, Field(ge=2, le=7)] | None = None
    """Levels, the full-resolution one and the bottleneck included. None: planned from the bead diameter."""
    width: Annotated[int, Field(ge=4, le=256)] = 16
    """Channels of the first level; every level below has twice as many."""
    max_width: Annotated[int, Field(ge=4, le=2048)] = 256
    """No level has more channels than this."""
    first_stride: Literal[1, 2] | None = None
    """1 keeps a full-resolution level and skip; 2 halves at once (faster, loses small beads). None: planned."""
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Share of features dropped in training."""
    norm: Literal["batch", "instance"] = "batch"
    """Normalisation layer. Instance norm makes the result depend on the size of the tile."""
    prior_logit: Annotated[float, Field(ge=-20.0, le=20.0)] | None = -3.0
    """Logit of the foreground probability that the network starts from (-3: 0.05). None: torch's own first weights."""
    heads: tuple[Head, ...] = ("foreground",)
    """Output maps: the foreground, alone or followed by the centre map, which tells touching beads apart, and by the
    size of the bead that a pixel belongs to."""

    @field_validator("heads")
    @classmethod
    def _known_order(cls, heads: tuple[Head, ...]) -> tuple[Head, ...]:
        if heads != ("foreground", "centre", "size")[: len(heads)] or not heads:
            raise ValueError("heads are [foreground], [foreground, centre] or [foreground, centre, size]")
        return heads


class UNetConfig(NetworkBase):
    """MONAI's `UNet`."""

    kind: Literal["unet"] = "unet"
    residual_units: Annotated[int, Field(ge=0, le=4)] = 2
    """Residual units per level; 0 for plain convolutions."""


class AttentionUnetConfig(NetworkBase):
    """MONAI's `AttentionUnet`, with its instance norms replaced by the norm chosen here."""

    kind: Literal["attention-unet"] = "attention-unet"

    @model_validator(mode="after")
    def _refuse(self) -> AttentionUnetConfig:
        if self.first_stride == 2:
            raise ValueError("attention-unet always has a full-resolution first level: set first_stride to 1")
        return self


class AttentionResUnetConfig(NetworkBase):
    """An attention residual U-Net composed from MONAI's `AttentionBlock` and `ResidualUnit`."""

    kind: Literal["attention-resunet"] = "attention-resunet"
    residual_units: Annotated[int, Field(ge=1, le=4)] = 2
    """Convolutions per residual unit."""


class HalfUNetConfig(NetworkBase):
    """A U-Net that works at half resolution between a space-to-depth stem and a sub-pixel head: the general model's."""

    kind: Literal["half-unet"] = "half-unet"
    compress: Annotated[float, Field(ge=0.0, le=100.0)] = 4.0
    """The input x becomes ``asinh(compress * x)``, so that weak and strong contrasts look alike. 0: as it is."""


NetworkConfig = Annotated[
    UNetConfig | AttentionUnetConfig | AttentionResUnetConfig | HalfUNetConfig, Field(discriminator="kind")
]


class GreyConfig(Config):
    """All colour channels combined into luminance (ITU-R BT.601 weights); a grey image is itself. One input channel."""

    kind: Literal["grey"] = "grey"


class RgbConfig(Config):
    """Red, green and blue as three input channels; a grey image is repeated."""

    kind: Literal["rgb"] = "rgb"


class SingleChannelConfig(Config):
    """One channel of the image, alone. One input channel."""

    kind: Literal["single"] = "single"
    index: Annotated[int, Field(ge=0)] = 0
    """Which channel, from 0."""


ChannelConfig = Annotated[GreyConfig | RgbConfig | SingleChannelConfig, Field(discriminator="kind")]


class BackgroundNormConfig(Config):
    """Difference to the local background, relative to it: does not change with how many beads an image has."""

    kind: Literal["background"] = "background"
    window: Annotated[int, Field(ge=8, le=4096)] = 64
    """Side of the blocks whose median is the local background, px; several bead diameters."""
    gain: Annotated[float, Field(gt=0.0, le=1000.0)] = 4.0
    """Factor that brings a bead's contrast to about 1."""


class RangeNormConfig(Config):
    """Division by the largest value of the dtype (255 for uint8): what the laboratory's scripts do."""

    kind: Literal["range"] = "range"


class ZScoreNormConfig(Config):
    """Mean 0 and standard deviation 1 per image. Changes with the number of beads; for comparison only."""

    kind: Literal["zscore"] = "zscore"


class PercentileNormConfig(Config):
    """Linear between two percentiles of the image, 0 to 1 (StarDist's way)."""

    kind: Literal["percentile"] = "percentile"
    low: Annotated[float, Field(ge=0.0, lt=100.0)] = 1.0
    """Lower percentile, per cent."""
    high: Annotated[float, Field(gt=0.0, le=100.0)] = 99.8
    """Upper percentile, per cent."""


NormConfig = Annotated[
    BackgroundNormConfig | RangeNormConfig | ZScoreNormConfig | PercentileNormConfig, Field(discriminator="kind")
]


class ImageConfig(Config):
    """Channels and normalisation."""

    channels: ChannelConfig = GreyConfig()
    """Which channels the network sees."""
    norm: NormConfig = BackgroundNormConfig()
    """How intensities are normalised, per whole image and never per tile."""
    bead_px: Annotated[float, Field(ge=3.0, le=64.0)] | None = None
    """Diameter of a bead as the network sees it, px: images are resampled so that their beads have it. None: images
    stay as they are."""

    def seen_at(self, factor: float) -> ImageConfig:
        """Return what prepares an image before it is enlarged by `factor`: the window of the background shrinks."""
        if not isinstance(self.norm, BackgroundNormConfig):
            return self
        window = min(4096, max(8, round(self.norm.window / factor)))
        return self.replace(norm=self.norm.replace(window=window))


PRESETS = ("dense", "microbeads", "mitochondria")
"""Names of the packaged presets."""

GENERAL = "general"
"""Name of the model that comes with beadseg, wherever a run can be given. A run folder of that name: ``./general``."""

Metric = Literal[
    "jaccard_images", "jaccard_fields", "jaccard_pooled", "dice_images", "dice_fields", "dice_pooled",
    "f1", "count_bias", "count_mae",
]  # fmt: skip
METRICS: tuple[Metric, ...] = get_args(Metric)
"""Validation scores that `best` and early stopping can follow: pixels as mean over images, mean over fields or pooled;
F1 of beads; bias and mean absolute error of the counts, of which the smallest size is the best."""

_SHAPE = ("kind", "depth", "width", "max_width", "norm")
"""Fields of a network that decide the shape of its weights."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]

Weight = Annotated[float, Field(ge=0.0, le=100.0)]

Fraction = Annotated[float, Field(title="Validation share", gt=0.0, lt=1.0)]


class ImageEpochConfig(Config):
    """An epoch shows every training image once, cropped to `size` at full resolution: the laboratory's way."""

    kind: Literal["images"] = "images"
    size: Annotated[int, Field(ge=32, le=4096)] = 256
    """Side of the square that the network sees, px."""

    @model_validator(mode="before")
    @classmethod
    def _without_fit(cls, values: Any) -> Any:
        """Read configurations of earlier versions, which said how an image is made to fit."""
        if not isinstance(values, dict) or "fit" not in values:
            return values
        if values["fit"] != "crop":
            raise ValueError("fit=resize is gone: it trained on shrunken beads, and predicted at full size."
                             " Leave fit out (crop), and train again")  # fmt: skip
        return {name: value for name, value in values.items() if name != "fit"}


class PatchEpochConfig(Config):
    """An epoch is a fixed number of steps over random patches, however many images there are."""

    kind: Literal["patches"] = "patches"
    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer steps per epoch. None: planned."""
    size: Annotated[int, Field(ge=32, le=4096)] | None = None
    """Side of a patch, px. None: planned from the bead diameter."""
    balance: Literal["images", "fields"] = "images"
    """What every patch is drawn from with equal chance: one of all images, or first one of the fields of view."""
    on_bead: Annotated[float, Field(title="Share on a bead", ge=0.0, le=1.0)] = 0.5
    """Share of the patches placed so that they show a bead, where the image has one."""
    simulated: Annotated[float, Field(title="Share simulated", ge=0.0, lt=1.0)] = 0.0
    """Share of the patches that are simulated (docs/looks.md): every centre in them is known, also where beads fuse."""
    looks: Literal["dark", "bright"] | None = None
    """Simulated patches show dark or bright beads. None: planned, as the annotated beads are."""


EpochConfig = Annotated[ImageEpochConfig | PatchEpochConfig, Field(discriminator="kind")]


class OptimizerConfig(Config):
    """Adam or AdamW by torch."""

    name: Literal["adam", "adamw"] = "adamw"
    """AdamW decouples the weight decay."""
    lr: Annotated[float, Field(title="Peak learning rate", gt=0.0, le=1.0)] = 2e-3
    """Peak learning rate."""
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 1e-4
    """Weight decay."""
    clip: Annotated[float, Field(gt=0.0)] | None = 1.0
    """Largest norm of the gradient. None: not clipped."""


class ScheduleConfig(Config):
    """Learning rate over the steps of a run: linear warm-up, then cosine decay or constant."""

    warmup: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.05
    """Share of all steps in which the rate rises from 0 to its peak."""
    decay: Literal["cosine", "constant"] = "cosine"
    """What follows the warm-up."""


class StopConfig(Config):
    """Which score decides what is best, and when to stop early."""

    metric: Metric = "jaccard_images"
    """The validation score followed."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Epochs without a better score before training stops. None: runs all epochs."""


class AugmentConfig(Config):
    """Random changes of a training patch; a probability of 0 switches one off."""

    flip: Probability = 0.5
    """Probability of a mirror image along each axis."""
    rotate90: Probability = 0.5
    """Probability of a rotation by a multiple of 90 degrees."""
    affine: Probability = 0.3
    """Probability of a free rotation and scaling together."""
    rotate_degrees: Annotated[float, Field(ge=0.0, le=180.0)] = 180.0
    """Largest free rotation, degrees either way."""
    scale: Annotated[float, Field(ge=0.0, lt=0.9)] = 0.15
    """Largest relative change of size either way."""
    intensity: Probability = 0.5
    """Probability of a change of contrast and brightness."""
    contrast: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.4
    """Largest relative change of contrast either way."""
    brightness: Annotated[float, Field(ge=0.0, le=2.0)] = 0.1
    """Largest brightness offset either way, in units of the normalised image."""
    noise: Probability = 0.3
    """Probability of added Gaussian noise."""
    noise_std: Annotated[float, Field(ge=0.0, le=2.0)] = 0.05
    """Largest standard deviation of the noise, in units of the normalised image."""
    blur: Probability = 0.2
    """Probability of a Gaussian blur."""
    blur_sigma: Annotated[float, Field(ge=0.0, le=5.0)] = 1.0
    """Largest sigma of the blur, px."""

    @classmethod
    def none(cls) -> AugmentConfig:
        """Return the configuration that changes nothing."""
        return cls(flip=0, rotate90=0, affine=0, intensity=0, noise=0, blur=0)


class GaussianTargetConfig(Config):
    """A Gaussian of height 1 at every bead's centre; where two overlap, the higher one."""

    kind: Literal["gaussian"] = "gaussian"
    sigma: Annotated[float, Field(gt=0.0, le=1.0)] = 0.13
    """Standard deviation, share of the bead diameter."""


class DistanceTargetConfig(Config):
    """The distance to the bead's own edge, 1 where it is largest."""

    kind: Literal["distance"] = "distance"


CentreTargetConfig = Annotated[GaussianTargetConfig | DistanceTargetConfig, Field(discriminator="kind")]


class CentreConfig(Config):
    """What the head ``centre`` learns; without effect where the network has none.

    Centres come from instance labels or points. In a mask without ids they are those that the model sees which training
    starts from; where it starts from none, those of the mask's parts, divided by their shape.
    """

    target: CentreTargetConfig = GaussianTargetConfig()
    """The map to learn."""
    loss: Literal["cross-entropy", "squared"] = "cross-entropy"
    """Per pixel: binary cross-entropy with the map as soft truth, or the squared difference."""
    weight: Annotated[float, Field(ge=0.0, le=100.0)] = 1.0
    """Factor on this loss beside that of the foreground."""
    per_area: Annotated[float, Field(gt=0.0)] = 60.0
    """Each patch's summed loss is divided by the sum of its map plus this many px², so that dense patches do not decide
    alone."""


class DiceCELossConfig(Config):
    """`monai.losses.DiceCELoss`: Dice plus binary cross-entropy."""

    kind: Literal["dice-ce"] = "dice-ce"
    dice_weight: Weight = 1.0
    """Weight of the Dice part."""
    ce_weight: Weight = 1.0
    """Weight of the cross-entropy part."""
    ce_per_area: Annotated[float, Field(gt=0.0)] | None = None
    """Divide each patch's summed cross-entropy by its foreground area plus this many px²: a patch with two beads weighs
    as much as one with sixty. None: the mean over pixels, as MONAI has it."""
    batch: bool = True
    """Sum over the batch before the Dice ratio is taken."""


class StratifiedSplitConfig(Config):
    """Random within classes of objects per image (quantiles), as the laboratory's document writes it."""

    kind: Literal["stratified"] = "stratified"
    val_fraction: Fraction = 0.15
    """Share of the samples held out."""
    bins: Annotated[int, Field(ge=2, le=20)] = 5
    """Number of quantile classes."""


class DiceFocalLossConfig(Config):
    """`monai.losses.DiceFocalLoss`."""

    kind: Literal["dice-focal"] = "dice-focal"
    gamma: Annotated[float, Field(ge=0.0, le=10.0)] = 2.0
    """Focusing exponent of the focal part."""
    dice_weight: Weight = 1.0
    """Weight of the Dice part."""
    focal_weight: Weight = 1.0
    """Weight of the focal part."""
    batch: bool = True
    """Sum over the batch before the Dice ratio is taken."""


class DiceLossConfig(Config):
    """`monai.losses.DiceLoss` over the whole batch, so that an empty patch does no harm."""

    kind: Literal["dice"] = "dice"
    batch: bool = True
    """Sum over the batch before the ratio is taken (MONAI's ``batch``)."""


class FocalLossConfig(Config):
    """`monai.losses.FocalLoss`."""

    kind: Literal["focal"] = "focal"
    gamma: Annotated[float, Field(ge=0.0, le=10.0)] = 2.0
    """Focusing exponent; 0 is cross-entropy."""


class TverskyLossConfig(Config):
    """`monai.losses.TverskyLoss`."""

    kind: Literal["tversky"] = "tversky"
    alpha: Annotated[float, Field(ge=0.0, le=1.0)] = 0.3
    """Weight of false positives."""
    beta: Annotated[float, Field(ge=0.0, le=1.0)] = 0.7
    """Weight of false negatives."""
    batch: bool = True
    """Sum over the batch before the ratio is taken."""


LossConfig = Annotated[
    DiceLossConfig | FocalLossConfig | DiceCELossConfig | DiceFocalLossConfig | TverskyLossConfig,
    Field(discriminator="kind"),
]


class BlockSplitConfig(Config):
    """A contiguous block of tiles of every field held out: for few fields, where whole ones cannot be spared."""

    kind: Literal["block"] = "block"
    val_fraction: Fraction = 0.2
    """Share of every field held out, about."""


class FieldSplitConfig(Config):
    """Whole fields of view held out, densities balanced as far as the number of fields allows."""

    kind: Literal["field"] = "field"
    val_fraction: Fraction = 0.2
    """Share of the samples held out, about."""


class FileSplitConfig(Config):
    """A given split: a CSV with the columns ``sample`` and ``fold`` (``train``, ``val`` or ``test``)."""

    kind: Literal["file"] = "file"
    path: Path
    """The CSV file."""


class RandomSplitConfig(Config):
    """Plain random split."""

    kind: Literal["random"] = "random"
    val_fraction: Fraction = 0.1
    """Share of the samples held out."""


SplitConfig = Annotated[
    RandomSplitConfig | StratifiedSplitConfig | FieldSplitConfig | BlockSplitConfig | FileSplitConfig,
    Field(discriminator="kind"),
]


class TrainConfig(Config):
    """Everything that decides what a training run does. `None` marks a value planned from the data."""

    based_on: str = "custom"
    """The preset that this configuration started from."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of every random choice."""
    network: NetworkConfig = UNetConfig()
    """The network."""
    start_from: str = "none"
    """Weights that training starts from: ``general`` (the model that comes with beadseg), ``none`` (random ones), or a
    run folder. The network must have the same shape."""
    image: ImageConfig = ImageConfig()
    """Channels and normalisation."""
    annotations: Literal["check", "trust"] = "check"
    """What to do where most annotations look inverted: end before training (check), or train on them (trust)."""
    split: SplitConfig = StratifiedSplitConfig()
    """Training and validation samples."""
    loss: LossConfig = DiceCELossConfig()
    """The loss of the foreground."""
    centre: CentreConfig = CentreConfig()
    """The centre map that a network with such a head learns."""
    augment: AugmentConfig = AugmentConfig()
    """Augmentation of training patches."""
    epoch: EpochConfig = PatchEpochConfig()
    """What an epoch is."""
    epochs: Annotated[int, Field(ge=1)] = 20
    """Maximum number of epochs."""
    batch: Annotated[int, Field(ge=1)] | None = None
    """Patches per optimizer step, of all processes together. None: planned."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Gradient accumulation steps per batch; doubled automatically when memory runs out (not where several processes
    train). The loss and the batch norm then see one part at a time, so the result is close, not equal."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """The optimizer."""
    schedule: ScheduleConfig = ScheduleConfig()
    """Learning rate over time."""
    ema: Annotated[float, Field(title="Average of weights", ge=0.0, lt=1.0)] = 0.98
    """Decay of the moving average of the weights that is validated and saved; 0 switches it off."""
    stop: StopConfig = StopConfig()
    """Best score and early stopping."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the forward pass; auto takes bf16 where hardware has it, else fp32."""
    train_scores: Annotated[int, Field(ge=0)] | None = None
    """Training images scored in evaluation mode after each epoch, spread over the densities. None: as many as there are
    validation images."""
    tune: bool = True
    """At the end fit seeds and least confidence (`predict.objects`) to the validation images, without them to training
    images, and store them in the model."""
    predict: PredictConfig = PredictConfig()
    """Defaults for prediction with the finished model, also used in validation."""

    @classmethod
    def preset(cls, name: str, network: str | None = None) -> TrainConfig:
        """Return a packaged preset for one of its `networks`; for the first of them when none is named.

        Raises
        ------
        ConfigError
            The preset or the network is unknown.
        """
        values, per_network = _preset_values(name)
        network = next(iter(per_network)) if network is None else network
        if network not in per_network:
            raise ConfigError(
                f"There is no network {network!r}.", "--model", f"Choose one of: {', '.join(per_network)}."
            )
        return cls.parse(merge({**values, "based_on": name}, per_network[network]), f"preset {name}")

    @staticmethod
    def networks(name: str) -> tuple[str, ...]:
        """Return the networks of a packaged preset, its default first; raises `ConfigError` for an unknown preset."""
        return tuple(_preset_values(name)[1])

    def with_overrides(self, assignments: list[str], on_note: Callable[[str], None] | None = None) -> TrainConfig:
        """Return a validated copy, see `Config.with_overrides`.

        Where the network gets another shape than the general model's, training no longer starts from that model, unless
        `assignments` say what it starts from.
        """
        changed = super().with_overrides(assignments, on_note)
        if changed.start_from != GENERAL or any(text.startswith("start_from=") for text in assignments):
            return changed
        before, after = (config.network.model_dump() for config in (self, changed))
        differs = [f"network.{name}" for name in _SHAPE if before.get(name) != after.get(name)]
        if not differs:
            return changed
        if on_note is not None:
            verb = "differs" if len(differs) == 1 else "differ"
            on_note(f"Training starts from random weights: {' and '.join(differs)} {verb} from the general model.")
        network = changed.network.replace(heads=tuple(head for head in changed.network.heads if head != "size"))
        return changed.replace(start_from="none", network=network)


def _preset_values(name: str) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the values of a preset, and what differs for each of its networks."""
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}.", "--preset", f"Choose one of: {', '.join(PRESETS)}.")
    with resources.as_file(resources.files("beadseg.config") / "presets" / f"{name}.yaml") as path:
        values = read_yaml(path)
    return values, values.pop("networks")
