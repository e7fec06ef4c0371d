"""Poisson blending against a direct solution of the same equations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from scipy.ndimage import laplace
from scipy.sparse.linalg import spsolve

from anotwin.defects.poisson import blend


def solved(onto: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """One equation a pixel: on the rim its value is `onto`'s, inside its discrete Laplacian is the patch's."""
    high, wide = onto.shape
    rows, columns, entries, right = [], [], [], np.zeros(high * wide)
    for r in range(high):
        for c in range(wide):
            own = r * wide + c
            if r in (0, high - 1) or c in (0, wide - 1):
                cells, right[own] = {(r, c): 1.0}, onto[r, c]
            else:
                cells = {(r, c): -4.0, (r - 1, c): 1.0, (r + 1, c): 1.0, (r, c - 1): 1.0, (r, c + 1): 1.0}
                right[own] = sum(weight * patch[cell] for cell, weight in cells.items())
            for (down, across), weight in cells.items():
                rows.append(own), columns.append(down * wide + across), entries.append(weight)
    system = sparse.csr_array((entries, (rows, columns)), shape=(high * wide, high * wide))
    return spsolve(system, right).reshape(high, wide)


@pytest.mark.parametrize("shape", [(3, 3), (3, 9), (5, 4), (17, 31), (24, 24)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_direct_solver_finds_the_same(shape: tuple[int, int], channels: int, rng: np.random.Generator) -> None:
    onto, patch = (rng.uniform(-1, 1, (channels, *shape)).astype(np.float32) for _ in range(2))
    found = blend(onto, patch)
    assert found.dtype == np.float32
    for own, below, above in zip(found, onto, patch, strict=True):
        assert own == pytest.approx(solved(below.astype(float), above.astype(float)), abs=1e-5)


def test_gradients_are_the_patchs_and_the_rim_is_the_images(rng: np.random.Generator) -> None:
    onto, patch = (rng.uniform(-1, 1, (1, 20, 30)).astype(np.float32) for _ in range(2))
    found = blend(onto, patch)
    rim = np.ones((20, 30), bool)
    rim[1:-1, 1:-1] = False
    assert found[0][rim] == pytest.approx(onto[0][rim], abs=1e-6)
    inside = (slice(1, -1), slice(1, -1))
    assert laplace(found[0])[inside] == pytest.approx(laplace(patch[0])[inside], abs=1e-4)


@given(st.floats(-1, 1), st.integers(3, 12), st.integers(3, 12), st.integers(0, 99))
def test_a_patch_that_is_brighter_by_a_constant_blends_in_completely(
    step: float, high: int, wide: int, seed: int
) -> None:
    onto = np.random.default_rng(seed).uniform(-1, 1, (1, high, wide)).astype(np.float32)
    assert blend(onto, onto + np.float32(step)) == pytest.approx(onto, abs=1e-5)


@pytest.mark.parametrize("shape", [(1, 5), (2, 2), (7, 2)])
def test_where_there_is_no_inside_nothing_changes(shape: tuple[int, int]) -> None:
    onto = np.zeros((1, *shape), np.float32)
    found = blend(onto, np.ones((1, *shape), np.float32))
    assert (found == onto).all()
    assert found is not onto
