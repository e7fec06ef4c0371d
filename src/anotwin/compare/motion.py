"""What moves and what stays in frames of one camera: optical flow by OpenCV, and what has stood there for a while."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch

from anotwin.errors import MissingExtra

STANDS_OUT = 0.1  # of the pixel range: from there on something is more silhouette than ground
SOFT = 1.5  # pixels: faces and gait are not to be seen in silhouettes
NARROW = 31  # pixels: three bodies at the resolution of evidence
SMALL = 128  # pixels a side: half of the resolution is enough for the flow of larger frames
LOOSE = 1  # pixels, at the resolution of evidence
EXTRA = "optical flow needs OpenCV: install the extra, pip install 'anotwin[video]'"


def velocity(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """By how much each place moved from frames to the next ones, both (B, C, S, S) in [-1, 1]: (B, 2, S, S).

    Pixels a frame, to the right and down. Dense inverse search (Kroeger et al. 2016, 1603.03590) as OpenCV has it, on
    the mean of the channels; each pair on its own. Raises MissingExtra where OpenCV is not installed.
    """
    finder = _finder(before.shape[-1])
    pairs = zip(_grey(before), _grey(after), strict=True)
    found = [torch.from_numpy(finder.calc(first, second, None)).permute(2, 0, 1) for first, second in pairs]
    return torch.stack(found)


def standing(frames: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """How far frames (B, K, C, S, S) of some seconds differ from the background (C, S, S) and stay so: (B, S, S).

    The least difference over the frames, less by how much it varies, at least 0; pixels in [0, 1]. A walker is gone
    after a second and a crowd changes, what was left there does neither. Of the difference only what is narrower than
    `NARROW` pixels counts: a cloud or its shadow is not an object. And it is that from the nearest value of the
    background within `LOOSE` pixels: a camera that trembles, or frames scaled by another program, are no objects.

    >>> frames = torch.zeros(1, 3, 1, 32, 32)
    >>> frames[:, :, :, 12:16, 13:17] = 1.0
    >>> bool(standing(frames, torch.zeros(1, 32, 32))[0, 14, 15] > 0.4)
    True
    """
    narrow, usual = (each - _mean_around(each) for each in (frames, background))
    most, least = _extremes_around(usual, LOOSE)
    apart = ((narrow - most).clamp(min=0) - (least - narrow).clamp(min=0)) / 2  # (B, K, C, S, S)
    stays, varies = apart.abs().amin(1), apart.amax(1) - apart.amin(1)  # (B, C, S, S)
    return (stays - varies).clamp(min=0).mean(1)


def standing_out(frames: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """Soft silhouettes of what is not of the background, both (B, C, S, S) in [-1, 1]: (B, 1, S, S) in [0, 1].

    As in `standing` what is wide does not count: a cloud or its shadow. Smoothed a little.

    >>> frames = torch.zeros(1, 1, 64, 64)
    >>> frames[..., 20:40, 30:36] = 1.0
    >>> found = standing_out(frames, torch.zeros(1, 1, 64, 64))[0, 0]
    >>> bool(found[30, 32] > 0.9), bool(found[:, 50:].max() < 0.1)
    (True, True)
    """
    apart = (frames - background) / 2
    narrow = (apart - _mean_around(apart)).abs().mean(1, keepdim=True)
    return smoothed((narrow / STANDS_OUT).tanh().square(), SOFT)


def reduced(maps: torch.Tensor, times: int) -> torch.Tensor:
    """Means of `times` x `times` places of maps (..., S, S), as `avg_pool2d`, by OpenCV in a tenth of its time."""
    cv2, side = _opencv(), maps.shape[-1] // times
    return _each(maps, lambda each: cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA))


def smoothed(maps: torch.Tensor, sigma: float) -> torch.Tensor:
    """Gaussian smoothing of each map of (..., S, S) by `sigma` pixels, cut at 4 sigma, the border repeated.

    As `compare.heatmap.gaussian`, by OpenCV on the CPU, in a fifth of the time: a camera waits for nobody.
    """
    cv2, side = _opencv(), 2 * int(4 * sigma + 0.5) + 1
    return _each(maps, lambda each: cv2.GaussianBlur(each, (side, side), sigma, borderType=cv2.BORDER_REPLICATE))


def _mean_around(maps: torch.Tensor) -> torch.Tensor:
    """The mean of maps (..., S, S) over a square of `NARROW` pixels around each place, as far as it lies in the map."""
    cv2, side = _opencv(), min(NARROW, 2 * (maps.shape[-1] // 2) - 1)

    def total(each: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return cv2.boxFilter(each, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)  # type: ignore[no-any-return]

    inside = total(np.ones(maps.shape[-2:], np.float32))
    return _each(maps, lambda each: total(each) / inside)


def _extremes_around(maps: torch.Tensor, reach: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The highest and the lowest of maps (..., S, S) within `reach` pixels of each place."""
    cv2 = _opencv()
    square = np.ones((2 * reach + 1,) * 2, np.uint8)
    return _each(maps, lambda each: cv2.dilate(each, square)), _each(maps, lambda each: cv2.erode(each, square))


def _each(maps: torch.Tensor, change: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]) -> torch.Tensor:
    """Every map of (..., S, S) by itself, so that none depends on the others; sides may change."""
    found = torch.from_numpy(np.stack([change(each) for each in maps.float().cpu().flatten(0, -3).numpy()]))
    return found.view(*maps.shape[:-2], *found.shape[-2:]).to(maps.device)


def _grey(frames: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    grey = (frames.float().mean(1).clamp(-1, 1) + 1) * 127.5
    return list(grey.round().to(torch.uint8).cpu().numpy())


@cache  # it keeps its memory from pair to pair, and the scale that a small frame made it take
def _finder(side: int) -> Any:
    cv2 = _opencv()
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)  # "fast" gives a person's flow to a neighbour
    if side < SMALL:
        finder.setFinestScale(0)
    return finder


def _opencv() -> Any:
    try:
        import cv2
    except ImportError:
        raise MissingExtra(EXTRA) from None
    return cv2
