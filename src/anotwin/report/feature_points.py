"""The discriminator's features of queries, gathered from a stream with bounded memory, for the map of features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from anotwin.errors import SettingsError
from anotwin.report.feature_map import feature_figure

MAPPED = 1000  # images of a group in the map
AT_ONCE = 256  # squares through the discriminator


@dataclass
class _Group:
    points: dict[int, torch.Tensor] = field(default_factory=dict)  # index -> (F,)
    squares: dict[int, torch.Tensor] = field(default_factory=dict)  # index -> (C, S, S), features not computed yet
    last: int | None = None  # the highest index, as soon as the group is full


class FeaturePoints:
    """f(x) of the first `MAPPED` images of each group, by index, whatever the order in which they come.

    `features` is the model's: squares (B, C, S, S) in [-1, 1], at most `AT_ONCE`, -> (B, F).
    """

    def __init__(self, features: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self._features = features
        self._groups: dict[str, _Group] = {}

    def add(self, index: int, group: str, square: torch.Tensor) -> None:
        """The square (C, S, S) of image `index`, left out where its group has enough images before it."""
        own = self._groups.setdefault(group, _Group())
        if own.last is not None and index > own.last:
            return
        if own.last is not None:
            (own.points if own.last in own.points else own.squares).pop(own.last)
        own.squares[index] = square.clone()  # a row of a batch would keep all of the batch in memory
        if len(own.points) + len(own.squares) == MAPPED:
            own.last = max(own.points.keys() | own.squares.keys())
        if len(own.squares) == AT_ONCE:
            self._compute([own])

    def __contains__(self, index: int) -> bool:
        return any(index in group.points or index in group.squares for group in self._groups.values())

    def draw(self, paths: Mapping[Literal["pca", "tsne"], Path], sample: Callable[[int], torch.Tensor]) -> list[Path]:
        """A map of each kind, beside images that `sample` draws; the paths written, none for fewer than three points.

        `sample` may raise SettingsError: then the map has queries only.
        """
        names = sorted(self._groups, reverse=True)  # normal before abnormal: a group's colour is its place
        self._compute(self._groups[name] for name in names)
        labels = [name for name in names for _ in self._groups[name].points]
        found = [point for name in names for _, point in sorted(self._groups[name].points.items())]
        with suppress(SettingsError):  # an autoencoder draws no samples
            samples = self._features(sample(min(MAPPED, max(len(labels), 32))))
            labels, found = ["generated normal"] * len(samples) + labels, [*samples, *found]
        if len(labels) < 3:
            return []
        for how, path in paths.items():
            feature_figure(torch.stack(found).numpy(), labels, path, how)
        return list(paths.values())

    def _compute(self, groups: Iterable[_Group]) -> None:
        """The features of the squares that wait for them."""
        waiting = [(group, index, group.squares.pop(index)) for group in groups for index in sorted(group.squares)]
        for begin in range(0, len(waiting), AT_ONCE):
            part = waiting[begin : begin + AT_ONCE]
            points = self._features(torch.stack([square for _, _, square in part]))
            for (group, index, _), point in zip(part, points, strict=True):
                group.points[index] = point
