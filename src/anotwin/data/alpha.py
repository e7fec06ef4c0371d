"""Pixels with their transparency, and what is seen of them.

Transparent pixels keep some colour in the file that nobody sees. An image is therefore laid on black: 0 is black in
every type and depth, and what premultiplied files hold is just that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError


class Stored(NamedTuple):
    """The pixels of a file as they are stored, upright."""

    pixels: npt.NDArray[Any]  # (H, W) or (H, W, 3)
    alpha: npt.NDArray[Any] | None = None  # (H, W), 0 unseen: bool, or of the type of the pixels; None: all is seen
    premultiplied: bool = False  # the colours are multiplied by alpha already


def on_black(stored: Stored, where: object) -> npt.NDArray[Any]:
    """What is seen of an image that lies on black: (H, W) or (H, W, 3) of the same type.

    >>> on_black(Stored(np.uint8([[200, 200]]), np.uint8([[255, 51]])), "a").tolist()
    [[200, 40]]

    Raises:
        DataError: alpha that is no share of 1, or an image of which nothing is seen.
    """
    pixels, alpha, premultiplied = stored
    if alpha is None:
        return pixels
    full = _full(alpha, where)
    if (alpha == full).all():
        return pixels
    if pixels.ndim == 3:
        alpha = alpha[:, :, None]
    if alpha.dtype == bool or premultiplied:
        seen = np.where(alpha == 0, pixels.dtype.type(0), pixels)
    elif pixels.dtype.kind == "f":
        seen = pixels * alpha
    else:  # rounded; 65535 x 65535 + 32767 fits into 32 bits
        seen = ((pixels.astype(np.uint32) * alpha + full // 2) // np.uint32(full)).astype(pixels.dtype)
    if not seen.any():
        raise DataError(
            f"{where}: nothing is seen of it on black, on which transparent images are laid (it is transparent, or "
            "black on transparent); save it without transparency"
        )
    return np.asarray(seen)


def _full(alpha: npt.NDArray[Any], where: object) -> Any:
    """The alpha of what is seen wholly."""
    if alpha.dtype.kind != "f":
        return True if alpha.dtype == bool else int(np.iinfo(alpha.dtype).max)
    low, high = float(alpha.min()), float(alpha.max())
    if not (low >= 0 and high <= 1):
        raise DataError(f"{where}: alpha from {low:g} to {high:g}, expected 0 to 1; save it without transparency")
    return 1
