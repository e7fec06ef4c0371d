"""Random tiles of images at all resolutions: where they lie, that nothing is lost of them, and where they are kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from anotwin.data.arrays import from_arrays
from anotwin.data.folder import open_folder
from anotwin.errors import DataError
from anotwin.prepare import cache, tile_images
from anotwin.prepare.patch_images import EACH
from anotwin.prepare.pyramid import pyramid
from anotwin.prepare.resize import to_model
from anotwin.prepare.tile_images import ANYWHERE, FINEST, PLACES, TileImages, prepare_tiles, read_images
from anotwin.records import Array, ImageSpec

SPEC = ImageSpec(1, 16, view="tiles", parts=True)
RNG = np.random.default_rng(0)


def noise(*shape: int, dtype: type = np.uint8) -> Array:
    return RNG.integers(0, 256 if dtype is np.uint8 else 4096, shape).astype(dtype)


def images_of(pixels: list[Array], spec: ImageSpec = SPEC, **more: object) -> TileImages:
    return prepare_tiles(from_arrays(pixels), range(len(pixels)), spec, seed=3, **more)


ALL = np.arange(4)
IMAGES = [noise(100, 40), noise(10, 12), noise(33, 17), noise(64, 64)]


def test_levels_and_images_have_their_shares() -> None:
    subset = images_of(IMAGES).subset(ALL)
    assert len(subset) == EACH
    drawn = np.array([subset[k][:2] for k in range(4000)])
    counts = np.bincount(drawn[:, 0])
    assert counts.tolist() == [1000] * 4  # in rounds, each image once in each
    for image, levels in enumerate([4, 1, 3, 3]):
        shares = np.bincount(drawn[drawn[:, 0] == image, 1], minlength=levels) / 1000
        expected = [FINEST, *[(1 - FINEST) / (levels - 1)] * (levels - 1)] if levels > 1 else [1.0]
        assert shares == pytest.approx(expected, abs=0.05)


def test_places_are_even_over_all_that_a_level_has() -> None:
    subset = images_of([noise(18, 20)]).subset(np.array([0]))
    places = [subset[k] for k in range(3000)]
    fine = np.array([(row, column) for _, level, row, column in places if level == 0])
    assert set(map(tuple, fine.tolist())) == {(row, column) for row in range(3) for column in range(5)}
    counts = np.bincount(fine[:, 0] * 5 + fine[:, 1])
    assert counts.min() > 0.6 * counts.mean()
    assert {(row, column) for _, level, row, column in places if level == 1} == {(0, 0)}


def test_three_in_four_tiles_are_at_the_first_of_four_places_that_is_not_plain() -> None:
    """A part that an eighth of all tiles touch; one of four places does with a chance of 1 - (7 / 8)^4."""
    part = np.full((80, 80), 200, np.uint8) + RNG.integers(0, 3, (80, 80)).astype(np.uint8)
    part[36:44, 36:44] = RNG.integers(0, 256, (8, 8))
    subset = images_of([part]).subset(np.array([0]))
    touches = [
        20 < row < 44 and 20 < column < 44
        for _, level, row, column in map(subset.__getitem__, range(3000))
        if level == 0
    ]
    anywhere = (23 / 65) ** 2
    most = ANYWHERE * anywhere + (1 - ANYWHERE) * (1 - (1 - anywhere) ** PLACES)  # were the least corner enough
    assert 2 * anywhere < np.mean(touches) < most + 0.03


def test_where_everything_is_to_be_seen_the_first_place_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """And tiles of neighbouring numbers have no place in common but by chance."""
    subset = images_of([np.tile(noise(16, 16), (25, 25))], ImageSpec(1, 32, view="tiles", parts=True)).subset(
        np.array([0])
    )
    fine = [place for place in map(subset.__getitem__, range(3000)) if place[1] == 0]
    monkeypatch.setattr(tile_images, "ANYWHERE", 2.0)
    assert [place for place in map(subset.__getitem__, range(3000)) if place[1] == 0] == fine
    assert len(set(fine)) > 0.98 * len(fine)


def test_a_tile_follows_from_the_seed_and_its_number_alone() -> None:
    images = images_of(IMAGES)
    subset, again = images.subset(ALL), images.subset(ALL)
    numbers = np.array([70_000, 5, 123_456])
    batch = subset.batch(numbers).images
    assert torch.equal(batch, again.batch(numbers).images)
    assert torch.equal(batch[1:2], again.batch(np.array([5])).images)
    assert [subset[k] for k in (1, 900)] != [images_of(IMAGES[::-1]).subset(ALL)[k] for k in (1, 900)]
    for outside in (-1, EACH):
        with pytest.raises(IndexError, match=f"tile {outside}"):
            subset[outside]


@pytest.mark.parametrize(
    ("pixels", "spec"),
    [
        (noise(40, 50), SPEC),
        (noise(40, 50, 3), ImageSpec(3, 16)),
        (noise(40, 50, dtype=np.uint16), ImageSpec(1, 16, "uint16", 0.0, 4095.0)),
        (noise(40, 50).astype(np.float32) / 255, ImageSpec(1, 16, "float32", 0.0, 1.0)),
        (noise(40, 50), ImageSpec(3, 16)),  # grey for a model of colours
        (noise(40, 50, 3), SPEC),
    ],
)
def test_tiles_are_cut_from_the_levels_and_nothing_is_lost(pixels: Array, spec: ImageSpec) -> None:
    """Against `to_model`, which prepares whole images, of the same pixels."""
    subset = images_of([pixels], spec).subset(np.array([0]))
    numbers = np.arange(40)
    levels = pyramid(pixels, 16, spec.channels)
    for number, tile in zip(numbers.tolist(), subset.batch(numbers).images, strict=True):
        _, level, row, column = subset[number]
        expected, _ = to_model(levels[level].pixels[row : row + 16, column : column + 16], spec)
        assert torch.equal(tile, expected)
        assert tile.shape == (spec.channels, 16, 16)


def test_a_batch_of_images_of_several_types_is_in_order() -> None:
    spec = ImageSpec(3, 16, "uint16", 0.0, 4095.0)
    several = [noise(20, 20), noise(20, 20, 3, dtype=np.uint16), noise(30, 20, dtype=np.uint16), noise(16, 16)]
    subset = images_of(several, spec).subset(ALL)
    numbers = np.arange(16)
    for number, tile in zip(numbers.tolist(), subset.batch(numbers).images, strict=True):
        assert torch.equal(tile, subset.batch(np.array([number])).images[0])


def test_values_beyond_the_range_that_was_learnt_are_clipped() -> None:
    spec = ImageSpec(1, 16, "uint16", 0.0, 255.0)
    batch = images_of([noise(20, 20, dtype=np.uint16)], spec).subset(np.array([0])).batch(np.arange(20)).images
    assert batch.max() == 1


def test_what_does_not_fit_into_memory_lies_in_a_file(tmp_path: Path) -> None:
    large = [noise(700, 900), noise(650, 800, 3), noise(600, 900)]
    spec = ImageSpec(3, 16)
    inside, outside = images_of(large, spec), images_of(large, spec, memory_mb=1, folder=tmp_path)
    assert inside.file is None
    assert outside.file is not None
    assert outside.file.parent == tmp_path
    if os.name == "posix":
        assert list(tmp_path.iterdir()) == []  # it has no name: nothing is left after a kill
    rows, numbers = np.arange(3), np.arange(50)
    assert torch.equal(inside.subset(rows).batch(numbers).images, outside.subset(rows).batch(numbers).images)
    assert torch.equal(inside.whole(rows), outside.whole(rows))
    outside.close()
    outside.close()


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.ArrayFile, "append", full)
    with pytest.raises(DataError, match=r"cannot keep .* MiB of prepared images \(No space left on device\); free"):
        images_of([noise(2000, 900)], memory_mb=1, folder=tmp_path)


class Some:
    """Images of which some cannot be read."""

    root, layout = "somewhere", "array"

    def __init__(self, count: int, bad: set[int]) -> None:
        self.items, self.bad = from_arrays([noise(20, 20)] * count).items, bad

    def read(self, index: int) -> Array:
        if index in self.bad:
            raise DataError(f"{self.items[index].id}: no image")
        return noise(20, 30)

    def read_mask(self, _index: int) -> None:
        return None


def test_images_that_cannot_be_read_are_left_out_with_their_reason() -> None:
    images = prepare_tiles(Some(5, {1}), range(5), SPEC, 0)
    assert images.failures == ((1, "image-00001: no image"),)
    assert images.indices.tolist() == [0, 2, 3, 4]
    assert len(images.pyramids) == len(set(images.fingerprints.tolist())) == 4
    with pytest.raises(DataError, match=r"3 of 5 images cannot be used; the first: image-00000: no image"):
        prepare_tiles(Some(5, {0, 1, 2}), range(5), SPEC, 0)


def test_images_are_read_in_order_and_values_of_unknown_unit_refused() -> None:
    found = list(read_images(from_arrays([np.full((20, 20), 7.0, np.float32)]), [0], SPEC))
    assert found[0].levels == ()
    assert found[0].error.startswith("image-00000: float pixels from 7 to 7 for a model of uint8 images")
    some = list(read_images(Some(4, {2}), [3, 2, 0], SPEC))
    assert [(image.index, bool(image.error)) for image in some] == [(3, False), (2, True), (0, False)]


def test_the_whole_of_an_image_is_its_coarsest_level() -> None:
    flat = np.repeat(np.arange(64, dtype=np.uint8)[:, None] * 4, 48, axis=1)
    (whole,) = images_of([flat]).whole(np.array([0]))
    assert whole.shape == (1, 16, 16)
    means = torch.from_numpy(flat.reshape(16, 4, 48).mean((1, 2)) / 127.5 - 1).float()
    assert torch.allclose(whole[0].mean(1), means, atol=0.02)  # without what is mirrored beside it


def test_workers_change_nothing(tmp_path: Path) -> None:
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    (tmp_path / "9.png").write_bytes(b"no image")
    source = open_folder(tmp_path, "test")
    alone, helped = (list(read_images(source, range(5), SPEC, 0.5, workers)) for workers in (0, 2))
    for one, other in zip(alone, helped, strict=True):
        assert (one.index, one.error, one.fingerprint) == (other.index, other.error, other.fingerprint)
        for a, b in zip(one.levels, other.levels, strict=True):
            assert (a.height, a.width) == (b.height, b.width)
            np.testing.assert_array_equal(a.pixels, b.pixels)
