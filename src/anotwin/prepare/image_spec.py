"""What a model ought to eat, seen from a sample of its training images: size, channels, pixel range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError
from anotwin.records import Array, ImageSource, ImageSpec, PixelType
from anotwin.seeding import derive, fingerprint
from anotwin.settings import DataSettings

SAMPLE = 200  # images looked at
_SMALL_DEFECTS = 4  # times smaller: from here on a defect of a few pixels is averaged away


@dataclass(frozen=True)
class _Look:
    """What is remembered of one image."""

    id: str
    height: int
    width: int
    pixel_type: PixelType
    low: float
    high: float
    colour: bool
    print_: int


def infer_spec(
    source: ImageSource, indices: Sequence[int] | npt.NDArray[np.int64], settings: DataSettings, seed: int = 0
) -> tuple[ImageSpec, tuple[str, ...]]:
    """The `ImageSpec` that fits up to 200 of the training images, and what the user should know about it.

    The pixel type is the widest seen. 16-bit: black is 0 and white the smallest 2^k - 1, k in 8..16, that holds all
    pixels seen. Float: black and white are the least and the largest seen. Colour files whose channels are equal
    count as grey. `image_size`, `channels` and `fit` of the settings go before what is seen.

    Args:
        source, indices: the training images.
        settings: what the user fixed.
        seed: of the sample.

    Returns:
        The spec, and notes in plain words (sizes, modes, strong downsizing), maybe none.

    Raises:
        DataError: no image can be read, float beside integer images, or nothing to learn: all constant or all the same.
    """
    looks = _sample(source, np.asarray(indices, dtype=np.int64), seed)
    root = source.root
    if all(look.low == look.high for look in looks):
        raise DataError(f"{root}: every image sampled is one flat colour: there is no structure to learn")
    if len(looks) > 1 and len({look.print_ for look in looks}) == 1:
        raise DataError(f"{root}: all {len(looks)} images sampled are identical: a normal *variety* cannot be learnt")
    pixel_type, black, white, notes = _range(root, looks)
    colours = sum(look.colour for look in looks)
    if settings.channels is None and 0 < colours < len(looks):
        notes.append(f"{colours} of {len(looks)} images sampled are in colour: grey ones are repeated to 3 channels")
    if settings.channels == 1 and colours:
        notes.append(f"{colours} of {len(looks)} images sampled are in colour and are reduced to grey, as set")
    side = median(max(look.height, look.width) for look in looks)
    size = settings.image_size or next((size for size in (16, 32) if size >= side), 64)
    notes += _size_notes(looks, size, side, settings.fit)
    channels = settings.channels or (3 if colours else 1)
    return ImageSpec(channels, size, pixel_type, black, white, settings.fit), tuple(notes)


def _sample(source: ImageSource, indices: npt.NDArray[np.int64], seed: int) -> list[_Look]:
    order = np.random.default_rng(derive(seed, "inspect")).permutation(len(indices))
    looks: list[_Look] = []
    first_error = ""
    for number, position in enumerate(order.tolist()):
        if len(looks) == SAMPLE or (not looks and number == 5 * SAMPLE):
            break
        index = int(indices[position])
        try:
            looks.append(_look(source.items[index].id, source.read(index)))
        except DataError as error:
            first_error = first_error or str(error)
    if not looks:
        reason = f"none of the images can be read: {first_error}" if first_error else "no image to look at"
        raise DataError(f"{source.root}: {reason}")
    return looks


def _look(id: str, pixels: Array) -> _Look:
    colour = pixels.ndim == 3 and bool((pixels != pixels[:, :, :1]).any())
    kind: PixelType = "uint8" if pixels.dtype == np.uint8 else "uint16" if pixels.dtype == np.uint16 else "float32"
    low, high = float(pixels.min()), float(pixels.max())
    return _Look(id, pixels.shape[0], pixels.shape[1], kind, low, high, colour, fingerprint(pixels))


def _range(root: str, looks: list[_Look]) -> tuple[PixelType, float, float, list[str]]:
    kinds = {look.pixel_type: look.id for look in looks}
    if "float32" in kinds and len(kinds) > 1:
        other = next(kind for kind in kinds if kind != "float32")
        raise DataError(
            f"{root}: float images ({kinds['float32']}) beside {other} images ({kinds[other]}): their units differ; "
            "convert all to one type"
        )
    if "float32" in kinds:
        return "float32", min(look.low for look in looks), max(look.high for look in looks), []
    if "uint16" not in kinds:
        return "uint8", 0.0, 255.0, []
    wide = [look for look in looks if look.pixel_type == "uint16"]
    highest = max(look.high for look in wide)
    white = next(float(2**bits - 1) for bits in range(8, 17) if 2**bits > highest)
    notes = []
    if len(wide) < len(looks):
        notes.append(
            f"{len(wide)} images sampled have 16 bits (white at {white:g}) and {len(looks) - len(wide)} have 8 (white "
            "at 255): make sure that both mean the same brightness"
        )
    return "uint16", 0.0, white, notes


def _size_notes(looks: list[_Look], size: int, side: float, fit: str) -> list[str]:
    notes = []
    sizes = sorted({(look.width, look.height) for look in looks}, key=lambda size: (size[0] * size[1], size))
    if len(sizes) > 1:
        how = "stretched" if fit == "stretch" else "padded"
        (first_width, first_height), (last_width, last_height) = sizes[0], sizes[-1]
        notes.append(
            f"sizes from {first_width}x{first_height} to {last_width}x{last_height}, all are {how} to {size}x{size}"
        )
    if side > _SMALL_DEFECTS * size:
        notes.append(
            f"images are {side / size:.0f} times smaller for the model ({side:g} to {size} pixels): "
            "small defects vanish; a larger --image-size sees more"
        )
    return notes
