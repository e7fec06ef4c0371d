"""What all figures share: matplotlib without its global state, places in inches, colours, and text safe to draw.

Colours are those of Okabe and Ito (2008), told apart with every common colour blindness.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from anotwin.errors import SettingsError
from anotwin.files import atomic_path

OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F7F7F", "#000000")
BLUE, VERMILLION = OKABE_ITO[:2]
INK, FAINT = "#222222", "#888888"
DPI = 200
UPRIGHT = {"rotation": 90, "ha": "left", "va": "center", "multialignment": "center"}  # text beside a colour bar
FONT = FontProperties(family="DejaVu Sans")  # comes with matplotlib: figures look the same on every machine
_FORMATS = {".png": "png", ".pdf": "pdf", ".svg": "svg"}


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure, its sides in inches, drawn by Agg."""
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def box(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place in inches from the upper left corner: rows and columns align by construction."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def write(figure: Figure, left: float, top: float, text: str, size: float = 7.0, **style: Any) -> None:
    """Text at a place in inches from the upper left corner, never read as mathematics."""
    across, down = figure.get_size_inches()
    style = {"color": INK, "ha": "center", "va": "top"} | style
    drawn = figure.text(left / across, 1 - top / down, plain(text), parse_math=False, **style)
    drawn.set_fontproperties(font(size, style.get("weight", "normal")))


def font(size: float, weight: str = "normal") -> FontProperties:
    """The font of all figures, its size in points."""
    return FontProperties(family="DejaVu Sans", size=size, weight=weight)


def frame(axes: Axes, width: float = 0.4, colour: str = FAINT) -> None:
    """A thin line around a picture, and no ticks."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(linewidth=width, color=colour)


def colour_bar(figure: Figure, axes: Axes, scale: ScalarMappable, ticks: dict[float, str], size: float = 6.0) -> None:
    """Fill narrow axes with the colours of a scale, and label ticks."""
    bar = figure.colorbar(scale, cax=axes)
    bar.set_ticks(list(ticks), labels=list(ticks.values()))
    axes.tick_params(labelsize=size, length=2, pad=1.5, labelcolor=INK, width=0.4)
    bar.outline.set_linewidth(0.4)


def tidy(axes: Axes, xlabel: str = "", ylabel: str = "", size: float = 8.0) -> None:
    """Two spines, small ticks, labels in the common font."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(labelsize=size - 1, color=FAINT, labelcolor=INK, length=3)
    axes.set_xlabel(plain(xlabel), fontproperties=font(size), color=INK, parse_math=False)
    axes.set_ylabel(plain(ylabel), fontproperties=font(size), color=INK, parse_math=False)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Save as PNG, PDF or SVG by the suffix, atomically and without the date, so that equal input gives equal files."""
    path = Path(path)
    kind = _FORMATS.get(path.suffix.lower())
    if kind is None:
        raise SettingsError(f"{path}: figures are saved as {', '.join(_FORMATS)}, got {path.suffix or 'no suffix'!r}")
    metadata = {"png": {"Software": None}, "pdf": {"CreationDate": None}, "svg": {"Date": None}}[kind]
    # svg ids are random without a salt, and there is no way to pass one
    salt = matplotlib.rc_context({"svg.hashsalt": "anotwin"}) if kind == "svg" else nullcontext()
    with atomic_path(path) as temporary, salt:
        figure.savefig(temporary, format=kind, metadata=metadata, dpi=DPI)


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` characters (at least 3), shortened in the middle, between folders where that does.

    >>> shorten("bottle/test/broken_large/000.png", 22)
    '…/broken_large/000.png'
    >>> shorten("bottle/test/broken_large/000.png", 16)
    'bottle/…/000.png'
    >>> shorten("a-very-long-name-00042.png", 15)
    'a-very-…042.png'
    """
    if len(text) <= width:
        return text
    parts = text.split("/")
    if len(parts) > 2:  # the last folder is often the class, the first the product
        for candidate in ([parts[0], "…", *parts[-2:]], ["…", *parts[-2:]], [parts[0], "…", parts[-1]]):
            if len("/".join(candidate)) <= width:
                return "/".join(candidate)
    keep = max(width - 1, 2)
    return text[: keep - keep // 2] + "…" + text[len(text) - keep // 2 :]


def plain(text: str) -> str:
    """`text` with every character that the font lacks or that cannot be printed as ``?``; line breaks stay."""
    return "".join(char if char == "\n" or (char.isprintable() and _has_glyph(char)) else "?" for char in text)


@cache
def _has_glyph(char: str) -> bool:
    return bool(get_font(findfont(FONT)).get_char_index(ord(char)))
