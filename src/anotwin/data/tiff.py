"""TIFF at full depth: 8 and 16 bits, float, grey and colour, one page or the pages of a volume.

tifffile keeps the depth. Some compressions (LZW, JPEG) it leaves to the package imagecodecs; without it Pillow reads
those files, unless that would lose depth.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from anotwin.data.modes import pillow_pixels
from anotwin.errors import DataError

TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# tifffile also logs the errors of a damaged file, which are raised as a DataError
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def read_tiff(path: Path, number: int | None = None) -> npt.NDArray[Any]:
    """The pixels of one page of a TIFF as stored, black as 0: (H, W) or (H, W, 3), alpha dropped.

    `number` is the page, from 0; None: the file must have one page. Raises DataError for several pages where one was
    expected, a page that is not there, truncated or absurdly large files; decoder errors pass through.
    """
    with tifffile.TiffFile(path) as file:
        pages = _images(file)
        depth = int(getattr(pages[0], "imagedepth", 1))
        if depth > 1 or (number is None and len(pages) > 1):
            raise DataError(
                f"{path}: {max(len(pages), depth)} pages, expected one image; use --layout oct for the slices of an "
                "OCT volume, or save the pages as single files"
            )
        if number is not None and number >= len(pages):
            raise DataError(f"{path}: page {number} (from 0) of {len(pages)}: the file has changed, open it again")
        page = pages[number or 0]
        _check_size(path, page)
        try:
            pixels = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return _by_pillow(path, page)
        return _black_is_zero(_channels_last(path, pixels, page), page)


def page_shapes(path: Path) -> list[tuple[int, int]]:
    """Height and width of each page, from the headers alone; decoder errors pass through."""
    with tifffile.TiffFile(path) as file:
        return [(int(page.imagelength), int(page.imagewidth)) for page in _images(file)]


def _images(file: tifffile.TiffFile) -> list[Any]:
    pages: list[Any] = list(file.pages)
    return [page for page in pages if not getattr(page, "is_reduced", False)] or pages[:1]  # thumbnails do not count


def _check_size(path: Path, page: Any) -> None:
    # before anything is allocated: the header may claim more than the file holds
    limit = 2 * (Image.MAX_IMAGE_PIXELS or 2**27)
    if page.imagelength * page.imagewidth > limit:
        raise DataError(f"{path}: {page.imagewidth} x {page.imagelength} pixels, at most {limit} can be read; tile it")
    size = path.stat().st_size
    end = max((start + count for start, count in zip(page.dataoffsets, page.databytecounts, strict=False)), default=0)
    if end > size:
        raise DataError(f"{path}: truncated, has {size} bytes of {end}; copy the file again")


def _channels_last(path: Path, pixels: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    axes = str(page.axes)
    if page.photometric.name == "PALETTE":
        colours = (np.asarray(page.colormap) >> 8).astype(np.uint8)  # (3, entries), 16 bits each
        if (colours == colours[:1]).all():
            return np.asarray(colours[0][pixels])
        return np.moveaxis(colours[:, pixels], 0, 2)
    if axes == "SYX":
        pixels, axes = np.moveaxis(pixels, 0, 2), "YXS"
    if axes == "YX":
        return pixels
    if axes != "YXS":
        raise DataError(f"{path}: axes {axes} of shape {pixels.shape}, expected height, width and colours")
    if page.photometric.name == "SEPARATED" and pixels.shape[2] >= 4:
        return _from_cmyk(pixels)
    return pixels[:, :, 0] if pixels.shape[2] < 3 else pixels[:, :, :3]


def _from_cmyk(inks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    full = float(np.iinfo(inks.dtype).max)
    light = (full - inks[:, :, :3]) * ((full - inks[:, :, 3:4]) / full)
    return np.rint(light).astype(inks.dtype)


def _black_is_zero(pixels: npt.NDArray[Any], page: Any) -> npt.NDArray[Any]:
    if page.photometric.name != "MINISWHITE" or pixels.dtype.kind not in "bu":
        return pixels
    if pixels.dtype.kind == "b":
        return ~pixels
    white = 2 ** int(page.bitspersample) - 1
    return np.asarray((white - pixels.astype(np.int64)).astype(pixels.dtype))


def _by_pillow(path: Path, page: Any) -> npt.NDArray[Any]:
    if page.bitspersample > 8 and page.samplesperpixel > 1:
        raise DataError(
            f"{path}: {page.bitspersample}-bit colour in {page.compression.name} compression needs the package "
            "imagecodecs: pip install imagecodecs, or save the file with deflate compression"
        )
    with Image.open(path, formats=("TIFF",)) as image:
        image.load()
        pixels = pillow_pixels(image)
    # Pillow inverts 8-bit "white is zero" by itself, and leaves 16-bit as it is
    return _black_is_zero(pixels, page) if pixels.dtype == np.uint16 else pixels
