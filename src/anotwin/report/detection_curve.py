"""Detection rate against the size of a defect, a colour a kind and a line style a contrast."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from anotwin.report.canvas import FAINT, INK, OKABE_ITO, font, new_figure, plain, save_figure, tidy

STYLES = {"faint": ":", "medium": "--", "strong": "-", "any": "-"}
AIM = 0.9  # the share that the dashed line shows


class Rate(Protocol):
    """What is drawn: see `anotwin.evaluate.detectability.Point`."""

    @property
    def kind(self) -> str: ...
    @property
    def contrast(self) -> str: ...
    @property
    def diameter(self) -> float: ...
    @property
    def rate(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def fitted(self) -> float: ...


def detection_figure(points: Sequence[Rate], false_alarm_rate: float, path: str | Path) -> None:
    """Measured rates as dots with their 95 % intervals, the rates that do not fall with the size as lines.

    Args:
        points: of all kinds and contrasts; sizes in pixels, rates in [0, 1].
        false_alarm_rate: that of the threshold; the lower line.
        path: ``.png``, ``.pdf`` or ``.svg``.
    """
    figure = new_figure(5.6, 3.4)
    axes = figure.add_axes((0.11, 0.15, 0.60, 0.80))
    kinds = list(dict.fromkeys(point.kind for point in points))
    lines = dict.fromkeys((point.kind, point.contrast) for point in points)
    for number, (kind, contrast) in enumerate(lines):
        own = [point for point in points if (point.kind, point.contrast) == (kind, contrast)]
        colour = OKABE_ITO[kinds.index(kind) % len(OKABE_ITO)]
        shift = 1 + 0.02 * (number - (len(lines) - 1) / 2)  # intervals beside each other
        sizes = [point.diameter * shift for point in own]
        reach = [
            [point.rate - point.low for point in own],
            [point.high - point.rate for point in own],
        ]
        name = plain(kind if contrast == "any" else f"{kind}, {contrast}")
        style: dict[str, Any] = {"color": colour, "linestyle": STYLES.get(contrast, "-")}
        axes.plot(sizes, [point.fitted for point in own], linewidth=1.6, label=name, clip_on=False, **style)
        axes.errorbar(
            sizes, [point.rate for point in own], reach, fmt="o", markersize=3, linewidth=0.6, color=colour, alpha=0.6
        )
    for level, what in ((AIM, f"{AIM:.0%} found"), (false_alarm_rate, f"{false_alarm_rate:.1%} false alarms")):
        axes.axhline(level, color=FAINT, linewidth=0.8, linestyle=(0, (1, 2)), label=what.replace("%", " %"))
    axes.set_xscale("log")
    ticks = [size for size in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512) if _within(size, points)]
    axes.set_xticks(ticks, [str(size) for size in ticks])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 1.02)
    tidy(axes, "diameter of the defect's area, pixels", "share of defects found")
    drawn = axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, prop=font(7), handlelength=2.6)
    for text in drawn.get_texts():
        text.set_color(INK)
    save_figure(figure, path)


def _within(size: float, points: Sequence[Rate]) -> bool:
    sizes = [point.diameter for point in points]
    return min(sizes) / 1.5 <= size <= max(sizes) * 1.5
