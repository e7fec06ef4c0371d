"""Contact sheets: many scans with the lines that were found in them, or many flattened scans, on one page."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from anotwin.domains.oct.report.bscan import LINES, lined
from anotwin.report.canvas import FONT, plain, shorten
from anotwin.report.files import disk_errors
from anotwin.report.overlay import UInt8, display_window, save_png, to_display

if TYPE_CHECKING:
    from anotwin.domains.oct.flatten import Flat
    from anotwin.domains.oct.layers.find import Retina
    from anotwin.records import Array

TILE = (384, 512)  # rows, columns of a scan on its sheet, whatever its own: all are compared side by side
ACROSS, DOWN = 3, 4  # scans on a sheet
BANDS = 12  # bands on a sheet, one below the other, pixel for pixel
_GAP = 3  # pixels around a picture
_PAPER = 255
_SIZE, _LINE = 12, 15  # pixels: of letters, and from line to line
_LETTER = 6.6  # pixels that a letter takes on average
KEYS = {  # the words above a page, and their colours
    "scans": {name: colour for name, (colour, _) in LINES.values()} | {"(behind the name: quality, 0 to 1)": "#FFFFFF"},
    "bands": {"flattened along the undisturbed RPE": "#FFFFFF", "tinted: not valid, not used": "#8CBFFF"},
}
_INVALID = np.array([0.55, 0.75, 1.0])  # what of red, green and blue is left where a band is not valid


@dataclass
class Sheets:
    """Pages ``scans-01.png`` and so on, each written as soon as it is full; raises DataError where the disk refuses."""

    folder: Path
    kind: Literal["scans", "bands"]
    _tiles: list[UInt8] = field(default_factory=list)
    _paths: list[Path] = field(default_factory=list)

    def add_scan(self, pixels: Array | None, retina: Retina | None, name: str) -> None:
        """A scan with its lines, stretched to `TILE`, below its name and, where it has none, the reason."""
        picture = np.zeros((*TILE, 3), np.uint8) if pixels is None else _stretched(pixels, retina)
        self._add(_labelled(picture, name))

    def add_band(self, flat: Flat, name: str) -> None:
        """A flattened scan; what is not valid is tinted blue."""
        picture = to_display(flat.pixels, -1.0, 1.0)
        picture[~flat.valid] = (picture[~flat.valid] * _INVALID).astype(np.uint8)
        self._add(_labelled(picture, name))

    def finish(self) -> list[Path]:
        """Write the last page and remove those that an earlier, longer run left; the paths of all pages."""
        if self._tiles:
            self._write()
        with disk_errors(self.folder):
            later = self._path(len(self._paths) + 1)
            while later.exists():
                later.unlink()
                later = self._path(int(later.stem.rpartition("-")[2]) + 1)
        return list(self._paths)

    def _add(self, tile: UInt8) -> None:
        self._tiles.append(tile)
        if len(self._tiles) == (ACROSS * DOWN if self.kind == "scans" else BANDS):
            self._write()

    def _write(self) -> None:
        across = min(ACROSS, len(self._tiles)) if self.kind == "scans" else 1
        height, width = (max(tile.shape[side] for tile in self._tiles) + _GAP for side in (0, 1))
        rows = -(-len(self._tiles) // across)
        key = _key(KEYS[self.kind], across * width + _GAP)
        page = np.full((rows * height + _GAP, key.shape[1], 3), _PAPER, np.uint8)
        for place, tile in enumerate(self._tiles):
            bottom, left = (place // across + 1) * height, place % across * width + _GAP  # captions differ in height
            page[bottom - tile.shape[0] : bottom, left : left + tile.shape[1]] = tile
        self._tiles.clear()
        self._paths.append(save_png(np.concatenate([key, page]), self._path(len(self._paths) + 1)))

    def _path(self, number: int) -> Path:
        return self.folder / f"{self.kind}-{number:02d}.png"


def _stretched(pixels: Array, retina: Retina | None) -> UInt8:
    """A scan of `TILE` with its lines, which are drawn afterwards: resizing would remove lines a pixel wide."""
    height, width = pixels.shape[:2]
    picture = Image.fromarray(to_display(pixels, *display_window(pixels))).resize(TILE[::-1], Image.Resampling.BOX)
    small = np.array(picture)
    if retina is None:
        return small
    places = (np.arange(TILE[1]) + 0.5) * width / TILE[1] - 0.5
    lines = {
        name: (np.interp(places, np.arange(width), getattr(retina, name)) + 0.5) * TILE[0] / height - 0.5
        for name in ("ilm", "rpe", "baseline")
    }
    valid = retina.valid[np.clip(np.rint(places).astype(int), 0, width - 1)]
    return lined(small, replace(retina, valid=valid, **lines))


def _key(words: dict[str, str], least: int) -> UInt8:
    """What the colours of a page mean: words in these colours on a black strip, at least so wide."""
    width = 4 + sum(int(_font().getlength(text)) + 17 for text in words)
    strip = Image.new("RGB", (max(width, least), _LINE + 5))
    left = 4.0
    for text, colour in words.items():
        ImageDraw.Draw(strip).text((left, 2), text, fill=colour, font=_font())
        left += _font().getlength(text) + 16
    return np.asarray(strip)


def _labelled(picture: UInt8, text: str) -> UInt8:
    """A picture with words above it, in as many lines as they take."""
    room = max(int(picture.shape[1] / _LETTER), 20)
    lines = [
        shorten(plain(line), room) for part in text.split("\n") for line in textwrap.wrap(shorten(part, 6 * room), room)
    ]
    head = np.full((len(lines) * _LINE + 2, picture.shape[1], 3), _PAPER, np.uint8)
    image = Image.fromarray(np.concatenate([head, picture]))
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((1, number * _LINE), line, fill=(0, 0, 0), font=_font())
    return np.asarray(image)


@cache
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(FONT), _SIZE)
