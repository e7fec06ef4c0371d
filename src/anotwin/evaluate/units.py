"""The evaluation of units: patients, volumes, groups of images, with one score and one decision each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from anotwin.calibrate.decision import unit_decider
from anotwin.domains.protocol import Unit
from anotwin.evaluate import metrics
from anotwin.records import Calibration, ImageItem


def unit_numbers(
    kinds: Mapping[str, Sequence[Unit]],
    items: Sequence[ImageItem],
    scores: Mapping[int, float],
    calibration: Calibration | None,
) -> dict[str, dict[str, Any]]:
    """For each kind: how many normal and abnormal units, AUROC, and the rates of their decisions, strict JSON.

    A unit counts where the labels of its images agree and one of them has a score. A kind of which no unit has several
    images says nothing new and is left out.

    Args:
        kinds: units by kind.
        items: (N,) the images.
        scores: of the images by index; NaN where one failed.
        calibration: None: no decisions.

    Returns:
        kind -> n_normal, n_abnormal, n_mixed, auroc, and detection_rate and false_alarm_rate with their exact 95 %
        intervals ``*_low``, ``*_high``, by groups where units of one kind are in a group together; None: undefined,
        or not every unit has a decision.
    """
    several = {kind: units for kind, units in kinds.items() if any(len(unit.members) > 1 for unit in units)}
    return {kind: _numbers(kind, units, items, scores, calibration) for kind, units in several.items()}


def _numbers(
    kind: str,
    units: Sequence[Unit],
    items: Sequence[ImageItem],
    scores: Mapping[int, float],
    calibration: Calibration | None,
) -> dict[str, Any]:
    truth = [{items[index].normal for index in unit.members} for unit in units]
    judged = [
        (unit, labels == {False})
        for unit, labels in zip(units, truth, strict=True)
        if labels in ({True}, {False}) and not math.isnan(unit.score)
    ]
    abnormal = [label for _, label in judged]
    decide = unit_decider(calibration, kind)
    flags = [decide(unit.score, sum(not math.isnan(scores[i]) for i in unit.members))[1] for unit, _ in judged]
    groups = [items[unit.members[0]].group or unit.name for unit, _ in judged]
    numbers: dict[str, Any] = {
        "n_normal": len(abnormal) - sum(abnormal),
        "n_abnormal": sum(abnormal),
        "n_mixed": sum({True, False} <= labels for labels in truth),
        "auroc": _known(metrics.auroc(abnormal, [unit.score for unit, _ in judged])),
    }
    for name, of in (("detection_rate", True), ("false_alarm_rate", False)):
        own = [place for place, label in enumerate(abnormal) if label is of]
        values: list[float | None] = [None] * 3
        if own and None not in flags:
            found = [bool(flags[place]) for place in own]
            values = [sum(found) / len(found), *metrics.group_proportion_interval(found, [groups[p] for p in own])]
        numbers |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
    return numbers


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
