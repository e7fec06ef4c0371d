"""A query beside its counterpart as one stack of maps, and the score of the map that a network makes of it.

The comparing network of DRAEM (Zavrtanik et al. 2021, 2108.07610): it sees both and learns the mask of planted defects.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from anotwin.compare.heatmap import gaussian

HOT = 100  # pixels: the mean of the hottest is the score of a square; a defect of 10 x 10 pixels fills them
LEVEL = 2 / 255  # a grey level of 8 bits, of pixels in [-1, 1]
FLAT = 0.03  # least spread of pixels in [-1, 1], four grey levels of 8 bits: noise is not made a texture
SMOOTH = 0.7  # pixels: a single one is no defect


def light(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and spread, (B, 1, 1, 1) each, of images (B, C, S, S): what an exposure and a lamp decide.

    >>> mean, spread = light(torch.tensor([[[[-0.5, 0.5]]]]))
    >>> float(mean), float(spread)
    (0.0, 0.5)
    """
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean, (images - mean).square().mean((1, 2, 3), keepdim=True).sqrt().clamp(min=FLAT)


def stacked(queries: torch.Tensor, counterparts: torch.Tensor) -> torch.Tensor:
    """Both and their difference, in the light of the query: (B, C, S, S) twice -> (B, 3 C, S, S)."""
    mean, spread = light(queries)
    return torch.cat([queries - mean, counterparts - mean, queries - counterparts], 1) / spread


def heat_of_mask(logits: torch.Tensor, differences: torch.Tensor) -> torch.Tensor:
    """Logits (B, 1, S, S) of a mask and differences (B, C, S, S) -> heat (B, S, S) in [0, 1], smoothed.

    The probability, where query and counterpart differ by more than one grey level; in equal proportion less below.
    """
    seen = (differences.abs().amax(1) / LEVEL).clamp(max=1)
    return gaussian(torch.sigmoid(logits[:, 0]) * seen, SMOOTH)


def hottest(heat: torch.Tensor, pixels: int = HOT) -> torch.Tensor:
    """The mean of the hottest pixels: (B, S, S) -> (B,).

    >>> hottest(torch.eye(32)[None], 64).tolist()
    [0.5]
    """
    flat = heat.flatten(1)
    return torch.stack([row.topk(min(pixels, flat.shape[1])).values.mean() for row in flat])  # sums of equal order


def log_odds(chances: torch.Tensor) -> torch.Tensor:
    """log p / (1 - p) of (B,) in [0, 1], from -14 to 14, each on its own (see `terms.softplus`).

    >>> log_odds(torch.tensor([0.5])).tolist()
    [0.0]
    """
    inside = chances.clamp(1e-6, 1 - 1e-6)
    return F.pad(inside, (0, -len(inside) % 64), value=0.5).logit()[: len(inside)]
