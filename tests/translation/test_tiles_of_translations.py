"""Tiles are one pass over the whole image, cut into parts; types and colours of what comes out."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.errors import DataError
from anotwin.records import ImageSpec
from anotwin.translation import tiles
from anotwin.translation.protocol import TranslationSpec
from anotwin.translation.tiles import spans, translate_native


class Blurring:
    """Means of 5 x 5 pixels of an image halved and enlarged again: depends on 6 pixels to each side, in steps of 2."""

    reach, stride = 6, 2

    def __init__(self, a: ImageSpec, b: ImageSpec) -> None:
        self.spec = TranslationSpec(a, b, aligned=True)
        self.sizes: list[tuple[int, ...]] = []

    def translate(
        self, images: torch.Tensor, direction: str, _seed: int = 0, _at: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        self.sizes.append(tuple(images.shape[2:]))
        channels = self.spec.b.channels if direction == "AtoB" else self.spec.a.channels
        half = F.avg_pool2d(images.mean(1, keepdim=True), 2)
        small = F.avg_pool2d(half, 5, 1, 2, count_include_pad=False)
        wide = F.interpolate(small, scale_factor=2 * self.spec.factor if direction == "AtoB" else 2, mode="nearest")
        return wide.expand(-1, channels, -1, -1)


GREY = ImageSpec(1, 16)


def whole(method: Any, pixels: np.ndarray) -> np.ndarray:
    """The same in one pass over an image whose sides are even."""
    images = torch.from_numpy(pixels.astype(np.float32))[None, None] / 127.5 - 1
    return np.rint((method.translate(images, "AtoB")[0, 0].numpy() + 1) * 127.5).clip(0, 255)


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for halves that are rounded to the other side."""
    apart = np.abs(found - expected)
    assert apart.max() <= 1
    assert apart.mean() < 0.02


@given(
    side=st.integers(1, 3000),
    least=st.sampled_from([16, 64, 256]),
    reach=st.integers(0, 300),
    stride=st.integers(1, 32),
)
@settings(derandomize=True, deadline=None, max_examples=150)
def test_spans_cover_a_side_once_and_reach_far_enough(side: int, least: int, reach: int, stride: int) -> None:
    found = list(spans(side, least, reach, stride))
    assert [place for span in found for place in range(span.first, span.last)] == list(range(side))
    padded = found[-1].end
    assert padded >= max(side, least)
    assert padded < max(side, least) + stride
    for span in found:
        assert span.begin % stride == span.end % stride == 0
        assert span.first - span.begin >= reach or span.begin == 0
        assert span.end - span.last >= reach or span.end == padded


@pytest.mark.parametrize("factor", [1, 2])
def test_tiles_are_one_pass_over_the_whole(factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "INNER", 32)
    method = Blurring(GREY, ImageSpec(1, 16 * factor))
    pixels = np.random.default_rng(0).integers(0, 256, (150, 98), np.uint8)
    found = translate_native(method, pixels, "AtoB")
    count = len(method.sizes)
    assert count == 5 * 4
    assert max(max(size) for size in method.sizes) == 32 + 2 * 6
    close(found, whole(method, pixels))


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (17, 16), (33, 31)])
def test_odd_and_tiny_images_are_mirrored_as_in_training_and_cut_back(shape: tuple[int, int]) -> None:
    method = Blurring(GREY, GREY)
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    sides = [max(16, side + side % 2) for side in shape]
    padded = np.pad(pixels, [(0, to - side) for side, to in zip(shape, sides, strict=True)], mode="symmetric")
    found = translate_native(method, pixels, "AtoB")
    close(found, whole(method, padded)[: shape[0], : shape[1]])


def spec(channels: int = 1, kind: str = "uint8", black: float = 0, white: float = 255) -> ImageSpec:
    return ImageSpec(channels, 16, kind, black, white)  # type: ignore[arg-type]


DEEP, FLOAT = spec(kind="uint16", white=4095), spec(kind="float32", black=-2, white=5)


@pytest.mark.parametrize(
    ("a", "b", "given_type", "type_back"),
    [
        (spec(), spec(), np.uint8, np.uint8),
        (spec(), spec(), np.uint16, np.uint16),  # of 16 bits, for a model of 8: full range
        (spec(), spec(), np.float32, np.float32),  # in [0, 1]
        (spec(), DEEP, np.uint8, np.uint16),  # another type: that of B
        (DEEP, spec(), np.uint16, np.uint8),
        (DEEP, DEEP, np.uint16, np.uint16),
        (FLOAT, FLOAT, np.float32, np.float32),
        (FLOAT, spec(), np.float32, np.uint8),
    ],
)
def test_a_flat_image_keeps_its_share_of_the_range(
    a: ImageSpec, b: ImageSpec, given_type: type, type_back: type
) -> None:
    ranges = {np.uint8: (0, 255), np.uint16: (0, 65535), np.float32: (0, 1)}

    def ends(of: ImageSpec, kind: type) -> tuple[float, float]:
        return (of.black, of.white) if np.dtype(kind).name == of.pixel_type else ranges[kind]

    low, high = ends(a, given_type)
    pixels = np.full((20, 18), low + 0.4 * (high - low)).astype(given_type)
    found = translate_native(Blurring(a, b), pixels, "AtoB")
    low, high = ends(b, type_back)
    assert found.dtype == type_back
    assert found.shape == pixels.shape
    step = 1 if np.dtype(type_back).kind == "u" else 1e-3
    assert np.abs(found.astype(float) - (low + 0.4 * (high - low))).max() <= step * (1 + (high - low) / 255)


@pytest.mark.parametrize(
    ("channels_a", "channels_b", "shape", "shape_back"),
    [
        (1, 1, (20, 20), (20, 20)),
        (1, 1, (20, 20, 3), (20, 20)),
        (3, 3, (20, 20, 3), (20, 20, 3)),
        (3, 3, (20, 20), (20, 20)),  # grey stays grey
        (1, 3, (20, 20), (20, 20, 3)),
        (3, 1, (20, 20, 3), (20, 20)),
    ],
)
def test_colours_are_those_of_the_image_or_of_the_other_domain(
    channels_a: int, channels_b: int, shape: tuple[int, ...], shape_back: tuple[int, ...]
) -> None:
    found = translate_native(Blurring(spec(channels_a), spec(channels_b)), np.full(shape, 90, np.uint8), "AtoB")
    assert found.shape == shape_back
    assert (found == 90).all()


def test_the_way_back_is_not_enlarged() -> None:
    method = Blurring(spec(3), spec(1))
    assert translate_native(method, np.full((20, 20), 9, np.uint8), "BtoA").shape == (20, 20, 3)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.full((4, 4), np.nan, np.float32), "NaN or infinite"),
        (np.zeros((4, 4, 2), np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.full((4, 4), 7.0, np.float32), r"expected \[0, 1\]"),
    ],
)
def test_what_cannot_be_translated_says_so(pixels: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        translate_native(Blurring(GREY, GREY), pixels, "AtoB")


def test_images_of_a_series_have_noise_of_their_own() -> None:
    """Slices of one volume, translated with one seed: the same image has the same, another one has another."""
    images = np.random.default_rng(0).integers(0, 256, (4, 20, 20), np.uint8)
    places = [tiles.place_of(image) for image in images]
    assert len(set(places)) == 4
    assert tiles.place_of(images[1].copy()) == places[1]
    assert all(0 <= place < tiles.FAR for pair in places for place in pair)
