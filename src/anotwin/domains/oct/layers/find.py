"""Find the retina in a B-scan: its inner surface, the RPE as it is and as it would be, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.domains.oct.layers import shortest_paths as paths
from anotwin.domains.oct.layers.baseline import undisturbed
from anotwin.domains.oct.layers.disc import disc_columns, hollow_columns, near_end
from anotwin.domains.oct.layers.left_out import Kind, LeftOut, inner, left_out
from anotwin.domains.oct.layers.mask import as_scan, known_pixels
from anotwin.domains.oct.layers.quality import CLEAR_RISE, CLEARLY_UPRIGHT, LineQuality, measure_lines
from anotwin.domains.oct.layers.shortest_paths import Bools, Floats, Grid
from anotwin.domains.oct.layers.tone import is_inverted, tones
from anotwin.domains.oct.records import Spacing

Lines = npt.NDArray[np.float32]

SPECTRALIS_AXIAL = 3.87  # micrometres a row
SPECTRALIS_LATERAL = 11.5  # a column of the quick scans: 512 over 20, 768 over 30 degrees of the eye
DEEPEST = 1920.0  # micrometres that a scan of more than 512 rows is taken to show
HALF_RPE = 18.0  # micrometres from the outer edge of its bright band to its middle
STRAY = 70.0  # micrometres that a line may differ from its neighbours by: the height of a druse
ALIKE = 8.0  # rows that baselines of neighbouring slices may differ in shape
APART = 500.0  # micrometres between slices, beyond which each is segmented alone
INVERTED = "no retina found: half of the picture is nearly white; are its greys inverted? Turn them over"
UPSIDE_DOWN = "upside down: the RPE lies above the inner surface; turn the scan over"


@dataclass(frozen=True)
class Retina:
    """The lines of a scan, in fractions of rows; all NaN where the picture cannot be a scan."""

    ilm: Lines  # (W,) inner limiting membrane: where the dark vitreous ends
    rpe: Lines  # (W,) middle of the bright band of the RPE as seen; Bruch's membrane where the RPE is lost
    baseline: Lines  # (W,) where the RPE would lie without drusen or detachments
    valid: Bools  # (W,) columns that show tissue
    quality: float  # 0..1
    reason: str = ""  # why the scan cannot be used; "": it can
    left_out: tuple[LeftOut, ...] = ()  # what is not valid, and why
    decides: Bools | None = None  # (W,) valid and not at the ends of what the scan shows; None: all that are valid


def default_spacing(height: int, width: int) -> Spacing:
    """The spacing assumed where no file gives one: that of a Heidelberg Spectralis.

    Its finer scans (1,024 columns over 20 degrees, 1,536 over 30) have twice the columns. More than 512 rows are taken
    to show a depth of 1.92 mm, as its 496 do. A picture does not tell its scale: another device needs its `Spacing`.
    """
    lateral = SPECTRALIS_LATERAL if width < 1000 else SPECTRALIS_LATERAL / 2
    return Spacing(SPECTRALIS_AXIAL if height <= 512 else DEEPEST / height, lateral)


def find_retinas(scans: Sequence[npt.NDArray[Any]], spacing: Spacing | None = None) -> list[Retina]:
    """The lines of a volume's slices, in their order; a single B-scan is a volume of one slice.

    Lines are found in each slice alone first. Where a line differs from those of the two slices at either side by more
    than `STRAY`, it is searched for again near them. Finally each baseline is averaged with those of the next slices:
    only their shapes, because the eye may have moved between slices. Slices of another size, or without a retina, are
    not used as neighbours. A picture that cannot be segmented has a `Retina` with a reason; nothing is raised.

    >>> find_retinas([np.zeros((496, 512), np.uint8)])[0].reason
    'one flat colour (every pixel is 0): there is nothing to see'

    Args:
        scans: (H, W), or (H, W, 3) with equal channels; any numeric type and range; in the order of the volume.
        spacing: of all slices; None: `default_spacing`. Slices more than `APART` micrometres apart have no neighbours.

    Returns:
        Lines over all W columns; where `valid` is False they are a smooth continuation. `quality` is the contrast found
        at both lines times the share of columns that show tissue.
    """
    found = [_search(scan, spacing) for scan in scans]
    if spacing is not None and spacing.between is not None and spacing.between > APART:
        return [_finish(one) for one in found]
    guides = [_guide(found, index) for index in range(len(found))]
    found = [one if near is None else _search_near(one, near) for one, near in zip(found, guides, strict=True)]
    retinas = [_finish(one) for one in found]
    return [_with_neighbours(retinas, index) for index in range(len(retinas))]


@dataclass(frozen=True)
class _Lines:
    """What was found in a scan before it is a `Retina`."""

    width: int  # of the scan
    coarse: Grid
    fine: Grid
    ilm: Floats  # on the fine grid
    rpe: Floats
    measured: LineQuality


def _search(scan: npt.NDArray[Any], spacing: Spacing | None) -> _Lines | Retina:
    """The lines; a `Retina` with its reason where the picture cannot be a scan."""
    values, reason = as_scan(scan)
    if values is not None:
        known = known_pixels(values, scan.dtype == np.uint8)
        reason = INVERTED if is_inverted(values, known) else ""
    if values is None or reason:
        width = np.shape(scan)[1] if np.ndim(scan) > 1 else 0
        nothing = np.full(width, np.nan, np.float32)
        return Retina(nothing, nothing, nothing, np.zeros(width, np.bool_), 0.0, reason)
    spacing = default_spacing(*values.shape) if spacing is None else spacing
    fine = spacing.axial, paths.FINE_COLUMN
    grids = [
        (paths.to_grid(tone, known, spacing, paths.ROW, paths.COLUMN), paths.to_grid(tone, known, spacing, *fine))
        for tone in tones(values, known)
    ]
    found = [_lines(values.shape[1], *grid) for grid in grids]
    # lines are compared in all tones, or the steepest would always win
    return max(found, key=lambda one: (not one.measured.reason(), _fit(one, grids)))


def _lines(width: int, coarse: Grid, fine: Grid) -> _Lines:
    """The lines of one tone."""
    lines = _measured(width, coarse, fine, paths.coarse_lines(coarse))
    if lines.measured.rise() > CLEAR_RISE:
        return lines
    other = _measured(width, coarse, fine, paths.coarse_lines(coarse, below=paths.BRIGHT_CHOROID))
    return other if other.measured.clearer_than(lines.measured) else lines


def _fit(lines: _Lines, grids: Sequence[tuple[Grid, Grid]]) -> float:
    if len(grids) == 1:
        return 0.0
    return sum(measure_lines(fine, lines.ilm, lines.rpe).score() for _, fine in grids)


def _measured(width: int, coarse: Grid, fine: Grid, found: tuple[Floats, Floats]) -> _Lines:
    ilm, rpe = _refined(coarse, fine, found)
    return _Lines(width, coarse, fine, ilm, rpe, measure_lines(fine, ilm, rpe))


def _search_near(lines: _Lines | Retina, near: tuple[Floats, Floats]) -> _Lines | Retina:
    """The lines searched for again, near two others on the fine grid."""
    if isinstance(lines, Retina):
        return lines
    coarse, fine = lines.coarse, lines.fine
    width = coarse.values.shape[1]
    places = (np.arange(width) + 0.5) * coarse.columns / fine.columns - 0.5
    outer = near[1] + HALF_RPE / fine.axial
    rows = [(np.interp(places, np.arange(len(line)), line) + 0.5) / coarse.rows - 0.5 for line in (near[0], outer)]
    ilm, rpe = _refined(coarse, fine, paths.coarse_lines(coarse, (rows[0], rows[1])))
    return replace(lines, ilm=ilm, rpe=rpe, measured=measure_lines(fine, ilm, rpe))


def _refined(coarse: Grid, fine: Grid, lines: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """ILM and RPE on the fine grid from ILM and outer edge of the RPE on the coarse one."""
    width = fine.values.shape[1]
    ilm, rpe = (_rows(line, coarse, fine.columns, width) for line in lines)
    return paths.fine_line(fine, ilm, "ilm"), paths.fine_line(fine, rpe - HALF_RPE / fine.axial, "rpe")


def _finish(lines: _Lines | Retina) -> Retina:
    if isinstance(lines, Retina):
        return lines
    fine, measured = lines.fine, lines.measured
    reason = measured.reason()
    if reason or measured.score() < CLEARLY_UPRIGHT:
        coarse, over = paths.turned(lines.coarse), paths.turned(fine)
        other = measure_lines(over, *_refined(coarse, over, paths.coarse_lines(coarse)))
        reason = UPSIDE_DOWN if other.score() > measured.score() and not other.reason() else reason
    hollow = hollow_columns(fine, lines.ilm, lines.rpe, measured.shown)
    weights = np.where(hollow & near_end(fine), 0, measured.weights())
    base = undisturbed(lines.rpe * fine.axial, weights, fine.lateral) / fine.axial
    disc = disc_columns(fine, (lines.ilm, lines.rpe, base), measured.shown, hollow)
    if disc.any():
        base = undisturbed(lines.rpe * fine.axial, np.where(disc, 0, weights), fine.lateral) / fine.axial
    ilm, rpe, baseline = (_rows(line, fine, 1, lines.width) for line in (lines.ilm, lines.rpe, base))
    columns = np.arange(lines.width) // fine.columns  # of the fine grid
    valid = (measured.valid & ~disc)[columns]
    kinds: dict[Kind, Bools] = {"disc": disc[columns], "margin": ~measured.shown[columns], "dark": ~valid}
    decides = valid & inner(measured.shown[columns], fine.lateral / fine.columns)
    return Retina(ilm, rpe, baseline, valid, measured.quality(), reason, left_out(kinds), decides)


def _guide(found: Sequence[_Lines | Retina], index: int) -> tuple[Floats, Floats] | None:
    """The medians of a slice's two lines and those of its neighbours; None where it differs little from them."""
    own = found[index]
    if isinstance(own, Retina):
        return None
    beside = (*found[max(0, index - 2) : index], *found[index + 1 : index + 3])
    near = [one for one in beside if isinstance(one, _Lines) and not one.measured.reason()]
    near = [one for one in near if one.fine.values.shape == own.fine.values.shape]
    if len(near) < 2:
        return None
    ilm = np.median([own.ilm, *(_onto(one.ilm, own.ilm) for one in near)], axis=0)
    rpe = np.median([own.rpe, *(_onto(one.rpe, own.rpe) for one in near)], axis=0)
    differs = max(np.abs(own.ilm - ilm).max(), np.abs(own.rpe - rpe).max()) * own.fine.axial
    return (ilm, rpe) if differs > STRAY else None


def _with_neighbours(retinas: Sequence[Retina], index: int) -> Retina:
    """A retina whose baseline is the mean of its own, twice, and those of the next slices of nearly the same shape."""
    own = retinas[index]
    curves = [own.baseline, own.baseline]
    for other in (*retinas[max(0, index - 1) : index], *retinas[index + 1 : index + 2]):
        if not (own.reason or other.reason) and len(other.baseline) == len(own.baseline):
            moved = _onto(other.baseline, own.baseline)
            if np.abs(moved - own.baseline).max() < ALIKE:
                curves.append(moved)
    return replace(own, baseline=np.mean(curves, axis=0, dtype=np.float32))


def _onto(line: Floats, own: Floats) -> Floats:
    """A line of another slice, moved as a whole to the height of this one."""
    return line + np.median(own - line)


def _rows(line: npt.NDArray[Any], grid: Grid, columns: int, width: int) -> npt.NDArray[np.float32]:
    """A line of a grid as rows of the scan, over `width` columns of which each is `columns` of the scan."""
    places = ((np.arange(width) + 0.5) * columns / grid.columns) - 0.5
    rows = (np.interp(places, np.arange(len(line)), line) + 0.5) * grid.rows - 0.5
    return np.asarray(rows, np.float32)
