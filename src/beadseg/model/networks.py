"""The networks, each with the same head: three by MONAI, and the one of the general model.

MONAI takes seconds to import: it is imported where one of its networks is built.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from beadseg.config.train import AttentionUnetConfig, HalfUNetConfig, UNetConfig
from beadseg.errors import ConfigError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from monai.networks.blocks.acti_norm import ADN
    from monai.networks.blocks.convolutions import Convolution, ResidualUnit

    from beadseg.config.train import AttentionResUnetConfig, NetworkConfig

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
    from monai.networks.nets.unet import UNet

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
    from monai.networks.blocks.convolutions import Convolution
    from monai.networks.nets.attentionunet import AttentionUnet

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
    from monai.networks.blocks.acti_norm import ADN

    return ADN("NDA", channels, act="RELU", norm=norm, norm_dim=2, dropout=dropout or None, dropout_dim=1)


def _set_norm(body: nn.Module, norm: str) -> None:
    """Replace the batch norms that MONAI hard-wires (attention gates) where instance norm is asked for."""
    if norm == "batch":
        return
    for module in list(body.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.InstanceNorm2d(child.num_features))


class AttentionResUNet(nn.Module):
    """A U-Net of residual units whose skip connections pass additive attention gates.

    Every level of the encoder and of the decoder is one `monai.networks.blocks.ResidualUnit`: convolutions with norm
    and ReLU, plus a shortcut [1]_. The encoder halves by a stride of 2 in a unit's first convolution, the decoder
    doubles by a transposed convolution. Before a skip joins the decoder, MONAI's `AttentionBlock` weights each of its
    pixels by a number between 0 and 1, computed from the skip and from the features below [2]_, which are upsampled
    first, as MONAI has it.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    channels : sequence of int
        Channels of each level, top first; the output has ``channels[0]``.
    first_stride : {1, 2}
        1: the first level has full resolution. 2: it has half; a last transposed convolution, without a skip,
        restores the full one.
    units : int
        Convolutions per residual unit.
    norm : str
        MONAI's name of the norm layer.
    dropout : float
        Share of features dropped after every normalised convolution of the residual units.

    References
    ----------
    .. [1] Zhang, Liu, Wang: Road Extraction by Deep Residual U-Net, 2018, arXiv:1711.10684.
    .. [2] Oktay et al.: Attention U-Net: Learning Where to Look for the Pancreas, 2018, arXiv:1804.03999.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        first_stride: int = 1,
        units: int = 2,
        norm: str = "batch",
        dropout: float = 0.0,
    ) -> None:
        from monai.networks.blocks.convolutions import Convolution, ResidualUnit
        from monai.networks.nets.attentionunet import AttentionBlock

        super().__init__()

        def unit(inside: int, outside: int, stride: int = 1) -> ResidualUnit:
            return ResidualUnit(
                2, inside, outside, strides=stride, subunits=units, act="RELU", norm=norm, dropout=dropout
            )

        def doubling(inside: int, outside: int) -> Convolution:
            return Convolution(2, inside, outside, strides=2, act="RELU", norm=norm, is_transposed=True)

        pairs = list(pairwise(channels))
        self.first = unit(in_channels, channels[0], first_stride)
        self.down = nn.ModuleList(unit(upper, lower, 2) for upper, lower in pairs)
        self.up = nn.ModuleList(doubling(lower, upper) for upper, lower in pairs)
        self.gates = nn.ModuleList(AttentionBlock(2, f_int=max(1, c // 2), f_g=c, f_l=c) for c in channels[:-1])
        self.merge = nn.ModuleList(unit(2 * c, c) for c in channels[:-1])
        self.last: nn.Module = doubling(channels[0], channels[0]) if first_stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (N, channels[0], Y, X) of an input (N, in_channels, Y, X)."""
        features = self.first(x)
        skips = []
        for down in self.down:
            skips.append(features)
            features = down(features)
        levels = list(zip(self.up, self.gates, self.merge, skips, strict=True))
        for up, gate, merge, skip in reversed(levels):
            below = up(features)
            features = merge(torch.cat((gate(below, skip), below), dim=1))
        out: Tensor = self.last(features)
        return out


class HalfUNet(nn.Module):
    """A residual U-Net whose first level has half the resolution of its input.

    The stem moves every 2x2 pixels into channels, so that nothing is lost; the head that follows returns four values
    per pixel, which `torch.nn.functional.pixel_shuffle` puts back in their places [1]_. Convolutions at full
    resolution, which take most of the time of a U-Net for small objects, are left out. Skips are added, not
    concatenated; the decoder is enlarged by its nearest neighbours after a 1x1 convolution.

    Parameters
    ----------
    in_channels : int
        Channels of the input.
    channels : sequence of int
        Channels of each level, top first; the output has ``channels[0]`` at half resolution.
    norm : str
        ``batch`` or ``instance``.
    dropout : float
        Share of features dropped after every unit.
    compress : float
        The input x becomes ``asinh(compress * x)``; 0: as it is.

    References
    ----------
    .. [1] Shi et al.: Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
       Neural Network, 2016, arXiv:1609.05158.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        norm: str = "batch",
        dropout: float = 0.0,
        compress: float = 4.0,
    ) -> None:
        super().__init__()
        self.compress = compress
        pairs = list(pairwise(channels))
        self.stem = _convolution(4 * in_channels, channels[0], norm)
        self.encode = nn.ModuleList(_Unit(c, norm, dropout) for c in channels)
        self.down = nn.ModuleList(_convolution(upper, lower, norm, stride=2) for upper, lower in pairs)
        self.up = nn.ModuleList(nn.Conv2d(lower, upper, 1, bias=False) for upper, lower in pairs)
        self.decode = nn.ModuleList(_Unit(c, norm, dropout, convolutions=1) for c in channels[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """Return the features (N, channels[0], Y / 2, X / 2) of an input (N, in_channels, Y, X)."""
        if self.compress > 0:
            x = torch.asinh(self.compress * x)
        features: Tensor = self.stem(nn.functional.pixel_unshuffle(x, 2))
        skips = []
        for encode, down in zip(self.encode, self.down, strict=False):
            features = encode(features)
            skips.append(features)
            features = down(features)
        features = self.encode[-1](features)
        for up, decode, skip in reversed(list(zip(self.up, self.decode, skips, strict=True))):
            features = decode(skip + nn.functional.interpolate(up(features), scale_factor=2, mode="nearest"))
        return features


class _Unit(nn.Module):
    """Convolutions with norm and ReLU beside a shortcut."""

    def __init__(self, channels: int, norm: str, dropout: float, convolutions: int = 2) -> None:
        super().__init__()
        layers = [_convolution(channels, channels, norm) for _ in range(convolutions - 1)]
        last = [nn.Conv2d(channels, channels, 3, padding=1, bias=False), _norm(norm, channels)]
        self.layers = nn.Sequential(*layers, *last)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the same shape."""
        out: Tensor = self.dropout(torch.relu(x + self.layers(x)))
        return out


def _convolution(inside: int, outside: int, norm: str, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False), _norm(norm, outside), nn.ReLU()
    )


def _norm(norm: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if norm == "batch" else nn.InstanceNorm2d(channels)
