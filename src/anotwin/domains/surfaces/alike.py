"""What is usual for images of one texture: a set may hold several materials, and a model draws some better than others.

Where seven fabrics are learnt together, the highest square of a normal image of a coarse one scores what a hole scores
in a fine one: the score tells fabrics apart before it tells holes. So the median and the spread of each level are moved
from those of all towards those of the training images whose texture is nearest (`texture.py`), half of the way:

    m' = m + K / (K + lambda) (m_K - m_N)        s'^2 = s^2 (K (s_K / s_N)^2 + lambda) / (K + lambda)

m, s are of held-out normals, m_N, s_N of training images, m_K, s_K of the nearest K of those. Training images, because
held-out ones set the threshold: each would be its own neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.domains.surfaces.levels import TERMS, Usual, not_of_this_view, short, spread_of
from anotwin.domains.surfaces.texture import TEXTURE, Texture
from anotwin.records import Scores

NEIGHBOURS, PRIOR = 20, 20  # K, lambda
FEWEST = 5  # of the neighbours have a level, or it is as in all images
MOST = 3.0  # times a spread is made wider or narrower
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Learnt:
    """The textures of training images, and the highest of each level of each."""

    textures: Floats  # (N, TEXTURE)
    highest: Mapping[str, Floats]  # of each term (N, L); NaN where an image has no such level

    def usual_for(self, texture: Texture, levels: Sequence[Usual]) -> tuple[Usual, ...]:
        """The units of `levels` for an image of this texture."""
        distances = np.square((self.textures - texture) / self._scale).sum(1)
        nearest = np.argsort(distances, kind="stable")[:NEIGHBOURS]
        return tuple(self._moved(level, usual, nearest) for level, usual in enumerate(levels))

    @cached_property
    def _scale(self) -> Texture:
        scale: Texture = np.maximum(self.textures.std(0), 1e-6)
        return scale

    @cached_property
    def _of_all(self) -> dict[str, list[tuple[float, float]]]:
        """m_N and s_N of each term and level."""
        return {
            term: [spread_of(column[~np.isnan(column)]) for column in table.T] for term, table in self.highest.items()
        }

    def _moved(self, level: int, usual: Usual, nearest: npt.NDArray[np.int64]) -> Usual:
        if usual.scores is None or level >= self.highest[TERMS[0]].shape[1]:
            return usual
        found = {}
        for term, (median, spread) in usual.scores.items():
            near = self.highest[term][nearest, level]
            near = near[~np.isnan(near)]
            if len(near) >= FEWEST:
                (all_median, all_spread), (own_median, own_spread) = self._of_all[term][level], spread_of(near)
                share = len(near) / (len(near) + PRIOR)
                median += share * (own_median - all_median)
                ratio = float(np.clip(own_spread / all_spread, 1 / MOST, MOST))
                spread *= float(np.sqrt(share * ratio**2 + 1 - share))
            found[term] = median, spread
        return Usual(usual.heat, found)


def stored_textures(textures: Sequence[Texture], highest: Sequence[Scores[list[float]]], levels: int) -> dict[str, Any]:
    """As JSON, of N training images: their textures and, for each term, the highest of their first `levels`."""
    return {
        "textures": [[short(value) for value in each] for each in textures],
        "highest": {
            term: [[short(value) for value in getattr(each, term)[:levels]] for each in highest] for term in TERMS
        },
    }


def learnt_of(reference: Mapping[str, Any]) -> Learnt | None:
    """What `stored_textures` made, None without it; DataError where it is something else."""
    if "textures" not in reference:
        return None
    try:
        textures = np.array(reference["textures"], np.float64)
        highest = {term: _table(reference["highest"][term]) for term in TERMS}
    except (KeyError, TypeError, ValueError) as error:
        raise not_of_this_view() from error
    fits = all(each.shape == highest[TERMS[0]].shape and len(each) == len(textures) for each in highest.values())
    if not (textures.ndim == 2 and textures.shape[1] == TEXTURE and np.isfinite(textures).all() and fits):
        raise not_of_this_view()
    return Learnt(textures, highest)


def _table(rows: Sequence[Sequence[float]]) -> Floats:
    """Rows of several lengths, filled up with NaN; ValueError where they are not finite themselves."""
    if not all(np.isfinite(values).all() for values in rows):
        raise ValueError
    table = np.full((len(rows), max(map(len, rows), default=0)), np.nan)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table
