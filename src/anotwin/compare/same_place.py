"""A picture of a part beside pictures of others that lie alike: golden-template comparison with many templates.

At each place the query is compared with what the others show there, or a pixel beside it, and the nearest of them
counts: a memory of normal patches as in PatchCore (Roth et al. 2022, 2106.08265), of pixels, and kept by place. A
thread that begins elsewhere in each screw, or a highlight, is normal where any other part shows it so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, uniform_filter

WINDOW = 5  # pixels a side that are compared at once
REACH = 1  # pixels that others may lie beside the query
EVEN = 1 / 16  # of the side: what changes more slowly is light
CELL, AROUND = 4, 8  # pixels, cells: a cell of a counterpart is taken from who shows the same in so many around it
ASKED = 16  # others that a counterpart is made of
Floats = npt.NDArray[np.float32]


def in_own_light(picture: Floats) -> Floats:
    """A picture (C, h, w) without slow changes, in units of its spread; zeros where it is flat.

    >>> bool(np.allclose(in_own_light(np.ones((1, 32, 32), np.float32)), 0))
    True
    """
    spread = float((picture - picture.mean((1, 2), keepdims=True)).std())
    found: Floats = (picture - slow(picture)) / spread if spread > 1e-6 else np.zeros_like(picture)
    return found


def slow(picture: Floats) -> Floats:
    """What changes slowly in a picture (C, h, w)."""
    found: Floats = gaussian_filter(picture, (0, *[EVEN * max(picture.shape)] * 2), mode="nearest")
    return found


def distance_there(query: Floats, others: Iterable[Floats]) -> Floats:
    """How far each place of `query` (C, h, w) is from the nearest of `others` (C, h, w) each: (h, w) >= 0.

    The root of the mean square over `WINDOW` pixels a side and the channels, both in their own light. At the border the
    nearest window that lies inside counts.

    >>> query = np.zeros((1, 8, 8), np.float32)
    >>> float(distance_there(query, np.stack([query + 3, query - 2])).max())
    2.0
    """
    nearest = np.full([side - WINDOW + 1 for side in query.shape[1:]], np.inf, np.float32)
    for other in others:
        for moved in _moved(other):
            np.minimum(nearest, _window_sums(_squares(query, moved)), out=nearest)
    distance: Floats = np.pad(np.sqrt(nearest / (WINDOW**2 * len(query))), WINDOW // 2, mode="edge")
    return distance


def counterpart_there(query: Floats, others: Sequence[Floats]) -> Floats:
    """What `others` (C, h, w) each show at each place of `query` (C, h, w): that one which shows the same around it.

    Of all others as they are the `ASKED` that are most often the nearest, and these moved by a pixel too.

    >>> query = np.zeros((1, 64, 64), np.float32)
    >>> query[0, 30:34, 30:34] = 9
    >>> float(np.abs(counterpart_there(query, np.zeros((2, 1, 64, 64), np.float32))).max())
    0.0
    """
    first = np.stack([_around(query, other) for other in others]).argmin(0)
    often = np.bincount(first.ravel(), minlength=len(others)).argsort(kind="stable")[::-1][:ASKED]
    height, width = query.shape[1:]
    nearest, found = np.full(first.shape, np.inf, np.float32), np.empty_like(query)
    for number in often.tolist():
        for moved in _moved(others[number]):
            around = _around(query, moved)
            nearer = around < nearest
            nearest[nearer] = around[nearer]
            wide = nearer.repeat(CELL, 0)[:height].repeat(CELL, 1)[:, :width]
            found[:, wide] = moved[:, wide]
    return found


def _around(query: Floats, other: Floats) -> Floats:
    """The mean square of their difference around each cell."""
    around: Floats = uniform_filter(_means_of_cells(_squares(query, other)), AROUND, mode="nearest")
    return around


def _moved(other: Floats) -> Iterator[Floats]:
    """As it is and moved by up to `REACH` pixels, the border repeated."""
    height, width = other.shape[1:]
    wide = np.pad(other, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
    for down in range(2 * REACH + 1):
        for across in range(2 * REACH + 1):
            yield wide[:, down : down + height, across : across + width]


def _squares(query: Floats, other: Floats) -> Floats:
    """Of the differences, added over the channels: (h, w)."""
    found: Floats = np.square(query - other).sum(0) if len(query) > 1 else np.square(query[0] - other[0])
    return found


def _window_sums(values: Floats) -> Floats:
    """Over all windows that lie inside, (h - 4, w - 4): a fifth of the time of a filter that keeps the border."""
    height, width = (side - WINDOW + 1 for side in values.shape)
    rows = values[:height].copy()
    for begin in range(1, WINDOW):
        rows += values[begin : begin + height]
    sums = rows[:, :width].copy()
    for begin in range(1, WINDOW):
        sums += rows[:, begin : begin + width]
    return sums


def _means_of_cells(values: Floats) -> Floats:
    """Cells of `CELL` pixels a side; the last ones of a row or column show less."""
    rows, columns = (range(0, side, CELL) for side in values.shape)
    sums: Floats = np.add.reduceat(np.add.reduceat(values, rows, 0), columns, 1)
    counts = np.outer(*[np.minimum(CELL, side - np.arange(0, side, CELL)) for side in values.shape])
    means: Floats = (sums / counts).astype(np.float32)
    return means
