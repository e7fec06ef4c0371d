"""Whether a scan has the scale of those that a model learnt from: its size, spacing, thickness and grain.

A picture does not tell its scale. One resized to 224 x 224 for another program, or a file with a placeholder for its
spacing, becomes a retina of half its thickness: another thing than the model knows, however healthy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.domains.oct.flatten import Flat, to_flat
from anotwin.domains.oct.layers.find import DEEPEST, Retina, default_spacing
from anotwin.domains.oct.records import Spacing
from anotwin.records import Array

PLAUSIBLE = (150.0, 900.0)  # micrometres, median of a scan: of 175 real ones, atrophy and oedema included, 188 to 600
USUAL = (220.0, 450.0)  # micrometres, median of the scans of a data set
RESIZED = 0.9  # of the thinnest in training: thinner, at an assumed spacing, and usual had it been resized: refused
THIN, THICK = 0.65, 2.5  # of the thinnest and the thickest in training: beyond, nothing that is decided has a meaning
# How far beyond the lowest and the highest in training a quantity may lie before it is said, and in which words;
# diseases change the thickness, so that it has more room upwards.
FAR = {
    "rows": (0.8, 1.25, "{:.0f}", "{} rows"),
    "columns": (0.8, 1.25, "{:.0f}", "{} columns"),
    "axial_um": (0.8, 1.25, "{:.2f}", "{} micrometres a row"),
    "lateral_um": (0.67, 1.5, "{:.1f}", "{} micrometres a column"),
    "width_mm": (0.67, 1.5, "{:.1f}", "{} mm wide"),
    "thickness_um": (0.8, 2.0, "{:.0f}", "a retina {} micrometres thick"),
    "speckle": (0.67, 1.5, "{:.3f}", "a grain of {}"),
}


@dataclass(frozen=True)
class Scale:
    """What is measured of a scan; see `FAR`."""

    rows: float
    columns: float
    axial_um: float
    lateral_um: float
    width_mm: float
    thickness_um: float  # from the ILM to the undisturbed RPE, median of the valid columns
    speckle: float  # median step from pixel to pixel along the rows of the band's retina, in values of the band


def thickness(retina: Retina, axial: float) -> float:
    """Micrometres from the ILM to the undisturbed RPE: the median of the valid columns."""
    return float(np.median((retina.baseline - retina.ilm)[retina.valid])) * axial


def implausible(retina: Retina, shape: tuple[int, ...], spacing: Spacing | None) -> str:
    """Why no retina can have the thickness that the spacing gives it; "": it can."""
    axial = (spacing or default_spacing(shape[0], shape[1])).axial
    thick = thickness(retina, axial) if retina.valid.any() else PLAUSIBLE[0]
    if PLAUSIBLE[0] <= thick <= PLAUSIBLE[1]:
        return ""
    return f"its retina would be {thick:.0f} micrometres thick at {_told(axial, spacing)}; {_advice(shape, spacing)}"


def doubts(thicknesses: Sequence[float]) -> list[str]:
    """A sentence where most retinas of a data set (n,), in micrometres, are thinner or thicker than retinas are.

    >>> doubts([300.0, 290.0]), len(doubts([150.0, 160.0, 300.0]))
    ([], 1)
    """
    middle = float(np.median(thicknesses)) if len(thicknesses) else USUAL[0]
    if USUAL[0] <= middle <= USUAL[1]:
        return []
    return [
        f"half of the retinas are {'less' if middle < USUAL[0] else 'more'} than {middle:.0f} micrometres thick, usual "
        f"are {USUAL[0]:g} to {USUAL[1]:g}: check the spacing (axial_um in manifest.csv); were the pictures resized?"
    ]


def measure(pixels: Array, retina: Retina, flat: Flat, spacing: Spacing | None) -> Scale:
    """The scale of a scan (H, W) or (H, W, 3) with its lines and its band."""
    rows, columns = pixels.shape[:2]
    told = spacing or default_spacing(rows, columns)
    steps = np.abs(np.diff(flat.pixels, axis=1))[_tissue(retina, flat)]
    return Scale(
        rows=rows,
        columns=columns,
        axial_um=told.axial,
        lateral_um=told.lateral,
        width_mm=columns * told.lateral / 1000,
        thickness_um=thickness(retina, told.axial),
        speckle=float(np.median(steps)) if steps.size else 0.0,
    )


def ranges(scales: Iterable[Scale]) -> dict[str, list[float]]:
    """The lowest and the highest of each quantity, as JSON."""
    tables = [asdict(scale) for scale in scales]
    return {name: [float(f"{pick(t[name] for t in tables):.4g}") for pick in (min, max)] for name in FAR if tables}


def refused(scale: Scale, spacing: Spacing | None, usual: Mapping[str, Any]) -> str:
    """Why a decision on a scan would have no meaning, beside the ranges of training `usual`; "": it has one."""
    if not {"thickness_um", "width_mm", "rows"} <= usual.keys():
        return ""
    thick, (low, high), shape = scale.thickness_um, usual["thickness_um"], (int(scale.rows), int(scale.columns))
    beside = f"{thick:.0f} micrometres thick at {_told(scale.axial_um, spacing)}, in training {low:.0f} to {high:.0f}"
    sides = _side("thickness_um", thick, usual) + _side("width_mm", scale.width_mm, usual)
    if not THIN * low <= thick <= THICK * high or abs(sides) == 2:  # thin and narrow, or thick and wide: a wrong scale
        return f"its retina would be {beside}; {_advice(shape, spacing)}"
    full = DEEPEST / scale.rows  # micrometres a row, if all of the depth had been resized to so many rows
    usual_then = RESIZED * low <= thick * full / scale.axial_um <= 1.2 * high
    if spacing is None and scale.rows < RESIZED * usual["rows"][0] and thick < RESIZED * low and usual_then:
        return f"its retina would be {beside}; {_advice(shape, spacing)}"
    return ""


def unlike(scale: Scale, usual: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Quantities that lie far from all of training: (name, words with the value and the range) of each."""
    found = []
    for name, (_, _, number, words) in FAR.items():
        value = getattr(scale, name)
        if name in usual and _side(name, value, usual):
            low, high = (number.format(each) for each in usual[name])
            said = words.format(number.format(value))
            found.append((name, f"{said} (in training {low if low == high else f'{low} to {high}'})"))
    return tuple(found)


def _side(name: str, value: float, usual: Mapping[str, Any]) -> int:
    """-1 far below all of training, 1 far above, else 0."""
    below, above, _, _ = FAR[name]
    return int(value > above * usual[name][1]) - int(value < below * usual[name][0])


def _tissue(retina: Retina, flat: Flat) -> npt.NDArray[np.bool_]:
    """(h, w - 1) True where a pixel of the band and the next lie between the lines."""
    rows, across = np.arange(len(flat.pixels))[:, None], np.arange(flat.pixels.shape[1])
    columns = np.minimum(((across + 0.5) * flat.columns).astype(np.int64), len(retina.ilm) - 1)
    ilm, rpe = (to_flat(line[columns], columns, flat)[0] for line in (retina.ilm, retina.rpe))
    inside = flat.valid & (rows > ilm) & (rows < rpe)
    return np.asarray(inside[:, 1:] & inside[:, :-1])


def _told(axial: float, spacing: Spacing | None) -> str:
    return f"{axial:.2f} micrometres a row{', which are assumed' if spacing is None else ''}"


def _advice(shape: tuple[int, ...], spacing: Spacing | None) -> str:
    rows, columns = shape[:2]
    if spacing is not None:
        return "its spacing cannot be right; give axial_um and lateral_um in manifest.csv"
    whole = f"{DEEPEST / rows:.2f} micrometres a row if all of a Spectralis' depth of {DEEPEST / 1000:.2f} mm is in it"
    return (
        f"was the picture of {rows} x {columns} pixels resized? Give its spacing, as axial_um and lateral_um in "
        f"manifest.csv ({whole})"
    )
