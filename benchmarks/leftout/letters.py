"""Letters drawn with a pen, prepared as MNIST was: what no normal digit is, and made without a label of any digit.

Damage that is planted in normal images leaves traces - seams, the blur of a second sampling - and a detector that was
trained on damage finds them. Letters have none: an outline of one of matplotlib's fonts is thinned to its skeleton,
drawn again with a pen of some width, slanted, turned, stretched and warped as by a hand, and put into 28 x 28 pixels as
LeCun's digits were (a box of 20 pixels, its centre of mass in the middle). Letters that are read as digits are left
out. They choose between ways to score; nothing is trained on them.
"""

from __future__ import annotations

import string
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage
from skimage.morphology import skeletonize

Pixels = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float64]

ALIKE = "oOilIsSzZqB"  # read as 0, 1, 5, 2, 9 and 8
LATIN = [letter for letter in string.ascii_letters if letter not in ALIKE]
GREEK = list("αβγδεζηθκλμξπρσφχψωΓΔΘΛΞΠΣΦΨΩ")
FONTS = {  # with Greek or without
    "DejaVuSans": GREEK, "DejaVuSans-Oblique": GREEK, "DejaVuSerif": GREEK, "DejaVuSansMono": GREEK,
    "STIXGeneral": GREEK, "STIXGeneralItalic": GREEK, "cmr10": [], "cmss10": [], "cmtt10": [], "cmmi10": [],
}  # fmt: skip
CANVAS, BOX, SIDE = 160, 20, 28  # pixels
GREEK_SHARE = 0.3
TRIES = 50


def letters(count: int, seed: int = 0) -> Pixels:
    """White letters on black, (N, 28, 28) uint8.

    >>> letters(2).shape
    (2, 28, 28)
    """
    rng = np.random.default_rng(seed)
    return np.stack([_letter(rng) for _ in range(count)])


def _letter(rng: np.random.Generator) -> Pixels:
    for _ in range(TRIES):
        skeleton: npt.NDArray[np.bool_] = skeletonize(_outline(rng))  # type: ignore[no-untyped-call]
        rows, columns = np.nonzero(skeleton)
        if len(rows) < BOX:  # a font without the letter, or a dot
            continue
        size = 1 + max(float(np.ptp(rows)), float(np.ptp(columns)))
        ink = _by_hand(_drawn(skeleton, size, rng), size, rng)
        if ink[0].any() or ink[-1].any() or ink[:, 0].any() or ink[:, -1].any() or (ink > 0.3).sum() < BOX:
            continue  # warped out of the canvas
        return _as_mnist(ink, rng)
    raise RuntimeError(f"no letter in {TRIES} tries; expected matplotlib's own fonts in {_fonts()}")


def _fonts() -> Path:
    return Path(mpl.get_data_path()) / "fonts" / "ttf"


def _outline(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    font = list(FONTS)[rng.integers(len(FONTS))]
    known = FONTS[font] if rng.random() < GREEK_SHARE and FONTS[font] else LATIN
    canvas = Image.new("L", (CANVAS, CANVAS))
    face = ImageFont.truetype(str(_fonts() / f"{font}.ttf"), 90)
    ImageDraw.Draw(canvas).text((CANVAS / 2, CANVAS / 2), known[rng.integers(len(known))], 255, face, anchor="mm")
    return np.asarray(canvas) > 127


def _drawn(skeleton: npt.NDArray[np.bool_], size: float, rng: np.random.Generator) -> Plane:
    """Ink in [0, 1], by a pen of 1.8 to 3.8 of the digits' pixels."""
    radius = rng.uniform(0.9, 1.9) * size / BOX
    away: Plane = ndimage.distance_transform_edt(~skeleton)
    return np.clip(radius - away + 0.5, 0, 1)


def _by_hand(ink: Plane, size: float, rng: np.random.Generator) -> Plane:
    """Slanted, turned, stretched and warped."""
    turn, slant, stretch = rng.normal(0, 0.1), rng.normal(0.15, 0.2), np.exp(rng.normal(0, 0.12, 2))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation @ np.array([[1, 0], [slant, 1]]) @ np.diag(1 / stretch)
    field = np.stack([ndimage.gaussian_filter(rng.normal(size=ink.shape), size / 5) for _ in range(2)])
    field *= size * rng.uniform(0.01, 0.05) / field.std()
    places = np.indices(ink.shape, dtype=np.float64) - CANVAS / 2
    places = np.einsum("ij,jhw->ihw", matrix, places) + CANVAS / 2 + field
    warped: Plane = ndimage.map_coordinates(ink, places, order=1)
    return warped


def _as_mnist(ink: Plane, rng: np.random.Generator) -> Pixels:
    rows, columns = np.nonzero(ink > 0.3)
    cut = ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    scale = BOX / max(cut.shape)
    shape = max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale))
    how = Image.Resampling.BILINEAR if rng.random() < 0.5 else Image.Resampling.BOX
    small = np.asarray(Image.fromarray((255 * cut).astype(np.uint8)).resize(shape, how), np.float64)
    small = np.clip(small * rng.uniform(1, 1.3), 0, 255)
    room = np.zeros((3 * SIDE, 3 * SIDE))
    middle = ndimage.center_of_mass(small)
    top, left = (round(1.5 * SIDE - 0.5 - centre) for centre in middle)
    room[top : top + small.shape[0], left : left + small.shape[1]] = small
    return room[SIDE : 2 * SIDE, SIDE : 2 * SIDE].astype(np.uint8)
