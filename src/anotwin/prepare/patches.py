"""Square patches of an image: where they lie, how they are cut, and how maps and scores of patches become one.

Training draws patches at random places (the paper cuts 64 x 64 out of each scan, a million in all); scoring lays a
dense grid of overlapping ones over the image and stitches their maps. Nothing here depends on what the images show.

A position is the upper left corner of a patch, (row, column); P positions are (P, 2) int64. Images are (h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from anotwin.errors import DataError, SettingsError
from anotwin.records import Array

Mask = npt.NDArray[np.bool_]
Positions = npt.NDArray[np.int64]

MIN_VALID = 0.9  # share of a training patch that must be valid: with less, a model would learn the border
SHOWN = 0.5  # the same when scoring, which must cover the whole image
TOP_SHARE = 0.05  # of the patches of an image (the images of a volume, ...): their mean is its score


def valid_share(valid: Mask, size: int) -> npt.NDArray[np.float64]:
    """The valid share of every patch of an image, by its corner: (h - size + 1, w - size + 1) in [0, 1].

    >>> valid_share(np.array([[True, True, False], [True, True, False]]), 2)
    array([[1. , 0.5]])
    """
    _check_size(valid.shape, size)
    sums = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), np.int64)  # sums[r, c]: of valid[:r, :c]
    sums[1:, 1:] = valid.cumsum(axis=0, dtype=np.int64).cumsum(axis=1)
    inside = sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]
    return inside / size**2


def grid_positions(shape: tuple[int, int], size: int, stride: int) -> Positions:
    """A grid of overlapping patches (P, 2) over all pixels of an image, the last row and column among them.

    Patches are at most `stride` apart and spread evenly: where the sides are no multiple of it, they lie a
    little closer instead of doubling up at the end.

    >>> grid_positions((64, 100), 64, 32).tolist()
    [[0, 0], [0, 18], [0, 36]]

    Raises:
        DataError: the image is smaller than a patch.
        SettingsError: a stride below 1, or above `size`, which would leave gaps.
    """
    _check_size(shape, size)
    if not 1 <= stride <= size:
        raise SettingsError(f"stride {stride} for patches of side {size}: expected 1 to {size}, or pixels are left out")
    rows, columns = (_spread(side - size, stride) for side in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)


def covering_positions(valid: Mask, decides: Mask, size: int, stride: int) -> tuple[Positions, Mask]:
    """Patches (P, 2) over an image (h, w), and which of them (P,) may decide.

    Each run of the columns `decides` (w,) has a grid of its own, from its first column to its last: no patch that
    decides reaches beyond it. Of its patches decide those that are valid to `MIN_VALID`. The columns between the runs,
    and runs narrower than a patch, are covered too, as far as half of a patch is valid. None in a smaller image.

    >>> decides = np.array([False, True, True, True, True, True, False])
    >>> positions, deciding = covering_positions(np.ones((4, 7), bool), decides, 4, 2)
    >>> positions[deciding].tolist(), positions[~deciding].tolist()
    ([[0, 1], [0, 2]], [[0, 0], [0, 3]])
    """
    height, width = valid.shape
    if min(height, width) < size:
        return np.empty((0, 2), np.int64), np.empty(0, bool)
    edges = np.flatnonzero(np.diff(np.pad(decides, 1).astype(np.int8)))
    runs = [(first, last) for first, last in edges.reshape(-1, 2).tolist() if last - first >= size]
    own = [first + _spread(last - first - size, stride) for first, last in runs]
    others = []
    for before, after in zip([0, *(last for _, last in runs)], [*(first for first, _ in runs), width], strict=True):
        if before < after:  # with a part of the runs beside it, so that maps of both go over into each other
            first, last = max(before - stride, 0), min(after + stride, width)
            first = min(first, width - size) if last - first < size else first
            others.append(first + _spread(max(last, first + size) - first - size, stride))
    columns = np.concatenate([*own, *others])
    rows = _spread(height - size, stride)
    positions = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.int64)
    within = np.tile(np.arange(len(columns)) < sum(map(len, own)), len(rows))
    share = valid_share(valid, size)[positions[:, 0], positions[:, 1]]
    kept = share >= SHOWN
    return positions[kept], (within & (share >= MIN_VALID))[kept]


def cut(image: Array, positions: Positions, size: int) -> Array:
    """Patches of an image (h, w) or (h, w, C): (P, size, size) or (P, size, size, C), copies of its type.

    >>> cut(np.arange(12).reshape(3, 4), np.array([[0, 0], [1, 2]]), 2).tolist()
    [[[0, 1], [4, 5]], [[6, 7], [10, 11]]]
    """
    _check_positions(positions, image.shape, size)
    windows = sliding_window_view(image, (size, size), axis=(0, 1))  # (h', w', ..., size, size)
    return np.ascontiguousarray(np.moveaxis(windows[positions[:, 0], positions[:, 1]], (-2, -1), (1, 2)))


def hann(size: int) -> npt.NDArray[np.float64]:
    """A Hann window (size, size), 1 in the middle and small but never 0 at the border: taken at the pixels' centres."""
    side = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    window: npt.NDArray[np.float64] = np.outer(side, side)
    return window


def stitch(patches: Array, positions: Positions, shape: tuple[int, int]) -> Array:
    """Maps of patches as one map of the image (h, w): the mean of all that cover a pixel, weighted by `hann`.

    Patches cut from one map give that map again, to rounding; no value lies outside those of the patches.

    >>> positions = grid_positions((5, 7), 4, 2)
    >>> stitch(np.ones((len(positions), 4, 4)), positions, (5, 7))[-1].tolist()
    [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]

    Args:
        patches: (P, s, s); NaN where a patch has no value.
        positions: (P, 2) their corners.
        shape: (h, w) of the image.

    Returns:
        (h, w) in the type of the patches, at least float32; NaN where no patch has a value.
    """
    if patches.ndim != 3 or patches.shape[1] != patches.shape[2] or len(patches) != len(positions):
        raise ValueError(f"patches {patches.shape} at {len(positions)} positions: expected (P, s, s) and (P, 2)")
    size = patches.shape[1]
    _check_positions(positions, shape, size)
    weights = hann(size)
    total, weight = np.zeros(shape), np.zeros(shape)
    gaps = bool(np.isnan(patches).any())
    for patch, (row, column) in zip(patches, positions.tolist(), strict=True):
        place = slice(row, row + size), slice(column, column + size)
        known = weights * ~np.isnan(patch) if gaps else weights
        total[place] += known * (np.nan_to_num(patch) if gaps else patch)
        weight[place] += known
    mean = np.divide(total, weight, out=np.full(shape, np.nan), where=weight > 0)
    if np.isfinite(mean).any():  # rounding must not carry it beyond the values of the patches: a constant stays one
        np.clip(mean, np.nanmin(patches), np.nanmax(patches), out=mean)
    stitched: Array = mean.astype(np.result_type(patches.dtype, np.float32), copy=False)
    return stitched


def pool(scores: Sequence[float] | npt.NDArray[Any], share: float = TOP_SHARE) -> float:
    """One score of many (n,): the mean of the highest `share` of them, at least one; NaN scores are left out.

    A maximum would be the score of the noisiest patch, and grow with the number of patches; a mean would hide a small
    lesion. The number taken may be a fraction: of 50 scores 5 % are the two highest and half of the third. Never below
    the lowest or above the highest score, the same in any order, and no lower when a score rises. NaN if none is left.

    >>> pool([0.0] * 90 + [1.0] * 10, share=0.2), pool([3.0, 4.0])
    (0.5, 4.0)
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1:
        raise ValueError(f"scores of shape {values.shape}, expected (n,)")
    if not 0 < share <= 1:
        raise SettingsError(f"share {share} of the scores to pool: expected above 0 and at most 1")
    ranked = np.sort(values[~np.isnan(values)])[::-1]
    if not ranked.size:
        return float("nan")
    taken = max(1.0, share * ranked.size)
    top = ranked[: int(np.ceil(taken))]
    weights = np.minimum(taken - np.arange(top.size), 1.0)
    return float(np.clip(weights @ top / weights.sum(), top[-1], top[0]))


def _spread(last: int, stride: int) -> npt.NDArray[np.int64]:
    """Whole numbers from 0 to `last`, evenly, at most `stride` apart."""
    steps = -(-last // stride)
    return np.arange(steps + 1) * last // max(steps, 1)


def _check_size(shape: tuple[int, ...], size: int) -> None:
    if len(shape) != 2:
        raise ValueError(f"shape {shape}, expected (h, w)")
    if size < 1:
        raise SettingsError(f"patches of side {size}: expected at least 1")
    if size > min(shape):
        raise DataError(f"image of {shape[0]} x {shape[1]} pixels for patches of side {size}: use smaller patches")


def _check_positions(positions: Positions, shape: tuple[int, ...], size: int) -> None:
    if positions.ndim != 2 or positions.shape[1] != 2 or positions.dtype.kind not in "iu":
        raise ValueError(f"positions {positions.shape} of type {positions.dtype}, expected (P, 2) integers")
    _check_size(shape[:2], size)
    room = np.array(shape[:2]) - size
    if positions.size and ((positions < 0).any() or (positions > room).any()):
        raise ValueError(f"patches of side {size} outside an image of {shape[:2]}: corners must lie in 0 to {room}")
