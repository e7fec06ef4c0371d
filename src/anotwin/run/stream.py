"""The one scoring loop: images in, squares through the method in batches that span images, one `Scored` an image out.

An image has one square or many (patches, tiles), so batches are filled across images. An image leaves the loop, in
order, as soon as the last of its squares is scored. Squares are made as a batch asks for them, and what is found in
them goes to the image's `Results` at once: memory holds a batch of squares and the images that they belong to.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields

import numpy as np
import torch

from anotwin.domains.protocol import Prepared, Results, Squares
from anotwin.methods.protocol import Method
from anotwin.prepare.batches import join_batches
from anotwin.records import Array, Batch, Pictures, Scores, Status
from anotwin.run.batch import score_batch

TERMS = tuple(term.name for term in fields(Scores))


@dataclass(frozen=True, eq=False)
class Scored:
    """What a method found for one image: scores, or the `error` why there are none."""

    image: Prepared
    error: str = ""
    status: str = "error"  # as in `Finding`
    scores: Scores[float] | None = None
    excluded: bool = False  # the model was trained on it: not scored
    squares: Scores[Array] | None = None  # (P,) a term: the scores of its squares, in order
    results: Results | None = field(default=None, repr=False)  # what was found in them; None: not asked for

    def heat(self) -> Array:
        """The heat of the model's own pixels, of any shape, in units of pixels in [0, 1]."""
        assert self.results is not None
        return self.results.heat()

    def pictures(self, one: float) -> Pictures:
        """In the pixels of the file; `one` is the heat that counts as 1."""
        assert self.results is not None
        return self.results.pictures(one)


def scored_images(
    method: Method,
    images: Iterable[Prepared],
    name: Callable[[int], str],
    trained_on: frozenset[int] = frozenset(),
    results: bool = True,
) -> Iterator[Scored]:
    """Each image, in order; those whose fingerprint is in `trained_on` are not scored.

    `name` gives an image's id for its index; `results`: heat or pictures will be asked for. At most
    `search.batch_size` images wait for a batch to fill up.
    """
    size = method.settings.search.batch_size
    waiting: deque[_Waiting] = deque()
    missing = 0  # squares of those waiting that are still to be scored

    def finished() -> Iterator[Scored]:
        while waiting and not waiting[0].missing:
            yield _result(waiting.popleft(), name, trained_on)

    for image in images:
        squares = None if image.fingerprint in trained_on else image.squares
        wanted = image.results() if results and squares is not None else None
        waiting.append(_Waiting(image, squares, 0 if squares is None else len(squares), wanted))
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
    squares: Squares | None  # None: it is not scored
    missing: int  # squares that are still to be scored
    results: Results | None
    statuses: set[Status] = field(default_factory=set)
    scores: Array = field(init=False)  # (terms, P): small arrays that stay would scatter the memory that batches leave

    def __post_init__(self) -> None:
        self.scores = np.empty((len(TERMS), self.missing))

    def make(self, most: int) -> Batch:
        """The next squares, at most `most` of those that are missing."""
        assert self.squares is not None
        count = min(most, self.missing)
        return self.squares.rows(slice(self.scored, self.scored + count))

    @property
    def scored(self) -> int:
        """How many squares have been."""
        return int(self.scores.shape[1]) - self.missing


def _score_next(method: Method, waiting: Iterable[_Waiting], size: int) -> int:
    """Score the next `size` squares, or all that there are; how many they were."""
    taken: list[tuple[_Waiting, Batch]] = []
    room = size
    for each in waiting:
        if room and each.missing:
            taken.append((each, each.make(room)))
            room -= len(taken[-1][1])
    counterpart, comparison = score_batch(method, join_batches([batch for _, batch in taken]))
    terms = [getattr(comparison.scores, term) for term in TERMS]
    scores = torch.stack([term.double() for term in terms]).cpu().numpy()  # (terms, B)
    wanted = any(each.results is not None for each, _ in taken)
    found = counterpart.images, comparison.difference, comparison.heatmap
    maps = tuple(each.cpu() for each in found) if wanted else ()
    begin = 0
    for each, batch in taken:
        rows = slice(begin, begin + len(batch))
        each.scores[:, each.scored : each.scored + len(batch)] = scores[:, rows]
        each.missing -= len(batch)
        each.statuses |= set(counterpart.status[rows])
        if each.results is not None:
            each.results.take(*(values[rows] for values in maps))
        begin += len(batch)
    return begin


def _result(done: _Waiting, name: Callable[[int], str], trained_on: frozenset[int]) -> Scored:
    image = done.image
    if image.fingerprint in trained_on:
        return Scored(image, excluded=True)
    if not done.statuses:
        return Scored(image, image.error)
    scores = Scores(*done.scores)  # (P,) each
    if Status.NOT_FOUND in done.statuses or not np.isfinite(scores.score).all():
        why = f"{name(image.index)}: no counterpart found: its loss was never finite; is the model damaged?"
        return Scored(image, why, Status.NOT_FOUND.value)
    worst = Status.BUDGET_SPENT if Status.BUDGET_SPENT in done.statuses else Status.CONVERGED
    return Scored(image, "", worst.value, image.pool(scores), squares=scores, results=done.results)
