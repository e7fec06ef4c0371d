"""What the header of an image claims, against what a file of its length can hold: checked before memory is taken."""

from __future__ import annotations

from anotwin.errors import DataError

MOST_PIXELS = 178_956_970  # of one image: above that Pillow refuses too; float32 RGB of as many takes 2 GiB

DEFLATE = 1032  # no deflate stream grows by more: a header that says more is wrong

# Pixels that one byte of a file can stand for, at the most. WebP has no such limit: a lossless one of a single colour
# takes 30 bytes, whatever its size.
A_BYTE = {
    "PNG": 8 * DEFLATE,  # one bit a pixel
    "JPEG": 1024,  # a bit per block of 8 x 8, doubled for progressive files
    "GIF": 4096,  # the longest word of LZW
    "BMP": 128,  # run lengths
    "PPM": 8,  # one bit a pixel
}


def check_claim(where: object, width: int, height: int, size: int, a_byte: float | None) -> None:
    """Whether a file of `size` bytes can hold `width` x `height` pixels; `a_byte` None: it always can.

    Raises:
        DataError: it cannot, or these are more pixels than AnoTwin reads.
    """
    if width * height > MOST_PIXELS:
        raise DataError(f"{where}: {width} x {height} pixels, at most {MOST_PIXELS} can be read; tile the image")
    if a_byte is not None and width * height > size * a_byte:
        raise DataError(
            f"{where}: truncated, {size} bytes cannot hold the {width} x {height} pixels of its header; "
            "copy the file again"
        )
