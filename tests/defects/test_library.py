"""Planted defects: exact masks by comparison, whose randomness it is, every kind at odd sizes and in colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, label

from anotwin.defects import kinds as kinds_
from anotwin.defects.kinds import HELD_OUT, KINDS, TRAINED
from anotwin.defects.library import LEVEL, SQUARE, VISIBLE, Planted, plant

Pixels = np.ndarray[Any, np.dtype[np.float32]]
each_kind = pytest.mark.parametrize("kind", KINDS)
SHAPES = (16, 16), (17, 31), (33, 16), (48, 65)


def texture(channels: int = 1, shape: tuple[int, int] = (48, 65), seed: int = 0, contrast: float = 0.3) -> Pixels:
    """A grain of two pixels on a slope, in [-1, 1]."""
    rng = np.random.default_rng([seed, channels, *shape])
    grain = gaussian_filter(rng.normal(size=(channels, *shape)), (0, 1, 1))
    slope = np.linspace(-0.2, 0.2, shape[1])
    return np.clip(contrast * grain / max(grain.std(), 0.1) + slope, -1, 1).astype(np.float32)


def planted(kind: str, seed: int = 0, channels: int = 1, shape: tuple[int, int] = (48, 65), **more: Any) -> Planted:
    return plant(texture(channels, shape), texture(channels, shape, 1), np.random.default_rng(seed), [kind], **more)


def checked(before: Pixels, found: Planted) -> None:
    """What holds for whatever is planted: the mask is where the pixels differ, and says so by comparison alone."""
    assert found.pixels.dtype == np.float32
    assert found.pixels.shape == before.shape
    assert np.abs(found.pixels).max() <= 1
    change = np.abs(found.pixels - before).max(axis=0)
    assert np.array_equal(found.mask, change > 0)
    assert found.mask.any()
    assert (change[found.mask] > LEVEL / 2).all()
    assert (found.pixels == before)[:, ~found.mask].all()


# -- every kind --------------------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_mask_is_where_pixels_changed_and_all_else_is_as_before(
    kind: str, channels: int, shape: tuple[int, int]
) -> None:
    before = texture(channels, shape)
    for seed in range(5):
        found = planted(kind, seed, channels, shape)
        checked(before, found)
        assert found.kind == kind
        assert (np.abs(found.pixels - before).max(axis=0) > LEVEL).sum() >= VISIBLE


@each_kind
def test_neither_image_is_changed(kind: str) -> None:
    images = texture(3), texture(3, seed=1)
    copies = [image.copy() for image in images]
    for image in images:
        image.setflags(write=False)
    for seed in range(5):
        plant(*images, np.random.default_rng(seed), [kind])
    assert all(np.array_equal(*pair) for pair in zip(images, copies, strict=True))


@each_kind
def test_everything_random_comes_from_its_generator(kind: str) -> None:
    np.random.seed(5)  # noqa: NPY002
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    one, same, other = planted(kind, 3), planted(kind, 3), planted(kind, 4)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    assert np.array_equal(one.pixels, same.pixels)
    assert np.array_equal(one.mask, same.mask)
    assert (one.diameter, one.contrast) == (same.diameter, same.contrast)
    assert not np.array_equal(one.pixels, other.pixels)


@each_kind
def test_grey_is_the_same_in_three_equal_channels_unless_it_is_coloured(kind: str) -> None:
    """A tint is drawn for colour alone, and kinds that draw none treat every channel alike."""
    grey = texture()
    for seed in range(6):
        found = plant(np.repeat(grey, 3, 0), np.repeat(texture(seed=1), 3, 0), np.random.default_rng(seed), [kind])
        alike = np.ptp(found.pixels, axis=0).max() == 0
        assert alike or kind not in ("patch", "pasted", "worn", "bent", "dent")


@each_kind
def test_they_come_to_lie_everywhere(kind: str) -> None:
    """In the middle and at every border: what is planted in one place alone teaches that place."""
    count = np.sum([planted(kind, seed, shape=(32, 32), diameter=10, contrast=0.4).mask for seed in range(80)], axis=0)
    inner = slice(1, -1) if kind == "patch" else slice(None)  # of a patch the rim is the image's own
    assert count.max(axis=0)[inner].min() > 0
    assert count.max(axis=1)[inner].min() > 0
    assert count.max() < 60


@each_kind
def test_size_follows_the_diameter(kind: str) -> None:
    areas = [
        np.median([planted(kind, seed, shape=(96, 96), diameter=size, contrast=0.5).mask.sum() for seed in range(15)])
        for size in (6, 14, 32)
    ]
    assert areas[0] < areas[1] < areas[2]
    if kind not in ("bent", "dent", "worn", "drop"):  # whose rims are wide
        for area, size in zip(areas, (6, 14, 32), strict=True):
            assert 0.3 < area / (np.pi * size**2 / 4) < 3


@pytest.mark.parametrize("kind", ["pit", "scratch", "crack", "stain", "foreign", "dent", "drop"])
def test_contrast_is_what_was_asked_for(kind: str) -> None:
    def change(contrast: float) -> float:
        flat = np.zeros((1, 64, 64), np.float32)
        found = [plant(flat, flat, np.random.default_rng(k), [kind], 12, contrast) for k in range(15)]
        return float(np.median([np.abs(each.pixels).max() for each in found]))

    faint, middle, strong = change(0.05), change(0.15), change(0.4)
    assert faint < middle < strong
    assert 0.4 * 2 * 0.15 < middle < 3 * 2 * 0.15  # pixels in [-1, 1] have a range of 2


def test_what_is_drawn_reaches_from_barely_visible_to_gross() -> None:
    drawn = [plant(texture(shape=(96, 96)), texture(seed=1), np.random.default_rng(seed)) for seed in range(400)]
    diameters, contrasts = (np.array([getattr(each, name) for each in drawn]) for name in ("diameter", "contrast"))
    assert diameters.min() < 4
    assert diameters.max() > 40
    assert np.quantile(diameters, 0.5) == pytest.approx(np.sqrt(3 * 48), rel=0.25)  # equal ratios
    assert contrasts.min() < 0.15
    assert contrasts.max() > 0.8
    assert {each.kind for each in drawn} == set(KINDS)


def test_kinds_to_choose_by_are_none_of_those_trained_on() -> None:
    assert set(HELD_OUT) | set(TRAINED) == set(KINDS)
    assert not set(HELD_OUT) & set(TRAINED)
    assert len(TRAINED) > len(HELD_OUT) > 2


# -- what each is ------------------------------------------------------------------------------------------------------


def test_a_natural_patch_has_no_border() -> None:
    """The step across its rim is no larger than steps elsewhere; pasted without blending it is."""

    def steps(kind: str) -> list[float]:
        found = []
        for seed in range(12):
            before, donor = texture(contrast=0.05), texture(seed=1, contrast=0.05) + np.float32(0.6)
            made = plant(before, donor, np.random.default_rng(seed), [kind], 20).pixels[0]
            found.append(np.abs(np.diff(made, axis=0)).max())
        return found

    assert max(steps("patch")) < 0.3
    assert np.median(steps("pasted")) < 0.9


def test_worn_grain_keeps_the_brightness_and_changes_the_grain() -> None:
    before = texture(shape=(96, 96))
    for seed in range(10):
        found = plant(before, before, np.random.default_rng(seed), ["worn"], 40)
        inside = found.mask
        assert abs(found.pixels[0][inside].mean() - before[0][inside].mean()) < 0.15
        assert found.pixels[0][inside].std() != pytest.approx(before[0][inside].std(), rel=0.02)


def test_a_missing_part_is_flat() -> None:
    before = texture(shape=(96, 96))
    for seed in range(10):
        found = plant(before, before, np.random.default_rng(seed), ["missing"], 40)
        values = found.pixels[0][found.mask]
        flat, grain = (np.ptp(np.quantile(each, [0.25, 0.75])) for each in (values, before[0][found.mask]))
        assert flat < 0.05 < grain


def test_bending_moves_pixels_and_makes_none() -> None:
    before = texture(shape=(64, 64))
    for seed in range(10):
        made = plant(before, before, np.random.default_rng(seed), ["bent"], 30).pixels
        assert before.min() <= made.min()
        assert made.max() <= before.max()


def test_a_scratch_is_thin_and_long_and_a_pit_is_round() -> None:
    def extent(kind: str) -> float:
        """Of the largest part: longest distance of two pixels over the root of the area."""
        found = []
        for seed in range(12):
            parts, _ = label(planted(kind, seed, shape=(96, 96), diameter=14, contrast=0.6).mask, np.ones((3, 3)))
            places = np.argwhere(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
            found.append(np.linalg.norm(np.ptp(places, axis=0)) / np.sqrt(len(places)))
        return float(np.median(found))

    assert extent("scratch") > 3 > 2.5 > extent("pit")


# -- odd images --------------------------------------------------------------------------------------------------------


@each_kind
@pytest.mark.parametrize("grey", [-1.0, 0.0, 0.25, 1.0])
def test_something_is_planted_in_flat_images_too(kind: str, grey: float) -> None:
    flat = np.full((1, 24, 24), grey, np.float32)
    found = plant(flat, flat, np.random.default_rng(0), [kind])
    checked(flat, found)
    if kind in ("worn", "bent", "patch", "pasted"):  # which change texture, and there is none
        assert found.kind == SQUARE
        assert found.mask.sum() == found.diameter**2


@each_kind
@pytest.mark.parametrize("shape", [(5, 7), (8, 8), (3, 40)])
@pytest.mark.parametrize("donor", [(1, 1), (3, 64), (90, 90)])
def test_tiny_images_and_donors_of_any_size(kind: str, shape: tuple[int, int], donor: tuple[int, int]) -> None:
    before = texture(1, shape)
    checked(before, plant(before, texture(1, donor), np.random.default_rng(0), [kind]))


def test_black_is_not_made_darker_and_no_mask_says_so() -> None:
    """Half of the image is black: a dark pit on its edge has a mask on the grey half alone."""
    half = np.full((1, 40, 40), -1, np.float32)
    half[:, :, 20:] = texture(1, (40, 20), contrast=0.1)
    dark = 0
    for seed in range(30):
        found = plant(half, half, np.random.default_rng(seed), ["pit"], 16, 0.5)
        checked(half, found)
        if found.pixels[0][found.mask].mean() < half[0][found.mask].mean():
            dark += 1
            assert not found.mask[:, :20].any() or (found.pixels > half)[:, :, :20].any()
    assert dark > 10


def test_integers_of_eight_bits_change_exactly_where_the_mask_is() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (1, 40, 40))
    before = (levels / 127.5 - 1).astype(np.float32)
    for seed, kind in enumerate(sorted(KINDS) * 3):
        found = plant(before, before[:, ::-1], np.random.default_rng(seed), [kind])
        after = np.rint((found.pixels.astype(np.float64) + 1) * 127.5).astype(int)
        assert np.array_equal((after != levels)[0], found.mask)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(KINDS)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1, 3]),
    st.tuples(st.integers(4, 40), st.integers(4, 40)),
    st.none() | st.floats(1, 60),
    st.none() | st.floats(0.01, 1),
    st.floats(0, 1),
)
def test_properties(
    kind: str,
    seed: int,
    channels: int,
    shape: tuple[int, int],
    diameter: float | None,
    contrast: float | None,
    strength: float,
) -> None:
    before = texture(channels, shape, contrast=strength)
    found = plant(before, texture(channels, shape, 1), np.random.default_rng(seed), [kind], diameter, contrast)
    checked(before, found)
    assert found.kind in (kind, SQUARE)
    assert 1 <= found.diameter <= max(shape)
    assert 0 < found.contrast <= 1


def test_a_kind_that_needs_a_larger_size_is_planted_larger() -> None:
    """A pit of one pixel is fewer than can be seen: it grows until it is, and says so."""
    found = [planted("pit", seed, diameter=0.5, contrast=0.3) for seed in range(20)]
    assert {0.5} < {each.diameter for each in found}
    assert all(each.mask.sum() >= VISIBLE for each in found)


def test_every_kind_says_what_it_is() -> None:
    assert all(make.__doc__ for make in KINDS.values())
    assert [name for name, make in KINDS.items()] == [make.__name__ for make in KINDS.values()]
    assert all(getattr(kinds_, name) is make for name, make in KINDS.items())
