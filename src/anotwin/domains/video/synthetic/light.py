"""The light of a moment, and the noise of the camera: functions of the seed and the time alone."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from anotwin.domains.video.synthetic.drawing import Floats, generator
from anotwin.domains.video.synthetic.scene import Scene

NOISE = 1.5  # grey levels, standard deviation; UCSD Ped2 has 1.0 to 1.5
_DRIFT = ((60.0, 0.012), (210.0, 0.025), (700.0, 0.04))  # seconds of a wave of the light, its share
_SKY = 40.0  # seconds in which one cloud at most begins to pass
_CLOUDY = 0.5  # how often one does


def brightness(seed: int, second: float) -> float:
    """Of the sky: 1 on average, a few per cent more or less within minutes."""
    phases = _phases(seed)
    return 1 + sum(
        share * math.sin(2 * math.pi * second / period + phase)
        for (period, share), phase in zip(_DRIFT, phases, strict=True)
    )


def wind(seed: int, second: float) -> float:
    """Pixels that leaves are moved by."""
    first, second_phase, third = _phases(seed)
    gust = 0.5 + 0.5 * math.sin(0.31 * second + third)
    return 0.45 * gust * (math.sin(2.9 * second + first) + 0.6 * math.sin(5.3 * second + second_phase))


def cloud(seed: int, second: float, size: tuple[int, int]) -> Floats | None:
    """(H, W) the share of light that a cloud takes away, 0 to about 0.25; None: there is none."""
    now = int(second // _SKY)
    passing = [found for slot in (now - 1, now) if (found := _pass(seed, slot)) and found[0] <= second < found[1]]
    if not passing:
        return None
    x = np.arange(size[1], dtype=np.float32) / size[1]
    y = np.arange(size[0], dtype=np.float32)[:, None] / size[0]
    covered = np.zeros(size, np.float32)
    for start, end, depth, along, across in passing:
        low = min(0.0, along) + min(0.0, across)  # the picture reaches from `low` to `low + 1` in its direction
        middle = low - 1.7 + 3.4 * (second - start) / (end - start)
        inside = 1 - np.abs(along * x + across * y - middle) / 0.7  # above 0 in the cloud
        np.clip(inside * 1.8, 0, 1, out=inside)
        np.maximum(covered, depth * inside * inside * (3 - 2 * inside), out=covered)
    return covered


def exposed(canvas: Floats, scene: Scene, gain: float, covered: Floats | None, seed: int, frame: int) -> Floats:
    """What the sensor makes of `canvas` (H, W), which is used up: 8-bit grey levels, still as floats."""
    canvas *= scene.dimming
    canvas *= gain
    if covered is not None:
        canvas *= 1 - covered
    rows, columns = canvas.shape
    noise = generator(seed, "noise", frame).standard_normal((rows, columns + 1), np.float32)
    noise *= NOISE / 1.25**0.5
    canvas += noise[:, 1:]
    noise *= 0.5  # neighbours share some of it, as after a lens and a codec
    canvas += noise[:, :-1]
    canvas += 0.5
    np.clip(canvas, 0, 255, out=canvas)
    return canvas


@lru_cache(maxsize=16)
def _phases(seed: int) -> tuple[float, float, float]:
    first, second, third = generator(seed, "light").uniform(0, 2 * math.pi, 3)
    return float(first), float(second), float(third)


@lru_cache(maxsize=16)
def _pass(seed: int, slot: int) -> tuple[float, float, float, float, float] | None:
    """Of the cloud of a slot: its first and last second, its depth, its direction."""
    rng = generator(seed, "cloud", slot)
    if rng.random() > _CLOUDY:
        return None
    start = (slot + rng.random()) * _SKY
    angle = rng.uniform(0, 2 * math.pi)
    along, across = math.cos(angle), math.sin(angle)
    total = abs(along) + abs(across)
    return start, start + rng.uniform(5, 12), rng.uniform(0.08, 0.25), along / total, across / total
