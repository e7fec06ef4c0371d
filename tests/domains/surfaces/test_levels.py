"""How levels become one score: by brute force, through a reference that is stored as JSON and read again."""

from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_mean import LocalMean, tiles

from anotwin.data.arrays import from_arrays
from anotwin.domains.surfaces.levels import (
    TERMS,
    Usual,
    highest_of_levels,
    pool_levels,
    stored,
    stored_without,
    usual_of,
    usual_without,
)
from anotwin.domains.surfaces.tiles import TiledImage
from anotwin.domains.surfaces.view import TilesView
from anotwin.errors import DataError
from anotwin.records import Array, Scores
from anotwin.run.local import reference_of, score_stream
from anotwin.settings import Settings

RNG = np.random.default_rng(0)


def noise(count: int, height: int = 90, width: int = 70, seed: int = 0) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.normal(120, 20, (height, width)).clip(0, 255).astype(np.uint8) for _ in range(count)]


def prepared(image: Array, view: TilesView | None = None, *overrides: str) -> TiledImage:
    view, source = view or TilesView(), from_arrays([image])
    (found,) = view.prepare(source, [0], tiles(), Settings().with_overrides(overrides), True)
    return found


def scores_of(values: Array) -> Scores[Array]:
    return Scores(*(values * factor for factor in (1, 1, 2, 3, -1, 4)))


def test_without_a_reference_the_highest_tile_counts() -> None:
    image = prepared(noise(1)[0])
    assert image.squares is not None
    counts = [len(grid) for grid in image.grids]
    assert (len(counts), sum(counts)) == (3, len(image.squares))
    values = RNG.normal(size=len(image.squares))
    found = image.pool(scores_of(values))
    assert (found.score, found.residual) == (values.max(), 2 * values.max())
    assert found.discriminator == (-values).max()
    assert found.mean_residual == pytest.approx(4 * values[: counts[0]].mean())


@settings(derandomize=True, deadline=None, max_examples=50)
@given(data=st.data(), counts=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_each_level_is_measured_by_what_is_usual_there(data: st.DataObject, counts: list[int]) -> None:
    numbers = st.floats(-50, 50)
    values = np.array([data.draw(numbers) for _ in range(sum(counts))])
    usual = [(data.draw(numbers), data.draw(st.floats(0.1, 9))) for _ in counts]
    level = np.repeat(np.arange(len(counts)), counts)
    units = np.array([(values[level == k].max() - usual[k][0]) / usual[k][1] for k in range(len(counts))])
    deciding = np.array([data.draw(st.booleans()) for _ in values]) | (np.diff(level, prepend=-1) > 0)
    highest = highest_of_levels(values, counts, deciding)
    assert highest == [max(values[(level == k) & deciding]) for k in range(len(counts))]
    highest = highest_of_levels(values, counts, np.ones(len(values), bool))
    assert pool_levels(highest, usual) == pytest.approx(units.max())


def test_the_reference_holds_the_median_and_a_robust_spread_of_each_level() -> None:
    images = noise(40)
    method = LocalMean(tiles())
    source = from_arrays(images)
    reference = reference_of(method, source, range(40))
    assert json.loads(json.dumps(reference)) == reference
    highest = []
    for image in images:
        tiled = prepared(image)
        every = tiled.squares.rows(slice(None))
        scores = method.compare(every.images, method.counterpart(every)).scores.map(lambda term: term.numpy())
        highest.append(tiled.highest(scores).residual)
    for level, column in zip(reference["levels"], np.array(highest).T, strict=True):
        median, spread = level["residual"]
        assert median == pytest.approx(np.median(column), rel=1e-5)
        low, high = np.percentile(column, [10, 90])
        assert spread == pytest.approx((high - low) / 2.563, rel=1e-3)
        assert 0.5 * column.std() < spread < 1.6 * column.std()
        assert min(value[1] for term, value in level.items() if term != "heat") > 0
    pooled = [prepared(image, TilesView(reference)).usual for image in images[:1]]
    assert len(pooled[0]) == 3


def test_scores_in_units_of_the_reference_are_alike_at_every_level() -> None:
    """Held-out normals: the typical highest is about 0 to 2, whichever level it is from."""
    method, reference = LocalMean(tiles()), reference_of(LocalMean(tiles()), from_arrays(noise(60)), range(60))
    found = [each.score for each in score_stream(method, from_arrays(noise(40, seed=1)), None, reference=reference)]
    assert 0 < np.median(found) < 2
    assert np.percentile(found, 90) < 5
    odd = noise(1, seed=2)[0]
    odd[40:46, 30:36] = 255
    (abnormal,) = score_stream(method, from_arrays([odd]), None, reference=reference)
    assert abnormal.score > max(found)


def test_heat_is_in_units_of_each_level() -> None:
    """0.5 % of the pixels of a typical normal are hotter than 1 at each of its levels."""
    method, reference = LocalMean(tiles()), reference_of(LocalMean(tiles()), from_arrays(noise(30)), range(30))
    view = TilesView().against(reference)
    shares = []
    for image in noise(20, seed=3):
        tiled = prepared(image, view)
        results, every = tiled.results(), tiled.squares.rows(slice(None))
        found = method.counterpart(every)
        comparison = method.compare(every.images, found)
        results.take(found.images, comparison.difference, comparison.heatmap)
        assert results.heat_of_levels() == pytest.approx([1, 1, 1], abs=0.35)
        shares.append((results.heat() > 1).mean())
    assert 0.003 < np.mean(shares) < 0.05


def test_a_level_that_the_reference_has_not_is_not_looked_at() -> None:
    image = noise(1)[0]
    assert len(prepared(image).levels) == 3
    level = {"heat": 1.0, **dict.fromkeys(TERMS, (1.0, 2.0))}
    view = TilesView().against({"levels": [level, level]})
    (seen,) = view.prepare(from_arrays([image]), [0], tiles(), Settings(), False)
    assert [len(grid) for grid in seen.grids] == [len(grid) for grid in prepared(image).grids[:2]]
    values = np.zeros(len(seen.squares))
    values[-1] = 9.0
    assert seen.pool(scores_of(values)).score == (9.0 - 1.0) / 2.0
    reference = reference_of(LocalMean(tiles()), from_arrays([*noise(30, 40, 40), *noise(2, 120, 120)]), range(32))
    assert len(reference["levels"]) == 2  # of two images of 32 a third level says little


def test_equal_normals_have_a_spread_above_nothing() -> None:
    flat = [np.full((50, 50), 90, np.uint8)] * 5
    reference = reference_of(LocalMean(tiles()), from_arrays(flat), range(5))
    (usual, *_) = usual_of(reference)
    assert usual.heat > 0
    assert all(spread > 0 for _, spread in usual.scores.values())
    assert reference_of(LocalMean(tiles()), from_arrays(flat[:1]), range(1)) == {}


def test_at_most_128_normals_make_the_reference() -> None:
    asked: list[int] = []

    class Counting:
        items, root, layout = from_arrays(noise(300, 20, 20)).items, "somewhere", "array"

        def read(self, index: int) -> Array:
            asked.append(index)
            return noise(1, 20, 20, seed=index)[0]

        def read_mask(self, _index: int) -> None:
            return None

    assert reference_of(LocalMean(tiles()), Counting(), range(300))
    assert asked == list(range(0, 300, 3))


def test_the_score_is_the_term_that_the_settings_name() -> None:
    reference = {
        "levels": [{"heat": 1.0, **{term: [float(place), 1.0] for place, term in enumerate(TERMS)}}],
    }
    view = TilesView().against(reference)
    for name in ("anomaly", "residual", "discrimination", "discriminator"):
        image = prepared(noise(1, 30, 30)[0], view, f"compare.score={name}")
        found = image.pool(scores_of(np.ones(1)))
        assert found.score == getattr(found, name)
    assert {term.name for term in fields(Scores)} == {*TERMS, "score"}


@pytest.mark.parametrize(
    "levels",
    [[{"heat": 0.0}], [{"heat": 1.0}], "no", [{"heat": 1.0, **{term: [0.0, 0.0] for term in TERMS}}], [[1]]],
)
def test_a_reference_of_another_view_is_refused(levels: object) -> None:
    with pytest.raises(DataError, match="is not one of this view; train it again"):
        TilesView().against({"levels": levels})


# -- held-out normals, which set the threshold ---------------------------------------------------------------------


def test_a_held_out_normal_is_measured_by_the_others_of_other_groups() -> None:
    rng = np.random.default_rng(3)
    heats = rng.random((8, 2)).tolist()
    highest = [Scores(*rng.normal(size=(6, 2)).tolist()) for _ in range(8)]
    groups = list("aabcdefg")
    levels = stored(heats, highest)["levels"]
    reference = {"levels": levels, "without": {"of": ["7", "2"], "levels": []}}
    found = stored_without(heats, highest, groups, levels)
    reference["without"] = {"of": [str(number) for number in range(8)], "levels": found}
    read = usual_without(json.loads(json.dumps(reference)))
    for number, group in enumerate(groups):
        others = [other for other in range(8) if groups[other] != group]
        assert read[number] == usual_of(stored([heats[k] for k in others], [highest[k] for k in others]))
    assert read[0] == read[1] != read[2]
    alone = stored_without(heats, highest, ["one"] * 8, levels)
    assert usual_without({"without": {"of": ["5"], "levels": alone[:1]}})[5] == usual_of(reference)
    assert usual_without({}) == {}


@pytest.mark.parametrize(
    "without", ["no", {"of": ["1"]}, {"of": ["x"], "levels": [[]]}, {"of": ["1"], "levels": [[[1.0]]]}]
)
def test_units_without_a_normal_that_are_none_are_refused(without: object) -> None:
    with pytest.raises(DataError, match="is not one of this view; train it again"):
        TilesView().against({"without": without})


def test_new_normals_exceed_the_highest_held_out_one_no_more_often_than_promised() -> None:
    """One in n + 1; in units that held-out normals make themselves it is a third more."""
    rng, count, levels, new = np.random.default_rng(0), 10, 3, 60
    shares = []
    for _ in range(250):
        tables = rng.normal(size=(count + new, levels))
        highest = [Scores(*[row] * 6) for row in tables.tolist()]
        heats, names = np.ones((count, levels)).tolist(), [str(number) for number in range(count)]
        known = stored(heats, highest[:count])["levels"]
        reference = {
            "levels": known,
            "without": {"of": names, "levels": stored_without(heats, highest[:count], names, known)},
        }
        usual, own = usual_of(reference), usual_without(reference)

        def score(row: int, units: tuple[Usual, ...], tables: Array = tables) -> float:
            return pool_levels(tables[row].tolist(), [each.of("anomaly") for each in units])

        fresh = np.array([score(row, usual) for row in range(count, count + new)])
        limits = max(score(row, own[row]) for row in range(count)), max(score(row, usual) for row in range(count))
        shares.append([(fresh > limit).mean() for limit in limits])
    without, by_itself = np.mean(shares, 0)
    assert 0.5 / (count + 1) < without < 1 / (count + 1)
    assert by_itself > 1.25 / (count + 1)


def test_scores_of_held_out_normals_are_those_that_calibrate() -> None:
    images = noise(24)
    method, source = LocalMean(tiles()), from_arrays(images)
    reference = reference_of(method, source, range(12), range(12, 24))
    assert len(reference["without"]["of"]) == 12
    with_own = [each.score for each in score_stream(method, source, None, range(12), reference=reference)]
    without = {key: value for key, value in reference.items() if key != "without"}
    by_all = [each.score for each in score_stream(method, source, None, range(12), reference=without)]
    assert max(with_own) > max(by_all)
    new = [each.score for each in score_stream(method, source, None, range(12, 24), reference=reference)]
    assert new == [each.score for each in score_stream(method, source, None, range(12, 24), reference=without)]
