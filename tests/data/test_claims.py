"""What headers claim: files of a few bytes that say they are huge are rows with an error, and cost no memory."""

from __future__ import annotations

import io
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from anotwin.data.idx import read_idx
from anotwin.data.pixels import read_pixels
from anotwin.data.tiff import page_shapes
from anotwin.errors import DataError
from anotwin.files import parse_json

SIDE = 11000


def refused(path: Path, *words: str) -> None:
    began = time.perf_counter()
    with pytest.raises(DataError) as error:
        read_pixels(path)
    message = str(error.value)
    assert "\n" not in message
    for word in (str(path), *words):
        assert word in message
    assert time.perf_counter() - began < 5


def jpeg(path: Path, height: int, width: int, progressive: bool = False) -> Path:
    """A small JPEG whose frame header says something else."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(buffer, "JPEG", progressive=progressive)
    data = bytearray(buffer.getvalue())
    at = data.find(b"\xff\xc2" if progressive else b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    path.write_bytes(bytes(data))
    return path


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(path: Path, height: int, width: int, *more: bytes, data: bytes = b"\0" * 100) -> Path:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = head + b"".join(more) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_of_some_hundred_bytes_that_claims_121_million_pixels(tmp_path: Path, progressive: bool) -> None:
    path = jpeg(tmp_path / "a.jpg", SIDE, SIDE, progressive)
    assert path.stat().st_size < 700
    refused(path, "truncated", f"{SIDE} x {SIDE}")


def test_other_formats_that_claim_more_than_they_hold(tmp_path: Path) -> None:
    refused(png(tmp_path / "a.png", SIDE, SIDE), "truncated")
    for kind, magic in (("pgm", b"P5"), ("ppm", b"P6"), ("pbm.ppm", b"P4")):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(magic + b" 11000 11000 " + (b"" if magic == b"P4" else b"255 ") + b"\0" * 100)
        refused(path, "truncated")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "b.bmp")
    data = bytearray((tmp_path / "b.bmp").read_bytes())
    data[18:26] = struct.pack("<ii", SIDE, SIDE)
    (tmp_path / "b.bmp").write_bytes(bytes(data))
    refused(tmp_path / "b.bmp", "truncated")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "c.gif")
    data = bytearray((tmp_path / "c.gif").read_bytes())
    data[6:10] = struct.pack("<HH", SIDE, SIDE)
    (tmp_path / "c.gif").write_bytes(bytes(data))
    refused(tmp_path / "c.gif", "truncated")


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "jpeg"])
def test_tiff_that_claims_more_than_it_holds(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "a.tif"
    if compression in (None, "zlib"):
        tifffile.imwrite(path, np.zeros((16, 16), np.uint8), compression=compression)
    else:
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(path, compression=f"tiff_{compression}".replace(
            "tiff_packbits", "packbits").replace("tiff_jpeg", "jpeg"))  # fmt: skip
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for tag, kind in ((256, "I"), (257, "I")):
            entry = file.pages[0].tags[tag]
            width = 2 if entry.dtype == 3 else 4
            data[entry.valueoffset : entry.valueoffset + width] = struct.pack("<H" if width == 2 else f"<{kind}", SIDE)
    path.write_bytes(bytes(data))
    refused(path, "truncated")


def test_more_pixels_than_are_read(tmp_path: Path) -> None:
    refused(png(tmp_path / "a.png", 40000, 40000), "tile the image")
    refused(jpeg(tmp_path / "b.jpg", 65000, 65000), "tile the image")


def test_a_large_flat_picture_is_no_claim(tmp_path: Path) -> None:
    """The limits are those of the formats: what compresses best must pass."""
    flat = np.full((3000, 3000), 7, np.uint8)
    for suffix in (".png", ".jpg", ".gif", ".tif", ".bmp", ".webp"):
        image = Image.fromarray(flat)
        more = {".tif": {"compression": "tiff_lzw"}, ".jpg": {"progressive": True, "optimize": True, "quality": 1}}
        image.save(tmp_path / f"a{suffix}", **more.get(suffix, {}))
        assert read_pixels(tmp_path / f"a{suffix}").shape[:2] == (3000, 3000)
    one_bit = Image.fromarray(flat > 200)
    one_bit.save(tmp_path / "b.png", optimize=True)
    one_bit.save(tmp_path / "b.tif", compression="group4")
    assert read_pixels(tmp_path / "b.png").shape == read_pixels(tmp_path / "b.tif").shape == (3000, 3000)


def test_bombs_in_metadata_are_one_line(tmp_path: Path) -> None:
    bomb = zlib.compress(b"\0" * 50_000_000, 9)
    began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, head in ((b"zTXt", b"note\0\0"), (b"iCCP", b"profile\0\0"), (b"iTXt", b"note\0\1\0\0\0")):
        refused(png(tmp_path / "a.png", 10, 10, chunk(name, head + bomb), data=b"\0" * 110))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - began < 300_000  # kB


def test_a_tiff_of_very_many_pages_is_refused_in_time(tmp_path: Path) -> None:
    count, at = 9_000, 8
    tags = (256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (279, 1)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    size = 2 + len(entries) + 4
    number = struct.pack("<H", len(tags))
    pages = [number + entries + struct.pack("<I", 0 if i == count - 1 else 16 + (i + 1) * size) for i in range(count)]
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 16) + b"\0" * at + b"".join(pages))
    with pytest.raises(DataError, match="more than 8192 pages"):
        page_shapes(tmp_path / "a.tif")
    loop = number + entries + struct.pack("<I", 16)  # its next page is itself
    (tmp_path / "b.tif").write_bytes(b"II*\0" + struct.pack("<I", 16) + b"\0" * at + loop)
    assert read_pixels(tmp_path / "b.tif").shape == (1, 1)


def test_idx_with_absurd_sizes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(struct.pack(">4I", 0x803, 2**32 - 1, 2**32 - 1, 2**32 - 1) + b"\0" * 100)
    with pytest.raises(DataError, match="truncated"):
        read_idx(tmp_path / "a", 3)


def test_json_of_three_million_keys_is_refused_before_any_is_made() -> None:
    data = b"{" + b",".join(b'"k%d":0' % i for i in range(3_000_000)) + b"}"
    began = time.perf_counter()
    with pytest.raises(ValueError, match="more than 524288 keys"):
        parse_json(data)
    assert time.perf_counter() - began < 1
    with pytest.raises(ValueError, match="lists and objects"):
        parse_json(b"[" + b",".join([b"{}"] * 2_000_000) + b"]")


MEASURE = """
import resource, sys
import numpy as np
from anotwin.data.arrays import from_arrays
from anotwin.prepare.stream import stream
from anotwin.records import ImageSpec
import torch
torch.set_num_threads(1)
photo = np.add.outer(np.arange(2000) // 12, np.arange(3000) // 16).astype(np.uint8)

class Photos:  # each read makes a new image, as files do
    items, root, layout = from_arrays(np.zeros((8, 4, 4))).items, "photos", "array"
    def read(self, index):
        return np.repeat(photo[:, :, None], 3, 2)
    def read_mask(self, index):
        return None

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for batch in stream(Photos(), range(8), ImageSpec(3, 32), 64):
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_eight_photographs_wait_without_their_pixels() -> None:
    """18 MB each; before, all of them waited, and one was there in double twice: 322 MB, now 98."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200, done.stdout


def test_no_memory_is_the_row_of_one_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "a.png")

    def none_left(*_args: object) -> None:
        raise MemoryError

    monkeypatch.setattr("anotwin.data.pixels.pillow_pixels", none_left)
    refused(tmp_path / "a.png", "does not fit into memory")
