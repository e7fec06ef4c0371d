"""Native pixels and heat as 8-bit colours, and the pictures that are saved beside the scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import numpy.typing as npt
import tifffile
from matplotlib.colors import Colormap, ListedColormap
from PIL import Image

from anotwin.errors import DataError
from anotwin.files import atomic_path
from anotwin.prepare.blocks import blocks

if TYPE_CHECKING:
    from anotwin.records import Array, Finding

UInt8 = npt.NDArray[np.uint8]
Window = tuple[float, float]  # the native values shown black and white

# Heat is 1 where 0.5 % of normal pixels exceed it. The map ends at twice that: the highest heat of normal images is
# halfway up, what they never reach is bright, and the bulk of a normal image (heat around 0.2) stays almost black.
HEAT_FULL = 2.0
HEAT_TICKS = {0.0: "0", 1.0: "1", HEAT_FULL: f"≥ {HEAT_FULL:g}"}
HEAT_MAP = "inferno"  # perceptually uniform, monotone in lightness, safe for the colour-blind and in grey print
_MAP_TOP = 0.87  # of inferno: its last part is a pale yellow that would be invisible on white
_CLEAR, _OPAQUE = 0.5, 1.5  # heat below which the overlay shows nothing, and from which it covers most
_MOST_ALPHA = 0.8


def display_window(*images: Array) -> Window:
    """The native values to show black and white: the whole range of 8-bit pixels, else the bulk of what is there.

    16-bit and float files rarely use their range; the 0.1 % at both ends are left out so that one hot pixel does not
    darken all. Where a model is at hand, use the `black` and `white` of its ImageSpec instead.
    """
    if all(image.dtype == np.uint8 for image in images):
        return 0.0, 255.0
    values = np.concatenate([image[np.isfinite(image)].ravel() for image in images])
    if not values.size:
        return 0.0, 1.0
    black, white = (float(value) for value in np.percentile(values, [0.1, 99.9]))
    if black == white:
        black, white = float(values.min()), float(values.max())
    return (black, white) if black < white else (black - 0.5, black + 0.5)


def to_display(pixels: Array, black: float = 0.0, white: float = 255.0) -> UInt8:
    """Native pixels (H, W) or (H, W, 3) as uint8 RGB (H, W, 3); `black` and below are 0, `white` and above 255.

    >>> to_display(np.array([[0, 2048, 4095]], np.uint16), 0, 4095)[0, :, 0].tolist()
    [0, 128, 255]
    """
    if not black < white:
        raise DataError(f"display window from {black} to {white}: expected black below white")
    shown = np.empty((*pixels.shape[:2], 3), np.uint8)
    for rows in blocks(pixels.shape):
        values = pixels[rows].astype(np.float64)
        values = np.clip(np.where(np.isnan(values), black, values), black, white)
        grey = np.rint((values - black) / (white - black) * 255).astype(np.uint8)
        shown[rows] = grey[..., None] if grey.ndim == 2 else grey
    return shown


def heat_rgb(heat: Array) -> UInt8:
    """Heat (H, W) as uint8 RGB (H, W, 3) in inferno, black at 0 and bright orange from `HEAT_FULL` on.

    >>> heat_rgb(np.zeros((4, 6))).shape
    (4, 6, 3)
    """
    share = np.clip(_finite(heat) / HEAT_FULL, 0.0, 1.0)
    colours = matplotlib.colormaps[HEAT_MAP](share * _MAP_TOP, bytes=True)  # (H, W, 4)
    return np.ascontiguousarray(colours[..., :3])


def overlay(pixels: Array, heat: Array, window: Window | None = None) -> UInt8:
    """The image in grey with its heat over it, uint8 RGB (H, W, 3).

    Heat below 0.5 is transparent, so that a normal image looks like itself; from 1.5 on it covers the image by 80 %.

    Args:
        pixels: (H, W) or (H, W, 3) native.
        heat: (H, W), 1 = the heat that 0.5 % of normal pixels exceed.
        window: the native values shown black and white; None: `display_window(pixels)`.
    """
    if heat.shape != pixels.shape[:2]:
        raise DataError(f"heatmap of {heat.shape} for an image of {pixels.shape}: expected the same height and width")
    black, white = window or display_window(pixels)
    shown = np.empty((*heat.shape, 3), np.uint8)
    for rows in blocks(shown.shape):
        grey = np.asarray(Image.fromarray(to_display(pixels[rows], black, white)).convert("L"), dtype=np.float64)
        alpha = heat_alpha(heat[rows])[..., None]
        mixed = (1 - alpha) * grey[..., None] + alpha * heat_rgb(heat[rows])
        shown[rows] = np.rint(mixed).astype(np.uint8)
    return shown


def heat_alpha(heat: Array) -> npt.NDArray[np.float64]:
    """How far heat covers the image below it, in [0, 0.8]: a ramp from heat 0.5 to 1.5."""
    ramp: npt.NDArray[np.float64] = np.clip((_finite(heat) - _CLEAR) / (_OPAQUE - _CLEAR), 0.0, 1.0)
    return ramp * _MOST_ALPHA


def overlay_map() -> Colormap:
    """The colours of heat over a mid-grey image, so that a colour bar shows those of the overlay."""
    heat = np.linspace(0.0, HEAT_FULL, 256)[None]
    alpha = heat_alpha(heat)[..., None]
    return ListedColormap(((1 - alpha) * 0.5 + alpha * heat_rgb(heat) / 255.0)[0])


def _finite(heat: Array) -> npt.NDArray[np.float64]:
    return np.nan_to_num(heat.astype(np.float64), nan=0.0, posinf=1e9, neginf=0.0)


def save_png(array: npt.NDArray[Any], path: str | Path) -> Path:
    """Save pixels losslessly in their own depth, atomically, and return the path written.

    uint8 (H, W) or (H, W, 3) and uint16 (H, W) become a PNG. PNG has no float pixels and Pillow no 16-bit colour:
    these become a TIFF, and the suffix ``.tif``.
    """
    path, shape, kind = Path(path), array.shape, array.dtype
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
        raise DataError(f"{path}: cannot save an array of shape {shape}; expected (H, W) or (H, W, 3)")
    if kind not in (np.uint8, np.uint16, np.float32):
        raise DataError(f"{path}: cannot save pixels of type {kind}; expected uint8, uint16 or float32")
    array = np.ascontiguousarray(array)
    as_png = kind == np.uint8 or (kind == np.uint16 and len(shape) == 2)
    path = path if as_png else path.with_suffix(".tif")
    with atomic_path(path, sync=False) as temporary:
        if as_png:
            Image.fromarray(array).save(temporary, format="PNG")
        else:
            photometric = "rgb" if len(shape) == 3 else "minisblack"
            tifffile.imwrite(temporary, array, photometric=photometric, metadata=None)
    return path


def save_pictures(finding: Finding, out_dir: str | Path, name: str, window: Window | None = None) -> None:
    """Save what a finding shows: ``counterparts/<name>`` in native depth, and the overlay as ``heatmaps/<name>``.

    `name` comes from `picture_names`. A finding without pictures (an error) leaves no files. `window` is the pair of
    native values to show black and white; None: chosen for each image by itself.
    """
    heat = None if finding.heatmap is None or finding.query is None else overlay(finding.query, finding.heatmap, window)
    if finding.counterpart is not None:
        save_png(finding.counterpart, Path(out_dir, "counterparts", name))
    if heat is not None:
        save_png(heat, Path(out_dir, "heatmaps", name))
