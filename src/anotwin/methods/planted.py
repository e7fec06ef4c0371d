"""Training with planted defects, the same for every method that restores: squares and losses."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from anotwin.compare.side_by_side import light
from anotwin.defects.scenes import scenes

SMALL = 10.0  # pixels: below this, the overlap of masks says little
INSIDE = 0.5  # weight of |c - x| inside the mask, whatever its size, beside the whole square


class Squares(NamedTuple):
    """Normal squares, the same with defects, and what is wrong in these."""

    normals: torch.Tensor  # x (B, C, S, S)
    damaged: torch.Tensor  # y (B, C, S, S)
    masks: torch.Tensor  # m (B, 1, S, S), 0 or 1


def planted_squares(images: torch.Tensor, rng: torch.Generator) -> Squares:
    """Normals (B, C, S, S), half of them mirrored and a little brighter or darker, and defects planted into them."""
    random = np.random.default_rng(int(torch.randint(2**62, (1,), generator=rng)))
    normals = np.stack([_varied(image, random) for image in images.float().cpu().numpy()])
    damaged, masks = scenes(normals, random)
    found = (torch.from_numpy(each).to(images.device) for each in (normals, damaged, masks[:, None].astype(np.float32)))
    return Squares(*found)


def _varied(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    for axis in (1, 2):
        image = np.flip(image, axis) if random.random() < 0.5 else image
    if random.random() < 0.5:
        mean = image.mean()
        image = (image - mean) * math.exp(random.normal(0, 0.15)) + mean + random.normal(0, 0.08)
    return np.ascontiguousarray(np.clip(image, -1, 1), dtype=np.float32)


def mask_loss(logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    """Cross-entropy + 2 focal (Lin et al. 2017, 1708.02002) + 0.3 Dice of logits and masks (B, 1, S, S).

    >>> float(mask_loss(torch.full((1, 1, 8, 8), 20.0), torch.ones(1, 1, 8, 8))) < 1e-6
    True
    """
    logits = logits.float()
    chance = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    missed = (masks - chance).abs()
    overlap = 2 * (chance * masks).sum((1, 2, 3)) + SMALL
    dice = 1 - overlap / (chance.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + SMALL)
    return entropy.mean() + 2 * (missed.square() * entropy).mean() + 0.3 * dice.mean()


def restoring_loss(counterparts: torch.Tensor, squares: Squares) -> torch.Tensor:
    """|c - x| over everything, and over what was planted: defects of 10 pixels would count nothing otherwise.

    In units of four spreads of the square: what is dark is restored as well as what is bright.
    """
    error = (counterparts - squares.normals).abs() / (4 * light(squares.normals)[1])
    inside = (error * squares.masks).sum() / (squares.masks.sum() * error.shape[1] + 1)
    return error.mean() + INSIDE * inside
