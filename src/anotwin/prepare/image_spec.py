"""What a model takes, measured from a sample of its training images: size, channels, pixel range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError
from anotwin.prepare.stream import UNUSABLE, named
from anotwin.records import Array, ImageSource, ImageSpec, PixelType
from anotwin.seeding import derive, fingerprint
from anotwin.settings import DataSettings

SAMPLE = 200  # images measured
_SMALL_DEFECTS = 4  # times smaller: from here on a defect of a few pixels is averaged away


@dataclass(frozen=True)
class Measured:
    """What is measured of one image."""

    id: str
    height: int
    width: int
    pixel_type: PixelType
    low: float
    high: float
    colour: bool
    fingerprint: int


def infer_spec(
    source: ImageSource, indices: Sequence[int] | npt.NDArray[np.int64], settings: DataSettings, seed: int = 0
) -> tuple[ImageSpec, tuple[str, ...]]:
    """The `ImageSpec` that fits up to 200 of the training images, and what the user should know about it.

    The pixel type is the widest of the sample. 16-bit: black is 0 and white the smallest 2^k - 1, k in 8..16, that
    holds all pixels. Float: black and white are the lowest and the highest pixel. Colour files whose channels are equal
    count as grey. `image_size`, `channels` and `fit` of the settings override what is measured; `seed` draws the
    sample; the notes (sizes, modes, strong downsizing) may be none.

    Raises:
        DataError: no image can be read, float beside integer images, or nothing to learn: all constant or all the same.
    """
    sample = sample_images(source, indices, seed)
    side = longer_side(sample)
    size = settings.image_size or next((size for size in (16, 32) if size >= side), 64)
    spec, notes = spec_of(source.root, sample, settings, size)
    return spec, (*notes, *_size_notes(sample, size, side, settings.fit))


def longer_side(sample: Sequence[Measured]) -> float:
    """The longer side of the median image."""
    return median(max(image.height, image.width) for image in sample)


def spec_of(
    root: str, sample: Sequence[Measured], settings: DataSettings, size: int
) -> tuple[ImageSpec, tuple[str, ...]]:
    """What fits the images measured, for squares of this size, and what the user should know of their values."""
    pixel_type, black, white, notes = _range(root, sample)
    colours = sum(image.colour for image in sample)
    if settings.channels is None and 0 < colours < len(sample):
        notes.append(f"{colours} of {len(sample)} images sampled are in colour: grey ones are repeated to 3 channels")
    if settings.channels == 1 and colours:
        notes.append(f"{colours} of {len(sample)} images sampled are in colour and are reduced to grey, as set")
    channels = settings.channels or (3 if colours else 1)
    return ImageSpec(channels, size, pixel_type, black, white, settings.fit), tuple(notes)


def sample_images(source: ImageSource, indices: Sequence[int] | npt.NDArray[np.int64], seed: int = 0) -> list[Measured]:
    """Up to 200 of the images, measured; raises DataError as `infer_spec` does."""
    sample = _sampled(source, np.asarray(indices, dtype=np.int64), seed)
    root = source.root
    if all(image.low == image.high for image in sample):
        raise DataError(f"{root}: every image sampled is one flat colour: there is no structure to learn")
    if len(sample) > 1 and len({image.fingerprint for image in sample}) == 1:
        raise DataError(f"{root}: all {len(sample)} images sampled are identical: a normal *variety* cannot be learnt")
    return sample


def _sampled(source: ImageSource, indices: npt.NDArray[np.int64], seed: int) -> list[Measured]:
    order = np.random.default_rng(derive(seed, "inspect")).permutation(len(indices))
    sample: list[Measured] = []
    first_error = ""
    for number, position in enumerate(order.tolist()):
        if len(sample) == SAMPLE or (not sample and number == 5 * SAMPLE):
            break
        index = int(indices[position])
        try:
            sample.append(_measure(source.items[index].id, source.read(index)))
        except UNUSABLE as error:
            first_error = first_error or named(source.items[index].id, error)
    if not sample:
        reason = f"none of the images can be read: {first_error}" if first_error else "no image to measure"
        raise DataError(f"{source.root}: {reason}")
    return sample


def _measure(id: str, pixels: Array) -> Measured:
    colour = pixels.ndim == 3 and bool((pixels != pixels[:, :, :1]).any())
    kind: PixelType = "uint8" if pixels.dtype == np.uint8 else "uint16" if pixels.dtype == np.uint16 else "float32"
    low, high = float(pixels.min()), float(pixels.max())
    return Measured(id, pixels.shape[0], pixels.shape[1], kind, low, high, colour, fingerprint(pixels))


def _range(root: str, sample: Sequence[Measured]) -> tuple[PixelType, float, float, list[str]]:
    kinds = {image.pixel_type: image.id for image in sample}
    if "float32" in kinds and len(kinds) > 1:
        other = next(kind for kind in kinds if kind != "float32")
        raise DataError(
            f"{root}: float images ({kinds['float32']}) beside {other} images ({kinds[other]}): their units differ; "
            "convert all to one type"
        )
    if "float32" in kinds:
        return "float32", min(image.low for image in sample), max(image.high for image in sample), []
    if "uint16" not in kinds:
        return "uint8", 0.0, 255.0, []
    wide = [image for image in sample if image.pixel_type == "uint16"]
    highest = max(image.high for image in wide)
    white = next(float(2**bits - 1) for bits in range(8, 17) if 2**bits > highest)
    notes = []
    if len(wide) < len(sample):
        notes.append(
            f"{len(wide)} images sampled have 16 bits (white at {white:g}) and {len(sample) - len(wide)} have 8 (white "
            "at 255): make sure that both mean the same brightness"
        )
    return "uint16", 0.0, white, notes


def _size_notes(sample: Sequence[Measured], size: int, side: float, fit: str) -> list[str]:
    notes = []
    sizes = sorted({(image.width, image.height) for image in sample}, key=lambda size: (size[0] * size[1], size))
    if len(sizes) > 1:
        how = "stretched" if fit == "stretch" else "padded"
        first, last = (f"{width}x{height}" for width, height in (sizes[0], sizes[-1]))
        notes.append(f"sizes from {first} to {last}, all are {how} to {size}x{size}")
    if side > _SMALL_DEFECTS * size:
        notes.append(
            f"images are {side / size:.0f} times smaller for the model ({side:g} to {size} pixels): "
            "small defects vanish; a larger --image-size keeps more of them"
        )
    return notes
