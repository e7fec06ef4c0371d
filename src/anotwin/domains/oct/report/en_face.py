"""A volume from above: where its heat lies, and how each slice scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import find_objects, label

from anotwin.errors import DataError
from anotwin.report import scales
from anotwin.report.canvas import BLUE, INK, VERMILLION, box, new_figure, save_figure, shorten, tidy, write
from anotwin.report.overlay import heat_rgb
from anotwin.report.scales import BAR_ROOM, LEFT, Place

if TYPE_CHECKING:
    from anotwin.domains.oct.records import Spacing
    from anotwin.domains.oct.report.tables import SliceRow
    from anotwin.records import Array

DEPTH = 10  # rows whose mean is a column's heat from above: 40 micrometres, as high as small drusen

_AXIS = 0.55  # inches left of the map for the numbers of slices
_MAP_WIDTH, _MAP_HEIGHT, _PROFILE = 4.2, 4.6, 1.5  # inches at most; of the scores beside the map
_ABSENT = "#D9D9D9"
_MOST_NAMED = 6  # lines of slices without a result


def en_face(heats: Sequence[Array | None], depth: int = DEPTH) -> npt.NDArray[np.float32]:
    """The heat of a volume from above, (slices, W) float32: of each column the mean of its `depth` highest rows.

    A maximum would show the noise of hundreds of rows, a mean over all rows would lose what is thin. Slices without a
    result (None), or of another width than most, are NaN, and so are columns that were not looked at (NaN in all rows).

    >>> en_face([np.eye(3), None], depth=1)
    array([[ 1.,  1.,  1.],
           [nan, nan, nan]], dtype=float32)
    """
    width = _usual_width(heats)
    flat = np.full((len(heats), width), np.nan, np.float32)
    for index, heat in enumerate(heats):
        if heat is not None and heat.shape[1] == width:
            rows = min(max(depth, 1), heat.shape[0])
            mean = np.partition(np.nan_to_num(heat), -rows, axis=0)[-rows:].mean(axis=0)
            flat[index] = np.where(np.isnan(heat).all(axis=0), np.nan, mean)
    return flat


def volume_figure(
    heats: Sequence[Array | None],
    path: str | Path,
    title: str | None = None,
    spacing: Spacing | None = None,
    rows: Sequence[SliceRow] = (),
    threshold: float | None = None,
) -> None:
    """Draw the heat of a volume from above, slice 0 on top, and beside it the score of each slice; save the figure.

    Slices without a result and columns that were not looked at are hatched; the slices are named below with the reason.

    Args:
        heats: (H, W) of each slice in order, 1: the heat that 0.5 % of normal pixels exceed; None: no result.
        path: ``.png``, ``.pdf`` or ``.svg``.
        title: one line above the figure.
        spacing: for true proportions and a bar of length; without the distance of slices the map is not to scale.
        rows: scores and errors, by their `slice`; none: no scores are drawn.
        threshold: of the scores; anomalous = score > threshold.

    Raises:
        DataError: no slice with a result, or the disk refuses.
    """
    flat = en_face(heats)
    step = spacing.between / spacing.lateral if spacing is not None and spacing.between is not None else None
    place = _map_place(flat.shape, step, scales.top_of(title))
    right = place.right + BAR_ROOM + (0.5 + _PROFILE if rows else 0.0) + 0.1
    words = _missing(heats, rows), "Hatched: not looked at" if np.isnan(flat).any() else ""
    missing = wrap(". ".join(filter(None, words)), int(18 * right), max_lines=_MOST_NAMED, placeholder=" ...")
    below = place.bottom + (0.62 if rows else 0.5)  # for the words of the axes
    figure = new_figure(right, below + 0.15 * len(missing) + 0.05)
    scales.draw_title(figure, title)
    deep = f"{DEPTH} rows" if spacing is None else f"{DEPTH * spacing.axial:.0f} µm"
    axes = scales.draw_picture(
        figure, place, heat_rgb(flat), f"heat from above: mean of the highest-heat {deep}", "nearest"
    )
    _draw_axes(axes, flat, "column" if step else "column (not to scale)")
    if spacing is not None:
        scales.draw_length(axes, flat.shape, spacing.lateral)
    scales.draw_heat_bar(figure, place, scales.heat_map())
    if rows:
        left = place.right + BAR_ROOM + 0.5
        beside = box(figure, left, place.top, _PROFILE, place.height)
        _draw_profile(beside, rows, len(flat), threshold)
        write(figure, left, place.top - 0.05, "score of each slice", size=7.5, ha="left", va="bottom")
    for line, text in enumerate(missing):
        write(figure, LEFT, below + 0.15 * line, text, size=7, ha="left")
    save_figure(figure, path)


def _usual_width(heats: Sequence[Array | None]) -> int:
    widths = Counter(heat.shape[1] for heat in heats if heat is not None)
    if not widths:
        raise DataError(f"none of {len(heats)} slices has a result; expected at least one")
    return int(widths.most_common(1)[0][0])


def _missing(heats: Sequence[Array | None], rows: Sequence[SliceRow]) -> str:
    """The slices without a result, those side by side for the same reason as one.

    >>> _missing([None, None, np.zeros((2, 3)), None], [])
    'Without a result: slices 0 to 1 (no result), slice 3 (no result)'
    """
    width, errors = _usual_width(heats), {row.slice: row.error for row in rows}
    reasons = [
        (errors.get(i) or "no result") if heat is None else f"{heat.shape[1]} columns, others {width}"
        for i, heat in enumerate(heats)
    ]
    absent = [i for i, heat in enumerate(heats) if heat is None or heat.shape[1] != width]
    parts = []
    for (reason, _), run in groupby(enumerate(absent), lambda pair: (reasons[pair[1]], pair[1] - pair[0])):
        names = [i for _, i in run]
        slices = f"slice {names[0]}" if len(names) == 1 else f"slices {names[0]} to {names[-1]}"
        parts.append(f"{slices} ({shorten(reason, 80)})")
    return f"Without a result: {', '.join(parts)}" if parts else ""


def _map_place(shape: tuple[int, ...], step: float | None, top: float) -> Place:
    """The map in true proportions, as large as it may be; about square where the distance of slices is unknown."""
    aspect = 0.8 if step is None else shape[0] * step / shape[1]
    width = min(_MAP_WIDTH, _MAP_HEIGHT / aspect)
    return Place(_AXIS, top, max(width, 0.8), max(width * aspect, 0.8))


def _draw_axes(axes: Axes, flat: npt.NDArray[np.float32], xlabel: str) -> None:
    for index, row in enumerate(np.isnan(flat)):
        for (run,) in find_objects(label(row)[0]):
            corner, width = (run.start - 0.5, index - 0.5), run.stop - run.start
            axes.add_patch(Rectangle(corner, width, 1, facecolor=_ABSENT, edgecolor="#777777", hatch="//////", lw=0))
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlim(-0.5, flat.shape[1] - 0.5)
    axes.set_ylim(len(flat) - 0.5, -0.5)
    tidy(axes, xlabel, "slice", size=7.5)


def _draw_profile(axes: Axes, rows: Sequence[SliceRow], slices: int, threshold: float | None) -> None:
    """Bars of scores, a row per slice beside its row of the map; those above the threshold stand out."""
    scored = [row for row in rows if np.isfinite(row.score)]
    above = [row.anomalous if row.anomalous is not None else False for row in scored]
    colours = [VERMILLION if flag else BLUE for flag in above]
    axes.barh([row.slice for row in scored], [row.score for row in scored], height=0.8, color=colours)
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=0.9, linestyle="--")
    axes.set_ylim(slices - 0.5, -0.5)
    axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    axes.xaxis.set_major_locator(MaxNLocator(3))
    tidy(axes, "score (orange: anomalous" + (")" if threshold is None else ",\ndashed: threshold)"), "", size=7.5)
