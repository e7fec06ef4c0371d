"""The one scoring loop: images in, squares through the method in batches that span images, one `Scored` an image out.

An image has one square or many (patches, tiles), so batches are filled across images. An image leaves the loop, in
order, as soon as the last of its squares is scored: memory holds a batch of squares and the images that they belong to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from anotwin.domains.protocol import Prepared
from anotwin.methods.protocol import Method
from anotwin.records import Array, Batch, Pictures, Scores, Status
from anotwin.run.batch import Result, batch_rows, join_batches, result_rows, score_batch


@dataclass(frozen=True, eq=False)
class Scored:
    """What a method found for one image: scores, or the `error` why there are none."""

    image: Prepared
    error: str = ""
    status: str = "error"  # as in `Finding`
    scores: Scores[float] | None = None
    excluded: bool = False  # the model was trained on it: not scored
    _results: Sequence[Result] = field(default=(), repr=False)  # of its squares, in order

    def heat(self) -> Array:
        """The heat of the model's own pixels, of any shape, in units of pixels in [0, 1]."""
        return self.image.heat(self.heat_of_squares())

    def heat_of_squares(self) -> Array:
        """The heat of each square, (P, S, S), as the method gave it."""
        return _joined(found.heatmap for _, found in self._results).numpy()

    def pictures(self, one: float) -> Pictures:
        """In the pixels of the file; `one` is the heat that counts as 1."""
        counterparts = _joined(counterpart.images for counterpart, _ in self._results)
        differences = _joined(found.difference for _, found in self._results)
        return self.image.native(counterparts, differences, _joined(found.heatmap for _, found in self._results), one)


def scored_images(
    method: Method, images: Iterable[Prepared], name: Callable[[int], str], trained_on: frozenset[int] = frozenset()
) -> Iterator[Scored]:
    """Each image, in order; those whose fingerprint is in `trained_on` are not scored.

    `name` gives an image's id for its index. At most `search.batch_size` images wait for a batch to fill up.
    """
    size = method.settings.search.batch_size
    waiting: deque[_Waiting] = deque()
    missing = 0  # squares of those waiting that are still to be scored

    def finished() -> Iterator[Scored]:
        while waiting and not waiting[0].missing:
            yield _result(waiting.popleft(), name, trained_on)

    for image in images:
        squares = None if image.fingerprint in trained_on else image.squares
        waiting.append(_Waiting(image, squares, 0 if squares is None else len(squares)))
        missing += waiting[-1].missing
        yield from finished()
        while missing >= size or len(waiting) > size:
            missing -= _score_next(method, waiting, size)
            yield from finished()
    while waiting:
        _score_next(method, waiting, size)
        yield from finished()


@dataclass
class _Waiting:
    """An image some of whose squares may still have to be scored."""

    image: Prepared
    squares: Batch | None  # None: it is not scored
    missing: int  # squares that are still to be scored
    results: list[Result] = field(default_factory=list)

    def take(self, most: int) -> Batch:
        """The next squares, at most `most` of those that are missing."""
        assert self.squares is not None
        begin, count = len(self.squares) - self.missing, min(most, self.missing)
        self.missing -= count
        return batch_rows(self.squares, slice(begin, begin + count))


def _score_next(method: Method, waiting: Iterable[_Waiting], size: int) -> int:
    """Score the next `size` squares, or all that there are; how many they were."""
    taken: list[tuple[_Waiting, Batch]] = []
    room = size
    for each in waiting:
        if room and each.missing:
            taken.append((each, each.take(room)))
            room -= len(taken[-1][1])
    counterpart, comparison = score_batch(method, join_batches([batch for _, batch in taken]))
    on_cpu = replace(comparison, scores=comparison.scores.map(lambda term: term.double().cpu()))  # once per batch
    begin = 0
    for each, batch in taken:
        each.results.append(result_rows((counterpart, on_cpu), slice(begin, begin + len(batch))))
        begin += len(batch)
    return begin


def _result(done: _Waiting, name: Callable[[int], str], trained_on: frozenset[int]) -> Scored:
    image, results = done.image, done.results
    if image.fingerprint in trained_on:
        return Scored(image, excluded=True)
    if not results:
        return Scored(image, image.error)
    terms = [vars(found.scores) for _, found in results]
    scores = Scores(**{term: np.concatenate([each[term].numpy() for each in terms]) for term in terms[0]})  # (P,) each
    statuses = {status for counterpart, _ in results for status in counterpart.status}
    if Status.NOT_FOUND in statuses or not np.isfinite(scores.score).all():
        why = f"{name(image.index)}: no counterpart found: its loss was never finite; is the model damaged?"
        return Scored(image, why, Status.NOT_FOUND.value)
    worst = Status.BUDGET_SPENT if Status.BUDGET_SPENT in statuses else Status.CONVERGED
    return Scored(image, "", worst.value, image.pool(scores), _results=results)


def _joined(parts: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([part.cpu() for part in parts])
