"""Made-up screws: parts that lie anyhow on a ground, lit from one side, with a thread that begins elsewhere in each.

Nothing of it is an image of somebody else's. A screw is drawn in coordinates of its own, u along it from the head to
the tip and v across, so that its outline, its shading and what is wrong with it are known exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

SIDE = 768  # pixels of a picture
LENGTH, HEAD, NECK, THREAD = 560.0, 90.0, 215.0, 520.0  # pixels: the screw, and where its head, neck and thread end
WIDE, NARROW, BODY, DEEP, PITCH = 66.0, 28.0, 26.0, 14.4, 24.0  # half of the head and the neck; the thread
AWAY = 25.0  # pixels that its middle is off that of the picture, at most
SEEN = 12.0  # grey levels: a defect that changes less is not one
LEAST = 30  # pixels of a defect, or another one is drawn
KINDS = ("thread side", "thread top", "scratch neck", "scratch head", "tip")
Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Defect:
    """What is wrong with a screw; lengths in pixels."""

    kind: str
    size: float
    at: float  # along the screw
    beside: float  # across it
    turn: float  # of a scratch, radians
    strength: float  # grey levels, or the share of the thread that is left
    side: float  # -1 or 1


@dataclass(frozen=True)
class Screw:
    """How one lies, and how it is lit."""

    angle: float  # radians
    down: float  # of its middle
    across: float
    phase: float  # of its thread, 0 to 1
    defect: Defect | None = None


def pictures(count: int, rng: np.random.Generator) -> Iterator[Pixels]:
    """Normal ones."""
    return (_picture(_screw(rng), rng)[0] for _ in range(count))


def damaged(kind: str, rng: np.random.Generator) -> tuple[Pixels, Bools]:
    """A picture of one with a defect of 10 to 50 pixels, and where it is to be seen."""
    while True:
        screw = _screw(rng)
        pixels, mask = _picture(replace(screw, defect=_defect(kind, rng)), rng)
        if mask.sum() >= LEAST:
            return pixels, mask


def _screw(rng: np.random.Generator) -> Screw:
    down, across = SIDE / 2 + rng.uniform(-AWAY, AWAY, 2)
    return Screw(rng.uniform(0, 2 * np.pi), down, across, rng.uniform())


def _defect(kind: str, rng: np.random.Generator) -> Defect:
    along = {"scratch neck": (105, 200), "scratch head": (12, 70)}.get(kind, (240, 500))
    across = {"scratch neck": 15.0, "scratch head": 30.0}.get(kind, 12.0)
    left = kind == "thread side"  # a share of the thread, where the others change grey levels
    return Defect(
        kind,
        size=float(np.exp(rng.uniform(np.log(10), np.log(50)))),
        at=rng.uniform(*along),
        beside=rng.uniform(-across, across),
        turn=rng.uniform(0, np.pi),
        strength=rng.uniform(0, 0.35) if left else rng.uniform(40, 80),
        side=float(rng.choice([-1, 1])),
    )


def _picture(screw: Screw, rng: np.random.Generator) -> tuple[Pixels, Bools]:
    """The picture (768, 768), and where it differs from that of the same screw without its defect."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    right, below = columns - screw.across, rows - screw.down
    cosine, sine = np.cos(screw.angle), np.sin(screw.angle)
    u, v = right * cosine + below * sine + LENGTH / 2, below * cosine - right * sine
    metal, inside = _drawn(u, v, screw)
    sound, whole = _drawn(u, v, replace(screw, defect=None))
    mask: Bools = (inside & whole & (abs(metal - sound) > SEEN)) | (inside != whole)
    shadow = np.roll(gaussian_filter(inside.astype(np.float64), 9), (10, 7), (0, 1))
    slope = rng.uniform(-15, 15, 2)
    ground = 205 + slope[0] * (columns / SIDE - 0.5) + slope[1] * (rows / SIDE - 0.5) - 55 * shadow
    seen = gaussian_filter(np.where(inside, metal, ground), 0.8) * rng.uniform(0.95, 1.05) + rng.uniform(-5, 5)
    seen += rng.normal(0, 3, seen.shape) + gaussian_filter(rng.normal(0, 12, seen.shape), 2)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8), mask


def _damaged(u: Floats, v: Floats, defect: Defect) -> tuple[Floats, Floats, Floats]:
    """The share of the thread that is left, by how many grey levels the metal is brighter, and v of what is bent."""
    left, spot = np.ones_like(u), np.zeros_like(u)
    if defect.kind == "thread side":
        left[(abs(u - defect.at) < defect.size / 2 + 6) & (defect.side * v > 0)] = defect.strength
    elif defect.kind == "thread top":
        far = np.hypot(u - defect.at, 1.2 * (v - defect.beside))
        spot = defect.side * defect.strength * np.clip(1.4 - 2 * far / defect.size, 0, 1)
    elif defect.kind == "tip":
        v = v - defect.side * 0.35 * defect.size * (np.maximum(u - THREAD, 0) / (LENGTH - THREAD)) ** 1.5
    else:  # a scratch
        along = np.cos(defect.turn) * (u - defect.at) + np.sin(defect.turn) * (v - defect.beside)
        beside = np.cos(defect.turn) * (v - defect.beside) - np.sin(defect.turn) * (u - defect.at)
        spot = defect.side * defect.strength * np.exp(-((beside / 1.8) ** 2)) * (abs(along) < defect.size / 2)
    return left, spot, v


def _drawn(u: Floats, v: Floats, screw: Screw) -> tuple[Floats, Bools]:
    """Grey levels of the metal, and where it is."""
    left, spot = np.ones_like(u), np.zeros_like(u)
    if screw.defect is not None:
        left, spot, v = _damaged(u, v, screw.defect)
    thread, tip = (u >= NECK) & (u < THREAD), u >= THREAD
    tooth = 2 * abs(((u + 0.18 * v) / PITCH + screw.phase) % 1 - 0.5)
    half = np.where(u < HEAD, WIDE - (WIDE - NARROW) * np.clip(u / HEAD, 0, 1), NARROW)
    half = np.where(thread, BODY + DEEP * left * tooth, half)
    half = np.where(tip, 30 * np.clip((LENGTH - u) / (LENGTH - THREAD), 0, 1), half)
    inside: Bools = (abs(v) <= half) & (u >= 0) & (u <= LENGTH)
    lamp = 0.5 * np.sin(screw.angle - 0.8)  # where it is mirrored: it stands still while the screw is turned
    x = np.clip(v / np.maximum(half, 1e-6), -1, 1)
    grey = 70 + 90 * np.sqrt(1 - x * x) * (0.75 - 0.5 * lamp * x) + 50 * np.exp(-(((x - lamp) / 0.18) ** 2))
    grey = grey - np.where(thread, 55 * (1 - tooth) * left, 0) + np.where(u < 14, 25, 0)
    grey = grey - np.where((u > HEAD - 6) & (u < HEAD + 2), 40, 0) + spot
    return np.clip(grey, 5, 250), inside
