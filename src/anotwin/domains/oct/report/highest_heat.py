"""The patch of a scan with the most heat, as the model saw it: the paper's four rows show patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from anotwin.domains.oct.flatten import Flat, flatten, to_scan
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.scans import levels
from anotwin.prepare.patches import covering_positions, cut
from anotwin.records import Finding

STEP = 8  # places tried along a patch's side: one every eighth of it


def highest_heat_patch(finding: Finding, size: int, spacing: Spacing | None = None) -> Finding | None:
    """The finding of a scan, with pictures (S, S) of the patch of the flattened retina that has the most heat.

    Query and counterpart are uint8, 0 for -1 and 255 for 1. None without pictures, a retina or a place for a patch
    that decides. `spacing` is that with which the retina was found.
    """
    query, difference, heat = finding.query, finding.difference, finding.heatmap
    if query is None or difference is None or heat is None or finding.evidence is None or finding.evidence.reason:
        return None
    flat = flatten(query, finding.evidence, spacing=spacing)
    positions, deciding = covering_positions(flat.valid, flat.deciding, size, max(size // STEP, 1))
    positions = positions[deciding]
    if not len(positions):
        return None
    hot, differs = _flattened(heat, flat), _flattened(difference, flat)
    highest = positions[[int(cut(hot, positions, size).mean(axis=(1, 2)).argmax())]]
    counterpart = flat.pixels - 2 * differs  # differences are in [-1, 1], values of the band too
    shown = [cut(picture, highest, size)[0] for picture in (levels(flat.pixels), levels(counterpart), differs, hot)]
    return replace(finding, query=shown[0], counterpart=shown[1], difference=shown[2], heatmap=shown[3])


def _flattened(values: npt.NDArray[np.float32], flat: Flat) -> npt.NDArray[np.float32]:
    """A map over the scan (H, W) at the places of the band: (h, w), bilinear."""
    rows, columns = np.indices(flat.pixels.shape)
    places = to_scan(rows, columns, flat)
    return np.asarray(map_coordinates(values, list(places), order=1, mode="nearest"), dtype=np.float32)
