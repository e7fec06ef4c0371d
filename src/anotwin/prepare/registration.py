"""How a part lies in its picture, beside others of its kind: moved and, where that is asked for, turned.

By cross-correlation of small pictures (scikit-image), and by least squares of larger ones from there on. Nothing is
resampled that a model sees: a pose tells which place of the part a place of the image is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates
from skimage.registration import phase_cross_correlation
from skimage.transform import resize

from anotwin.prepare.pyramid import Level

SIDE = 96  # pixels of the longer side of a small picture
MOST_READ = 1024  # pixels of a side that are read for it: of a larger image every second, third ...
FINER = 8  # a shift is found to this part of such a pixel
FARTHEST = 0.25  # of a side: a part that lies farther off has not been found
COARSE, FINE = 6.0, 1.0  # degrees between the turns that are tried, first all around, then beside the best
STRETCHED = 0.1  # pictures whose aspect ratios differ by more do not show the same part alike
ROUNDS = 2  # of the template: the mean of all pictures as they lie on the one before
REFINED, ANGLE, PART = 8, 0.25, 0.5  # rounds at most; degrees and pixels along which slopes are measured
MOST_STEPS = 4.0  # of these, in one round
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

    def on_picture(self, places: Floats, shape: tuple[int, int]) -> Floats:
        """Places (N, 2) of the template of this shape as places of the picture: the way back.

        >>> Pose(90.0).on_picture(np.array([[0.5, 0.0]]), (10, 10)).round(6).tolist()
        [[0.0, 0.5]]
        """
        sides = np.array(shape, np.float64)
        down, across = ((places - 0.5 - [self.down, self.across]) * sides).T
        cosine, sine = np.cos(np.radians(self.angle)), np.sin(np.radians(self.angle))
        return np.stack([cosine * down + sine * across, cosine * across - sine * down], 1) / sides + 0.5


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
    template = max(pictures, key=lambda one: sum(fits(each, one.shape) for each in pictures))
    correlations, shape = [0.0], template.shape
    fitting = [each for each in pictures if fits(each, shape)]
    for _ in range(ROUNDS):
        found = [pose_of(each, template, turn) for each in fitting]
        laid = [_laid(_of_shape(each, shape), pose) for each, pose in zip(fitting, found, strict=True)]
        total: Floats = np.sum(laid, 0)
        template = _even(total)
        correlations = [float((each * _even(total - each)).mean()) for each in laid]
    return template, float(np.median([*correlations, *[0.0] * (len(pictures) - len(fitting))]))


def pose_of(picture: Floats, template: Floats, turn: bool) -> Pose:
    """How a small picture lies on the template; as it is, where nothing fits better or its shape is another."""
    if not (fits(picture, template.shape) and picture.any() and template.any()):
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


def lay(picture: npt.NDArray[Any], pose: Pose, shape: tuple[int, int]) -> npt.NDArray[Any]:
    """A picture (h, w) as it lies on the template of this shape, its border repeated; float32, of float64 that."""
    cells = (pose.on_picture(middles(shape), shape) * picture.shape - 0.5).T
    values = picture.astype(np.result_type(picture, np.float32))
    return map_coordinates(values, cells, order=1, mode="nearest").reshape(shape)  # type: ignore[no-any-return]


def middles(shape: tuple[int, int]) -> Floats:
    """The middles of the pixels of a template, from 0 to 1: (h w, 2)."""
    rows, columns = ((np.arange(side) + 0.5) / side for side in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)


def cells_of(points: Floats, shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The cells (n, 2) of points (n, 2) from 0 to 1; what lies outside is in the cell at the border.

    >>> cells_of(np.array([[0.0, 0.99], [0.5, 1.2]]), (2, 4)).tolist()
    [[0, 3], [1, 3]]
    """
    found: npt.NDArray[np.int64] = np.clip((points * shape).astype(np.int64), 0, np.array(shape) - 1)
    return found


def refined(pose: Pose, picture: npt.NDArray[np.float32], template: npt.NDArray[np.float32], turn: bool) -> Pose:
    """A pose that is nearly right, to a small part of a pixel: Gauss-Newton on squares (Lucas, Kanade 1981).

    Args:
        picture, template: of one scale and light, smooth enough that a pixel more or less is the same edge.
        turn: whether the angle may change.
    """
    shape: tuple[int, int] = template.shape
    steps = np.array([ANGLE if turn else 0.0, *(PART / side for side in shape)])
    moved = [np.eye(3)[k] * steps for k in range(3) if steps[k]]

    def error(values: Floats) -> Floats:
        found: Floats = (lay(picture, Pose(*values), shape) - template).ravel().astype(np.float64)
        return found

    values = np.array([pose.angle, pose.down, pose.across])
    here = error(values)
    for _ in range(REFINED):
        slopes = np.stack([(error(values + each) - error(values - each)) / 2 for each in moved], 1)
        by = np.clip(np.linalg.lstsq(slopes, -here, rcond=None)[0], -MOST_STEPS, MOST_STEPS)
        next_values = values + by @ np.stack(moved)
        there = error(next_values)
        if there @ there >= here @ here:
            break
        values, here = next_values, there
    return Pose(*values.tolist())


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
    """The picture as it lies on a template of its shape; mean 0, spread 1."""
    return _even(lay(picture, pose, picture.shape))


def _even(picture: Floats) -> Floats:
    centred: Floats = picture - picture.mean()
    spread = float(centred.std())
    return centred / spread if spread > 1e-9 else np.zeros_like(centred)


def fits(picture: Floats, shape: tuple[int, ...]) -> bool:
    """Whether a picture is about as long and wide as others of this shape: otherwise it shows another part."""
    one, other = (side[0] / side[1] for side in (picture.shape, shape))
    return bool(abs(np.log(one / other)) <= STRETCHED)


def _of_shape(picture: Floats, shape: tuple[int, ...]) -> Floats:
    return picture if picture.shape == shape else _even(resize(picture, shape, order=1))  # type: ignore[no-untyped-call]
