"""Intruders planted into a few frames of a clip: what a network learns to spot that has never seen one.

    piece      of some clip, around something that moves there, with its own motion; larger, smaller, stretched or
               upside down, and on its way somewhere
    shape      a blob or a ring of some tone and texture, on its way or still
    fast       somebody of some clip, about where he was, who goes two or three times as far in each frame
    backwards  what moves somewhere in the clip, in the reversed order of time

They were there before: an intruder leaves the same trail in earlier frames as a walker. Some came a second ago or two.

Pseudo-anomalies in time: STEAL Net (Astrid et al. 2021, "Synthetic temporal anomaly guided end-to-end video anomaly
detection"); pieces as CutPaste (Li et al. 2021, 2104.04015) has them in single images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.ndimage import binary_dilation, binary_erosion, gaussian_filter, shift

from anotwin.compare.motion import velocity
from anotwin.defects.shapes import Alpha, Rng, blob

Frames = npt.NDArray[np.float32]  # (T, C, h, w) in [-1, 1], the last is the one that is judged
Times = Sequence[int]  # (T,) of the frames, rising; 0: the last
Mask = npt.NDArray[np.bool_]
Place = npt.NDArray[np.float64]  # (2,) pixels, down and right

KINDS = {"piece": 0.35, "shape": 0.25, "fast": 0.2, "backwards": 0.2}  # how often each is planted
SPOILED, MOST = 0.8, 3  # of the clips; intruders in one
NEAR = 8  # frames: what is as near to the last one shows motion
SMALL, LARGE = 1 / 21, 1 / 3.2  # diameters, in sides of the frame: a child far off, a cart
LARGEST = 0.5  # of the side: nothing is larger
FAST, UP = 1 / 36, 0.6  # sides a frame, at most; of it up and down: cameras look along the ground
FASTER = 1.8, 3.2  # times his own speed
WALKS = 0.3  # pixels a frame: slower ones stand, and twice nothing is nothing
FLOWS = 16  # pixels: no optical flow is found in smaller frames
BODY = (0.1, 0.25), (0.06, 0.16)  # height and width of who is made faster, in sides of the frame
ASIDE = 0.03, 0.12  # of the side: how far from his place, up and along
STILL, NEW = 0.2, 0.3  # of pieces and shapes stay where they are; were not there yet some seconds ago
SLOW = 1 / 128  # sides a frame: pieces that go no faster than that and have nearly their own size are enlarged
SEEN, MOVES = 0.05, 0.1  # differences of pixels in [-1, 1]: what can be seen, and what a step makes, above noise
SCALES = -0.6, 1.0  # of pieces, logarithms
ALIKE, ENLARGED = 0.3, 1.7


def intrude(
    clips: npt.NDArray[np.float32], rng: Rng, times: Times | None = None
) -> tuple[npt.NDArray[np.float32], Mask]:
    """Clips (B, T, C, S, S) in [-1, 1] -> the same with intruders, and where these are in the last frames (B, S, S).

    `times`: of the frames, the last 0; None: they follow each other.

    >>> clips = np.random.default_rng(0).normal(0, 0.1, (4, 5, 1, 64, 64)).astype(np.float32)
    >>> planted, masks = intrude(clips, np.random.default_rng(1))
    >>> bool((planted[:, -1, 0] == clips[:, -1, 0])[~masks].mean() > 0.9), bool(masks.any())
    (True, True)
    """
    times = range(1 - clips.shape[1], 1) if times is None else times
    near = sum(time > -NEAR for time in times)  # those that follow each other
    planted, masks = clips.copy(), np.zeros((len(clips), *clips.shape[3:]), bool)
    kinds, chances = list(KINDS), list(KINDS.values())
    for clip, mask in zip(planted, masks, strict=True):
        if rng.random() >= SPOILED:
            continue
        drawn = rng.choice(kinds, int(rng.integers(1, MOST + 1)), p=chances).tolist()
        for kind in sorted(drawn, key="backwards".__ne__):  # first what is of the clip itself
            before = clip[-1].copy()
            if kind == "backwards":
                where = _turn_back(clip[-near:], rng)
            else:
                other = clips[int(rng.integers(len(clips)))][-near:]
                intruder = _somebody_faster(other, rng) if kind == "fast" else _stranger(other, kind, times, rng)
                where = _put(clip, times, intruder) if intruder else np.zeros_like(mask)
            changed = np.abs(clip[-1] - before).max(0) > SEEN
            mask &= where | ~changed  # what another one hides is not to be seen
            mask |= where & changed
    return planted, masks


class Intruder(NamedTuple):
    """Something on its way."""

    frames: Frames  # (T', C, h, w) of the last T' of the clip's; before them it looks as in the first
    alpha: Alpha  # (h, w) its soft mask
    end: Place  # of its upper left corner in the last frame
    way: Place  # a frame, beside that which it has in `frames`
    own: Place  # a frame, in `frames`, as far as it is known: before them it went on like that
    since: float  # the time from which on it is there


def _turn_back(clip: Frames, rng: Rng) -> Mask:
    """Reverse the time of a part that moves, in place; where it moves then."""
    side, moves = clip.shape[-1], _moving(clip)
    around = _around(moves, rng)
    if around is None:
        return moves
    alpha = blob(moves.shape, max(0.12 * side, _diameter(side, rng)), rng, rim=3.0)
    middle = np.argwhere(alpha > 0.5).mean(0) if (alpha > 0.5).any() else np.array(alpha.shape) / 2
    alpha = shift(alpha, np.rint(around - middle), order=0)  # nothing comes in at the border
    clip += alpha * (clip[::-1] - clip)
    turned: Mask = binary_dilation(_moving(clip), iterations=2) & (alpha > 0.5)
    return turned


def _put(clip: Frames, times: Times, intruder: Intruder) -> Mask:
    """Put an intruder into the frames, in place; where it is in the last."""
    side, size = clip.shape[-1], np.array(intruder.alpha.shape)
    found = np.zeros(clip.shape[2:], bool)
    for number, (frame, time) in enumerate(zip(clip, times, strict=True)):
        earlier = min(0, time - times[-min(len(intruder.frames), len(times))])
        first = np.rint(intruder.end + time * intruder.way + earlier * intruder.own).astype(int)
        low, high = np.maximum(first, 0), np.minimum(first + size, side)
        if time < intruder.since or (low >= high).any():
            continue
        rows, columns = (slice(a, b) for a, b in zip(low, high, strict=True))
        own = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
        now = intruder.frames[max(number - len(times), -len(intruder.frames))]
        alpha = intruder.alpha[own]
        frame[:, rows, columns] += alpha * (now[:, own[0], own[1]] - frame[:, rows, columns])
        if time == 0:
            found[rows, columns] = alpha > 0.4
    return found


def _stranger(other: Frames, kind: str, times: Times, rng: Rng) -> Intruder:
    """A piece of the other clip, or a shape, on its way somewhere."""
    side = other.shape[-1]
    still, new = rng.random() < STILL, rng.random() < NEW
    angle, speed = rng.uniform(0, 2 * math.pi), 0.0 if still else rng.uniform(0, FAST) * side
    way = speed * np.array([UP * math.sin(angle), math.cos(angle)])
    # what stays would be of the background
    since = -rng.uniform(NEAR, max(NEAR, -times[0])) if still or new else -math.inf
    diameter = _diameter(side, rng)
    made, alpha = _piece(other, diameter, speed, rng) if kind == "piece" else _shape(other, diameter, rng)
    end = np.array([rng.uniform(-0.3 * k, side - 0.7 * k) for k in alpha.shape])
    return Intruder(made, alpha, end, way, np.zeros(2), since)


def _somebody_faster(other: Frames, rng: Rng) -> Intruder | None:
    """Somebody of the other clip near his place, twice or three times as fast; None: nobody goes there."""
    side, moves = other.shape[-1], _moving(other)
    around = _around(moves, rng)
    if around is None or side < FLOWS:
        return None
    size = np.array([min(max(4, round(side * rng.uniform(*share))), side) for share in BODY])
    first = np.clip(around - size // 2, 0, side - size)
    own = tuple(slice(a, a + k) for a, k in zip(first, size, strict=True))
    flow = velocity(torch.from_numpy(other[-2:-1]), torch.from_numpy(other[-1:]))[0].numpy()[::-1]  # down, right
    way = np.median(flow[:, own[0], own[1]][:, moves[own]], 1).astype(np.float64)  # there is the place it is around
    if math.hypot(*way) < WALKS:
        return None
    down, right = np.ogrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j]
    alpha = np.clip(4 * (1 - down**2 - right**2), 0, 1).astype(np.float32)
    made = other[:, :, own[0], own[1]]
    if rng.random() < 0.5:
        made, way = made[..., ::-1], way * (1, -1)
    end = first + rng.normal(0, side, 2) * ASIDE
    return Intruder(made, alpha, end, way * (rng.uniform(*FASTER) - 1), way, -math.inf)


def _piece(clip: Frames, diameter: float, speed: float, rng: Rng) -> tuple[Frames, Alpha]:
    """Of a clip, around something that moves: every frame of it, and its soft mask (h, w)."""
    side, moves = clip.shape[-1], _moving(clip)
    around = _around(moves, rng)
    middle = rng.integers(0, side, 2) if around is None else around
    size = np.array([min(max(4, round(0.7 * diameter * rng.uniform(low, 1.4))), side) for low in (0.7, 0.5)])
    top, left = np.clip(middle - size // 2, 0, side - size)
    piece = clip[:, :, top : top + size[0], left : left + size[1]]
    scale, stretch = rng.uniform(*SCALES), math.exp(rng.uniform(-0.4, 0.4))
    times = math.exp(scale) * (ENLARGED if abs(scale) < ALIKE and speed < SLOW * side else 1)
    shape = [
        min(max(4, round(k * times * each)), int(LARGEST * side))
        for k, each in zip(size, (stretch, 1 / stretch), strict=True)
    ]
    found = F.interpolate(torch.from_numpy(np.ascontiguousarray(piece)), shape, mode="bilinear").numpy()
    found = found[:, :, ::-1] if rng.random() < 0.3 else found
    if rng.random() < 0.3:  # in another light
        found = (found - found.mean()) * rng.uniform(0.6, 1.5) + found.mean() + rng.normal(0, 0.15)
    alpha = blob((shape[0], shape[1]), 0.95 * min(shape), rng, rim=2.5)
    return np.clip(found, -1, 1).astype(np.float32), alpha


def _shape(clip: Frames, diameter: float, rng: Rng) -> tuple[Frames, Alpha]:
    """Blobs together, or their outline as of a wheel, in one texture that stays: every frame, and the mask (h, w)."""
    side = min(max(4, round(1.4 * diameter)), int(LARGEST * clip.shape[-1]))
    alpha = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        alpha = np.maximum(alpha, blob((side, side), diameter * rng.uniform(0.3, 0.9), rng, rim=rng.uniform(0.7, 2.0)))
    if rng.random() < 0.3:
        alpha = alpha * ~binary_erosion(alpha > 0.5, iterations=int(rng.integers(2, 5)))
    grain = gaussian_filter(rng.normal(size=(side, side)), rng.uniform(0.7, 6.0))
    texture = rng.uniform(0, 0.25) * grain / max(float(grain.std()), 1e-6)
    tone = rng.uniform(-1, 1) + rng.normal(0, 0.2, (clip.shape[1], 1, 1)) * (clip.shape[1] > 1)
    return np.broadcast_to(
        np.clip(tone + texture, -1, 1).astype(np.float32), (len(clip), *clip.shape[1:2], side, side)
    ), alpha


def _moving(clip: Frames) -> Mask:
    """(S, S) what differs from the frame before."""
    moves: Mask = np.abs(clip[-1] - clip[-2]).max(0) > MOVES
    return moves


def _around(moves: Mask, rng: Rng) -> npt.NDArray[np.int64] | None:
    """A place (row, column) of a mask; None: it is empty."""
    places = np.flatnonzero(moves)
    if not len(places):
        return None
    return np.array(np.unravel_index(places[int(rng.integers(len(places)))], moves.shape))


def _diameter(side: int, rng: Rng) -> float:
    return side * math.exp(rng.uniform(math.log(SMALL), math.log(LARGE)))
