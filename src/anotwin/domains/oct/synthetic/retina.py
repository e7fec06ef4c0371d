"""Made-up retinal OCT scans with known layers and lesions, in the manner of a Heidelberg Spectralis.

Every line and every lesion is a function of the place on the retina (`synthetic_anatomy`), drawn at fractions of rows;
the truth that comes back is that function, not a measurement of the picture. A grey level is the square root of a
signal that speckle multiplies and to which the detector adds noise; below zero is black.

The optic disc, the vitreous' membranes, shadows of lesions and the eye's motion between slices are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter

from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.anatomy import (
    AT,
    KINDS,
    Floats,
    Kind,
    Lesion,
    RetinaLook,
    Site,
    View,
    baseline,
    draw_eye,
    draw_look,
    draw_site,
    healthy,
    lift,
)
from anotwin.errors import SettingsError
from anotwin.seeding import derive

__all__ = ["Kind", "Lesion", "PlantedLesion", "RetinaLook", "RetinaScan", "draw_look", "retina_scan", "retina_volume"]

Images = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]

# Grey levels at the upper and the lower end of each layer, read off 60 normal scans; layers as in BOUNDARIES. The nerve
# fibres' level follows their thickness, and that below the RPE depends on the lesion.
_LEVELS = (
    (0, 0),  # fibres
    (86, 80),  # ganglion cells, inner plexiform
    (58, 56),  # inner nuclear
    (82, 76),  # outer plexiform
    (54, 50),  # outer nuclear
    (66, 66),  # outer limiting membrane
    (54, 62),  # myoids
    (188, 188),  # ellipsoid zone
    (128, 128),  # interdigitation zone
    (27, 27),  # fluid
    (165, 212),  # RPE, upper half
    (212, 150),  # RPE, lower half
    (0, 0),  # below a druse
    (150, 112),  # Bruch's membrane
)
_VITREOUS = 23.0
_BELOW_RPE = {"druse": 112.0, "detachment": 46.0}
_CYST, _FOCUS = 25.0, 205.0
# Depth below Bruch's membrane in micrometres, and the choroid's and the sclera's level there.
_CHOROID = (
    (0, 15, 40, 70, 100, 130, 170, 230, 300, 360, 420, 500, 1200),
    (100, 84, 73, 62, 54, 48, 43, 38, 31, 25, 20, 15, 7),
)
_DEPTHS = np.concatenate([np.arange(0, 440, 8.0), [600, 900, 1200]])  # micrometres
# Rows from each boundary to where its layers have their own levels; few in the RPE, brightest in its very middle.
_RIM = np.array([1, 2, 2.5, 2.5, 2.5, 1, 1, 1, 1, 1, 1, 0.3, 1, 1, 1])


@dataclass(frozen=True)
class PlantedLesion:
    """A lesion as it lies in one slice."""

    lesion: Lesion
    column: float  # of its middle
    height_um: float  # at its middle, which may lie in another slice
    mask: Masks  # (H, W) True inside; nowhere if the slice misses it


@dataclass(frozen=True)
class RetinaScan:
    """A slice with its truth. Row r is the middle of the pixels of row r; lines are in the pixels of the scan."""

    pixels: Images  # (H, W)
    ilm: Floats  # (W,) row of the upper rim of the inner limiting membrane: where dark turns bright
    rpe: Floats  # (W,) row of the middle of the RPE's band as seen, over drusen and detachments
    baseline: Floats  # (W,) the same of the undisturbed RPE: no lesion moves it
    mask: Masks  # (H, W) True in any lesion
    white: Masks  # (H, W) left by registration: 255 here and nowhere else
    lesions: tuple[PlantedLesion, ...]  # in the order asked for
    spacing: Spacing


def retina_scan(
    seed: int,
    height: int = 496,
    width: int = 512,
    lesions: Sequence[Lesion] = (),
    look: RetinaLook | None = None,
    spacing: Spacing | None = None,
) -> RetinaScan:
    """One slice through the fovea. The eye, its look and the grain depend on `seed` alone, whatever the lesions.

    >>> scan = retina_scan(0, lesions=[Lesion("cyst", 150)])
    >>> scan.pixels.shape, scan.pixels.dtype, bool((scan.ilm < scan.rpe).all()), bool(scan.mask.any())
    ((496, 512), dtype('uint8'), True, True)

    Args:
        seed: another seed, another eye.
        height: rows, at least 320.
        width: columns, at least 64.
        lesions: what to plant.
        look: how the scan was taken; None: `draw_look(seed)`.
        spacing: None: 3.87 micrometres down, 11.5 across, 5.75 from 1,000 columns on (the device's finer scans).

    Raises:
        SettingsError: an impossible size, look or lesion; a retina that does not fit into the scan.
    """
    return retina_volume(seed, 1, height, width, lesions, look, spacing)[0]


def retina_volume(
    seed: int,
    slices: int = 9,
    height: int = 496,
    width: int = 512,
    lesions: Sequence[Lesion] = (),
    look: RetinaLook | None = None,
    spacing: Spacing | None = None,
) -> tuple[RetinaScan, ...]:
    """Neighbouring slices of one eye, 120 micrometres apart unless `spacing.between` says otherwise.

    The middle slice of an odd number is `retina_scan` of the same arguments. Grain is new in each slice, all else
    changes smoothly from slice to slice. Arguments and errors are those of `retina_scan`.
    """
    look = draw_look(seed) if look is None else look
    spacing = Spacing(3.87, 11.5 if width < 1000 else 5.75, 120.0) if spacing is None else spacing
    _check(slices, height, width, lesions, look, spacing)
    view = View(height, width, spacing, look, draw_eye(seed))
    sites = [draw_site(view, number, lesion) for number, lesion in enumerate(lesions)]
    between = (120.0 if spacing.between is None else spacing.between) / 1000
    return tuple(_slice(view, sites, (k - (slices - 1) / 2) * between) for k in range(slices))


def _check(slices: int, height: int, width: int, lesions: Sequence[Lesion], look: RetinaLook, spacing: Spacing) -> None:
    where = "synthetic retina:"
    if slices < 1 or height < 320 or width < 64:
        raise SettingsError(
            f"{where} {slices} slices of {height} x {width} pixels, expected at least 1 slice of at least 320 x 64"
        )
    if not all(np.isfinite(step) and step > 0 for step in astuple(spacing) if step is not None):
        raise SettingsError(f"{where} {spacing}, expected micrometres above 0")
    if not np.isfinite(astuple(look)).all() or min(look.gain, 0.1) <= 0 or not 0 <= look.depth <= 1:
        raise SettingsError(f"{where} {look}, expected finite numbers, gain above 0 and depth 0 to 1")
    if min(look.speckle, look.noise, look.vessels, look.haze + _VITREOUS) < 0:
        raise SettingsError(
            f"{where} {look}, expected speckle, noise and vessels of at least 0 and haze of at least {-_VITREOUS}"
        )
    for lesion in lesions:
        if lesion.kind not in KINDS:
            raise SettingsError(f"{where} lesion of kind {lesion.kind!r}, expected one of {', '.join(KINDS)}")
        sizes = (lesion.size_um, 1.0 if lesion.height_um is None else lesion.height_um)
        if not all(np.isfinite(size) and size > 0 for size in sizes) or not np.isfinite(lesion.away_um):
            raise SettingsError(f"{where} {lesion}, expected finite micrometres above 0")
        if lesion.at is not None and not 0 <= lesion.at <= 1:
            raise SettingsError(f"{where} {lesion}, expected at from 0 (left end of the scan) to 1")


def _slice(view: View, sites: Sequence[Site], y: float) -> RetinaScan:
    """Geometry, then paint, then grain, then the white of registration."""
    base, x, seed = baseline(view, y), view.x, view.eye.seed
    heights = healthy(view.eye, x, y)
    for site in sites:
        lift(heights, site, x, y)
    bounds = base - heights / view.spacing.axial  # (K, W) rows
    if bounds[0].min() < 2:
        raise SettingsError("synthetic retina: lesions lift it out of the scan; make them lower or look.depth larger")
    image = _layers(view, sites, bounds, y)  # (H, W) grey levels
    _vessels(image, view, bounds, y)
    rows = np.arange(view.height)[:, None]
    white = (rows < view.moved) | (rows >= view.height + view.moved)
    planted = []
    for site in sites:
        mask = _plant(image, view, site, heights, bounds, base, y) & ~white
        column = site.x * 1000 / view.spacing.lateral + (view.width - 1) / 2
        planted.append(PlantedLesion(site.lesion, column, site.height, mask))
    pixels = _expose(image, view.look, np.random.default_rng(derive(seed, "grain", round(y * 1e6))))
    pixels[white] = 255
    mask = np.logical_or.reduce([np.zeros_like(white), *(lesion.mask for lesion in planted)])
    return RetinaScan(pixels, bounds[0], bounds[AT["rpe"]], base, mask, white, tuple(planted), view.spacing)


def _layers(view: View, sites: Sequence[Site], bounds: Floats, y: float) -> Floats:
    """All layers, (H, W) grey levels: in each column straight lines between knots, a boundary every so many rows."""
    thick = np.diff(bounds, axis=0)  # (K - 1, W)
    levels = np.repeat(np.array(_LEVELS, np.float64)[:, :, None], view.width, axis=2)  # (K - 1, 2, W)
    fibres = thick[AT["ilm"]] * view.spacing.axial
    levels[AT["ilm"]] = 88 + 85 * np.clip((fibres - 10) / 35, 0, 1)
    reflex = np.exp(-((np.gradient(bounds[0]) / 0.04) ** 2))  # a surface across the beam shines
    levels[AT["ilm"], 0] += 70 * reflex
    levels[AT["rpe_low"]] = _below_rpe(sites, view.x, y)
    for name in ("iz_low", "rpe_low"):  # a layer without thickness has no level of its own
        k, share = AT[name], np.clip(thick[AT[name]], 0, 1)
        levels[k] = share * levels[k] + (1 - share) * (levels[k - 1, 1] + levels[k + 1, 0]) / 2
    upper, lower = (bound[:, None].clip(max=0.4 * thick) for bound in (_RIM[:-1], _RIM[1:]))
    knots = np.stack([bounds[:-1] + upper, bounds[1:] - lower], 1).reshape(-1, view.width)
    above = np.stack([np.zeros(view.width), bounds[0] - _RIM[0]])
    below = bounds[-1] + _RIM[-1] + _DEPTHS[:, None] / view.spacing.axial
    knots = np.concatenate([above, knots, below])
    vitreous = np.full((2, view.width), _VITREOUS)
    vitreous[0] += view.look.haze
    values = np.concatenate([vitreous, levels.reshape(-1, view.width), _choroid(view, y)])
    rows = np.arange(view.height, dtype=np.float64)
    image = np.empty((view.width, view.height), np.float32)
    for column in range(view.width):
        image[column] = np.interp(rows, knots[:, column], values[:, column])
    return np.ascontiguousarray(image.T)


def _below_rpe(sites: Sequence[Site], x: Floats, y: float) -> Floats:
    """(W,) the level of what has lifted the RPE: of the nearest lesion that does."""
    raising = [site for site in sites if site.lesion.kind in _BELOW_RPE]
    if not raising:
        return np.zeros(len(x))
    nearest = np.argmin([site.distance(x, y) for site in raising], axis=0)
    levels: Floats = np.array([_BELOW_RPE[site.lesion.kind] for site in raising])[nearest]
    return levels


def _choroid(view: View, y: float) -> Floats:
    """Levels at `_DEPTHS` below Bruch's membrane, (D, W): bright grains above, dark vessels below, then sclera."""
    x, eye = view.x, view.eye
    stretch = eye.choroid * (1 + 0.15 * np.sin(1.1 * x + 0.8 * y + eye.phases[4]))
    depth = _DEPTHS[:, None] / stretch
    level: Floats = np.interp(depth, *_CHOROID)
    along = 1 / view.spacing.lateral  # columns a micrometre
    place, part = divmod(y / 0.2, 1)  # the texture is drawn anew every 0.2 mm and blended between
    fine, coarse = np.zeros((2, len(_DEPTHS), view.width))
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


def _vessels(image: Floats, view: View, bounds: Floats, y: float) -> None:
    """Retinal vessels among the nerve fibres, in place: a bright spot, and less light everywhere below it."""
    rng = np.random.default_rng(derive(view.eye.seed, "vessels"))
    half = view.width * view.spacing.lateral / 2000
    rows = np.arange(view.height)[:, None]
    for _ in range(view.look.vessels):
        middle = rng.uniform(-half, half) + rng.normal(0, 0.4) * y
        radius, dim, bright = rng.uniform(0.012, 0.04), rng.uniform(0.05, 0.35), rng.uniform(0, 50)
        near = np.flatnonzero(np.abs(view.x - middle) < 3 * radius)
        if not len(near):
            continue
        across = np.exp(-(((view.x[near] - middle) / radius) ** 2))
        centre = bounds[AT["fibres"], near] + 2
        below = np.clip((rows - centre) / 8 + 0.5, 0, 1)
        image[:, near] *= 1 - dim * across * below
        image[:, near] += bright * across * np.exp(-(((rows - centre) / 5) ** 2))


def _plant(image: Floats, view: View, site: Site, heights: Floats, bounds: Floats, base: Floats, y: float) -> Masks:
    """The lesion's mask, (H, W). Cysts and foci are painted here, in place; the others are layers: painted already."""
    mask = np.zeros(image.shape, bool)
    distance = site.distance(view.x, y)
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
        low, high = (np.interp(site.x, view.x, heights[AT[name]]) for name in (lower, upper))
        middle = base[near] - (low + share * (high - low)) / view.spacing.axial
        half = site.height / 2 / view.spacing.axial * np.sqrt(1 - distance[near])
        top, bottom = middle - half, middle + half
    rows = np.arange(view.height)[:, None]
    cover = np.clip(np.minimum(rows + 0.5, bottom) - np.maximum(rows - 0.5, top), 0, 1)  # share of a pixel that is in
    if site.lesion.kind in ("cyst", "focus"):
        level = _CYST if site.lesion.kind == "cyst" else _FOCUS
        image[:, near] += cover * (level - image[:, near])
    mask[:, near] = cover >= 0.5
    return mask


def _smooth(rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, float]) -> Floats:
    """Gaussian noise of unit variance and the given grain."""
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode="wrap", truncate=3)
    smooth: Floats = noise / noise.std()
    return smooth


def _expose(image: Floats, look: RetinaLook, rng: np.random.Generator) -> Images:
    """Grain on grey levels: 0 to 254."""
    signal = (image * np.float32(look.gain)) ** 2
    if look.speckle:
        signal *= np.exp(np.float32(look.speckle) * _smooth(rng, image.shape, (1.1, 0.85)))
    if look.noise:  # weaker below, as in scans
        weight = look.noise * _VITREOUS**2 * np.linspace(1.1, 0.35, len(image), dtype=np.float32)[:, None]
        signal += weight * _smooth(rng, image.shape, (0.8, 0.6))
    pixels: Images = np.rint(np.sqrt(np.clip(signal, 0, 254**2))).astype(np.uint8)
    return pixels
