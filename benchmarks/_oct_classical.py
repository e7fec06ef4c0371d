"""PCA and kNN on patches of flattened bands in `oct.py`: what a method without a network makes of the same retinas.

A band is averaged to 12 x 48 micrometres a pixel first (speckle is no lesion), the patches are 16 x 16 pixels of that,
on a grid, and what one may look like depends on its depth: each row of the grid has a model of its own. The score of a
scan is the mean of its highest patches (`anotwin.prepare.patches.pool`).

The form was chosen without a label, by lesions planted into normals of patients not learnt from: cysts, drusen, fluid,
thickening, foci.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from _common import Floats
from anotwin.domains.oct.flatten import Flat
from anotwin.prepare.patches import MIN_VALID, cut, grid_positions, pool, valid_share


@dataclass(frozen=True)
class Form:
    """How patches are taken, and how much is learnt from them."""

    rows: int = 2  # of the band that become one
    columns: int = 4
    size: int = 16
    stride: int = 4
    components: int = 40
    neighbours: int = 1
    by_depth: bool = True  # a model for each row of the grid; else one for all
    share: float = 0.05  # of a scan's patches that make its score


Score = Callable[[Floats], Floats]  # patches (P, size^2) -> (P,)
Maker = Callable[[Floats, Form], Score]


def reconstruction(patches: Floats, form: Form) -> Score:
    """Root mean square of what the first components of the training patches leave of a patch."""
    pca = PCA(min(form.components, min(patches.shape) // 2), random_state=0).fit(patches)

    def scores(queries: Floats) -> Floats:
        rest = queries - pca.inverse_transform(pca.transform(queries))
        return np.asarray(np.sqrt(np.square(rest).mean(axis=1)))

    return scores


def nearest(patches: Floats, form: Form) -> Score:
    """Root mean square distance to the nearest training patches."""
    known = NearestNeighbors(n_neighbors=min(form.neighbours, len(patches)), algorithm="brute").fit(patches)
    return lambda queries: np.asarray(known.kneighbors(queries)[0].mean(axis=1) / np.sqrt(queries.shape[1]))


CLASSICAL: Mapping[str, Maker] = {"PCA": reconstruction, "kNN": nearest}


@dataclass(frozen=True, eq=False)
class Cut:
    """The patches of one scan."""

    patches: npt.NDArray[np.float32]  # (P, size^2)
    depth: npt.NDArray[np.int64]  # (P,) the row of the band where each begins


def cut_band(flat: Flat, form: Form) -> Cut:
    """The patches of a band that show enough of it; all, where none does."""
    pixels, valid = (_averaged(values, form) for values in (flat.pixels, flat.valid.astype(np.float32)))
    size = min(form.size, *pixels.shape)
    positions = grid_positions((pixels.shape[0], pixels.shape[1]), size, min(form.stride, size))
    share = valid_share(valid >= 0.5, size)[positions[:, 0], positions[:, 1]]
    if (share >= MIN_VALID).any():
        positions = positions[share >= MIN_VALID]
    patches = cut(pixels, positions, size).reshape(len(positions), -1)
    return Cut(patches, positions[:, 0])


def _averaged(values: npt.NDArray[np.float32], form: Form) -> npt.NDArray[np.float32]:
    down, across = values.shape[0] // form.rows, values.shape[1] // form.columns
    blocks = values[: down * form.rows, : across * form.columns].reshape(down, form.rows, across, form.columns)
    return np.asarray(blocks.mean(axis=(1, 3)), dtype=np.float32)


def scan_scores(method: str, training: Sequence[Cut], queries: Sequence[Cut], form: Form) -> Floats:
    """Learn from scans, score others: (N,)."""
    models: dict[int, Score] = {}
    for depth in np.unique(_depths(queries, form)).tolist():
        chosen = [scan.patches[_at(scan, depth, form)] for scan in training]
        models[depth] = CLASSICAL[method](np.concatenate(chosen).astype(np.float64), form)
    scores = []
    for scan in queries:
        values = np.empty(len(scan.patches))
        for depth, model in models.items():
            mine = _at(scan, depth, form)
            if mine.any():
                values[mine] = model(scan.patches[mine].astype(np.float64))
        scores.append(pool(values, form.share))
    return np.array(scores)


def _depths(scans: Sequence[Cut], form: Form) -> npt.NDArray[np.int64]:
    return np.concatenate([scan.depth for scan in scans]) if form.by_depth else np.zeros(1, np.int64)


def _at(scan: Cut, depth: int, form: Form) -> npt.NDArray[np.bool_]:
    return scan.depth == depth if form.by_depth else np.ones(len(scan.depth), bool)
