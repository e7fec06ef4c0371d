"""What moves and what stays in frames of one camera: optical flow by OpenCV, and what has stood there for a while."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from anotwin.errors import MissingExtra

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
    """How far frames (B, K, C, S, S), a second or so apart, all differ from the background (C, S, S): (B, S, S).

    The least difference over the frames, pixels in [0, 1]: a walker is gone after a second, what was left is not. Each
    frame is brought to the mean and spread of the background first, so that a cloud is not an object.

    >>> frames = torch.zeros(1, 3, 1, 8, 8)
    >>> frames[:, :, :, 2, 3] = 1.0
    >>> float(standing(frames, torch.zeros(1, 8, 8)).max() > 0.4)
    1.0
    """
    light = frames.flatten(2).median(2).values - background.median()  # (B, K)
    apart = (frames - light[:, :, None, None, None] - background).abs().mean(2) / 2
    return apart.amin(1)


def _grey(frames: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    grey = (frames.float().mean(1).clamp(-1, 1) + 1) * 127.5
    return list(grey.round().to(torch.uint8).cpu().numpy())


def _finder() -> Any:
    try:
        import cv2
    except ImportError:
        raise MissingExtra(EXTRA) from None
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
