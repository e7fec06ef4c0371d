"""The network that spots intruders: it sees a frame beside the frames before it, and marks what does not belong there.

As `comparer.py` has it for single images (DRAEM, Zavrtanik et al. 2021, 2108.07610): it learns to mark what was planted
(`defects/intruders.py`). The counterpart is no part of what it sees: frames that G has learnt from are predicted better
than any other, and P would take the difference for an intruder.

    clips v                    (B, T, C, S, S): frames some seconds back, SHORT next to query x, and x
    background b               (C, S, S) the median of training frames
    mask p                     P(frames next to x, x, x less the one before, less the mean of those some seconds back,
                               less b), in spreads: logits (B, 1, S, S)
    objective                  min  cross-entropy + focal + Dice of p and the mask m of what was planted into all of
                               these frames, then by chance mirrored, in another light and with noise

The first frames of a clip have none before them, and those after them stand in, mirrored in time
(`domains/video/context.py`): everybody in them walks backwards. P neither learns from them nor says anything of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from anotwin.compare.side_by_side import light
from anotwin.defects.intruders import intrude
from anotwin.methods.planted import mask_loss
from anotwin.methods.unet import UNet

SHORT = 4  # frames next to the query, as in the paper of `frames`
EVERY = 4  # frames between those some seconds back: `domains/video/context.py`
MIRRORED = 0.5  # of the clips
VARIED, CONTRAST, BRIGHTNESS = 0.7, 0.2, 0.1  # share of clips in another light; spreads, pixels in [-1, 1]
SHARED = 0.5  # of these the background is in that light too
NOISE = 0.03  # its standard deviation, at most
FOLLOWS = 0.005  # by how much the background follows a step's frames, at most


class Spotter(nn.Module):
    """P, see the module."""

    background: torch.Tensor  # b

    def __init__(self, channels: int, side: int, base: int) -> None:
        super().__init__()
        self.unet: nn.Module = UNet((SHORT + 4) * channels, 1, base)
        self.register_buffer("background", torch.zeros(channels, side, side))

    def forward(self, clips: torch.Tensor, background: torch.Tensor | None = None) -> torch.Tensor:
        """`background` (B, C, S, S): instead of b."""
        short, query = clips[:, -SHORT - 1 : -1], clips[:, -1]
        mean, spread = light(short.flatten(1, 2))
        back = clips[:, : -SHORT - 1].mean(1)
        usual = self.background if background is None else background
        seen = [short.flatten(1, 2) - mean, query - mean, query - short[:, -1], query - back, query - usual]
        mask: torch.Tensor = self.unet(torch.cat(seen, 1) / spread).maps
        return mask.float()

    @torch.no_grad()
    def follow(self, frames: torch.Tensor, step: int) -> None:
        """The background a little nearer to the median of frames (B, C, S, S) (McFarlane, Schofield 1995)."""
        if step == 0:
            self.background.copy_(frames.mean(0))
        self.background += FOLLOWS * torch.sign(frames - self.background).mean(0)


def forwards(before: torch.Tensor) -> torch.Tensor:
    """Whether frames before queries (B, T, C, S, S) are in the order of time, (B,).

    The last is always the frame before the query, and so is the last but one where they are.
    """
    return (before[:, -1] == before[:, -2]).flatten(1).all(1)


class Planted(NamedTuple):
    """Clips with intruders."""

    clips: torch.Tensor  # (B, T, C, S, S)
    background: torch.Tensor  # (B, C, S, S), each in the light in which it is seen beside its clip
    masks: torch.Tensor  # m (B, 1, S, S), 0 or 1


def planted_intruders(clips: torch.Tensor, background: torch.Tensor, rng: torch.Generator) -> Planted:
    """Clips v (B, T, C, S, S), most with intruders, then some mirrored and in another light, with noise."""
    random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
    back = clips.shape[1] - SHORT - 1
    times = [*range(-SHORT - EVERY * back, -SHORT, EVERY), *range(-SHORT, 1)]
    made, masks = intrude(clips.float().cpu().numpy(), random, times)
    usual = _vary(made, masks, background.float().cpu().numpy(), random)
    amounts = random.uniform(0, 2 * math.sqrt(3) * NOISE, (len(made), 1, 1, 1, 1)).astype(np.float32)
    made += amounts * (random.random(made.shape, np.float32) - np.float32(0.5))  # a quarter of the time of normal noise
    parts = made.clip(-1, 1), usual, masks[:, None].astype(np.float32)
    found = (torch.from_numpy(each).to(clips.device) for each in parts)
    return Planted(*found)


def spotter_loss(spotter: nn.Module, planted: Planted) -> torch.Tensor:
    """Cross-entropy + focal + Dice of p and m."""
    return mask_loss(spotter(planted.clips, planted.background), planted.masks)


def _vary(
    clips: npt.NDArray[np.float32],
    masks: npt.NDArray[np.bool_],
    background: npt.NDArray[np.float32],
    random: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Half of clips (B, T, C, S, S) and masks (B, S, S) mirrored, most clips in another light, in place.

    All frames of a clip alike; with them a background for each, (B, C, S, S).
    """
    backgrounds = np.repeat(background[None], len(clips), 0)
    for clip, mask, usual in zip(clips, masks, backgrounds, strict=True):
        if random.random() < MIRRORED:
            for each in (clip, mask, usual):
                each[:] = each[..., ::-1].copy()
        if random.random() < VARIED:
            mean, more = clip.mean(), math.exp(random.normal(0, CONTRAST)) - 1
            brighter = random.normal(0, BRIGHTNESS)
            for each in (clip, usual) if random.random() < SHARED else (clip,):
                each += (each - mean) * more + brighter
                np.clip(each, -1, 1, out=each)
    return backgrounds
