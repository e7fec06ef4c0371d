"""The figure of the AnoGAN paper (Schlegl et al. 2017, Fig. 3): queries, counterparts, and where they differ.

Red marks where the residual score alone flags an image, yellow where the discrimination score does, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from anotwin.errors import DataError, SettingsError
from anotwin.report.canvas import FAINT, UPRIGHT, box, colour_bar, font, frame, new_figure, save_figure, shorten, write
from anotwin.report.overlay import HEAT_FULL, HEAT_TICKS, Window, display_window, overlay, overlay_map, to_display
from anotwin.report.text import printable

if TYPE_CHECKING:
    from anotwin.records import Array, Finding

RED, YELLOW = "#DC143C", "#FFC20A"  # the paper's marks: residual and discrimination
ROWS = ("query", "counterpart", "difference", "heatmap")
DIFFERENCE_MAP = "RdBu_r"  # diverging, white at none, safe for the colour-blind
DIFFERENCE_FULL = 0.5  # half the pixel range: the scale is the same in every figure, so figures can be compared
_COLUMNS = 10  # images side by side
_MOST_IMAGES = 400  # above this the picture is too tall for any viewer

_LEFT, _RIGHT, _GAP, _CAPTION, _TOP, _LEGEND = 0.95, 0.95, 0.18, 0.52, 0.12, 0.22  # inches
_STROKE = 2.2  # points


@dataclass(frozen=True)
class _Layout:
    """Where everything is, in inches from the upper left corner."""

    columns: int
    cell_width: float
    cell_height: float

    @property
    def block_height(self) -> float:
        return len(ROWS) * (self.cell_height + _GAP) + _CAPTION

    @property
    def right(self) -> float:
        return self.left(self.columns) - _GAP

    def left(self, column: int) -> float:
        return _LEFT + column * (self.cell_width + _GAP)

    def row_top(self, block: int, row: int) -> float:
        return _TOP + block * self.block_height + row * (self.cell_height + _GAP)


def counterpart_figure(findings: Sequence[Finding], path: str | Path, window: Window | None = None) -> None:
    """Draw findings as columns of query, counterpart, signed difference and heatmap, and save the figure.

    Args:
        findings: in the order to show them, ten side by side and the others in blocks below.
        path: ``.png``, ``.pdf`` or ``.svg``.
        window: native values to show black and white, the same in all columns; None: from the images themselves.

    Raises:
        DataError: no findings, or the disk refuses.
        SettingsError: too many findings for one figure, or a suffix that is no figure's.
    """
    if not findings:
        raise DataError(f"{path}: no images to draw; expected at least one finding")
    if len(findings) > _MOST_IMAGES:
        raise SettingsError(f"{path}: {len(findings)} images for one figure; expected up to {_MOST_IMAGES}")
    layout = _plan(findings)
    blocks = math.ceil(len(findings) / layout.columns)
    figure = new_figure(max(layout.right + _RIGHT, 4.8), _TOP + blocks * layout.block_height + _LEGEND)
    for block in range(blocks):
        _draw_sides(figure, layout, block)
    shown = _windows(findings)
    for index, finding in enumerate(findings):
        limits = window or shown.get(_kind(finding), (0.0, 255.0))
        _draw_column(figure, layout, *divmod(index, layout.columns), finding, limits)
    _draw_legend(figure, _TOP + blocks * layout.block_height - 0.08)
    save_figure(figure, path)


def _kind(finding: Finding) -> str:
    return "" if finding.query is None else str(finding.query.dtype)


def _windows(findings: Sequence[Finding]) -> dict[str, Window]:
    """One display window for all images of a pixel type."""
    kinds: dict[str, list[Array]] = {}
    for finding in findings:
        images = [image for image in (finding.query, finding.counterpart) if image is not None]
        kinds.setdefault(_kind(finding), []).extend(images)
    return {kind: display_window(*images) for kind, images in kinds.items() if images}


def _plan(findings: Sequence[Finding]) -> _Layout:
    shapes = [finding.query.shape for finding in findings if finding.query is not None] or [(28, 28)]
    aspect = float(np.median([shape[0] / shape[1] for shape in shapes]))
    side = 1.05 if max(max(shape[:2]) for shape in shapes) <= 64 else 1.5
    width, height = (side, side * aspect) if aspect <= 1 else (side / aspect, side)
    return _Layout(min(_COLUMNS, len(findings)), max(width, 0.9), max(height, 0.5))


def _draw_column(figure: Figure, layout: _Layout, block: int, column: int, finding: Finding, window: Window) -> None:
    query, heat = finding.query, finding.heatmap
    left = layout.left(column)
    places = [(left, layout.row_top(block, row)) for row in range(len(ROWS))]
    pictures: list[Array | None] = [
        None if query is None else to_display(query, *window),
        None if finding.counterpart is None else to_display(finding.counterpart, *window),
        finding.difference,
        None if query is None or heat is None else overlay(query, heat, window),
    ]
    for (x, y), picture in zip(places, pictures, strict=True):
        _draw_picture(figure, layout, x, y, picture, "no image" if query is None else "none found")
    if query is not None:
        _draw_marks(figure, *_inside(layout, *places[0], query.shape), finding.flagged_by)
    _draw_caption(figure, layout, left, layout.row_top(block, len(ROWS)) - 0.07, finding)


def _inside(layout: _Layout, left: float, top: float, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
    """The largest place (left, top, width, height) in a cell with the aspect ratio of an image."""
    scale = min(layout.cell_width / shape[1], layout.cell_height / shape[0])
    width, height = shape[1] * scale, shape[0] * scale
    return left + (layout.cell_width - width) / 2, top + (layout.cell_height - height) / 2, width, height


def _draw_picture(
    figure: Figure, layout: _Layout, left: float, top: float, picture: Array | None, otherwise: str
) -> None:
    if picture is None:
        axes = box(figure, left, top, layout.cell_width, layout.cell_height)
        axes.set_facecolor("#EEEEEE")
        axes.text(0.5, 0.5, otherwise, ha="center", va="center", color=FAINT, fontproperties=font(6.5))
    else:
        axes = box(figure, *_inside(layout, left, top, picture.shape))
        signed: dict[str, Any] = {"cmap": DIFFERENCE_MAP, "vmin": -DIFFERENCE_FULL, "vmax": DIFFERENCE_FULL}
        axes.imshow(picture, aspect="auto", **(signed if picture.ndim == 2 else {}))
    frame(axes)


def _draw_marks(figure: Figure, left: float, top: float, width: float, height: float, flagged_by: str) -> None:
    """A yellow frame round the query (discrimination) and a red one round that (residual): both stay visible."""
    across, down = figure.get_size_inches()
    terms = [mark for mark in (("discrimination", YELLOW), ("residual", RED)) if flagged_by in (mark[0], "both")]
    for ring, (_, colour) in enumerate(terms):
        out = (0.6 + (ring + 0.5) * _STROKE) / 72  # inches from the image's edge to the middle of the stroke
        corner = ((left - out) / across, 1 - (top + height + out) / down)
        size = ((width + 2 * out) / across, (height + 2 * out) / down)
        style: dict[str, Any] = {"linewidth": _STROKE, "edgecolor": colour, "fill": False, "joinstyle": "miter"}
        figure.add_artist(Rectangle(corner, *size, transform=figure.transFigure, **style))


def _draw_caption(figure: Figure, layout: _Layout, left: float, top: float, finding: Finding) -> None:
    middle = left + layout.cell_width / 2
    room = int((layout.cell_width + _GAP * 0.7) * 72 / (6.0 * 0.62))  # characters; DejaVu is 0.62 em wide on average
    write(figure, middle, top, shorten(printable(finding.id), room), size=6)
    style = {"color": RED, "weight": "bold"} if finding.anomalous else {}
    if math.isnan(finding.score):
        write(figure, middle, top + 0.13, "not scored", size=6, color=FAINT)
        return
    write(figure, middle, top + 0.13, f"score {_number(finding.score)}", size=6, **style)
    if finding.p_value is not None:
        p_value = f"p = {finding.p_value:.2g}" if finding.p_value >= 0.0001 else "p < 0.0001"
        write(figure, middle, top + 0.26, p_value, size=6, **style)


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _draw_sides(figure: Figure, layout: _Layout, block: int) -> None:
    """Row names at the left, the two scales at the right."""
    for row, name in enumerate(ROWS):
        middle = layout.row_top(block, row) + layout.cell_height / 2
        write(figure, _LEFT - 0.12, middle, name, size=8, ha="right", va="center")
    signed = ScalarMappable(Normalize(-DIFFERENCE_FULL, DIFFERENCE_FULL), matplotlib.colormaps[DIFFERENCE_MAP])
    ends = {-DIFFERENCE_FULL: f"≤ −{DIFFERENCE_FULL}", 0.0: "0", DIFFERENCE_FULL: f"≥ {DIFFERENCE_FULL}"}
    hot = ScalarMappable(Normalize(0.0, HEAT_FULL), overlay_map())
    for row, scale, ticks, label in (
        (2, signed, ends, "query − counterpart\n(1 = pixel range)"),
        (3, hot, HEAT_TICKS, "heat (0.5 % of normal\npixels exceed 1)"),
    ):
        top = layout.row_top(block, row)
        colour_bar(figure, box(figure, layout.right + 0.12, top, 0.09, layout.cell_height), scale, ticks)
        write(figure, layout.right + 0.58, top + layout.cell_height / 2, label, size=5.5, **UPRIGHT)


def _draw_legend(figure: Figure, top: float) -> None:
    across, down = figure.get_size_inches()
    left = _LEFT
    for colour, text in ((RED, "flagged by the residual"), (YELLOW, "flagged by the discrimination")):
        corner = (left / across, 1 - (top + 0.14) / down)
        style: dict[str, Any] = {"linewidth": _STROKE, "edgecolor": colour, "fill": False, "joinstyle": "miter"}
        figure.add_artist(Rectangle(corner, 0.1 / across, 0.1 / down, transform=figure.transFigure, **style))
        write(figure, left + 0.17, top + 0.09, text, size=7, ha="left", va="center")
        left += 1.65
