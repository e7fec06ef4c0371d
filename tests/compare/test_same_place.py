"""The nearest of what others show at each place, beside loops that write it down."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.compare.same_place import (
    CELL,
    REACH,
    WINDOW,
    counterpart_there,
    distance_there,
    in_own_light,
)

Floats = npt.NDArray[np.float32]


def pictures(count: int, channels: int, height: int, width: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 1, (count, channels, height, width)).astype(np.float32)


def by_hand(query: Floats, others: Floats) -> Floats:
    """Every window of every other, moved in every way, one after the other."""
    height, width = query.shape[1:]
    half, found = WINDOW // 2, np.full((height, width), np.inf)
    wide = np.pad(others, ((0, 0), (0, 0), (REACH, REACH), (REACH, REACH)), mode="edge").astype(np.float64)
    for row in range(height):
        for column in range(width):
            top = min(max(row - half, 0), height - WINDOW)
            left = min(max(column - half, 0), width - WINDOW)
            own = query[:, top : top + WINDOW, left : left + WINDOW]
            for other in wide:
                for down in range(2 * REACH + 1):
                    for across in range(2 * REACH + 1):
                        part = other[:, top + down :, left + across :][:, :WINDOW, :WINDOW]
                        found[row, column] = min(found[row, column], float(np.square(own - part).mean()))
    return np.sqrt(found).astype(np.float32)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 9, 12), (3, 7, 6), (1, 5, 5)])
def test_distances_are_those_of_all_windows_one_by_one(channels: int, height: int, width: int) -> None:
    query, others = pictures(1, channels, height, width)[0], pictures(3, channels, height, width, seed=1)
    assert distance_there(query, others) == pytest.approx(by_hand(query, others), abs=1e-5)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(-REACH, REACH), st.integers(-REACH, REACH))
def test_what_another_shows_a_pixel_beside_it_is_no_distance(seed: int, down: int, across: int) -> None:
    wide = pictures(1, 1, 24, 28, seed)[0]
    query = wide[:, 2:-2, 2:-2]
    other = wide[:, 2 + down : 22 + down, 2 + across : 26 + across]
    away = WINDOW // 2 + REACH  # from the border, where the other's is repeated
    assert distance_there(query, [other])[away:-away, away:-away].max() == 0
    assert distance_there(query, [other + 10, other])[away:-away, away:-away].max() == 0


def test_one_more_picture_never_makes_anything_farther() -> None:
    query, others = pictures(1, 1, 20, 20)[0], pictures(5, 1, 20, 20, seed=3)
    assert (distance_there(query, others) <= distance_there(query, others[:4])).all()


def test_a_counterpart_shows_what_the_one_with_the_same_surroundings_shows() -> None:
    """Two kinds of part; the query is one of the first kind with a spot that only the other kind has."""
    rows, columns = np.mgrid[:64, :64]
    stripes = np.sin(rows / 3).astype(np.float32)[None], np.sin(columns / 3).astype(np.float32)[None]
    query = stripes[0].copy()
    query[:, 28:36, 28:36] = stripes[1][:, 28:36, 28:36]
    found = counterpart_there(query, stripes)
    assert np.abs(found - stripes[0]).max() == 0
    assert distance_there(query, stripes)[31, 31] == 0  # the window in the middle of it is to be seen somewhere


@pytest.mark.parametrize(("height", "width"), [(40, 60), (33, 47), (8, 8)])
def test_a_counterpart_is_made_of_pixels_that_others_show_there(height: int, width: int) -> None:
    query, others = pictures(1, 3, height, width)[0], pictures(4, 3, height, width, seed=5)
    found = counterpart_there(query, others)
    wide = np.pad(others, ((0, 0), (0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
    moved = [
        wide[:, :, down : down + height, across : across + width]
        for down in range(2 * REACH + 1)
        for across in range(2 * REACH + 1)
    ]
    shown = np.concatenate(moved)  # (36, C, h, w)
    assert (shown == found).all(1).any(0).all()  # all channels of one and the same


def test_a_cell_of_a_counterpart_is_of_one_other() -> None:
    query, others = pictures(1, 1, 48, 48)[0], pictures(6, 1, 48, 48, seed=7)
    found = counterpart_there(query, others)
    wide = np.pad(others, ((0, 0), (0, 0), (REACH, REACH), (REACH, REACH)), mode="edge")
    cell = found[:, CELL : 2 * CELL, CELL : 2 * CELL]
    places = [
        other[:, CELL + down :, CELL + across :][:, :CELL, :CELL]
        for other in wide
        for down in range(3)
        for across in range(3)
    ]
    assert any((cell == each).all() for each in places)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(st.floats(0.2, 5), st.floats(-1, 1), st.integers(0, 1000))
def test_light_changes_nothing(contrast: float, brightness: float, seed: int) -> None:
    picture = pictures(1, 1, 32, 40, seed)[0]
    other = in_own_light(np.float32(contrast) * picture + np.float32(brightness))
    assert other == pytest.approx(in_own_light(picture), abs=1e-3)


def test_slow_changes_are_light_and_fast_ones_are_not() -> None:
    rows = np.linspace(0, 1, 320, dtype=np.float32)[None, :, None].repeat(320, 2)
    spots = np.zeros_like(rows)
    spots[0, ::40, ::40] = 1
    assert np.abs(in_own_light(rows))[0, 40:-40].max() < 0.05
    assert in_own_light(spots)[0, 160, 160] > 10
