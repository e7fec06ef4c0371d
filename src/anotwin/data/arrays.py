"""Images that are in memory already: numpy arrays, torch tensors, or a list of either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.data.folder import count_labels
from anotwin.data.pixels import native
from anotwin.errors import DataError
from anotwin.records import Array, ImageItem

_EXPECTED = "expected (N, H, W), (N, H, W, 1) or (N, H, W, 3) as numpy, (N, C, H, W) as a tensor, or a list of images"


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Arrays as an `ImageSource`; nothing is copied."""

    images: tuple[npt.NDArray[Any], ...]  # (N,) of (H, W), (H, W, 1) or (H, W, 3)
    items: tuple[ImageItem, ...]  # (N,)
    layout: str = "array"
    root: str = "array"

    def read(self, index: int) -> Array:
        """Native pixels of one image; raises DataError naming it if it has NaN or values out of range."""
        return native(self.images[index], self.items[index].id)

    def read_mask(self, index: int) -> None:
        """None: arrays come without masks."""


def from_arrays(
    images: Any, labels: Sequence[object] | None = None, normal: str | None = None, prefix: str = "image"
) -> ArraySource:
    """Arrays as a source: what `Detector.train` and `Detector.score` take in place of a folder.

    >>> source = from_arrays(np.zeros((2, 8, 8), np.uint8), labels=["good", "bad"], normal="good")
    >>> [(item.id, item.normal) for item in source.items]
    [('image-00000', True), ('image-00001', False)]

    Args:
        images: numpy (N, H, W), (N, H, W, 1) or (N, H, W, 3); a torch tensor (N, H, W) or (N, C, H, W) with C of 1
            or 3; or a list of single images, whose sizes may differ. bool, integers in 0..65535 or floats.
        labels: one for each image.
        normal: the label that is normal.
        prefix: ids are ``prefix-00000`` and so on.

    Raises:
        DataError: another shape or type, no images, or labels that do not fit. Bad pixel values are found on reading.
    """
    pixels = tuple(_each(images))
    for number, image in enumerate(pixels):
        if image.dtype.kind not in "biuf":
            raise DataError(f"array: image {number} is of type {image.dtype}, expected bool, integers or floats")
        if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)) or 0 in image.shape:
            raise DataError(f"array: image {number} is of shape {image.shape}; {_EXPECTED}")
    if labels is not None and len(labels) != len(pixels):
        raise DataError(f"array: {len(labels)} labels for {len(pixels)} images, expected one label per image")
    names = [None] * len(pixels) if labels is None else [str(label) for label in labels]
    known = [name for name in names if name is not None]
    if normal is not None and str(normal) not in known:
        raise DataError(f"array: no label {str(normal)!r}; found {count_labels(known) if known else 'no labels'}")
    items = tuple(
        ImageItem(f"{prefix}-{number:05}", name, None if normal is None else name == str(normal))
        for number, name in enumerate(names)
    )
    return ArraySource(pixels, items)


def _each(images: Any) -> list[npt.NDArray[Any]]:
    if isinstance(images, (list, tuple)):
        found = [_numpy(image, 3) if _is_tensor(image) else np.asarray(image) for image in images]
    elif _is_tensor(images):
        found = list(_numpy(images, 4))
    elif isinstance(images, np.ndarray):
        if images.ndim not in (3, 4):
            raise DataError(f"array: shape {images.shape}; {_EXPECTED}")
        found = list(images)
    else:
        raise DataError(f"array: got {type(images).__name__}; {_EXPECTED}")
    if not found:
        raise DataError("array: no images; expected at least one")
    return found


def _is_tensor(value: Any) -> bool:
    # by its methods, so that torch need not be imported for numpy users
    return hasattr(value, "detach") and hasattr(value, "cpu")


def _numpy(tensor: Any, ndim: int) -> npt.NDArray[Any]:
    """(.., H, W) or (.., H, W, C) of a tensor (.., H, W) or (.., C, H, W); `ndim` counts the dimensions with C.

    (.., H, W, C) is accepted too where the shape leaves no doubt.
    """
    if tensor.ndim not in (ndim - 1, ndim):
        raise DataError(f"array: tensor of shape {tuple(tensor.shape)}; {_EXPECTED}")
    values = tensor.detach().cpu()
    try:
        values = np.asarray(values.numpy())
    except TypeError:  # bfloat16 has no numpy type
        values = np.asarray(values.float().numpy())
    return np.moveaxis(values, -3, -1) if values.ndim == ndim and values.shape[-3] in (1, 3) else values
