"""Textures of images, beside loops over pixels; and units that move towards those of images of the same texture."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_mean import LocalMean, tiles
from scipy.ndimage import gaussian_filter

from anotwin.data.arrays import from_arrays
from anotwin.domains.surfaces.alike import FEWEST, MOST, NEIGHBOURS, PRIOR, Learnt, learnt_of, stored_textures
from anotwin.domains.surfaces.levels import TERMS, Usual
from anotwin.domains.surfaces.texture import DIRECTIONS, LAGS, TEXTURE, texture_of
from anotwin.domains.surfaces.view import TilesView
from anotwin.errors import DataError
from anotwin.records import Array, Scores
from anotwin.run.local import reference_of, score_stream


def woven(seed: int, coarse: float, height: int = 90, width: int = 70) -> Array:
    """Grain of a coarseness in pixels, always of the same mean and spread."""
    grain = gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), coarse)
    return (120 + 25 * grain / grain.std()).clip(0, 255).astype(np.uint8)


def by_loops(image: Array) -> list[float]:
    height, width = image.shape
    logs = []
    for lag in LAGS:
        for down, across in DIRECTIONS:
            roots = [
                abs(float(image[row, column]) - float(image[row + lag * down, column + lag * across])) ** 0.5
                for row in range(height)
                for column in range(width)
                if row + lag * down < height and 0 <= column + lag * across < width
            ]
            logs.append(np.log(np.mean(roots)))
    return [value - np.mean(logs) for value in logs]


@pytest.mark.parametrize("shape", [(20, 30), (9, 9), (31, 12)])
def test_every_pair_of_pixels_counts(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert texture_of(image).tolist() == pytest.approx(by_loops(image))
    assert len(texture_of(image)) == TEXTURE


@settings(derandomize=True, deadline=None, max_examples=30)
@given(gain=st.floats(0.1, 20), offset=st.floats(-100, 100), seed=st.integers(0, 9))
def test_light_changes_nothing(gain: float, offset: float, seed: int) -> None:
    image = np.random.default_rng(seed).normal(0, 10, (20, 20))
    assert texture_of(gain * image + offset).tolist() == pytest.approx(texture_of(image).tolist(), abs=1e-6)


def test_colours_count_alike_and_16_bits_do_not_wrap() -> None:
    image = woven(0, 1.0)
    assert np.allclose(texture_of(np.dstack([image] * 3)), texture_of(image))
    assert np.allclose(texture_of(image.astype(np.uint16) * 257), texture_of(image))


def test_a_large_image_is_sampled() -> None:
    small, large = woven(0, 1.5, 300, 300), woven(1, 1.5, 1500, 1500)
    assert np.abs(texture_of(large) - texture_of(small)).max() < 0.05


@pytest.mark.parametrize("value", [0, 90])
def test_a_flat_image_has_no_texture(value: int) -> None:
    assert texture_of(np.full((20, 20), value, np.uint8)).tolist() == [0.0] * TEXTURE
    assert np.isfinite(texture_of(np.tile(np.arange(20) % 2 * 99, (20, 1)))).all()  # repeats after two pixels


def test_a_defect_changes_a_texture_less_than_another_texture_does() -> None:
    image = woven(0, 1.0)
    damaged = image.copy()
    damaged[30:50, 20:40] = 255
    another = np.abs(texture_of(woven(1, 3.0)) - texture_of(image)).max()
    assert np.abs(texture_of(damaged) - texture_of(image)).max() < 0.5 * another
    assert np.abs(texture_of(woven(2, 1.0)) - texture_of(image)).max() < 0.1 * another


def learnt(count: int, seed: int = 0) -> tuple[Learnt, Array, Array]:
    """Two textures: every other image is of the first, which scores 10 more; the second level is in a few alone."""
    rng = np.random.default_rng(seed)
    second = np.arange(count) % 2
    textures = second[:, None] + rng.normal(0, 0.01, (count, TEXTURE))
    highest = np.column_stack([10.0 * (1 - second) + rng.normal(0, 1 + second), rng.normal(size=count)])
    highest[3:, 1] = np.nan
    return Learnt(textures, dict.fromkeys(TERMS, highest)), textures, highest


def robust(values: Array) -> tuple[float, float]:
    low, median, high = np.percentile(values, [10, 50, 90])
    return float(median), float((high - low) / 2.563)


def test_units_are_moved_halfway_to_those_of_the_nearest_textures() -> None:
    known, textures, highest = learnt(100)
    usual = Usual(2.0, dict.fromkeys(TERMS, (5.0, 3.0)))
    found, untouched = known.usual_for(textures[0], [usual, usual])
    alike = sorted(range(100), key=lambda row: np.square((textures[row] - textures[0]) / textures.std(0)).sum())
    assert not any(row % 2 for row in alike[:NEIGHBOURS])
    (near, own), (median, spread) = robust(highest[alike[:NEIGHBOURS], 0]), robust(highest[:, 0])
    share = NEIGHBOURS / (NEIGHBOURS + PRIOR)
    ratio = max(own / spread, 1 / MOST)
    for term in TERMS:
        assert found.of(term)[0] == pytest.approx(5.0 + share * (near - median))
        assert found.of(term)[1] == pytest.approx(3.0 * np.sqrt(share * ratio**2 + 1 - share))
    assert found.heat == 2.0
    assert untouched == usual  # fewer than five have this level
    assert FEWEST > 3


def test_a_level_that_training_images_have_not_stays_as_it_is() -> None:
    known, textures, _ = learnt(30)
    usual = Usual(1.0, dict.fromkeys(TERMS, (0.0, 1.0)))
    assert known.usual_for(textures[0], [usual, usual, usual])[2] == usual
    assert known.usual_for(textures[0], [Usual(), usual])[0] == Usual()


def test_equal_training_images_move_nothing() -> None:
    known = Learnt(np.zeros((30, TEXTURE)), dict.fromkeys(TERMS, np.full((30, 1), 7.0)))
    usual = Usual(1.0, dict.fromkeys(TERMS, (3.0, 2.0)))
    (found,) = known.usual_for(np.ones(TEXTURE), [usual])
    assert found.of("residual") == pytest.approx((3.0, 2.0))


def test_what_is_stored_is_read_again() -> None:
    textures = [texture_of(woven(seed, 1.0)) for seed in range(3)]
    highest = [Scores(*([float(place), 2.0][:levels] for place in range(6))) for levels in (1, 2, 2)]
    reference = stored_textures(textures, highest, 2)
    assert json.loads(json.dumps(reference)) == reference
    found = learnt_of(reference)
    assert found is not None
    assert found.textures == pytest.approx(np.array(textures), rel=1e-5)
    expected = np.array([[2.0, np.nan], [2.0, 2.0], [2.0, 2.0]])
    assert np.array_equal(found.highest["residual"], expected, equal_nan=True)
    assert learnt_of({"levels": []}) is None


@pytest.mark.parametrize(
    "change",
    [
        {"textures": [[0.0] * 3]},
        {"textures": "no"},
        {"textures": [[float("nan")] * TEXTURE] * 2},
        {"highest": {}},
        {"highest": {term: [[1.0]] for term in TERMS}},
        {"highest": {term: [[1.0], [float("inf")]] for term in TERMS}},
        {"highest": {term: [[float("nan")]] * 2 for term in TERMS}},
        {"highest": {term: [[None], [1.0]] for term in TERMS}},
    ],
)
def test_a_reference_that_is_none_is_refused(change: dict[str, object]) -> None:
    whole = {"textures": [[0.0] * TEXTURE] * 2, "highest": {term: [[1.0], [2.0]] for term in TERMS}}
    TilesView().against(whole)
    with pytest.raises(DataError, match="is not one of this view; train it again"):
        TilesView().against(whole | change)


def test_two_materials_score_alike_where_both_are_normal() -> None:
    """A coarse grain differs more from its local mean than a fine one; the score of normals should not tell them."""
    method = LocalMean(tiles())
    images = [woven(seed, 0.4 if seed % 2 else 2.0) for seed in range(120)]
    source, rows = from_arrays(images), range(120)
    bare = reference_of(method, source, rows[:40])
    moved = reference_of(method, source, rows[:40], rows[40:])
    assert "textures" not in bare
    assert bare["levels"] == moved["levels"]
    assert len(moved["textures"]) == 80

    def gap(reference: dict[str, object]) -> float:
        new = [woven(seed, 0.4 if seed % 2 else 2.0) for seed in range(200, 240)]
        scores = np.array([each.score for each in score_stream(method, from_arrays(new), None, reference=reference)])
        within = scores[::2].std() + scores[1::2].std()
        return float(abs(np.median(scores[::2]) - np.median(scores[1::2])) / within)

    assert gap(moved) < 0.75 * gap(bare)


def test_training_images_are_scored_only_for_a_view_that_asks() -> None:
    asked: list[int] = []

    class Counting:
        items, root, layout = from_arrays([woven(seed, 1.0) for seed in range(6)]).items, "somewhere", "array"

        def read(self, index: int) -> Array:
            asked.append(index)
            return woven(index, 1.0)

        def read_mask(self, _index: int) -> None:
            return None

    done: list[tuple[int, int]] = []
    reference_of(LocalMean(tiles()), Counting(), range(3), range(3, 6), lambda *counts: done.append(counts))
    assert asked == list(range(6))
    assert done == [(1, 3), (2, 3), (3, 3)] * 2
    asked.clear()
    whole = LocalMean(replace(tiles(), view="frames", parts=False))
    reference_of(whole, Counting(), range(0), range(3, 6))
    assert not asked
