"""Pictures by hand, with tags where files have them, and what they are to look like."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anotwin.data.pixels import read_pixels
from anotwin.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 13), dtype=np.uint8)
RGB = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
DEEP = RNG.integers(0, 65536, (9, 13, 3), dtype=np.uint16)
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="%d"/></rdf:RDF></x:xmpmeta>'
)


def turned(pixels: Any, orientation: int) -> Any:
    """Upright pixels by the definition of the tag, in numpy's words."""
    ways: dict[int, Any] = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: np.swapaxes(a, 0, 1),
        6: lambda a: np.rot90(a, -1),  # a quarter clockwise
        7: lambda a: np.rot90(np.swapaxes(a, 0, 1), 2),
        8: np.rot90,
    }
    return ways[orientation](pixels)


def exif(orientation: Any, kind: int = 3) -> bytes:
    """An EXIF block by hand, big-endian, with that one tag."""
    entry = struct.pack(">HHIHH", 274, kind, 1, orientation, 0)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(path: Path, colour: int, depth: int, values: Any, before: bytes = b"", after: bytes = b"") -> Path:
    """A PNG by hand: `values` (H, W) or (H, W, channels) of samples."""
    height, width = values.shape[:2]
    flat = values.reshape(height, -1)
    if depth == 16:
        rows = [row.astype(">u2").tobytes() for row in flat]
    else:
        bits = (flat[:, :, None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = [np.packbits(row.ravel()).tobytes() for row in bits.astype(np.uint8)]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + before + data + after + chunk(b"IEND", b""))
    return path


def same(got: Any, expected: Any) -> None:
    assert got.dtype == expected.dtype
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, expected)


def refused(path: Path, *words: str) -> None:
    with pytest.raises(DataError) as error:
        read_pixels(path)
    assert "\n" not in str(error.value)
    for word in (str(path), *words):
        assert word in str(error.value)
