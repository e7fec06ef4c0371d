"""How well heatmaps localise defects: AUROC over pixels, and AUPRO over regions.

Bergmann et al., "The MVTec Anomaly Detection Dataset", IJCV 2021: the per-region overlap (PRO) of a threshold
is the share of a ground-truth region's pixels above it, averaged over all regions of all images; AUPRO is the area
under PRO over the false-positive rate of normal pixels, from 0 to a limit, divided by the limit.

Both are one integral. A defect pixel of heat h raises the curve by its weight w (AUROC: 1 / defect pixels; AUPRO:
1 / (its region's pixels x regions)), linearly from the rate of normal pixels > h to that of normal pixels >= h.
So one sort of the normal pixels gives the exact area over all thresholds, without bins. Heat is compared as float32.

Regions are 8-connected, as in the MVTec evaluation code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from anotwin.errors import DataError, SettingsError

_EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class PixelHeat:
    """The heat of one image's normal and defect pixels: all that the pixel metrics need of an image."""

    normal: npt.NDArray[np.float32]  # (n,) 4 bytes per pixel; nearly all pixels are normal
    defect: npt.NDArray[np.float32]  # (m,)
    weights: npt.NDArray[np.float64]  # (m,) 1 / pixels of the region that the defect pixel belongs to; sums to regions


def pixel_heat(mask: npt.NDArray[Any], heatmap: npt.NDArray[Any], where: str = "image") -> PixelHeat:
    """The pixels of one heatmap, split by the mask.

    Args:
        mask: (H, W), non-zero where abnormal.
        heatmap: (H, W), higher is more abnormal; no NaN.
        where: the image's name, for messages.

    Raises:
        SettingsError: shapes that differ or are not (H, W).
        DataError: NaN in the heatmap.
    """
    mask, heatmap = np.asarray(mask).astype(bool), np.asarray(heatmap).astype(np.float32)
    if mask.ndim != 2 or mask.shape != heatmap.shape:
        raise SettingsError(
            f"{where}: mask {mask.shape} and heatmap {heatmap.shape} must be (H, W) and of the same size; "
            "give the mask in the pixels of the original image"
        )
    bad = int(np.count_nonzero(np.isnan(heatmap)))
    if bad:
        raise DataError(f"{where}: {bad} of {heatmap.size} pixels of the heatmap are NaN; expected numbers only")
    regions, _ = ndimage.label(mask, structure=_EIGHT_CONNECTED)
    sizes = np.bincount(regions.ravel())
    return PixelHeat(heatmap[~mask], heatmap[mask], 1.0 / sizes[regions[mask]])


def pixel_auroc(heat: Sequence[PixelHeat]) -> float:
    """Area under the ROC curve over all pixels of all images together, ties counted half; exact at any size.

    In [0, 1]; 0.5 for a constant heatmap; NaN without a defect pixel or without a normal one.

    >>> pixel_auroc([pixel_heat(np.array([[0, 0, 1]]), np.array([[0.1, 0.3, 0.2]]))])
    0.5
    """
    return _area(heat, [np.ones(image.defect.size) for image in heat], limit=1.0)


def aupro(heat: Sequence[PixelHeat], limit: float = 0.3) -> float:
    """Area under the per-region-overlap curve up to a false-positive rate of `limit`, over `limit` (Bergmann 2021).

    Each 8-connected region counts the same, however small. The curve is interpolated linearly at the limit.

    Args:
        heat: of all images.
        limit: in (0, 1]; 0.3 in the paper.

    Returns:
        In [0, 1]; 1 for a perfect heatmap; limit / 2 for a constant one, which is chance; NaN without a defect pixel
        or without a normal one.

    >>> aupro([pixel_heat(np.array([[0, 0, 1, 1]]), np.array([[0.1, 0.2, 0.9, 0.0]]))])
    0.5
    """
    if not 0 < limit <= 1:
        raise SettingsError(f"aupro: the limit must be above 0 and at most 1, got {limit}")
    return _area(heat, [image.weights for image in heat], limit)


def _area(heat: Sequence[PixelHeat], weights: Sequence[npt.NDArray[np.float64]], limit: float) -> float:
    """Weighted mean over defect pixels of the area that each adds to the curve below `limit`, over `limit`."""
    if not any(image.defect.size for image in heat) or not any(image.normal.size for image in heat):
        return float("nan")
    normal = np.concatenate([image.normal for image in heat])
    normal.sort()  # in place: the one large array
    defect = np.concatenate([image.defect for image in heat])
    order = np.argsort(defect)  # neighbouring lookups stay in the cache
    defect, weight = defect[order], np.concatenate(weights)[order]
    before = (normal.size - np.searchsorted(normal, defect, side="right")) / normal.size  # rate of normal pixels > h
    after = (normal.size - np.searchsorted(normal, defect, side="left")) / normal.size  # rate of normal pixels >= h
    width = after - before
    rising = np.clip(limit - before, 0, width)  # the part of the linear rise that lies below the limit
    under_rise = np.divide(rising**2, 2 * width, out=np.zeros_like(width), where=width > 0)
    area = under_rise + np.maximum(limit - after, 0)
    return float(np.average(area / limit, weights=weight))
