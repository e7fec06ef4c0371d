"""Where the RPE would lie without drusen and detachments: a smooth curve below its elevations.

The RPE bends up over a lesion and hardly ever down, so the curve may leave many columns above itself but few below.
The best of many polynomials through parts of the line is taken first (after Fischler and Bolles 1981, RANSAC, with
all choices of 3 to 5 of ten points instead of random ones) and then relaxed towards the line with asymmetric weights
(after Eilers 2005, asymmetric least squares), so that it follows the real curvature of long, tilted or S-shaped eyes.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline
from scipy.linalg import solveh_banded

Doubles = npt.NDArray[np.float64]

PARTS = 10  # of the scan, each with one point that a polynomial may go through
CLOSE = 20.0  # micrometres: the RPE itself is about as thick
PLUNGE = 120.0  # micrometres below the curve where no RPE lies: the line has gone into an optic disc
STIFF = 4500.0  # micrometres: waves shorter than this are not followed where the whole line is undisturbed
STEP = 90.0  # micrometres from point to point of the curve
ROUNDS = 15
HOLD = 0.03, 0.01  # weight of an elevation, first and last round: above 0, for where the whole line is raised


def undisturbed(line: npt.NDArray[Any], weights: npt.NDArray[Any], lateral: float) -> Doubles:
    """The baseline (w,) of an RPE line (w,), both as depths in micrometres.

    >>> x = np.arange(128.0)
    >>> druse = 60 * np.exp(-((x - 60) / 4) ** 2)
    >>> bool(np.abs(undisturbed(800 - druse, np.ones(128), 46.0) - 800).max() < 5)
    True

    Args:
        line: depth of the RPE in each column, larger is deeper.
        weights: how much each column is trusted, 0..1; where none is, all count alike.
        lateral: micrometres from column to column.
    """
    line, weights = np.asarray(line, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    weights = weights if weights.any() else np.ones_like(weights)
    count = max(8, round(len(line) * lateral / STEP))  # points of the curve
    size = -(-len(line) // count)
    # resampled so that all points stand for equally many samples
    places = (np.arange(count * size) + 0.5) * len(line) / (count * size) - 0.5
    samples, weights = (np.interp(places, np.arange(len(line)), some) for some in (line, weights))
    samples, weights = samples.reshape(count, size), weights.reshape(count, size)
    trusted, depth = weights.mean(axis=1), np.average(samples, axis=1, weights=weights + 1e-6)
    curve = _best_polynomial(depth, trusted)
    strength = (STIFF * count / (2 * np.pi * lateral * len(line))) ** 6  # half of a wave of length STIFF passes
    # tolerant at first, because an S-shaped eye is no lesion
    for tolerance, hold in zip(np.linspace(4 * CLOSE, 1.5 * CLOSE, ROUNDS), np.geomspace(*HOLD, ROUNDS), strict=True):
        raised = curve - depth  # micrometres that the RPE lies above the curve
        up = np.exp(-((raised / tolerance) ** 2))
        down = np.minimum(1, 2 * CLOSE / np.maximum(-raised, 1)) * np.exp(-((raised / PLUNGE) ** 2))
        trust = np.maximum(np.where(raised > 0, up, down), hold)
        curve = _smooth(depth, trusted * trust + 1e-4, strength)
    middles = (np.arange(count) + 0.5) * len(line) / count - 0.5
    return np.asarray(CubicSpline(middles, curve)(np.arange(len(line))))


def _best_polynomial(line: Doubles, weights: Doubles) -> Doubles:
    """Of all polynomials of degree 2 to 4 through 3 to 5 middles of parts, the one with the least loss, (w,)."""
    x = np.linspace(-1, 1, len(line))
    parts = [part for part in np.array_split(np.arange(len(line)), PARTS) if weights[part].sum() > 0]
    knots = np.array([x[part].mean() for part in parts])
    depths = np.array([np.median(line[part][weights[part] > 0]) for part in parts])
    best, least = np.full(len(line), np.average(line, weights=weights)), np.inf
    for points, factor in ((3, 1.0), (4, 1.1), (5, 1.25)):
        if len(parts) < points:
            continue
        chosen = np.array(list(combinations(range(len(parts)), points)))
        powers = np.vander(x, points, increasing=True)  # (w, points)
        solved = np.linalg.solve(knots[chosen][:, :, None] ** np.arange(points), depths[chosen][:, :, None])[:, :, 0]
        curves = solved @ powers.T  # (candidates, w)
        loss = (weights * _loss(curves - line)).mean(axis=1) * factor
        if loss.min() < least:
            least, best = float(loss.min()), curves[loss.argmin()]
    return best


def _loss(raised: Doubles) -> Doubles:
    """An elevation counts little, however high; a curve above the RPE counts three times as much."""
    return np.where(raised > 0, np.minimum(raised / CLOSE, 1), np.minimum(-raised / CLOSE, 3))


def _smooth(line: Doubles, weights: Doubles, strength: float) -> Doubles:
    """argmin over z of sum weights (line - z)^2 + strength sum (third differences of z)^2."""
    banded = np.zeros((4, len(line)))  # upper form of solveh_banded: row 3 is the diagonal
    third = np.array([-1.0, 3.0, -3.0, 1.0])
    for offset in range(4):
        for k in range(4 - offset):
            last = len(line) - 3 + k + offset
            banded[3 - offset, k + offset : last] += strength * third[k] * third[k + offset]
    banded[3] += weights
    return np.asarray(solveh_banded(banded, weights * line))
