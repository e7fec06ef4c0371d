"""One image file -> its native pixels, whatever the format: the only place where image files are decoded.

Pillow reads png, jpg, bmp, webp, gif and pgm/ppm; `anotwin.data.tiff` reads tif, where Pillow would lose depth.
What a file is, is decided by its first bytes and not by its name. Formats outside the list are refused: Pillow
would hand some of them (eps) to other programs.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from anotwin.data.modes import pillow_pixels
from anotwin.data.tiff import TIFF_MAGIC, read_tiff
from anotwin.errors import DataError
from anotwin.records import Array

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".tif", ".tiff")

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")
_ANIMATED = ("GIF", "PNG", "WEBP")  # a JPEG may hold a preview as a second picture, which is no animation


def read_pixels(path: str | Path, page: int | None = None) -> Array:
    """The native pixels of one image file; grey stays (H, W), colour is (H, W, 3), alpha is dropped.

    8-bit files give uint8, 16-bit grey and 32-bit integers within 0..65535 uint16, floating point float32; 1-bit is
    0 and 255, a palette its colours. Orientation tags are not applied: rows and columns are those of the file.
    Pillow reads PNG and PPM with 16 bits *a colour* as 8 bits; store such images as TIFF to keep the depth.

    `page` is the page of a TIFF, from 0; None: the file must hold one image. Pixels are C-contiguous and finite.

    Raises:
        DataError: missing, empty, truncated, corrupt, not an image, animated or multi-page, absurdly large,
            or with NaN, infinite or negative pixels; one line that names the file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot read the file ({error.strerror or error})") from None
    if not magic:
        raise DataError(f"{path}: the file is empty, expected an image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata; what matters raises
            pixels = read_tiff(path, page) if magic in TIFF_MAGIC else _read_pillow(path)
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: {one_line(error)}; tile the image before use") from None
    except Exception as error:  # decoders of damaged files raise anything, from SyntaxError to KeyError
        raise DataError(f"{path}: cannot decode the image, is it damaged? ({one_line(error)})") from None
    return native(pixels, str(path))


def read_mask(path: str | Path) -> npt.NDArray[np.bool_]:
    """A mask file as (H, W) bool, True where any channel is not zero; raises DataError like `read_pixels`."""
    pixels = read_pixels(path)
    marked: npt.NDArray[np.bool_] = (pixels if pixels.ndim == 2 else pixels.max(axis=2)) != 0
    return marked


def image_shape(path: Path) -> tuple[int, int] | None:
    """Height and width of an image that is no TIFF, by its header; None where that cannot be read."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=_FORMATS) as image:
            warnings.simplefilter("ignore")
            return image.height, image.width
    except Exception:  # whatever is wrong, reading the pixels will say it
        return None


def native(pixels: npt.NDArray[Any], where: str) -> Array:
    """Any numeric image in the three native types; `where` names it in messages.

    bool becomes 0 and 255, int8 uint8, all other integers uint16, float16 and float64 float32. This depends on
    the type and never on the values, so that all images of a source become one type.

    >>> native(np.array([[0, 4095]], np.int32), "scan").dtype
    dtype('uint16')

    Raises:
        DataError: wrong shape, no pixels, a value outside 0..65535, not finite, or not a number at all.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or 0 in pixels.shape:
        raise DataError(f"{where}: got pixels of shape {pixels.shape}, expected (height, width) or (height, width, 3)")
    kind = pixels.dtype.kind
    if kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    if kind == "f":
        return _finite(pixels, where)
    if kind not in "iu":
        raise DataError(f"{where}: got pixels of type {pixels.dtype}, expected integers, floats or bool")
    if pixels.dtype in (np.uint8, np.uint16):
        return np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("="))
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 65535:
        raise DataError(
            f"{where}: integer pixels from {low} to {high}, expected 0 to 65535; convert them to float32 to keep them"
        )
    return np.ascontiguousarray(pixels, dtype=np.uint8 if pixels.dtype == np.int8 else np.uint16)


def one_line(error: BaseException) -> str:
    """The message of an error on one line of at most 200 characters; its type where it has none."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def _finite(pixels: npt.NDArray[Any], where: str) -> Array:
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite and is refused below
        values = np.ascontiguousarray(pixels, dtype=np.float32)
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise DataError(f"{where}: {bad} of {values.size} pixels are NaN or infinite; clean or leave out the image")
    return values


def _read_pillow(path: Path) -> npt.NDArray[Any]:
    try:
        opened = Image.open(path, formats=_FORMATS)
    except UnidentifiedImageError:
        raise DataError(f"{path}: not an image that can be read; expected {', '.join(IMAGE_SUFFIXES)}") from None
    with opened as image:
        frames = getattr(image, "n_frames", 1)
        if image.format in _ANIMATED and frames > 1:
            raise DataError(f"{path}: an animation of {frames} frames, expected one image; save the frames as files")
        image.load()
        return pillow_pixels(image)
