"""Noise that belongs to places: all tiles of an image see the same at the same place."""

from __future__ import annotations

import torch

from anotwin.seeding import generator

BLOCK = 64  # places to each side that are drawn at once


def normal_at(seed: int, name: str, width: int, rows: range, columns: range) -> torch.Tensor:
    """Standard normal numbers for `width` channels of places, (width, rows, columns): of seed, name and place.

    >>> whole = normal_at(0, "grain", 3, range(100), range(100))
    >>> bool((normal_at(0, "grain", 3, range(50, 90), range(7, 70)) == whole[:, 50:90, 7:70]).all())
    True
    """
    blocks = [
        [torch.randn(width, BLOCK, BLOCK, generator=generator(seed, name, down, across)) for across in _blocks(columns)]
        for down in _blocks(rows)
    ]
    drawn = torch.cat([torch.cat(line, 2) for line in blocks], 1)
    top, left = rows.start % BLOCK, columns.start % BLOCK
    return drawn[:, top : top + len(rows), left : left + len(columns)]


def _blocks(places: range) -> range:
    """The numbers of the blocks that hold these places."""
    return range(places.start // BLOCK, -(-places.stop // BLOCK))
