"""An attention residual U-Net, composed from MONAI's blocks (MONAI itself has none)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from monai.networks.blocks.convolutions import Convolution, ResidualUnit
from monai.networks.nets.attentionunet import AttentionBlock
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


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
