"""The scoring loop with a method whose every number is known: how batches are filled, and what leaves when."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.domains.kept import KeptResults
from anotwin.prepare.batches import join_batches
from anotwin.records import Array, Batch, Comparison, Counterpart, ImageSpec, Pictures, Scores, Status
from anotwin.run.batch import score_batch
from anotwin.run.stream import Scored, scored_images
from anotwin.settings import Settings

SIDE = 4


@dataclass
class Halving:
    """A counterpart is half its square; every term is a multiple of the square's mean. Batches are written down."""

    size: int
    seen: list[list[int]] = field(default_factory=list)  # fingerprints of each batch that came
    name = "halving"
    spec = ImageSpec(1, 16)
    networks: Any = field(default_factory=lambda: torch.nn.ModuleDict({"one": torch.nn.Linear(1, 1)}))

    @property
    def settings(self) -> Settings:
        return Settings().with_overrides([f"search.batch_size={self.size}"])

    def counterpart(self, batch: Batch) -> Counterpart:
        self.seen.append(list(batch.fingerprints))
        means = batch.images.mean((1, 2, 3)).tolist()
        status = tuple(Status.BUDGET_SPENT if mean < 0 else Status.CONVERGED for mean in means)
        return Counterpart(batch.images / 2, None, torch.zeros(len(batch)), status)

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        mean = queries.mean((1, 2, 3))
        scores = Scores(mean, 2 * mean, 3 * mean, 4 * mean, 5 * mean, 6 * mean)
        return Comparison(scores, queries - counterpart.images, queries[:, 0].abs())


@dataclass(frozen=True, eq=False)
class Image:
    """An image of some squares of one value each; `evidence` says nothing here."""

    index: int
    squares: Batch | None
    error: str = ""
    evidence: Any = None

    @property
    def fingerprint(self) -> int | None:
        return self.index

    def pool(self, scores: Scores[Array]) -> Scores[float]:
        return scores.map(lambda term: float(term.max()))

    def results(self) -> KeptResults:
        return KeptResults(self.heat, self.native)

    def heat(self, heat: Array) -> Array:
        return heat.max(0)

    def native(self, counterparts: torch.Tensor, differences: torch.Tensor, heat: torch.Tensor, one: float) -> Pictures:
        return Pictures(counterparts.numpy(), counterparts.numpy(), differences.numpy(), heat.numpy() / one)


def image(index: int, values: list[float], error: str = "") -> Image:
    """Square k of image i has the fingerprint 100 i + k."""
    if error:
        return Image(index, None, error)
    squares = torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, SIDE, SIDE).clone()
    return Image(index, Batch(squares, tuple(100 * index + k for k in range(len(values)))))


def name(index: int) -> str:
    return f"image-{index}"


def stream(method: Halving, images: list[Image], trained_on: frozenset[int] = frozenset()) -> list[Scored]:
    return list(scored_images(method, iter(images), name, trained_on))


def test_batches_are_filled_across_images_in_order() -> None:
    method = Halving(size=4)
    counts = [3, 1, 6, 1, 2]
    scored = stream(method, [image(index, [0.5] * count) for index, count in enumerate(counts)])
    assert [each.image.index for each in scored] == [0, 1, 2, 3, 4]
    assert method.seen == [[0, 1, 2, 100], [200, 201, 202, 203], [204, 205, 300, 400], [401]]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    counts=st.lists(st.integers(0, 7), min_size=1, max_size=9),
    size=st.sampled_from([1, 2, 3, 4, 8]),
    left_out=st.sets(st.integers(0, 8)),
)
def test_every_square_is_scored_once_whatever_the_images(counts: list[int], size: int, left_out: set[int]) -> None:
    """0 squares: an image that could not be read."""
    method = Halving(size)
    images = [image(i, [0.1 * (i + k) for k in range(n)], "" if n else "unreadable") for i, n in enumerate(counts)]
    scored = stream(method, images, frozenset(left_out))
    assert [each.image for each in scored] == images
    wanted = [100 * i + k for i, n in enumerate(counts) if i not in left_out for k in range(n)]
    got = [square for batch in method.seen for square in dict.fromkeys(batch)]  # rows that fill up repeat the last
    assert got == wanted
    assert all(len(set(batch)) <= size for batch in method.seen)
    assert all(len(batch).bit_count() == 1 for batch in method.seen)  # a power of two
    for each, count in zip(scored, counts, strict=True):
        if each.image.index in left_out:
            assert (each.excluded, each.scores, each.error) == (True, None, "")
        elif not count:
            assert (each.error, each.status, each.scores) == ("unreadable", "error", None)
        else:
            assert each.scores is not None
            assert each.scores.score == pytest.approx(0.1 * (each.image.index + count - 1), rel=1e-6)
            assert each.scores.mean_residual == pytest.approx(6 * each.scores.score)
            assert (each.status, each.error) == ("converged", "")


def test_an_image_of_many_squares_is_the_same_alone() -> None:
    rng = np.random.default_rng(0)
    images = [image(index, rng.uniform(0, 1, 5 + index).tolist()) for index in range(4)]
    together = stream(Halving(4), images)
    for one, scored in zip(images, together, strict=True):
        (alone,) = stream(Halving(64), [one])
        assert alone.scores == scored.scores
        assert np.array_equal(alone.heat(), scored.heat())
        for ours, theirs in zip(vars(scored.pictures(0.5)).values(), vars(alone.pictures(0.5)).values(), strict=True):
            assert np.array_equal(ours, theirs)


def test_pictures_and_heat_are_of_all_squares_in_order() -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.5]
    _, scored = stream(Halving(2), [image(0, [0.9]), image(1, values)])
    pictures = scored.pictures(2.0)
    assert pictures.counterpart[:, 0, 0, 0].tolist() == pytest.approx([value / 2 for value in values])
    assert pictures.difference[:, 0, 0, 0].tolist() == pytest.approx([value / 2 for value in values])
    assert pictures.heatmap[:, 0, 0].tolist() == pytest.approx([value / 2 for value in values])
    assert scored.heat().shape == (SIDE, SIDE)
    assert float(scored.heat()[0, 0]) == pytest.approx(0.5)


def test_one_square_decides_the_status_of_its_image() -> None:
    found, spent, lost = stream(
        Halving(4), [image(0, [0.1, 0.2]), image(1, [0.1, -0.2, 0.3]), image(2, [0.1, math.nan])]
    )
    assert (found.status, spent.status, lost.status) == ("converged", "budget_spent", "no_counterpart")
    assert lost.error.startswith("image-2: no counterpart found")
    assert lost.scores is None


def test_images_leave_as_soon_as_their_last_square_is_scored() -> None:
    method, taken = Halving(size=4), []

    def images() -> Iterator[Image]:
        for index in range(12):
            taken.append(index)
            yield image(index, [0.5] * 3)

    held = []
    for scored in scored_images(method, images(), name):
        held.append(len(taken) - scored.image.index)
    assert max(held) <= 2  # an image of 3 squares waits for the next one at most
    assert len(method.seen) == 9


@pytest.mark.parametrize("waiting", ["failed", "excluded"])
def test_images_that_are_not_scored_do_not_pile_up(waiting: str) -> None:
    """They keep their place behind one that waits for its batch to fill, but never more than a batch of them."""
    method, taken = Halving(size=4), []

    def images() -> Iterator[Image]:
        for index in range(100):
            taken.append(index)
            yield image(index, [0.5], "unreadable" if index and waiting == "failed" else "")

    trained_on = frozenset(range(1, 100)) if waiting == "excluded" else frozenset()
    held = [len(taken) - scored.image.index for scored in scored_images(method, images(), name, trained_on)]
    assert max(held) <= 5
    assert held[-1] == 1  # with nothing before it, an image leaves at once
    assert method.seen == [[0]]


def test_a_batch_is_filled_up_to_a_power_of_two_with_its_context() -> None:
    seen: list[Batch] = []

    class Watching(Halving):
        def counterpart(self, batch: Batch) -> Counterpart:
            seen.append(batch)
            return super().counterpart(batch)

    first, second = (
        Batch(torch.rand(count, 1, SIDE, SIDE), tuple(range(count)), torch.rand(count, 2, 1, SIDE, SIDE))
        for count in (2, 3)
    )
    batch = join_batches([first, second])
    assert batch.context is not None
    assert batch.fingerprints == (0, 1, 0, 1, 2)
    counterpart, comparison = score_batch(Watching(16), batch)
    assert len(counterpart.images) == len(counterpart.status) == len(comparison.heatmap) == 5
    assert torch.equal(counterpart.images, batch.images / 2)
    (full,) = seen
    assert full.context is not None
    assert full.fingerprints == (0, 1, 0, 1, 2, 2, 2, 2)
    for whole, part in ((full.images, batch.images), (full.context, batch.context)):
        assert torch.equal(whole[:5], part)
        assert torch.equal(whole[5:], part[-1:].expand(3, *part.shape[1:]))


def test_a_gpu_gets_batches_of_one_size() -> None:
    """Its kernels round otherwise for other sizes; "meta" stands for it."""
    method = Halving(16)
    method.networks.to("meta")
    for count in (1, 5, 16):
        counterpart, comparison = score_batch(method, Batch(torch.rand(count, 1, SIDE, SIDE), tuple(range(count))))
        assert len(counterpart.images) == len(comparison.heatmap) == count
    assert [len(each) for each in method.seen] == [16, 16, 16]
    assert method.seen[1] == [0, 1, 2, 3, 4, *[4] * 11]
