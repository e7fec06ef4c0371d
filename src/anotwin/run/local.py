"""Scoring on this machine: a source in, a stream of findings out; memory holds one batch, or one volume."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.calibrate.decision import Decision, by_score, calibrate, decider
from anotwin.domains.protocol import Refers, ShowsRegions
from anotwin.domains.registry import domain_of_view
from anotwin.errors import DataError
from anotwin.methods.protocol import Folds, Method, Searches
from anotwin.prepare.batches import join_batches
from anotwin.prepare.stream import UNUSABLE, named
from anotwin.records import Alarms, Array, Batch, Calibration, Finding, ImageSource, Scores, Trace, UnitScores
from anotwin.run.batch import trace_batch
from anotwin.run.stream import Scored, scored_images

HEAT_QUANTILE = 0.995  # of the pixels of held-out normals: the heat that counts as 1 (chosen by eye, on normals)
UNCALIBRATED_HEAT = 0.25  # of the pixel range: one scale for all images, or heat could not be compared between them
HEAT_PIXELS = 4096  # pixels of an image, evenly spaced, that this quantile is estimated from


@dataclass(frozen=True)
class NormalScores:
    """What held-out normals score: what a calibration is computed from. All arrays are (n,)."""

    scores: npt.NDArray[np.float64]
    residuals: npt.NDArray[np.float64]
    discriminations: npt.NDArray[np.float64]
    groups: list[int]  # (n,) the group of each, numbers from 0; an image without a group is its own
    units: tuple[UnitScores, ...]  # of these images, by kind
    heatmap_scale: float
    region_heats: list[float]  # (n,) the highest heat of a region in each; [] where the view shows no regions
    excluded: int  # images left out because the model was trained on them, or on others of their group
    failures: tuple[str, ...]  # "file: why" for those that could not be read
    alarms: Alarms | None = None  # of clips

    @property
    def group_count(self) -> int:
        """How many groups there are, images of their own included."""
        return len(set(self.groups))

    def calibration(self, rate: float) -> Calibration:
        """The thresholds for a false-alarm rate; raises DataError where there are too few normals for it."""
        terms = self.scores, self.residuals, self.discriminations
        found = calibrate(*terms, self.heatmap_scale, rate, self.groups, self.units, self.region_heats)
        return found if self.alarms is None else replace(found, threshold=self.alarms.threshold, alarms=self.alarms)

    def counted(self, which: str = "") -> str:
        """How many normals there are, for a sentence: in groups where these count."""
        images, groups = len(self.groups), self.group_count
        return f"{images} {which}normals" if groups == images else f"{groups} {which}groups ({images} normals)"


def score_stream(
    method: Method,
    source: ImageSource,
    calibration: Calibration | None,
    indices: Sequence[int] | None = None,
    *,
    pictures: bool | Callable[[Finding], bool] = True,
    reference: Mapping[str, Any] | None = None,
) -> Iterator[Finding]:
    """Findings in the order of the source; an image that cannot be read or scored becomes a finding with its error.

    `pictures`: whether findings have pictures; a function decides for each finding, which it is given without them.
    `reference`: see `reference_of`.
    """
    one, decide = calibration.heatmap_scale if calibration else UNCALIBRATED_HEAT, decider(calibration)
    wanted = range(len(source.items)) if indices is None else indices
    asked = pictures is not False
    for scored in _scored(method, source, wanted, pixels=asked, results=asked, reference=reference):
        finding = _finding(scored, source, decide)
        if scored.scores is not None and (pictures(finding) if callable(pictures) else pictures):
            finding = _with_pictures(finding, scored, one)
        yield finding
        del finding, scored  # the pictures of a large image take as much memory as the next one needs


def _with_pictures(finding: Finding, scored: Scored, one: float) -> Finding:
    """With its pictures or, where they cannot be made (no memory, the file is another by now), with the error."""
    try:
        return replace(finding, **vars(scored.pictures(one)))
    except UNUSABLE as error:
        bare = Finding(finding.id, finding.label, finding.normal, group=finding.group)
        return replace(bare, error=named(finding.id, error))


def normal_scores(
    method: Method,
    source: ImageSource,
    indices: Sequence[int],
    trained_on: frozenset[int] = frozenset(),
    progress: Callable[[int], None] = lambda _done: None,
    reference: Mapping[str, Any] | None = None,
) -> NormalScores:
    """Score normals for calibration; `progress` is called with the number of images done. Raises DataError for none.

    Images that the model was trained on are left out, and with them those of the same group: other pictures of a
    patient whom it knows are not new to it.
    """
    rows: dict[int, tuple[float, float, float]] = {}
    heats: dict[int, npt.NDArray[np.float32]] = {}
    hottest: dict[int, float] = {}
    failures: list[str] = []
    known: list[int] = []
    for done, scored in enumerate(
        _scored(method, source, indices, trained_on, pixels=False, reference=reference), start=1
    ):
        if scored.excluded:
            known.append(scored.image.index)
        elif scored.scores is None:
            failures.append(scored.error)
        else:
            rows[scored.image.index] = scored.scores.score, scored.scores.residual, scored.scores.discrimination
            heat = scored.heat()
            heats[scored.image.index] = heat.ravel()[:: max(heat.size // HEAT_PIXELS, 1)].copy()
            if isinstance(scored.results, ShowsRegions):
                hottest[scored.image.index] = scored.results.region_heat(method.settings.calibration.least_area)
        progress(done)
    known_groups = {source.items[index].group for index in known} - {None}
    known += [index for index in rows if source.items[index].group in known_groups]
    rows = {index: row for index, row in rows.items() if source.items[index].group not in known_groups}
    if not rows:
        why = f"the first of {len(failures)} failures: {failures[0]}" if failures else "all of them were trained on"
        advice = "give a folder of normal images not used by train"
        raise DataError(f"{source.root}: no image to calibrate on ({why}); {advice}")
    scores, residuals, discriminations = np.array(list(rows.values()), np.float64).T
    numbers = _groups(source, rows)
    own = {index: row[0] for index, row in rows.items()}
    units = _units(method, source, own, numbers)
    alarms = domain_of_view(method.spec.view).alarms(source, own, method.settings)
    groups = list(numbers.values())
    scale = max(_quantile([heats[index] for index in rows], groups), 1e-6)
    region_heats = [hottest[index] for index in rows] if hottest else []
    return NormalScores(
        scores, residuals, discriminations, groups, units, scale, region_heats, len(known), tuple(failures), alarms
    )


def _groups(source: ImageSource, indices: Iterable[int]) -> dict[int, int]:
    """The group of each image, numbered as they come: names of patients do not get into the model."""
    numbers: dict[tuple[str, str], int] = {}
    found = {}
    for index in indices:
        item = source.items[index]
        name = ("image", item.id) if item.group is None else ("group", item.group)
        found[index] = numbers.setdefault(name, len(numbers))
    return found


def _units(
    method: Method, source: ImageSource, scores: Mapping[int, float], groups: Mapping[int, int]
) -> tuple[UnitScores, ...]:
    """The units of these images; the group of one is that of its first image."""
    kinds = domain_of_view(method.spec.view).units(source, scores)
    return tuple(
        UnitScores(kind, *by_score([unit.score for unit in units], [groups[unit.members[0]] for unit in units]))
        for kind, units in kinds.items()
    )


def _quantile(heats: Sequence[npt.NDArray[np.float32]], groups: Sequence[int]) -> float:
    """The heat that few pixels exceed, each group counting the same: a long clip does not set the scale by itself."""
    sizes = Counter(groups)
    pixels = np.concatenate(heats)
    if len(set(sizes.values())) == 1:  # also where each image is its own group
        return float(np.quantile(pixels, HEAT_QUANTILE))
    weights = np.repeat([1 / sizes[group] for group in groups], [heat.size for heat in heats])
    order = np.argsort(pixels, kind="stable")
    below = np.cumsum(weights[order])
    return float(pixels[order][np.searchsorted(below, HEAT_QUANTILE * below[-1])])


def trace_search(
    method: Method, source: ImageSource | Batch, indices: Sequence[int], trace_at: Sequence[int]
) -> Trace | None:
    """The search for a few images again, with its trace; None for methods of one pass and for parts of images."""
    if not isinstance(method, Searches) or not method.searching or method.spec.parts:
        return None
    if isinstance(source, Batch):
        rows = [source.rows(slice(index, index + 1)) for index in indices]
        return trace_batch(method, join_batches(rows), trace_at) if rows else None
    view = domain_of_view(method.spec.view).view()
    images = view.prepare(source, indices, method.spec, method.settings, False)
    squares = [image.squares.rows(slice(None)) for image in images if image.squares is not None]
    return trace_batch(method, join_batches(squares), trace_at) if squares else None


def reference_of(
    method: Method,
    source: ImageSource,
    heldout: Sequence[int],
    training: Sequence[int] = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[str, Any]:
    """What the view of a method keeps of some normals to compare with, JSON and tensors; {} where it keeps nothing.

    `progress` is called with the number of images done and of all, of held-out and of training ones apart.
    """
    view = domain_of_view(method.spec.view).view()
    if not isinstance(view, Refers):
        return {}

    def seen(indices: Sequence[int], results: bool) -> Iterator[tuple[Any, Any, Scores[Array]]]:
        some = indices[:: -(-len(indices) // view.refer_to) or 1]  # evenly spaced
        for done, each in enumerate(_scored(method, source, some, pixels=False, results=results), start=1):
            if each.squares is not None:
                yield each.image, each.results, each.squares
            progress(done, len(some))

    return dict(view.refer(seen(heldout, True), seen(training, False)))


def _scored(
    method: Method,
    source: ImageSource,
    indices: Sequence[int],
    trained_on: frozenset[int] = frozenset(),
    *,
    pixels: bool,
    results: bool = True,
    reference: Mapping[str, Any] | None = None,
) -> Iterator[Scored]:
    view = domain_of_view(method.spec.view).view()
    if reference and isinstance(view, Refers):
        view = view.against(reference)
    images = view.prepare(source, indices, method.spec, method.settings, pixels)
    fast = method.for_inference() if isinstance(method, Folds) else method
    return scored_images(fast, images, lambda index: source.items[index].id, trained_on, results)


def _finding(scored: Scored, source: ImageSource, decide: Callable[[float, float, float], Decision]) -> Finding:
    image, scores = scored.image, scored.scores
    item = source.items[image.index]
    finding = Finding(
        item.id,
        item.label,
        item.normal,
        group=item.group,
        status=scored.status,
        error=scored.error,
        evidence=image.evidence,
    )
    if scores is None:
        return finding
    p_value, anomalous, flagged_by = decide(scores.score, scores.residual, scores.discrimination)
    return replace(
        finding,
        **vars(scores),
        p_value=p_value,
        anomalous=anomalous,
        flagged_by=flagged_by,
        fingerprint=image.fingerprint,
    )
