"""One frame of an annotated video: the frame with its heat and its boxes, its counterpart, and a bar with the score.

Colours are those of `report.overlay`, half as opaque and with an outline where heat is 1, so that what moves is seen
below them; from tables of 256 levels of heat, as a video has thousands of frames.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.colors import to_rgb
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from anotwin.domains.video.report.peaks import OUTLINE
from anotwin.domains.video.tracks import Box
from anotwin.records import Array
from anotwin.report.canvas import FONT, VERMILLION, plain, shorten
from anotwin.report.overlay import HEAT_FULL, UInt8, Window, display_window, heat_alpha, heat_rgb, to_display
from anotwin.report.text import printable, short

NARROWEST = 320  # pixels: of a picture with room for its bar; smaller frames are enlarged
PANELS = ("query", "counterpart")
_BAR, _ALARM, _EMPTY, _WORDS = "#262626", VERMILLION, "#5A5A5A", "#FFFFFF"
_GAUGE, _TRACK, _MARK = "#56B4E9", "#000000", "#FFFFFF"
_BETWEEN = 4  # pixels between two panels
_LEVELS = 255
_SHARE = 0.5  # of the opacity of `overlay`
_UNIT = round(_LEVELS / HEAT_FULL)  # level of heat 1
_FIRST = int(np.argmax(heat_alpha(np.linspace(0.0, HEAT_FULL, _LEVELS + 1)) > 0))  # level that is seen


class FramePainter:
    """Draws the frames of one video, all of one size.

    Args:
        height, width: of frames in the file; one of another size is stretched to these.
        side_by_side: the counterpart at the right.
        window: native values shown black and white; None: chosen from the first frame, so that nothing flickers.

    Attributes:
        shape: (height, width) of what it draws, both even.
    """

    def __init__(self, height: int, width: int, side_by_side: bool = False, window: Window | None = None) -> None:
        self._frame = height, width
        self._factor = max(1, -(-NARROWEST // width))
        self._window = window
        high, wide = height * self._factor, width * self._factor
        self._size = min(max(high // 20, 12), 28)  # of letters, in pixels
        self._head = round(1.5 * self._size) if side_by_side else 0
        self._bar = 2 * self._size
        self._panels = [slice(0, wide), slice(wide + _BETWEEN, 2 * wide + _BETWEEN)][: 2 if side_by_side else 1]
        down, across = self._head + high + self._bar, self._panels[-1].stop
        self.shape = down + down % 2, across + across % 2
        self._rows = slice(self._head, self._head + high)
        self._blank = np.empty((*self.shape, 3), np.uint8)
        self._blank[:] = _colour(_BAR)
        for panel, name in zip(self._panels, PANELS if side_by_side else (), strict=False):
            place = self._blank[: self._head, panel]
            _write(place, name, self._size, self._size // 3, _colour(_WORDS))

    def paint(
        self,
        pixels: Array | None,
        counterpart: Array | None,
        heat: Array | None,
        boxes: Sequence[Box],
        score: float,
        threshold: float | None,
        text: str,
    ) -> UInt8:
        """One frame as uint8 RGB of `shape`.

        Args:
            pixels: (H, W) or (H, W, 3) native; None: the frame could not be read.
            counterpart: the same; None: there is none. Not used without `side_by_side`.
            heat: (H, W), 1: the heat that 0.5 % of normal pixels exceed; None: none is drawn.
            boxes: to outline, in pixels of the frame.
            score: of the frame; NaN: it has none.
            threshold: the bar turns red where the score is above it; None before calibration.
            text: what the bar says at its left: clip and time.
        """
        picture = self._blank.copy()
        shape = self._frame if pixels is None else pixels.shape[:2]
        panels = [self._seen(pixels, heat), self._shown(counterpart)]
        for panel, drawn, absent in zip(self._panels, panels, ("no image", "none"), strict=False):
            place = picture[self._rows, panel]
            if drawn is None:
                place[:] = _colour(_EMPTY)
                _write(place, absent, self._size, self._size, _colour(_WORDS))
                continue
            place[:] = _enlarged(drawn, self._factor)
            for each in boxes:
                _outline(place, each, place.shape[0] / shape[0], place.shape[1] / shape[1])
        self._draw_bar(picture[self._rows.stop :], score, threshold, text)
        return picture

    def _seen(self, pixels: Array | None, heat: Array | None) -> UInt8 | None:
        """The frame in grey with its heat over it, or in its own colours where no heat is known."""
        shown = self._shown(pixels)
        if shown is None or heat is None:
            return shown
        levels = self._fitted(_levels(heat))
        grey = Image.fromarray(shown).convert("L")
        clear, opaque = _heat_table()
        drawn = np.asarray(Image.merge("RGB", [grey] * 3)).copy()
        places = np.flatnonzero(levels >= _FIRST)
        hot, flat = levels.ravel()[places], drawn.reshape(-1, 3)
        flat[places] = (flat[places] * clear[hot] + opaque[hot] + 128) >> 8
        drawn[_edge(levels >= _UNIT)] = heat_rgb(np.full((1, 1), HEAT_FULL))[0, 0]
        return drawn

    def _shown(self, pixels: Array | None) -> UInt8 | None:
        """Native pixels as RGB, of the size of the video's frames."""
        if pixels is None:
            return None
        if self._window is None:
            self._window = display_window(pixels)
        if pixels.dtype == np.uint8 and self._window == (0.0, 255.0):
            shown: UInt8 = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
        else:
            shown = to_display(pixels, *self._window)
        return self._fitted(shown)

    def _fitted(self, picture: UInt8) -> UInt8:
        if picture.shape[:2] == self._frame:
            return picture
        return np.asarray(Image.fromarray(picture).resize(self._frame[::-1], Image.Resampling.BILINEAR))

    def _draw_bar(self, bar: UInt8, score: float, threshold: float | None, text: str) -> None:
        """Clip and time at the left; score, threshold and how far it is exceeded at the right."""
        size, alarm = self._size, threshold is not None and score > threshold
        if alarm:
            bar[:] = _colour(_ALARM)
        limit = "" if threshold is None else f" / {short(threshold)}"
        said = "no score" if math.isnan(score) else f"score {score:#.3g}".rstrip(".") + limit
        right = bar.shape[1] - size // 2 - _length(said, size)
        _write(bar, said, size, right, _colour(_WORDS))
        if threshold is not None and threshold > 0:
            gauge = min(max(bar.shape[1] // 5, 40), 200)
            right -= gauge + size // 2
            _draw_gauge(bar[bar.shape[0] // 4 : -bar.shape[0] // 4, right : right + gauge], score / threshold, alarm)
        _write(bar, _fitting(text, size, right - size), size, size // 2, _colour(_WORDS))


def _draw_gauge(place: UInt8, share: float, alarm: bool) -> None:
    """A score in thresholds, from 0 to 2; a mark stands at 1."""
    wide = place.shape[1]
    place[:] = _colour(_TRACK)
    filled = 0 if math.isnan(share) else round(min(max(share / 2, 0.0), 1.0) * wide)
    place[:, :filled] = _colour(_MARK if alarm else _GAUGE)
    place[:, wide // 2 - 1 : wide // 2 + 1] = _colour(_ALARM if alarm else _MARK)


def _outline(place: UInt8, marked: Box, down: float, across: float) -> None:
    """A box around its pixels, not on them, cut off at the border."""
    high, wide = place.shape[:2]
    top, bottom = round(marked.top * down), round(marked.bottom * down)
    left, right = round(marked.left * across), round(marked.right * across)
    colour, stroke = _colour(OUTLINE), max(1, round(max(high, wide) / 400))
    rows = slice(max(top - stroke, 0), max(bottom + stroke, 0))
    columns = slice(max(left - stroke, 0), max(right + stroke, 0))
    for first in (top - stroke, bottom):
        place[max(first, 0) : max(first + stroke, 0), columns] = colour
    for first in (left - stroke, right):
        place[rows, max(first, 0) : max(first + stroke, 0)] = colour


def _enlarged(picture: UInt8, factor: int) -> UInt8:
    return picture if factor == 1 else picture.repeat(factor, axis=0).repeat(factor, axis=1)


def _levels(heat: Array) -> UInt8:
    """Heat from 0 to where its colours end as 0 to 255; NaN is none."""
    scaled = np.clip(heat * np.float32(_LEVELS / HEAT_FULL), 0, _LEVELS)
    levels: UInt8 = np.rint(np.nan_to_num(scaled)).astype(np.uint8)
    return levels


def _edge(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """The pixels inside that touch one that is not, by their sides; the border of the frame is no edge."""
    within = inside.copy()
    within[1:] &= inside[:-1]
    within[:-1] &= inside[1:]
    within[:, 1:] &= inside[:, :-1]
    within[:, :-1] &= inside[:, 1:]
    return inside & ~within


@cache
def _heat_table() -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """For each level of heat: the share of the image (256, 1), and the colour laid over it (256, 3), in 1 / 256."""
    heat = np.linspace(0.0, HEAT_FULL, _LEVELS + 1)[None]
    alpha = heat_alpha(heat)[0][:, None] * _SHARE
    opaque = np.rint(alpha * heat_rgb(heat)[0] * 256).astype(np.uint16)
    return np.rint((1 - alpha) * 256).astype(np.uint16), opaque


@cache
def _colour(name: str) -> npt.NDArray[np.uint8]:
    colour: npt.NDArray[np.uint8] = np.rint(np.array(to_rgb(name)) * 255).astype(np.uint8)
    return colour


@cache
def _font(size: int) -> Any:
    return ImageFont.truetype(findfont(FONT), size)


@lru_cache(maxsize=512)
def _letters(text: str, size: int) -> UInt8:
    """(h, w) how far text covers each pixel, in 1 / 255, the line as high as all letters are."""
    above, below = _font(size).getmetrics()
    page = Image.new("L", (max(_length(text, size), 1), above + below))
    ImageDraw.Draw(page).text((0, 0), text, fill=255, font=_font(size))
    return np.asarray(page)


def _length(text: str, size: int) -> int:
    return math.ceil(float(_font(size).getlength(text)))


@lru_cache(maxsize=512)
def _fitting(text: str, size: int, room: int) -> str:
    """Text that can be drawn, shortened to so many pixels."""
    said = plain(printable(text))
    count = len(said)
    while count > 3 and _length(said, size) > room:
        count -= 1
        said = shorten(plain(printable(text)), count)
    return said if _length(said, size) <= room else ""


def _write(place: UInt8, text: str, size: int, left: int, colour: npt.NDArray[np.uint8]) -> None:
    """Text in the middle of a strip, or at the top of a higher place, from a column on."""
    letters = _letters(text, size)
    top = max(min((place.shape[0] - letters.shape[0]) // 2, size), 0)
    part = place[top : top + letters.shape[0], max(left, 0) : max(left, 0) + letters.shape[1]]
    cover = letters[: part.shape[0], : part.shape[1], None].astype(np.uint16)
    part[:] = ((255 - cover) * part + cover * colour + 127) // 255
