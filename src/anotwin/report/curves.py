"""How well scores separate abnormal from normal: the ROC curve and the two histograms (AnoGAN, Fig. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from sklearn.metrics import roc_curve

from anotwin.errors import DataError
from anotwin.report.canvas import BLUE, FAINT, INK, VERMILLION, font, new_figure, plain, save_figure, tidy

Floats = npt.NDArray[np.float64]
_LONG_TAIL = 8.0  # from this ratio of largest score to median on, linear bins would hold nearly all scores in one


def roc_figure(
    labels: Sequence[bool] | npt.NDArray[Any],
    scores: Sequence[float] | npt.NDArray[Any],
    threshold: float | None,
    auroc: float,
    interval: tuple[float, float] | None,
    path: str | Path,
) -> None:
    """Draw the ROC curve with the operating point of the calibrated threshold.

    Args:
        labels: (N,) True where abnormal; both kinds are needed.
        scores: (N,) finite, higher is more abnormal.
        threshold: anomalous = score > threshold; None before calibration: no point is drawn.
        auroc: the area to print, in [0, 1].
        interval: its 95 % confidence interval, or None.
        path: ``.png``, ``.pdf`` or ``.svg``.
    """
    truth, values = np.asarray(labels, dtype=bool), _checked(scores, path)
    if truth.shape != values.shape or truth.all() or not truth.any():
        raise DataError(
            f"{path}: {truth.sum()} abnormal among {truth.size} labels for {values.size} scores; "
            "a ROC curve needs a label for each score, and both kinds"
        )
    false_alarms, found, _ = roc_curve(truth, values)
    area = f"AUROC {auroc:.3f}"
    if interval is not None:
        area += f"\n95 % interval {interval[0]:.3f} to {interval[1]:.3f}"
    figure = new_figure(3.6, 3.5)
    axes = figure.add_axes((0.16, 0.14, 0.8, 0.82))
    axes.plot([0, 1], [0, 1], "--", color=FAINT, linewidth=0.8, label="chance")
    axes.plot(false_alarms, found, color=BLUE, linewidth=1.8, label=area, clip_on=False)
    if threshold is not None:
        x, y = float((values[~truth] > threshold).mean()), float((values[truth] > threshold).mean())
        text = f"calibrated threshold:\nfinds {100 * y:.1f} %, false alarms {100 * x:.1f} %"
        axes.plot([x], [y], "o", color=VERMILLION, markersize=7, markeredgecolor="white", label=text, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1.005), aspect="equal")
    tidy(axes, "false alarms: share of normal images flagged", "found: share of abnormal images flagged")
    _legend(axes, "lower right", order=[1, 2, 0] if threshold is not None else [1, 0])
    save_figure(figure, path)


def histogram_figure(
    normal_scores: Sequence[float] | npt.NDArray[Any],
    abnormal_scores: Sequence[float] | npt.NDArray[Any],
    threshold: float | None,
    path: str | Path,
    xlabel: str = "anomaly score A(x)",
) -> None:
    """Draw the scores of normal and abnormal images in shared bins, each as shares of its own kind.

    Positive scores with a long tail get a logarithmic axis. Other outliers (farther from the
    central 98 % than these are wide) are counted in the outermost bins, as the label of the axis says.

    Args:
        normal_scores: (n,) finite; may be empty.
        abnormal_scores: (m,) finite; may be empty, but not both.
        threshold: drawn as a line; None before calibration.
        path: ``.png``, ``.pdf`` or ``.svg``.
        xlabel: which score.
    """
    normal, abnormal = _checked(normal_scores, path), _checked(abnormal_scores, path)
    both = np.concatenate([normal, abnormal])
    if not both.size:
        raise DataError(f"{path}: no scores to draw; expected at least one")
    edges, logarithmic, folded = score_bins(both, threshold)
    figure = new_figure(4.6, 2.9)
    axes = figure.add_axes((0.13, 0.17, 0.83, 0.72))
    for values, colour, name in ((normal, BLUE, "normal"), (abnormal, VERMILLION, "abnormal")):
        if values.size:
            counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
            share = counts / values.size
            axes.stairs(share, edges, fill=True, color=colour, alpha=0.35)
            axes.stairs(share, edges, color=colour, linewidth=1.3, label=f"{name} (n = {values.size})")
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.1, linestyle="--", label=f"threshold {threshold:.4g}")
    axes.set_xscale("log" if logarithmic else "linear")
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(bottom=0)
    tidy(axes, xlabel + (" (outermost bins: and all beyond)" if folded else ""), "share of images")
    if logarithmic:
        _readable_log_ticks(axes, edges)
    _legend(axes, "lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.4)
    save_figure(figure, path)


def score_bins(scores: Floats, threshold: float | None) -> tuple[Floats, bool, bool]:
    """Shared bin edges for scores: (edges, logarithmic?, outliers folded into the outermost bins?).

    There are 3 n^(1/3) bins, between 12 and 60: half more than Rice's rule, as two populations share them.
    """
    count = int(np.clip(math.ceil(3 * len(scores) ** (1 / 3)), 12, 60))
    extra = [] if threshold is None or not math.isfinite(threshold) else [threshold]
    low, high = min([scores.min(), *extra]), max([scores.max(), *extra])
    if low > 0 and high / float(np.median(scores)) > _LONG_TAIL:
        return np.geomspace(low * 0.95, high * 1.05, count + 1), True, False
    bulk_low, bulk_high = (float(value) for value in np.percentile(scores, [1, 99]))
    reach = bulk_high - bulk_low
    folded = False
    if reach > 0:
        bounds = max(low, min([bulk_low - reach, *extra])), min(high, max([bulk_high + reach, *extra]))
        folded = bounds != (low, high)
        low, high = bounds
    margin = (high - low) * 0.02 or max(abs(low) * 0.05, 0.5)
    return np.linspace(low - margin, high + margin, count + 1), False, folded


def _readable_log_ticks(axes: Axes, edges: Floats) -> None:
    """1, 2 and 5 in each decade, as plain numbers: most scores span one or two decades."""
    powers = range(math.floor(math.log10(edges[0])), math.ceil(math.log10(edges[-1])) + 1)
    wide = len(powers) > 4
    ticks = [digit * 10.0**power for power in powers for digit in ((1,) if wide else (1, 2, 5))]
    ticks = [tick for tick in ticks if edges[0] <= tick <= edges[-1]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)


def _legend(axes: Axes, place: Any, order: list[int] | None = None, **style: Any) -> None:
    handles, names = axes.get_legend_handles_labels()
    chosen = order or list(range(len(handles)))
    drawn = axes.legend(
        [handles[i] for i in chosen], [plain(names[i]) for i in chosen], loc=place, frameon=False, prop=font(7), **style
    )
    for text in drawn.get_texts():
        text.set_color(INK)


def _checked(scores: Sequence[float] | npt.NDArray[Any], path: str | Path) -> Floats:
    values = np.asarray(scores, dtype=np.float64).ravel()
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise DataError(f"{path}: {bad} of {values.size} scores are not finite; leave out images that were not scored")
    return values
