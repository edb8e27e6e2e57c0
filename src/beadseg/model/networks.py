"""The networks, each with the same head: three by MONAI, and the one of the general model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monai.networks.blocks.acti_norm import ADN
from monai.networks.blocks.convolutions import Convolution
from monai.networks.nets.attentionunet import AttentionUnet
from monai.networks.nets.unet import UNet
from torch import Tensor, nn

from beadseg.config.network import AttentionUnetConfig, HalfUNetConfig, UNetConfig
from beadseg.errors import ConfigError, InputError
from beadseg.model.attention_resunet import AttentionResUNet
from beadseg.model.half_unet import HalfUNet

if TYPE_CHECKING:
    from beadseg.config.network import AttentionResUnetConfig, NetworkConfig

_HEAD_SCALE = 0.1
"""Factor on the head's first weights, so that training starts from the prior and not from noise around it."""


class Network(nn.Module):
    """A body that makes features and a 1x1 convolution that makes one logit per head from them.

    The head is separate because MONAI's `UNet` with residual units passes its output channels through norm and ReLU:
    with a single output channel that leaves hardly anything to learn from.

    Parameters
    ----------
    body : nn.Module
        (N, Cin, Y, X) to (N, features, Y, X).
    features : int
        Channels of the body's output.
    heads : int
        Output maps.
    size_multiple : int
        Y and X must be multiples of this.
    prior_logit : float or None
        Logit of the foreground probability that the head starts from, since most pixels are background; None: torch's
        own first weights. A third head (the size) starts from the middle of its range.
    enlarge : int
        The body's output has 1 / `enlarge` of the resolution; the head puts it right (sub-pixel convolution).
    """

    def __init__(
        self,
        body: nn.Module,
        features: int,
        heads: int,
        size_multiple: int,
        prior_logit: float | None = -3.0,
        enlarge: int = 1,
    ) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Conv2d(features, heads * enlarge**2, kernel_size=1)
        self.size_multiple, self.enlarge = size_multiple, enlarge
        if prior_logit is not None:
            nn.init.constant_(self.head.bias, prior_logit)  # type: ignore[arg-type]
            self.head.bias.data[2 * enlarge**2 :] = 0.0  # type: ignore[union-attr]
            self.head.weight.data.mul_(_HEAD_SCALE)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, heads, Y, X) of an input (N, Cin, Y, X).

        Raises
        ------
        InputError
            Y or X is not a multiple of `size_multiple`.
        """
        height, width = x.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise InputError(
                f"The network cannot take {height}x{width} px.",
                remedy=f"Pad both sides to multiples of {self.size_multiple}.",
            )
        logits: Tensor = self.head(self.body(x))
        return nn.functional.pixel_shuffle(logits, self.enlarge) if self.enlarge > 1 else logits


def build_network(config: NetworkConfig, in_channels: int) -> Network:
    """Return the configured network with fresh random weights from torch's global generator.

    ======================  =========================================================================================
    network                 levels, for channels ``width * 2**level``, at most ``max_width``
    ======================  =========================================================================================
    ``unet``                `depth` levels; the bottleneck has the resolution of the level above it. Lowest resolution
                            ``1 / 2**(depth - 2)``, or ``1 / 2**(depth - 1)`` with `first_stride` 2
    ``attention-unet``      `depth` levels, each half the one above. Lowest resolution ``1 / 2**(depth - 1)``
    ``attention-resunet``   the same; with `first_stride` 2 all levels are halved once more
    ``half-unet``           `depth` levels, the first at half resolution. Lowest resolution ``1 / 2**depth``
    ======================  =========================================================================================

    Dropout (`torch.nn.Dropout`, single features) follows every normalised convolution of ``unet`` and
    ``attention-unet``, and those of the residual units of ``attention-resunet``; attention gates have none.

    Parameters
    ----------
    config : NetworkConfig
        With `depth` and `first_stride` resolved.
    in_channels : int
        Channels of the input.

    Raises
    ------
    ConfigError
        A value that is planned from the data is still open, or the network cannot do what is asked.
    """
    depth, first_stride = _resolved(config)
    channels = [min(config.width * 2**level, config.max_width) for level in range(depth)]
    halvings = depth - 1
    body: nn.Module
    if isinstance(config, UNetConfig):
        body = _unet(config, in_channels, channels, first_stride)
        halvings -= first_stride == 1
    elif isinstance(config, HalfUNetConfig):
        body = HalfUNet(in_channels, channels, config.norm, config.dropout, config.compress)
        return Network(body, channels[0], len(config.heads), 2**depth, config.prior_logit, enlarge=2)
    elif isinstance(config, AttentionUnetConfig):
        body = _attention_unet(config, in_channels, channels)
    else:
        body = _attention_resunet(config, in_channels, channels, first_stride)
        halvings += first_stride == 2
    _set_norm(body, config.norm)
    return Network(body, channels[0], len(config.heads), 2**halvings, config.prior_logit)


def _resolved(config: NetworkConfig) -> tuple[int, int]:
    """Return depth and first stride; refuse open values and what `config.kind` cannot do."""
    first_stride = 2 if isinstance(config, HalfUNetConfig) else config.first_stride
    if isinstance(config, AttentionUnetConfig):
        if first_stride == 2:
            raise ConfigError(
                "attention-unet always has a full-resolution first level.", "network.first_stride", "Set it to 1."
            )
        first_stride = 1
    if config.depth is None or first_stride is None:
        name = "depth" if config.depth is None else "first_stride"
        raise ConfigError("Is still open.", f"network.{name}", "Plan it from the data, or set it to a number.")
    return config.depth, first_stride


def _unet(config: UNetConfig, in_channels: int, channels: list[int], first_stride: int) -> nn.Module:
    strides = [first_stride] + [2] * (len(channels) - 2)
    body = UNet(
        2, in_channels, channels[0], channels, strides,
        num_res_units=config.residual_units, act="RELU", norm=config.norm, dropout=config.dropout,
    )  # fmt: skip
    if config.residual_units:
        return body
    # Without residual units MONAI leaves norm and activation out of the last convolution, which is not an output here.
    return nn.Sequential(body, _adn(channels[0], config.norm, config.dropout))


def _attention_unet(config: AttentionUnetConfig, in_channels: int, channels: list[int]) -> nn.Module:
    body = AttentionUnet(2, in_channels, channels[0], channels, [2] * (len(channels) - 1), dropout=config.dropout)
    body.model[-1] = nn.Identity()  # MONAI's own 1x1 output convolution; ours follows
    # MONAI normalises, activates and drops differently in the convolutions, the upsampling and the merge blocks.
    for module in body.modules():
        if isinstance(module, Convolution) and hasattr(module, "adn"):
            module.adn = _adn(module.out_channels, config.norm, config.dropout)
    return body


def _attention_resunet(
    config: AttentionResUnetConfig, in_channels: int, channels: list[int], first_stride: int
) -> nn.Module:
    return AttentionResUNet(in_channels, channels, first_stride, config.residual_units, config.norm, config.dropout)


def _adn(channels: int, norm: str, dropout: float) -> ADN:
    return ADN("NDA", channels, act="RELU", norm=norm, norm_dim=2, dropout=dropout or None, dropout_dim=1)


def _set_norm(body: nn.Module, norm: str) -> None:
    """Replace the batch norms that MONAI hard-wires (attention gates) where instance norm is asked for."""
    if norm == "batch":
        return
    for module in list(body.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.InstanceNorm2d(child.num_features))
