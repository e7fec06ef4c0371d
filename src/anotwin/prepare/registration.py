"""How a part lies in its picture, beside others of its kind: moved and, where that is asked for, turned.

By cross-correlation of small pictures (scikit-image). Nothing is resampled that a model sees: a pose tells which place
of the part a place of the image is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from skimage.registration import phase_cross_correlation
from skimage.transform import EuclideanTransform, resize, warp

from anotwin.prepare.pyramid import Level

SIDE = 96  # pixels of the longer side of a small picture
MOST_READ = 1024  # pixels of a side that are read for it: of a larger image every second, third ...
FINER = 8  # a shift is found to this part of such a pixel
FARTHEST = 0.25  # of a side: a part that lies farther off has not been found
COARSE, FINE = 6.0, 1.0  # degrees between the turns that are tried, first all around, then beside the best
STRETCHED = 0.1  # pictures whose aspect ratios differ by more do not show the same part alike
ROUNDS = 2  # of the template: the mean of all pictures as they lie on the one before
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Where a picture lies on the template: turned around its middle, then moved; fractions of the sides."""

    angle: float = 0.0  # degrees, counter-clockwise as seen
    down: float = 0.0
    across: float = 0.0

    def on_template(self, places: Floats, shape: tuple[int, int]) -> Floats:
        """Places (N, 2) of the picture, rows and columns from 0 to 1, as places of the template of this shape.

        >>> Pose(90.0).on_template(np.array([[0.0, 0.5]]), (10, 10)).round(6).tolist()  # the top comes to the left
        [[0.5, 0.0]]
        """
        sides = np.array(shape, np.float64)
        down, across = ((places - 0.5) * sides).T
        cosine, sine = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        turned = np.stack([cosine * down - sine * across, sine * down + cosine * across], 1) / sides
        return turned + 0.5 + [self.down, self.across]


def small_picture(levels: Sequence[Level]) -> Floats:
    """The image (h, w) at `SIDE` pixels along its longer side, grey, with mean 0 and spread 1."""
    level = [each for k, each in enumerate(levels) if k == 0 or max(each.height, each.width) >= SIDE][-1]
    step = max(1, max(level.height, level.width) // MOST_READ)
    pixels = level.pixels[: level.height : step, : level.width : step].astype(np.float64)
    grey = pixels if pixels.ndim == 2 else pixels.mean(2)
    factor = SIDE / max(grey.shape)
    shape = tuple(max(8, round(factor * side)) for side in grey.shape)
    return _even(resize(grey, shape, order=1, anti_aliasing=True))  # type: ignore[no-untyped-call]


def template_of(pictures: Sequence[Floats], turn: bool) -> tuple[Floats, float]:
    """The mean of small pictures as they lie on each other, and how well they do.

    That is the median of each one's correlation with the mean of the others; of another shape than most, it has none.
    """
    template = max(pictures, key=lambda one: sum(_fits(each, one.shape) for each in pictures))
    correlations, shape = [0.0], template.shape
    fitting = [each for each in pictures if _fits(each, shape)]
    for _ in range(ROUNDS):
        found = [pose_of(each, template, turn) for each in fitting]
        laid = [_laid(_of_shape(each, shape), pose) for each, pose in zip(fitting, found, strict=True)]
        total: Floats = np.sum(laid, 0)
        template = _even(total)
        correlations = [float((each * _even(total - each)).mean()) for each in laid]
    return template, float(np.median([*correlations, *[0.0] * (len(pictures) - len(fitting))]))


def pose_of(picture: Floats, template: Floats, turn: bool) -> Pose:
    """How a small picture lies on the template; as it is, where nothing fits better or its shape is another."""
    if not (_fits(picture, template.shape) and picture.any() and template.any()):
        return Pose()
    picture = _of_shape(picture, template.shape)
    angles = np.zeros(1)
    if turn:  # a quarter of the pixels are enough to see which way up it is
        small, half = (_even(resize(each, _half(each), order=1)) for each in (picture, template))  # type: ignore[no-untyped-call]
        coarse = _best(small, half, np.arange(0, 360, COARSE), 1)
        angles = coarse.angle + np.arange(FINE - COARSE, COARSE, FINE)
    best = _best(picture, template, angles, FINER)
    unmoved = (picture * template).mean() >= (_laid(picture, best) * template).mean()
    return Pose() if unmoved else best


def _half(picture: Floats) -> tuple[int, int]:
    return max(8, picture.shape[0] // 2), max(8, picture.shape[1] // 2)


def _best(picture: Floats, template: Floats, angles: Floats, finer: int) -> Pose:
    found = [_moved(picture, template, float(angle), finer) for angle in angles]
    return max(found, key=lambda pose: float((_laid(picture, pose) * template).mean()))


def _moved(picture: Floats, template: Floats, angle: float, finer: int) -> Pose:
    """The shift that fits best after a turn, to so many parts of a pixel; none where it is too far."""
    turned = _laid(picture, Pose(angle)) if angle else picture
    window = np.outer(*[np.hanning(side + 2)[1:-1] for side in template.shape])
    shift, _, _ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        template * window, turned * window, upsample_factor=finer, normalization=None
    )
    down, across = (float(by) / side for by, side in zip(shift, template.shape, strict=True))
    return Pose(angle, down, across) if max(abs(down), abs(across)) <= FARTHEST else Pose(angle)


def _laid(picture: Floats, pose: Pose) -> Floats:
    """The picture as it lies on the template, its border repeated; mean 0, spread 1."""
    height, width = picture.shape
    middle = EuclideanTransform(translation=(-width / 2 + 0.5, -height / 2 + 0.5))  # type: ignore[no-untyped-call]
    turn = EuclideanTransform(rotation=-np.radians(pose.angle))  # type: ignore[no-untyped-call]  # y points down
    shift = (width / 2 - 0.5 + pose.across * width, height / 2 - 0.5 + pose.down * height)
    back = EuclideanTransform(translation=shift)  # type: ignore[no-untyped-call]
    return _even(warp(picture, (middle + turn + back).inverse, order=1, mode="edge"))  # type: ignore[no-untyped-call]


def _even(picture: Floats) -> Floats:
    centred: Floats = picture - picture.mean()
    spread = float(centred.std())
    return centred / spread if spread > 1e-9 else np.zeros_like(centred)


def _fits(picture: Floats, shape: tuple[int, ...]) -> bool:
    one, other = (side[0] / side[1] for side in (picture.shape, shape))
    return bool(abs(np.log(one / other)) <= STRETCHED)


def _of_shape(picture: Floats, shape: tuple[int, ...]) -> Floats:
    return picture if picture.shape == shape else _even(resize(picture, shape, order=1))  # type: ignore[no-untyped-call]
