"""The evaluation of a stream of findings with known labels.

The stream is read once. Only the numbers of each finding are kept and, with masks, its heat: 4 bytes per pixel
of the test set, twice that while the pixel metrics sort them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate import metrics, pixels
from anotwin.records import Finding

Flags = npt.NDArray[np.bool_]
Column = npt.NDArray[np.float64]
Masks = Callable[[Finding], Flags | None]
Intervals = Callable[[metrics.Metric, Column | Flags], tuple[float, float]]
TERMS = ("anomaly", "residual", "discrimination", "discriminator")


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a run. ``*_low`` and ``*_high`` are 95 % intervals; NaN: undefined; None: not asked for.

    Intervals of AUROC, average precision and F1 are stratified percentile bootstraps, those of the two rates exact
    (Clopper and Pearson). Where images come in groups, groups are resampled, and the rates have intervals for as many
    images as count (Korn and Graubard). They are for the choice of test images, not for that of a training.
    """

    auroc: float
    auroc_low: float
    auroc_high: float
    average_precision: float
    average_precision_low: float
    average_precision_high: float
    f1: float | None  # this and the rates: None before calibration
    f1_low: float | None
    f1_high: float | None
    detection_rate: float | None
    detection_rate_low: float | None
    detection_rate_high: float | None
    false_alarm_rate: float | None
    false_alarm_rate_low: float | None
    false_alarm_rate_high: float | None
    false_alarm_rate_requested: float | None
    threshold: float | None
    n_normal: int
    n_abnormal: int
    n_failed: int  # images with an error or without a score: left out of everything else
    n_groups: int  # of the labelled images that have a score; an image without a group is its own
    intervals_by: Literal["group", "image"]  # what was taken as independent: image where each is its own group
    mean_residual_normal: float
    mean_residual_abnormal: float
    seconds_per_image: float | None
    by_label: Mapping[str, Mapping[str, Any]]  # label -> n, normal, auroc, mean_residual, detection_rate
    auroc_by_term: Mapping[str, float]  # a single term as the score; NaN where a method lacks the term
    pixel_metrics: Mapping[str, float] = field(default_factory=dict)  # pixel_auroc and aupro; empty without masks

    def as_dict(self) -> dict[str, Any]:
        """Strict JSON: NaN and infinities become None; `pixel_auroc` and `aupro` are there only with masks."""
        own = {name: value for name, value in vars(self).items() if name != "pixel_metrics"}
        return dict(strict(own | dict(self.pixel_metrics)))


def evaluate_findings(
    findings: Iterable[Finding],
    masks: Masks | None = None,
    seconds: float | Callable[[], float] | None = None,
    seed: int = 0,
    draws: int = 1000,
    *,
    threshold: float | None = None,
    false_alarm_rate_requested: float | None = None,
) -> Evaluation:
    """Compare findings with their labels; those without one count only in `seconds_per_image`.

    Args:
        findings: read once and not kept with their pictures; those with an error or a NaN score count as failed.
        masks: the true mask (H, W) of a finding, None where none is known (the image is then left out of the pixel
            metrics); needs findings with heatmaps.
        seconds: time that scoring took for all images together; a function is called when the stream has ended.
        seed: of the bootstrap, >= 0.
        draws: bootstrap resamples, >= 1.
        threshold: only passed on.
        false_alarm_rate_requested: only passed on.

    Raises:
        DataError: not both normal and abnormal images among those scored; says which labels were found.
        SettingsError: masks without heatmaps or of another size.
    """
    rows, heat, n_failed = _collect(findings, masks)
    labelled = [row for row in rows if row.normal is not None]
    abnormal = np.array([not row.normal for row in labelled], dtype=bool)
    if not abnormal.any() or abnormal.all():
        raise DataError(_one_class(rows, n_failed))
    total = seconds() if callable(seconds) else seconds
    residuals = _column(labelled, "mean_residual")
    groups = [("image", row.id) if row.group is None else ("group", row.group) for row in labelled]
    n_groups = len(set(groups))
    grouped = n_groups < len(groups)

    def interval(metric: metrics.Metric, values: Column | Flags) -> tuple[float, float]:
        if grouped:
            return metrics.group_bootstrap(metric, abnormal, values, groups, draws=draws, seed=seed)
        return metrics.bootstrap(metric, abnormal, values, draws=draws, seed=seed)

    return Evaluation(
        **_score_metrics(abnormal, _column(labelled, "score"), interval),
        **_decision_metrics(abnormal, labelled, interval, groups),
        false_alarm_rate_requested=false_alarm_rate_requested,
        threshold=threshold,
        n_normal=int(np.count_nonzero(~abnormal)),
        n_abnormal=int(np.count_nonzero(abnormal)),
        n_failed=n_failed,
        n_groups=n_groups,
        intervals_by="group" if grouped else "image",
        mean_residual_normal=float(residuals[~abnormal].mean()),
        mean_residual_abnormal=float(residuals[abnormal].mean()),
        seconds_per_image=None if total is None else total / len(rows),
        by_label=_by_label(labelled),
        auroc_by_term={term: _auroc(abnormal, _column(labelled, term)) for term in TERMS},
        pixel_metrics={"pixel_auroc": pixels.pixel_auroc(heat), "aupro": pixels.aupro(heat)} if heat else {},
    )


def _collect(findings: Iterable[Finding], masks: Masks | None) -> tuple[list[Finding], list[pixels.PixelHeat], int]:
    """The scored findings without their pictures, the heat of those with a mask, and how many failed."""
    rows: list[Finding] = []
    heat: list[pixels.PixelHeat] = []
    n_failed = 0
    for finding in findings:
        if finding.error or math.isnan(finding.score):
            n_failed += 1
            continue
        bare = replace(finding, query=None, counterpart=None, difference=None, heatmap=None, evidence=None)
        rows.append(bare)
        mask = masks(finding) if masks else None
        if mask is None:
            continue
        if finding.heatmap is None:
            raise SettingsError(
                f"{finding.id}: pixel metrics need a heatmap, got none; score with pictures or leave out masks"
            )
        heat.append(pixels.pixel_heat(mask, finding.heatmap, finding.id))
    return rows, heat, n_failed


def _score_metrics(abnormal: Flags, scores: Column, interval: Intervals) -> dict[str, Any]:
    values: dict[str, float] = {}
    for name, metric in (("auroc", metrics.auroc), ("average_precision", metrics.average_precision)):
        low, high = interval(metric, scores)
        values |= {name: metric(abnormal, scores), f"{name}_low": low, f"{name}_high": high}
    return values


def _decision_metrics(
    abnormal: Flags, rows: Sequence[Finding], interval: Intervals, groups: Sequence[Hashable]
) -> dict[str, Any]:
    names = [f"{name}{end}" for name in ("f1", "detection_rate", "false_alarm_rate") for end in ("", "_low", "_high")]
    if any(row.anomalous is None for row in rows):
        return dict.fromkeys(names)
    flagged = np.array([row.anomalous for row in rows], dtype=bool)
    values = [metrics.f1_at(abnormal, flagged), *interval(metrics.f1_at, flagged)]
    for rate, members in ((metrics.detection_rate, abnormal), (metrics.false_alarm_rate, ~abnormal)):
        own = [groups[row] for row in np.flatnonzero(members).tolist()]
        values += [rate(abnormal, flagged), *metrics.group_proportion_interval(flagged[members], own)]
    return dict(zip(names, values, strict=True))


def _by_label(rows: Sequence[Finding]) -> dict[str, dict[str, Any]]:
    """Of each label: AUROC against all normals, and as `detection_rate` the share flagged, of normals too."""
    normal_scores = [row.score for row in rows if row.normal]
    groups: dict[str, list[Finding]] = {}
    for row in rows:
        unnamed = "normal" if row.normal else "abnormal"
        groups.setdefault(row.label if row.label is not None else unnamed, []).append(row)
    table: dict[str, dict[str, Any]] = {}
    for label, members in sorted(groups.items()):
        scores = [row.score for row in members if not row.normal]
        flags = [row.anomalous for row in members]
        truth = [0] * len(normal_scores) + [1] * len(scores)
        table[label] = {
            "n": len(members),
            "normal": not scores,
            "auroc": metrics.auroc(truth, normal_scores + scores),
            "mean_residual": float(_column(members, "mean_residual").mean()),
            "detection_rate": None if None in flags else float(np.mean(np.array(flags, dtype=float))),
        }
    return table


def _column(rows: Sequence[Finding], name: str) -> Column:
    return np.array([getattr(row, name) for row in rows], dtype=np.float64)


def _auroc(abnormal: Flags, scores: Column) -> float:
    return math.nan if np.isnan(scores).any() else metrics.auroc(abnormal, scores)


def strict(value: Any) -> Any:
    """JSON values: NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {key: strict(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _one_class(rows: Sequence[Finding], n_failed: int) -> str:
    kinds = {row.normal for row in rows} - {None}
    lack = "no abnormal" if True in kinds else "no normal" if kinds else "neither normal nor abnormal"
    counts = Counter(row.label for row in rows if row.label is not None).most_common()
    found = ", ".join(f"{label} ({count})" for label, count in counts[:10]) or "none"
    more = f" and {len(counts) - 10} more" if len(counts) > 10 else ""
    failed = f", {n_failed} more could not be scored" if n_failed else ""
    return (
        f"evaluate: {lack} images among the {len(rows)} scored{failed}; labels found: {found}{more}; expected a folder "
        "with good/ or normal/ beside folders of abnormal images, or the normal label by name: --normal LABEL"
    )
