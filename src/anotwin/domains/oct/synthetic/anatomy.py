"""The shape of synthetic retinas: where each layer and each lesion lies. `synthetic.retina` draws them.

Everything is a function of the place on the retina: x across a scan and y across the slices of a volume, millimetres
from the middle of the middle slice. Heights are micrometres above the middle of the undisturbed RPE.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.disc import TO_FOVEA, Disc, fibres
from anotwin.errors import SettingsError
from anotwin.seeding import derive

Floats = npt.NDArray[np.floating[Any]]
Kind = Literal["cyst", "fluid", "druse", "detachment", "focus"]

# Boundaries from above to below, each the upper end of the layer named after it; and the grey levels at the upper and
# the lower end of that layer, read off 60 normal scans. Zero: the level depends on thickness or on the lesion.
BOUNDARIES = {
    "ilm": (0, 0),  # nerve fibre layer
    "fibres": (86, 80),  # ganglion cells and inner plexiform layer
    "ipl": (58, 56),  # inner nuclear layer
    "inl": (82, 76),  # outer plexiform layer
    "opl": (54, 50),  # outer nuclear layer
    "elm": (66, 66),  # external limiting membrane
    "elm_low": (54, 62),  # myoids
    "ez": (188, 188),  # ellipsoid zone
    "ez_low": (128, 128),  # interdigitation zone
    "iz_low": (27, 27),  # fluid below the retina: no thickness unless a lesion gives it one
    "rpe_top": (165, 212),  # RPE, its upper half
    "rpe": (212, 150),  # its lower half
    "rpe_low": (0, 0),  # what lies below a druse or a detachment: no thickness unless a lesion gives it one
    "bruch": (150, 112),  # Bruch's membrane
    "choroid": (0, 0),
}
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
class Appearance:
    """How a scan was taken: everything that depends neither on the eye nor on its lesions."""

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
    left: int = 0  # columns that it left empty at the left end
    right: int = 0  # and at the right end
    margin: int = 255  # grey level of what it left: white; 0: black


def draw_appearance(seed: int) -> Appearance:
    """An appearance drawn by `seed`, in the ranges of real scans; two in three were moved by registration."""
    rng = np.random.default_rng(derive(seed, "look"))
    moved = rng.random() < 0.67
    return Appearance(
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


class Eye:
    """One retina, drawn from its seed."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(derive(seed, "eye"))
        self.seed = seed
        self.fovea = rng.uniform(-0.35, 0.35)  # x of its middle
        self.pit = rng.uniform(0.42, 0.62)  # radius of the foveal pit, millimetres
        # 1: the optic disc lies to the right, where the nerve fibres are thicker; -1: to the left
        self.disc = int(rng.choice([-1, 1]))
        self.thick = rng.uniform(0.9, 1.12)  # of the inner retina, 1: average
        self.choroid = rng.uniform(0.8, 1.3)  # thickness, 1: average
        self.phases = rng.uniform(0, 2 * np.pi, 6)  # of its slight waves


@dataclass(frozen=True)
class SliceGeometry:
    """Where the pixels of a slice lie on the eye."""

    height: int
    width: int
    spacing: Spacing
    appearance: Appearance
    eye: Eye
    y: float = 0.0  # millimetres from the middle slice
    disc: Disc | None = None  # in view

    @property
    def fovea(self) -> float:
        """x of its middle, millimetres."""
        return self.eye.fovea if self.disc is None else self.disc_x - self.disc.nasal * TO_FOVEA

    @property
    def disc_x(self) -> float:
        """x of the middle of the disc."""
        assert self.disc is not None
        return (self.disc.at - 0.5) * self.width * self.spacing.lateral / 1000

    def disc_distance(self) -> Floats:
        """(W,) millimetres from the middle of the disc."""
        return np.asarray(np.hypot(self.x - self.disc_x, self.y))

    @property
    def x(self) -> Floats:
        """(W,) millimetres."""
        return (np.arange(self.width) - (self.width - 1) / 2) * self.spacing.lateral / 1000

    @property
    def moved(self) -> Floats:
        """(W,) whole rows: registration moves columns of pixels, hence the steps in its white edges."""
        return np.rint(self.appearance.shift + self.appearance.shear * np.linspace(-0.5, 0.5, self.width))


def healthy(geometry: SliceGeometry) -> Floats:
    """Heights of `BOUNDARIES` without lesions, (K, W) micrometres above the middle of the RPE."""
    eye, x, y = geometry.eye, geometry.x, geometry.y
    r = np.hypot(x - geometry.fovea, y)
    pit = 1 - np.exp(-((r / eye.pit) ** 2))
    hump = np.exp(-(((r - 1.0) / 1.1) ** 2))
    wave = 1 + 0.04 * np.sin(2.1 * x + 1.3 * y + eye.phases[0]) + 0.02 * np.sin(5.3 * x + 2.2 * y + eye.phases[1])
    side = eye.disc if geometry.disc is None else geometry.disc.nasal
    towards_disc = 1 / (1 + np.exp((1.5 - side * (x - geometry.fovea)) / 0.45)) + 0.5 * np.tanh(y**2 / 3)
    near_disc = 0.0 if geometry.disc is None else fibres(geometry.disc_distance(), geometry.disc)
    thickness = [
        7 + pit * (9 + 32 * towards_disc) + near_disc,  # ilm
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
    heights = layers[::-1].cumsum(0)[::-1]
    return np.asarray(heights - heights[AT["rpe"]])


def baseline(geometry: SliceGeometry) -> Floats:
    """Rows of the middle of the undisturbed RPE, (W,); raises SettingsError where the retina does not fit the scan."""
    appearance, eye, x, moved, spacing = geometry.appearance, geometry.eye, geometry.x, geometry.moved, geometry.spacing
    half = geometry.width * spacing.lateral / 2000

    def form(y: float) -> Floats:
        bow = appearance.tilt * x / half / 2 - appearance.bend * (x**2 + y**2) / half**2
        ripple = np.sin(1.7 * x + 0.9 * y + eye.phases[2]) + 0.4 * np.sin(4.1 * x + 1.9 * y + eye.phases[3])
        return np.asarray(geometry.height * bow + 4 * ripple / spacing.axial + moved)

    middle = form(0.0)
    top = middle - healthy(replace(geometry, y=0.0))[0] / spacing.axial
    highest = (
        np.maximum(moved, 0) + 0.14 * geometry.height - top
    ).max()  # above is room for lesions to lift the retina
    lowest = (np.minimum(moved, 0) + geometry.height - 150 / spacing.axial - middle).min()
    if lowest < highest:
        raise SettingsError(
            f"synthetic retina: this tilt, bend, shift and shear need {highest - lowest:.0f} rows more than the "
            f"{geometry.height} of the scan; ask for a greater height or a flatter Appearance"
        )
    return np.asarray(form(geometry.y) + highest + appearance.depth * (lowest - highest))


class Site:
    """Where and how large lesion `number` is; what it does not say is drawn from the eye's seed."""

    def __init__(self, geometry: SliceGeometry, number: int, lesion: Lesion) -> None:
        rng = np.random.default_rng(derive(geometry.eye.seed, "lesion", number))
        drawn = rng.uniform(0.2, 0.8)
        self.lesion = lesion
        self.inner = bool(rng.random() < 0.5)  # a cyst in the inner nuclear layer instead of the outer
        self.depth = rng.uniform(0.1, 0.9)  # of a focus: 0 at the outer limiting membrane, 1 at the inner nuclear layer
        share, most = _USUAL_HEIGHT[lesion.kind]
        self.height = min(share * lesion.size_um, most) if lesion.height_um is None else lesion.height_um
        self.radius = lesion.size_um / 2000  # millimetres
        column = round((drawn if lesion.at is None else lesion.at) * (geometry.width - 1))  # none falls between columns
        self.x, self.y = float(geometry.x[column]), lesion.away_um / 1000

    def distance(self, geometry: SliceGeometry) -> Floats:
        """(W,) from its middle, squared, 1 at its rim."""
        return ((geometry.x - self.x) ** 2 + (geometry.y - self.y) ** 2) / self.radius**2


def lift(heights: Floats, site: Site, geometry: SliceGeometry) -> None:
    """Move the boundaries (K, W) above a lesion, in place. The baseline, Bruch's membrane, never moves."""
    distance = site.distance(geometry)
    dome = np.clip(1 - distance, 0, None) ** 1.5
    match site.lesion.kind:
        case "cyst":  # a wide swelling, by what does not fit into the layer and no less than half the cyst's height
            lowest = AT["ipl" if site.inner else "opl"]
            own = float(np.interp(site.x, geometry.x, heights[lowest] - heights[lowest + 1]))
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
        if site.lesion.kind == "druse" and 0 < k <= AT["elm"]:  # the layers above get thinner, by half at most
            lifted = np.maximum(0.6 * lifted, lifted - 0.5 * own_thickness)
