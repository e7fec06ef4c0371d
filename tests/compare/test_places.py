"""What is usual at each place: closed forms, the same written out in numpy, and tails that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, maximum_filter, zoom

from anotwin.compare.places import (
    AS_MANY,
    CELL,
    FLOOR,
    QUANTILE,
    SHARE,
    SURE,
    TAIL,
    TIMES,
    WIDE,
    Usual,
    highest_of_cells,
    rarity,
    usual_of_cells,
)

QUICK = settings(derandomize=True, deadline=None, max_examples=30)


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
    found = usual_of_cells(torch.full((count, 3, 5, 5), value))
    assert torch.allclose(found.level, torch.full((3, 5, 5), value), rtol=1e-5)
    assert torch.allclose(found.tail, torch.full((3,), TAIL))


def test_where_there_is_nothing_the_usual_is_above_zero() -> None:
    for each in usual_of_cells(torch.zeros(20, 3, 4, 4)):
        assert (each > 0).all()
        assert each.isfinite().all()


def slow_level(highest: np.ndarray) -> np.ndarray:
    kept = max(1, round((1 - QUANTILE) * len(highest)))
    level = np.sort(highest, axis=0)[-kept]
    wide = np.stack([maximum_filter(each, 3, mode="constant", cval=-np.inf) for each in level])
    usual = np.stack([gaussian_filter(each, WIDE, mode="nearest", truncate=4.0) for each in wide])
    return np.maximum(usual, FLOOR * usual.max((1, 2), keepdims=True))


def slow_tail(parts: list[np.ndarray]) -> tuple[float, float]:
    """Where it begins and how long it is, of the logarithms of one kind in several parts."""
    logs = np.concatenate(parts)
    begin = np.quantile(logs, 1 - SHARE)
    beyond = logs[logs > begin] - begin
    mean = (beyond.sum() + AS_MANY * TAIL) / (len(beyond) + AS_MANY)
    highest = np.mean([max(part.max() - begin, 0) for part in parts])
    many = np.mean([max((part > begin).sum(), 1) for part in parts])
    return begin, max(mean, highest / (np.log(many) + np.euler_gamma))


def slow_usual(highest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Word for word as it is described."""
    parts = [part for part in np.array_split(np.arange(len(highest)), TIMES) if len(part)]
    logs = []
    for part in parts:
        others = np.delete(highest, part, axis=0)
        logs.append(np.log((highest[part] / slow_level(others)).max((2, 3))))
    level, tails = slow_level(highest), []
    for kind in range(highest.shape[1]):
        own = [part[:, kind] for part in logs]
        every = np.array(slow_tail(own))
        less = [slow_tail(own[:n] + own[n + 1 :]) for n in range(len(parts))]
        error = np.sqrt((len(parts) - 1) / len(parts) * ((less - np.mean(less, 0)) ** 2).sum(0))  # jackknife
        begin, tail = every + SURE * error
        level[kind] *= np.exp(begin)
        tails.append(tail)
    return level, np.array(tails)


@pytest.mark.parametrize("count", [3, 8, 11, 100, 700])
def test_usual_is_that_of_the_description(count: int) -> None:
    highest = cells(count, count)
    level, tail = slow_usual(highest.double().numpy())
    found = usual_of_cells(highest)
    np.testing.assert_allclose(found.level.numpy(), level, rtol=1e-4)
    np.testing.assert_allclose(found.tail.numpy(), tail, rtol=1e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_of_so_few_images_that_none_can_be_left_out_it_is_their_level(count: int) -> None:
    highest = cells(count)
    found = usual_of_cells(highest)
    np.testing.assert_allclose(found.level.numpy(), slow_level(highest.double().numpy()), rtol=1e-5)
    assert torch.equal(found.tail, torch.full((3,), TAIL))


@QUICK
@given(st.floats(0.01, 100), st.integers(0, 99), st.integers(1, 40))
def test_evidence_in_another_unit_is_as_usual(unit: float, seed: int, count: int) -> None:
    highest = cells(count, seed)
    other = highest.clone()
    other[:, 0] *= unit
    ours, theirs = usual_of_cells(highest), usual_of_cells(other)
    assert torch.allclose(theirs.level[0], unit * ours.level[0], rtol=1e-3)
    assert torch.allclose(theirs.tail, ours.tail, rtol=1e-3, atol=1e-5)
    assert torch.equal(theirs.level[1:], ours.level[1:])  # kinds do not touch each other


def test_where_nobody_walks_the_measure_is_how_they_walk_elsewhere() -> None:
    highest = torch.full((2, 1, 12, 12), 0.1)
    highest[..., :6] = 6.0
    (level,) = usual_of_cells(highest).level
    assert torch.allclose(level[:, -1], torch.full((12,), FLOOR * 6), rtol=1e-4)


def test_a_place_where_more_happens_is_allowed_more() -> None:
    highest = cells(200, 1, grid=20)
    highest[:, :, :, :8] *= 20
    found = usual_of_cells(highest).level
    assert (found[:, :, :5].mean((1, 2)) > 1.4 * found[:, :, 14:].mean((1, 2))).all()


@pytest.mark.parametrize("power", [2.0, 5.0, 12.0])
def test_the_tail_of_a_power_is_found(power: float) -> None:
    """Of a Pareto variable the logarithm of the ratio to any level has the mean 1 / power beyond it."""
    random = np.random.default_rng(0)
    made = torch.from_numpy(1 + random.pareto(power, (4000, 1, 1, 1))).float()
    found = usual_of_cells(made)
    assert 1 / power <= float(found.tail) <= 1.25 / power  # the upper end of an interval
    exceeded = (1 + random.pareto(power, 10**6)) / float(found.level)
    assert 0.07 < (exceeded > 1).mean() <= 0.1


@pytest.mark.parametrize("tail", ["exponential", "heavy", "bounded"])
def test_normal_images_of_another_time_reach_a_rarity_no_more_often_than_it_says(tail: str) -> None:
    random = np.random.default_rng(0)
    draw = {
        "exponential": lambda size: random.exponential(size=size),
        "heavy": lambda size: random.pareto(4, size=size),
        "bounded": lambda size: random.random(size=size),
    }[tail]
    reached = []
    for _ in range(10):
        made = torch.from_numpy(draw((1200, 1, 6, 6))).float()
        usual = usual_of_cells(made[:400])
        reached.append(rarity(made[400:], usual).amax((1, 2, 3)))
    share = torch.cat(reached).neg().exp()
    for level in (0.1, 0.01):
        assert float((share <= level).float().mean()) <= 1.5 * level


def test_glitches_make_a_tail_longer() -> None:
    """One image in a hundred reaches ten times as far as the tail of the others says."""
    random = np.random.default_rng(0)
    steady = torch.from_numpy(1 + random.pareto(10, size=(1600, 1, 1, 1))).float()
    glitches = steady.clone()
    glitches[::100] *= 10
    assert float(usual_of_cells(glitches).tail) > 2.5 * float(usual_of_cells(steady).tail)


def test_what_one_part_alone_shows_is_not_certain() -> None:
    """Somebody stood there once: of so little a tail cannot be known, and is taken to be long."""
    random = np.random.default_rng(0)
    often = torch.from_numpy(random.exponential(size=(400, 1, 4, 4))).float()
    once = often.clone()
    once[100:140] *= 10
    ours, theirs = usual_of_cells(often), usual_of_cells(once)
    assert float(theirs.tail) > 2 * float(ours.tail)


def test_what_is_far_higher_than_usual_is_rare() -> None:
    made = cells(400)
    assert (rarity(100 * made[:, :, :4, :4], usual_of_cells(made[:, :, :1, :1])).amax((1, 2, 3)) > 5).all()


# -- how rare it is -------------------------------------------------------------------------------------------------


@QUICK
@given(st.floats(0.1, 10), st.floats(0.1, 10), st.floats(0.05, 1), st.integers(1, 4))
def test_rarity_is_minus_the_logarithm_of_the_share(value: float, level: float, tail: float, grid: int) -> None:
    maps = torch.full((2, 3, CELL * grid, CELL * grid), value)
    found = rarity(maps, Usual(torch.full((3, grid, grid), level), torch.full((3,), tail)))
    assert found.shape == maps.shape
    expected = -np.log(SHARE * (value / level) ** (-1 / tail)) if value > level else -np.log(SHARE) * value / level
    assert torch.allclose(found, torch.full_like(found, float(expected)), rtol=1e-3, atol=1e-4)


def test_nothing_is_not_rare_and_more_is_never_less_rare() -> None:
    usual = Usual(torch.ones(1, 1, 1), torch.tensor([0.1]))
    found = rarity(torch.linspace(0, 5, CELL * CELL).view(1, 1, CELL, CELL), usual).flatten()
    assert float(found[0]) == 0
    assert (found.diff() >= 0).all()
    assert found.isfinite().all()


def test_between_cells_the_usual_goes_over_from_one_to_the_other() -> None:
    level, tail = torch.rand(3, 5, 5) + 0.5, torch.tensor([0.2, 0.3, 0.5])
    found = rarity(torch.full((1, 3, 5 * CELL, 5 * CELL), 2.0), Usual(level, tail))[0].double().numpy()
    wide = np.stack([zoom(each, CELL, order=1, mode="nearest", grid_mode=True) for each in level.double().numpy()])
    expected = np.log(1 / SHARE) + np.log(2 / wide) / tail.numpy()[:, None, None]  # 2 is above every level
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_no_image_depends_on_its_batch() -> None:
    maps, usual = torch.rand(5, 3, 4 * CELL, 4 * CELL), Usual(torch.rand(3, 4, 4) + 0.1, torch.full((3,), 0.2))
    together = torch.cat([rarity(each[None], usual) for each in maps])
    for rows in ([2], [4, 0], [1, 1, 3]):
        assert torch.allclose(rarity(maps[rows], usual), together[rows], rtol=1e-6)  # kernels round by the array's end
        assert torch.equal(highest_of_cells(maps[rows]), highest_of_cells(maps)[rows])
