"""Synthetic surveillance of a walkway: a fixed camera, people with gait, shadows and changing light, and intruders.

Everything is normal but the intruder: a bicycle, a cart, a runner, a bag that is left behind, somebody who goes the
wrong way (against those of that side, or across the lawn), a skater. Masks are exact: a pixel is the intruder's where
at least a quarter of its light comes from it, so that what others hide of it is not. The numbers of walkers, light and
noise do not depend on the intruder: footage with and without it differs nowhere but there and in its shadow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from anotwin.domains.video.synthetic.drawing import Box, Floats, Mask, Sprite, cast, hide, meeting, paint
from anotwin.domains.video.synthetic.intruders import KINDS, Visit, least_frames, visit
from anotwin.domains.video.synthetic.light import brightness, cloud, exposed, wind
from anotwin.domains.video.synthetic.walkers import Body, Footage, walkers_at
from anotwin.errors import SettingsError, did_you_mean

__all__ = ["KINDS", "Shot", "Track", "Walkway", "least_frames", "stream", "walkway"]

SEEN = 0.25  # share of a pixel from which on it is the intruder's
_WHOLE = 0.9  # share of its pixels from which on it is seen whole
_LEAST_SIZE, _MOST_SIZE, _MOST_DENSITY = 64, 4096, 200.0


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame of footage and its truth."""

    frame: npt.NDArray[np.uint8]  # (H, W)
    mask: Mask  # (H, W) True where the intruder is seen
    visit: int | None  # number of the intruder that is there; None: there is none
    kind: str | None  # of that intruder
    box: Box | None  # top, left, bottom, right of the mask, the last two excluded; None: it is not seen
    whole: bool  # nine tenths of the intruder are seen: it is in the picture and hardly hidden


@dataclass(frozen=True)
class Track:
    """One intruder through a clip."""

    kind: str
    first: int  # frame in which it is seen first
    boxes: tuple[Box | None, ...]  # of the frames from `first` on, to the last in which it is seen; None: it is hidden
    fully_visible_from: int | None  # first frame that shows nine tenths of it; None: no frame does


@dataclass(frozen=True, eq=False)
class Walkway:
    """A clip and its truth."""

    frames: npt.NDArray[np.uint8]  # (T, H, W)
    masks: Mask  # (T, H, W) True where an intruder is seen
    tracks: tuple[Track, ...]
    rate: float  # frames a second


def walkway(
    seed: int,
    frames: int,
    intruder: str | None = None,
    *,
    size: tuple[int, int] = (240, 360),
    rate: float = 10.0,
    density: float = 10.0,
    place: int = 0,
) -> Walkway:
    """A clip with one intruder, or without one; frames are normal before it comes and after it has gone.

    >>> clip = walkway(0, 40, "bag", size=(120, 180))
    >>> clip.frames.shape, clip.frames.dtype, clip.tracks[0].kind, bool(clip.masks[[0, -1]].any())
    ((40, 120, 180), dtype('uint8'), 'bag', False)

    Args:
        seed: of what happens: who comes, light, noise, the intruder.
        frames: at least 1; with an intruder so many that it can come and go, at 10 a second 40 to 200.
        intruder: one of `KINDS`; None: all is normal.
        size: rows and columns of the picture, 64 to 4096.
        rate: frames a second, 1 to 120.
        density: people in view, on average; 0 to 200.
        place: what the camera looks at: ground, posts, light, and how people dress there.

    Raises:
        SettingsError: an argument that is not possible, or too few frames for the intruder.
    """
    shots = stream(seed, intruder, frames, size=size, rate=rate, density=density, place=place, every=frames)
    pixels = np.empty((frames, *size), np.uint8)
    masks = np.empty(pixels.shape, bool)
    tracks: dict[int, Track] = {}
    for index, shot in enumerate(shots):
        pixels[index], masks[index] = shot.frame, shot.mask
        follow(tracks, index, shot)
    return Walkway(pixels, masks, tuple(tracks.values()), rate)


def stream(
    seed: int,
    intruder: str | Sequence[str] | None = None,
    frames: int | None = None,
    *,
    size: tuple[int, int] = (240, 360),
    rate: float = 10.0,
    density: float = 10.0,
    place: int = 0,
    every: int = 600,
) -> Iterator[Shot]:
    """Footage of any length, frame by frame, in constant memory; arguments and errors are those of `walkway`.

    >>> [shot.kind for shot in stream(0, None, 2, size=(64, 96))]
    [None, None]

    Args:
        intruder: several kinds come in turn.
        frames: None: without end.
        every: frames in which one intruder comes and goes, from the beginning on.
    """
    kinds = () if intruder is None else (intruder,) if isinstance(intruder, str) else tuple(intruder)
    footage = Footage(seed, place, size, rate, density)
    _check(footage, kinds, frames, every)
    return _shots(footage, kinds, frames, every)


def follow(tracks: dict[int, Track], index: int, shot: Shot) -> None:
    """Add frame `index` to the tracks so far, by the number of the visit; frames come in their order."""
    if shot.visit is None or shot.kind is None or shot.box is None:
        return
    track = tracks.get(shot.visit, Track(shot.kind, index, (), None))
    hidden = index - track.first - len(track.boxes)
    whole = index if shot.whole and track.fully_visible_from is None else track.fully_visible_from
    tracks[shot.visit] = replace(track, boxes=(*track.boxes, *[None] * hidden, shot.box), fully_visible_from=whole)


def _shots(footage: Footage, kinds: Sequence[str], frames: int | None, every: int) -> Iterator[Shot]:
    present: Visit | None = None
    for index in count() if frames is None else range(frames):
        number = index // every
        if kinds and index % every == 0:
            present = visit(footage, kinds[number % len(kinds)], index, every)
        if present is None or not present.first <= index < present.end:
            frame, _ = _drawn(footage, index, None)
            yield Shot(frame, np.zeros(footage.size, bool), None, None, None, False)
            continue
        body = present.body(footage, index)
        silhouette = int((body.sprite.alpha >= SEEN).sum())  # before others hide some of it
        frame, share = _drawn(footage, index, body)
        mask, box = _seen(share, footage.size)
        yield Shot(frame, mask, number, present.kind, box, bool(mask.sum() >= _WHOLE * silhouette))


def _drawn(footage: Footage, index: int, intruder: Body | None) -> tuple[npt.NDArray[np.uint8], Sprite | None]:
    """One frame, and how much of its pixels an intruder takes: a sprite without what hides it."""
    place, second = footage.scene, index / footage.rate
    covered = cloud(footage.seed, second, footage.size)
    bodies = [walker.body(place, index) for walker in walkers_at(footage, index)]
    bodies += [intruder] if intruder is not None else []
    canvas = place.leaves * np.float32(wind(footage.seed, second))
    canvas += place.ground
    canvas *= _shade(footage, bodies, covered)
    share: Sprite | None = None
    standing = [Body(row, sprite) for row, sprite in place.standing]
    for body in sorted([*bodies, *standing], key=lambda each: each.row):
        paint(canvas, body.sprite)
        if share is not None:
            hide(share, body.sprite)
        if body is intruder:
            share = body.sprite._replace(alpha=body.sprite.alpha.copy())
    gain = brightness(footage.seed, second)
    return exposed(canvas, place, gain, covered, footage.seed, index).astype(np.uint8), share


def _shade(footage: Footage, bodies: Sequence[Body], covered: Floats | None) -> Floats:
    """(H, W) the light that reaches the ground: below a cloud shadows are faint."""
    place, shade = footage.scene, np.ones(footage.size, np.float32)
    height, width = footage.size
    for row, sprite in bodies:
        strength = place.sunlight
        if covered is not None:
            middle = sprite.left + sprite.alpha.shape[1] // 2
            strength *= 1 - 3 * float(covered[min(max(int(row), 0), height - 1), min(max(middle, 0), width - 1)])
        cast(shade, sprite, row, place.sun, strength)
    return shade


def _seen(share: Sprite | None, size: tuple[int, int]) -> tuple[Mask, Box | None]:
    """The mask of an intruder, and its box."""
    mask = np.zeros(size, bool)
    both = meeting(share, 0, 0, size) if share is not None else None
    if share is None or both is None:
        return mask, None
    inside = share.alpha[both[1]] >= SEEN
    mask[both[0]] = inside
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return mask, None
    top, left = both[0][0].start, both[0][1].start
    return mask, (
        int(top + rows[0]),
        int(left + columns[0]),
        int(top + rows[-1] + 1),
        int(left + columns[-1] + 1),
    )


def _check(footage: Footage, kinds: Sequence[str], frames: int | None, every: int) -> None:
    for kind in kinds:
        if kind not in KINDS:
            known = f", expected one of {', '.join(KINDS)}"
            raise SettingsError(f"synthetic walkway: intruder {kind!r}{known}{did_you_mean(str(kind), KINDS)}")
    for given, what in ((frames, "frames"), (every, "frames for one intruder")):
        if given is not None and given < 1:
            raise SettingsError(f"synthetic walkway: {given} {what}, expected at least 1")
    if len(footage.size) != 2 or not all(_LEAST_SIZE <= side <= _MOST_SIZE for side in footage.size):
        raise SettingsError(
            f"synthetic walkway: size {footage.size}, expected rows and columns of {_LEAST_SIZE} to {_MOST_SIZE} pixels"
        )
    if not 1 <= footage.rate <= 120:  # NaN too
        raise SettingsError(f"synthetic walkway: {footage.rate} frames a second, expected 1 to 120")
    if not 0 <= footage.density <= _MOST_DENSITY:
        raise SettingsError(
            f"synthetic walkway: {footage.density} people in view, expected 0 to {_MOST_DENSITY:.0f} on average"
        )
    for kind in kinds:
        least = least_frames(footage, kind)
        if every < least:
            raise SettingsError(
                f"synthetic walkway: {every} frames for a visit of kind {kind!r}, expected at least {least} at "
                f"{footage.rate:g} frames a second: it has to come and go; ask for more frames"
            )
