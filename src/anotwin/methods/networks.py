"""The networks of the DCGAN family, for any square size that is a power of two from 16 to 256.

Paper: Radford, Metz, Chintala, "Unsupervised representation learning with deep convolutional GANs", 2016 (1511.06434).
Kept: strided 4 x 4 convolutions, batch norm in the generator, ReLU / LeakyReLU(0.2), tanh, N(0, 0.02) weights.
Changed:
- the discriminator gives logits, and its features beside them;
- its batch norm can be taken away or replaced by spectral norm (`networks.discriminator_norm`): R1 differentiates D(x)
  by x image by image, and batch norm ties the images of a batch together. Without batch norm N(0, 0.02) would let the
  signal die out, so PyTorch's own initialisation is used there;
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
    """What the discriminator says of images."""

    logits: torch.Tensor  # (B,) higher: more like a training image
    features: torch.Tensor  # (B, F) f(x), the activations of an intermediate block, flattened


def widths(size: int, base: int) -> list[int]:
    """Channels from the block at the image down to the block at 4 x 4: doubling, at most 8 x base.

    >>> widths(64, 32)
    [32, 64, 128, 256]
    """
    return [base * min(2**level, 8) for level in range(int(math.log2(size)) - 2)]


class ImageConv(nn.Conv2d):
    """The 4 x 4 convolution of stride 2 that reads images (B, C, S, S): (B, W, S/2, S/2), channels last."""

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
    """The transposed 4 x 4 convolution of stride 2 that paints images: (B, W, S/2, S/2) -> (B, C, S, S)."""

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
        for now, then in pairwise(channels):
            layers += [nn.ConvTranspose2d(now, then, 4, 2, 1, bias=False), nn.BatchNorm2d(then), nn.ReLU()]
        layers += [ImageConvTranspose(channels[-1], spec.channels), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        self.apply(_dcgan_weights)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        images: torch.Tensor = self.layers(latents)
        return images


class Discriminator(nn.Module):
    """images (B, C, S, S) -> `Critique`: a logit and the features f(x) of the block that `feature_layer` names."""

    def __init__(self, spec: ImageSpec, settings: NetworkSettings) -> None:
        super().__init__()
        norm = settings.discriminator_norm
        channels = [spec.channels, *widths(spec.size, settings.width_for(spec.parts))]
        self.blocks = nn.ModuleList()
        for level, (now, then) in enumerate(pairwise(channels)):
            normed = norm == "batch" and level > 0
            convolution: nn.Module = (
                ImageConv(now, then) if level == 0 else nn.Conv2d(now, then, 4, 2, 1, bias=not normed)
            )
            if norm == "spectral":
                convolution = nn.utils.parametrizations.spectral_norm(convolution)
            middle = [nn.BatchNorm2d(then)] if normed else []
            self.blocks.append(nn.Sequential(convolution, *middle, nn.LeakyReLU(0.2)))
        self.head = nn.Linear(channels[-1] * 16, 1)
        if norm == "spectral":
            nn.utils.parametrizations.spectral_norm(self.head)  # in place
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
        logits = (hidden * weight).sum((1, 2, 3)) + self.head.bias  # in one memory format: mixed, it is slow
        return Critique(logits, features.flatten(1))


class Encoder(nn.Module):
    """images (B, C, S, S) -> codes (B, Z): the discriminator's body, batch norm always, onto the latents."""

    def __init__(self, spec: ImageSpec, settings: NetworkSettings) -> None:
        super().__init__()
        channels = [spec.channels, *widths(spec.size, settings.width_for(spec.parts))]
        layers: list[nn.Module] = []
        for level, (now, then) in enumerate(pairwise(channels)):
            norm = [nn.BatchNorm2d(then)] if level > 0 else []
            convolution = ImageConv(now, then) if level == 0 else nn.Conv2d(now, then, 4, 2, 1, bias=not norm)
            layers += [convolution, *norm, nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(channels[-1], settings.latent_dim, 4), nn.Flatten())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        codes: torch.Tensor = self.layers(images)
        return codes


class Inspection(NamedTuple):
    """What an `Inspector` sees in images."""

    logits: torch.Tensor  # (B,) higher: more like a training image
    kinds: torch.Tensor  # (B, K) logits of the kinds of damage, the first: none
    features: torch.Tensor  # (B, F) f(x), the channels of one block averaged over places, of length 1
    maps: tuple[torch.Tensor, ...]  # (B, W, s, s) the activations of every block


class Inspector(nn.Module):
    """images (B, C, S, S) -> `Inspection`: the discriminator's body with a 3 x 3 convolution more at 8 x 8 and 4 x 4.

    Naming a kind of damage takes more looking than telling real from drawn: the two layers were worth it.
    """

    def __init__(self, spec: ImageSpec, settings: NetworkSettings, kinds: int) -> None:
        super().__init__()
        channels = [spec.channels, *widths(spec.size, settings.width_for(spec.parts))]
        blocks: list[nn.Module] = [nn.Sequential(ImageConv(channels[0], channels[1]), nn.LeakyReLU(0.2))]
        for level, (now, then) in enumerate(pairwise(channels[1:]), start=1):
            strided = nn.Conv2d(now, then, 4, 2, 1, bias=False), nn.BatchNorm2d(then), nn.LeakyReLU(0.2)
            look = _look(now) if level == len(channels) - 2 else ()  # at 8 x 8
            blocks.append(nn.Sequential(*look, *strided))
        blocks.append(nn.Sequential(*_look(channels[-1])))
        self.blocks = nn.ModuleList(blocks)
        self.real = nn.Conv2d(channels[-1], 1, 4)
        self.kinds = nn.Conv2d(channels[-1], kinds, 4)
        self.last_width = channels[-1]
        self.feature_block = feature_block(len(blocks), settings.feature_layer)
        self.feature_width = [*channels[1:], channels[-1]][self.feature_block]

    def forward(self, images: torch.Tensor) -> Critique:
        """As a `Discriminator`."""
        view = self.inspect(images)
        return Critique(view.logits, view.features)

    def inspect(self, images: torch.Tensor, kept: torch.Tensor | None = None) -> Inspection:
        """Everything; `kept` (B, W, 4, 4) is multiplied with the activations that the kinds are read from: dropout."""
        maps: list[torch.Tensor] = []
        for block in self.blocks:
            maps.append(block(maps[-1] if maps else images))
        last = maps[-1]
        kinds = self.kinds(last if kept is None else last * kept).flatten(1).float()
        features = F.normalize(maps[self.feature_block].float().mean((2, 3)), dim=1)
        return Inspection(self.real(last).flatten().float(), kinds, features, tuple(maps))


class LookConv(nn.Conv2d):
    """The 3 x 3 convolution that keeps the side: (B, W, s, s) -> (B, W, s, s)."""

    def __init__(self, width: int) -> None:
        super().__init__(width, width, 3, 1, 1, bias=False)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if len(input) > 1 or input.is_cuda:
            return super().forward(input)
        # PyTorch has another CPU kernel for one small image, which adds in another order: never let it be alone
        return super().forward(torch.cat([input, input]))[:1]


def _look(width: int) -> tuple[nn.Module, ...]:
    return LookConv(width), nn.BatchNorm2d(width), nn.LeakyReLU(0.2)


def judge(networks: nn.ModuleDict, images: torch.Tensor) -> Critique:
    """What the "discriminator" of a method's networks says of images (B, C, S, S), wherever they are; no gradients."""
    discriminator = networks["discriminator"]
    with torch.no_grad():
        critique: Critique = discriminator(images.to(next(discriminator.parameters()).device))
    return critique


def judge_pairs(
    networks: nn.ModuleDict, queries: torch.Tensor, counterparts: torch.Tensor
) -> tuple[Critique, Critique]:
    """`judge` of both (B, C, S, S), in one batch."""
    logits, features = judge(networks, torch.cat([queries, counterparts]))
    size = len(queries)
    return Critique(logits[:size], features[:size]), Critique(logits[size:], features[size:])


def feature_block(blocks: int, layer: int) -> int:
    """Index of the block that `networks.feature_layer` names, negative counts from the end; SettingsError if none."""
    if not -blocks <= layer < blocks:
        raise SettingsError(f"networks.feature_layer={layer}: this discriminator has blocks {-blocks}..{blocks - 1}")
    return layer % blocks


def _dcgan_weights(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
