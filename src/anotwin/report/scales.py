"""Pictures in their places, and their scales: the colour bar of heat, bars of length, keys of lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from anotwin.report.canvas import UPRIGHT, box, colour_bar, font, frame, plain, shorten, write
from anotwin.report.overlay import HEAT_FULL, HEAT_TICKS, UInt8, heat_rgb
from anotwin.report.text import printable

Style = tuple[str, Literal["-", "--"]]  # colour, dashes

LEFT, HEAD = 0.15, 0.24  # inches: the margin of a figure, and the room for the name above a picture
BAR_ROOM = 0.85  # inches right of a picture for the bar of heat and its words
_HEAT_WORDS = "heat (0.5 % of normal\npixels exceed 1)"
_LENGTHS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)  # micrometres that a bar may stand for
_OUTLINE = [withStroke(linewidth=2.8, foreground="black")]  # white bars must be seen on white corners too


@dataclass(frozen=True)
class Place:
    """Where a picture is, in inches from the upper left corner of its figure."""

    left: float
    top: float
    width: float
    height: float

    @property
    def right(self) -> float:
        return self.left + self.width

    @property
    def bottom(self) -> float:
        return self.top + self.height


def top_of(title: str | None) -> float:
    """Inches above the first pictures: for the title and for their names."""
    return 0.1 + (0.22 if title else 0.0) + HEAD


def draw_title(figure: Figure, title: str | None) -> None:
    """One bold line above all pictures, shortened to the width of the figure."""
    if title:
        room = int((figure.get_size_inches()[0] - 2 * LEFT) * 72 / (10 * 0.7))
        write(figure, LEFT, 0.1, shorten(printable(title), room), size=10, ha="left", weight="bold")


def draw_picture(figure: Figure, place: Place, picture: UInt8, name: str, interpolation: str = "antialiased") -> Axes:
    """An RGB picture (H, W, 3) in its place with its name above; data coordinates are columns and rows."""
    axes = box(figure, place.left, place.top, place.width, place.height)
    axes.imshow(picture, aspect="auto", interpolation=interpolation)
    frame(axes)
    write(figure, place.left, place.top - 0.05, name, size=7.5, ha="left", va="bottom")
    return axes


def draw_heat_bar(figure: Figure, beside: Place, colours: Colormap) -> None:
    """The bar of heat at the right of a picture, with its unit."""
    axes = box(figure, beside.right + 0.1, beside.top, 0.09, beside.height)
    colour_bar(figure, axes, ScalarMappable(Normalize(0.0, HEAT_FULL), colours), HEAT_TICKS, size=6.5)
    words = _HEAT_WORDS if beside.height > 1.2 else "heat"  # a low picture has no room for all of them upright
    write(figure, beside.right + 0.52, beside.top + beside.height / 2, words, size=6, **UPRIGHT)


def heat_map() -> Colormap:
    """The colours of heat by itself, as `heat_rgb` gives them."""
    return ListedColormap(heat_rgb(np.linspace(0.0, HEAT_FULL, 256)[None])[0] / 255.0)


def draw_keys(figure: Figure, left: float, middle: float, keys: Mapping[str, Style]) -> None:
    """Names of lines in a row, each after a piece of its line."""
    across, down = figure.get_size_inches()
    for name, (colour, dashes) in keys.items():
        if colour != "none":
            ends = [left / across, (left + 0.26) / across]
            line = Line2D(ends, [1 - middle / down] * 2, color=colour, linestyle=dashes, linewidth=1.6)
            line.set(transform=figure.transFigure, path_effects=_OUTLINE)
            figure.add_artist(line)
            left += 0.34
        write(figure, left, middle, name, size=7, ha="left", va="center")
        left += 0.075 * len(name) + 0.2


def draw_length(axes: Axes, shape: tuple[int, ...], spacing: float, upright: bool = False) -> None:
    """A bar of a round length in the lower left corner of a picture of `shape`; `spacing` is micrometres per pixel."""
    height, width = shape[:2]
    side = height if upright else width
    length = max((each for each in _LENGTHS if each <= 0.25 * side * spacing), default=None)
    if length is None:
        return
    x, y, pixels = 0.04 * width, 0.92 * height - 0.5, length / spacing
    ends = ([x, x], [y - pixels, y]) if upright else ([x, x + pixels], [y, y])
    axes.plot(*ends, color="white", linewidth=1.6, solid_capstyle="butt", path_effects=_OUTLINE)
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length} µm"
    where = (x + 0.015 * width, y - pixels) if upright else (x + pixels + 0.015 * width, y)
    drawn = axes.text(*where, plain(text), color="white", va="center", fontproperties=font(6.5))
    drawn.set_path_effects([withStroke(linewidth=1.8, foreground="black")])
