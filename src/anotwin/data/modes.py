"""The pixel modes of Pillow -> plain arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image


def pillow_pixels(image: Image.Image) -> npt.NDArray[Any]:
    """The pixels of a loaded Pillow image: (H, W) or (H, W, 3), alpha dropped, palettes resolved."""
    if image.mode in ("1", "L", "F", "I") or image.mode.startswith("I;"):
        return np.asarray(image)
    if image.mode in ("LA", "La"):
        return np.asarray(image)[:, :, 0]
    if image.mode in ("RGB", "RGBA", "RGBX"):
        return np.asarray(image)[:, :, :3]
    colours = np.asarray(image.convert("RGB"))
    if image.mode in ("P", "PA") and _grey_palette(image):
        return colours[:, :, 0]
    return colours


def _grey_palette(image: Image.Image) -> bool:
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())
