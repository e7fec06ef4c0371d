"""Parts `auroc` and `ablation`: what scores and maps of each method say, and how far ours are ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from anotwin.evaluate.metrics import group_proportion_interval
from anotwin.methods.pix2pix import Pix2Pix
from benchmarks.common.kept import Outcome
from benchmarks.common.rows import Cell, Floats, Row, console
from benchmarks.surfaces.alone import ALONE, registered
from benchmarks.surfaces.intervals import Estimate, Heat, Resamples
from benchmarks.surfaces.methods import CLASSICAL, DEFAULT, TERMS, Study
from benchmarks.surfaces.other_libraries import PEERS, PRETRAINED
from benchmarks.surfaces.sets import Surfaces

cell = partial(Cell, "surfaces")  # case, method
IMAGE, PIXEL, REGION = "image_auroc", "pixel_auroc", "aupro"
GOALS = {"magnetic_tile": {IMAGE: ">= 0.90", PIXEL: ">= 0.88", REGION: ">= 0.75"}}
LONGEST = 1800  # seconds of training a set, on two cores
AHEAD, ENOUGH = ">= 0", 2  # of an interval's lower end; sets on which ours is to be ahead of the pretrained row


@dataclass(frozen=True, eq=False)
class Measured:
    """What is compared of a method on a set: by the name of the metric."""

    estimates: dict[str, Estimate]

    @classmethod
    def of(cls, outcome: Outcome, surfaces: Surfaces, resamples: Resamples) -> Measured:
        found = {IMAGE: resamples.auroc(outcome.columns["score"])}
        if "heat" in outcome.columns:
            found[PIXEL], found[REGION] = resamples.pixels(surfaces.masks, split_maps(outcome, surfaces))
        return cls(found)


def split_maps(outcome: Outcome, surfaces: Surfaces) -> list[Heat]:
    """The row of all pixels -> a map of each test image."""
    shapes = [image.shape[:2] for image in surfaces.images]
    parts = np.split(outcome.columns["heat"], np.cumsum([high * wide for high, wide in shapes])[:-1])
    return [part.reshape(shape).astype(np.float32) for part, shape in zip(parts, shapes, strict=True)]


def auroc_rows(study: Study) -> Iterator[Row]:
    """All numbers of every method on every set, and by how much ours is above each other's."""
    claimed = ours(study.arguments.methods)
    won: dict[str, list[bool]] = {name: [] for name in PRETRAINED}
    for surfaces in study.sets:
        resamples, compared = Resamples.draw(surfaces.abnormal, surfaces.groups), {}
        for method in study.arguments.methods:
            outcome = study.outcome(method, surfaces)
            if outcome.error:
                console.print(f"{surfaces.name}: {method} has no row: {outcome.error}", markup=False)
                continue
            compared[method] = Measured.of(outcome, surfaces, resamples)
            goals = method == claimed and has_goals(study)
            yield from method_rows(method, outcome, compared[method], surfaces, resamples, goals)
        if claimed is not None and claimed in compared:
            yield from ahead_rows(claimed, compared, surfaces, has_goals(study))
            for name in set(PRETRAINED) & compared.keys():
                won[name].append((compared[claimed].estimates[IMAGE] - compared[name].estimates[IMAGE]).value > 0)
    for name, each in won.items():
        if len(each) > 1:
            rows = cell("all sets", str(claimed), goals=has_goals(study))
            yield rows.row(f"sets_ahead_of_{name}", sum(each), goal=f">= {ENOUGH}")


def ours(methods: Sequence[str]) -> str | None:
    """The method that the goals are about: the default, else the product's first among those that run."""
    own = [name for name in methods if name not in CLASSICAL and name not in PEERS]
    return DEFAULT if DEFAULT in own else next(iter(own), None)


def has_goals(study: Study) -> bool:
    """Goals are of defaults, at any budget."""
    return not study.arguments.quick and not study.arguments.set and study.arguments.steps is None


def method_rows(
    method: str, outcome: Outcome, measured: Measured, surfaces: Surfaces, resamples: Resamples, goals: bool
) -> Iterator[Row]:
    """Of one method on one set."""
    rows, own = cell(surfaces.name, method, goals), GOALS.get(surfaces.name, {})
    for metric, estimate in measured.estimates.items():
        yield rows.row(metric, estimate.value, estimate.interval, goal=own.get(metric))
    labels, scores = surfaces.labels, outcome.columns["score"]
    for label in dict.fromkeys(labels[surfaces.abnormal].tolist()):
        estimate = resamples.auroc(scores, (labels == label) | ~surfaces.abnormal)
        yield replace(rows, case=f"{surfaces.name}: {label}").row(IMAGE, estimate.value, estimate.interval)
    if "anomalous" in outcome.columns:
        flags, promised = outcome.columns["anomalous"] > 0, float(outcome.columns["promised"][0])
        good = np.flatnonzero(~surfaces.abnormal)
        interval = group_proportion_interval(flags[good], [surfaces.groups[index] for index in good])
        yield rows.row("false_alarm_rate_promised", promised)
        yield rows.row("false_alarm_rate", float(flags[good].mean()), interval, goal=f"<= {2 * promised:.4g}")
        yield rows.row("detection_rate", float(flags[surfaces.abnormal].mean()))
    yield rows.row("training_seconds", outcome.training, unit="s", goal=f"<= {LONGEST}")
    yield rows.row("ms_per_image", 1000 * outcome.seconds / len(scores), unit="ms")
    if outcome.note:
        console.print(f"{surfaces.name}: {method}: {outcome.note}", markup=False)


def ahead_rows(claimed: str, compared: dict[str, Measured], surfaces: Surfaces, goals: bool) -> Iterator[Row]:
    """Differences to each other row, and the least lower end of an interval over rows that learn from scratch."""
    rows, lows = cell(surfaces.name, claimed, goals), []
    for method, other in compared.items():
        if method == claimed:
            continue
        for metric in other.estimates:
            if metric in compared[claimed].estimates:
                lead = compared[claimed].estimates[metric] - other.estimates[metric]
                yield rows.row(f"{metric}_ahead_of_{method}", lead.value, lead.interval)
                if metric == IMAGE and method not in PRETRAINED:
                    lows.append(lead.interval[0])
    if lows:
        yield rows.row("lower_end_of_lead_over_scratch", min(lows), goal=AHEAD)


def ablation_rows(study: Study) -> Iterator[Row]:
    """The default's score against each of its terms alone, itself trained without counterparts, and under --without."""
    claimed = ours(study.arguments.methods) or DEFAULT
    for surfaces in study.sets:
        resamples, whole = Resamples.draw(surfaces.abnormal, surfaces.groups), study.outcome(claimed, surfaces)
        if whole.error:
            console.print(f"{surfaces.name}: {claimed} has no row: {whole.error}", markup=False)
            continue
        full = Measured.of(whole, surfaces, resamples)
        for metric, estimate in full.estimates.items():
            yield cell(surfaces.name, claimed).row(metric, estimate.value, estimate.interval)
        for name in TERMS:
            values: Floats = whole.columns[name]
            if np.isfinite(values).all():
                alone = Measured({IMAGE: resamples.auroc(values)})
                yield from _lost(full, alone, cell(surfaces.name, f"{claimed}, {name} alone"))
        for name, other in less_outcomes(study, claimed, surfaces):
            if other.error:
                console.print(f"{surfaces.name}: {name} has no row: {other.error}", markup=False)
                continue
            rows = cell(surfaces.name, f"{claimed}, {name}", goals=has_goals(study))
            yield from _lost(full, Measured.of(other, surfaces, resamples), rows, AHEAD)


def less_outcomes(study: Study, claimed: str, surfaces: Surfaces) -> Iterator[tuple[str, Outcome]]:
    """What is trained or scored again with something left out."""
    if claimed in (DEFAULT, Pix2Pix.name):
        with registered():
            found = study.outcome(ALONE, surfaces)
        yield "trained without counterparts", found
    for setting in study.arguments.without or ():
        yield setting, study.outcome(claimed, surfaces, [setting])


def _lost(full: Measured, less: Measured, rows: Cell, goal: str | None = None) -> Iterator[Row]:
    for metric, estimate in less.estimates.items():
        lead = full.estimates[metric] - estimate
        yield rows.row(metric, estimate.value, estimate.interval)
        yield rows.row(f"{metric}_lost", lead.value, lead.interval)
        if metric == IMAGE and goal:
            yield rows.row("lower_end_of_loss", lead.interval[0], goal=goal)
