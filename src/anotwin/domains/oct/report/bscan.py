"""Pictures of a B-scan: its lines, its heat with contours of what exceeds a level, and bands made of it below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

from anotwin.report import scales
from anotwin.report.canvas import new_figure, save_figure, shorten
from anotwin.report.overlay import UInt8, display_window, overlay, overlay_map, to_display
from anotwin.report.scales import BAR_ROOM, HEAD, LEFT, Place, Style

if TYPE_CHECKING:
    from anotwin.domains.oct.layers.find import Retina
    from anotwin.domains.oct.records import Spacing
    from anotwin.records import Array

# attribute of a Retina -> name and style; seen on the dark vitreous as on the bright RPE, by the colour-blind too
LINES: dict[str, tuple[str, Style]] = {
    "ilm": ("ILM", ("#56B4E9", "-")),
    "rpe": ("RPE", ("#D55E00", "-")),
    "baseline": ("undisturbed RPE", ("#F0E442", "--")),
}
NO_LINE: Style = ("none", "-")
HATCHED = "#8A8A8A"  # seen on the dark vitreous, and through it the scan
CONTOUR: Style = ("#56B4E9", "-")  # sky blue: inferno has no blue above black

_GAP, _KEY = 0.2, 0.3  # inches
_BESIDE, _ALONE = 3.9, 7.2  # inches: width of one of two panels side by side, and of one above the other
_TALLEST = 6.0  # inches
_NARROWEST, _NAMES = 5.2, 3.0  # inches: of a figure, or its title is cut; what the names of the lines take
_WIDE = 1.6  # from this aspect ratio on, the second panel is below the first
_BAND_HEIGHT = 2.4  # inches at most
_DASH = 6  # columns of a dash in pixels


def scan_figure(
    pixels: Array,
    heat: Array | None,
    path: str | Path,
    title: str | None = None,
    level: float = 1.0,
    retina: Retina | None = None,
    spacing: Spacing | None = None,
    bands: Mapping[str, Array] | None = None,
    unseen: Array | None = None,
) -> None:
    """Draw a B-scan, and again with its heat and the contours of what exceeds a level; save the figure.

    Args:
        pixels: (H, W) or (H, W, 3) native.
        heat: (H, W), 1: the heat that 0.5 % of normal pixels exceed; NaN is drawn as none. None: the scan alone.
        path: ``.png``, ``.pdf`` or ``.svg``.
        title: one line above the figure.
        level: contours are drawn where the heat crosses it.
        retina: whose lines to draw where there is tissue, and why it was refused; None: no lines.
        spacing: for the two bars of length; None: no bars.
        bands: further pictures below, name -> (h, w) in [-1, 1]: the flattened retina, its counterpart ...
        unseen: (H, W) True where no heat was looked for: hatched in the picture of the heat.

    Raises:
        DataError: heat whose shape does not fit, or the disk refuses.
    """
    bands = bands or {}
    panels = _panels(pixels.shape, scales.top_of(title), 1 if heat is None else 2, 0.0 if retina is None else _NAMES)
    scan, last = panels[0], panels[-1]
    places = _band_places(bands, last)
    bottom = max(place.bottom for place in [last, *places])
    right = max(last.right + (LEFT if heat is None else BAR_ROOM), _NARROWEST)
    figure = new_figure(right, bottom + (0.15 if places else _KEY))
    scales.draw_title(figure, title)
    shown = display_window(pixels)
    reason = f": {retina.reason}" if retina is not None and retina.reason else ""
    axes = scales.draw_picture(figure, scan, to_display(pixels, *shown), shorten(f"scan{reason}", int(17 * scan.width)))
    if retina is not None:
        _draw_lines(axes, retina)
        scales.draw_keys(figure, scan.left, scan.bottom + 0.14, dict(LINES.values()))
    if spacing is not None:
        scales.draw_length(axes, pixels.shape, spacing.lateral)
        scales.draw_length(axes, pixels.shape, spacing.axial, upright=True)
    if heat is not None:
        hot = scales.draw_picture(figure, last, overlay(pixels, heat, shown), "heat")
        contours = _draw_contours(hot, heat, level)
        found = {f"heat above {level:g}": CONTOUR} if contours else {f"no heat above {level:g}": NO_LINE}
        if unseen is not None and unseen.any():
            _hatch(hot, unseen)
            found["hatched: not looked at"] = NO_LINE
        scales.draw_keys(figure, last.left, last.bottom + 0.14, found)
        scales.draw_heat_bar(figure, last, overlay_map())
    for (name, band), place in zip(bands.items(), places, strict=True):
        scales.draw_picture(figure, place, to_display(band, -1.0, 1.0), name)
    save_figure(figure, path)


def lined(pixels: Array, retina: Retina) -> UInt8:
    """A B-scan (H, W) or (H, W, 3) with lines a pixel wide in the colours of `LINES`: uint8 RGB (H, W, 3)."""
    picture = to_display(pixels, *display_window(pixels))
    height, width = picture.shape[:2]
    for name, (_, (colour, dashes)) in LINES.items():
        line = np.where(retina.valid, getattr(retina, name), np.nan)
        steepest = int(np.abs(np.nan_to_num(np.diff(line))).max(initial=1))
        across = np.linspace(0, width - 1, width * (steepest + 1))  # steps so small that the line has no gaps
        columns = np.rint(across).astype(int)
        rows = np.rint(np.interp(across, np.arange(width), line))
        drawn = (rows >= 0) & (rows < height)  # False for NaN
        if dashes == "--":
            drawn &= columns // _DASH % 2 == 0
        picture[rows[drawn].astype(int), columns[drawn]] = np.rint(np.array(to_rgb(colour)) * 255)
    return picture


def _panels(shape: tuple[int, ...], top: float, count: int, names: float) -> list[Place]:
    """The scan, at least as wide as `names`, and its heat, if any: beside it, or below where they are wide."""
    stacked = count == 1 or shape[1] > _WIDE * shape[0]
    width = min(_ALONE if stacked else _BESIDE, _TALLEST * shape[1] / shape[0])
    scan = Place(LEFT, top, max(width, 1.5), max(width * shape[0] / shape[1], 0.4))
    if count == 1:
        return [scan]
    left, top = (LEFT, scan.bottom + _KEY + HEAD) if stacked else (max(scan.right, LEFT + names) + _GAP, top)
    return [scan, Place(left, top, scan.width, scan.height)]


def _band_places(bands: Mapping[str, Array], above: Place) -> list[Place]:
    """The bands in rows below, as many side by side as fit."""
    places: list[Place] = []
    left, top = LEFT, above.bottom + _KEY + HEAD
    for band in bands.values():
        height = min((above.right - LEFT) * band.shape[0] / band.shape[1], _BAND_HEIGHT)
        width = height * band.shape[1] / band.shape[0]
        if places and left + width > above.right + 1e-9:
            left, top = LEFT, max(place.bottom for place in places) + HEAD + 0.05
        places.append(Place(left, top, width, height))
        left += width + _GAP
    return places


def _draw_lines(axes: Axes, retina: Retina) -> None:
    for name, (_, (colour, dashes)) in LINES.items():
        line = np.where(retina.valid, getattr(retina, name), np.nan)  # a gap where there is no tissue
        axes.plot(line, color=colour, linestyle=dashes, linewidth=0.9, scalex=False, scaley=False)


def _hatch(axes: Axes, where: Array) -> None:
    limits = axes.get_xlim(), axes.get_ylim()
    marked = np.pad(where, 1, mode="edge").astype(np.float32)  # up to the border of the scan, half a pixel further
    columns, rows = np.arange(-1, where.shape[1] + 1), np.arange(-1, where.shape[0] + 1)
    areas = axes.contourf(columns, rows, marked, levels=[0.5, 1.5], colors="none", hatches=["////"])
    areas.set_edgecolor(HATCHED)
    areas.set_linewidth(0)
    axes.set(xlim=limits[0], ylim=limits[1])


def _draw_contours(axes: Axes, heat: Array, level: float) -> bool:
    """Contours of what exceeds a level, closed at the border of the scan; False if nothing does."""
    values = np.pad(np.nan_to_num(heat), 1)
    if not values.min() < level < values.max():
        return False
    columns, rows = np.arange(-1, heat.shape[1] + 1), np.arange(-1, heat.shape[0] + 1)
    limits = axes.get_xlim(), axes.get_ylim()
    axes.contour(columns, rows, values, levels=[level], colors=[CONTOUR[0]], linewidths=0.9)
    axes.set(xlim=limits[0], ylim=limits[1])
    return True
