"""TIFF at full depth: 8 and 16 bits, float, grey and colour, one page or the pages of a volume.

tifffile keeps the depth. Some compressions (LZW, JPEG) it leaves to the package imagecodecs; without it Pillow reads
those files, unless that would lose depth.
"""

from __future__ import annotations

import logging
import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from anotwin.data.alpha import Stored
from anotwin.data.claims import DEFLATE, check_claim
from anotwin.data.modes import pillow_pixels
from anotwin.data.upright import ORIENTATION, known_orientation, orientation_of, upright, upright_shape
from anotwin.errors import DataError

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_MOST_PAGES = 2**13  # a file of a million pages takes minutes to list
_COLOURS = {"MINISBLACK": (1, 3), "MINISWHITE": (1,), "RGB": (3,), "SEPARATED": (4,), "PALETTE": (1,)}
_ALPHA = {1: True, 2: False}  # kinds of extra samples -> whether the colours are multiplied by it
_PIXELS_A_BYTE = {  # at the most, see anotwin.data.claims
    "NONE": 8,
    "PACKBITS": 8 * 64,
    "LZW": 8 * 4096,
    "ADOBE_DEFLATE": 8 * DEFLATE,
    "DEFLATE": 8 * DEFLATE,
    "JPEG": 1024,
    "OJPEG": 1024,
}

# tifffile also logs the errors of a damaged file, which are raised as a DataError
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff(file: Path | BytesIO, where: str, number: int | None = None) -> Stored:
    """The pixels of one page of a TIFF, upright, black as 0. `where` names the file in messages.

    `number` is the page, from 0; None: the file must have one page. Raises DataError for several pages where one was
    expected, a page that is not there, truncated or absurdly large files, and for channels that are neither grey,
    colour nor alpha; decoder errors pass through.
    """
    with tifffile.TiffFile(file) as opened:
        pages = _images(opened, where)
        depth = int(getattr(pages[0], "imagedepth", 1))
        if depth > 1 or (number is None and len(pages) > 1):
            raise DataError(
                f"{where}: {max(len(pages), depth)} pages, expected one image; use --layout oct for the slices of an "
                "OCT volume, or save the pages as single files"
            )
        if number is not None and number >= len(pages):
            raise DataError(f"{where}: page {number} (from 0) of {len(pages)}: the file has changed, open it again")
        page = pages[number or 0]
        _check_size(where, page, opened.filehandle.size)
        _check_channels(where, page)
        if _kind(page.photometric) == "YCBCR":  # tifffile would hand out Y, Cb and Cr
            return _by_pillow(file, where, page)
        try:
            pixels = page.asarray()
        except Exception as error:  # of several types
            if "imagecodecs" not in str(error):
                raise
            return _by_pillow(file, where, page)
    orientation = _orientation(page)
    pixels, alpha, premultiplied = _split(where, pixels, page)
    pixels = upright(_black_is_zero(where, pixels, page), orientation)
    return Stored(pixels, None if alpha is None else upright(alpha, orientation), premultiplied)


def page_shapes(path: Path) -> list[tuple[int, int]]:
    """Height and width of each page as shown, from the headers alone; decoder errors pass through."""
    with tifffile.TiffFile(path) as file:
        pages = _images(file, str(path))
        return [upright_shape(int(page.imagelength), int(page.imagewidth), _orientation(page)) for page in pages]


def _images(file: tifffile.TiffFile, where: str) -> list[Any]:
    pages: list[Any] = []
    seen: set[int] = set()
    for page in file.pages:
        if page.offset in seen:  # a damaged file whose pages lead back to one before
            break
        seen.add(page.offset)
        pages.append(page)
        if len(pages) > _MOST_PAGES:
            raise DataError(f"{where}: more than {_MOST_PAGES} pages; is the file damaged? Save the pages you need")
    return [page for page in pages if not getattr(page, "is_reduced", False)] or pages[:1]  # thumbnails do not count


def _orientation(page: Any) -> int:
    tag = page.tags.get(ORIENTATION) if hasattr(page, "tags") else page.keyframe.tags.get(ORIENTATION)
    return known_orientation(int(tag.value)) if tag is not None and isinstance(tag.value, int) else 1


def _check_size(where: str, page: Any, size: int) -> None:
    """Before memory is taken: the header may claim more than the file holds."""
    width, height = int(page.imagewidth), int(page.imagelength)
    kind = _kind(page.compression)
    check_claim(where, width, height, size, _PIXELS_A_BYTE.get(kind))
    end = max((start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)
    row = math.ceil(width * int(page.samplesperpixel) * int(page.bitspersample) / 8)
    wanted, there = row * height, sum(page.databytecounts)
    if end > size or (kind == "NONE" and wanted > there):
        raise DataError(f"{where}: truncated, has {min(size, there)} bytes of {max(end, wanted)}; copy the file again")


def _check_channels(where: str, page: Any) -> None:
    """Refuse what is no picture in grey or colour, rather than show some of its channels as red, green and blue."""
    name, samples, extra = _kind(page.photometric), int(page.samplesperpixel), _extra(page)
    if name not in _COLOURS and name != "YCBCR":
        raise DataError(f"{where}: colours of kind {name}; save the image in grey or RGB")
    inks = page.tags.get(332) if hasattr(page, "tags") else None
    if name == "SEPARATED" and inks is not None and int(inks.value) != 1:
        raise DataError(f"{where}: inks that are not cyan, magenta, yellow and black; save the image as RGB")
    ignored = name == "RGB" and samples == 4  # a mask or nothing: viewers show the three colours
    colours = samples - sum(kind in _ALPHA for kind in extra) if not ignored else 3
    if name != "YCBCR" and (colours not in _COLOURS[name] or len([kind for kind in extra if kind in _ALPHA]) > 1):
        raise DataError(f"{where}: {samples} channels ({name}), expected grey or RGB; save the ones to look at as RGB")


def _kind(value: Any) -> str:
    """The name of a tag's value; where a file leaves the tag out or the value is unknown it is a number."""
    return str(getattr(value, "name", "NONE" if value == 1 else value))


def _extra(page: Any) -> list[int]:
    return [int(kind) for kind in page.extrasamples]


def _split(where: str, pixels: npt.NDArray[Any], page: Any) -> Stored:
    """Colours and alpha of a page as decoded, (H, W), (H, W, S) or (S, H, W)."""
    axes = str(page.axes)
    if _kind(page.photometric) == "PALETTE" and axes == "YX":
        colours = (np.asarray(page.colormap) >> 8).astype(np.uint8)  # (3, entries), 16 bits each
        if (colours == colours[:1]).all():
            return Stored(np.asarray(colours[0][pixels]))
        return Stored(np.moveaxis(colours[:, pixels], 0, 2))
    if axes == "SYX":
        pixels, axes = np.moveaxis(pixels, 0, 2), "YXS"
    if axes == "YX":
        return Stored(pixels)
    if axes != "YXS" or _kind(page.photometric) == "PALETTE":
        raise DataError(f"{where}: axes {axes} of shape {pixels.shape}, expected height, width and colours")
    extra, samples = _extra(page), pixels.shape[2]
    places = {samples - len(extra) + place: kind for place, kind in enumerate(extra) if kind in _ALPHA}
    at, kind = next(iter(places.items()), (None, 0))
    alpha = None if at is None else pixels[:, :, at]
    first = next(count for count in (4, 3, 1) if count in _COLOURS[_kind(page.photometric)] and count <= samples)
    if _kind(page.photometric) == "MINISBLACK" and samples - len(places) < 3:
        first = 1
    colours = pixels[:, :, :first]
    if first == 4:
        colours = _from_cmyk(colours)
    return Stored(colours[:, :, 0] if first == 1 else colours, alpha, _ALPHA.get(kind, False))


def _from_cmyk(inks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    full = float(np.iinfo(inks.dtype).max)
    light = (full - inks[:, :, :3]) * ((full - inks[:, :, 3:4]) / full)
    return np.rint(light).astype(inks.dtype)


def _black_is_zero(where: str, pixels: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    if _kind(page.photometric) != "MINISWHITE":
        return pixels
    if pixels.dtype.kind == "b":
        return ~pixels
    if pixels.dtype.kind != "u":
        raise DataError(f"{where}: {pixels.dtype} pixels whose smallest is white, by their tag; save them with black 0")
    white = 2 ** int(page.bitspersample) - 1
    return np.asarray((white - pixels.astype(np.int64)).astype(pixels.dtype))


def _by_pillow(file: Path | BytesIO, where: str, page: Any) -> Stored:
    if page.bitspersample > 8 and page.samplesperpixel > 1:
        raise DataError(
            f"{where}: {page.bitspersample}-bit colour in {_kind(page.compression)} compression needs the package "
            "imagecodecs: pip install imagecodecs, or save the file with deflate compression"
        )
    if _kind(page.compression) == "NONE" and _orientation(page) > 4:  # Pillow 13 takes its columns for rows then
        raise DataError(f"{where}: a turned {_kind(page.photometric)} TIFF without compression; save it upright")
    if isinstance(file, BytesIO):
        file.seek(0)
    with Image.open(file, formats=("TIFF",)) as image:
        image.seek(page.index)
        pixels, alpha, premultiplied = pillow_pixels(image, where)
        orientation = orientation_of(image)  # Pillow turns a TIFF by itself, and drops the tag
    # Pillow inverts 8-bit "white is zero" by itself, and leaves 16-bit as it is
    pixels = _black_is_zero(where, pixels, page) if pixels.dtype == np.uint16 else pixels
    return Stored(upright(pixels, orientation), None if alpha is None else upright(alpha, orientation), premultiplied)
