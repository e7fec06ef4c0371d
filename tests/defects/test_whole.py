"""Planted damage: what each kind leaves and changes, against scipy where it can be, and whose randomness it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform, gaussian_filter

from anotwin.data.synthetic import textured_discs
from anotwin.defects import whole as ways
from anotwin.defects.whole import KINDS, SHARE, corrupt, damage, jitter
from anotwin.seeding import generator
from anotwin.settings import Settings

Maker = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
MAKERS: dict[str, Maker] = {**KINDS, "jitter": jitter, "corrupt": corrupt, "damage": lambda *given: damage(*given)[0]}
MOVES = sorted(set(KINDS) - {"erased", "pasted"})
each_maker = pytest.mark.parametrize("name", sorted(MAKERS))


def textured(count: int = 16, channels: int = 1, size: int = 16) -> torch.Tensor:
    """Discs (count, channels, size, size) in [-1, 1], each channel with a texture of its own."""
    discs, _ = textured_discs(count * channels, size)
    return torch.from_numpy(discs).float().reshape(count, channels, size, size) / 127.5 - 1


def smooth(count: int = 6, size: int = 64) -> torch.Tensor:
    values = np.random.default_rng(0).normal(size=(count, size, size))
    blurred = gaussian_filter(values, (0, size / 12, size / 12))
    return torch.from_numpy(blurred / np.abs(blurred).max()).float()[:, None]


# -- what all of them keep -------------------------------------------------------------------------------------------


@each_maker
@pytest.mark.parametrize("channels, size", [(1, 16), (3, 16), (1, 32), (3, 64)])
def test_images_stay_images(name: str, channels: int, size: int) -> None:
    images = textured(8, channels, size)
    before = images.clone()
    made = MAKERS[name](images, generator(0))
    assert made.shape == images.shape
    assert made.dtype == torch.float32
    assert made.min() >= before.min() - 1e-6  # nothing lighter or darker than what there is
    assert made.max() <= before.max() + 1e-6
    assert torch.equal(images, before)


@each_maker
def test_extremes_stay_in_range(name: str) -> None:
    images = torch.where(torch.rand(40, 1, 16, 16, generator=generator(1)) < 0.5, -1.0, 1.0)
    assert MAKERS[name](images, generator(0)).abs().max() <= 1 + 1e-6


@each_maker
def test_everything_random_comes_from_its_generator(name: str) -> None:
    images, make = textured(), MAKERS[name]
    torch.manual_seed(5)
    state = torch.get_rng_state()
    one, same, other = (make(images, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@each_maker
@pytest.mark.parametrize("grey", [-1.0, 0.25, 1.0])
def test_there_is_nothing_to_do_to_a_uniform_grey(name: str, grey: float) -> None:
    images = torch.full((16, 3, 16, 16), grey)
    assert torch.allclose(MAKERS[name](images, generator(0)), images, atol=1e-6)


@pytest.mark.parametrize("name", sorted(KINDS))
@pytest.mark.parametrize("channels", [1, 3])
def test_damage_shows(name: str, channels: int) -> None:
    """And more than taking the image again would, since K must be able to tell."""
    images = textured(64, channels, 32)
    changed = (KINDS[name](images, generator(0)) - images).abs().mean((1, 2, 3))
    assert (changed > 1e-3).float().mean() >= 0.95  # two may be blended into what there was
    assert changed.mean() > (jitter(images, generator(0)) - images).abs().mean()


# -- which way -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", range(1, 21))
def test_the_ways_come_in_equal_shares(count: int) -> None:
    damaged, kinds = damage(textured(count), generator(count))
    assert damaged.shape == (count, 1, 16, 16)
    assert kinds.dtype == torch.int64
    assert kinds.shape == (count,)
    shares = Counter(kinds.tolist())
    assert set(shares) <= set(range(1, len(KINDS) + 1))
    assert len(shares) == min(count, len(KINDS))
    assert max(shares.values()) - min(shares.get(kind, 0) for kind in range(1, len(KINDS) + 1)) <= 1


def test_small_batches_see_every_way_in_time() -> None:
    seen = [int(damage(textured(1), generator(0, step))[1]) for step in range(100)]
    assert set(seen) == set(range(1, len(KINDS) + 1))


def test_the_label_says_which_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def stamp(value: int) -> Maker:
        return lambda images, _: torch.full_like(images, value / 100)

    monkeypatch.setattr(ways, "KINDS", {name: stamp(kind) for kind, name in enumerate(KINDS, start=1)})
    damaged, kinds = damage(textured(20), generator(0))
    assert torch.allclose(damaged, (kinds / 100)[:, None, None, None].expand_as(damaged))


def test_every_way_is_a_choice_of_the_settings() -> None:
    assert Settings().training.damage == list(KINDS)


def test_some_ways_alone() -> None:
    images = textured(6)
    damaged, kinds = damage(images, generator(0), ["erased", "turned"])
    assert sorted(kinds.tolist()) == [1, 1, 1, 2, 2, 2]
    rng = generator(0)
    torch.randint(2, (1,), generator=rng)
    for kind, name in ((1, "erased"), (2, "turned")):
        assert torch.equal(damaged[kinds == kind], KINDS[name](images[kinds == kind], rng))


# -- as a whole ------------------------------------------------------------------------------------------------------


def test_sampling_is_scipys_affine_transform() -> None:
    """The map says where a pixel comes from, in halves of the side around the centre; bilinear, the border repeated."""
    images, maps = smooth(), ways._affine(6, generator(0), (0.0, 3.0), 0.85, 0.5, 0.2)
    got = ways._sample(images, ways._grid(maps, images)).numpy()
    size = images.shape[-1]
    for image, map_, ours in zip(images.numpy()[:, 0], maps.double().numpy(), got[:, 0], strict=True):
        matrix = map_[::-1, 1::-1]  # theirs is (row, column), ours (x, y)
        centre = (size - 1) / 2
        offset = centre - matrix @ np.array([centre, centre]) + map_[::-1, 2] * size / 2
        expected = affine_transform(image, matrix, offset, order=1, mode="nearest")
        assert np.abs(ours - expected).max() < 1e-4


def test_a_turn_is_of_36_to_180_degrees_and_half_are_mirrored(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.Tensor] = []
    honest = ways._affine
    monkeypatch.setattr(ways, "_affine", lambda *a, **k: taken.append(honest(*a, **k)) or taken[-1])
    ways._turned(textured(1000, size=16), generator(0))
    (maps,) = taken
    mirrored = torch.linalg.det(maps[:, :, :2]) < 0
    assert 0.44 < float(mirrored.float().mean()) < 0.56
    angle = torch.atan2(maps[:, 1, 0], maps[:, 0, 0])[~mirrored].abs()  # of what was the x axis: no shear, no zoom
    assert angle.min() >= np.pi / 5 - 1e-5
    assert (angle > np.pi / 2).float().mean() > 0.4


def test_jitter_leaves_four_in_ten_alone_and_moves_the_rest_by_little() -> None:
    images = smooth(1, 32).repeat(1000, 1, 1, 1)
    again = jitter(images, generator(0))
    apart = (again - images).abs().mean((1, 2, 3))
    as_they_were = apart < 1e-6
    assert 0.35 < float(as_they_were.float().mean()) < 0.45
    gap = (images - images.flip(3)).abs().mean()  # what another image would be away
    assert apart[~as_they_were].min() > 1e-4
    assert apart.max() < 0.5 * gap


@pytest.mark.parametrize("channels", [1, 3])
def test_shuffled_images_hold_the_tiles_of_the_jittered(channels: int) -> None:
    images, parts = textured(8, channels), []
    for seed in range(8):
        rng = generator(seed)
        side = 8 if torch.rand(1, generator=rng) < 0.5 else 4
        expected = jitter(images, rng)
        got = KINDS["shuffled"](images, generator(seed))
        for ours, theirs in zip(got, expected, strict=True):
            tiles = [part.unfold(1, side, side).unfold(2, side, side).flatten(1, 2) for part in (ours, theirs)]
            rows = [sorted(tuple(tile.flatten().tolist()) for tile in part.transpose(0, 1)) for part in tiles]
            assert rows[0] == rows[1]
        assert not torch.equal(got, expected)
        parts.append(side)
    assert set(parts) == {4, 8}


def test_joined_images_keep_one_side() -> None:
    """Half of the pixels or so are those of the jittered image, and of the others none."""
    images = textured(32, size=32)
    got = KINDS["joined"](images, generator(0))
    rng = generator(0)
    for _ in range(2):
        torch.rand(32, 1, 1, generator=rng)  # the line
    ours = jitter(images, rng)
    kept = ((got - ours).abs() < 1e-3).float().mean((1, 2, 3))
    assert ((kept > 0.1) & (kept < 0.9)).all()


def test_blended_images_are_the_maximum_minimum_or_mean_of_two() -> None:
    """Of images of one value each, which moving does not change: which two they are can be read from the result."""
    values = torch.rand(60, generator=generator(5)) * 2 - 1
    got = KINDS["blended"](values.view(60, 1, 1, 1).expand(60, 1, 32, 32), generator(0))
    assert float((got.amax((1, 2, 3)) - got.amin((1, 2, 3))).max()) < 1e-6
    result = got[:, 0, 16, 16]
    ours_or_other = (result[:, None] - values).abs().min(1).values < 1e-6  # maximum or minimum
    means = (values[:, None] + values) / 2
    is_mean = (result[:, None] - means).abs().min(1).values < 1e-6
    assert (ours_or_other | is_mean).all()
    raised, lowered = (result - values > 1e-6), (values - result > 1e-6)
    assert (ours_or_other & raised).sum() >= 5
    assert (ours_or_other & lowered).sum() >= 5
    assert (~ours_or_other & is_mean).sum() >= 5


# -- in one place ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [16, 32, 64])
def test_masks_cover_the_share_they_should(size: int) -> None:
    masks = ways._mask(torch.zeros(400, 3, size, size), generator(0))
    assert masks.shape == (400, 1, size, size)
    assert masks.min() >= 0
    assert masks.max() <= 1
    covered = (masks > 0.5).float().mean((1, 2, 3))
    pixel = 2 / size**2
    assert covered.min() >= SHARE[0] - pixel
    assert covered.max() <= SHARE[1] + pixel
    spread = SHARE[1] - SHARE[0]
    assert covered.min() < SHARE[0] + 0.05 * spread
    assert covered.max() > SHARE[1] - 0.05 * spread


def test_masks_are_blots_of_their_own() -> None:
    masks = (ways._mask(torch.zeros(50, 1, 32, 32), generator(0)) > 0.5).float()
    borders = (masks[..., 1:] != masks[..., :-1]).float().mean((1, 2, 3))
    assert borders.mean() < 0.1  # noise of no structure would have 0.4
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) == 50


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["_paste", "_erase"])
def test_what_lies_outside_the_blot_stays(name: str, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[torch.Tensor] = []
    honest = ways._mask
    monkeypatch.setattr(ways, "_mask", lambda *given: taken.append(honest(*given)) or taken[-1])
    images = textured(64, channels, 32)
    made = getattr(ways, name)(images, generator(0))
    (masks,) = taken
    change = (made - images).abs()
    assert (change <= 2 * masks + 1e-6).all()  # as much as is covered, of the whole range at most
    inside = (change * (masks > 0.9)).sum() / (masks > 0.9).sum()
    outside = (change * (masks < 0.05)).sum() / (masks < 0.05).sum()
    assert inside > 20 * outside


@pytest.mark.parametrize("channels", [1, 3])
def test_erased_places_have_a_value_of_the_image_itself(channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "_mask", lambda images, _: torch.ones_like(images[:, :1]))
    images = textured(64, channels)
    made = ways._erase(images, generator(0))
    for image, erased in zip(images, made, strict=True):
        value = erased[:, 0, 0]
        assert torch.equal(erased, value[:, None, None].expand_as(erased))
        assert (image.flatten(1) == value[:, None]).all(0).any()  # all channels of one pixel


def test_corrupted_images_are_unchanged_but_for_one_place() -> None:
    images = textured(200, size=32)
    corrupted = corrupt(images, generator(0))
    touched = ((corrupted - images).abs() > 0.02).float().mean((1, 2, 3))
    assert touched.max() < SHARE[1] + 0.25  # the rim is soft
    assert (touched > 0.01).float().mean() > 0.9
    assert float(((corrupted - images).abs() < 1e-3).float().mean()) > 0.4


def test_corruption_pastes_and_erases() -> None:
    """Of a white image among black ones only pasting makes anything else than it was."""
    images = torch.full((400, 1, 16, 16), -1.0)
    images[::2] = 1.0
    changed = ((corrupt(images, generator(0)) - images).abs().amax((1, 2, 3)) > 0.5).float().mean()
    assert 0.15 < float(changed) < 0.35  # half are pasted, half of them from the other kind
