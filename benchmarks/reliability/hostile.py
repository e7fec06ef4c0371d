"""Files that are not what they claim, among good ones: scored, and trained on.

What survives: the good images get the rows that they get alone, and each hostile file a row with a score or an error on
one line; nothing ends the run. A manifest or a name that cannot be used is refused on one line.
"""

from __future__ import annotations

import csv
import io
import math
import os
import shutil
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from anotwin.data.synthetic import textured_discs
from benchmarks.reliability.commands import run
from benchmarks.reliability.kills import Counted, sets, trained, write_images

GOOD = 4
LONGEST = 120.0  # seconds until a run is taken for one that hangs, and killed


def hostile(work: Path, most: int) -> Iterator[Counted]:
    """Up to `most` kinds of file, of manifest and of name, each in a folder of its own beside good images."""
    data = write_images(work / "data")
    model = trained(data, work / "model")
    yield _scored(model, work, dict(list(FILES.items())[:most]), "hostile file")
    yield _scored(model, work, dict(list(_names().items())[:most]), "hostile name")
    yield _scored(model, work, dict(list(MANIFESTS.items())[:most]), "hostile manifest", refusable=True)
    yield _trained_on(work, dict(list(FILES.items())[:most]))


Write = Callable[[Path], None]  # writes one hostile thing into a folder


def _scored(model: Path, work: Path, writers: dict[str, Write], kind: str, refusable: bool = False) -> Counted:
    folder, out, counted = work / "queries", work / "out", Counted(f"score beside a {kind}")
    _good(folder)
    run(["score", model, folder, "--out", out])
    alone = _rows(out)
    for name, write in writers.items():
        _good(folder)
        shutil.rmtree(out, ignore_errors=True)
        write(folder)
        outcome = run(["score", model, folder, "--out", out], kill_after=LONGEST)
        rows = _rows(out)
        same = outcome.code == 0 and all(rows.get(image) == row for image, row in alone.items())
        named = all(math.isfinite(float(row["score"])) != bool(row["error"]) for row in rows.values())
        counted.add(name, outcome, (same and named) or (refusable and outcome.refused))
    return counted


def _trained_on(work: Path, writers: dict[str, Write]) -> Counted:
    """All hostile files at once among normals: what can be used is, the others are said."""
    folder, counted = work / "normals", Counted("train on normals with hostile files among them")
    shutil.rmtree(folder, ignore_errors=True)
    write_images(folder)
    for number, write in enumerate(writers.values()):
        (folder / f"train/good/{number:03d}").mkdir()
        write(folder / f"train/good/{number:03d}")
    outcome = run(["train", folder, "--out", work / "trained", *sets("data.channels=1")])
    counted.add("all", outcome, outcome.code == 0)
    return counted


def _good(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for number, image in enumerate(textured_discs(GOOD, 16, seed=5)[0]):
        Image.fromarray(image).save(folder / f"good{number}.png")


def _rows(out: Path) -> dict[str, dict[str, str]]:
    path = out / "scores.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return {row["image"]: row for row in csv.DictReader(file)}


# -- files -------------------------------------------------------------------------------------------------------------


def _image(size: int = 16) -> np.ndarray:
    pixels: np.ndarray = textured_discs(1, size, seed=9)[0][0]
    return pixels


def _encoded(image: Image.Image, kind: str, **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **more)
    return file.getvalue()


def _claims(width: int, height: int) -> bytes:
    """A small JPEG whose header claims another size."""
    data = bytearray(_encoded(Image.fromarray(_image()), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    struct.pack_into(">HH", data, place, height, width)
    return bytes(data)


def _png_bomb(side: int) -> bytes:
    """Black pixels, a thousand times smaller than they claim."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    line = bytes(side + 1)
    rows = b"".join(packer.compress(line) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _text_bomb() -> bytes:
    told = PngImagePlugin.PngInfo()
    told.add_text("Comment", "a" * 50_000_000, zip=True)
    return _encoded(Image.fromarray(_image()), "PNG", pnginfo=told)


def _tiff(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels)
    return file.getvalue()


def _animation() -> bytes:
    frames = [Image.fromarray(_image()), Image.fromarray(255 - _image())]
    return _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def _bytes(name: str, data: Callable[[], bytes]) -> Write:
    def write(folder: Path) -> None:
        path = folder / name  # "[/]" is a folder and a file
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data())

    return write


def _link(name: str, target: str) -> Write:
    return lambda folder: (folder / name).symlink_to(target)


def _colour(side: int = 16) -> np.ndarray:
    return np.dstack([_image(side)] * 3)


FILES: dict[str, Write] = {
    "empty": _bytes("x.png", lambda: b""),
    "text": _bytes("x.png", lambda: b"not an image\n" * 100),
    "truncated PNG": _bytes("x.png", lambda: _encoded(Image.fromarray(_image(64)), "PNG")[:400]),
    "truncated JPEG": _bytes("x.jpg", lambda: _encoded(Image.fromarray(_image(64)), "JPEG")[:300]),
    "JPEG that claims 11000 x 11000": _bytes("x.jpg", lambda: _claims(11000, 11000)),
    "JPEG that claims 65000 x 65000": _bytes("x.jpg", lambda: _claims(65000, 65000)),
    "PNG of 9000 x 9000 black pixels": _bytes("x.png", lambda: _png_bomb(9000)),
    "PNG with 50 MB of text": _bytes("x.png", _text_bomb),
    "animation": _bytes("x.gif", _animation),
    "TIFF of 5 channels": _bytes("x.tif", lambda: _tiff(np.zeros((16, 16, 5), np.uint8))),
    "TIFF with NaN": _bytes("x.tif", lambda: _tiff(np.full((16, 16), np.nan, np.float32))),
    "TIFF with negative values": _bytes("x.tif", lambda: _tiff(np.full((16, 16), -5, np.int16))),
    "TIFF of complex numbers": _bytes("x.tif", lambda: _tiff(np.zeros((16, 16), np.complex64))),
    "TIFF of 64-bit integers": _bytes("x.tif", lambda: _tiff(np.full((16, 16), 2**40, np.int64))),
    "truncated TIFF": _bytes("x.tif", lambda: _tiff(np.zeros((64, 64), np.uint16))[:300]),
    "TIFF of 16-bit colour": _bytes("x.tif", lambda: _tiff(_colour().astype(np.uint16) * 200)),
    "one pixel": _bytes("x.png", lambda: _encoded(Image.fromarray(np.zeros((1, 1), np.uint8)), "PNG")),
    "a line of 20000 pixels": _bytes("x.png", lambda: _encoded(Image.fromarray(np.zeros((1, 20000), np.uint8)), "PNG")),
    "CMYK JPEG": _bytes("x.jpg", lambda: _encoded(Image.fromarray(_colour()).convert("CMYK"), "JPEG")),
    "palette": _bytes("x.png", lambda: _encoded(Image.fromarray(_image()).convert("P"), "PNG")),
    "transparency": _bytes("x.png", lambda: _encoded(Image.fromarray(_colour()).convert("RGBA"), "PNG")),
    "1 bit": _bytes("x.png", lambda: _encoded(Image.fromarray(_image()).convert("1"), "PNG")),
    "EPS, which Pillow gives to another program": _bytes("x.png", lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n"),
    "PDF": _bytes("x.jpg", lambda: b"%PDF-1.7\n"),
    "pickle": _bytes("x.png", lambda: b"\x80\x04cos\nsystem\n(S'echo'\ntR."),
    "dangling link": _link("x.png", "nowhere.png"),
    "link to itself": _link("x.png", "x.png"),
    "folder that links to its parent": _link("loop", "."),
    "folder named like an image": lambda folder: (folder / "x.png").mkdir(),
    "unreadable pipe": lambda folder: os.mkfifo(folder / "x.png"),
}


def _names() -> dict[str, Write]:
    names = [
        "[bold]x[", "[/]", "\x1b[31mred", "=1+1", "+x", "-x", "@x", "a\nb", "a\rb", "a,b", 'a"b', " x ", "x;y", "$x$",
        "$$", "\u202egnp", "\u200b", ":smile:", "%s", "{}", "x" * 200, "..x", "-", "--help", "#", "é", "e\u0301",
        "\udcff", "'x", "\t=x", "CON", "nul", "x.png", "<b>", "&amp;", "\\", "~", "*", "?", "|",
    ]  # fmt: skip
    return {ascii(name): _bytes(f"{name}.png", lambda: _encoded(Image.fromarray(_image()), "PNG")) for name in names}


HEAD = "file,label\n"
_LINES = "".join(f"good{number}.png,good\n" for number in range(GOOD))
MANIFESTS: dict[str, Write] = {
    name: _bytes("manifest.csv", lambda data=data: data)  # type: ignore[misc]
    for name, data in {
        "empty": b"",
        "no columns": b"\n\n",
        "binary": bytes(range(256)),
        "NUL": b"file\0,label\n",
        "UTF-16": (HEAD + _LINES).encode("utf-16"),
        "a byte order mark": ("\ufeff" + HEAD + _LINES).encode(),
        "semicolons": (HEAD + _LINES).replace(",", ";").encode(),
        "tabs": (HEAD + _LINES).replace(",", "\t").encode(),
        "other case": ("File,Label\n" + _LINES).encode(),
        "a file twice": (HEAD + _LINES + "good0.png,bad\n").encode(),
        "a file that is not there": (HEAD + _LINES + "nowhere.png,good\n").encode(),
        "a path out of the folder": (HEAD + _LINES + "../x.png,good\n").encode(),
        "an absolute path": (HEAD + _LINES + "/x.png,good\n").encode(),
        "a quote that never ends": (HEAD + '"good0.png,good\n').encode(),
        "a cell of 200,000 characters": (HEAD + "good0.png," + "a" * 200_000 + "\n").encode(),
        "10,000 columns": ("file," + ",".join(f"c{k}" for k in range(10_000)) + "\n" + _LINES).encode(),
        "a column twice": ("file,label,label\n" + _LINES).encode(),
        "formulas": (HEAD + _LINES.replace(",good", ",=1+1")).encode(),
        "markup": (HEAD + _LINES.replace(",good", ",[/]")).encode(),
        "carriage returns alone": (HEAD + _LINES).replace("\n", "\r").encode(),
        "more cells than columns": (HEAD + _LINES.replace("\n", ",1,2,3\n")).encode(),
        "fewer cells than columns": ("file,label,group,split\n" + _LINES).encode(),
    }.items()
}
