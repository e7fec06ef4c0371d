"""Whether a frame shows what the camera showed in training: not black, not covered, not turned elsewhere.

A frame that does not is no event. It is said as such and has no score: a camera that was pushed would raise an alarm at
every place of the picture, and hide the next event.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from anotwin.errors import DataError

SIDE = 64  # pixels of the picture that is compared: walkers are few of it
FINE, AROUND = 2.0, 4.0  # pixels of it: what is wider does not count, and what contrast is measured over
FAINT = 0.05  # of the contrast of the whole picture: places with less than this are noise
DARK, FLAT = 0.02, 0.02  # of the range of pixels: mean and spread of a camera that shows nothing
SHARE = 0.65  # of the least likeness of held-out frames: below it is another scene. Chosen on made-up footage: a crowd
# keeps 0.8 of it, a camera moved by 20 pixels 0.55
ROUND = 10_000  # parts of 1 that a reference knows

Structure = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scene:
    """What the camera shows when nothing happens."""

    picture: Structure  # (SIDE, SIDE) norm 1
    least: float  # likeness of held-out frames, the least
    spread: float  # of their pixels in [0, 1], the least


def structure(square: torch.Tensor) -> Structure:
    """The edges of a frame (C, S, S), small and grey, each as strong as others around it: (SIDE, SIDE), norm 1.

    Neither exposure nor contrast counts, nor shadow and light. Broad areas do not either: sky above ground looks alike
    from cameras that stand elsewhere.
    """
    small = F.interpolate(square.float().mean(0)[None, None], size=(SIDE, SIDE), mode="area")[0, 0].double().numpy()
    fine = small - gaussian_filter(small, FINE, mode="nearest")
    contrast = np.sqrt(gaussian_filter(fine * fine, AROUND, mode="nearest"))
    found: Structure = fine / (contrast + FAINT * fine.std() + 1e-9)
    return found / max(float(np.linalg.norm(found)), 1e-9)


def spread_of(square: torch.Tensor) -> float:
    """Standard deviation of the pixels of a frame (C, S, S), in [0, 1]."""
    return float(square.float().std(correction=0)) / 2


def scene_of(squares: Iterable[torch.Tensor]) -> Scene | None:
    """The scene that held-out normal frames show; None without any."""
    frames = [(structure(each), spread_of(each)) for each in squares]
    if not frames:
        return None
    middle = np.median([small for small, _ in frames], axis=0)
    picture = middle / max(float(np.linalg.norm(middle)), 1e-9)
    least = min(float((small * picture).sum()) for small, _ in frames)
    return Scene(picture, least, min(spread for _, spread in frames))


def what_is_wrong(square: torch.Tensor, scene: Scene | None) -> str:
    """Why a frame (C, S, S) cannot be judged, for a sentence; "": nothing.

    >>> what_is_wrong(torch.full((1, 64, 64), -1.0), None)
    'the camera shows nothing: the frame is black'
    """
    spread = spread_of(square)
    if spread < min(FLAT, 0.5 * scene.spread if scene else FLAT):
        dark = float(square.float().mean()) < -1 + 2 * DARK
        return f"the camera shows nothing: the frame is {'black' if dark else 'of one colour'}"
    if scene is None:
        return ""
    likeness = float((structure(square) * scene.picture).sum())
    if likeness < scene.least - (1 - SHARE) * abs(scene.least):
        return (
            f"not what the camera showed in training (likeness {likeness:.2f}, at least {scene.least:.2f} in held-out "
            "clips): it was moved or covered, or is another camera; train a model for this view"
        )
    return ""


def stored(scene: Scene | None) -> dict[str, Any]:
    """A scene as JSON."""
    if scene is None:
        return {}
    picture = np.rint(scene.picture * ROUND).astype(int).ravel().tolist()
    return {"edges": picture, "least": round(scene.least, 5), "spread": round(scene.spread, 5)}


def restored(reference: Mapping[str, Any]) -> Scene | None:
    """From JSON, None where there is none; raises DataError for what is not a scene."""
    if "edges" not in reference:
        return None
    try:
        picture = np.array(reference["edges"], np.float64).reshape(SIDE, SIDE) / ROUND
        scene = Scene(picture, float(reference["least"]), float(reference["spread"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        scene = Scene(np.full((SIDE, SIDE), np.nan), 0.0, 0.0)
    if not (np.isfinite(scene.picture).all() and np.isfinite([scene.least, scene.spread]).all()):
        raise DataError("the model's reference of training clips is not one of this view; train it again")
    return scene
