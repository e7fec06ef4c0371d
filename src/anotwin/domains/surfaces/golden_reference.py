"""What a model keeps of training images to compare the same place of others with; see golden.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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
from anotwin.domains.surfaces.levels import (
    TERMS,
    not_of_this_view,
    pool_levels,
    short,
    spread_of,
    usual_of,
    usual_without,
)
from anotwin.domains.surfaces.places import Places, Shown
from anotwin.prepare.registration import Pose
from anotwin.records import Scores

MOST = 128  # pictures kept
FEWEST = 8  # of them, or nobody knows how parts differ
MEASURED = 40  # of them, each compared with all others, tell how far normal ones are
LOOSE, WIDTH = 5, 2.0  # pixels: usual is what is usual beside it too, smoothed
FLOOR = 0.2  # of the mean over all places: where all are alike to the bit nothing is known of noise
LEAST = 0.1  # of what is usual: a unit of heat, so that where all are alike nothing is hot
EXPLAINED = 0.5  # of what they show others show as well, or it is a texture: no two are alike in its grain
ROUNDS = 2  # of laying them on their mean


@dataclass(frozen=True, eq=False)
class Lying:
    """A normal image, and how it lies on the template."""

    wide: Wide
    pose: Pose


def stored_golden(
    training: Sequence[Shown],
    heldout: Sequence[Shown],
    highest: Sequence[Scores[list[float]]],
    groups: Sequence[str],
    places: Places,
    reference: Mapping[str, Any],
) -> dict[str, Any]:
    """A part of the reference, of training and (n,) held-out normals; {} where too few lie alike, or agree.

    Args:
        highest: (n,) of each level of the held-out ones the highest tile.
        groups: (n,) of them: none sets the units that it is measured in (`levels.stored_without`).
        reference: what `levels.stored` and `stored_without` made of them.
    """
    turn = places.registration == "turn"
    kept = [lying for each in training if (lying := _lying(each, places))]
    held = [_lying(each, places) for each in heldout]
    if len(kept) < FEWEST or not any(held):
        return {}
    height, width = np.median([each.wide.pixels.shape[1:] for each in kept], axis=0).astype(int).tolist()
    shape, kept = (height, width), kept[:: -(-len(kept) // MOST)]
    for _ in range(ROUNDS):  # each is laid on the mean of all as they lay before
        mean = mean_of(np.stack([in_steps(laid(each.wide, each.pose, shape)) for each in kept]))
        kept = [Lying(each.wide, exactly(each.wide, each.pose, mean, turn)) for each in kept]
    pictures = np.stack([in_steps(laid(each.wide, each.pose, shape)) for each in kept])
    far = _far(pictures, [shown(each.wide, each.pose, shape) for each in kept])
    if _explained(pictures, far) < EXPLAINED:
        return {}
    golden = Golden(pictures, _usual(far), turn)
    found = [None if each is None else golden.beside(each.wide, each.pose) for each in held]

    scores = {OWN: [np.nan if each is None else each.hottest for each in found], **_pooled(highest, reference)}
    names = np.array(groups)
    without = [[value for pair in _units(scores, names != group).values() for value in pair] for group in groups]
    heat = float(np.median([each.heat.max() for each in found if each]))
    units = [level["heat"] for level in reference["levels"]]
    tiles = float(np.median([each.placed(places).highest_heat(each, units) for each in heldout]))
    return {
        "golden": {
            "pictures": torch.from_numpy(pictures),
            "usual": torch.from_numpy(golden.usual),
            "turn": turn,
            "heat": short(max(heat, LEAST)),
            "tiles": short(max(tiles, LEAST)),
            "units": _units(scores, np.ones(len(groups), bool)),
            "without": without,
        }
    }


def golden_of(reference: Mapping[str, Any]) -> Golden | None:
    """What `stored_golden` made, None without it; DataError where it is something else."""
    if "golden" not in reference:
        return None
    try:
        found = reference["golden"]
        pictures, usual = found["pictures"].numpy(), found["usual"].numpy()
        heat, tiles = float(found["heat"]), float(found["tiles"])
        golden = Golden(pictures, usual, bool(found["turn"]), heat, tiles, _restored(found["units"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise not_of_this_view() from error
    known = pictures.dtype == np.int8 and usual.dtype == np.float32 and pictures.ndim == 4 and len(pictures)
    if not known or pictures.shape[2:] != usual.shape or not (heat > 0 and tiles > 0 and (usual > 0).all()):
        raise not_of_this_view()
    return golden


def golden_without(reference: Mapping[str, Any]) -> dict[int, Units]:
    """The units of each normal that they were made of, by its fingerprint; DataError as `golden_of`."""
    if "golden" not in reference:
        return {}
    try:
        names, found = [int(name) for name in reference["without"]["of"]], reference["golden"]["without"]
        units = [dict(zip((OWN, *TERMS), zip(*[iter(each)] * 2, strict=True), strict=True)) for each in found]
        return dict(zip(names, map(_restored, units), strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise not_of_this_view() from error


def _lying(image: Shown, places: Places) -> Lying | None:
    """None: it does not lie as the others do."""
    placed = image.placed(places)
    return Lying(image.wide, placed.pose) if image.wide is not None and placed.fits else None


def _far(pictures: Steps, inside: Sequence[Bools]) -> Floats:
    """The root of the mean square of how far some pictures (N, C, h, w) are from all others, at each place (h, w)."""
    total, count = np.zeros(pictures.shape[2:]), np.zeros(pictures.shape[2:])
    for number in range(0, len(pictures), -(-len(pictures) // MEASURED)):
        others = Others(np.delete(pictures, number, 0))
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


def _pooled(highest: Sequence[Scores[list[float]]], reference: Mapping[str, Any]) -> dict[str, list[float]]:
    """Of each term what the tiles of each held-out normal make of it."""
    of_all, without = usual_of(reference), usual_without(reference)
    own = [without.get(int(name), of_all) for name in reference["without"]["of"]]

    def pool(values: Sequence[float], levels: Sequence[Any], term: str) -> float:
        count = min(len(values), len(levels))
        return pool_levels(values[:count], [each.of(term) for each in levels[:count]])

    return {term: [pool(getattr(one, term), o, term) for one, o in zip(highest, own, strict=True)] for term in TERMS}


def _units(scores: Mapping[str, Sequence[float]], some: Bools) -> dict[str, list[float]]:
    """The median and spread of each, of `some` normals (n,), or of all where these are none."""
    return {name: [short(value) for value in _spread(np.array(values), some)] for name, values in scores.items()}


def _spread(values: npt.NDArray[np.float64], some: Bools) -> tuple[float, float]:
    known = ~np.isnan(values)
    return spread_of(values[known & some] if (known & some).any() else values[known])


def _restored(units: Mapping[str, Sequence[float]]) -> Units:
    """ValueError or KeyError where they are not units."""
    found = {name: (float(units[name][0]), float(units[name][1])) for name in (OWN, *TERMS)}
    if not all(np.isfinite(value).all() and value[1] > 0 for value in found.values()):
        raise ValueError
    return found
