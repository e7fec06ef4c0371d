"""What is usual at each place: closed forms, the same written out in numpy, and how rarely normal images exceed it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, maximum_filter, zoom

from anotwin.compare.places import (
    CELL,
    FLOOR,
    QUANTILE,
    RARE,
    TIMES,
    WIDE,
    highest_of_cells,
    in_usual,
    usual_of_cells,
)

QUICK = settings(derandomize=True, deadline=None, max_examples=30)
KINDS = torch.tensor([0, 1, 1])


def cells(count: int, seed: int = 0, grid: int = 6) -> torch.Tensor:
    """(count, 3, grid, grid) > 0, of other sizes at other places and in other kinds."""
    random = np.random.default_rng(seed)
    scale = random.random((1, 3, grid, grid)) * np.array([1.0, 20.0, 5.0])[None, :, None, None]
    return torch.from_numpy(random.exponential(size=(count, 3, grid, grid)) * scale + 0.01).float()


# -- cells ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grid", [1, 2, 5])
def test_the_highest_of_each_cell(grid: int) -> None:
    maps = torch.rand(2, 3, CELL * grid, CELL * grid)
    found = highest_of_cells(maps)
    assert found.shape == (2, 3, grid, grid)
    for row in range(grid):
        for column in range(grid):
            block = maps[..., CELL * row : CELL * (row + 1), CELL * column : CELL * (column + 1)]
            assert torch.equal(found[..., row, column], block.amax((-2, -1)))


# -- usual ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 50])
@pytest.mark.parametrize("value", [0.03, 4.0])
def test_what_is_always_the_same_is_usual(count: int, value: float) -> None:
    highest = torch.full((count, 3, 5, 5), value)
    assert torch.allclose(usual_of_cells(highest, KINDS), torch.full((3, 5, 5), value), rtol=1e-5)


def test_where_there_is_nothing_the_usual_is_above_zero() -> None:
    found = usual_of_cells(torch.zeros(20, 3, 4, 4), KINDS)
    assert (found > 0).all()
    assert found.isfinite().all()


def slow_level(highest: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    kept = max(1, round((1 - QUANTILE) * len(highest)))
    level = np.sort(highest, axis=0)[-kept]
    wide = np.stack([maximum_filter(each, 3, mode="constant", cval=-np.inf) for each in level])
    usual = np.stack([gaussian_filter(each, WIDE, mode="nearest", truncate=4.0) for each in wide])
    floors = [FLOOR * max(usual[other].max() for other in range(len(kinds)) if kinds[other] == kind) for kind in kinds]
    return np.maximum(usual, np.array(floors)[:, None, None])


def slow_usual(highest: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Word for word as it is described."""
    logs = []
    for part in np.array_split(np.arange(len(highest)), TIMES):
        if len(part):
            others = np.delete(highest, part, axis=0)
            logs.append(np.log((highest[part] / slow_level(others, kinds)).max((0, 2, 3))))
    factor = np.exp(np.mean(logs, 0) + RARE * np.std(logs, 0, ddof=1))
    return slow_level(highest, kinds) * factor[:, None, None]


@pytest.mark.parametrize("count", [3, 8, 11, 100, 700])
def test_usual_is_that_of_the_description(count: int) -> None:
    highest = cells(count, count)
    expected = slow_usual(highest.double().numpy(), KINDS.numpy())
    np.testing.assert_allclose(usual_of_cells(highest, KINDS).numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_of_so_few_images_that_none_can_be_left_out_it_is_their_level(count: int) -> None:
    highest = cells(count)
    expected = slow_level(highest.double().numpy(), KINDS.numpy())
    np.testing.assert_allclose(usual_of_cells(highest, KINDS).numpy(), expected, rtol=1e-5)


@QUICK
@given(st.floats(0.01, 100), st.integers(0, 99), st.integers(1, 40))
def test_evidence_in_another_unit_is_as_usual(unit: float, seed: int, count: int) -> None:
    highest = cells(count, seed)
    other = highest.clone()
    other[:, 0] *= unit
    ours, theirs = usual_of_cells(highest, KINDS), usual_of_cells(other, KINDS)
    assert torch.allclose(theirs[0], unit * ours[0], rtol=1e-4)
    assert torch.equal(theirs[1:], ours[1:])  # kinds do not touch each other


def test_the_floor_is_shared_by_evidence_of_one_kind() -> None:
    """Where nobody walks the other way, the speed that is usual along his way is the measure."""
    highest = torch.full((2, 3, 8, 8), 0.1)
    highest[:, 1] = 6.0
    level = usual_of_cells(highest, KINDS)
    assert torch.allclose(level[0], torch.full((8, 8), 0.1), rtol=1e-5)
    assert torch.allclose(level[2], torch.full((8, 8), FLOOR * 6), rtol=1e-5)
    apart = usual_of_cells(highest, torch.tensor([0, 1, 2]))
    assert torch.allclose(apart[2], torch.full((8, 8), 0.1), rtol=1e-5)


def test_a_place_where_more_happens_is_allowed_more() -> None:
    highest = cells(200, 1, grid=20)
    highest[:, :, :, :8] *= 20
    found = usual_of_cells(highest, torch.tensor([0, 1, 2]))
    assert (found[:, :, :5].mean((1, 2)) > 1.4 * found[:, :, 14:].mean((1, 2))).all()


@pytest.mark.parametrize("tail", ["exponential", "heavy", "bounded"])
def test_normal_images_of_another_time_hardly_exceed_what_is_usual(tail: str) -> None:
    """Whatever the tail of the evidence is like: that is what the factor is for."""
    random = np.random.default_rng(0)
    draw = {
        "exponential": lambda size: random.exponential(size=size),
        "heavy": lambda size: random.pareto(4, size=size),
        "bounded": lambda size: random.random(size=size),
    }[tail]
    exceeded = []
    for _ in range(10):
        made = torch.from_numpy(draw((600, 2, 6, 6))).float()
        usual = usual_of_cells(made[:400], torch.tensor([0, 1]))
        exceeded.append(float(((made[400:] / usual).amax((1, 2, 3)) > 1).float().mean()))
    assert np.mean(exceeded) < 0.01


def test_what_is_far_higher_than_usual_does_exceed_it() -> None:
    made = cells(400)
    usual = usual_of_cells(made, KINDS)
    assert ((10 * made.amax(0, keepdim=True) / usual).amax((1, 2, 3)) > 1).all()


# -- in units of it -------------------------------------------------------------------------------------------------


@QUICK
@given(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(1, 4))
def test_maps_in_units_of_a_level_usual_are_divided_by_it(value: float, usual: float, grid: int) -> None:
    maps = torch.full((2, 3, CELL * grid, CELL * grid), value)
    found = in_usual(maps, torch.full((3, grid, grid), usual))
    assert found.shape == maps.shape
    assert torch.allclose(found, torch.full_like(found, value / usual), rtol=1e-5)


def test_between_cells_the_usual_goes_over_from_one_to_the_other() -> None:
    usual = torch.rand(3, 5, 5) + 0.5
    found = 1 / in_usual(torch.ones(1, 3, 5 * CELL, 5 * CELL), usual)[0]
    expected = [zoom(each, CELL, order=1, mode="nearest", grid_mode=True) for each in usual.numpy()]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert found.min() >= usual.min() * (1 - 1e-6)
    assert found.max() <= usual.max() * (1 + 1e-6)


def test_no_image_depends_on_its_batch() -> None:
    maps, usual = torch.rand(5, 3, 4 * CELL, 4 * CELL), torch.rand(3, 4, 4) + 0.1
    together = in_usual(maps, usual)
    for rows in ([2], [4, 0], [1, 1, 3]):
        assert torch.equal(in_usual(maps[rows], usual), together[rows])
        assert torch.equal(highest_of_cells(maps[rows]), highest_of_cells(maps)[rows])
