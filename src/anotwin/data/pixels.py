"""One image file -> its native pixels, whatever the format: the only place where image files are decoded.

Pillow reads png, jpg, bmp, webp, gif and pgm/ppm; `anotwin.data.tiff` reads tif, where Pillow would lose depth.
What a file is, is decided by its first bytes and not by its name. Formats outside the list are refused: Pillow
would hand some of them (eps) to other programs. Colour profiles (ICC) are not applied.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from anotwin.data.alpha import Stored, on_black
from anotwin.data.claims import A_BYTE, check_claim
from anotwin.data.modes import deep_pixels, pillow_pixels
from anotwin.data.tiff import TIFF_MAGIC, read_tiff
from anotwin.data.upright import orientation_of, upright, upright_shape
from anotwin.errors import DataError
from anotwin.records import Array

T = TypeVar("T")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".pgm", ".ppm", ".tif", ".tiff")

_LONGEST = 2000  # characters of a message: paths may take hundreds, and decoders quote what they read
_FORMATS = ("PNG", "JPEG", "BMP", "WEBP", "GIF", "PPM")
_PNG_TAGS = (b"eXIf", b"exif", b"xmp")  # where the orientation of a PNG may stand
_ANIMATED = ("GIF", "PNG", "WEBP")  # a JPEG may hold a preview as a second picture, which is no animation


def read_pixels(path: str | Path, page: int | None = None) -> Array:
    """The native pixels of one image file as a person sees them: grey stays (H, W), colour is (H, W, 3).

    8-bit files give uint8, 16-bit grey and colour and 32-bit integers within 0..65535 uint16, floating point float32;
    1-bit is 0 and 255, a palette its colours. The image is turned as its orientation tag says, and what is transparent
    is laid on black (see `read_stored` for alpha itself).

    `page` is the page of a TIFF, from 0; None: the file must hold one image. Pixels are C-contiguous and finite.

    Raises:
        DataError: missing, empty, truncated, corrupt, not an image, animated or multi-page, absurdly large, too large
            for the memory there is, or with NaN, infinite or negative pixels; one line that names the file.
    """
    return _guarded(str(path), lambda: native(on_black(_stored(Path(path), page), path), str(path)))


def read_stored(path: str | Path, page: int | None = None) -> Stored:
    """Pixels and alpha of one image file, upright, in the type of the file; raises DataError like `read_pixels`."""
    return _guarded(str(path), lambda: _stored(Path(path), page))


def object_pixels(image: Image.Image, where: str) -> Array:
    """`read_pixels` of an image that Pillow has opened; `where` names it. One not yet loaded is read like its file."""
    return _guarded(where, lambda: native(on_black(_opened(image, where), where), where))


def image_shape(path: Path) -> tuple[int, int] | None:
    """Height and width, as `read_pixels` turns it, of an image that is no TIFF; None where that cannot be read.

    By the header alone, but for a PNG with an orientation tag, which may stand behind its pixels.
    """
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_FORMATS) as image:
            plain = image.format == "PNG" and not any(tag in path.read_bytes() for tag in _PNG_TAGS)
            return upright_shape(image.height, image.width, 1 if plain else orientation_of(image))
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
        return np.ascontiguousarray(pixels, dtype=np.uint8) * np.uint8(255)
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
    """The message of an error on one line, its type where it has none; very long ones lose their middle.

    Messages begin with a path, which may be longer than all that comes after it, and end with what to do.
    """
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= _LONGEST else f"{said[: _LONGEST // 2]} ... {said[-_LONGEST // 2 :]}"


def _finite(pixels: npt.NDArray[Any], where: str) -> Array:
    with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite and is refused below
        values = np.ascontiguousarray(pixels, dtype=np.float32)
    bad = values.size - int(np.isfinite(values).sum())
    if bad:
        raise DataError(f"{where}: {bad} of {values.size} pixels are NaN or infinite; clean or leave out the image")
    return values


def _guarded(where: str, read: Callable[[], T]) -> T:
    """What `read` returns; whatever it raises as a DataError of one line."""
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow warns of odd metadata; what matters raises
            return read()
    except DataError:
        raise
    except Image.DecompressionBombError as error:
        raise DataError(f"{where}: {one_line(error)}; tile the image before use") from None
    except MemoryError:
        raise DataError(f"{where}: the image does not fit into memory; tile it or make it smaller") from None
    except Exception as error:  # decoders of damaged files raise anything, from SyntaxError to KeyError
        raise DataError(f"{where}: cannot decode the image, is it damaged? ({one_line(error)})") from None


def _stored(path: Path, page: int | None) -> Stored:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise DataError(f"{path}: cannot read the file ({error.strerror or error})") from None
    if not magic:
        raise DataError(f"{path}: the file is empty, expected an image")
    return _decoded(path, magic, str(path), page)


def _opened(image: Image.Image, where: str) -> Stored:
    file = getattr(image, "fp", None)
    if getattr(image, "tile", None) and file is not None:  # not loaded: loading could lose depth
        file.seek(0)
        data = file.read()
        return _decoded(BytesIO(data), data[:4], where, image.tell() if data[:4] in TIFF_MAGIC else None)
    return _turned(pillow_pixels(image, where), orientation_of(image))


def _decoded(file: Path | BytesIO, magic: bytes, where: str, page: int | None) -> Stored:
    return read_tiff(file, where, page) if magic in TIFF_MAGIC else _by_pillow(file, where)


def _by_pillow(file: Path | BytesIO, where: str) -> Stored:
    try:
        image = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError:
        raise DataError(f"{where}: not an image that can be read; expected {', '.join(IMAGE_SUFFIXES)}") from None
    with image:
        frames = getattr(image, "n_frames", 1)
        if image.format in _ANIMATED and frames > 1:
            raise DataError(f"{where}: an animation of {frames} frames, expected one image; save the frames as files")
        size = file.stat().st_size if isinstance(file, Path) else len(file.getbuffer())
        check_claim(where, image.width, image.height, size, A_BYTE.get(str(image.format)))
        stored = deep_pixels(image, file, where) or pillow_pixels(image, where)
        if image.format == "BMP" and stored.alpha is not None and not stored.alpha.any():
            stored = Stored(stored.pixels)  # many programs leave the fourth byte of BMP at 0
        return _turned(stored, orientation_of(image))


def _turned(stored: Stored, orientation: int) -> Stored:
    alpha = None if stored.alpha is None else upright(stored.alpha, orientation)
    return Stored(upright(stored.pixels, orientation), alpha, stored.premultiplied)
