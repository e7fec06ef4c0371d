"""From a budget to steps, with a clock that is told what to say."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anotwin.errors import SettingsError
from anotwin.search.budget import steps_within


def machine(once: float, step: float, disturbed: bool = False) -> tuple[Callable[[int], None], Callable[[], float]]:
    """A search that takes `once` seconds a batch and `step` seconds a step on a clock of its own."""
    now, calls = [0.0], [0]

    def search(steps: int) -> None:
        calls[0] += 1
        now[0] += once + step * steps + (100.0 if calls[0] == 1 or (disturbed and calls[0] == 4) else 0.0)

    return search, lambda: now[0]


@pytest.mark.parametrize("disturbed", [False, True])
@pytest.mark.parametrize("budget, steps", [(20.0, 10), (21.9, 10), (22.0, 11), (2000.0, 1000), (2.0, 1)])
def test_steps_in_closed_form(budget: float, steps: int, disturbed: bool) -> None:
    search, clock = machine(
        once=0.0, step=0.128, disturbed=disturbed
    )  # 2 ms an image of 64; the first call does not count
    assert steps_within(search, 64, budget, clock) == (steps, 2.0)


def test_what_a_batch_costs_once_is_paid_first() -> None:
    assert steps_within(*_with_clock(machine(once=0.64, step=0.064), 64, 15.0)) == (5, 1.0)


def _with_clock(
    parts: tuple[Callable[[int], None], Callable[[], float]], images: int, budget: float
) -> tuple[Callable[[int], None], int, float, Callable[[], float]]:
    return parts[0], images, budget, parts[1]


def test_a_budget_that_allows_nothing_says_what_would() -> None:
    with pytest.raises(SettingsError, match=r"--budget-ms 10: one step of the search takes 11 ms per image here"):
        steps_within(*_with_clock(machine(once=0.64, step=0.064), 64, 10.0))


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan")])
def test_a_budget_is_positive(budget: float) -> None:
    with pytest.raises(SettingsError, match="must be above 0"):
        steps_within(lambda _steps: None, 64, budget)
