"""infer_spec on sources with known answers."""

import numpy as np
import pytest

from anotwin.data.arrays import from_arrays
from anotwin.errors import DataError
from anotwin.prepare.image_spec import infer_spec
from anotwin.records import ImageSpec
from anotwin.settings import DataSettings

RNG = np.random.default_rng(0)


def grey(height=20, width=30, high=256, dtype=np.uint8):
    return RNG.integers(0, high, (height, width)).astype(dtype)


def infer(images, **settings):
    source = from_arrays(images)
    return infer_spec(source, range(len(source.items)), DataSettings(**settings))


def fails(images, *words):
    with pytest.raises(DataError) as error:
        infer(images)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_plain_grey():
    assert infer([grey(), grey()]) == (ImageSpec(1, 32), ())


@pytest.mark.parametrize("side,size", [(3, 16), (16, 16), (17, 32), (28, 32), (32, 32), (33, 64), (64, 64), (200, 64)])
def test_size_holds_the_median_image(side, size):
    images = [grey(side, 3), grey(3, side), grey(side, side), grey(1, 1), grey(200, 200)]
    assert infer(images)[0].size == size


def test_settings_override_what_is_measured():
    spec, _ = infer([grey(), grey()], image_size=128, channels=3, fit="pad")
    assert spec == ImageSpec(3, 128, fit="pad")


@pytest.mark.parametrize(
    "highest,white", [(100, 255), (255, 255), (256, 511), (1023, 1023), (4000, 4095), (65535, 65535)]
)
def test_sixteen_bit_white(highest, white):
    images = [grey(high=50, dtype=np.uint16) for _ in range(3)]
    images[1][2, 3] = highest
    assert infer(images)[0] == ImageSpec(1, 32, "uint16", 0, white)


def test_eight_beside_sixteen_bits():
    spec, notes = infer([grey(), grey(high=4000, dtype=np.uint16)])
    assert (spec.pixel_type, spec.white) == ("uint16", 4095)
    assert "1 images sampled have 16 bits (white at 4095) and 1 have 8" in notes[0]


def test_float_range():
    images = [np.array([[-5, 1.5]]), np.array([[0, 7.25]])]
    assert infer(images)[0] == ImageSpec(1, 16, "float32", -5, 7.25)


def test_float_beside_integers():
    fails([grey(), grey() / 255], "float images (image-00001) beside uint8 images (image-00000)")


def test_colour():
    colour = RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    same = np.repeat(grey()[:, :, None], 3, axis=2)
    assert infer([same, grey()])[0].channels == 1
    spec, notes = infer([same, colour, grey()])
    assert spec.channels == 3
    assert "1 of 3 images sampled are in colour" in notes[0]
    spec, notes = infer([colour, colour // 2], channels=1)
    assert spec.channels == 1
    assert "reduced to grey" in notes[0]
    assert infer([colour, colour // 2]) == (ImageSpec(3, 32), ())


def test_notes_on_sizes():
    notes = infer([grey(10, 20), grey(300, 200), grey(300, 200)])[1]
    assert notes[0] == "sizes from 20x10 to 200x300, all are stretched to 64x64"
    assert "5 times smaller" in notes[1]
    assert "--image-size" in notes[1]
    assert "padded" in infer([grey(10, 20), grey(20, 10)], fit="pad")[1][0]
    assert infer([grey(256, 256), grey(256, 256)])[1] == ()


def test_nothing_to_learn():
    fails([np.full((4, 4), value, np.uint8) for value in (0, 9, 200)], "one flat colour")
    fails([np.full((4, 4), 0.5)] * 2, "one flat colour")
    fails([grey()] * 3, "all 3 images sampled are identical")


def test_unreadable_images_are_left_out():
    bad = np.full((4, 4), np.nan)
    assert infer([bad, RNG.random((4, 4)), RNG.random((4, 4)), bad])[0].pixel_type == "float32"
    fails([bad, bad], "none of the images can be read", "16 of 16 pixels are NaN")
    with pytest.raises(DataError, match="no image to measure"):
        infer_spec(from_arrays([grey()]), [], DataSettings())


def test_only_the_indices_and_at_most_200_are_read():
    images = [grey(8, 8) for _ in range(300)] + [grey(64, 64, dtype=np.uint16)]
    source = from_arrays(images)
    reads = []

    class Counting:
        items, root, layout = source.items, source.root, source.layout

        def read(self, index):
            reads.append(index)
            return source.read(index)

        def read_mask(self, _index):
            return None

    assert infer_spec(Counting(), np.arange(300), DataSettings()) == (ImageSpec(1, 16), ())
    assert len(reads) == len(set(reads)) == 200
    first = list(reads)
    infer_spec(Counting(), np.arange(300), DataSettings(), seed=1)
    assert reads[200:] != first
