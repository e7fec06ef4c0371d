"""OCT scans: patches of the flattened retina through the method, blended into one map and pooled into one score."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
import torch

from anotwin.methods.protocol import Method
from anotwin.prepare.flatten import unflatten
from anotwin.prepare.patches import blend, cut, pool, shown_positions
from anotwin.prepare.scans import FlatScan, flat_scans, levels
from anotwin.records import Array, Batch, ImageSource, Status
from anotwin.run.batch import score_batch
from anotwin.run.scored import TERMS, Scored, not_finite
from anotwin.seeding import derive

OVERLAP = 2  # patches over a pixel, along each side
TOP = 0.15  # of a scan's patches make its score: seven of 45 (chosen by planted lesions, docs/research.md)

Maps = npt.NDArray[np.float32]


def scored_scans(
    method: Method,
    source: ImageSource,
    indices: Sequence[int],
    trained_on: frozenset[int] = frozenset(),
    *,
    workers: int = 0,
    pictures: bool = True,
) -> Iterator[Scored]:
    """The scans at `indices`, in that order; those in `trained_on` are not scored."""
    for scan in flat_scans(source, indices, workers):
        name = source.items[scan.index].id
        if scan.flat is None or scan.fingerprint is None:
            yield Scored(scan.index, scan.error, retina=scan.retina)
        elif scan.fingerprint in trained_on:
            yield Scored(scan.index, fingerprint=scan.fingerprint, excluded=True)
        else:
            yield _scored(method, scan, name, pictures)


def _scored(method: Method, scan: FlatScan, name: str, pictures: bool) -> Scored:
    assert scan.flat is not None
    assert scan.fingerprint is not None
    size, band = method.spec.size, scan.flat.pixels
    positions = shown_positions(scan.flat.valid, size, size // OVERLAP)
    if not len(positions):
        there = f"{band.shape[0]} x {band.shape[1]} pixels"
        why = f"{name}: its retina laid flat, {there}, has no patch of {size} x {size} that shows tissue"
        return Scored(scan.index, why, scan.fingerprint, retina=scan.retina)
    shown = levels(band).astype(np.float32) / 127.5 - 1
    patches = torch.from_numpy(cut(shown, positions, size))[:, None]  # (P, 1, S, S)
    columns: dict[str, list[float]] = {name: [] for name in TERMS}
    heat: list[Maps] = []
    twins: list[Maps] = []
    statuses: list[Status] = []
    for begin in range(0, len(patches), method.settings.search.batch_size):
        part = patches[begin : begin + method.settings.search.batch_size]
        prints = tuple(derive(scan.fingerprint, "patch", begin + row) for row in range(len(part)))
        counterpart, comparison = score_batch(method, Batch(part, prints))
        for term, column in columns.items():
            column += getattr(comparison, term).double().cpu().tolist()
        heat.append(comparison.heatmap.cpu().numpy())
        twins.append(counterpart.images[:, 0].float().cpu().numpy())
        statuses += counterpart.status
    if Status.NOT_FOUND in statuses or not np.isfinite(columns["score"]).all():
        return Scored(scan.index, not_finite(name), scan.fingerprint, status=Status.NOT_FOUND, retina=scan.retina)
    values = {term: pool(column, TOP) for term, column in columns.items()}
    values["mean_residual"] = float(np.mean(columns["mean_residual"]))
    worst = Status.BUDGET_SPENT if Status.BUDGET_SPENT in statuses else Status.CONVERGED
    hot = _over_band(np.concatenate(heat), positions, band.shape)
    painter = None
    if pictures:
        painter = partial(_pictures, scan, hot, _over_band(np.concatenate(twins), positions, band.shape))
    return Scored(scan.index, "", scan.fingerprint, values, worst, hot[~np.isnan(hot)], painter, scan.retina)


def _over_band(maps: Maps, positions: npt.NDArray[np.int64], shape: tuple[int, ...]) -> Maps:
    """Maps of patches as one of the band (h, w), NaN where no patch lies."""
    return blend(maps, positions, (shape[0], shape[1])).astype(np.float32)


def _pictures(scan: FlatScan, heat: Maps, twin: Maps, scale: float) -> dict[str, Array]:
    """All in the pixels of the scan; outside the band, and where no patch lies, the scan is its own counterpart."""
    flat, pixels = scan.flat, scan.pixels
    assert flat is not None
    assert pixels is not None
    twin = np.where(np.isnan(twin), flat.pixels, twin)
    difference = np.where(flat.valid, flat.pixels - twin, 0)  # in values of the band, [-2, 2]
    grey = unflatten(difference, flat) * flat.grey  # grey levels that the scan is brighter than its counterpart
    grey = grey if pixels.ndim == 2 else grey[:, :, None]
    counterpart = pixels - grey
    if pixels.dtype.kind in "iu":
        counterpart = np.rint(np.clip(counterpart, 0, np.iinfo(pixels.dtype).max))
    return {
        "query": pixels,
        "counterpart": counterpart.astype(pixels.dtype),
        "difference": unflatten(difference / 2, flat),
        "heatmap": unflatten(np.where(flat.valid, np.nan_to_num(heat), 0) / scale, flat),
    }
