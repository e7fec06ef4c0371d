"""A small U-Net from images to maps of the same size, and a discriminator of patches (PatchGAN).

Papers: Ronneberger et al. 2015 (1505.04597); PatchGAN: Isola et al. 2017 (1611.07004), section 3.2.2.

Kept: an encoder that halves the side, a decoder that doubles it, skips between layers of one size. Changed, for two CPU
cores: no layer at full size (the first halves the side, the last is a pixel shuffle), and skips are added instead of
concatenated, as in feature pyramids (Lin et al. 2017, 1612.03144): ten thousand multiplications a pixel. No 1 x 1
convolutions: on a CPU these add in another order with another number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.methods.networks import feature_block

WIDTHS = 1, 2, 4, 16 / 3  # channels after each halving of the side, times the base width


class UNetMaps(NamedTuple):
    """What a `UNet` returns of images."""

    maps: torch.Tensor  # (B, outputs, S, S), unbounded
    deepest: torch.Tensor  # (B, W, S / 16, S / 16) >= 0, where each place sees the whole of a square of 128


class UNet(nn.Module):
    """Images (B, inputs, S, S), S a multiple of 16 -> `UNetMaps`; `base` channels at S / 2."""

    def __init__(self, inputs: int, outputs: int, base: int) -> None:
        super().__init__()
        widths = [round(base * factor) for factor in WIDTHS]
        downs = [nn.Sequential(*convolution(inputs, widths[0], 5, 2))]
        for before, width in pairwise(widths):
            downs.append(nn.Sequential(*convolution(before, width, 3, 2), *convolution(width, width)))
        self.downs = nn.ModuleList(downs)
        self.narrow = nn.ModuleList(nn.Sequential(*convolution(b, a)) for a, b in pairwise(widths))
        self.ups = nn.ModuleList(nn.Sequential(*convolution(width, width)) for width in widths[:-1])
        self.out = nn.Conv2d(widths[0], 4 * outputs, 3, 1, 1)
        self.deepest_width = widths[-1]
        self.decoder_widths = widths[-2::-1]  # of its layers, from the smallest on

    def forward(self, images: torch.Tensor, kept: Sequence[torch.Tensor] = ()) -> UNetMaps:
        """`kept`: factors (B or 1, W, 1, 1) of the first layers of the decoder, from the smallest on: dropout."""
        skips = [images]
        for down in self.downs:
            skips.append(down(skips[-1]))  # halves the side
        hidden = deepest = skips.pop()
        for level in reversed(range(len(self.ups))):
            wide = F.interpolate(self.narrow[level](hidden), scale_factor=2, mode="nearest")
            hidden = self.ups[level](skips.pop() + wide)
            if len(self.ups) - level <= len(kept):
                hidden = hidden * kept[len(self.ups) - 1 - level]
        return UNetMaps(F.pixel_shuffle(self.out(hidden), 2), deepest)


class PatchCritique(NamedTuple):
    """What a `PatchDiscriminator` returns of images."""

    logits: torch.Tensor  # (B, 1, S / 8, S / 8), each of a patch of 33 pixels; higher: more like a normal image
    features: torch.Tensor  # (B, F, s, s) the maps of the block that `networks.feature_layer` names
    maps: tuple[torch.Tensor, ...]  # of every block


class PatchDiscriminator(nn.Module):
    """Images (B, inputs, S, S) -> `PatchCritique`."""

    def __init__(self, inputs: int, base: int, feature_layer: int) -> None:
        super().__init__()
        widths = [inputs, base, 2 * base, 4 * base]
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, width, 5 if level == 0 else 3, 2, 1 + (level == 0)), nn.LeakyReLU(0.2))
            for level, (before, width) in enumerate(pairwise(widths))
        )
        self.head = nn.Conv2d(widths[-1], 1, 3, 1, 1)
        self.feature_block = feature_block(len(self.blocks), feature_layer)

    def forward(self, images: torch.Tensor) -> PatchCritique:
        maps = [images]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return PatchCritique(self.head(maps[-1]), maps[1 + self.feature_block], tuple(maps[1:]))


def without_grid(images: torch.Tensor) -> torch.Tensor:
    """Means of 2 x 2 pixels, mirrored at the border: a pixel shuffle by 2 leaves no grid, whatever has been learnt.

    What is flat before the shuffle is flat after it (Sugawara et al. 2018, 1806.02658).

    >>> shuffled = F.pixel_shuffle(torch.arange(4.0).view(1, 4, 1, 1).expand(-1, -1, 3, 3), 2)
    >>> shuffled.unique().tolist(), without_grid(shuffled).unique().tolist()
    ([0.0, 1.0, 2.0, 3.0], [1.5])
    """
    return F.avg_pool2d(F.pad(images, (1, 0, 1, 0), mode="reflect"), 2, 1)


def doubled(maps: torch.Tensor) -> torch.Tensor:
    """Maps (B, 4 C, s, s) -> (B, C, 2 s, 2 s) by a pixel shuffle without its grid."""
    return without_grid(F.pixel_shuffle(maps, 2))


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    """The layers that networks here consist of: convolution, batch norm, ReLU; sides are divided by `stride`."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


def residual_block(width: int, norm: bool = True) -> nn.Sequential:
    """What a layer (B, W, s, s) adds to itself; without `norm` as in EDSR (Lim et al. 2017, 1707.02921)."""
    if norm:
        return nn.Sequential(*[*convolution(width, width), *convolution(width, width)][:-1])
    return nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.ReLU(), nn.Conv2d(width, width, 3, 1, 1))
