"""Scoring on this machine: a source in, a stream of findings out, memory bounded by one batch.

A score depends on (bundle, image, seed) alone. Two things see to that beyond seeding and frozen networks: batches are
filled up to a power of two, because a CPU's kernels may add in another order for odd batch sizes (with two threads a
batch of 37 and a batch of 1 differed in the last bits, and 500 steps of descent turn last bits into digits), and the
rows that fill it up are thrown away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from anotwin.calibrate.threshold import decide
from anotwin.errors import DataError
from anotwin.methods.protocol import Method
from anotwin.prepare.resize import difference_to_native, image_to_native, map_to_native
from anotwin.prepare.stream import PreparedBatch, stream
from anotwin.records import Batch, Calibration, Comparison, Counterpart, Finding, ImageSource, Status, Trace

HEAT_QUANTILE = 0.995  # of the pixels of held-out normals: the heat that counts as 1 (chosen by eye, on normals)
UNCALIBRATED_HEAT = 0.25  # of the pixel range: one scale for all images, or heat could not be compared between them
HEAT_PIXELS = 4096  # an image, evenly spaced, are enough to know it


@dataclass(frozen=True)
class NormalScores:
    """What held-out normals score: the raw material of a calibration. All arrays are (n,)."""

    scores: npt.NDArray[np.float64]
    residuals: npt.NDArray[np.float64]
    discriminations: npt.NDArray[np.float64]
    heatmap_scale: float
    excluded: int  # images left out because the model was trained on them
    failures: tuple[str, ...]  # "file: why" for those that could not be read


def score_batch(method: Method, batch: Batch, trace_at: Sequence[int] = ()) -> tuple[Counterpart, Comparison]:
    """Counterparts of a batch (B, C, S, S) and how it compares with them, each row as if it were alone."""
    size = len(batch.fingerprints)
    full = _fill(batch)
    counterpart = method.counterpart(full, trace_at)
    comparison = method.compare(full.images, counterpart)
    return _cut_counterpart(counterpart, size), _cut_comparison(comparison, size)


def score_stream(
    method: Method,
    source: ImageSource,
    calibration: Calibration | None,
    indices: Sequence[int] | None = None,
    *,
    workers: int = 0,
    pictures: bool = True,
) -> Iterator[Finding]:
    """Findings in the order of the source; an image that cannot be read or scored becomes a finding with its error."""
    wanted = range(len(source.items)) if indices is None else indices
    taken = 0  # of `wanted`, which comes in slices: nothing else is kept of what is done
    for prepared in stream(source, wanted, method.spec, method.settings.search.batch_size, workers):
        found = dict(zip(prepared.indices, _findings(method, source, calibration, prepared, pictures), strict=True))
        for index, message in prepared.failures:
            item = source.items[index]
            found[index] = Finding(item.id, item.label, item.normal, error=message)
        count = len(prepared.indices) + len(prepared.failures)
        for index in dict.fromkeys(wanted[taken : taken + count]):
            yield found[index]
        taken += count


def normal_scores(
    method: Method,
    source: ImageSource,
    indices: Sequence[int],
    trained_on: frozenset[int] = frozenset(),
    *,
    workers: int = 0,
) -> Iterator[int | NormalScores]:
    """Score normals for calibration: yields how many are done after each batch and, last, the `NormalScores`."""
    rows: list[torch.Tensor] = []
    heats: list[npt.NDArray[np.float32]] = []
    failures: list[str] = []
    done = excluded = 0
    for prepared in stream(source, indices, method.spec, method.settings.search.batch_size, workers):
        failures += [message for _, message in prepared.failures]
        keep = [row for row, print_ in enumerate(prepared.fingerprints) if print_ not in trained_on]
        excluded += len(prepared.fingerprints) - len(keep)
        if keep:
            batch = Batch(prepared.images[keep], tuple(prepared.fingerprints[row] for row in keep))
            _, comparison = score_batch(method, batch)
            rows.append(torch.stack([comparison.score, comparison.residual, comparison.discrimination]).cpu())
            maps = comparison.heatmap.flatten(1).cpu().numpy()
            heats.append(maps[:, :: max(maps.shape[1] // HEAT_PIXELS, 1)].ravel())
        done += len(prepared.indices) + len(prepared.failures)
        yield done
    if not rows:
        why = f"the first of {len(failures)} failures: {failures[0]}" if failures else "all of them were trained on"
        raise DataError(
            f"{source.root}: no image to calibrate on ({why}); give a folder of normal images not used by train"
        )
    scores, residuals, discriminations = torch.cat(rows, dim=1).double().numpy()
    scale = float(np.quantile(np.concatenate(heats), HEAT_QUANTILE))
    yield NormalScores(scores, residuals, discriminations, max(scale, 1e-6), excluded, tuple(failures))


def trace_search(method: Method, source: ImageSource, indices: Sequence[int], trace_at: Sequence[int]) -> Trace | None:
    """The search for a few images again, with its trace; None for methods that do not search."""
    (prepared,) = stream(source, indices, method.spec, len(indices), keep_pixels=False)
    if not prepared.indices:
        return None
    return score_batch(method, Batch(prepared.images, prepared.fingerprints), trace_at)[0].trace


def _findings(
    method: Method,
    source: ImageSource,
    calibration: Calibration | None,
    prepared: PreparedBatch,
    pictures: bool,
) -> Iterator[Finding]:
    if not prepared.indices:
        return
    counterpart, comparison = score_batch(method, Batch(prepared.images, prepared.fingerprints))
    numbers = {
        name: getattr(comparison, name).double().cpu().tolist()
        for name in ("score", "anomaly", "residual", "discrimination", "discriminator", "mean_residual")
    }
    for row, index in enumerate(prepared.indices):
        item, status = source.items[index], counterpart.status[row]
        values = {name: column[row] for name, column in numbers.items()}
        if status is Status.NOT_FOUND or not np.isfinite(values["score"]):
            error = f"{item.id}: no counterpart found: its loss was never finite; is the model damaged?"
            yield Finding(item.id, item.label, item.normal, status=Status.NOT_FOUND.value, error=error)
            continue
        p_value, anomalous, flagged_by = decide(
            calibration, values["score"], values["residual"], values["discrimination"]
        )
        finding = Finding(
            item.id,
            item.label,
            item.normal,
            **values,
            p_value=p_value,
            anomalous=anomalous,
            flagged_by=flagged_by,
            status=status.value,
            fingerprint=prepared.fingerprints[row],
        )
        yield (
            _with_pictures(finding, method, prepared, row, counterpart, comparison, calibration)
            if pictures
            else finding
        )


def _with_pictures(
    finding: Finding,
    method: Method,
    prepared: PreparedBatch,
    row: int,
    counterpart: Counterpart,
    comparison: Comparison,
    calibration: Calibration | None,
) -> Finding:
    pixels, geometry = prepared.pixels[row], prepared.geometries[row]
    scale = calibration.heatmap_scale if calibration else UNCALIBRATED_HEAT
    difference = comparison.difference[row].mean(0).cpu() / 2  # pixels in [0, 1]: differences in [-1, 1]
    return replace(
        finding,
        query=pixels,
        counterpart=image_to_native(counterpart.images[row].cpu(), geometry, method.spec, pixels),
        difference=difference_to_native(difference, geometry),
        heatmap=map_to_native(comparison.heatmap[row].cpu() / scale, geometry),
    )


def _fill(batch: Batch) -> Batch:
    """The batch filled up to the next power of two by repeating its last row."""
    size = len(batch.fingerprints)
    missing = (1 << (size - 1).bit_length()) - size
    if missing == 0:
        return batch
    images = torch.cat([batch.images, batch.images[-1:].expand(missing, -1, -1, -1)])
    return Batch(images, batch.fingerprints + batch.fingerprints[-1:] * missing)


def _cut_counterpart(counterpart: Counterpart, size: int) -> Counterpart:
    trace = counterpart.trace
    return Counterpart(
        counterpart.images[:size],
        None if counterpart.latents is None else counterpart.latents[:size],
        {name: loss[:size] for name, loss in counterpart.losses.items()},
        counterpart.steps[:size],
        counterpart.status[:size],
        None if trace is None else Trace(trace.steps, trace.losses[:, :size], trace.images[:, :size]),
    )


def _cut_comparison(comparison: Comparison, size: int) -> Comparison:
    return Comparison(**{name: value[:size] for name, value in vars(comparison).items()})
