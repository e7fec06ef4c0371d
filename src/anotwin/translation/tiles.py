"""An image of any size through a network, tile by tile, in the pixels of the file.

A pixel of the output depends on `reach` pixels of the input to each side and on nothing else, because no layer takes
means over the whole image. So the inner part of a tile that overlaps its neighbours by the reach is what one pass over
the whole image would give, to the rounding of floats: there is no seam, and nothing to blend. Memory holds the image,
its translation and one tile; the overlap costs at most four times the work, for a tile is 4 reaches long or more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from anotwin.errors import DataError
from anotwin.prepare.resize import check_image, model_values, native_values
from anotwin.records import Array, ImageSpec
from anotwin.seeding import fingerprint
from anotwin.translation.examples import mirrored
from anotwin.translation.protocol import Direction, TranslationMethod

FAR = 2**20  # pixels
INNER = 256  # pixels of the input, at least, that a tile is for
_TYPES: dict[str, type[np.generic]] = {"uint8": np.uint8, "uint16": np.uint16, "float32": np.float32}


@dataclass(frozen=True)
class _Span:
    """One tile along one axis."""

    begin: int
    end: int  # of the tile
    first: int
    last: int  # of its inner part


def translate_native(method: TranslationMethod, pixels: Array, direction: Direction, seed: int = 0) -> Array:
    """A native image (H, W) or (H, W, 3) as one of the other domain, `factor` times as large.

    Its type is that of the image where both domains have one type, else that of the other domain. Grey stays grey where
    both domains have as many channels; in a model of colour and grey the translation is as the other domain is.

    Raises:
        DataError: values whose unit is unknown, not finite, or another shape or type (one line, without a name).
    """
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3) or 0 in pixels.shape:
        raise DataError(f"pixels of shape {pixels.shape}, expected (height, width) or (height, width, 3)")
    spec, forward = method.spec, direction == "AtoB"
    source, target = (spec.a, spec.b) if forward else (spec.b, spec.a)
    factor = spec.factor if forward else 1
    check_image(pixels, source)
    height, width = pixels.shape[:2]
    colour = target.channels == 3 and (pixels.ndim == 3 or source.channels == 1)
    shape = (factor * height, factor * width, *((3,) if colour else ()))
    top, left = place_of(pixels)
    found = np.empty(shape, _type_of(pixels, source, target))
    for down in spans(height, source.size, method.reach, method.stride):
        rows = mirrored(height, down.begin, down.end - down.begin)
        for across in spans(width, source.size, method.reach, method.stride):
            columns = mirrored(width, across.begin, across.end - across.begin)
            tile = model_values(pixels[np.ix_(rows, columns)][None], source)  # (1, C, h, w)
            made = method.translate(tile, direction, seed, (top + down.begin, left + across.begin))[0].float().cpu()
            inner = [
                slice(factor * (span.first - span.begin), factor * (span.last - span.begin)) for span in (down, across)
            ]
            place = tuple(slice(factor * span.first, factor * span.last) for span in (down, across))
            found[place] = native_values(made[:, inner[0], inner[1]], target, found[place])
    return found


def place_of(pixels: Array) -> tuple[int, int]:
    """Where an image begins in the plane of a seed's noise: a place of its own, or all slices had the same grain."""
    own = fingerprint(pixels)
    return own % FAR, own // FAR % FAR


def spans(side: int, least: int, reach: int, stride: int) -> Iterator[_Span]:
    """The tiles along a side of an image, which cover it and begin and end at multiples of `stride`.

    `least`: a smaller image is one tile of that many pixels, mirrored, as in training.

    >>> [(span.begin, span.end, span.first, span.last) for span in spans(600, 64, 40, 16)]
    [(0, 304, 0, 256), (208, 560, 256, 512), (464, 608, 512, 600)]
    """
    padded = _up(max(side, least), stride)
    overlap, inner = _up(reach, stride), _up(max(INNER, 2 * reach), stride)
    for first in range(0, side, inner):
        last = min(first + inner, side)
        yield _Span(max(first - overlap, 0), min(first + inner + overlap, padded), first, last)


def _up(value: int, step: int) -> int:
    """The next multiple of `step`."""
    return -(-value // step) * step


def _type_of(pixels: Array, source: ImageSpec, target: ImageSpec) -> type[np.generic]:
    own = pixels.dtype.type
    floats = target.pixel_type == "float32" and (target.black, target.white) != (0.0, 1.0)
    if source.pixel_type != target.pixel_type or (floats and own != np.float32) or target.classes:
        return _TYPES[target.pixel_type]
    return own
