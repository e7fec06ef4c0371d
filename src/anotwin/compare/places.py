"""Evidence at each place in units of what is usual there: cameras look at the same place all the time."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from anotwin.compare.heatmap import gaussian

CELL = 4  # places of a map a side: what is usual is known by cells, normal images are too few to know it by place
QUANTILE = 0.995  # of normal images, which a cell exceeds in no more
FLOOR = 0.5  # of the highest of all cells: where nobody walks nothing is usual, and noise would be an anomaly
WIDE = 1.5  # cells: neighbours are usual alike
TIMES = 8  # parts of the training images, each measured by the others
RARE = 4.8  # standard deviations of eight parts, which a ninth exceeds as rarely as three known ones (Student's t)


def highest_of_cells(maps: torch.Tensor) -> torch.Tensor:
    """Maps (B, K, S, S) >= 0 -> the highest of each cell (B, K, G, G), G = S / 4."""
    return F.max_pool2d(maps, CELL)


def usual_of_cells(highest: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    """What normal images of an unseen time hardly reach, (K, G, G) > 0, from the highest of cells (N, K, G, G).

    A level at each place, times a factor for each kind of evidence. The level: a high quantile over the images,
    smoothed over neighbouring cells, at least `FLOOR` of the highest of all cells of evidence of the same kind
    (`kinds` (K,) numbers them). The factor: images are in the order of time and are cut into `TIMES` parts; the highest
    ratio that a part reaches to the level of the others varies, of evidence with a heavy tail a lot: the mean of its
    logarithm and `RARE` standard deviations. So all kinds of evidence are 1 equally rarely.
    """
    level = _level(highest, kinds)
    parts = [part for part in torch.arange(len(highest)).tensor_split(TIMES) if len(part)]
    if len(parts) < 3:
        return level
    logs = []
    for part in parts:
        others = torch.ones(len(highest), dtype=torch.bool)
        others[part] = False
        ratios = highest[part] / _level(highest[others], kinds)
        logs.append(ratios.flatten(2).amax((0, 2)).clamp(min=1e-6).log())
    found = torch.stack(logs)  # (parts, K)
    return level * (found.mean(0) + RARE * found.std(0)).exp()[:, None, None]


def _level(highest: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
    kept = max(1, round((1 - QUANTILE) * len(highest)))  # of the highest; a sort of all takes minutes
    level = highest.flatten(1).topk(kept, dim=0).values[-1].view(highest.shape[1:])
    usual = gaussian(F.max_pool2d(level, 3, 1, 1), WIDE)
    tops = torch.stack([usual[kinds == kind].max() for kind in kinds.tolist()])
    return torch.maximum(usual, FLOOR * tops[:, None, None]).clamp(min=1e-6)


def in_usual(maps: torch.Tensor, usual: torch.Tensor) -> torch.Tensor:
    """Maps (B, K, S, S) in units of what is usual (K, G, G) at each place; 1 is hardly reached by normal ones.

    >>> float(in_usual(torch.full((1, 1, 16, 16), 3.0), torch.full((1, 2, 2), 2.0)).max())
    1.5
    """
    wide = F.interpolate(usual[None], size=maps.shape[-2:], mode="bilinear", align_corners=False)
    return maps / wide
