"""Regions: where heat lies above a limit on enough connected pixels, in the pixels of the file.

Heat (H, W) is in units of usual: 1 is the heat that 0.5 % of normal pixels exceed. Pixels are connected by sides and
corners. The limit comes from held-out normals: each has a `highest_heat`, the highest heat that a region of the least
area reaches everywhere, and an image shows a region above a limit exactly where its highest heat is above it. The
limit is therefore found as the threshold of scores is (`calibrate.threshold`): at most the false-alarm rate of normal
images, by groups where there are any, shows a region at all.

A map of 100 million pixels is not labelled at once: its hot parts are cut apart along rows and columns that are cold
throughout, which no region crosses, and each is labelled by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.measure import approximate_polygon, find_contours, label, regionprops

Heat = npt.NDArray[np.floating]  # float32, of large images float16
Mask = npt.NDArray[np.bool_]
Block = tuple[slice, slice]  # rows, columns
AT_ONCE = 2**18  # pixels that are labelled together without a search for what is cold


@dataclass(frozen=True, eq=False)
class Region:
    """Connected pixels above the limit; rows and columns count from 0, from the upper left corner of the image."""

    top: int
    left: int
    mask: Mask  # (height, width) of its box, which is tight
    area: int  # pixels
    centroid: tuple[float, float]  # row, column: the mean of its pixels
    peak: float  # the highest heat
    peak_at: tuple[int, int]  # row, column: the first such pixel
    mean: float  # of the heat
    contour: npt.NDArray[np.float64]  # (K, 2) row, column: its outer border, closed; pixel (r, c) is from r to r + 1

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])


def find_regions(heat: Heat, limit: float, least_area: int = 1) -> list[Region]:
    """The regions where heat > limit on at least `least_area` connected pixels, from the highest peak on.

    >>> heat = np.zeros((5, 8), np.float32)
    >>> heat[1:3, 2:4], heat[4, 7] = 3, 9
    >>> [(each.top, each.left, each.area, each.peak) for each in find_regions(heat, 1.0)]
    [(4, 7, 1, 9.0), (1, 2, 4, 3.0)]
    >>> len(find_regions(heat, 1.0, least_area=2))
    1
    """
    found, above = [], np.float32(limit)  # exact in single precision, whatever that of the map
    for block in _blocks(heat > above, least_area):
        part = heat[block]
        labels = _labelled(part > above)
        for each in regionprops(labels, intensity_image=part):  # type: ignore[no-untyped-call]
            if each.num_pixels >= least_area:
                found.append(_region(each, block[0].start, block[1].start))
    return sorted(found, key=lambda each: (-each.peak, each.top, each.left))


def highest_heat(heat: Heat, least_area: int = 1) -> float:
    """The highest h for which heat (>= 0) is at least h on `least_area` connected pixels: the top of an area opening.

    `find_regions` finds something exactly for limits below it. Of a map that has fewer pixels, all of them count.

    >>> highest_heat(np.array([[5, 0, 1], [0, 2, 1]], np.float32), 2)  # 5 and 2 touch at a corner
    2.0
    """
    least_area = min(least_area, heat.size)

    def reaches(bits: int) -> bool:
        return _reaches(heat >= np.int32(bits).view(np.float32), least_area)

    # of floats that are not negative the bits are in the order of the values; from the top, where little is hot
    lowest, high = (max(int(np.float32(value).view(np.int32)), 0) for value in (heat.min(), heat.max()))
    low, step = high, 1
    while low > lowest and not reaches(low):
        high, low, step = low - 1, max(low - step, lowest), 2 * step
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if reaches(middle) else (low, middle - 1)
    return float(np.int32(low).view(np.float32))


def regions_of(heat: Heat, limit: float, least_area: int) -> tuple[list[Region], bool]:
    """The regions of an image that is anomalous, and whether they exceed the limit.

    One whose score is anomalous and whose heat is below the limit everywhere has one region, where it is hottest: a
    person is to see where to look.
    """
    if found := find_regions(heat, limit, least_area):
        return found, True
    least_area = min(least_area, heat.size)
    below = np.nextafter(np.float32(highest_heat(heat, least_area)), np.float32(-1))
    return find_regions(heat, float(below), least_area)[:1], False


def _region(found: Any, top: int, left: int) -> Region:
    """From what scikit-image knows of a region in a block that begins at (top, left)."""
    mask, heat = found.image, found.image_intensity
    (row, column), (first_row, first_column, _, _) = found.centroid, found.bbox
    hottest = np.unravel_index(int(np.argmax(np.where(mask, heat, -np.inf))), mask.shape)
    centroid = top + float(row), left + float(column)
    top, left = top + int(first_row), left + int(first_column)
    return Region(
        top=top,
        left=left,
        mask=mask,
        area=int(mask.sum()),
        centroid=centroid,
        peak=float(heat[hottest]),
        peak_at=(top + int(hottest[0]), left + int(hottest[1])),
        mean=float(heat[mask].mean(dtype=np.float64)),
        contour=_outline(mask) + np.array([top, left]),
    )


def _outline(mask: Mask) -> npt.NDArray[np.float64]:
    """(K, 2) the border of a connected mask, without its holes, halfway between pixels; straight parts have no points.

    In the coordinates of corners: it touches the four sides of the mask's box.
    """
    padded = np.pad(mask, 1).astype(np.float32)
    lines = find_contours(padded, 0.5, fully_connected="high")  # type: ignore[no-untyped-call]
    outer = max(lines, key=lambda line: np.ptp(line[:, 0]) * np.ptp(line[:, 1]))  # a hole lies within
    points: npt.NDArray[np.float64] = approximate_polygon(outer, 0.0)  # type: ignore[no-untyped-call]
    return points - 0.5  # one for the padding, and half to a corner


def _labelled(hot: Mask) -> npt.NDArray[np.integer]:
    """(h, w) numbers from 1 of the connected parts, 0 where it is not hot."""
    labels: npt.NDArray[np.integer] = label(hot, connectivity=2)  # type: ignore[no-untyped-call]  # by corners too
    return labels


def _reaches(hot: Mask, least_area: int) -> bool:
    """Whether at least so many pixels are connected."""
    if int(hot.sum()) < least_area:
        return False
    return any(
        int(np.bincount(_labelled(hot[block]).ravel())[1:].max(initial=0)) >= least_area
        for block in _blocks(hot, least_area)
    )


def _blocks(hot: Mask, least_area: int) -> Iterator[Block]:
    """Parts of a map that hold all that is hot, each with cold rows and columns around it; small ones are left out."""
    if hot.size <= AT_ONCE:
        yield slice(0, hot.shape[0]), slice(0, hot.shape[1])
        return
    for band in _runs(hot.any(1)):
        for columns in _runs(hot[band].any(0)):
            for inner in _runs(hot[band, columns].any(1)):
                rows = slice(band.start + inner.start, band.start + inner.stop)
                if (rows.stop - rows.start) * (columns.stop - columns.start) >= least_area:
                    yield rows, columns


def _runs(line: Any) -> list[slice]:
    """Where a line of truths is True, from each first to behind each last."""
    edges = np.flatnonzero(np.diff(np.pad(line, 1).astype(np.int8)))
    return [slice(first, last) for first, last in edges.reshape(-1, 2).tolist()]
