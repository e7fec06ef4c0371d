"""Images of any sizes side by side, each with a few words: what a person looks through."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from anotwin.report.canvas import FONT, plain, shorten
from anotwin.report.overlay import UInt8, display_window, save_png, to_display
from anotwin.report.text import printable

if TYPE_CHECKING:
    from anotwin.records import Array

SIDE, ACROSS = 180, 5  # pixels of a picture's longer side; pictures in a row
_GAP, _SIZE, _LINE = 6, 11, 14  # pixels
_LETTER = 6.2  # pixels that a letter takes on average


def thumbnail(pixels: Array) -> UInt8:
    """Native pixels (H, W) or (H, W, 3) as a picture (h, w, 3) of at most 180 pixels, in the aspect of the image."""
    shown = Image.fromarray(to_display(pixels, *display_window(pixels)))
    factor = SIDE / max(shown.size)
    size = max(round(shown.width * factor), 1), max(round(shown.height * factor), 1)
    how = Image.Resampling.BOX if factor < 1 else Image.Resampling.NEAREST
    return np.asarray(shown.resize(size, how))


def save_thumbnails(pictures: Sequence[tuple[UInt8, Sequence[str]]], path: str | Path, columns: int = ACROSS) -> Path:
    """Save pictures with the lines below each, row by row; raises DataError where the disk refuses."""
    lines = max(len(words) for _, words in pictures)
    wide, high = SIDE + _GAP, SIDE + _GAP + lines * _LINE
    across = min(columns, len(pictures))
    page = Image.new("RGB", (across * wide + _GAP, -(-len(pictures) // across) * high + _GAP), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.truetype(findfont(FONT), _SIZE)
    for place, (picture, words) in enumerate(pictures):
        left, top = place % across * wide + _GAP, place // across * high + _GAP
        page.paste(Image.fromarray(picture), (left, top + SIDE - picture.shape[0]))
        for number, text in enumerate(words):
            said = shorten(plain(printable(text)), int(SIDE / _LETTER))
            pen.text((left, top + SIDE + 1 + number * _LINE), said, fill=(0, 0, 0), font=font)
    return save_png(np.asarray(page), path)
