"""How a picture is to be turned, by the tag that cameras and scanners leave in its file.

Tag 274 of EXIF and TIFF: https://www.cipa.jp/std/documents/e/DC-008-2012_E.pdf, 4.6.4. It may stand in EXIF (JPEG,
WebP, PNG), in a TIFF's own tags, or in XMP.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

ORIENTATION = 274
_TURNED = (5, 6, 7, 8)  # rows become columns
_MIRRORED, _UPSIDE_DOWN = (2, 3, 6, 7), (3, 4, 7, 8)  # after that


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Stored pixels (H, W) or (H, W, 3) as they are to be shown; a view.

    >>> upright(np.array([[1, 2, 3]]), 6).tolist()  # stored lying on its left side
    [[1], [2], [3]]
    """
    if orientation in _TURNED:
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in _MIRRORED:
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in _UPSIDE_DOWN else pixels


def upright_shape(height: int, width: int, orientation: int) -> tuple[int, int]:
    """Height and width as shown."""
    return (width, height) if orientation in _TURNED else (height, width)


def orientation_of(image: Image.Image) -> int:
    """1 to 8; 1, as stored, where the tag is missing, damaged or out of range, as viewers do. Decodes a PNG."""
    try:
        return known_orientation(image.getexif().get(ORIENTATION))
    except MemoryError:
        raise
    except Exception:  # parsers of damaged tags raise anything, and the picture is there all the same
        return 1


def known_orientation(value: Any) -> int:
    """The value of a tag, 1 where it is none of 1 to 8."""
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1
