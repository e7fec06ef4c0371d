"""Whether results lie where they belong: blobs at their own place, no seams, an image alone as among others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_mean import LocalMean, tiles
from PIL import Image

from anotwin.data.arrays import from_arrays
from anotwin.data.folder import open_folder
from anotwin.records import Array, Finding
from anotwin.run.local import score_stream

# what a file stores of an upright picture, by its orientation tag: the inverse of what Pillow's exif_transpose does
STORED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def smooth(height: int, width: int) -> Array:
    rows, columns = np.mgrid[:height, :width]
    return 100 + 20 * np.sin(rows / 40) + 20 * np.cos(columns / 50)


def blob(height: int, width: int, row: float, column: float, sigma: float = 1.2) -> Array:
    rows, columns = np.mgrid[:height, :width]
    return 100 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * sigma**2))


def as_bytes(values: Array) -> Array:
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)


def scored(*images: Array, channels: int = 1, **more: object) -> list[Finding]:
    overrides = more.pop("overrides", ())
    method = LocalMean(tiles(channels=channels), *overrides, **more)
    return list(score_stream(method, from_arrays(list(images)), None))


def hottest(finding: Finding) -> tuple[int, ...]:
    assert finding.heatmap is not None
    return tuple(map(int, np.unravel_index(int(finding.heatmap.argmax()), finding.heatmap.shape)))


@st.composite
def planted(draw: st.DrawFn) -> tuple[int, int, int, int]:
    height, width = draw(st.integers(9, 160)), draw(st.integers(9, 160))
    return height, width, draw(st.integers(2, height - 3)), draw(st.integers(2, width - 3))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(place=planted())
def test_a_blob_is_found_at_its_own_place(place: tuple[int, int, int, int]) -> None:
    height, width, row, column = place
    (found,) = scored(as_bytes(smooth(height, width) + blob(height, width, row, column)))
    assert found.heatmap is not None
    assert found.heatmap.shape == (height, width)
    assert hottest(found) == (row, column)
    assert found.difference is not None
    assert np.unravel_index(found.difference.argmax(), found.difference.shape) == (row, column)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(place=planted(), edges=st.tuples(*[st.integers(-6, 30)] * 4))
def test_a_blob_moves_with_its_image_that_is_padded_or_cropped(
    place: tuple[int, int, int, int], edges: tuple[int, int, int, int]
) -> None:
    height, width, row, column = place
    top, left, bottom, right = edges  # below 0: cut off
    image = as_bytes(smooth(height, width) + blob(height, width, row, column))
    image = np.pad(image, ((max(top, 0), max(bottom, 0)), (max(left, 0), max(right, 0))), mode="edge")
    image = image[max(-top, 0) : image.shape[0] - max(-bottom, 0), max(-left, 0) : image.shape[1] - max(-right, 0)]
    at = row + top, column + left
    if min(image.shape) < 9 or not all(2 <= each < side - 2 for each, side in zip(at, image.shape, strict=True)):
        return
    (found,) = scored(image)
    assert hottest(found) == at


@settings(derandomize=True, deadline=None, max_examples=25)
@given(place=planted(), scale=st.sampled_from([0.5, 0.7, 1.0]), factor=st.floats(1.0, 3.0))
def test_a_blob_is_found_at_its_own_place_through_resizing(
    place: tuple[int, int, int, int], scale: float, factor: float
) -> None:
    """An image made larger before, and looked at in a scale of its own: to a pixel of what the model sees."""
    height, width = (round(side * factor) for side in place[:2])
    row, column = (round((at + 0.5) * factor - 0.5) for at in place[2:])
    image = as_bytes(smooth(height, width) + blob(height, width, row, column, 1.3 / scale))
    (found,) = scored(image, overrides=(f"data.scale={scale}",))
    assert found.heatmap is not None
    hot = found.heatmap > 0.7 * found.heatmap.max()
    weights = np.where(hot, found.heatmap, 0)
    rows, columns = np.mgrid[:height, :width]
    centre = (rows * weights).sum() / weights.sum(), (columns * weights).sum() / weights.sum()
    inside = min(row, column, height - 1 - row, width - 1 - column) > 8
    assert centre == pytest.approx((row, column), abs=1.0 if inside else 2.0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_blob_is_found_where_it_is_seen_in_a_turned_file(orientation: int, tmp_path: Path) -> None:
    image = Image.fromarray(as_bytes(smooth(90, 140) + blob(90, 140, 20, 101)))
    block = Image.Exif()
    block[274] = orientation
    stored = image.transpose(STORED[orientation]) if orientation > 1 else image
    stored.save(tmp_path / "a.png", exif=block)
    (found,) = score_stream(LocalMean(tiles()), open_folder(tmp_path, "test"), None)
    assert found.query is not None
    np.testing.assert_array_equal(found.query, np.asarray(image))
    assert hottest(found) == (20, 101)


@settings(derandomize=True, deadline=None, max_examples=15)
@given(height=st.integers(40, 170), width=st.integers(40, 170))
def test_there_is_no_seam_in_the_map_of_a_smooth_image(height: int, width: int) -> None:
    """A step between neighbours at a tile's border is no larger than elsewhere: than heat of the whole image has."""
    values = smooth(height, width) * (np.mgrid[:height, :width][1] / width + 0.2)
    image = (values / values.max()).astype(np.float32)
    (found,) = scored(image, radius=2)
    assert found.heatmap is not None
    inner = found.heatmap[4:-4, 4:-4]
    steps = max(np.abs(np.diff(inner, axis=axis)).max() for axis in (0, 1))
    assert steps < 0.2 * max(found.heatmap.max(), 1e-6)


@settings(derandomize=True, deadline=None, max_examples=10)
@given(data=st.data(), batch=st.sampled_from([1, 3, 8, 64]))
def test_an_image_alone_is_the_same_as_among_others(data: st.DataObject, batch: int) -> None:
    rng = np.random.default_rng(0)
    shapes = data.draw(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=2, max_size=4))
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    together = scored(*images, overrides=(f"search.batch_size={batch}",))
    for image, among in zip(images, together, strict=True):
        (alone,) = scored(image)
        assert alone.score == among.score
        for name in ("counterpart", "difference", "heatmap"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(among, name))


@pytest.mark.parametrize(
    "image",
    [
        np.arange(6000, dtype=np.uint8).reshape(60, 100),
        np.arange(18000, dtype=np.uint8).reshape(60, 100, 3),
        (np.arange(6000, dtype=np.uint16) * 10).reshape(60, 100),
        np.linspace(0, 1, 6000, dtype=np.float32).reshape(60, 100),
        np.linspace(0, 1, 18000, dtype=np.float32).reshape(60, 100, 3),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_counterpart_is_the_query_to_the_bit_where_nothing_changes(image: Array, channels: int) -> None:
    (found,) = scored(image, channels=channels, radius=0)
    assert found.counterpart is not None
    assert found.counterpart.dtype == image.dtype
    np.testing.assert_array_equal(found.counterpart, image)
    assert not found.difference.any()
    assert not found.heatmap.any()


def test_the_counterpart_of_a_blob_is_without_it() -> None:
    clean = as_bytes(smooth(100, 120))
    image = as_bytes(smooth(100, 120) + blob(100, 120, 50, 60))
    (found,) = scored(image)
    assert found.counterpart is not None
    changed = found.counterpart.astype(float)
    assert abs(changed[50, 60] - clean[50, 60]) < 0.35 * abs(float(image[50, 60]) - clean[50, 60])
    far = np.hypot(*np.mgrid[-50:50, -60:60]) > 30
    assert np.abs(changed - clean)[far].max() <= 3
    expected = (image.astype(float) - changed) / 255
    np.testing.assert_allclose(found.difference, expected, atol=0.51 / 255)


def test_large_images_have_maps_of_half_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    image = as_bytes(smooth(100, 120) + blob(100, 120, 50, 60))
    (exact,) = scored(image)
    monkeypatch.setattr("anotwin.prepare.blend.MANY", 1000)
    (half,) = scored(image)
    assert half.heatmap is not None
    assert half.heatmap.dtype == half.difference.dtype == np.float16
    np.testing.assert_allclose(half.heatmap, exact.heatmap, rtol=2e-3, atol=1e-5)
    assert np.abs(half.counterpart.astype(int) - exact.counterpart).max() <= 1
    assert half.score == exact.score


def test_what_lies_beside_the_object_does_not_count() -> None:
    rows, columns = np.mgrid[:160, :200]
    image = np.where(np.hypot(rows - 80, columns - 100) < 40, 60, 200) + blob(160, 200, 12, 15) * 0.5
    dusty = as_bytes(image)
    clean = as_bytes(np.where(np.hypot(rows - 80, columns - 100) < 40, 60, 200))
    scratched = dusty.copy()
    scratched[78:82, 95:105] = 250
    seen = scored(dusty, clean, scratched)
    assert seen[0].heatmap is not None
    assert seen[0].heatmap[12, 15] > 0.1
    dusty_, clean_, scratched_ = scored(dusty, clean, scratched, overrides=("data.foreground=auto",))
    assert dusty_.score == clean_.score
    assert dusty_.mean_residual == clean_.mean_residual
    for each in (dusty_, clean_, scratched_):
        assert each.heatmap is not None
        assert not each.heatmap[:30, :50].any()
    assert scratched_.score > 1.2 * dusty_.score
    assert 76 < hottest(scratched_)[0] < 84
    assert 93 < hottest(scratched_)[1] < 107
    np.testing.assert_array_equal(clean_.counterpart, seen[1].counterpart)
