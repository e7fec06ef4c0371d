"""Synthetic retinal OCT scans with known layers and lesions, like those of a Heidelberg Spectralis.

Every line and every lesion is a function of the place on the retina (`synthetic.anatomy`), drawn at fractions of rows;
the truth that is returned is that function, not a measurement of the picture. A grey level is the square root of a
signal that speckle multiplies and to which the detector adds noise; below zero is black.

An optic disc may be in view (`synthetic.disc`). The vitreous' membranes, shadows of lesions and the eye's motion
between slices are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.anatomy import (
    AT,
    BOUNDARIES,
    KINDS,
    Appearance,
    Eye,
    Floats,
    Lesion,
    Site,
    SliceGeometry,
    baseline,
    draw_appearance,
    healthy,
    lift,
)
from anotwin.domains.oct.synthetic.disc import Disc, surface, tissue
from anotwin.errors import SettingsError
from anotwin.seeding import derive

__all__ = ["Appearance", "Disc", "Lesion", "PlantedLesion", "RetinaScan", "retina_scan", "retina_volume"]

Images = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]

_LEVELS = np.array(list(BOUNDARIES.values())[:-1], np.float64)  # (K - 1, 2); the choroid has levels of its own
_VITREOUS = 23.0
_BELOW_RPE = {"druse": 112.0, "detachment": 46.0}
_CYST, _FOCUS = 25.0, 205.0
# Depth below Bruch's membrane in micrometres, and the choroid's and the sclera's level there.
_CHOROID = (
    (0, 15, 40, 70, 100, 130, 170, 230, 300, 360, 420, 500, 1200),
    (100, 84, 73, 62, 54, 48, 43, 38, 31, 25, 20, 15, 7),
)
_DEPTHS = np.concatenate([np.arange(0, 440, 8.0), [600, 900, 1200]])  # micrometres
# Rows from each boundary to where its layers have their own levels; few in the RPE, which is brightest in its middle.
_RIM = np.array([1, 2, 2.5, 2.5, 2.5, 1, 1, 1, 1, 1, 1, 0.3, 1, 1, 1])


@dataclass(frozen=True)
class PlantedLesion:
    """A lesion in one slice."""

    lesion: Lesion
    column: float  # of its middle
    height_um: float  # at its middle, which may lie in another slice
    mask: Masks  # (H, W) True inside; nowhere if the slice misses it


@dataclass(frozen=True)
class RetinaScan:
    """A slice with its truth. Lines are in rows of the scan; a whole number is the middle of a pixel."""

    pixels: Images  # (H, W)
    ilm: Floats  # (W,) row of the upper rim of the inner limiting membrane: where dark turns bright
    rpe: Floats  # (W,) row of the middle of the RPE's band as seen, over drusen and detachments
    baseline: Floats  # (W,) the same of the undisturbed RPE: no lesion moves it
    mask: Masks  # (H, W) True in any lesion
    white: Masks  # (H, W) left by registration: `Appearance.margin` here, and white nowhere else
    disc: Masks  # (W,) columns within the opening of the optic disc: no RPE, the line is only that of its surroundings
    lesions: tuple[PlantedLesion, ...]  # in the order asked for
    spacing: Spacing


def retina_scan(
    seed: int,
    height: int = 496,
    width: int = 512,
    lesions: Sequence[Lesion] = (),
    appearance: Appearance | None = None,
    spacing: Spacing | None = None,
    disc: Disc | None = None,
) -> RetinaScan:
    """One slice through the fovea. The eye, its appearance and the speckle depend on `seed` alone, not on the lesions.

    >>> scan = retina_scan(0, lesions=[Lesion("cyst", 150)])
    >>> scan.pixels.shape, scan.pixels.dtype, bool((scan.ilm < scan.rpe).all()), bool(scan.mask.any())
    ((496, 512), dtype('uint8'), True, True)

    Args:
        seed: of the eye and of all that is drawn.
        height: rows, at least 320.
        width: columns, at least 64.
        lesions: what to plant.
        appearance: how the scan was taken; None: `draw_appearance(seed)`.
        spacing: None: 3.87 micrometres down, 11.5 across, 5.75 from 1,000 columns on (the device's finer scans).
        disc: an optic disc in view, in place of the eye's own fovea; None: neither is it seen nor its rim.

    Raises:
        SettingsError: an impossible size, appearance or lesion; a retina that does not fit into the scan.
    """
    return retina_volume(seed, 1, height, width, lesions, appearance, spacing, disc)[0]


def retina_volume(
    seed: int,
    slices: int = 9,
    height: int = 496,
    width: int = 512,
    lesions: Sequence[Lesion] = (),
    appearance: Appearance | None = None,
    spacing: Spacing | None = None,
    disc: Disc | None = None,
) -> tuple[RetinaScan, ...]:
    """Neighbouring slices of one eye, 120 micrometres apart unless `spacing.between` says otherwise.

    The middle slice of an odd number is `retina_scan` of the same arguments. Speckle and noise are independent in each
    slice, all else changes smoothly from slice to slice. Arguments and errors are those of `retina_scan`.
    """
    appearance = draw_appearance(seed) if appearance is None else appearance
    spacing = Spacing(3.87, 11.5 if width < 1000 else 5.75, 120.0) if spacing is None else spacing
    _check(slices, height, width, lesions, appearance, spacing)
    geometry = SliceGeometry(height, width, spacing, appearance, Eye(seed), disc=disc)
    sites = [Site(geometry, number, lesion) for number, lesion in enumerate(lesions)]
    between = (120.0 if spacing.between is None else spacing.between) / 1000
    return tuple(_slice(replace(geometry, y=(k - (slices - 1) / 2) * between), sites) for k in range(slices))


def _check(
    slices: int, height: int, width: int, lesions: Sequence[Lesion], appearance: Appearance, spacing: Spacing
) -> None:
    def check(sound: Any, found: object, expected: str) -> None:
        if not sound:
            raise SettingsError(f"synthetic retina: {found}, expected {expected}")

    size = f"{slices} slices of {height} x {width} pixels"
    check(slices >= 1 and height >= 320 and width >= 64, size, "at least 1 slice of at least 320 x 64")
    steps = [step for step in astuple(spacing) if step is not None]
    check(np.isfinite(steps).all() and min(steps) > 0, spacing, "micrometres above 0")
    check(np.isfinite(astuple(appearance)).all(), appearance, "finite numbers")
    check(appearance.gain > 0 and 0 <= appearance.depth <= 1, appearance, "gain above 0 and depth 0 to 1")
    least = min(appearance.speckle, appearance.noise, appearance.vessels, appearance.haze + _VITREOUS)
    check(least >= 0, appearance, f"speckle, noise and vessels of at least 0 and haze of at least {-_VITREOUS}")
    for lesion in lesions:
        check(lesion.kind in KINDS, f"lesion of kind {lesion.kind!r}", f"one of {', '.join(KINDS)}")
        sizes = [lesion.size_um, 1.0 if lesion.height_um is None else lesion.height_um]
        check(np.isfinite([*sizes, lesion.away_um]).all() and min(sizes) > 0, lesion, "finite micrometres above 0")
        check(lesion.at is None or 0 <= lesion.at <= 1, lesion, "at from 0 (left end of the scan) to 1")


def _slice(geometry: SliceGeometry, sites: Sequence[Site]) -> RetinaScan:
    """The lines, then grey levels, then speckle and noise, then the white that registration leaves."""
    base, heights = baseline(geometry), healthy(geometry)
    for site in sites:
        lift(heights, site, geometry)
    bounds = base - heights / geometry.spacing.axial  # (K, W) rows
    if bounds[0].min() < 2:
        raise SettingsError(
            "synthetic retina: lesions lift it out of the scan; make them lower or appearance.depth larger"
        )
    image = _layers(geometry, sites, bounds)  # (H, W) grey levels
    opening = _disc(image, geometry, bounds, base, heights)
    _vessels(image, geometry, bounds)
    white = _margins(geometry)
    planted = []
    for site in sites:
        mask = _plant(image, geometry, site, heights, bounds, base) & ~white
        column = site.x * 1000 / geometry.spacing.lateral + (geometry.width - 1) / 2
        planted.append(PlantedLesion(site.lesion, column, site.height, mask))
    seed = derive(geometry.eye.seed, "grain", round(geometry.y * 1e6))
    pixels = _expose(image, geometry.appearance, np.random.default_rng(seed))
    pixels[white] = geometry.appearance.margin
    mask = np.logical_or.reduce([np.zeros_like(white), *(lesion.mask for lesion in planted)])
    return RetinaScan(
        pixels, bounds[0], bounds[AT["rpe"]], base, mask, white, opening, tuple(planted), geometry.spacing
    )


def _layers(geometry: SliceGeometry, sites: Sequence[Site], bounds: Floats) -> Floats:
    """All layers, (H, W) grey levels: in each column linear between knots at both ends of every layer."""
    thick = np.diff(bounds, axis=0)  # (K - 1, W)
    levels = np.repeat(_LEVELS[:, :, None], geometry.width, axis=2)  # (K - 1, 2, W)
    fibres = thick[AT["ilm"]] * geometry.spacing.axial
    levels[AT["ilm"]] = 88 + 85 * np.clip((fibres - 10) / 35, 0, 1)
    reflex = np.exp(-((np.gradient(bounds[0]) / 0.04) ** 2))  # a surface at right angles to the beam reflects more
    levels[AT["ilm"], 0] += 70 * reflex
    levels[AT["rpe_low"]] = _below_rpe(sites, geometry)
    for name in ("iz_low", "rpe_low"):  # a layer without thickness has no level of its own
        k, share = AT[name], np.clip(thick[AT[name]], 0, 1)
        levels[k] = share * levels[k] + (1 - share) * (levels[k - 1, 1] + levels[k + 1, 0]) / 2
    upper, lower = (bound[:, None].clip(max=0.4 * thick) for bound in (_RIM[:-1], _RIM[1:]))
    knots = np.stack([bounds[:-1] + upper, bounds[1:] - lower], 1).reshape(-1, geometry.width)
    above = np.stack([np.zeros(geometry.width), bounds[0] - _RIM[0]])
    below = bounds[-1] + _RIM[-1] + _DEPTHS[:, None] / geometry.spacing.axial
    knots = np.concatenate([above, knots, below])
    vitreous = np.full((2, geometry.width), _VITREOUS)
    vitreous[0] += geometry.appearance.haze
    values = np.concatenate([vitreous, levels.reshape(-1, geometry.width), _choroid(geometry)])
    rows = np.arange(geometry.height, dtype=np.float64)
    image = np.empty((geometry.width, geometry.height), np.float32)
    for column in range(geometry.width):
        image[column] = np.interp(rows, knots[:, column], values[:, column])
    return np.ascontiguousarray(image.T)


def _disc(image: Floats, geometry: SliceGeometry, bounds: Floats, base: Floats, heights: Floats) -> Masks:
    """Draw the disc, in place, also the inner surface among `bounds`; (W,) True within its opening."""
    if geometry.disc is None:
        return np.zeros(geometry.width, bool)
    distance = geometry.disc_distance()
    inside = distance < geometry.disc.diameter_um / 2000
    if inside.any():
        axial = geometry.spacing.axial
        bounds[0, inside] = base[inside] - surface(distance[inside], heights[0, inside], geometry.disc) / axial
        depth = (np.arange(geometry.height)[:, None] - bounds[0, inside]) * axial
        rng = np.random.default_rng(derive(geometry.eye.seed, "disc"))
        levels = tissue(depth, geometry.x[inside], rng)
        image[:, inside] = np.where(depth > 0, levels, _VITREOUS)
    return np.asarray(inside)


def _margins(geometry: SliceGeometry) -> Masks:
    """(H, W) what registration left empty."""
    rows, columns = np.arange(geometry.height)[:, None], np.arange(geometry.width)
    beside = (columns < geometry.appearance.left) | (columns >= geometry.width - geometry.appearance.right)
    return np.asarray((rows < geometry.moved) | (rows >= geometry.height + geometry.moved) | beside)


def _below_rpe(sites: Sequence[Site], geometry: SliceGeometry) -> Floats:
    """(W,) the level below a lifted RPE: that of the nearest lesion that lifts it."""
    raising = [site for site in sites if site.lesion.kind in _BELOW_RPE]
    if not raising:
        return np.zeros(geometry.width)
    nearest = np.argmin([site.distance(geometry) for site in raising], axis=0)
    levels: Floats = np.array([_BELOW_RPE[site.lesion.kind] for site in raising])[nearest]
    return levels


def _choroid(geometry: SliceGeometry) -> Floats:
    """Levels at `_DEPTHS` below Bruch's membrane, (D, W): bright grains above, dark vessels below, then sclera."""
    x, y, eye = geometry.x, geometry.y, geometry.eye
    stretch = eye.choroid * (1 + 0.15 * np.sin(1.1 * x + 0.8 * y + eye.phases[4]))
    depth = _DEPTHS[:, None] / stretch
    level: Floats = np.interp(depth, *_CHOROID)
    along = 1 / geometry.spacing.lateral  # columns a micrometre
    place, part = divmod(y / 0.2, 1)  # a new texture every 0.2 mm, mixed in between
    fine, coarse = np.zeros((2, len(_DEPTHS), geometry.width))
    for number, weight in ((int(place), np.cos(part * np.pi / 2)), (int(place) + 1, np.sin(part * np.pi / 2))):
        if weight > 1e-9:
            rng = np.random.default_rng(derive(eye.seed, "choroid", number))
            fine += weight * _smooth(rng, fine.shape, (1.4, 24 * along))
            coarse += weight * _smooth(rng, coarse.shape, (3.2, 65 * along))
    grains = 0.24 * fine * np.exp(-depth / 90)
    vessels = 0.2 * np.tanh(2.5 * coarse - 0.5) * np.exp(-(((depth - 120) / 90) ** 2))
    textured: Floats = level * np.exp(grains + vessels)
    textured[0] = level[0]
    return textured


def _vessels(image: Floats, geometry: SliceGeometry, bounds: Floats) -> None:
    """Retinal vessels among the nerve fibres, in place: a bright spot, and less light everywhere below it."""
    rng = np.random.default_rng(derive(geometry.eye.seed, "vessels"))
    half = geometry.width * geometry.spacing.lateral / 2000
    rows = np.arange(geometry.height)[:, None]
    for _ in range(geometry.appearance.vessels):
        middle = rng.uniform(-half, half) + rng.normal(0, 0.4) * geometry.y
        radius, dim, bright = rng.uniform(0.012, 0.04), rng.uniform(0.05, 0.35), rng.uniform(0, 50)
        near = np.flatnonzero(np.abs(geometry.x - middle) < 3 * radius)
        if not len(near):
            continue
        across = np.exp(-(((geometry.x[near] - middle) / radius) ** 2))
        centre = bounds[AT["fibres"], near] + 2
        below = np.clip((rows - centre) / 8 + 0.5, 0, 1)
        image[:, near] *= 1 - dim * across * below
        image[:, near] += bright * across * np.exp(-(((rows - centre) / 5) ** 2))


def _plant(image: Floats, geometry: SliceGeometry, site: Site, heights: Floats, bounds: Floats, base: Floats) -> Masks:
    """The lesion's mask, (H, W). Cysts and foci are drawn here, in place; the others are layers and drawn already."""
    mask = np.zeros(image.shape, bool)
    distance = site.distance(geometry)
    near = np.flatnonzero(distance < 1)
    if not len(near):
        return mask
    if site.lesion.kind == "fluid":
        top, bottom = bounds[AT["iz_low"], near], bounds[AT["rpe_top"], near]
    elif site.lesion.kind in ("druse", "detachment"):  # from the RPE's upper rim to Bruch's, where raised
        near = near[base[near] - bounds[AT["rpe"], near] >= 1]
        top, bottom = bounds[AT["rpe_top"], near], bounds[AT["bruch"], near]
    else:
        upper, lower = ("ipl" if site.inner else "opl"), ("inl" if site.inner else "elm")
        share = 0.5
        if site.lesion.kind == "focus":
            upper, lower, share = "ipl", "elm", site.depth
        low, high = (np.interp(site.x, geometry.x, heights[AT[name]]) for name in (lower, upper))
        middle = base[near] - (low + share * (high - low)) / geometry.spacing.axial
        half = site.height / 2 / geometry.spacing.axial * np.sqrt(1 - distance[near])
        top, bottom = middle - half, middle + half
    rows = np.arange(geometry.height)[:, None]
    cover = np.clip(np.minimum(rows + 0.5, bottom) - np.maximum(rows - 0.5, top), 0, 1)  # share of a pixel that is in
    if site.lesion.kind in ("cyst", "focus"):
        level = _CYST if site.lesion.kind == "cyst" else _FOCUS
        image[:, near] += cover * (level - image[:, near])
    mask[:, near] = cover >= 0.5
    return mask


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, float]) -> Floats:
    """Gaussian noise of unit variance, smoothed by `sigma` pixels."""
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap", truncate=3)
    return np.asarray(noise / noise.std())


def _expose(image: Floats, appearance: Appearance, rng: np.random.Generator) -> Images:
    """Speckle and noise on grey levels: 0 to 254."""
    signal = (image * np.float32(appearance.gain)) ** 2
    if appearance.speckle:
        signal *= np.exp(np.float32(appearance.speckle) * _smooth(rng, image.shape, (1.1, 0.85)))
    if appearance.noise:  # weaker below, as in scans
        weight = appearance.noise * _VITREOUS**2 * np.linspace(1.1, 0.35, len(image), dtype=np.float32)[:, None]
        signal += weight * _smooth(rng, image.shape, (0.8, 0.6))
    return np.asarray(np.rint(np.sqrt(np.clip(signal, 0, 254**2))), np.uint8)
