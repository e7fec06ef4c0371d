"""What a model keeps of training images to compare the same place of others with; see golden.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter, maximum_filter

from anotwin.compare.same_place import distance_there
from anotwin.domains.surfaces.golden import (
    OWN,
    Bools,
    Floats,
    Golden,
    Others,
    Steps,
    Units,
    Wide,
    exactly,
    in_steps,
    laid,
    mean_of,
    shown,
)
from anotwin.domains.surfaces.levels import TERMS, Usual, not_of_this_view, pool_levels, short, spread_of
from anotwin.domains.surfaces.places import Placed, Places, Shown
from anotwin.prepare.registration import Pose
from anotwin.records import Scores

FEWEST = 8  # training images, or nobody knows how parts differ; and groups of them
KNOWN = 4  # held-out normals, or their units say nothing
LOWEST = 32  # pixels of the shorter side of a picture
MEASURED = 40  # training images, each compared with those of other groups, tell how far normal ones are
LOOSE, WIDTH = 5, 2.0  # pixels: usual is what is usual beside it too, smoothed
FLOOR = 0.2  # of the mean over all places: where all are alike to the bit nothing is known of noise
LEAST = 0.1  # of what is usual: a unit of heat, so that where all are alike nothing is hot
EXPLAINED = 0.5  # of what they show others show as well, or it is a texture: no two are alike in its grain
PARTS = {"pictures", "of", "usual", "heat", "tiles", "units", "without"}  # of what is kept
ROUNDS = 2  # of laying them on their mean


class Held(NamedTuple):
    """A held-out normal."""

    shown: Shown
    placed: Placed
    highest: Scores[list[float]]  # of each of its levels the highest tile
    usual: Sequence[Usual]  # the units of these, to which it has added nothing


def stored_golden(training: Sequence[tuple[Shown, Placed]], heldout: Sequence[Held], places: Places) -> dict[str, Any]:
    """A part of the reference, of training and (n,) held-out normals; {} where too few lie alike, or agree."""
    kept = [(each.wide, placed.pose, each) for each, placed in training if each.wide is not None and placed.fits]
    fit = [each.shown.wide is not None and each.placed.fits for each in heldout]
    groups = [each.group for _, _, each in kept]
    if len(set(groups)) < FEWEST or sum(fit) < KNOWN:
        return {}
    # even: a turn depends on the aspect ratio, and how parts lie is seen at half the size
    height, width = (2 * int(side / 2) for side in np.median([wide.pixels.shape[1:] for wide, _, _ in kept], axis=0))
    if min(height, width) < LOWEST:
        return {}
    shape, turn = (height, width), places.registration == "turn"
    poses = [pose for _, pose, _ in kept]
    wides = [wide for wide, _, _ in kept]
    pictures = _laid(wides, poses, shape)
    for _ in range(ROUNDS):  # each is laid on the mean of all as they lay before
        mean = mean_of(pictures)
        poses = [exactly(wide, pose, mean, turn) for wide, pose in zip(wides, poses, strict=True)]
        pictures = _laid(wides, poses, shape)
    far = _far(pictures, [shown(wide, pose, shape) for wide, pose in zip(wides, poses, strict=True)], groups)
    if _explained(pictures, far) < EXPLAINED:
        return {}
    golden = Golden(pictures, _usual(far), turn)
    farthest, heats = [], []
    for each, fits in zip(heldout, fit, strict=True):
        beside = golden.beside(each.shown.wide, each.placed.pose) if fits and each.shown.wide else None
        farthest.append(np.nan if beside is None else beside.farthest)
        heats.append(np.nan if beside is None else max(float(beside.far.max()) - 1, 0.0))
    scores = {OWN: farthest} | {term: [_pooled(each, term) for each in heldout] for term in TERMS}
    names = np.array([each.shown.group for each in heldout])
    units = [each.heat for each in heldout[0].usual]
    tiles = [
        max(
            heat
            for k, heat in enumerate(each.placed.highest_heat(each.shown, units))
            if k == 0 or not golden.sees(each.shown.sides[k])
        )
        for each in heldout
    ]
    return {
        "golden": {
            "pictures": torch.from_numpy(pictures),
            "of": [str(each.fingerprint) for _, _, each in kept],
            "usual": torch.from_numpy(golden.usual),
            "heat": short(max(float(np.nanmedian(heats)), LEAST)),
            "tiles": short(max(float(np.median(tiles)), LEAST)),
            "units": _units(scores, np.ones(len(names), bool)),
            "without": [[value for pair in _units(scores, names != name).values() for value in pair] for name in names],
        }
    }


def golden_of(reference: Mapping[str, Any]) -> Golden | None:
    """What `stored_golden` made, None without it; DataError where it is something else."""
    if "golden" not in reference:
        return None
    try:
        found = reference["golden"]
        pictures, usual = found["pictures"].numpy(), found["usual"].numpy()
        turn, of = reference["places"]["registration"] == "turn", tuple(int(name) for name in found["of"])
        heat, tiles = float(found["heat"]), float(found["tiles"])
        golden = Golden(pictures, usual, turn, of, heat, tiles, _restored(found["units"]))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise not_of_this_view() from error
    if set(found) != PARTS:
        raise not_of_this_view()
    known = pictures.dtype == np.int8 and usual.dtype == np.float32 and pictures.ndim == 4 and len(pictures) == len(of)
    fits = known and pictures.shape[2:] == usual.shape and min(pictures.shape) > 0 and min(usual.shape) >= LOWEST
    if not fits or not (heat > 0 and tiles > 0 and (usual > 0).all()):
        raise not_of_this_view()
    return golden


def golden_without(reference: Mapping[str, Any]) -> dict[int, Units]:
    """The units of each normal that they were made of, by its fingerprint; DataError as `golden_of`."""
    if "golden" not in reference:
        return {}
    try:
        names, found = [int(name) for name in reference["without"]["of"]], reference["golden"]["without"]
        units = [dict(zip((OWN, *TERMS), zip(each[::2], each[1::2], strict=True), strict=True)) for each in found]
        return dict(zip(names, map(_restored, units), strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise not_of_this_view() from error


def _laid(wides: Sequence[Wide], poses: Sequence[Pose], shape: tuple[int, int]) -> Steps:
    return np.stack([in_steps(laid(wide, pose, shape)) for wide, pose in zip(wides, poses, strict=True)])


def _far(pictures: Steps, inside: Sequence[Bools], groups: Sequence[str]) -> Floats:
    """How far some pictures (N, C, h, w) are from those of other groups at each place, (h, w): root mean square."""
    names = np.array(groups)
    total, count = np.zeros(pictures.shape[2:]), np.zeros(pictures.shape[2:])
    for number in range(0, len(pictures), -(-len(pictures) // MEASURED)):
        others = Others(pictures[names != names[number]])
        total += np.where(inside[number], distance_there(Others(pictures)[number], others) ** 2, 0)
        count += inside[number]
    far: Floats = np.sqrt(total / np.maximum(count, 1)).astype(np.float32)
    return far


def _explained(pictures: Steps, far: Floats) -> float:
    """The share of what pictures show that others show at the same place; 0 of flat ones."""
    shown = float(np.mean([np.square(each).mean() for each in Others(pictures)]))
    return 1 - float(np.square(far).mean()) / shown if shown > 0 else 0.0


def _usual(far: Floats) -> Floats:
    """Units > 0 (h, w): what is usual there and beside it."""
    wide = gaussian_filter(maximum_filter(far, LOOSE), WIDTH)
    usual: Floats = np.maximum(wide, max(FLOOR * float(wide.mean()), 1e-3)).astype(np.float32)
    return usual


def _pooled(held: Held, term: str) -> float:
    """What the tiles make of a term."""
    values = getattr(held.highest, term)
    count = min(len(values), len(held.usual))
    return pool_levels(values[:count], [each.of(term) for each in held.usual[:count]])


def _units(scores: Mapping[str, Sequence[float]], some: Bools) -> dict[str, list[float]]:
    """The median and spread of each, of `some` normals (n,), or of all where these are none."""
    return {name: [short(value) for value in _spread(np.array(values), some)] for name, values in scores.items()}


def _spread(values: npt.NDArray[np.float64], some: Bools) -> tuple[float, float]:
    known = ~np.isnan(values)
    return spread_of(values[known & some] if (known & some).sum() >= KNOWN - 1 else values[known])


def _restored(units: Mapping[str, Sequence[float]]) -> Units:
    """ValueError or KeyError where they are not units."""
    found = {name: (float(units[name][0]), float(units[name][1])) for name in (OWN, *TERMS)}
    if not all(np.isfinite(value).all() and value[1] > 0 for value in found.values()):
        raise ValueError
    return found
