"""The image pool beside the same in plain Python, and as a part of a snapshot."""

from __future__ import annotations

import pytest
import torch

from anotwin.seeding import generator
from anotwin.translation.pool import ImagePool


def plain(capacity: int, batches: list[list[float]], seed: int) -> list[list[float]]:
    """What the pool returns, by lists."""
    rng, stored, returned = generator(seed), [], []
    for batch in batches:
        given = []
        for image in batch:
            if len(stored) < capacity:
                stored.append(image)
                given.append(image)
            elif capacity and torch.rand((), generator=rng) < 0.5:
                place = int(torch.randint(capacity, (), generator=rng))
                given.append(stored[place])
                stored[place] = image
            else:
                given.append(image)
        returned.append(given)
    return returned


def images(values: list[float]) -> torch.Tensor:
    return torch.tensor(values)[:, None, None, None].expand(-1, 2, 4, 4)


@pytest.mark.parametrize("capacity", [0, 1, 5, 50])
def test_it_returns_what_lists_would(capacity: int) -> None:
    batches = [[float(3 * step + row) for row in range(3)] for step in range(30)]
    pool, rng = ImagePool(capacity, 2, 4), generator(7)
    found = [pool.exchange(images(batch), rng) for batch in batches]
    expected = plain(capacity, batches, 7)
    assert [each[:, 1, 2, 3].tolist() for each in found] == expected
    assert all(torch.equal(each, images(each[:, 0, 0, 0].tolist())) for each in found)
    assert (expected != batches) == (capacity > 0)  # it does exchange


def test_it_goes_on_from_a_snapshot() -> None:
    first, second = ImagePool(4, 2, 4), ImagePool(4, 2, 4)
    for step in range(6):
        first.exchange(images([step, step + 0.5]), generator(step))
    second.load_state_dict(first.state_dict())
    new = images([9.0, 9.5, 10.0, 10.5])
    assert torch.equal(first.exchange(new, generator(8)), second.exchange(new, generator(8)))
    assert torch.equal(first.images, second.images)


def test_it_keeps_no_graph_and_changes_nothing_that_it_was_given() -> None:
    pool, made = ImagePool(2, 2, 4), images([1.0, 2.0, 3.0]).clone().requires_grad_()
    before = made.detach().clone()
    assert not pool.exchange(made, generator(0)).requires_grad
    pool.exchange(images([5.0] * 8), generator(1))
    assert torch.equal(made.detach(), before)
