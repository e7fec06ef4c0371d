"""Units at each place of parts that lie alike: tables by brute force, and what they change."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from local_mean import LocalMean, tiles
from scipy.ndimage import gaussian_filter, rotate, shift

from anotwin.data.arrays import from_arrays
from anotwin.domains.surfaces.levels import TERMS
from anotwin.domains.surfaces.places import PRIOR, USUAL, Shown, heat_of_cells, highest_of, places_of, stored_places
from anotwin.domains.surfaces.tiles import TiledImage
from anotwin.domains.surfaces.view import TilesView
from anotwin.errors import DataError
from anotwin.prepare.pyramid import pyramid
from anotwin.prepare.registration import small_picture
from anotwin.records import Array, Scores
from anotwin.run.local import reference_of, score_stream

UNREGISTERED = "data.registration=none"


def plate(seed: int, by: tuple[float, float] = (0, 0), dot: tuple[int, int] | None = None, level: float = 60) -> Array:
    """A shaded plate (96, 120) with a bright bolt at (30, 30); `dot`: one more, fainter, that does not belong."""
    rows, columns = np.mgrid[:96, :120]
    image = 70 + 40.0 * (columns > 60) + 0.3 * rows
    image[(rows - 30) ** 2 + (columns - 30) ** 2 < 16] += 110
    image = shift(gaussian_filter(image, 0.7), by, order=1, mode="nearest")
    if dot is not None:
        image[(rows - dot[0]) ** 2 + (columns - dot[1]) ** 2 < 16] += level
    return (image + np.random.default_rng(seed).normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8)


def method_images(method: LocalMean, images: list[Array]) -> list[TiledImage]:
    source = from_arrays(images)
    return list(TilesView().prepare(source, range(len(images)), method.spec, method.settings, False))


def plates(first: int, count: int, **more: Any) -> list[Array]:
    moves = np.random.default_rng(first).uniform(-6, 6, (count, 2))
    return [plate(first + number, tuple(by), **more) for number, by in enumerate(moves)]


@pytest.fixture(scope="module")
def references() -> dict[str, dict[str, Any]]:
    """Of 60 held-out and 60 training plates, with and without registration."""
    source, rows = from_arrays(plates(0, 120)), range(120)
    methods = {"none": LocalMean(tiles(), UNREGISTERED), "auto": LocalMean(tiles())}
    return {name: reference_of(method, source, rows[:60], rows[60:]) for name, method in methods.items()}


def test_places_are_kept_where_they_are_asked_for(references: dict[str, dict[str, Any]]) -> None:
    assert "places" not in references["none"]
    reference = references["auto"]
    plain = {name: values for name, values in reference.items() if name != "golden"}  # that has arrays
    assert json.loads(json.dumps(plain)) == plain
    places = places_of(reference)
    assert places is not None
    assert places.alike > 0.9
    (note,) = reference["notes"]
    assert note.startswith("the images lie alike, their correlation with their mean is ")
    assert len(places.heat) == len(places.terms["anomaly"]) == len(reference["levels"])
    rows, columns = np.nonzero(places.heat[0] > 0.9 * places.heat[0].max())
    assert (rows.mean(), columns.mean()) == pytest.approx((30 / 8 - 0.5, 30 / 8 - 0.5), abs=0.8)  # the bolt


def test_a_bolt_where_it_belongs_hides_no_smaller_thing_elsewhere(references: dict[str, dict[str, Any]]) -> None:
    normal = from_arrays(plates(500, 40))
    odd = from_arrays(plates(600, 40, dot=(70, 90)))

    def share_above(name: str) -> float:
        """Of the plates with a dot, those that score higher than all normal ones."""
        method = LocalMean(tiles(), *([UNREGISTERED] if name == "none" else []))
        one, other = (
            np.array([each.score for each in score_stream(method, source, None, reference=references[name])])
            for source in (normal, odd)
        )
        return float((other > one.max()).mean())

    assert share_above("none") < 0.3
    assert share_above("auto") > 0.9


def test_heat_of_the_bolt_is_usual_and_that_of_the_dot_is_not(references: dict[str, dict[str, Any]]) -> None:
    image = plate(900, (4, -3), dot=(70, 90))
    source = from_arrays([image])
    heats = {}
    for name, reference in references.items():
        method = LocalMean(tiles(), *([UNREGISTERED] if name == "none" else []))
        (finding,) = score_stream(method, source, None, reference=reference)
        assert finding.heatmap is not None
        heats[name] = finding.heatmap
    bolt, dot = slice(30, 39), slice(23, 32)
    assert heats["none"][bolt, dot].max() > 1.5 * heats["none"][66:75, 86:95].max()
    assert heats["auto"][bolt, dot].max() < heats["auto"][66:75, 86:95].max()
    away = heats["auto"][80:, :20], heats["none"][80:, :20]
    assert np.median(away[0] / away[1]) == pytest.approx(1, abs=0.3)


def shown(scores: list[float], middles: list[tuple[float, float]], heat: Array | None = None) -> Shown:
    values = np.array(scores)
    picture = small_picture(pyramid(plate(0), 32, 1))
    maps = () if heat is None else (heat_of_cells(heat),)
    terms = Scores(*[values.copy() for _ in range(6)])
    return Shown((np.array(middles),), np.ones(len(scores), bool), terms, picture, ((96, 120),), maps, "shift", 32)


def test_tables_are_high_percentiles_of_what_lies_there() -> None:
    middles = [(0.11, 0.11), (0.12, 0.12), (0.9, 0.9)]  # two tiles in one cell: the higher counts
    training = [shown([5.0 + number, 2.0, 0.5], middles) for number in range(3)]
    hot = np.full((96, 120), 0.5, np.float32)
    hot[11, 21] = 4.0
    places = places_of(stored_places(training, [shown([0.0] * 3, middles, 3 * hot)] * 2, [3.0]))
    assert places is not None
    table = places.terms["residual"][0]
    of_all = np.percentile([5, 6, 7, 2, 2, 2, 0.5, 0.5, 0.5], USUAL)
    share = 3 / (3 + PRIOR)
    expected = np.zeros((24, 30))  # cells of 4 pixels, an eighth of a tile; a tile tells of its own and those beside
    expected[1:4, 2:5] = (np.percentile([5, 6, 7], USUAL) - of_all) * share
    expected[20:23, 26:29] = (0.5 - of_all) * share
    assert table == pytest.approx(expected, rel=1e-3)
    expected = np.ones((12, 15))
    expected[:3, 1:4] = 4.0  # and beside it
    assert places.heat[0] == pytest.approx(expected)
    (highest,) = highest_of(training[:1], [training[0].placed(places)])
    assert highest.residual == pytest.approx([5 - table[2, 3]])
    (plain,) = highest_of(training[:1], None)
    assert plain.residual == [5.0]


def test_one_picture_of_another_shape_decides_nothing() -> None:
    narrow = plate(999)[:, :80]
    source = from_arrays([narrow, *plates(0, 30)])
    reference = reference_of(LocalMean(tiles()), source, range(20, 31), range(20))
    assert reference["places"]["alike"] > 0.9
    few = reference_of(LocalMean(tiles()), source, range(20, 31), range(1, 8))
    assert "places" not in few  # too few to know


def test_tables_are_small_however_large_images_are() -> None:
    many = [(row / 400, column / 400) for row in range(0, 400, 7) for column in range(0, 400, 7)]
    large = [replace(shown([0.0] * len(many), many), sides=((9000, 8000),), size=16) for _ in range(2)]
    places = places_of(stored_places(large, large, [1.0]))
    assert places is not None
    assert places.terms["residual"][0].shape == (96, 96)
    assert places.heat[0].shape == (94, 91)


def test_middles_are_of_what_a_tile_shows_of_the_image() -> None:
    method = LocalMean(tiles(32))
    images = method_images(method, [np.zeros((60, 50), np.uint8)])
    fine, coarse = images[0].middles
    assert fine.min() == pytest.approx(16 / 60)
    assert fine.max(0) == pytest.approx([(60 - 16) / 60, (50 - 16) / 50])
    assert coarse == pytest.approx(np.array([[0.5, 0.5]]))  # 30 x 25 pixels, mirrored up to a tile


def test_parts_that_are_turned_are_seen_to_be() -> None:
    turned = [rotate(plate(number), 30.0 * number, reshape=False, order=1, mode="nearest") for number in range(12)]
    source, halves = from_arrays(turned), (range(4), range(4, 12))
    reference = reference_of(LocalMean(tiles()), source, *halves)
    assert reference["places"]["registration"] == "turn"
    assert reference["notes"][0].startswith("the images lie alike, turned, their correlation")
    shifted = reference_of(LocalMean(tiles(), "data.registration=shift"), source, *halves)
    assert shifted["places"]["alike"] < reference["places"]["alike"]
    (finding,) = score_stream(LocalMean(tiles()), from_arrays([turned[2]]), None, reference=reference)
    assert np.isfinite(finding.score)


def test_images_that_do_not_lie_alike_have_no_places_unless_somebody_asks() -> None:
    random = np.random.default_rng(0)
    source = from_arrays([random.integers(90, 160, (96, 120)).astype(np.uint8) for _ in range(20)])
    halves = range(10), range(10, 20)
    assert "places" not in reference_of(LocalMean(tiles()), source, *halves)
    assert "places" not in reference_of(LocalMean(tiles()), source, halves[0])  # nothing to learn them from
    asked = reference_of(LocalMean(tiles(), "data.registration=turn"), source, range(2), range(2, 5))
    assert asked["places"]["registration"] == "turn"
    assert asked["notes"][0].startswith("the images hardly lie alike")


@pytest.mark.parametrize("shape", [(8, 8), (17, 30), (1600, 20)])
def test_cells_keep_the_highest(shape: tuple[int, int]) -> None:
    heat = np.random.default_rng(0).random(shape).astype(np.float32)
    cells = heat_of_cells(heat)
    assert cells.max() == heat.max()
    assert max(cells.shape) <= 96 + 1
    down, across = (8 * -(-side // 768) for side in shape)
    by_hand = [
        [heat[row : row + down, column : column + across].max() for column in range(0, shape[1], across)]
        for row in range(0, shape[0], down)
    ]
    assert cells == pytest.approx(np.array(by_hand))


@pytest.mark.parametrize(
    "change",
    [
        {"template": "no"},
        {"template": [[float("nan")]]},
        {"registration": "bent"},
        {"terms": {}},
        {"terms": {term: [[1.0]] for term in TERMS}},
        {"heat": [[[0.5]]]},
        {"heat": [[[float("inf")]]]},
        {"alike": "much"},
    ],
)
def test_places_that_are_none_are_refused(change: dict[str, Any]) -> None:
    whole = {
        "registration": "shift",
        "alike": 0.9,
        "template": [[0.0, 1.0]],
        "terms": {term: [[[1.0]]] for term in TERMS},
        "heat": [[[1.0]]],
    }
    TilesView().against({"places": whole})
    with pytest.raises(DataError, match="is not one of this view; train it again"):
        TilesView().against({"places": whole | change})
