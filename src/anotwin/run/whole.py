"""Whole images, each resized to the model's square: a source in, `Scored` images out, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from anotwin.methods.protocol import Method
from anotwin.prepare.resize import difference_to_native, image_to_native, map_to_native
from anotwin.prepare.stream import PreparedBatch, stream
from anotwin.records import Array, Batch, Comparison, Counterpart, Geometry, ImageSource, ImageSpec, Status
from anotwin.run.batch import score_batch
from anotwin.run.scored import TERMS, Scored, not_finite


def scored_images(
    method: Method,
    source: ImageSource,
    indices: Sequence[int],
    trained_on: frozenset[int] = frozenset(),
    *,
    workers: int = 0,
    pictures: bool = True,
) -> Iterator[Scored]:
    """The images at `indices`, in that order; those in `trained_on` are not scored."""
    taken = 0  # of `indices`, which comes in slices: nothing else is kept of what is done
    for prepared in stream(source, indices, method.spec, method.settings.search.batch_size, workers, pictures):
        found = {index: Scored(index, error) for index, error in prepared.failures}
        keep = [row for row, print_ in enumerate(prepared.fingerprints) if print_ not in trained_on]
        for row in range(len(prepared.indices)):
            found[prepared.indices[row]] = Scored(
                prepared.indices[row], fingerprint=prepared.fingerprints[row], excluded=True
            )
        found |= {scored.index: scored for scored in _scored(method, source, prepared, keep, pictures)}
        count = len(prepared.indices) + len(prepared.failures)
        for index in dict.fromkeys(indices[taken : taken + count]):
            yield found[index]
        taken += count


def _scored(
    method: Method, source: ImageSource, prepared: PreparedBatch, keep: list[int], pictures: bool
) -> Iterator[Scored]:
    if not keep:
        return
    batch = Batch(prepared.images[keep], tuple(prepared.fingerprints[row] for row in keep))
    counterpart, comparison = score_batch(method, batch)
    columns = {name: getattr(comparison, name).double().cpu().tolist() for name in TERMS}
    heat = comparison.heatmap.cpu().numpy()
    for place, row in enumerate(keep):
        index, status = prepared.indices[row], counterpart.status[place]
        values = {name: column[place] for name, column in columns.items()}
        error = ""
        if status is Status.NOT_FOUND or not np.isfinite(values["score"]):
            error, status = not_finite(source.items[index].id), Status.NOT_FOUND
        painter = None
        if pictures and not error:
            geometry, pixels = prepared.geometries[row], prepared.pixels[row]
            painter = partial(_pictures, counterpart, comparison, place, pixels, geometry, method.spec)
        yield Scored(index, error, prepared.fingerprints[row], values, status, heat[place], painter)


def _pictures(
    counterpart: Counterpart,
    comparison: Comparison,
    place: int,
    pixels: Array,
    geometry: Geometry,
    spec: ImageSpec,
    scale: float,
) -> dict[str, Array]:
    difference = comparison.difference[place].mean(0).cpu() / 2  # pixels in [0, 1]: differences in [-1, 1]
    heat: torch.Tensor = comparison.heatmap[place].cpu() / scale
    return {
        "query": pixels,
        "counterpart": image_to_native(counterpart.images[place].cpu(), geometry, spec, pixels),
        "difference": difference_to_native(difference, geometry),
        "heatmap": map_to_native(heat, geometry),
    }
