"""The networks of the DCGAN family, for any square size that is a power of two from 16 to 256.

Paper: Radford, Metz, Chintala, "Unsupervised representation learning with deep convolutional GANs", 2016 (1511.06434).
Kept: strided 4 x 4 convolutions, batch norm in the generator, ReLU / LeakyReLU(0.2), tanh, N(0, 0.02) weights.
Changed:
- the discriminator returns logits, and its features beside them;
- its batch norm can be left out or replaced by spectral norm (`networks.discriminator_norm`): R1 differentiates D(x)
  by x image by image, and batch norm ties the images of a batch together. Without batch norm the signal vanishes under
  N(0, 0.02) weights, so PyTorch's own initialisation is used there;
- its last layer is a product and a sum: a CPU's matrix product adds in another order for 1 row than for 4, and a score
  must not depend on the rest of its batch;
- on a CPU the layers at the image are matrix products over patches (`ImageConv`, `ImageConvTranspose`): the same sums,
  several times as fast, because convolution kernels are made for many channels and an image has 1 or 3.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.errors import SettingsError
from anotwin.records import ImageSpec
from anotwin.settings import NetworkSettings


class Critique(NamedTuple):
    """What a discriminator returns of images."""

    logits: torch.Tensor  # (B,) higher: more like a training image
    features: torch.Tensor  # (B, F) f(x), the activations of an intermediate block, flattened


def widths(size: int, base: int) -> list[int]:
    """Channels from the block at the image down to the block at 4 x 4: doubling, at most 8 x base.

    >>> widths(64, 32)
    [32, 64, 128, 256]
    """
    return [base * min(2**level, 8) for level in range(int(math.log2(size)) - 2)]


class ImageConv(nn.Conv2d):
    """The 4 x 4 convolution of stride 2 that takes images (B, C, S, S): (B, W, S/2, S/2), channels last."""

    def __init__(self, channels: int, width: int, bias: bool = True) -> None:
        super().__init__(channels, width, 4, 2, 1, bias=bias)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if input.is_cuda:
            return super().forward(input)
        patches = F.unfold(input, 4, padding=1, stride=2).transpose(1, 2)  # (B, S/2 S/2, 16 C)
        hidden = patches @ self.weight.flatten(1).T  # (B, S/2 S/2, W): in memory that is channels last
        hidden = hidden if self.bias is None else hidden + self.bias
        return hidden.transpose(1, 2).reshape(len(input), -1, input.shape[2] // 2, input.shape[3] // 2)


class ImageConvTranspose(nn.ConvTranspose2d):
    """The transposed 4 x 4 convolution of stride 2 that returns images: (B, W, S/2, S/2) -> (B, C, S, S)."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(width, channels, 4, 2, 1)

    def forward(self, input: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        if input.is_cuda:
            return super().forward(input, output_size)
        patches = input.flatten(2).transpose(1, 2) @ self.weight.flatten(1)  # (B, S/2 S/2, 16 C)
        patches = patches.transpose(1, 2).to(torch.promote_types(patches.dtype, torch.float32))  # to add up overlaps
        images = F.fold(patches, (2 * input.shape[2], 2 * input.shape[3]), 4, padding=1, stride=2)
        images = images if self.bias is None else images + self.bias[:, None, None]
        return images.to(self.weight.dtype)


class SmallConv(nn.Conv2d):
    """The 3 x 3 convolution that keeps the side: (B, W, s, s) -> (B, W, s, s)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, 1, 1, bias=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if len(input) > 1 or input.is_cuda:
            return super().forward(input)
        # PyTorch has another CPU kernel for one small image, which adds in another order: it gets two
        return super().forward(torch.cat([input, input]))[:1]


class Generator(nn.Module):
    """z (B, Z) -> images (B, C, S, S) in [-1, 1]."""

    def __init__(self, spec: ImageSpec, settings: NetworkSettings) -> None:
        super().__init__()
        channels = widths(spec.size, settings.width_for(spec.parts))[::-1]  # from 4 x 4 up to the image
        layers: list[nn.Module] = [
            nn.Unflatten(1, (settings.latent_dim, 1, 1)),
            nn.ConvTranspose2d(settings.latent_dim, channels[0], 4, bias=False),  # 1 x 1 to 4 x 4
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(),
        ]
        for inputs, outputs in pairwise(channels):
            layers += [nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        layers += [ImageConvTranspose(channels[-1], spec.channels), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(_dcgan_weights)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return self.layers(latents)  # type: ignore[no-any-return]


class Discriminator(nn.Module):
    """images (B, C, S, S) -> `Critique`: a logit and the features f(x) of the block that `feature_layer` names."""

    def __init__(self, spec: ImageSpec, settings: NetworkSettings) -> None:
        super().__init__()
        norm = settings.discriminator_norm
        channels = _channels(spec, settings)
        self.blocks = nn.ModuleList()
        for level, (inputs, outputs) in enumerate(pairwise(channels)):
            layers = _halving(level, inputs, outputs, batch_norm=norm == "batch")
            if norm == "spectral":
                nn.utils.parametrizations.spectral_norm(layers[0])  # in place
            self.blocks.append(nn.Sequential(*layers))
        self.head = nn.Linear(channels[-1] * 16, 1)
        if norm == "spectral":
            nn.utils.parametrizations.spectral_norm(self.head)
        self.feature_block = feature_block(len(self.blocks), settings.feature_layer)
        if norm == "batch":
            self.apply(_dcgan_weights)

    def forward(self, images: torch.Tensor) -> Critique:
        features = hidden = images
        for level, block in enumerate(self.blocks):
            hidden = block(hidden)  # halves the side
            if level == self.feature_block:
                features = hidden
        hidden = hidden.to(torch.promote_types(hidden.dtype, torch.float32))  # a logit in bf16 has two digits
        weight = self.head.weight.reshape(1, *hidden.shape[1:]).contiguous(memory_format=torch.channels_last)
        logits = (hidden * weight).sum((1, 2, 3)) + self.head.bias  # both channels last: mixed formats are slow
        return Critique(logits, features.flatten(1))


class Encoder(nn.Module):
    """images (B, C, S, S) -> codes (B, Z): the discriminator's body, always with batch norm, onto the latents."""

    def __init__(self, spec: ImageSpec, settings: NetworkSettings) -> None:
        super().__init__()
        channels = _channels(spec, settings)
        layers: list[nn.Module] = []
        for level, (inputs, outputs) in enumerate(pairwise(channels)):
            layers += _halving(level, inputs, outputs, batch_norm=True)
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], settings.latent_dim, 4), nn.Flatten())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layers(images)  # type: ignore[no-any-return]


class DamageCritique(NamedTuple):
    """What a `DamageDiscriminator` returns of images."""

    logits: torch.Tensor  # (B,) higher: more like a training image
    kinds: torch.Tensor  # (B, K) logits of the kinds of damage, the first: none
    features: torch.Tensor  # (B, F) f(x), the channels of one block averaged over places, of length 1
    maps: tuple[torch.Tensor, ...]  # (B, W, s, s) the activations of every block


class DamageDiscriminator(nn.Module):
    """A discriminator that also names the damage in images (B, C, S, S), with 3 x 3 convolutions at 8 x 8 and 4 x 4."""

    def __init__(self, spec: ImageSpec, settings: NetworkSettings, kinds: int) -> None:
        super().__init__()
        channels = _channels(spec, settings)
        blocks: list[nn.Module] = []
        for level, (inputs, outputs) in enumerate(pairwise(channels)):
            halving = _halving(level, inputs, outputs, batch_norm=True)  # first: the order decides the initial weights
            added = _same_side(inputs) if level == len(channels) - 2 else []  # at 8 x 8
            blocks.append(nn.Sequential(*added, *halving))
        blocks.append(nn.Sequential(*_same_side(channels[-1])))
        self.blocks = nn.ModuleList(blocks)
        self.real = nn.Conv2d(channels[-1], 1, 4)
        self.kinds = nn.Conv2d(channels[-1], kinds, 4)
        self.last_width = channels[-1]
        self.feature_block = feature_block(len(blocks), settings.feature_layer)
        self.feature_width = [*channels[1:], channels[-1]][self.feature_block]

    def forward(self, images: torch.Tensor) -> Critique:
        """As a `Discriminator`."""
        critique = self.critique(images)
        return Critique(critique.logits, critique.features)

    def critique(self, images: torch.Tensor, kept: torch.Tensor | None = None) -> DamageCritique:
        """Everything; `kept` (B, W, 4, 4) multiplies the activations that the kinds are computed from: dropout."""
        maps: list[torch.Tensor] = []
        for block in self.blocks:
            maps.append(block(maps[-1] if maps else images))
        last = maps[-1]
        kinds = self.kinds(last if kept is None else last * kept).flatten(1).float()
        features = F.normalize(maps[self.feature_block].float().mean((2, 3)), dim=1)
        return DamageCritique(self.real(last).flatten().float(), kinds, features, tuple(maps))


def critique_of(networks: nn.ModuleDict, images: torch.Tensor) -> Critique:
    """What the "discriminator" of a method returns of images (B, C, S, S) on any device; no gradients."""
    discriminator = networks["discriminator"]
    with torch.no_grad():
        critique: Critique = discriminator(images.to(next(discriminator.parameters()).device))
    return critique


def feature_block(blocks: int, layer: int) -> int:
    """Index of the block that `networks.feature_layer` names, negative counts from the end; SettingsError if none."""
    if not -blocks <= layer < blocks:
        raise SettingsError(f"networks.feature_layer={layer}: this discriminator has blocks {-blocks}..{blocks - 1}")
    return layer % blocks


def _channels(spec: ImageSpec, settings: NetworkSettings) -> list[int]:
    """Of the image, then after each halving of its side."""
    return [spec.channels, *widths(spec.size, settings.width_for(spec.parts))]


def _halving(level: int, inputs: int, outputs: int, batch_norm: bool) -> list[nn.Module]:
    """The layers that halve the side, `level` counted from the image, where there is never a norm."""
    if level == 0:
        return [ImageConv(inputs, outputs), nn.LeakyReLU(0.2)]
    norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
    return [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=not batch_norm), *norm, nn.LeakyReLU(0.2)]


def _same_side(width: int) -> list[nn.Module]:
    return [SmallConv(width), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)]


def _dcgan_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
