"""How a counterpart is found: the search from a random latent to the normal image (AnoGAN, section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from anotwin.errors import DataError
from anotwin.report.canvas import BLUE, FAINT, VERMILLION, box, frame, new_figure, save_figure, tidy, write
from anotwin.report.grid import model_to_uint8

if TYPE_CHECKING:
    from anotwin.records import Array

_MOST_COLUMNS = 10  # counterparts in a row
_LEFT, _TOP, _GAP, _BOTTOM, _CURVE = 0.15, 0.3, 0.1, 0.4, 2.1  # inches
_AXIS_ROOM = 0.65  # inches for the numbers at the left of a loss curve


def search_figure(trace: Array, queries: Array, steps: Sequence[int], losses: Array, path: str | Path) -> None:
    """Draw a row per image: the query, its counterpart at steps of the search, and the loss over the steps.

    Of a longer trace 10 counterparts are drawn, evenly chosen in log(step + 1), because most of the change is early;
    the loss curve shows all steps, with a point at each counterpart drawn.

    Args:
        trace: (T, B, C, S, S) in [-1, 1].
        queries: (B, C, S, S) in [-1, 1].
        steps: (T,) ascending.
        losses: (T, B), L(z) at these steps.
        path: ``.png``, ``.pdf`` or ``.svg``.

    Raises:
        DataError: shapes that do not belong together, or the disk refuses.
    """
    curve, when = losses.astype(np.float64), np.asarray(steps, dtype=np.int64)
    if 0 in trace.shape or trace.shape != (len(when), *queries.shape) or curve.shape != trace.shape[:2]:
        raise DataError(
            f"{path}: trace {trace.shape}, queries {queries.shape}, {len(when)} steps and losses {curve.shape} "
            "do not belong together; expected (T, B, C, S, S), (B, C, S, S), (T,) and (T, B)"
        )
    shown = _spread(when, _MOST_COLUMNS)
    side = 0.8 if queries.shape[-1] <= 64 else 1.1
    width = _LEFT + (len(shown) + 1) * (side + _GAP) + _GAP + _AXIS_ROOM + _CURVE + 0.15
    figure = new_figure(width, _TOP + len(queries) * (side + _GAP) + _BOTTOM)
    _draw_heads(figure, when[shown], side)
    for row, query in enumerate(queries):
        _draw_row(figure, row, side, [query, *trace[shown, row]])
        axes = box(figure, width - _CURVE - 0.15, _TOP + row * (side + _GAP), _CURVE, side)
        _draw_loss(axes, when, curve[:, row], shown, last=row == len(queries) - 1)
    save_figure(figure, path)


def _spread(steps: Array, most: int) -> Array:
    """Indices of at most `most` steps, first and last among them, even in log(step + 1)."""
    if len(steps) <= most:
        return np.arange(len(steps))
    logs = np.log1p(steps - steps[0])
    wanted = np.linspace(logs[0], logs[-1], max(most, 2))
    return np.unique([int(np.abs(logs - place).argmin()) for place in wanted])


def _column(index: int, side: float) -> float:
    return _LEFT + index * (side + _GAP) + (_GAP if index else 0.0)  # the query stands a little apart


def _draw_heads(figure: Figure, steps: Array, side: float) -> None:
    write(figure, _column(0, side) + side / 2, _TOP - 0.07, "query", size=7.5, weight="bold", va="bottom")
    for index, step in enumerate(steps, start=1):
        text = f"step {step}" if index == 1 else f"{step}"
        write(figure, _column(index, side) + side / 2, _TOP - 0.07, text, size=7.5, va="bottom")
    middle = figure.get_size_inches()[0] - 0.15 - _CURVE / 2
    write(figure, middle, _TOP - 0.07, "loss L(z)", size=7.5, va="bottom")


def _draw_row(figure: Figure, row: int, side: float, images: list[Array]) -> None:
    for index, image in enumerate(images):
        axes = box(figure, _column(index, side), _TOP + row * (side + _GAP), side, side)
        axes.imshow(model_to_uint8(image), cmap="gray", vmin=0, vmax=255, aspect="auto")
        frame(axes, 0.4 if index else 1.2, FAINT if index else "black")


def _draw_loss(axes: Axes, steps: Array, losses: Array, shown: Array, last: bool) -> None:
    axes.plot(steps, losses, color=BLUE, linewidth=1.2)
    axes.plot(steps[shown], losses[shown], "o", color=VERMILLION, markersize=3, clip_on=False)
    axes.set_xscale("symlog", linthresh=1.0)  # the search starts at step 0
    decades = [0, *(10**power for power in range(8) if 10**power <= max(int(steps[-1]), 1))]
    if steps[-1] >= 2 * decades[-1]:
        decades.append(int(steps[-1]))
    axes.xaxis.set_major_locator(FixedLocator(decades))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(min(int(steps[0]), 0), max(int(steps[-1]), 1) * 1.05)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.margins(y=0.12)
    tidy(axes, "step" if last else "", size=7)
    axes.set_xticklabels([f"{step}" for step in decades] if last else [])
