"""The comparing network: it sees a query and its counterpart side by side, and says where and whether they differ.

Paper: Zavrtanik et al., "DRAEM - a discriminatively trained reconstruction embedding for surface anomaly detection",
2021 (2108.07610): the mask of planted defects. Added: a decision on the whole square, as in CutPaste (Li et al. 2021,
2104.04015), from what the network sees as a whole: it learns how much unevenness is usual where nothing is wrong.

    query y, counterpart c     (B, C, S, S) each
    mask k, decision a         k, a = K(y, c, y - c), logits of the mask m, (B, 1, S, S), and of max m, (B,);
                               it sees them in spreads of y (`compare.side_by_side`): an exposure changes nothing
    objective                  min  S(k, m) + CE(a, max m),  S = cross-entropy + focal + Dice
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from anotwin.compare.side_by_side import hottest, stacked
from anotwin.methods.planted import mask_loss
from anotwin.methods.unet import UNet


class Compared(NamedTuple):
    """What a `Comparer` returns."""

    mask: torch.Tensor  # (B, 1, S, S) logits
    decision: torch.Tensor  # (B,) logits


class Comparer(nn.Module):
    """Stacks of query, counterpart and difference, (B, 3 C, S, S) -> `Compared`."""

    def __init__(self, channels: int, base: int) -> None:
        super().__init__()
        self.unet = UNet(3 * channels, 1, base)
        self.weights = nn.Parameter(torch.zeros(2 * self.unet.deepest_width + 1))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, stacks: torch.Tensor) -> Compared:
        mask, deepest = self.unet(stacks)
        deepest, mask = deepest.float(), mask.float()
        seen = [deepest.mean((2, 3)), deepest.amax((2, 3)), hottest(torch.sigmoid(mask[:, 0]))[:, None]]
        # a product and a sum: a matrix product adds in another order for other numbers of rows
        return Compared(mask, (torch.cat(seen, 1) * self.weights).sum(1) + self.bias)


def comparer_loss(comparer: nn.Module, y: torch.Tensor, c: torch.Tensor, m: torch.Tensor) -> torch.Tensor:
    """S(k, m) + CE(a, max m) of queries, counterparts (B, C, S, S) and masks (B, 1, S, S); no gradient in c."""
    mask, decision = comparer(stacked(y, c.detach()))
    return mask_loss(mask, m) + F.binary_cross_entropy_with_logits(decision, m.amax((1, 2, 3)))
