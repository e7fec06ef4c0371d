"""The network that spots intruders: a frame beside its counterpart and the frames before it, and the mask of intruders.

As `comparer.py` has it for single images (DRAEM, Zavrtanik et al. 2021, 2108.07610): it learns to mark what was planted
(`defects/intruders.py`).

    query x, frames before, counterpart c     (B, C, S, S), (B, T, C, S, S), (B, C, S, S)
    mask p                                    P(frames next to x, x, x less the one before, less the mean of those some
                                              seconds back, less c), in spreads: logits (B, 1, S, S)
    objective                                 min  cross-entropy + focal + Dice of p and the mask m of what was planted
                                              into all of these frames, c = G(...) of them without gradient
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from anotwin.compare.side_by_side import light
from anotwin.defects.intruders import intrude
from anotwin.methods.planted import mask_loss
from anotwin.methods.unet import UNet

SHORT = 4  # frames next to the query, as in the paper of `frames`
EVERY = 4  # frames between those some seconds back: `domains/video/context.py`


class Spotter(nn.Module):
    """P, see the module."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        self.unet: nn.Module = UNet((SHORT + 4) * channels, 1, base)

    def forward(self, images: torch.Tensor, before: torch.Tensor, counterparts: torch.Tensor) -> torch.Tensor:
        short = next_to(before)
        mean, spread = light(short.flatten(1, 2))
        back = before[:, : -SHORT - 1].mean(1)
        seen = [short.flatten(1, 2) - mean, images - mean, images - short[:, -1], images - back, images - counterparts]
        mask: torch.Tensor = self.unet(torch.cat(seen, 1) / spread).maps
        return mask.float()


def next_to(before: torch.Tensor) -> torch.Tensor:
    """Of the frames before queries (B, T, C, S, S) those that follow each other up to it: (B, SHORT, C, S, S).

    Those in front of them are some seconds back; the one after them is the frame before as it came.
    """
    return before[:, -SHORT - 1 : -1]


class Planted(NamedTuple):
    """Frames with intruders."""

    images: torch.Tensor  # y (B, C, S, S)
    before: torch.Tensor  # (B, T, C, S, S)
    masks: torch.Tensor  # m (B, 1, S, S), 0 or 1


def planted_intruders(images: torch.Tensor, before: torch.Tensor, rng: torch.Generator) -> Planted:
    """Frames (B, C, S, S) and those before (B, T, C, S, S), some of them with intruders."""
    random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
    back = before.shape[1] - SHORT - 1
    times = [*range(-SHORT - EVERY * back, -SHORT, EVERY), *range(-SHORT, 1)]
    clips = torch.cat([before[:, :-1], images[:, None]], 1).float().cpu().numpy()
    made, masks = intrude(clips, random, times)
    planted = torch.from_numpy(made).to(images.device)
    m = torch.from_numpy(masks[:, None].astype(np.float32)).to(images.device)
    return Planted(planted[:, -1], torch.cat([planted[:, :-1], planted[:, -2:-1]], 1), m)


def spotter_loss(spotter: nn.Module, predict: Callable[[torch.Tensor], torch.Tensor], planted: Planted) -> torch.Tensor:
    """Cross-entropy + focal + Dice of p and m; `predict`: G as it scores, of frames before, without gradient."""
    with torch.no_grad():
        c = predict(planted.before)
    return mask_loss(spotter(planted.images, planted.before, c), planted.masks)
