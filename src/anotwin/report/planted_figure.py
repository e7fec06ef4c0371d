"""Planted defects and what counterparts make of them: normal, planted, counterpart, their difference and the heat."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from anotwin.errors import DataError
from anotwin.report.canvas import FAINT, box, frame, new_figure, save_figure, write
from anotwin.report.overlay import HEAT_FULL, HEAT_TICKS, Window, display_window, heat_rgb, to_display

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from anotwin.records import Array

COLUMNS = ("normal", "planted", "counterpart", "|planted − counterpart|", "heat")
DIFFERENCE_FULL = 0.5  # of the pixel range, as in `counterpart_figure`: figures can be compared
DIFFERENCE_MAP = "Greys"
_SIDE, _GAP, _LEFT, _TOP, _BETWEEN, _SCALES, _RIGHT = 1.25, 0.08, 0.95, 0.3, 0.16, 0.5, 1.0  # inches


class Example(Protocol):
    """One planted image, all of one size; see `anotwin.evaluate.planted_pairs.Shown`."""

    @property
    def truth(self) -> Array: ...  # (H, W) or (H, W, 3), native pixels
    @property
    def planted(self) -> Array: ...
    @property
    def counterpart(self) -> Array: ...
    @property
    def heat(self) -> Array: ...  # (H, W), 1: the usual limit of normal pixels
    @property
    def mask(self) -> Array: ...  # (H, W)


def planted_figure(
    examples: Sequence[tuple[str, str, Example]], path: str | Path, window: Window | None = None
) -> None:
    """A row an example, of one kind after the other; the mask is outlined in its heat.

    Args:
        examples: kind, a few words (what was measured), and the pictures; equal kinds one after the other.
        path: ``.png``, ``.pdf`` or ``.svg``.
        window: native values shown black and white; None: from each normal image.

    Raises:
        DataError: no example.
    """
    if not examples:
        raise DataError(f"{path}: no planted image to draw; expected at least one")
    kinds = [kind for kind, _, _ in examples]
    before = [len(set(kinds[: row + 1])) - 1 for row in range(len(kinds))]  # other kinds above
    tops = [_TOP + row * (_SIDE + _GAP) + _BETWEEN * above for row, above in enumerate(before)]
    width = _LEFT + len(COLUMNS) * (_SIDE + _GAP) + _RIGHT
    figure = new_figure(width, tops[-1] + _SIDE + _SCALES)
    for column, name in enumerate(COLUMNS):
        write(figure, _left(column) + _SIDE / 2, _TOP - 0.2, name, size=7)
    for row, (kind, words, example) in enumerate(examples):
        if row == 0 or kinds[row - 1] != kind:
            write(figure, _LEFT - 0.12, tops[row] + 0.35, kind, size=8, ha="right", weight="bold")
        write(figure, _LEFT - 0.12, tops[row] + 0.6, words, size=5.5, ha="right", multialignment="right", color=FAINT)
        _draw_row(figure, tops[row], example, window)
    _draw_scales(figure, tops[-1] + _SIDE + 0.1)
    save_figure(figure, path)


def _left(column: int) -> float:
    return _LEFT + column * (_SIDE + _GAP)


def _draw_row(figure: Figure, top: float, example: Example, window: Window | None) -> None:
    black, white = window or display_window(example.truth)
    images = [to_display(each, black, white) for each in (example.truth, example.planted, example.counterpart)]
    away = np.abs(example.planted.astype(np.float64) - example.counterpart) / (white - black)
    away = away if away.ndim == 2 else away.mean(axis=2)
    shades: dict[str, Any] = {"cmap": DIFFERENCE_MAP, "vmin": 0, "vmax": DIFFERENCE_FULL}
    for column, picture in enumerate([*images, away, heat_rgb(example.heat)]):
        high, wide = picture.shape[:2]
        scale = _SIDE / max(high, wide)
        inset = (_SIDE - wide * scale) / 2, (_SIDE - high * scale) / 2
        axes = box(figure, _left(column) + inset[0], top + inset[1], wide * scale, high * scale)
        axes.imshow(picture, aspect="auto", interpolation="nearest", **(shades if picture.ndim == 2 else {}))
        if column == len(COLUMNS) - 1 and example.mask.any() and not example.mask.all():
            axes.contour(example.mask.astype(float), [0.5], colors="white", linewidths=0.5)
        frame(axes)


def _draw_scales(figure: Figure, top: float) -> None:
    grey = ScalarMappable(Normalize(0, DIFFERENCE_FULL), matplotlib.colormaps[DIFFERENCE_MAP])
    hot = ScalarMappable(Normalize(0, HEAT_FULL), matplotlib.colormaps["inferno"])
    ends = {0.0: "0", DIFFERENCE_FULL: f"≥ {DIFFERENCE_FULL}"}
    for column, scale, ticks in ((3, grey, ends), (4, hot, HEAT_TICKS)):
        axes = box(figure, _left(column) + 0.15, top, _SIDE - 0.3, 0.08)  # room for the words at both ends
        bar = figure.colorbar(scale, cax=axes, orientation="horizontal")
        bar.set_ticks(list(ticks), labels=list(ticks.values()))
        axes.tick_params(labelsize=6, length=2, pad=1.5, width=0.4)
        bar.outline.set_linewidth(0.4)
