"""The values of masks: classes, shades, one value; several masks of an image; turned ones."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from anotwin.data.folder import open_folder
from anotwin.data.masks import looks_drawn, read_mask
from anotwin.errors import DataError

TRUTH = np.zeros((40, 56), bool)
TRUTH[8:24, 16:40] = True
ONE = TRUTH.astype(np.uint8)
FULL = np.full(TRUTH.shape, 255, np.uint8)


def test_classes_count_and_shades_do_not(tmp_path):
    classes = ONE * 2
    classes[9, 17], classes[9, 18] = 1, 9
    Image.fromarray(classes).save(tmp_path / "classes.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "classes.png"), TRUTH)
    noise = np.random.default_rng(0).integers(0, 6, TRUTH.shape).astype(np.uint8)
    Image.fromarray(np.where(TRUTH, 255 - noise, noise)).save(tmp_path / "from jpeg.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "from jpeg.png"), TRUTH)
    tifffile.imwrite(tmp_path / "instances.tif", np.arange(TRUTH.size, dtype=np.uint16).reshape(TRUTH.shape) % 300)
    assert read_mask(tmp_path / "instances.tif").mean() > 0.99


@pytest.mark.parametrize("value,marked", [(0, False), (1, True), (255, True)])
def test_one_value(tmp_path, value, marked):
    Image.fromarray(FULL * 0 + np.uint8(value)).save(tmp_path / "m.png")
    assert (read_mask(tmp_path / "m.png") == marked).all()


@pytest.mark.parametrize("value", [0, 3, 16])
def test_a_black_jpeg_marks_nothing(tmp_path, value):
    Image.fromarray(FULL * 0 + np.uint8(value)).save(tmp_path / "m.jpg")
    assert not read_mask(tmp_path / "m.jpg").any()


def test_a_photograph_does_not_look_drawn(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(30, 220, (40, 40)).astype(np.uint8)).save(tmp_path / "p.png")
    assert not looks_drawn(tmp_path / "p.png")
    Image.fromarray(ONE).save(tmp_path / "m.png")
    assert looks_drawn(tmp_path / "m.png")
    (tmp_path / "junk.png").write_bytes(b"junk")
    assert not looks_drawn(tmp_path / "junk.png")


def test_an_orientation_tag_turns_the_mask_with_its_image(tmp_path):
    for name, values in (("bad/1.jpg", np.random.default_rng(0).integers(0, 255, (40, 56))), ("mask/1.png", ONE * 255)):
        (tmp_path / name).parent.mkdir()
        exif = Image.Exif()
        exif[274] = 6  # lies on its side
        Image.fromarray(values.astype(np.uint8)).save(tmp_path / name, exif=exif)
    (tmp_path / "good").mkdir()
    Image.fromarray(FULL).save(tmp_path / "good/1.png")
    source = open_folder(tmp_path, "test")
    assert source.check_mask(0) == ""
    np.testing.assert_array_equal(source.read_mask(0), np.rot90(TRUTH, -1))


def test_the_union_of_several_masks_and_a_size_that_does_not_fit(tmp_path):
    left, right = ONE.copy(), ONE.copy()
    left[:, 28:], right[:, :28] = 0, 0
    files = {"good/1.png": FULL, "bad/1.png": FULL, "bad/1_mask_1.png": left, "bad/1_mask_2.png": right}
    for name, values in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / name)
    source = open_folder(tmp_path, "test")
    assert [item.id for item in source.items] == ["bad/1.png", "good/1.png"]
    np.testing.assert_array_equal(source.read_mask(0), TRUTH)
    Image.fromarray(right[:8]).save(tmp_path / "bad/1_mask_2.png")
    assert "1_mask_2.png: mask of shape (8, 56), expected (40, 56), that of its image bad/1.png" in source.check_mask(0)
    with pytest.raises(DataError, match="mask of shape"):
        source.read_mask(0)


def test_mask_is_any_non_zero_channel(tmp_path):
    values = np.zeros((4, 5, 3), np.uint8)
    values[1, 2, 2] = 1
    values[3, 3] = 255
    Image.fromarray(values).save(tmp_path / "m.png")
    got = read_mask(tmp_path / "m.png")
    assert got.dtype == bool
    assert [tuple(at) for at in np.argwhere(got).tolist()] == [(1, 2), (3, 3)]
    Image.fromarray(values[:, :, 2]).save(tmp_path / "g.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "g.png"), got)
