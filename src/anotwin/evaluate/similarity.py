"""How like an image is to the true one: PSNR and SSIM in native units, as published for enlarged images, and Dice.

Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004, for SSIM (scikit-image's,
with the paper's Gaussian window of 11 pixels). Enlarged images are compared as in the papers since Timofte et al. 2014:
in luma alone, without a border as wide as the factor. Mean absolute difference and sharpness against the true image
are `difference` and `sharpness` of evaluate/counterparts.py.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.metrics import number_groups
from anotwin.evaluate.paired import Estimate

Image = npt.NDArray[Any]  # (H, W) or (H, W, C)
Floats = npt.NDArray[np.float64]
WINDOW = 11  # pixels that SSIM needs to each side


def psnr(truth: Image, image: Image, span: float = 255.0) -> float:
    """10 log10(span^2 / mean squared error) in dB over all pixels and channels; infinite for equal images.

    Args:
        truth: (H, W) or (H, W, C) in native units.
        image: of the same shape.
        span: from the lowest value that an image can have to the highest: 255, 65535 ...

    >>> round(psnr(np.zeros((4, 4)), np.full((4, 4), 25.5)), 6)
    20.0
    """
    _check(truth, image, span)
    error = float(np.square(truth.astype(np.float64) - image).mean())
    return 10 * math.log10(span**2 / error) if error else math.inf


def ssim(truth: Image, image: Image, span: float = 255.0) -> float:
    """Structural similarity in [-1, 1], 1 for equal images; the mean over channels. Arguments as `psnr`.

    Raises:
        DataError: a side of less than 11 pixels, the window.

    >>> ssim(np.eye(16), np.eye(16), 1.0)
    1.0
    """
    _check(truth, image, span)
    if min(truth.shape[:2]) < WINDOW:
        raise DataError(
            f"ssim: images of {truth.shape[1]} x {truth.shape[0]} pixels; expected sides of {WINDOW} or more"
        )
    found = structural_similarity(  # type: ignore[no-untyped-call]
        truth.astype(np.float64), image.astype(np.float64), data_range=span, gaussian_weights=True, sigma=1.5,
        use_sample_covariance=False, channel_axis=None if truth.ndim == 2 else 2,
    )  # fmt: skip
    return float(found)


def luma(image: Image) -> Floats:
    """Y of ITU-R BT.601 in whole levels 16 .. 235 of uint8 colour (H, W, 3), as MATLAB's rgb2ycbcr; grey as it is.

    That grey images keep 0 .. 255 while colour shrinks to 219 levels is how published means over both came about.

    >>> luma(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8))
    array([[ 16., 235.]])
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise SettingsError(f"luma: {image.dtype} of shape {image.shape}; expected uint8 (H, W) or (H, W, 3)")
    values = image.astype(np.float64)
    return values if image.ndim == 2 else np.rint(16 + values @ np.array([65.481, 128.553, 24.966]) / 255)


def enlarged_quality(truth: Image, image: Image, factor: int) -> tuple[float, float]:
    """PSNR in dB and SSIM of an enlarged uint8 image as published: of `luma`, `factor` pixels of each border cut.

    >>> enlarged_quality(*[np.full((24, 24), 7, np.uint8)] * 2, 4)
    (inf, 1.0)
    """
    _check(truth, image)
    if factor < 1 or min(truth.shape[:2]) < 2 * factor + WINDOW:
        raise DataError(f"enlarged images: {truth.shape} without {factor} pixels at each border is too small for SSIM")
    inner = slice(factor, -factor)
    ours, theirs = (luma(each)[inner, inner] for each in (image, truth))
    return psnr(theirs, ours), ssim(theirs, ours)


def dice(truth: npt.NDArray[Any], found: npt.NDArray[Any], classes: Sequence[int]) -> Floats:
    """2 |T and F| / (|T| + |F|) of each class in two maps of labels (H, W); NaN where neither map has the class.

    >>> dice(np.array([[0, 1, 1, 2]]), np.array([[0, 1, 2, 2]]), [1, 2, 3])
    array([0.66666667, 0.66666667,        nan])
    """
    _check(truth, found)
    scores = []
    for label in classes:
        ours, theirs = found == label, truth == label
        both = int(ours.sum()) + int(theirs.sum())
        scores.append(2 * int((ours & theirs).sum()) / both if both else math.nan)
    return np.array(scores)


def mean_of(values: Sequence[float], groups: Sequence[Hashable], draws: int = 1000, seed: int = 0) -> Estimate:
    """The mean of those that are not NaN, with a 95 % percentile interval; whole groups are resampled.

    NaN where there is none; of one group the interval is NaN, of less than some ten it is too narrow.

    >>> found = mean_of([1.0, 2.0, 3.0, float("nan")], "abcd")
    >>> found.value, 1 <= found.low < 2 < found.high <= 3
    (2.0, True)
    """
    if len(values) != len(groups):
        raise SettingsError(f"mean: {len(values)} values and {len(groups)} groups; expected one group per value")
    numbers = np.asarray(values, np.float64)
    known = ~np.isnan(numbers)
    if not known.any():
        return Estimate(math.nan, math.nan, math.nan)
    of = number_groups([group for group, is_known in zip(groups, known, strict=True) if is_known])
    sums, sizes = np.bincount(of, numbers[known]), np.bincount(of)
    value = float(sums.sum() / sizes.sum())
    if sizes.size < 2:
        return Estimate(value, math.nan, math.nan)
    drawn = np.random.default_rng([seed, 7]).multinomial(sizes.size, np.full(sizes.size, 1 / sizes.size), draws)
    low, high = np.quantile((drawn @ sums) / (drawn @ sizes), [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def _check(truth: Image, image: Image, span: float = 1.0) -> None:
    if truth.shape != image.shape or truth.ndim not in (2, 3) or truth.size == 0:
        raise SettingsError(f"images of {truth.shape} and {image.shape}: expected two (H, W) or (H, W, C) of one shape")
    if not span > 0:
        raise SettingsError(f"span must be greater than 0, got {span}")
