"""What moves and what stays in frames of one camera: optical flow by OpenCV, and what has stood there for a while."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from anotwin.errors import MissingExtra

NARROW = 31  # pixels: three bodies at the resolution of evidence
EXTRA = "optical flow needs OpenCV: install the extra, pip install 'anotwin[video]'"


def velocity(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """By how much each place moved from frames to the next ones, both (B, C, S, S) in [-1, 1]: (B, 2, S, S).

    Pixels a frame, to the right and down. Dense inverse search (Kroeger et al. 2016, 1603.03590) as OpenCV has it, on
    the mean of the channels; each pair on its own. Raises MissingExtra where OpenCV is not installed.
    """
    finder = _finder()
    pairs = zip(_grey(before), _grey(after), strict=True)
    found = [torch.from_numpy(finder.calc(first, second, None)).permute(2, 0, 1) for first, second in pairs]
    return torch.stack(found)


def standing(frames: torch.Tensor, background: torch.Tensor) -> torch.Tensor:
    """How far frames (B, K, C, S, S) of some seconds differ from the background (C, S, S) and stay so: (B, S, S).

    The least difference over the frames, less by how much it varies, at least 0; pixels in [0, 1]. A walker is gone
    after a second and a crowd changes, what was left there does neither. Of the difference only what is narrower than
    `NARROW` pixels counts: a cloud or its shadow is not an object.

    >>> frames = torch.zeros(1, 3, 1, 32, 32)
    >>> frames[:, :, :, 12:16, 13:17] = 1.0
    >>> bool(standing(frames, torch.zeros(1, 32, 32))[0, 14, 15] > 0.4)
    True
    """
    apart = (frames - background).flatten(0, 1)  # (B K, C, S, S)
    side = min(NARROW, 2 * (apart.shape[-1] // 2) - 1)
    narrow = (apart - _mean_around(apart, side)).view(frames.shape) / 2
    least, varies = narrow.abs().amin(1), narrow.amax(1) - narrow.amin(1)  # (B, C, S, S)
    return (least - varies).clamp(min=0).mean(1)


def _mean_around(maps: torch.Tensor, side: int) -> torch.Tensor:
    """The mean over a square of odd `side` around each place of (N, C, S, S), as far as it lies in the map.

    Along columns, then rows: the mean over a rectangle is that of the means of its rows, in a fifteenth of the time.
    """
    columns = F.avg_pool2d(maps, (side, 1), 1, (side // 2, 0), count_include_pad=False)
    return F.avg_pool2d(columns, (1, side), 1, (0, side // 2), count_include_pad=False)


def _grey(frames: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    grey = (frames.float().mean(1).clamp(-1, 1) + 1) * 127.5
    return list(grey.round().to(torch.uint8).cpu().numpy())


@cache  # it keeps its memory from pair to pair
def _finder() -> Any:
    try:
        import cv2
    except ImportError:
        raise MissingExtra(EXTRA) from None
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
