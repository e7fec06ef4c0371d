"""Where the edges of an image run, and in which direction: hardly changed by small shifts or bolder strokes.

Two images of one thing seldom agree pixel by pixel: a stroke that moves by its width has no pixel in common. The amount
of edge in each direction and part of the image hardly changes: the idea of SIFT and of HOG (Dalal, Triggs 2005), with
overlapping cells and the whole image as one block.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from anotwin.compare.relative import unit_features

DIRECTIONS = 8
SHARPNESS = 4  # an edge counts by cos^4 of its angle to a direction: half as much 33 degrees away
CELLS = 8  # along each side; a cell is twice as wide as their distance, so that cells overlap
EDGES = DIRECTIONS * CELLS * CELLS  # numbers an image
MIN_SLOPE = 1e-6  # a lesser slope has no direction


def edge_directions(images: torch.Tensor) -> torch.Tensor:
    """How much edge in each of 8 directions and 8 x 8 cells: (B, C, S, S), S a multiple of 16 -> (B, 512) of length 1.

    Dark to bright and bright to dark are two directions; channels are added up. A flat image gives zeros. Brightness
    and contrast have no effect: the residual measures them.

    >>> upright = torch.zeros(1, 1, 16, 16)
    >>> upright[..., 8:] = 1  # dark to bright along a row: direction 0 alone, and a little of those beside it
    >>> edge_directions(upright).view(8, 8, 8).sum((1, 2)).argmax().item()
    0
    """
    side = images.shape[-1]
    # slopes by adding shifted images: a convolution would add in another order for another number of images
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    across, down = rows[..., 2:] - rows[..., :-2], columns[..., 2:, :] - columns[..., :-2, :]  # Sobel
    slope = (across.square() + down.square()).sqrt().clamp_min(MIN_SLOPE)
    parts = []
    for number in range(DIRECTIONS):
        angle = 2 * math.pi * number / DIRECTIONS
        along = (across * math.cos(angle) + down * math.sin(angle)).clamp_min(0) / slope  # cos, 0 beyond 90 degrees
        parts.append((slope * along**SHARPNESS).sum(1))
    cell = side // CELLS
    cells = F.avg_pool2d(torch.stack(parts, 1), 2 * cell, cell, cell // 2)  # (B, 8, 8, 8)
    return unit_features(cells.flatten(1))
