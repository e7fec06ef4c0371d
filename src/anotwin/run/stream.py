"""The one scoring loop: images in, squares through the method in batches that span images, one `Scored` an image out.

An image has one square or many (patches, tiles), so batches are filled across images; an image leaves the loop, in the
order in which it came, as soon as the last of its squares is scored. What is in memory is a batch of squares and the
images that they belong to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from anotwin.domains.protocol import Prepared
from anotwin.methods.protocol import Method
from anotwin.records import Array, Batch, Comparison, Counterpart, Pictures, Scores, Status
from anotwin.run.batch import score_batch


@dataclass(frozen=True, eq=False)
class Scored:
    """What a method says of one image; with an `error` there is nothing else but perhaps a status."""

    image: Prepared
    name: str
    error: str = ""
    scores: Scores[float] | None = None
    status: Status | None = None
    excluded: bool = False  # the model was trained on it: not scored
    _squares: _Squares | None = field(default=None, repr=False)

    def heat(self) -> Array:
        """The heat of the model's own pixels, of any shape, in units of pixels in [0, 1]."""
        assert self._squares is not None
        return self.image.heat(self._squares.heat().numpy())

    def pictures(self, one: float) -> Pictures:
        """In the pixels of the file; `one` is the heat that counts as 1."""
        assert self._squares is not None
        return self.image.native(*self._squares.pictures(), one)


def scored_images(
    method: Method,
    images: Iterable[Prepared],
    name: Callable[[int], str],
    trained_on: frozenset[int] = frozenset(),
) -> Iterator[Scored]:
    """Each image, in order; those in `trained_on` are not scored. `name` tells an image's id from its index."""
    size = method.settings.search.batch_size
    waiting: deque[_Squares] = deque()  # images of which some squares are still to be scored
    for image in images:
        scored = image.squares is not None and image.fingerprint not in trained_on
        waiting.append(_Squares(image, len(image.squares) if scored and image.squares is not None else 0))
        while sum(each.missing for each in waiting) >= size:
            _score(method, waiting, size)
        while waiting and not waiting[0].missing:
            yield _result(waiting.popleft(), name, trained_on)
    while waiting:
        _score(method, waiting, size)
        while waiting and not waiting[0].missing:
            yield _result(waiting.popleft(), name, trained_on)


@dataclass
class _Squares:
    """An image and what is known of its squares so far."""

    image: Prepared
    missing: int  # squares that are still to be scored
    parts: list[tuple[Counterpart, Comparison, slice]] = field(default_factory=list)  # rows of scored batches

    def take(self, most: int) -> Batch:
        """The next squares, at most so many."""
        squares = self.image.squares
        assert squares is not None
        begin = len(squares) - self.missing
        rows = slice(begin, begin + most)
        context = None if squares.context is None else squares.context[rows]
        return Batch(squares.images[rows], squares.fingerprints[rows], context)

    def scores(self) -> Scores[Array]:
        """(P,) float64 a term."""
        columns: dict[str, list[Array]] = {}
        for _, found, rows in self.parts:
            for term, values in vars(found.scores).items():
                columns.setdefault(term, []).append(values[rows].double().cpu().numpy())
        return Scores(**{term: np.concatenate(parts) for term, parts in columns.items()})

    def statuses(self) -> list[Status]:
        """(P,)."""
        return [status for found, _, rows in self.parts for status in found.status[rows]]

    def heat(self) -> torch.Tensor:
        """(P, S, S)."""
        return torch.cat([found.heatmap[rows].cpu() for _, found, rows in self.parts])

    def pictures(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Counterparts, differences, heat of all squares."""
        counterparts = torch.cat([found.images[rows].cpu() for found, _, rows in self.parts])
        differences = torch.cat([found.difference[rows].cpu() for _, found, rows in self.parts])
        return counterparts, differences, self.heat()


def _score(method: Method, waiting: Sequence[_Squares], size: int) -> None:
    """Score the next `size` squares, or all that there are."""
    taken: list[tuple[_Squares, Batch]] = []
    for each in waiting:
        room = size - sum(len(batch) for _, batch in taken)
        if room and each.missing:
            taken.append((each, each.take(min(room, each.missing))))
    counterpart, comparison = score_batch(method, joined([batch for _, batch in taken]))
    begin = 0
    for each, batch in taken:
        each.parts.append((counterpart, comparison, slice(begin, begin + len(batch))))
        each.missing -= len(batch)
        begin += len(batch)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of several."""
    contexts = [batch.context for batch in batches if batch.context is not None]
    prints = tuple(print_ for batch in batches for print_ in batch.fingerprints)
    return Batch(torch.cat([batch.images for batch in batches]), prints, torch.cat(contexts) if contexts else None)


def _result(squares: _Squares, name: Callable[[int], str], trained_on: frozenset[int]) -> Scored:
    image = squares.image
    if image.fingerprint in trained_on:
        return Scored(image, name(image.index), excluded=True)
    if image.squares is None:
        return Scored(image, name(image.index), image.error)
    scores, statuses = squares.scores(), squares.statuses()
    if Status.NOT_FOUND in statuses or not np.isfinite(scores.score).all():
        why = f"{name(image.index)}: no counterpart found: its loss was never finite; is the model damaged?"
        return Scored(image, name(image.index), why, status=Status.NOT_FOUND)
    worst = Status.BUDGET_SPENT if Status.BUDGET_SPENT in statuses else Status.CONVERGED
    return Scored(image, name(image.index), "", image.pool(scores), worst, _squares=squares)
