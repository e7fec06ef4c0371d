"""Normal images, and the same with a planted defect, both scored: what counterparts repair, and what is detected.

Three passes: the untouched images x; the planted ones y; and the counterparts of y, which are queries of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from anotwin.data.arrays import from_arrays
from anotwin.evaluate import metrics
from anotwin.evaluate.counterparts import Measures, Median, difference, measure, summarise
from anotwin.evaluate.paired import Scored, paired_auroc
from anotwin.evaluate.planted import Plan, measured_diameter
from anotwin.prepare.resize import check_values
from anotwin.prepare.stream import UNUSABLE, named
from anotwin.records import Array, Finding, ImageItem, ImageSource, ImageSpec
from anotwin.seeding import derive

SMALLEST, LARGEST = 3.0, 0.5  # diameters that are planted: from pixels, to a share of the shorter side
FAINT, GROSS = 0.7, 8.0  # their contrasts, in standard deviations of the pixels around
BLOCK_PIXELS, BLOCK = 2**24, 64  # pixels and images whose counterparts wait to be queries, at most
AROUND, LEAST_SIDE = 2.0, 64  # what is shown of an image: a square of so many sides of its defect, and of pixels

Findings = Callable[[ImageSource, Sequence[int]], Iterator[Finding]]  # with pictures, one an index
Done = Callable[[int], object]  # told how many images have been scored


class Pairs(ImageSource, Protocol):
    """Images with a defect each, and the normal ones that they were."""

    @property
    def source(self) -> ImageSource: ...  # of the normal ones

    @property
    def plans(self) -> Sequence[Plan]: ...  # (N,) which of them, and with what


@dataclass(frozen=True)
class Untouched:
    """A normal image as it is."""

    item: ImageItem
    score: float
    anomalous: bool | None
    shape: tuple[int, ...]
    no_op: float  # mean |c(x) - x|
    fingerprint: int | None

    @property
    def group(self) -> str:
        return self.item.group or self.item.id


@dataclass(frozen=True)
class Outcome:
    """One planted image."""

    image: str  # the normal one
    kind: str
    group: str
    diameter: float = math.nan  # of the circle that has the area of its mask, in pixels
    area: int = 0  # pixels that differ
    score: float = math.nan
    score_untouched: float = math.nan
    anomalous: bool | None = None
    measures: Measures = field(default_factory=Measures)
    error: str = ""


@dataclass(frozen=True, eq=False)
class Shown:
    """What a picture shows of one planted image: the part of it around the defect."""

    outcome: Outcome
    truth: Array
    planted: Array
    counterpart: Array
    heat: Array  # 1: the usual limit of normal pixels
    mask: npt.NDArray[np.bool_]


def score_untouched(
    findings: Findings, source: ImageSource, hosts: Sequence[int], spec: ImageSpec, done: Done = lambda _: None
) -> tuple[dict[int, Untouched], list[str]]:
    """The normal images at `hosts` that can be scored, and what is wrong with the others, a line each."""
    found, errors = {}, []
    for number, (host, finding) in enumerate(zip(hosts, findings(source, hosts), strict=True), start=1):
        done(number)
        if finding.error or finding.query is None or finding.counterpart is None:
            errors.append(finding.error)
            continue
        no_op = difference(*(in_unit(each, finding.query, spec) for each in (finding.query, finding.counterpart)))
        scored = finding.score, finding.anomalous, finding.query.shape, no_op, finding.fingerprint
        found[host] = Untouched(source.items[host], *scored)
    return found, errors


def drawn_plans(
    untouched: Mapping[int, Untouched], kinds: Sequence[str], count: int, seed: int = 0
) -> tuple[Plan, ...]:
    """`count` defects, as many of each kind: from barely visible to gross, from 3 pixels to half the shorter side.

    Diameters and contrasts are drawn in equal ratios. Images come in turn, and each has every kind before one comes
    again.
    """
    hosts, plans = list(untouched), []
    for number in range(count):
        turn, place = divmod(number, len(hosts))
        host, rng = hosts[place], np.random.default_rng(derive(seed, "defect", number))
        largest = max(LARGEST * min(untouched[host].shape[:2]), SMALLEST)
        diameter, contrast = (
            math.exp(rng.uniform(math.log(low), math.log(high))) for low, high in ((SMALLEST, largest), (FAINT, GROSS))
        )
        plans.append(Plan(host, kinds[(place + turn) % len(kinds)], diameter, contrast, turn))
    return tuple(plans)


def measure_pairs(
    findings: Findings,
    pairs: Pairs,
    untouched: Mapping[int, Untouched],
    spec: ImageSpec,
    done: Done = lambda _: None,
) -> Iterator[tuple[Outcome, Shown | None]]:
    """Each planted image, in order; one that could not be scored has an error and nothing to show.

    Args:
        findings: of the model, with pictures.
        pairs: the images with their defects.
        untouched: all that `pairs.plans` names.
        spec: says what the values of pixels mean.
        done: told how many were scored.
    """
    count = 0
    for block in _blocks(pairs.plans, untouched):
        scored = list(zip(block, findings(pairs, block), strict=True))
        kept = [finding.counterpart for _, finding in scored if finding.counterpart is not None]
        later = findings(from_arrays(kept), range(len(kept))) if kept else iter(())
        for index, finding in scored:
            again = None if finding.counterpart is None else next(later).counterpart
            yield _measured(pairs, index, finding, again, untouched[pairs.plans[index].host], spec)
            count += 1
            done(count)


def _blocks(plans: Sequence[Plan], untouched: Mapping[int, Untouched]) -> Iterator[list[int]]:
    """Indices of images, as many at a time as may wait in memory."""
    block: list[int] = []
    pixels = 0
    for index, plan in enumerate(plans):
        own = math.prod(untouched[plan.host].shape)
        if block and (pixels + own > BLOCK_PIXELS or len(block) == BLOCK):
            yield block
            block, pixels = [], 0
        block.append(index)
        pixels += own
    if block:
        yield block


def _measured(
    pairs: Pairs, index: int, finding: Finding, again: Array | None, normal: Untouched, spec: ImageSpec
) -> tuple[Outcome, Shown | None]:
    plan = pairs.plans[index]
    failed = Outcome(normal.item.id, plan.kind, normal.group, error=finding.error or "no counterpart")
    query, counterpart = finding.query, finding.counterpart
    if finding.error or query is None or counterpart is None:
        return failed, None
    try:
        truth = pairs.source.read(plan.host)
    except UNUSABLE as error:
        return replace(failed, error=named(normal.item.id, error)), None
    if truth.shape != query.shape:
        return replace(failed, error=f"{normal.item.id}: changed while it was scored; score it again"), None
    mask = truth != query if truth.ndim == 2 else (truth != query).any(axis=2)
    x, y, c = (in_unit(each, truth, spec) for each in (truth, query, counterpart))
    measures = measure(x, y, c, mask, normal.no_op, None if again is None else in_unit(again, truth, spec))
    outcome = Outcome(
        image=normal.item.id,
        kind=plan.kind,
        group=normal.group,
        diameter=measured_diameter(mask),
        area=int(mask.sum()),
        score=finding.score,
        score_untouched=normal.score,
        anomalous=finding.anomalous,
        measures=measures,
    )
    return outcome, _shown(outcome, truth, finding, mask)


def in_unit(pixels: Array, like: Array, spec: ImageSpec) -> npt.NDArray[np.float64]:
    """Native pixels with 0 for black and 1 for white, as of the image `like`, whose type they have."""
    black, white = check_values(like, spec)
    unit: npt.NDArray[np.float64] = (pixels.astype(np.float64) - black) / (white - black)
    return unit


def _shown(outcome: Outcome, truth: Array, finding: Finding, mask: npt.NDArray[np.bool_]) -> Shown:
    """The square around the mask, copied: whole images are let go of."""
    assert finding.query is not None
    assert finding.counterpart is not None
    heat = np.zeros(mask.shape, np.float32) if finding.heatmap is None else finding.heatmap
    ends = [(int(each.min()), int(each.max()) + 1) for each in np.nonzero(mask)] if mask.any() else [(0, 1), (0, 1)]
    side = max(LEAST_SIDE, round(AROUND * max(end - start for start, end in ends)))
    place = []
    for (start, end), full in zip(ends, mask.shape, strict=True):
        first = min(max((start + end - side) // 2, 0), max(full - side, 0))
        place.append(slice(first, first + side))
    rows, columns = place
    truth, query, counterpart = (each[rows, columns].copy() for each in (truth, finding.query, finding.counterpart))
    return Shown(outcome, truth, query, counterpart, heat[rows, columns].copy(), mask[rows, columns].copy())


# -- over all of them --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Detection:
    """How well planted images are told from the same images untouched; intervals resample images (or their groups)."""

    auroc: float
    auroc_low: float
    auroc_high: float
    detection_rate: float | None  # None before calibration
    detection_rate_low: float | None
    detection_rate_high: float | None


def detection(outcomes: Sequence[Outcome]) -> Detection:
    """Planted against untouched: paired, so that an image and its copies are drawn together."""
    scored = [each for each in outcomes if not each.error]
    found = paired_auroc(scores_of(scored))
    rates: tuple[float | None, ...] = (None, None, None)
    if scored and all(each.anomalous is not None for each in scored):
        flags = [bool(each.anomalous) for each in scored]
        rates = float(np.mean(flags)), *metrics.group_proportion_interval(flags, [each.group for each in scored])
    return Detection(found.value, found.low, found.high, *rates)


def scores_of(outcomes: Sequence[Outcome]) -> Scored:
    """Of the untouched images, each once, and of the planted ones."""
    normals = list({each.image: each for each in outcomes}.values())
    return Scored(
        [each.score_untouched for each in normals],
        [each.score for each in outcomes],
        [each.group for each in normals],
        [each.group for each in outcomes],
    )


def planted_numbers(outcomes: Sequence[Outcome], untouched: Mapping[int, Untouched], errors: int) -> dict[str, Any]:
    """All that was measured, as JSON values but for NaN: of all kinds together, and of each."""
    normals = list(untouched.values())
    flags = [each.anomalous for each in normals]
    rate = None if None in flags or not flags else float(np.mean([bool(flag) for flag in flags]))
    groups = len({each.group for each in normals})
    kinds = sorted({each.kind for each in outcomes})
    return {
        "n_planted": sum(not each.error for each in outcomes),
        "n_failed": sum(bool(each.error) for each in outcomes) + errors,
        "n_normal": len(normals),
        "n_groups": groups,
        "intervals_by": "image" if groups == len(normals) else "group",
        "false_alarm_rate": rate,
        **_summary(outcomes),
        "by_kind": {kind: _summary([each for each in outcomes if each.kind == kind]) for kind in kinds},
    }


def _summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    scored = [each for each in outcomes if not each.error]
    medians = summarise([each.measures for each in scored], [each.group for each in scored])
    return {"n": len(scored), **vars(detection(outcomes)), "counterparts": {k: _plain(v) for k, v in medians.items()}}


def _plain(median: Median) -> dict[str, Any]:
    names = {"median": median.value, "low": median.low, "high": median.high, "n": median.count}
    return names | ({"without": dict(median.reasons)} if median.reasons else {})
