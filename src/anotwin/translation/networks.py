"""The networks of translation methods, and how they are applied to images of any size.

Papers: PatchGAN: Isola et al. 2017 (1611.07004), section 3.2.2; generator of residual blocks: Johnson et al. 2016
(1603.08155), as CycleGAN has it (1703.10593, section 4); ICNR: Aitken et al. 2017 (1707.02937).

All are convolutions and norms that are constant at inference: what is made of a place depends on its surroundings
within `reach` alone, so that a large image can be translated in tiles. That excludes instance norm, which both papers
use: its mean and spread are those of the whole image. Changed for two CPU cores: no layer at full size (the first
halves the side, the last is a pixel shuffle). Nothing here makes checkerboards: enlarging is nearest-neighbour and a
convolution, or a pixel shuffle that begins as nearest-neighbour (ICNR) and whose grid, whatever is learnt, is taken
away (`methods.unet.doubled`). PatchGAN, which only training needs, has group
norm (Wu, He 2018, 1803.08494): its last maps have too few places for instance norm.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import nn

from anotwin.errors import SettingsError
from anotwin.methods.adversary import adam
from anotwin.methods.protocol import freeze
from anotwin.methods.unet import convolution, doubled, residual_block
from anotwin.search.inference import for_search
from anotwin.translation.protocol import TranslationMethod

M = TypeVar("M", bound=TranslationMethod)
D_RATE = 0.5  # the discriminator's rate where a reconstruction term leads the generator, times the generator's

BLOCKS = 6  # the paper has 6 at 128 x 128
PATCHES = {16: 1, 34: 2, 70: 3}  # receptive field of a PatchGAN -> its layers that halve the side


class ResNet(nn.Module):
    """Images (B, inputs, h, w), sides multiples of 4 -> images (B, outputs, h, w) in [-1, 1]."""

    def __init__(self, inputs: int, outputs: int, base: int) -> None:
        super().__init__()
        wide = 3 * base
        self.down = nn.Sequential(*convolution(inputs, base, 5, 2), *convolution(base, wide, 3, 2))
        self.blocks = nn.ModuleList(residual_block(wide) for _ in range(BLOCKS))
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), *convolution(wide, base))
        self.drawn = nn.Conv2d(base, 4 * outputs, 3, 1, 1)
        shuffle_as_nearest(self.drawn)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        hidden = self.down(images)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return torch.tanh(doubled(self.drawn(self.up(hidden)).float()))  # bf16 has too few levels for pixels


class Judgement(NamedTuple):
    """What a `PatchGAN` returns of images."""

    logits: torch.Tensor  # (B, 1, n, n), each of a patch; higher: more like a training image
    maps: tuple[torch.Tensor, ...]  # of every block


class PatchGAN(nn.Module):
    """Images (B, inputs, S, S), S = `size` -> `Judgement` of patches of 16, 34 or 70 pixels.

    `patch` None: of the largest of these that squares hold. Raises SettingsError where nothing would be left of one.
    """

    def __init__(self, inputs: int, base: int, patch: int | None, size: int) -> None:
        super().__init__()
        patch = patch or max((each for each in PATCHES if size >> PATCHES[each] > 2), default=min(PATCHES))
        halvings = PATCHES[patch]
        if size >> halvings <= 2:
            raise SettingsError(f"translation.patch={patch}: too large for squares of {size} pixels; take 16 or 34")
        widths = [inputs, *(base * min(2**level, 8) for level in range(halvings + 1))]
        self.blocks = nn.ModuleList()
        for level, (before, width) in enumerate(pairwise(widths)):
            norm = [nn.GroupNorm(2**level, width)] if level else []  # never at the image, as in the papers
            layer = nn.Conv2d(before, width, 4, 2 if level < halvings else 1, 1)
            self.blocks.append(nn.Sequential(layer, *norm, nn.LeakyReLU(0.2)))
        self.head = nn.Conv2d(widths[-1], 1, 4, 1, 1)

    def forward(self, images: torch.Tensor) -> Judgement:
        maps = [images]
        for block in self.blocks:
            maps.append(block(maps[-1]))
        return Judgement(self.head(maps[-1]).float(), tuple(maps[1:]))


class Learners(NamedTuple):
    """What a trainer of one direction trains, and how fast."""

    networks: nn.ModuleDict  # "generator", "discriminator" unless training is without one, "averages": the method's own
    optimizers: dict[str, torch.optim.Optimizer]
    rates: dict[str, float]


def learners(method: TranslationMethod, inputs: int, learning_rate: float) -> Learners:
    """The generator "AtoB" of a method, and a PatchGAN of `inputs` channels where ``translation.adversarial`` asks."""
    settings, size = method.settings, method.spec.b.size
    networks = nn.ModuleDict({"generator": copy.deepcopy(method.networks["AtoB"])})
    rates = {"generator": settings.training.learning_rate or learning_rate}
    if settings.translation.adversarial:
        base, patch = settings.networks.width_for(method.spec.a.parts), settings.translation.patch
        networks["discriminator"] = PatchGAN(inputs, base, patch, size)
        rates["discriminator"] = D_RATE * rates["generator"]
    networks.train().requires_grad_(True)
    optimizers = {name: adam(networks[name], settings.training, rate) for name, rate in rates.items()}
    networks["averages"] = method.networks
    return Learners(networks, optimizers, rates)


@torch.no_grad()
def shuffle_as_nearest(layer: nn.Conv2d) -> None:
    """Initialise a convolution so that the pixel shuffle by 2 that follows it enlarges by nearest neighbour (ICNR)."""
    for values in layer.weight, layer.bias:
        if values is not None:
            values.copy_(values[::4].repeat_interleave(4, 0))


def apart(network: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> torch.Tensor:
    """What a network makes of images (B, C, h, w), one by one: none depends on the others or on how many there are.

    A CPU's kernels add in another order for other numbers of images.
    """
    with torch.no_grad():
        return torch.cat([network(image) for image in torch.split(images, 1)])


def folded_copy(method: M) -> M:
    """A copy whose norms are folded into the convolutions, in float32: bf16 has too few levels for 16-bit images."""
    fast = copy.copy(method)
    fast.networks = nn.ModuleDict({name: for_search(each, torch.float32) for name, each in method.networks.items()})
    freeze(fast.networks)
    return fast
