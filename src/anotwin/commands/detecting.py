"""`anotwin detectability`: how small a defect may be, so that a model still finds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anotwin.defects.kinds import KINDS
from anotwin.detector import Detector
from anotwin.domains.open import notes_of
from anotwin.errors import DataError, SettingsError, did_you_mean
from anotwin.evaluate.detectability import (
    ANY,
    CONTRASTS,
    DIAMETERS,
    Limit,
    Point,
    Trial,
    by_kind_and_contrast,
    curve,
    enough,
    limit_of,
    sentence,
    threshold_for,
)
from anotwin.evaluate.planted import PlantedSource, measured_diameter, plans_for
from anotwin.files import check_apart, check_writable, write_json_atomic
from anotwin.lock import one_writer
from anotwin.occupied import result_notes
from anotwin.prepare.stream import UNUSABLE
from anotwin.records import ImageSource
from anotwin.report.detection_curve import detection_figure
from anotwin.report.rows import write_rows
from anotwin.run.leaks import of_trained_groups
from anotwin.run.session import normals_of
from anotwin.seeding import derive, fingerprint
from anotwin.updates import Update, Watch, tell

HOSTS = 60  # held-out normals that defects are planted into, at most
PER = 10  # defects of each kind, contrast and size
OWN_CONTRAST = frozenset({"patch", "pasted", "worn", "missing", "bent"})  # as bright as what they are made of


@dataclass(frozen=True)
class Detectability:
    """What was measured."""

    points: list[Point]
    limits: list[Limit]
    sentences: list[str]  # one a kind
    false_alarm_rate: float  # that of the threshold
    hosts: int
    flagged_hosts: int  # flagged untouched, and left out
    defects: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def measure_detectability(
    detector: Detector,
    normals: Path,
    kinds: str,
    rate: float,
    per: int,
    out: Path | None,
    watch: Watch,
    *,
    layout: str = "auto",
    group: str | None = None,
) -> Detectability:
    """Plant defects into normals that the model was not trained on and score them.

    Args:
        detector: calibrated.
        normals: a folder of them; those of the training data that were held out are used.
        kinds: names of `anotwin.defects.kinds`, with commas between them.
        rate: the false-alarm rate; where the model's calibration has too few normals for it the lowest it allows.
        per: defects of each kind, contrast and size.
        out: folder for detectability.png, .csv and .json; None: nothing is written.

    Raises:
        SettingsError: no such kind, a rate or number out of range, or a model that is not calibrated.
        DataError: no normal image that the model was not trained on.
    """
    names, calibration = _kinds(kinds), detector.calibration
    if calibration is None:
        raise SettingsError("the model is not calibrated: call anotwin calibrate MODEL NORMALS first")
    if not 0 < rate < 1 or per < 1:
        what = f"--false-alarm-rate {rate}" if not 0 < rate < 1 else f"--per {per}"
        raise SettingsError(f"{what}: expected {'a rate between 0 and 1' if not 0 < rate < 1 else 'at least 1'}")
    threshold, reached = threshold_for(calibration, rate)
    if reached > rate:
        many = f"{len(set(calibration.groups)) or len(calibration.scores)} held-out normals"
        tell(watch, [f"{many} promise no false-alarm rate below {reached:.2%}: that is used instead of {rate:.2%}"])
    source = detector.open(normals, layout, "train", group=group)
    tell(watch, notes_of(source))
    if out is not None:
        check_apart(out, normals)
        tell(watch, result_notes(out, "detectability.csv"))
        check_writable(out)
    hosts, flagged = _hosts(detector, source, threshold, watch)
    trials = _trials(detector, source, hosts, names, per, threshold, watch)
    found = _measured(trials, names, reached, len(hosts), flagged)
    if out is not None:
        with one_writer(out, lambda note: tell(watch, [note])):
            write_rows(Point, found.points, out / "detectability.csv")
            write_json_atomic(out / "detectability.json", found.as_dict())
            detection_figure(enough(found.points), found.false_alarm_rate, out / "detectability.png")
    return found


def _kinds(given: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    for name in names:
        if name not in KINDS:
            raise SettingsError(f"--kinds {name}: expected {', '.join(KINDS)}{did_you_mean(name, KINDS)}")
    if not names:
        raise SettingsError(f"--kinds: expected at least one of {', '.join(KINDS)}")
    return names


def _hosts(detector: Detector, source: ImageSource, threshold: float, watch: Watch) -> tuple[list[int], int]:
    """Normals that the model was not trained on and that it does not flag, and how many it does."""
    every = normals_of(source)
    trained = frozenset(of_trained_groups(source, every, detector.fingerprints))
    order = np.random.default_rng(derive(0, "hosts")).permutation([index for index in every if index not in trained])
    fresh: list[int] = []
    for done, index in enumerate(order.tolist(), start=1):
        watch(Update("reading", done, len(order)))
        try:
            if fingerprint(source.read(index)) not in detector.trained_on:
                fresh.append(index)
        except UNUSABLE:
            continue  # said where it is trained on or scored
        if len(fresh) == HOSTS:
            break
    if not fresh:
        raise DataError(f"{source.root}: no normal image that the model was not trained on; give a folder of new ones")
    scored = list(zip(fresh, detector.findings(source, fresh, pictures=False), strict=True))
    usable = [index for index, finding in scored if not finding.error and finding.score <= threshold]
    flagged = sum(1 for _, finding in scored if not finding.error and finding.score > threshold)
    if not usable:
        raise DataError(
            f"{source.root}: {flagged} of {len(fresh)} held-out normals are flagged untouched; calibrate on images "
            "like these (anotwin calibrate MODEL NORMALS)"
        )
    note = f"{flagged} of {len(fresh)} held-out normals are flagged untouched: nothing is planted into these"
    tell(watch, [note] if flagged else [])
    return usable, flagged


def _trials(
    detector: Detector,
    source: ImageSource,
    hosts: Sequence[int],
    kinds: Sequence[str],
    per: int,
    threshold: float,
    watch: Watch,
) -> list[Trial]:
    """Plant and score; a defect whose image could not be scored is left out."""
    shorter = min(min(source.read(index).shape[:2]) for index in hosts[:3])
    diameters = [size for size in DIAMETERS if size <= shorter / 2] or [DIAMETERS[0]]
    contrasts = [[CONTRASTS["medium"]] if kind in OWN_CONTRAST else list(CONTRASTS.values()) for kind in kinds]
    planted = PlantedSource(source, detector.spec, plans_for(hosts, kinds, contrasts, diameters, per))
    names, items, trials = {value: name for name, value in CONTRASTS.items()}, planted.items, []
    for index, finding in enumerate(detector.findings(planted, pictures=False)):
        watch(Update("scoring", index + 1, len(items)))
        plan = planted.plans[index]
        if finding.error:
            tell(watch, [finding.error])
            continue
        contrast = ANY if plan.kind in OWN_CONTRAST else names[plan.contrast]
        size = measured_diameter(planted.read_mask(index))
        trials.append(Trial(plan.kind, contrast, size, finding.score > threshold, items[index].group))
    if not trials:
        raise DataError(f"{source.root}: none of the planted defects could be scored")
    return trials


def _measured(trials: Sequence[Trial], kinds: Sequence[str], rate: float, hosts: int, flagged: int) -> Detectability:
    groups = by_kind_and_contrast(trials)
    points = [point for each in groups for point in curve(each)]
    limits = [limit_of(each) for each in groups]
    order = [ANY, "medium", "strong", "faint"]
    sentences = []
    for kind in kinds:
        if own := [each for each in limits if each.kind == kind]:
            own.sort(key=lambda each: order.index(each.contrast))
            largest = max(point.diameter for point in points if point.kind == kind)
            sentences.append(sentence(own, rate, largest))
    return Detectability(points, limits, sentences, rate, hosts, flagged, len(trials))
