"""A pool of images that a generator made earlier, for its discriminator to be trained on.

Source: Shrivastava et al. 2017 (1612.07828), section 2.3, as CycleGAN has it (Zhu et al. 2017, 1703.10593, section 4):
a discriminator that sees the newest images alone forgets what it knew, and both networks oscillate.
"""

from __future__ import annotations

import torch
from torch import nn


class ImagePool(nn.Module):
    """`capacity` images (C, S, S) in buffers, so that a snapshot holds them; 0 keeps none."""

    images: torch.Tensor  # (capacity, C, S, S)
    count: torch.Tensor  # () int64: rows in use

    def __init__(self, capacity: int, channels: int, size: int) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(capacity, channels, size, size))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def exchange(self, images: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
        """New images (B, C, S, S) -> as many to train on: while there is room they are stored and returned.

        Later each is, with a chance of one half, stored in the place of one drawn at random, which is returned.
        """
        given = images.detach().clone()
        capacity, count = len(self.images), int(self.count)
        for row, image in enumerate(images.detach().to(self.images.dtype)):
            if count < capacity:
                self.images[count] = image
                count += 1
            elif capacity and torch.rand((), generator=rng) < 0.5:
                place = int(torch.randint(capacity, (), generator=rng))
                given[row] = self.images[place]
                self.images[place] = image
        self.count.fill_(count)
        return given
