"""Squares with several defects: exact masks, and nothing but the seed decides."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.defects import scenes as module
from anotwin.defects.kinds import HELD_OUT, TRAINED
from anotwin.defects.scenes import SHARES, SPOILED, scenes


def squares(count: int, channels: int, side: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.15, (count, channels, side, side)).clip(-1, 1).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([16, 32, 64, 128]), st.sampled_from([1, 3]), st.integers(0, 10**6))
def test_pixels_outside_of_the_masks_are_the_normal_ones(side: int, channels: int, seed: int) -> None:
    normals = squares(4, channels, side, seed)
    before = normals.copy()
    damaged, masks = scenes(normals, np.random.default_rng(seed))
    assert np.array_equal(normals, before)
    assert damaged.dtype == np.float32
    assert np.abs(damaged).max() <= 1
    changed = (damaged != normals).any(1)
    assert not changed[~masks].any()
    assert all(changed[k].any() == masks[k].any() for k in range(4))


def test_the_same_seed_plants_the_same() -> None:
    normals = squares(6, 1, 64)
    one, other = (scenes(normals, np.random.default_rng(5)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_what_is_held_out_is_never_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not set(SHARES) & set(HELD_OUT)
    assert set(SHARES) == set(TRAINED)
    drawn: Counter[str] = Counter()
    plant = module.plant

    def counted(window, donor, rng, kinds, *sizes):  # type: ignore[no-untyped-def]
        drawn.update(kinds)
        return plant(window, donor, rng, kinds, *sizes)

    monkeypatch.setattr(module, "plant", counted)
    scenes(squares(300, 1, 32), np.random.default_rng(0))
    assert set(drawn) == set(TRAINED)
    total, weight = sum(drawn.values()), sum(SHARES.values())
    for kind, share in SHARES.items():
        expected = total * share / weight
        assert abs(drawn[kind] - expected) < 5 * np.sqrt(expected), kind


def test_the_asked_share_of_squares_stays_normal() -> None:
    _, masks = scenes(squares(400, 1, 32), np.random.default_rng(1))
    spoiled = masks.any((1, 2)).mean()
    assert abs(spoiled - SPOILED) < 5 * np.sqrt(SPOILED * (1 - SPOILED) / 400)
