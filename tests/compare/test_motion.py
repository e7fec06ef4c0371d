"""Optical flow against shifts that are known; what stands there against a median of pixels, and light and walkers."""

from __future__ import annotations

import builtins
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import fourier_shift, gaussian_filter

from anotwin.compare import motion
from anotwin.compare.motion import LOOSE, NARROW, SOFT, STANDS_OUT, smoothed, standing, standing_out, velocity
from anotwin.errors import MissingExtra

QUICK = settings(derandomize=True, deadline=None, max_examples=25)
SIDE = 128
INNER = slice(24, -24)  # what comes in at the border was not there before


def texture(seed: int = 0, fine: float = 6.0) -> np.ndarray:
    """(SIDE, SIDE) in [-0.9, 0.9], smooth, the same beyond its border."""
    made = gaussian_filter(np.random.default_rng(seed).normal(size=(SIDE, SIDE)), fine, mode="wrap")
    return np.asarray(0.9 * made / np.abs(made).max())


def shifted(image: np.ndarray, right: float, down: float) -> np.ndarray:
    """Moved by fractions of pixels, exactly: by the phase of its spectrum."""
    return np.asarray(np.fft.ifft2(fourier_shift(np.fft.fft2(image), (down, right))).real)


def frames(*images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).float()[:, None]


# -- velocity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", range(0, 360, 45))
@pytest.mark.parametrize("length", [0.5, 1.0, 2.5, 4.0])
def test_a_texture_that_moves_has_its_velocity(angle: int, length: float) -> None:
    right, down = length * np.cos(np.radians(angle)), length * np.sin(np.radians(angle))
    image = texture(angle)
    (flow,) = velocity(frames(image), frames(shifted(image, right, down))).numpy()
    assert flow.shape == (2, SIDE, SIDE)
    found = flow[:, INNER, INNER]
    np.testing.assert_allclose(np.median(found, (1, 2)), [right, down], atol=0.1)
    np.testing.assert_allclose(found.mean((1, 2)), [right, down], atol=0.1)


@QUICK
@given(st.floats(-4, 4), st.floats(-4, 4), st.integers(0, 1000))
def test_in_any_direction(right: float, down: float, seed: int) -> None:
    image = texture(seed)
    (flow,) = velocity(frames(image), frames(shifted(image, right, down))).numpy()
    np.testing.assert_allclose(np.median(flow[:, INNER, INNER], (1, 2)), [right, down], atol=0.1)


def test_what_does_not_move_has_none() -> None:
    image = frames(texture())
    assert velocity(image, image).abs().max() < 1e-3
    flat = torch.zeros(1, 1, SIDE, SIDE)
    assert velocity(flat, flat).abs().max() < 1e-3


def test_only_what_moves_is_fast() -> None:
    """A bright body of 30 pixels goes by 3 pixels to the left over a ground that stays; its flow is somewhat less."""
    ground, body = 0.3 * texture(0, 2.0) - 0.2, 0.5 * texture(1, 2.0)[:30, :30] + 0.4
    before, after = ground.copy(), ground.copy()
    before[30:60, 50:80], after[30:60, 47:77] = body, body
    (flow,) = velocity(frames(before), frames(after)).numpy()
    right, down = np.median(flow[:, 38:52, 56:68], (1, 2))
    assert -3.2 < right < -1.8
    assert abs(down) < 0.3
    assert np.median(np.linalg.norm(flow[:, 90:], axis=0)) < 0.1


def test_frames_of_another_size_change_no_velocity() -> None:
    """OpenCV's finder keeps the scale that a small frame made it take."""
    before, after = texture(5), shifted(texture(5), 2.0, -1.0)
    pairs = [(frames(before[:side, :side]), frames(after[:side, :side])) for side in (SIDE, 32)]
    motion._finder.cache_clear()
    first = velocity(*pairs[0])
    other = velocity(*pairs[1])
    assert torch.equal(velocity(*pairs[0]), first)
    motion._finder.cache_clear()
    assert torch.equal(velocity(*pairs[1]), other)


def test_pairs_do_not_depend_on_their_batch() -> None:
    images = [texture(seed) for seed in range(6)]
    before = frames(*images)
    after = frames(*(shifted(image, seed - 3, 1.5) for seed, image in enumerate(images)))
    together = velocity(before, after)
    for chosen in ([0], [3], [5, 1], [2, 2, 4], [5, 4, 3, 2, 1, 0]):
        assert torch.equal(velocity(before[chosen], after[chosen]), together[chosen])


def test_it_does_not_depend_on_how_many_threads_opencv_may_use() -> None:
    before, after = frames(texture(0)), frames(shifted(texture(0), 2.0, -1.0))
    usual, found = cv2.getNumThreads(), []
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            found.append(velocity(before, after))
    finally:
        cv2.setNumThreads(usual)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_colours_count_by_their_mean() -> None:
    image, moved = texture(), shifted(texture(), 2, 1)
    grey = velocity(frames(image), frames(moved))
    coloured = [torch.stack([one - 0.05, one + 0.05, one], 1) for one in (frames(image)[:, 0], frames(moved)[:, 0])]
    assert torch.allclose(velocity(*coloured), grey, atol=0.05)


@pytest.mark.parametrize("side", [16, 32])
def test_small_frames_have_a_flow_too(side: int) -> None:
    image = torch.from_numpy(np.random.default_rng(0).random((2, 1, side, side))).float()
    flow = velocity(image, image.flip(0))
    assert flow.shape == (2, 2, side, side)
    assert flow.isfinite().all()


def test_values_beyond_the_range_are_not_wrapped() -> None:
    image = frames(texture())
    assert velocity(image.clamp(max=1) + 3, image.clamp(max=1) + 3).abs().max() < 1e-3
    bright = frames(np.where(texture() > 0.5, 3.0, texture()))
    assert torch.equal(velocity(bright, image), velocity(bright.clamp(max=1), image))


def test_without_opencv_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = builtins.__import__

    def missing(name: str, *others: Any) -> Any:
        if name == "cv2":
            raise ImportError(name)
        return genuine(name, *others)

    motion._finder.cache_clear()
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra, match=r"pip install 'anotwin\[video\]'"):
        velocity(frames(texture()), frames(texture()))


# -- standing -------------------------------------------------------------------------------------------------------

BAG, WALKERS = (slice(10, 20), slice(30, 36)), [(slice(50, 66), slice(10 + 20 * n, 16 + 20 * n)) for n in range(4)]


def scene(objects: list[list[tuple[slice, slice]]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames (1, K, 1, S, S) with objects of 0.8 above the ground, and the ground (1, S, S)."""
    ground = 0.15 * texture()
    made = np.repeat(ground[None], len(objects), 0)
    for frame, places in zip(made, objects, strict=True):
        for place in places:
            frame[place] += 0.8
    return frames(*made)[None], torch.from_numpy(ground).float()[None]


def test_what_stays_is_found_and_who_passes_is_not() -> None:
    seen, ground = scene([[BAG, WALKERS[n]] for n in range(4)])
    (found,) = standing(seen, ground).numpy()
    assert 0.35 < found[BAG].min() <= found[BAG].max() <= 0.4  # pixels in [0, 1], less what is wide
    for walker in WALKERS:
        assert found[walker].max() < 0.02


def test_what_was_not_there_in_one_of_the_frames_does_not_stand() -> None:
    for gone in range(4):
        seen, ground = scene([[] if n == gone else [BAG] for n in range(4)])
        assert standing(seen, ground).max() < 2e-3


@settings(QUICK, max_examples=6)
@given(st.lists(st.floats(-0.4, 0.4), min_size=4, max_size=4))
def test_light_that_changes_is_no_object(light: list[float]) -> None:
    """A cloud: every frame is brighter or darker, some more to the right than to the left; the bag is as before."""
    seen, ground = scene([[BAG]] * 4)
    changed = seen + torch.tensor(light)[None, :, None, None, None]
    assert torch.allclose(standing(changed, ground), standing(seen, ground), atol=1e-5)
    across = torch.linspace(-1, 1, SIDE)[INNER] * torch.tensor(light)[:, None]
    empty = ground.expand(1, 4, 1, -1, -1).clone()
    empty[..., INNER] += across[None, :, None, None]
    assert standing(empty, ground)[..., 40:-40].max() < 1e-5  # where it does not end


def test_what_changes_counts_less_by_how_much_it_does() -> None:
    """A group of people in one place is there all the time, but no two frames of it are alike."""
    seen, ground = scene([[BAG]] * 4)
    crowd = seen.clone()
    crowd[0, 1][:, BAG[0], BAG[1]] -= 0.2  # of 0.8
    bag, group = (standing(each, ground)[0][BAG].mean() for each in (seen, crowd))
    assert float(group) == pytest.approx(float(bag) - 2 * 0.1, abs=0.02)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("side", [8, 40])
def test_standing_is_the_one_worked_out_pixel_by_pixel(channels: int, count: int, side: int) -> None:
    rng = torch.Generator().manual_seed(0)
    ground = torch.rand(channels, side, side, generator=rng) * 2 - 1
    seen = ground + 0.3 + 1.5 * torch.rand(2, 1, channels, side, side, generator=rng)
    seen = seen + 0.05 * torch.rand(2, count, channels, side, side, generator=rng)
    half = min(NARROW, 2 * (side // 2) - 1) // 2

    def narrow(maps: np.ndarray) -> np.ndarray:
        made = np.empty_like(maps)
        for row in range(side):
            for column in range(side):
                around = maps[..., max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
                made[..., row, column] = maps[..., row, column] - around.mean((-2, -1))
        return made

    ours, usual = narrow(seen.double().numpy()), narrow(ground.double().numpy())
    apart = np.empty_like(ours)
    for row in range(side):
        for column in range(side):
            near = usual[:, max(row - LOOSE, 0) : row + LOOSE + 1, max(column - LOOSE, 0) : column + LOOSE + 1]
            nearest = np.clip(ours[..., row, column], near.min((1, 2)), near.max((1, 2)))
            apart[..., row, column] = (ours[..., row, column] - nearest) / 2
    least, varies = np.abs(apart).min(1), apart.max(1) - apart.min(1)
    expected = np.maximum(least - varies, 0).mean(1)
    found = standing(seen, ground)
    assert (expected > 0).any()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert torch.equal(standing(seen[1:], ground), found[1:])


def test_a_camera_that_trembles_shows_nothing_that_stands() -> None:
    ground = torch.from_numpy(texture(0, 2.0)).float()[None]
    for down, right in ((0, 1), (1, 0), (-1, 1)):
        frames = ground.roll((down, right), (1, 2))[None, None].expand(1, 4, -1, -1, -1)
        assert standing(frames, ground)[0, 17:-17, 17:-17].max() < 1e-3  # a mean of half a square is another
    bag = ground.clone()
    bag[:, 50:58, 60:68] += 0.6
    assert standing(bag.roll(1, 2)[None, None].expand(1, 4, -1, -1, -1), ground)[0, 52:56, 62:66].min() > 0.1


# -- smoothed -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.7, 2.56])
def test_smoothing_is_that_of_scipy_map_by_map(sigma: float) -> None:
    maps = torch.rand(2, 3, 32, 40, generator=torch.manual_seed(0))
    expected = gaussian_filter(maps.double().numpy(), (0, 0, sigma, sigma), mode="nearest", truncate=4)
    np.testing.assert_allclose(smoothed(maps, sigma), expected, atol=1e-6)
    assert torch.equal(smoothed(maps[1:, 2:], sigma), smoothed(maps, sigma)[1:, 2:])


# -- standing_out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "side"), [(1, 64), (3, 64), (1, 16)])
def test_what_stands_out_is_the_formula(channels: int, side: int) -> None:
    """Pixel by pixel: the difference from the background less its mean around, told by tanh^2, then smoothed."""
    random = torch.Generator().manual_seed(side)
    images, background = (2 * torch.rand((2, channels, side, side), generator=random) - 1 for _ in range(2))
    reach = (min(NARROW, 2 * (side // 2) - 1) - 1) // 2
    apart = ((images - background) / 2).numpy().astype(np.float64)
    expected = np.zeros((2, 1, side, side))
    for row in range(side):
        for column in range(side):
            around = apart[
                ..., max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1
            ].mean((2, 3))
            narrow = np.abs(apart[..., row, column] - around).mean(1)
            expected[:, 0, row, column] = np.tanh(narrow / STANDS_OUT) ** 2
    soft = smoothed(torch.from_numpy(expected).float(), SOFT)
    found = standing_out(images, background)
    assert found.shape == (2, 1, side, side)
    assert torch.allclose(found, soft, atol=2e-4)
    assert torch.equal(standing_out(images[1:], background[1:]), found[1:])


def test_what_is_wide_does_not_stand_out() -> None:
    """The shadow of a cloud; somebody in it does."""
    ground = torch.from_numpy(0.15 * texture()).float()[None, None]
    cloud = ground - 0.4 * torch.linspace(-1, 1, SIDE)[None, None, None].clamp(min=0)
    assert standing_out(cloud, ground)[..., 20:-20].max() < 0.05
    cloud[..., 50:66, 90:96] += 0.8
    assert standing_out(cloud, ground)[0, 0, 53:63, 92:94].min() > 0.8
    assert standing_out(ground, ground).max() == 0
