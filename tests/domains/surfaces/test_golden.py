"""The same place of other parts: what is found there, where it is shown, and when it is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from local_mean import LocalMean, tiles
from scipy.ndimage import gaussian_filter, rotate, shift
from skimage.transform import resize

from anotwin.data.arrays import from_arrays
from anotwin.domains.surfaces.golden import STEPS, WIDE, Golden, Wide, exactly, in_steps, laid, mean_of, wide_picture
from anotwin.domains.surfaces.golden_reference import golden_of, golden_without
from anotwin.domains.surfaces.levels import TERMS
from anotwin.domains.surfaces.view import TilesView
from anotwin.errors import DataError
from anotwin.prepare.pyramid import pyramid
from anotwin.prepare.registration import Pose
from anotwin.records import Array, Finding
from anotwin.run.local import reference_of, score_stream
from anotwin.seeding import fingerprint

COPIES = 0  # radius of a method whose counterparts are copies: it finds nothing


def part(seed: int, by: tuple[float, float] = (0, 0), angle: float = 0.0, tooth: int | None = None) -> Array:
    """A dark comb (150, 200) of eight teeth on a bright ground; `tooth` is broken off."""
    rows, columns = np.mgrid[:150, :200]
    image = np.full((150, 200), 190.0)
    image[(abs(rows - 60) < 12) & (abs(columns - 100) < 80)] = 70
    for number in range(8):
        if number != tooth:
            image[(abs(rows - 85) < 16) & (abs(columns - 30 - 20 * number) < 5)] = 70
    image = gaussian_filter(image, 1.0)
    image = shift(rotate(image, angle, reshape=False, order=1, mode="nearest"), by, order=1, mode="nearest")
    random = np.random.default_rng(seed)
    image = image * random.uniform(0.95, 1.05) + random.uniform(-5, 5)
    return (image + random.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


def parts(first: int, count: int, turned: bool = False, **more: Any) -> list[Array]:
    random = np.random.default_rng(first)
    lie = [(random.uniform(-6, 6, 2), random.uniform(-180, 180) if turned else 0.0) for _ in range(count)]
    return [part(first + number, tuple(by), angle, **more) for number, (by, angle) in enumerate(lie)]


def method(*overrides: str) -> LocalMean:
    return LocalMean(tiles(), *overrides, radius=COPIES)


def reference(images: list[Array], *overrides: str, held: int = 20) -> dict[str, Any]:
    source = from_arrays(images)
    return reference_of(method(*overrides), source, range(held), range(held, len(images)))


def findings(images: list[Array], of: dict[str, Any], *overrides: str) -> list[Finding]:
    return list(score_stream(method(*overrides), from_arrays(images), None, reference=of))


@pytest.fixture(scope="module")
def combs() -> dict[str, Any]:
    return reference(parts(0, 60))


@pytest.mark.parametrize("turned", [False, True])
def test_a_missing_tooth_is_found_where_it_is_and_put_back(turned: bool) -> None:
    """By a method whose counterparts are copies, all of it is what other parts show at the same place."""
    known = reference(parts(0, 44, turned), held=12)
    normal = [each.score for each in findings(parts(300, 12, turned), known)]
    random = np.random.default_rng(9)
    for number in range(4):
        by, angle = tuple(random.uniform(-6, 6, 2)), float(random.uniform(-180, 180)) if turned else 0.0
        whole, broken = (part(500 + number, by, angle, tooth=tooth) for tooth in (None, 4))
        (found,) = findings([broken], known)
        assert found.score > max(normal)
        gone = abs(whole.astype(float) - broken) > 60
        assert found.heatmap is not None
        row, column = np.unravel_index(found.heatmap.argmax(), found.heatmap.shape)
        rows, columns = np.nonzero(gone)
        assert rows.min() - 2 <= row <= rows.max() + 2
        assert columns.min() - 2 <= column <= columns.max() + 2
        repaired = found.counterpart[gone].astype(float) - whole[gone]
        damage = broken[gone].astype(float) - whole[gone]
        assert 1 - abs(repaired).sum() / abs(damage).sum() > 0.8
        away = ~(abs(whole.astype(float) - broken) > 8)
        assert abs(found.counterpart[away].astype(float) - broken[away]).mean() < 3  # a part's own noise


def test_without_registration_nothing_is_kept_and_nothing_found() -> None:
    known = reference(parts(0, 60), "data.registration=none")
    assert "golden" not in known
    scores = [each.score for each in findings([part(7), part(7, tooth=4)], known, "data.registration=none")]
    assert scores[0] == scores[1]  # of copies


def test_the_user_is_told_of_how_many(combs: dict[str, Any]) -> None:
    assert "compared with the same place of 40 training images" in combs["notes"][0]


def test_normals_are_measured_by_others(combs: dict[str, Any]) -> None:
    """Leaving a held-out part out of its own units moves its score by little, and the highest of all upwards."""
    images = parts(0, 20)
    own = np.array([each.score for each in findings(images, combs)])
    among = np.array(
        [each.score for each in findings(images, combs | {"without": {"of": [], "levels": []}} | _all(combs))]
    )
    assert own == pytest.approx(among, abs=1.5)
    assert own.max() >= among.max()


def _all(known: dict[str, Any]) -> dict[str, Any]:
    return {"golden": known["golden"] | {"without": []}}


def test_what_is_smaller_than_the_ground_noise_is_not_copied_from_others(combs: dict[str, Any]) -> None:
    (found,) = findings([part(77)], combs)
    changed = found.counterpart.astype(float) != part(77)
    assert changed.mean() < 0.02


def test_grain_is_no_part() -> None:
    """Blotches that lie alike in every picture, by far and not closely: no picture tells the grain of another."""
    random = np.random.default_rng(0)
    base = gaussian_filter(random.normal(0, 300, (150, 200)), 20)
    images = [(120 + base + random.normal(0, 25, base.shape)).clip(0, 255).astype(np.uint8) for _ in range(40)]
    known = reference(images, "data.registration=shift")
    assert "places" in known
    assert "golden" not in known


def test_an_image_of_another_shape_is_left_to_the_tiles(combs: dict[str, Any]) -> None:
    """In the units that the threshold is told in."""
    turned = np.ascontiguousarray(part(1).T)
    (found,) = findings([turned], combs)
    (alone,) = findings([turned], {name: values for name, values in combs.items() if name != "golden"})
    median, spread = combs["golden"]["units"]["anomaly"]
    assert found.score == pytest.approx((alone.score - median) / spread)
    assert (found.counterpart == found.query).all()  # type: ignore[union-attr]


def test_what_is_no_part_does_not_count() -> None:
    """With a foreground, dust on the ground raises no alarm."""
    known = reference(parts(0, 60), "data.foreground=auto")
    dust = part(5)
    dust[135:141, 20:26] = 255
    clean, dusty, broken = (
        each.score for each in findings([part(5), dust, part(5, tooth=3)], known, "data.foreground=auto")
    )
    assert dusty == pytest.approx(clean, abs=0.5)
    assert broken > clean + 3


@pytest.mark.parametrize("row", [15, 27, 36, 121, 134])
@pytest.mark.parametrize(("column", "by"), [(15, (0, 0)), (60, (4, -3)), (101, (-2.5, 5.5)), (184, (0.5, 0.5))])
def test_a_blob_is_reported_at_its_own_place(
    combs: dict[str, Any], row: int, column: int, by: tuple[float, float]
) -> None:
    image = part(3, by)
    image[row - 3 : row + 4, column - 3 : column + 4] = 60
    (found,) = findings([image], combs)
    assert found.heatmap is not None
    hot = np.argwhere(found.heatmap > 0.7 * found.heatmap.max()).mean(0)
    assert hot == pytest.approx([row, column], abs=1)


@pytest.mark.parametrize("angle", [-170.0, -40.0, 3.0, 90.0])
def test_a_picture_is_laid_to_a_part_of_a_pixel(angle: float) -> None:
    random = np.random.default_rng(2)
    template = gaussian_filter(random.normal(0, 40, (200, 200)), 4).astype(np.float32)[None]
    pose = Pose(angle, 0.03, -0.02)
    turned = Wide(
        in_steps(laid(Wide(in_steps(template), 1, np.ones((200, 200), bool)), _back(pose), (200, 200))),
        1,
        np.ones((200, 200), bool),
    )
    near = Pose(angle + 0.8, 0.03 + 0.006, -0.02 - 0.006)
    found = exactly(turned, near, mean_of(in_steps(template)[None]), turn=True)
    assert found.angle == pytest.approx(angle, abs=0.3)
    assert (found.down, found.across) == pytest.approx((0.03, -0.02), abs=0.002)


def _back(pose: Pose) -> Pose:
    """A pose that takes what another one moved to where it was."""
    start = pose.on_picture(np.array([[0.5, 0.5]]), (200, 200))[0] - 0.5
    return Pose(-pose.angle, *start)


def test_wide_pictures_are_as_wide_as_they_may_be() -> None:
    for shape, expected in {(700, 900): (249, WIDE), (90, 120): (90, 120), (33, 2000): (6, WIDE)}.items():
        levels = pyramid(np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8), 32, 1)
        wide = wide_picture(levels, tiles())
        assert wide.pixels.shape == (1, *expected)
        assert wide.counts.shape == expected


def test_a_flat_picture_is_beside_others_too() -> None:
    flat = wide_picture(pyramid(np.full((64, 64), 9, np.uint8), 32, 1), tiles())
    assert not flat.pixels.any()
    golden = Golden(
        flat.pixels[None], np.ones((64, 64), np.float32), False, units=dict.fromkeys(("golden", *TERMS), (0.0, 1.0))
    )
    assert np.isfinite(golden.beside(flat, Pose()).farthest)


def test_colour_is_compared_too() -> None:
    images = [np.stack([image, image, 255 - image], 2) for image in parts(0, 40)]
    source, spec = from_arrays(images), tiles(channels=3)
    colour = LocalMean(spec, radius=COPIES)
    known = reference_of(colour, source, range(12), range(12, 40))
    assert known["golden"]["pictures"].shape[1] == 3
    odd = images[0].copy()
    odd[50:70, 90:110] = odd[50:70, 90:110][..., [1, 2, 0]]  # another colour, as bright
    scores = [each.score for each in score_stream(colour, from_arrays([images[0], odd]), None, reference=known)]
    assert scores[1] > scores[0] + 3


def test_a_training_image_is_beside_the_others_and_not_beside_itself() -> None:
    """One that is odd is seen to be, although it is among the pictures."""
    images = [*parts(0, 59), part(900, tooth=2)]
    known = reference(images)
    assert str(fingerprint(images[-1])) in known["golden"]["of"]
    (own,) = findings([images[-1]], known)
    normal = [each.score for each in findings(parts(300, 10), known)]
    assert own.score > max(normal)


def test_photographs_of_one_part_are_not_measured_by_each_other() -> None:
    """Three of each part, alike but for noise, and each part with a tooth of its own length."""
    random, images = np.random.default_rng(4), []
    for number in range(20):
        base = part(number).astype(float)
        base[60:110, 20 + 10 * (number % 15) : 30 + 10 * (number % 15)] += 40
        images += [(base + random.normal(0, 3, base.shape)).clip(0, 255).astype(np.uint8) for _ in range(3)]
    usual = {}
    for name, groups in {"alone": None, "together": [f"part {number // 3}" for number in range(60)]}.items():
        source = from_arrays(images)
        if groups is not None:
            items = tuple(replace(item, group=group) for item, group in zip(source.items, groups, strict=True))
            source = replace(source, items=items)
        usual[name] = reference_of(method("data.registration=shift"), source, range(12), range(12, 60))["golden"][
            "usual"
        ]
    assert float(usual["together"].mean()) > 1.2 * float(usual["alone"].mean())


@pytest.mark.parametrize("held", [2, 3, 5])
def test_few_held_out_normals_say_nothing(held: int) -> None:
    known = reference(parts(0, 30), "data.registration=shift", held=held)
    assert ("golden" in known) == (held >= 4)


def test_strips_are_too_narrow_to_be_compared() -> None:
    rows = np.sin(np.arange(2000) / 40)[None].repeat(40, 0)
    images = [(120 + 60 * rows + np.random.default_rng(k).normal(0, 3, rows.shape)).astype(np.uint8) for k in range(30)]
    known = reference(images, "data.registration=shift", held=10)
    assert "golden" not in known


@pytest.mark.parametrize(("kind", "scale"), [(np.uint8, None), (np.uint16, None), (np.float32, None), (np.uint8, 0.5)])
def test_a_blob_on_a_large_turned_part_is_at_its_own_place(kind: type, scale: float | None) -> None:
    """701 x 901 pixels, odd sides, reduced for the picture; in any type of file, and at half the size."""

    def large(image: Array) -> Array:
        wide = resize(image.astype(float), (701, 901), order=1)
        return (wide * {np.uint8: 1, np.uint16: 200, np.float32: 1 / 255}[kind]).astype(kind)

    images = [large(each) for each in parts(0, 24, turned=True)]
    overrides = [] if scale is None else [f"data.scale={scale}"]
    spec = tiles(128, pixel_type=np.dtype(kind).name, black=0.0, white=float(images[0].max()))
    odd = LocalMean(spec, *overrides, radius=COPIES)
    known = reference_of(odd, from_arrays(images), range(8), range(8, 24))
    for row, column in ((120, 700), (600, 150)):
        image = large(part(700, (3, -4), 77.0))
        image[row - 12 : row + 12, column - 12 : column + 12] = 0.2 * spec.white
        (found,) = score_stream(odd, from_arrays([image]), None, reference=known)
        assert found.heatmap is not None
        hot = np.argwhere(found.heatmap > 0.5 * found.heatmap.max()).mean(0)
        assert hot == pytest.approx([row - 0.5, column - 0.5], abs=1.5)  # half a pixel of the picture


def test_scores_do_not_depend_on_what_is_scored_beside(combs: dict[str, Any]) -> None:
    images = [part(41), part(42, (3, 3)), part(43, tooth=5)]
    together = findings(images, combs)
    for number, image in enumerate(images):
        (alone,) = findings([image], combs)
        assert alone.score == together[number].score
        assert (alone.heatmap == together[number].heatmap).all()  # type: ignore[union-attr]
        assert (alone.counterpart == together[number].counterpart).all()  # type: ignore[union-attr]


def whole() -> dict[str, Any]:
    units = {name: [0.0, 1.0] for name in ("golden", *TERMS)}
    golden = {
        "pictures": torch.zeros((2, 1, 32, 40), dtype=torch.int8),
        "usual": torch.ones((32, 40)),
        "of": ["1", "2"],
        "heat": 1.0,
        "tiles": 1.0,
        "units": units,
        "without": [[0.0, 1.0] * 6],
    }
    places = {"registration": "turn", "alike": 0.9, "template": [[0.0, 1.0]], "heat": [[[1.0]]]}
    places["terms"] = {term: [[[1.0]]] for term in TERMS}
    return {"golden": golden, "places": places, "without": {"of": ["3"], "levels": [[]]}}


def test_what_is_whole_is_restored() -> None:
    assert golden_of({}) is None
    assert golden_without({}) == {}
    golden = golden_of(whole())
    assert golden is not None
    assert golden.usual.shape == (32, 40)
    assert golden.turn
    assert golden_without(whole())[3]["anomaly"] == (0.0, 1.0)
    assert in_steps(np.array([-99.0, -1.0, 0.5, 99.0], np.float32)).tolist() == [-127, -STEPS, STEPS // 2, 127]


@pytest.mark.parametrize(
    "change",
    [
        {"pictures": [1.0]},
        {"pictures": torch.zeros((2, 32, 40), dtype=torch.int8)},
        {"pictures": torch.zeros((2, 1, 32, 40))},
        {"pictures": torch.zeros((2, 0, 32, 40), dtype=torch.int8)},
        {"pictures": torch.zeros((0, 1, 32, 40), dtype=torch.int8), "of": []},
        {"pictures": torch.zeros((2, 1, 4, 40), dtype=torch.int8), "usual": torch.ones((4, 40))},
        {"of": ["1"]},
        {"evil": torch.zeros(3)},
        {"of": ["one", "two"]},
        {"usual": torch.zeros((32, 40))},
        {"usual": torch.ones((40, 32))},
        {"units": {"golden": []}},
        {"heat": 0.0},
        {"tiles": "many"},
        {"units": {}},
        {"units": {name: [0.0, 0.0] for name in ("golden", *TERMS)}},
        {"units": {name: [float("nan"), 1.0] for name in ("golden", *TERMS)}},
        {"without": [[0.0]]},
        {"without": []},
    ],
)
def test_what_is_none_is_refused(change: dict[str, Any]) -> None:
    found = whole()
    with pytest.raises(DataError, match="is not one of this view; train it again"):
        TilesView().against(found | {"golden": found["golden"] | change})
