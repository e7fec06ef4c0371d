"""What is written is read back bit for bit, in the format of the file as far as it can hold the pixels."""

from pathlib import Path

import numpy as np
import pytest

from anotwin.data.pixels import read_pixels
from anotwin.translation.writing import output_name, save_translation

GREY, COLOUR = (9, 13), (9, 13, 3)


def pixels(shape: tuple[int, ...], kind: type) -> np.ndarray:
    random = np.random.default_rng(0)
    if kind is np.float32:
        return random.random(shape).astype(np.float32)
    return random.integers(0, np.iinfo(kind).max, shape, kind, endpoint=True)


@pytest.mark.parametrize(
    ("name", "shape", "kind", "written"),
    [
        ("a.png", GREY, np.uint8, "a.png"),
        ("a.PNG", COLOUR, np.uint8, "a.PNG"),
        ("a.png", GREY, np.uint16, "a.png"),
        ("a.png", COLOUR, np.uint16, "a.png.tif"),
        ("a.png", GREY, np.float32, "a.png.tif"),
        ("a.tif", GREY, np.uint8, "a.tif"),
        ("a.TIFF", COLOUR, np.uint16, "a.TIFF"),
        ("a.tiff", GREY, np.float32, "a.tiff"),
        ("a.bmp", COLOUR, np.uint8, "a.bmp"),
        ("a.bmp", GREY, np.uint16, "a.bmp.png"),
        ("a.webp", COLOUR, np.uint8, "a.webp"),
        ("a.gif", GREY, np.uint8, "a.gif"),
        ("a.gif", COLOUR, np.uint8, "a.gif.png"),
        ("a.pgm", GREY, np.uint16, "a.pgm"),
        ("a.pgm", COLOUR, np.uint8, "a.pgm.png"),
        ("a.ppm", COLOUR, np.uint8, "a.ppm"),
        ("a.jpg", GREY, np.uint16, "a.jpg.png"),
    ],
)
def test_pixels_come_back_as_they_were(
    tmp_path: Path, name: str, shape: tuple[int, ...], kind: type, written: str
) -> None:
    image = pixels(shape, kind)
    output, note = output_name(f"below/{name}", image)
    assert output == f"below/{written}"
    assert bool(note) == (written != name)
    save_translation(image, tmp_path / output)
    found = read_pixels(tmp_path / output)
    assert found.dtype == kind
    assert np.array_equal(found, image)


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_jpeg_stays_jpeg_and_says_that_it_loses_a_little(tmp_path: Path, shape: tuple[int, ...]) -> None:
    image = np.broadcast_to(np.linspace(0, 255, 13).astype(np.uint8).reshape(1, 13, *(1,) * (len(shape) - 2)), shape)
    output, note = output_name("a.jpeg", image)
    assert (output, note) == ("a.jpeg", "JPEG is not lossless")
    save_translation(image, tmp_path / output)
    found = read_pixels(tmp_path / output)
    assert found.shape == shape
    assert np.abs(found.astype(int) - image).max() <= 4
