"""The pixel modes of Pillow -> plain arrays, with the depth of the file.

Pillow has no mode for colour of 16 bits and hands out the upper 8. Its decoders can unpack either byte of a sample
("RGB;16B" and "RGB;16L"), so that a file decoded twice gives both.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from anotwin.data.alpha import Stored
from anotwin.errors import DataError

_GREY_STEPS = {"L;2": 85, "L;4": 17}  # of grey PNG of few bits, by which Pillow scales pixels but no colour key


def pillow_pixels(image: Image.Image, where: object) -> Stored:
    """The pixels of an opened image as stored, palettes resolved; loads it. `where` names it in messages.

    Raises:
        DataError: a mode that has no RGB (LAB).
    """
    mode = image.mode
    key = _colour_key(image)
    image.load()
    if mode in ("1", "L", "F", "I") or mode.startswith("I;"):
        return _keyed(np.asarray(image), key)
    if mode in ("LA", "La"):
        values = np.asarray(image)
        return Stored(values[:, :, 0], values[:, :, 1], mode == "La")
    if mode in ("RGB", "RGBX"):
        return _keyed(np.asarray(image)[:, :, :3], key)
    if mode in ("RGBA", "RGBa"):
        values = np.asarray(image)
        return Stored(values[:, :, :3], values[:, :, 3], mode == "RGBa")
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow warns of transparency, which is looked at below
            colours = np.asarray(image.convert("RGB"))
    except ValueError:
        raise DataError(f"{where}: colours of mode {mode}; save the image as RGB") from None
    if mode in ("P", "PA"):
        grey = _grey_palette(image)
        return Stored(colours[:, :, 0] if grey else colours, _palette_alpha(image))
    return Stored(colours)


def deep_pixels(image: ImageFile.ImageFile, file: Path | BytesIO, where: object) -> Stored | None:
    """PNG with 16 bits a colour, or PPM with more than 8, at full depth as uint16; None: the image is neither.

    PPM is scaled so that its largest value is 65535, as Pillow does for grey. `image` is `file` opened, and not
    yet loaded.

    Raises:
        DataError: a PPM of more than 8 bits that is written as text; ValueError: a truncated PPM.
    """
    if not image.tile:  # WebP has none
        return None
    codec, _, offset, args = image.tile[0]
    if image.format == "PNG" and args in ("RGB;16B", "RGBA;16B"):
        return _deep_colour(image, file, args[:-4])
    if image.format == "PNG" and args == "LA;16B":
        both = _loaded(image, "RGBA").astype(np.uint16)  # the two bytes of grey, the two of alpha
        return Stored(both[:, :, 0] * 256 + both[:, :, 1], both[:, :, 2] * 256 + both[:, :, 3])
    if image.format != "PPM" or not isinstance(args, tuple) or codec not in ("ppm", "ppm_plain") or args[-1] < 256:
        return None
    if codec == "ppm_plain":
        if image.mode == "RGB":
            raise DataError(f"{where}: a PPM of 16 bits written as text; save it as binary PPM (P6) or TIFF")
        return None
    return Stored(_deep_ppm(image, offset, args[-1]))


def _deep_colour(image: ImageFile.ImageFile, file: Path | BytesIO, mode: str) -> Stored:
    key = image.info.get("transparency")
    high = _loaded(image, f"{mode};16B")
    with Image.open(BytesIO(file.getbuffer()) if isinstance(file, BytesIO) else file, formats=("PNG",)) as again:
        low = _loaded(again, f"{mode};16L")
    pixels = high.astype(np.uint16) * 256 + low
    return Stored(pixels[:, :, :3], pixels[:, :, 3]) if mode == "RGBA" else _keyed(pixels, key)


def _deep_ppm(image: ImageFile.ImageFile, offset: int, most: int) -> npt.NDArray[np.uint16]:
    channels = 3 if image.mode == "RGB" else 1
    assert image.fp is not None
    image.fp.seek(offset)
    data = image.fp.read(2 * channels * image.width * image.height)
    values = np.frombuffer(data, ">u2").reshape(image.height, image.width, channels)
    scaled = values if most == 65535 else np.minimum(np.rint(values / most * 65535), 65535)
    return np.asarray(scaled[:, :, 0] if channels == 1 else scaled).astype(np.uint16)


def _loaded(image: ImageFile.ImageFile, rawmode: str) -> npt.NDArray[np.uint8]:
    codec, box, offset, _ = image.tile[0]
    tile: Any = (codec, box, offset, rawmode)
    image.tile = [tile]
    image.load()
    return np.asarray(image)


def _colour_key(image: Image.Image) -> Any:
    """The one grey or colour of a PNG (chunk tRNS) that is transparent, if there is one."""
    if image.mode in ("P", "PA") or "transparency" not in image.info:
        return None
    key = image.info["transparency"]
    tile = getattr(image, "tile", None)  # how it is to be decoded, until it is loaded
    args = tile[0][3] if tile else None
    return key * _GREY_STEPS.get(args, 1) if isinstance(key, int) and isinstance(args, str) else key


def _keyed(pixels: npt.NDArray[Any], key: Any) -> Stored:
    if key is None or isinstance(key, bytes) or np.size(key) != (3 if pixels.ndim == 3 else 1):
        return Stored(pixels)
    seen = pixels != np.asarray(key).astype(pixels.dtype)
    return Stored(pixels, seen.any(axis=2) if pixels.ndim == 3 else seen)


def _palette_alpha(image: Image.Image) -> npt.NDArray[np.uint8] | None:
    values, told = np.asarray(image), image.info.get("transparency")
    if image.mode == "PA":
        return values[:, :, 1]
    if told is None:
        return None
    alpha = np.full(256, 255, np.uint8)
    if isinstance(told, bytes):
        alpha[: len(told[:256])] = np.frombuffer(told[:256], np.uint8)
    elif isinstance(told, int) and 0 <= told < 256:
        alpha[told] = 0
    return np.asarray(alpha[values])


def _grey_palette(image: Image.Image) -> bool:
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())
