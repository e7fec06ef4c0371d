"""Images that are in memory already: numpy arrays, torch tensors, Pillow images, paths of files, or a list of these."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from anotwin.data.alpha import Stored, on_black
from anotwin.data.pixels import native, object_pixels, read_pixels
from anotwin.data.sorting import count_labels
from anotwin.errors import DataError
from anotwin.records import Array, ImageItem, PixelType

_EXPECTED = (
    "expected (N, H, W), (N, H, W, 1) or (N, H, W, 3) as numpy, (N, C, H, W) as a tensor, or a list of images or paths"
)
_SAYS_DEPTH = (np.uint8, np.int8, np.uint16)  # any other integer is what a library counts in
_CHANNELS = (1, 3, 4)  # grey, colour, colour with alpha
_ROWS = 16  # from here on a size is one of rows, not of channels


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images as an `ImageSource`; arrays are not copied, files are read when they are asked for."""

    images: tuple[Any, ...]  # (N,) of (H, W) or (H, W, 1, 3 or 4), of Pillow images, or of paths
    items: tuple[ImageItem, ...]  # (N,)
    layout: str = "array"
    root: str = "array"
    wide: PixelType = "uint16"  # what integers become whose type does not say their depth

    def read(self, index: int) -> Array:
        """Native pixels of one image; raises DataError naming it if it has NaN or values out of range."""
        image, name = self.images[index], self.items[index].id
        if isinstance(image, Path):
            return read_pixels(image)
        if isinstance(image, Image.Image):
            return object_pixels(image, name)
        if _is_wide(image):
            image = _narrowed(image, self.wide, name)
        return native(_without_alpha(image, name), name)

    def read_mask(self, index: int) -> None:
        """None: arrays come without masks."""

    def of_model(self, pixel_type: PixelType) -> ArraySource:
        """The same for a model of such images: its 16 bits decide what an image of dark pixels is."""
        return replace(self, wide="uint16") if pixel_type == "uint16" else self


def from_arrays(
    images: Any, labels: Sequence[object] | None = None, normal: str | None = None, prefix: str = "image"
) -> ArraySource:
    """Images in memory as a source: what `Detector.train` and `Detector.score` take in place of a folder.

    >>> source = from_arrays(np.zeros((2, 8, 8), np.uint8), labels=["good", "bad"], normal="good")
    >>> [(item.id, item.normal) for item in source.items]
    [('image-00000', True), ('image-00001', False)]

    Args:
        images: numpy (N, H, W), (N, H, W, C) or, where C cannot be mistaken, (N, C, H, W); a torch tensor (N, H, W) or
            (N, C, H, W); or a list (any iterable) of single images, whose sizes may differ: arrays, tensors, Pillow
            images, paths of files. C is 1, 3 or, with alpha, 4. bool, integers in 0..65535 or floats; integers of 32
            or 64 bits (and int16) are 8-bit pixels where all are at most 255.
        labels: one for each image.
        normal: the label that is normal.
        prefix: ids are ``prefix-00000`` and so on; that of a file is its path.

    Raises:
        DataError: another shape or type, no images, or labels that do not fit. Bad pixel values are found on reading.
    """
    pixels = tuple(_each(images))
    labels = None if labels is None else list(labels)
    if labels is not None and len(labels) != len(pixels):
        raise DataError(f"array: {len(labels)} labels for {len(pixels)} images, expected one label per image")
    names = [None] * len(pixels) if labels is None else [str(label) for label in labels]
    known = [name for name in names if name is not None]
    if normal is not None and str(normal) not in known:
        raise DataError(f"array: no label {str(normal)!r}; found {count_labels(known) if known else 'no labels'}")
    items = tuple(
        ImageItem(id, name, None if normal is None else name == str(normal))
        for id, name in zip(_ids(pixels, prefix), names, strict=True)
    )
    return ArraySource(pixels, items, wide=_depth_of_wide(pixels))


def _ids(images: Sequence[Any], prefix: str) -> list[str]:
    """Unique names: the path of a file, and a number where one comes twice or has none."""
    plain = [image.as_posix() if isinstance(image, Path) else f"{prefix}-{i:05}" for i, image in enumerate(images)]
    count, seen = Counter(plain), Counter[str]()
    ids = []
    for name in plain:
        seen[name] += 1
        ids.append(name if count[name] == 1 or seen[name] == 1 else f"{name}#{seen[name]}")
    return ids


def _each(images: Any) -> list[Any]:
    if _is_tensor(images):
        found = list(_numpy(images, 4))
    elif isinstance(images, Image.Image):
        raise DataError("array: got one image; wrap it in a list")
    elif isinstance(images, (str, bytes, os.PathLike, Mapping, AbstractSet)):
        raise DataError(f"array: got {type(images).__name__}; {_EXPECTED}")
    elif isinstance(images, np.ndarray) and images.dtype.kind not in "OSU":
        found = list(_stack(images))
    elif isinstance(images, Iterable):
        found = [_single(number, image) for number, image in enumerate(images)]
    else:
        raise DataError(f"array: got {type(images).__name__}; {_EXPECTED}")
    if not found:
        raise DataError("array: no images; expected at least one")
    for number, image in enumerate(found):
        if isinstance(image, np.ndarray):
            _check(number, image)
    return found


def _stack(images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """(N, H, W) or (N, H, W, C) of a numpy array."""
    shape = images.shape
    if images.ndim == 3 and _is_one(shape):
        raise DataError(f"array: shape {shape} is one image; wrap it in a list. Of many, {_EXPECTED}")
    if images.ndim not in (3, 4) or (images.ndim == 4 and shape[3] == 4 and shape[1] in _CHANNELS):
        raise DataError(f"array: shape {shape}; {_EXPECTED}")
    if images.ndim == 4 and shape[3] not in _CHANNELS and shape[1] in _CHANNELS:
        return np.moveaxis(images, 1, 3)
    return images


def _is_one(shape: Sequence[int]) -> bool:
    """Whether (H, W, C) of one image: nobody has images of many rows and up to four columns."""
    return shape[2] == 3 or (shape[2] in _CHANNELS and shape[1] >= _ROWS)


def _single(number: int, image: Any) -> Any:
    """One image of a list: an array, a Pillow image or a path."""
    if _is_tensor(image):
        return _numpy(image, 3)
    if isinstance(image, (Path, Image.Image)):
        return image
    if isinstance(image, (str, os.PathLike)):
        return Path(image)
    if np.ma.isMaskedArray(image) and np.ma.getmaskarray(image).any():
        raise DataError(f"array: image {number} is masked: what is under its mask is not known; fill it first")
    try:
        values = np.asarray(image)
    except Exception as error:  # rows of several lengths, objects with an __array__ of their own
        raise DataError(f"array: image {number} of type {type(image).__name__} is no array ({error})") from None
    if values.ndim == 3 and values.shape[2] not in _CHANNELS and values.shape[0] in _CHANNELS:
        return np.moveaxis(values, 0, 2)
    return values


def _check(number: int, image: npt.NDArray[Any]) -> None:
    if image.dtype.kind not in "biuf":
        raise DataError(f"array: image {number} is of type {image.dtype}, expected bool, integers or floats")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in _CHANNELS) or 0 in image.shape:
        raise DataError(f"array: image {number} is of shape {image.shape}; {_EXPECTED}")


def _depth_of_wide(images: Sequence[Any]) -> PixelType:
    """One type for all images of a source: a dark one of 12 bits among them must not become 8-bit."""
    wide = [image for image in images if isinstance(image, np.ndarray) and _is_wide(image)]
    return "uint8" if wide and all(image.max() <= 255 for image in wide) else "uint16"


def _is_wide(image: npt.NDArray[Any]) -> bool:
    return image.dtype.kind in "iu" and image.dtype not in _SAYS_DEPTH


def _narrowed(image: npt.NDArray[Any], wide: PixelType, name: str) -> npt.NDArray[Any]:
    """Integers of any type in the depth that they have in this source."""
    if wide == "uint8" and image.min() >= 0 and image.max() <= 255:
        return image.astype(np.uint8)
    if image.ndim == 3 and image.shape[2] == 4:
        raise DataError(
            f"{name}: alpha of type {image.dtype}, expected uint8, uint16 or float; its full range is unknown"
        )
    return image


def _without_alpha(image: npt.NDArray[Any], name: str) -> npt.NDArray[Any]:
    if image.ndim == 3 and image.shape[2] == 4:
        return on_black(Stored(image[:, :, :3], image[:, :, 3]), name)
    return image


def _is_tensor(value: Any) -> bool:
    # by its methods, so that torch need not be imported for numpy users
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _numpy(tensor: Any, ndim: int) -> npt.NDArray[Any]:
    """(.., H, W) or (.., H, W, C) of a tensor (.., H, W) or (.., C, H, W); `ndim` counts the dimensions with C.

    (.., H, W, C) is accepted too where the shape leaves no doubt.
    """
    if tensor.ndim not in (ndim - 1, ndim):
        raise DataError(f"array: tensor of shape {tuple(tensor.shape)}; {_EXPECTED}")
    if ndim == 4 and tensor.ndim == 3 and (tensor.shape[0] == 3 or _is_one(tensor.shape)):
        shape = tuple(tensor.shape)
        raise DataError(f"array: tensor of shape {shape} is one image; wrap it in a list. Three: (3, 1, H, W)")
    values = tensor.detach().cpu()
    try:
        values = np.asarray(values.numpy())
    except TypeError:  # bfloat16 has no numpy type
        values = np.asarray(values.float().numpy())
    if values.ndim < ndim:
        return values
    first, last = values.shape[-3], values.shape[-1]
    if first in _CHANNELS and not (first == 4 and last in (1, 3)):
        return np.moveaxis(values, -3, -1)
    if last == 4 and first < _ROWS:
        raise DataError(f"array: tensor of shape {tuple(tensor.shape)}; {_EXPECTED}")
    return values
