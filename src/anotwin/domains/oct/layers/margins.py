"""Constant regions at the border of a picture: padding, letterboxes, corners that registration left. They show nothing.

A margin ends in a seam that runs smoothly along its side. A vitreous that the scanner has cut off at black is constant
in places too, but speckle breaks it up, and where it does not, it ends at the inner surface of the retina.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt, find_objects, grey_closing, grey_opening, label, maximum_filter

Floats = npt.NDArray[np.floating[Any]]
Bools = npt.NDArray[np.bool_]

NOISE = 9.0  # grey levels of 255 that JPEG changes a constant by, beside a seam
REACH = 16  # pixels from a seam that it does so: two blocks
THIN, DEEP = 3, 12  # pixels: thinner margins change no line; those not as deep are believed along a whole side only
WHOLE = 0.9  # of a side
SMOOTH = 31  # pixels along a seam over which speckle breaks up what is only dark
WRITTEN = 161  # pixels along a seam that a word in the margin may take
BETWEEN = 0.6  # share of a word that is margin between its letters
JUMPS = 2  # of more than `REACH` pixels that a seam may have
EXACT = 0.97  # share of a margin, away from its seam, that has one value
TISSUE = 0.25  # brightness above the margin's, of that of the brightest layers: no vitreous
STRAIGHT, STEEPEST = 1.5, 0.6  # pixels from a straight line, and its slope: a seam that tissue may adjoin
BESIDE = 4  # pixels around a margin that JPEG and interpolation have mixed with it


def margins(values: npt.NDArray[np.float32], level: float, equal: float, white: float = np.inf) -> Bools:
    """(H, W) True in constant regions that touch the border, of whatever value, and a little around them.

    >>> scan = np.random.default_rng(0).normal(40, 9, (96, 128)).astype(np.float32)
    >>> scan[:20] = 0
    >>> margins(scan, 1.0, 0.0)[:, 0].sum()
    np.int64(24)

    Args:
        values: finite.
        level: one grey level of 255.
        white: what is as bright or brighter is left to `known_pixels`, as it ever was.
        equal: what values that count as one may differ by: a level where JPEG may have been at work.
    """
    bright = float(np.percentile(values, 99))
    found = np.zeros(values.shape, np.bool_)
    for turns in range(4):  # each side in turn on top; turned by a quarter, the bottom has 2 turns
        turned, marked = np.rot90(values, turns), np.rot90(found, turns)
        depth = _depths(turned, (level, equal, white), bright, below=turns == 2)
        marked |= np.arange(len(turned))[:, None] < depth
    if not found.any():
        return found
    return np.asarray(maximum_filter(found.view(np.uint8), 2 * BESIDE + 1).astype(np.bool_))


def _depths(values: Floats, scale: tuple[float, float, float], bright: float, below: bool) -> npt.NDArray[np.int64]:
    """Rows (W,) of each column, from the top, that belong to a margin."""
    level, equal, white = scale
    start = (np.abs(values[:THIN] - values[0]) <= NOISE * level).all(axis=0) & (values[0] < white)
    if not grey_opening(start, SMOOTH, mode="nearest").any():  # as in most scans: not worth a closer look
        return np.zeros(len(start), np.int64)
    same = np.abs(values - values[0]) <= NOISE * level
    run = np.where(same.all(axis=0) | (values[0] >= white), 0, np.argmin(same, axis=0))
    ends = np.flatnonzero(run)  # a column of one value belongs to a margin at its side, and continues this one
    if len(ends) == 0:
        return np.zeros(len(run), np.int64)
    distance, (nearest,) = distance_transform_edt(run == 0, return_indices=True)
    run = np.where(distance <= SMOOTH, run[nearest], 0)
    seam = grey_opening(run, SMOOTH, mode="nearest")
    if seam.max() < THIN:
        return np.zeros(len(run), np.int64)
    seam = _over_words(values, seam, equal)
    ended = np.isin(np.arange(len(run)), ends)
    parts, count = label(seam >= THIN)
    whole = np.mean(seam >= THIN) >= WHOLE
    for part in range(1, count + 1):
        mine = parts == part
        columns = np.flatnonzero(mine & ended)
        known = 2 * len(columns) > mine.sum() and (whole or seam[mine].max() >= DEEP)  # else dark by chance
        if not (known and _is_margin(values[:, columns], seam[columns], equal, bright, below)):
            seam[mine] = 0
    return np.asarray(np.where(seam >= THIN, seam, 0), np.int64)


def _over_words(values: Floats, seam: npt.NDArray[np.int64], equal: float) -> npt.NDArray[np.int64]:
    """The seam below words and scale bars too, which are written on a margin that shows between their letters."""
    closed = grey_closing(seam, WRITTEN, mode="nearest")
    rows = np.arange(len(values))[:, None]
    for columns in find_objects(label(closed > seam)[0]):
        written = (rows >= seam[columns[0]]) & (rows < closed[columns[0]])
        same = np.abs(values[:, columns[0]] - values[0, columns[0]]) <= equal
        if same[written].mean() > BETWEEN:
            seam[columns[0]] = closed[columns[0]]
    return seam


def _is_margin(values: Floats, seam: npt.NDArray[np.int64], equal: float, bright: float, below: bool) -> bool:
    """Whether what lies above a seam (w,) has one value, and what lies below it is no inner surface of a retina."""
    rows, value = np.arange(len(values))[:, None], float(np.median(values[0]))
    one = np.abs(values - value) <= equal
    deep = rows < seam - REACH
    if one[rows < seam].mean() < EXACT / 2 or (deep.any() and one[deep].mean() < EXACT):
        return False
    if np.count_nonzero(np.abs(np.diff(seam)) > REACH) > JUMPS:  # speckle ends here and there what is only dark
        return False
    if below:  # nothing but a margin begins abruptly below a retina
        return True
    next_to = (rows >= seam + BESIDE) & (rows < seam + 3 * BESIDE)
    if one[next_to].mean() > EXACT:  # it goes on: dark, but no margin
        return False
    beneath = np.where(next_to, values, 0).sum(axis=0) / np.maximum(next_to.sum(axis=0), 1)
    if np.mean(beneath - value > TISSUE * (bright - value)) < 0.5 or bright <= value:
        return True
    columns = np.arange(len(seam))
    slope, start = np.polyfit(columns, seam, 1)
    return bool(abs(slope) <= STEEPEST and np.percentile(np.abs(seam - start - slope * columns), 90) <= STRAIGHT)
