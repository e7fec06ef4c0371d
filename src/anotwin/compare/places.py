"""How rare evidence is at its place: cameras look at the same place all the time.

Of each kind of evidence the highest place of a frame counts, in units of the level that is usual there. Of normal
frames such ratios have a tail that falls as a power (Hill 1975, "A simple general approach to inference about the tail
of a distribution"), at another rate for each kind: the error of a prediction hardly varies, what stands there does. So
a ratio is told as the share of normal frames that reach it, and kinds can be compared.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F

from anotwin.compare.heatmap import gaussian

CELL = 4  # places of a map a side: what is usual is known by cells, normal images are too few to know it by place
QUANTILE = 0.995  # of normal images, which a cell exceeds in no more
FLOOR = 0.5  # of the highest of all cells: where nobody walks nothing is usual, and noise would be an anomaly
WIDE = 1.5  # cells: neighbours are usual alike
TIMES = 8  # parts of the training images, each measured by the others
SHARE = 0.1  # of normal images: their highest ratios tell the tail
TAIL, AS_MANY = 0.1, 5  # where there are few: a tail that errors have, as if so many images had shown it
SURE = 1.4  # standard errors by leaving out each of eight parts: the truth lies beyond in one of ten (Student's t)
EULER = 0.5772


class Usual(NamedTuple):
    """What is usual of K kinds of evidence."""

    level: torch.Tensor  # (K, G, G) > 0, which `SHARE` of normal images exceed anywhere, or fewer
    tail: torch.Tensor  # (K,) > 0, the mean of the logarithm of the ratio to it, of those that do, or more


def highest_of_cells(maps: torch.Tensor) -> torch.Tensor:
    """Maps (B, K, S, S) >= 0 -> the highest of each cell (B, K, G, G), G = S / 4."""
    return F.max_pool2d(maps, CELL)


def usual_of_cells(highest: torch.Tensor) -> Usual:
    """What normal images of an unseen time show, from the highest of cells (N, K, G, G).

    The level at each place: a high quantile over the images, smoothed over neighbouring cells, at least `FLOOR` of the
    highest of all cells. Images are in the order of time and are cut into `TIMES` parts, since an image is usual by
    those next to it: the ratios of each part to the level of the others tell the rest. Where parts differ, as where
    somebody stood there in one of them alone, little is known, and the upper ends of intervals are taken.
    """
    level = _level(highest)
    parts = [part for part in torch.arange(len(highest)).tensor_split(TIMES) if len(part)]
    if len(parts) < 3:
        return Usual(level, torch.full(highest.shape[1:2], TAIL))
    ratios = []
    for part in parts:
        others = torch.ones(len(highest), dtype=torch.bool)
        others[part] = False
        found = (highest[part] / _level(highest[others])).flatten(2).amax(2)
        ratios.append(found.clamp(min=1e-6).log())  # (n, K)
    less_one = torch.stack([_beginning(ratios[:number] + ratios[number + 1 :]) for number in range(len(parts))])
    error = ((len(parts) - 1) * less_one.var(0, correction=0)).sqrt()  # of the jackknife
    begin, tail = _beginning(ratios) + SURE * error
    return Usual(level * begin.exp()[:, None, None], tail)


def _beginning(ratios: list[torch.Tensor]) -> torch.Tensor:
    """Logarithms of ratios (n, K) of several parts -> where the tail begins, and how long it is, (2, K).

    Its length is the mean beyond the beginning or, where single images reach farther than that lets them, as a glitch
    of the flow does, that by which the highest of each part is to be expected: of n values log n + 0.577 times it.
    """
    logs = torch.cat(ratios)
    begin = logs.quantile(1 - SHARE, dim=0)
    beyond = (logs - begin).clamp(min=0)
    mean = (beyond.sum(0) + AS_MANY * TAIL) / ((beyond > 0).sum(0) + AS_MANY)
    highest = torch.stack([(part.amax(0) - begin).clamp(min=0) for part in ratios]).mean(0)
    many = torch.stack([(part > begin).sum(0).clamp(min=1) for part in ratios]).float().mean(0)
    return torch.stack([begin, torch.maximum(mean, highest / (many.log() + EULER))])


def _level(highest: torch.Tensor) -> torch.Tensor:
    kept = max(1, round((1 - QUANTILE) * len(highest)))  # of the highest; a sort of all takes minutes
    level = highest.flatten(1).topk(kept, dim=0).values[-1].view(highest.shape[1:])
    usual = gaussian(F.max_pool2d(level, 3, 1, 1), WIDE)
    return torch.maximum(usual, FLOOR * usual.amax((1, 2), keepdim=True)).clamp(min=1e-6)


def rarity(maps: torch.Tensor, usual: Usual) -> torch.Tensor:
    """Maps (B, K, S, S) >= 0 -> -log of the share of normal images that show as much anywhere, (B, K, S, S) >= 0.

    From the level on, which a share of `SHARE` exceeds, the share is that times ratio^(-1 / tail). Below it less is
    less: in proportion.

    >>> usual = Usual(torch.full((1, 4, 4), 2.0), torch.tensor([0.1]))
    >>> [round(float(rarity(torch.full((1, 1, 16, 16), value), usual).max()), 3) for value in (0.0, 1.0, 2.0, 2.2)]
    [0.0, 1.151, 2.303, 3.256]
    """
    wide = F.interpolate(usual.level[None], size=maps.shape[-2:], mode="bilinear", align_corners=False)
    ratio, least = maps / wide, -math.log(SHARE)
    return least * ratio.clamp(max=1) + ratio.clamp(min=1).log() / usual.tail[:, None, None]
