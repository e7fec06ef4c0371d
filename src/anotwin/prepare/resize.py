"""Native pixels <-> the model's square of values in [-1, 1], with the inverse map for pixels and for heat.

Native values map to u in [0, 1] (0 black, 1 white as the `ImageSpec` says) and on to 2 u - 1. A query brighter than
all training images stays so: values are limited to [-3, 3] and not to [-1, 1], because being too bright is an anomaly.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from anotwin.errors import DataError
from anotwin.prepare.blocks import blocks
from anotwin.records import Array, Geometry, ImageSpec

LIMIT = 3.0  # of model values
FEW_BITS = 256, 4096  # the highest value of 9 to 12 bits in 16 is from here to below there
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def to_model(pixels: Array, spec: ImageSpec) -> tuple[torch.Tensor, Geometry]:
    """A native image (H, W) or (H, W, 3) as the model takes it; bit-exact values where no resizing is needed.

    uint8 is always divided by 255; uint16 goes by black and white of a uint16 spec, else by 65535; float32 by black
    and white of a float32 spec, else it must lie in [0, 1]. Grey is repeated to 3 channels, colour reduced to luma.
    Resizing is bilinear with antialiasing; fit "pad" keeps the aspect, centres and repeats the border.

    >>> spec = ImageSpec(channels=1, size=16)
    >>> to_model(np.full((40, 30), 255, np.uint8), spec)[0].shape
    torch.Size([1, 16, 16])

    Returns:
        Tensor (C, S, S) float32 in [-1, 1] for values in the learnt range, at most [-3, 3]; and the geometry.

    Raises:
        DataError: values whose unit is unknown, not finite, or another shape or type (one line, without a name).
    """
    images, geometry = to_models(pixels[None], spec)
    return images[0], geometry


def to_models(pixels: Array, spec: ImageSpec) -> tuple[torch.Tensor, Geometry]:
    """`to_model` of many images of one size, (N, H, W) or (N, H, W, 3): (N, C, S, S), the same bits in less time."""
    if pixels.ndim not in (3, 4) or (pixels.ndim == 4 and pixels.shape[3] != 3) or 0 in pixels.shape:
        raise DataError(f"pixels of shape {pixels.shape[1:]}, expected (height, width) or (height, width, 3)")
    height, width = pixels.shape[1:3]
    images = model_values(pixels, spec)
    geometry = Geometry(height, width, spec.size, spec.fit)
    top, left, inner_height, inner_width = _inner(geometry)
    images = _resample(images, inner_height, inner_width)
    if (inner_height, inner_width) != (spec.size, spec.size):
        bottom, right = spec.size - inner_height - top, spec.size - inner_width - left
        images = F.pad(images, (left, right, top, bottom), mode="replicate")
    return images.contiguous(), geometry  # (N, C, S, S)


def model_values(pixels: Array, spec: ImageSpec) -> torch.Tensor:
    """Images (N, H, W) or (N, H, W, 3) of one size as the model's values (N, C, H, W), not resized; as `to_model`."""
    values = torch.from_numpy(_values(pixels, spec))
    return _channels(values[:, None] if pixels.ndim == 3 else values.permute(0, 3, 1, 2), spec.channels)


def map_to_native(heat: torch.Tensor, geometry: Geometry) -> npt.NDArray[np.float32]:
    """A map over the model's square (S, S), resized to the native image: (H, W) float32, bilinear, same range."""
    if heat.shape != (geometry.size, geometry.size):
        raise ValueError(f"map of shape {tuple(heat.shape)}, expected {(geometry.size, geometry.size)}")
    top, left, height, width = _inner(geometry)
    inner = heat.detach().to("cpu", torch.float32)[None, None, top : top + height, left : left + width]
    native: npt.NDArray[np.float32] = _resample(inner, geometry.height, geometry.width)[0, 0].numpy()
    return native


def difference_to_native(difference: torch.Tensor, geometry: Geometry) -> npt.NDArray[np.float32]:
    """A signed difference (S, S) in the native image: (H, W) float32; query minus `image_to_native` of its counterpart.

    Where the model is coarser than the image, that holds for the query at the model's size.
    """
    native: npt.NDArray[np.float32] = _invert(difference.detach().to("cpu", torch.float32)[None], geometry)[0].numpy()
    return native


def image_to_native(image: torch.Tensor, geometry: Geometry, spec: ImageSpec, like: Array) -> Array:
    """A model image (C, S, S), usually a counterpart, in the pixels of the native query `like`: same shape and type.

    The inverse of `to_model` with the type and colours of `like`, exact for images no larger than the model's square;
    integers are rounded and clipped to their range.
    """
    return native_values(_invert(image.detach().to("cpu", torch.float32), geometry), spec, like)


def native_values(image: torch.Tensor, spec: ImageSpec, like: Array) -> Array:
    """An image (C, H, W) of the model's values in native ones, with the shape, type and colours of `like`; not resized.

    Integers are rounded and clipped to their range.
    """
    values = _channels(image, 1 if like.ndim == 2 else 3)
    black, white = _range(like, spec)
    found = np.empty_like(like, order="C")
    for rows in blocks(like.shape):
        native = (values[:, rows].double().numpy() + 1) / 2 * (white - black) + black
        if like.dtype.kind in "iu":
            native = np.rint(np.clip(native, 0, np.iinfo(like.dtype).max))
        found[rows] = native[0] if like.ndim == 2 else np.moveaxis(native, 0, 2)
    return found


def with_change(pixels: Array, change: npt.NDArray[np.floating[Any]], spec: ImageSpec) -> Array:
    """Native pixels to which a change (C, H, W) of model values is added: same shape and type, exact where it is 0.

    A grey change goes to all colours, of a coloured one its luma to grey pixels; integers are rounded and clipped.
    """
    black, white = _range(pixels, spec)
    found = np.empty_like(pixels, order="C")
    for rows in blocks(pixels.shape):
        more = change[:, rows].astype(np.float64) * ((white - black) / 2)
        if pixels.ndim == 3:
            native = pixels[rows] + np.moveaxis(more, 0, 2)
        else:
            native = pixels[rows] + (more[0] if len(more) == 1 else np.tensordot(LUMA, more, 1))
        if pixels.dtype.kind in "iu":
            native = np.rint(np.clip(native, 0, np.iinfo(pixels.dtype).max))
        found[rows] = native
    return found


def _range(pixels: Array, spec: ImageSpec) -> tuple[float, float]:
    """The native values of 0 and 1 for pixels of this type."""
    if spec.pixel_type == "float32" and pixels.dtype != np.float32 and (spec.black, spec.white) != (0.0, 1.0):
        raise DataError(
            f"{pixels.dtype} pixels for a model of float images from {spec.black:g} to {spec.white:g}: their unit is "
            "unknown; convert them to the unit of the training images, as float32"
        )
    if pixels.dtype == np.uint8:
        return 0.0, 255.0
    if pixels.dtype == np.uint16:
        return (spec.black, spec.white) if spec.pixel_type == "uint16" else (0.0, 65535.0)
    if pixels.dtype == np.float32:
        return (spec.black, spec.white) if spec.pixel_type == "float32" else (0.0, 1.0)
    raise DataError(f"pixels of type {pixels.dtype}, expected uint8, uint16 or float32")


def _values(pixels: Array, spec: ImageSpec) -> npt.NDArray[np.float32]:
    """Model values of native pixels of any shape, limited to [-3, 3]."""
    black, white = check_values(pixels, spec)
    if pixels.dtype == np.uint8:
        return _scaled(np.arange(256), black, white)[pixels]
    values = np.empty(pixels.shape, np.float32)
    flat, native = values.reshape(-1), np.ascontiguousarray(pixels).reshape(-1)
    for part in blocks(native.shape):
        flat[part] = _scaled(native[part], black, white)
    return values


def check_values(pixels: Array, spec: ImageSpec) -> tuple[float, float]:
    """The native values of 0 and 1; raises DataError for pixels whose unit is unknown, or that are not finite."""
    black, white = _range(pixels, spec)
    if pixels.dtype == np.float32:
        low, high = float(pixels.min()), float(pixels.max())
        if not np.isfinite(low) or not np.isfinite(high):  # min and max of NaN are NaN
            raise DataError("NaN or infinite pixels; clean or leave out the image")
        if spec.pixel_type != "float32" and (low < 0 or high > 1):
            raise DataError(
                f"float pixels from {low:g} to {high:g} for a model of {spec.pixel_type} images: expected [0, 1]; "
                "divide them by their full range"
            )
    return black, white


def check_image(pixels: Array, spec: ImageSpec) -> None:
    """Of a whole image, beside `check_values`, that it is not nearly black because its unit is another.

    Raises DataError where a model of 8-bit images is handed values of 9 to 12 bits in a file of 16.
    """
    check_values(pixels, spec)
    if pixels.size and pixels.dtype == np.uint16 and spec.pixel_type == "uint8":
        high = int(pixels.max())
        if FEW_BITS[0] <= high < FEW_BITS[1]:
            raise DataError(
                f"16-bit pixels that end at {high} of 65535, for a model of 8-bit images: nearly black, or of a camera "
                f"with {high.bit_length()} bits; scale them to the whole range (12 bits: times 16), or to 8 bits"
            )


def _scaled(native: Array, black: float, white: float) -> npt.NDArray[np.float32]:
    """In double and rounded once: the same value for every type and on the way back."""
    unit = ((native.astype(np.float64) - black) * (2 / (white - black)) - 1).astype(np.float32)
    return np.clip(unit, -LIMIT, LIMIT)


def _channels(image: torch.Tensor, channels: int) -> torch.Tensor:
    """Images (..., 1 or 3, H, W) with as many `channels`."""
    if image.shape[-3] == channels:
        return image
    if channels == 3:
        return image.expand(*image.shape[:-3], 3, -1, -1)
    red, green, blue = (share * image[..., i : i + 1, :, :] for i, share in enumerate(LUMA))
    return red + green + blue


def _inner(geometry: Geometry) -> tuple[int, int, int, int]:
    """Where the image lies in the square: top, left, height, width."""
    size = geometry.size
    if geometry.fit == "stretch":
        return 0, 0, size, size
    longer = max(geometry.height, geometry.width)
    height = max(1, round(geometry.height * size / longer))
    width = max(1, round(geometry.width * size / longer))
    return (size - height) // 2, (size - width) // 2, height, width


def _resample(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Images (N, C, H, W) of another size."""
    if image.shape[2:] == (height, width):
        return image
    return F.interpolate(image, (height, width), mode="bilinear", antialias=True, align_corners=False)


def _invert(image: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Undo the resizing of (C, S, S), axis by axis: (C, H, W). Interpolating back instead would blur a second time."""
    top, left, height, width = _inner(geometry)
    inner = image[:, top : top + height, left : left + width]
    if geometry.height < height:
        inner = _inverse(geometry.height, height) @ inner
    if geometry.width < width:
        inner = inner @ _inverse(geometry.width, width).T
    return _resample(inner[None], geometry.height, geometry.width)[0]


@lru_cache(maxsize=64)
def _inverse(native: int, inner: int) -> torch.Tensor:
    """(native, inner): least-squares inverse of enlarging `native` pixels to `inner`.

    Bilinear enlarging loses nothing and is well conditioned (condition number about 2), so it can be undone exactly.
    """
    enlarge = _resample(torch.eye(native)[None, None], inner, native)[0, 0]  # (inner, native)
    inverse: torch.Tensor = torch.linalg.pinv(enlarge.double()).float()
    return inverse
