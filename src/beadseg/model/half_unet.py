"""A U-Net at half resolution: space to depth before it, sub-pixel convolution after it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Sequence


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
