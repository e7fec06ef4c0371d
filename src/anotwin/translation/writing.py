"""A translation in the format of the file that it is made from: same suffix, depth and colours, where the format can.

PNG, BMP, WebP (lossless), PGM/PPM and TIFF keep every pixel; JPEG stays JPEG, in its highest quality. What a format
cannot hold (16-bit colour in PNG, colour in GIF, floats in anything but TIFF) becomes a PNG or TIFF beside its name:
``a.gif`` becomes ``a.gif.png``. Colour profiles, resolution and other tags of the file are not copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image

from anotwin.files import atomic_path
from anotwin.records import Array

_GREY8, _COLOUR8, _GREY16 = ("uint8", 2), ("uint8", 3), ("uint16", 2)  # type and dimensions
_JPEG: dict[str, Any] = {"format": "JPEG", "quality": 98, "subsampling": 0}
# what a format holds, and how Pillow writes it
_FORMATS: dict[str, tuple[tuple[tuple[str, int], ...], dict[str, Any]]] = {
    ".png": ((_GREY8, _COLOUR8, _GREY16), {"format": "PNG"}),
    ".bmp": ((_GREY8, _COLOUR8), {"format": "BMP"}),
    ".webp": ((_GREY8, _COLOUR8), {"format": "WEBP", "lossless": True}),
    ".gif": ((_GREY8,), {"format": "GIF"}),
    ".pgm": ((_GREY8, _GREY16), {"format": "PPM"}),
    ".ppm": ((_COLOUR8,), {"format": "PPM"}),
    ".jpg": ((_GREY8, _COLOUR8), _JPEG),
    ".jpeg": ((_GREY8, _COLOUR8), _JPEG),
}
_TIFF = (".tif", ".tiff")


def output_name(name: str, pixels: Array) -> tuple[str, str]:
    """The name under which pixels of the file `name` are written, and what a person should know of it, or "".

    >>> output_name("a/b.png", np.zeros((4, 4), np.uint16))
    ('a/b.png', '')
    >>> output_name("b.gif", np.zeros((4, 4, 3), np.uint8))[0]
    'b.gif.png'
    """
    suffix = Path(name).suffix.lower()
    kind = pixels.dtype.name, pixels.ndim
    if suffix in _TIFF or kind in _FORMATS.get(suffix, ((), {}))[0]:
        return name, "JPEG is not lossless" if suffix in (".jpg", ".jpeg") else ""
    other = ".png" if kind in _FORMATS[".png"][0] else ".tif"
    what = f"{pixels.dtype.name} {'colour' if pixels.ndim == 3 else 'grey'}"
    return f"{name}{other}", f"{suffix or 'a file without ending'} does not hold {what}: written as {other}"


def save_translation(pixels: Array, path: Path) -> None:
    """Write pixels to a path whose name comes from `output_name`, whole or not at all; raises DataError."""
    suffix, pixels = path.suffix.lower(), np.ascontiguousarray(pixels)
    with atomic_path(path, sync=False) as temporary:
        if suffix in _TIFF:
            photometric = "rgb" if pixels.ndim == 3 else "minisblack"
            tifffile.imwrite(temporary, pixels, photometric=photometric, metadata=None)
        else:
            Image.fromarray(pixels).save(temporary, **_FORMATS[suffix][1])
