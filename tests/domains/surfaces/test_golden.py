"""The same place of other parts: what is found there, where it is shown, and when it is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from local_mean import LocalMean, tiles
from scipy.ndimage import gaussian_filter, rotate, shift

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
    (found,) = findings([np.ascontiguousarray(part(1).T)], combs)
    assert np.isfinite(found.score)
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
    assert np.isfinite(golden.beside(flat, Pose()).hottest)


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


def whole() -> dict[str, Any]:
    units = {name: [0.0, 1.0] for name in ("golden", *TERMS)}
    golden = {
        "pictures": torch.zeros((2, 1, 4, 5), dtype=torch.int8),
        "usual": torch.ones((4, 5)),
        "turn": False,
        "heat": 1.0,
        "tiles": 1.0,
        "units": units,
        "without": [[0.0, 1.0] * 6],
    }
    return {"golden": golden, "without": {"of": ["3"], "levels": [[]]}}


def test_what_is_whole_is_restored() -> None:
    assert golden_of({}) is None
    assert golden_without({}) == {}
    golden = golden_of(whole())
    assert golden is not None
    assert golden.usual.shape == (4, 5)
    assert golden_without(whole())[3]["anomaly"] == (0.0, 1.0)
    assert float(Golden(in_steps(np.full((1, 1, 2, 2), 99.0, np.float32)), golden.usual, False).pictures.max()) == 127
    assert STEPS * 4 > 127


@pytest.mark.parametrize(
    "change",
    [
        {"pictures": [1.0]},
        {"pictures": torch.zeros((2, 4, 5), dtype=torch.int8)},
        {"pictures": torch.zeros((2, 1, 4, 5))},
        {"pictures": torch.zeros((0, 1, 4, 5), dtype=torch.int8)},
        {"usual": torch.zeros((4, 5))},
        {"usual": torch.ones((5, 4))},
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
