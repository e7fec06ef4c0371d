"""A map of the discriminator's features in two dimensions (AnoGAN, Fig. 2b)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # scikit-learn depends on it

from anotwin.errors import DataError
from anotwin.report.canvas import FAINT, INK, OKABE_ITO, font, new_figure, plain, save_figure, shorten, tidy
from anotwin.report.text import printable

if TYPE_CHECKING:
    from anotwin.records import Array

MOST_POINTS = 2000
_MARKERS = "o^sDvP*X"
_SEED = 0  # of the sample of points and of t-SNE: the same features give the same map
_TSNE_INPUT = 50  # principal components that t-SNE starts from, as van der Maaten and Hinton (2008) did


def feature_figure(
    features: Array, groups: Sequence[str], path: str | Path, how: Literal["pca", "tsne"] = "pca"
) -> None:
    """Draw features as points in two dimensions, one colour and one marker per group.

    Args:
        features: (N, F) finite; above 2,000 points a sample is drawn, equal shares of the groups as far as they go.
        groups: (N,) name of each point's group; the legend is in order of first appearance.
        path: ``.png``, ``.pdf`` or ``.svg``.
        how: principal components, with the variance that they explain, or t-SNE.

    Raises:
        DataError: fewer than three points, non-finite features, or the disk refuses.
    """
    values = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    if len(values) != len(groups) or len(values) < 3 or not np.isfinite(values).all():
        raise DataError(
            f"{path}: {len(values)} features for {len(groups)} group names; expected as many of both, at least 3, "
            "and all values finite"
        )
    names = list(dict.fromkeys(groups))
    member = np.array([names.index(group) for group in groups])
    chosen = sample(member, MOST_POINTS)
    points, labels = embed(values[chosen], how)
    figure = new_figure(5.6, 3.8)
    axes = figure.add_axes((0.11, 0.13, 0.6, 0.83))
    _draw_points(axes, points, member[chosen], names, np.bincount(member))
    axes.set_aspect("equal", adjustable="datalim")  # distances mean something only with one scale on both axes
    tidy(axes, *labels)
    if how == "pca":
        axes.axhline(0, color=FAINT, linewidth=0.4, zorder=0)
        axes.axvline(0, color=FAINT, linewidth=0.4, zorder=0)
    else:  # the numbers of a t-SNE map mean nothing
        axes.set_xticks([])
        axes.set_yticks([])
    save_figure(figure, path)


def sample(member: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Ascending indices of at most `most` points: small groups whole, large ones equal shares of what is left.

    >>> np.bincount(np.array([0] * 90 + [1] * 10)[sample(np.array([0] * 90 + [1] * 10), 30)]).tolist()
    [20, 10]
    """
    rng = np.random.default_rng(_SEED)
    left, kept = most, []
    sizes = np.bincount(member)
    order = sorted(np.flatnonzero(sizes), key=lambda group: (sizes[group], group))
    for position, group in enumerate(order):
        share = min(int(sizes[group]), left // (len(order) - position))
        kept.append(rng.choice(np.flatnonzero(member == group), share, replace=False))
        left -= share
    return np.sort(np.concatenate(kept))


def embed(values: npt.NDArray[np.float64], how: str) -> tuple[npt.NDArray[np.float64], tuple[str, str]]:
    """Points (N, 2) and the names of the two axes."""
    values = values - values.mean(axis=0)
    components = min(_TSNE_INPUT, *values.shape)
    spread = values.var(axis=0).sum()
    if spread == 0:  # all alike: there are no directions
        return np.zeros((len(values), 2)), ("no variance", "no variance")
    pca = PCA(components, svd_solver="full" if min(values.shape) <= 500 else "randomized", random_state=_SEED)
    projected = pca.fit_transform(values)  # (N, components)
    if how == "tsne":
        perplexity = min(30.0, (len(values) - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, init="pca" if components > 1 else "random", random_state=_SEED)
        with threadpool_limits(1):  # faster than many threads on a busy machine, and the same numbers everywhere
            return tsne.fit_transform(projected), ("t-SNE 1", "t-SNE 2")
    points = np.zeros((len(values), 2))
    points[:, : min(2, components)] = projected[:, :2]
    shares = [*pca.explained_variance_ratio_[:2], 0.0][:2]
    first, second = (f"principal component {i} ({share:.0%} of variance)" for i, share in enumerate(shares, 1))
    return points, (first, second)


def _draw_points(axes: Axes, points: npt.NDArray[np.float64], member: Array, names: list[str], totals: Array) -> None:
    size = float(np.clip(6000 / len(points), 5, 30))
    handles, texts = [], []
    for index, name in enumerate(names):
        mine = points[member == index]
        turn = index + index // len(OKABE_ITO)  # beyond 8 groups, colours come again with other markers
        style: dict[str, Any] = {
            "s": size,
            "color": OKABE_ITO[index % len(OKABE_ITO)],
            "marker": _MARKERS[turn % len(_MARKERS)],
        }
        handles.append(axes.scatter(*mine.T, alpha=0.65, linewidths=0, **style))
        shown = f"{len(mine)}" if len(mine) == totals[index] else f"{len(mine)} of {totals[index]}"
        texts.append(
            f" {plain(shorten(printable(name), 22))}\n (n = {shown})"
        )  # the blank: matplotlib drops names in "_"
    legend = axes.legend(handles, texts, loc="upper left", bbox_to_anchor=(1.02, 1.0), frameon=False, prop=font(7))
    for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True):
        text.set_color(INK)
        text.set_parse_math(False)
        if isinstance(handle, PathCollection):
            handle.set_alpha(1.0)
            handle.set_sizes([30.0])
