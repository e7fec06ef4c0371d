"""The shape of made-up retinas: where each layer and each lesion lies. `synthetic_retina` draws it.

Everything is a function of the place on the retina: x across a scan and y across the slices of a volume, millimetres
from the middle of the middle slice. Heights are micrometres above the middle of the undisturbed RPE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from anotwin.domains.oct.records import Spacing
from anotwin.errors import SettingsError
from anotwin.seeding import derive

Floats = npt.NDArray[np.floating[Any]]
Kind = Literal["cyst", "fluid", "druse", "detachment", "focus"]

# Boundaries from above to below, each the upper end of the layer named behind it.
BOUNDARIES = (
    "ilm",  # nerve fibre layer
    "fibres",  # ganglion cells and inner plexiform layer
    "ipl",  # inner nuclear layer
    "inl",  # outer plexiform layer
    "opl",  # outer nuclear layer
    "elm",  # external limiting membrane
    "elm_low",  # myoids
    "ez",  # ellipsoid zone
    "ez_low",  # interdigitation zone
    "iz_low",  # fluid below the retina: no thickness unless a lesion gives it one
    "rpe_top",  # RPE, its upper half
    "rpe",  # its lower half
    "rpe_low",  # what lies below a druse or a detachment: likewise
    "bruch",  # Bruch's membrane
    "choroid",
)
AT = {name: index for index, name in enumerate(BOUNDARIES)}
# Usual height of a lesion as a share of its width, and the most, in micrometres.
_USUAL_HEIGHT: dict[Kind, tuple[float, float]] = {
    "cyst": (1.0, 260.0),
    "fluid": (0.15, 180.0),
    "druse": (0.3, 90.0),
    "detachment": (0.2, 220.0),
    "focus": (0.6, 40.0),
}
KINDS = tuple(_USUAL_HEIGHT)


@dataclass(frozen=True)
class Lesion:
    """What to plant. A lesion is round seen from above: `size_um` is its diameter there."""

    kind: Kind  # cyst in the inner or outer nuclear layer, fluid below the retina, druse, RPE detachment, bright focus
    size_um: float
    height_um: float | None = None  # None: usual for its kind and size
    at: float | None = None  # its middle, 0 (first column) to 1 (last); None: drawn from the seed, 0.2 to 0.8
    away_um: float = 0.0  # from the middle slice of a volume to the lesion's middle


@dataclass(frozen=True)
class RetinaLook:
    """How a scan was taken: everything that is neither the eye nor its illness."""

    tilt: float = 0.0  # fall of the retina from left to right, as a share of the scan's height
    bend: float = 0.04  # how much higher the ends lie than the middle, likewise
    depth: float = 0.4  # where the retina lies in the room that it has: 0 high, 1 low
    gain: float = 1.0  # of grey levels
    haze: float = 4.0  # grey levels by which the vitreous is brighter at the top
    speckle: float = 0.25  # standard deviation of the logarithm of the signal; 0: none
    noise: float = 0.65  # standard deviation of the detector's noise, the vitreous' signal being 1; 0: none
    vessels: int = 4  # retinal vessels, each with its shadow
    shift: int = 0  # rows that registration moved the scan down (negative: up), leaving white
    shear: int = 0  # and the further rows, from the left to the right end


def draw_look(seed: int) -> RetinaLook:
    """The look that `seed` stands for, in the ranges of everyday scans; two in three were moved by registration."""
    rng = np.random.default_rng(derive(seed, "look"))
    moved = rng.random() < 0.67
    return RetinaLook(
        tilt=float(np.clip(rng.normal(0, 0.05), -0.12, 0.12)),
        bend=rng.uniform(-0.01, 0.09),
        depth=rng.uniform(0.05, 0.8),
        gain=rng.uniform(0.88, 1.12),
        haze=rng.uniform(-8, 12),
        speckle=rng.uniform(0.2, 0.32),
        noise=rng.uniform(0.4, 1.0),
        vessels=int(rng.integers(1, 8)),
        shift=int(np.clip(rng.normal(0, 14), -40, 40)) if moved else 0,
        shear=int(np.clip(rng.normal(0, 16), -40, 40)) if moved else 0,
    )


@dataclass(frozen=True)
class Eye:
    """One retina, drawn from its seed."""

    seed: int
    fovea: float  # x of its middle
    pit: float  # radius of the foveal pit, millimetres
    disc: int  # 1: the optic disc lies to the right, where the nerve fibres are thicker; -1: to the left
    thick: float  # of the inner retina, 1: average
    choroid: float  # thickness, 1: average
    phases: Floats  # (6,) of its gentle waves


def draw_eye(seed: int) -> Eye:
    rng = np.random.default_rng(derive(seed, "eye"))
    return Eye(
        seed,
        fovea=rng.uniform(-0.35, 0.35),
        pit=rng.uniform(0.42, 0.62),
        disc=int(rng.choice([-1, 1])),
        thick=rng.uniform(0.9, 1.12),
        choroid=rng.uniform(0.8, 1.3),
        phases=rng.uniform(0, 2 * np.pi, 6),
    )


@dataclass(frozen=True)
class View:
    """An eye as one scan takes it."""

    height: int
    width: int
    spacing: Spacing
    look: RetinaLook
    eye: Eye

    @property
    def x(self) -> Floats:
        """(W,) millimetres."""
        x: Floats = (np.arange(self.width) - (self.width - 1) / 2) * self.spacing.lateral / 1000
        return x

    @property
    def moved(self) -> Floats:
        """(W,) whole rows: registration moves columns of pixels, hence the steps in its white edges."""
        moved: Floats = np.rint(self.look.shift + self.look.shear * np.linspace(-0.5, 0.5, self.width))
        return moved


def healthy(eye: Eye, x: Floats, y: float) -> Floats:
    """Heights of `BOUNDARIES` without lesions, (K, W) micrometres above the middle of the RPE."""
    r = np.hypot(x - eye.fovea, y)
    pit = 1 - np.exp(-((r / eye.pit) ** 2))
    hump = np.exp(-(((r - 1.0) / 1.1) ** 2))
    wave = 1 + 0.04 * np.sin(2.1 * x + 1.3 * y + eye.phases[0]) + 0.02 * np.sin(5.3 * x + 2.2 * y + eye.phases[1])
    towards_disc = 1 / (1 + np.exp((1.5 - eye.disc * (x - eye.fovea)) / 0.45)) + 0.5 * np.tanh(y**2 / 3)
    thickness = [
        7 + pit * (9 + 32 * towards_disc),  # ilm
        3 + pit * eye.thick * wave * (58 + 46 * hump),  # fibres
        4 + pit * eye.thick * (27 + 9 * hump),  # ipl
        13 + 26 * pit * wave,  # inl
        53 + 54 * np.exp(-((r / 0.5) ** 2)),  # opl
        8,  # elm
        14 + 7 * np.exp(-((r / 0.3) ** 2)),  # elm_low
        15,  # ez
        11,  # ez_low
        0,  # iz_low
        19,  # rpe_top
        14,  # rpe
        0,  # rpe_low
        8,  # bruch
        0,
    ]
    layers = np.stack([np.broadcast_to(np.asarray(layer, np.float64), x.shape) for layer in thickness])
    heights: Floats = layers[::-1].cumsum(0)[::-1]
    above: Floats = heights - heights[AT["rpe"]]
    return above


def baseline(view: View, y: float) -> Floats:
    """Rows of the middle of the undisturbed RPE, (W,).

    Raises:
        SettingsError: a retina so tilted, bent or moved does not fit into the scan.
    """
    look, eye, x, moved, spacing = view.look, view.eye, view.x, view.moved, view.spacing
    half = view.width * spacing.lateral / 2000

    def form(y: float) -> Floats:
        bow = look.tilt * x / half / 2 - look.bend * (x**2 + y**2) / half**2
        ripple = np.sin(1.7 * x + 0.9 * y + eye.phases[2]) + 0.4 * np.sin(4.1 * x + 1.9 * y + eye.phases[3])
        rows: Floats = view.height * bow + 4 * ripple / spacing.axial + moved
        return rows

    middle = form(0.0)
    top = middle - healthy(eye, x, 0.0)[0] / spacing.axial
    highest = (np.maximum(moved, 0) + 0.14 * view.height - top).max()  # above is room for lesions to lift the retina
    lowest = (np.minimum(moved, 0) + view.height - 150 / spacing.axial - middle).min()
    if lowest < highest:
        raise SettingsError(
            f"synthetic retina: this tilt, bend, shift and shear need {highest - lowest:.0f} rows more than the "
            f"{view.height} of the scan; ask for a greater height or a flatter RetinaLook"
        )
    rows: Floats = form(y) + highest + look.depth * (lowest - highest)
    return rows


@dataclass(frozen=True)
class Site:
    """A lesion with what its seed adds."""

    lesion: Lesion
    x: float
    y: float
    radius: float  # millimetres
    height: float  # micrometres
    inner: bool  # a cyst in the inner nuclear layer instead of the outer
    depth: float  # of a focus: 0 at the outer limiting membrane, 1 above the inner nuclear layer

    def distance(self, x: Floats, y: float) -> Floats:
        """(W,) from its middle, squared, 1 at its rim."""
        squared: Floats = ((x - self.x) ** 2 + (y - self.y) ** 2) / self.radius**2
        return squared


def draw_site(view: View, number: int, lesion: Lesion) -> Site:
    rng = np.random.default_rng(derive(view.eye.seed, "lesion", number))
    drawn, inner, depth = rng.uniform(0.2, 0.8), bool(rng.random() < 0.5), rng.uniform(0.1, 0.9)
    share, most = _USUAL_HEIGHT[lesion.kind]
    height = min(share * lesion.size_um, most) if lesion.height_um is None else lesion.height_um
    at = drawn if lesion.at is None else lesion.at
    x = float(view.x[round(at * (view.width - 1))])  # on a column, so that none is too small to be seen
    return Site(lesion, x, lesion.away_um / 1000, lesion.size_um / 2000, height, inner, depth)


def lift(heights: Floats, site: Site, x: Floats, y: float) -> None:
    """Move the boundaries (K, W) above a lesion, in place. The baseline, Bruch's membrane, never moves."""
    distance = site.distance(x, y)
    dome = np.clip(1 - distance, 0, None) ** 1.5
    match site.lesion.kind:
        case "cyst":  # a wide swelling, by what the layer cannot take in and no less than half the cyst's height
            lowest = AT["ipl" if site.inner else "opl"]
            own = float(np.interp(site.x, x, heights[lowest] - heights[lowest + 1]))
            width = 2.25 + (0.35 / site.radius) ** 2  # of the swelling, squared, in radii of the cyst
            lifted = max(0.5 * site.height, site.height - 0.7 * own) * np.exp(-distance / width)
        case "fluid":
            lowest, lifted = AT["iz_low"], site.height * dome
        case "druse" | "detachment":
            lowest, lifted = AT["rpe_low"], site.height * dome
        case "focus":
            return
    for k in range(lowest, -1, -1):
        own_thickness = heights[k - 1] - heights[k]
        heights[k] += lifted
        if site.lesion.kind == "druse" and 0 < k <= AT["elm"]:  # the layers above give way, by half at most
            lifted = np.maximum(0.6 * lifted, lifted - 0.5 * own_thickness)
