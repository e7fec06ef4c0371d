"""`anotwin evaluate`: labelled images, numbers, curves and the paper's figure."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.commands.scoring import display_range
from anotwin.detector import Detector
from anotwin.domains.open import notes_of
from anotwin.domains.protocol import Job
from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.run import evaluate_findings
from anotwin.files import check_writable, write_json_atomic
from anotwin.records import Finding, ImageSource
from anotwin.report.choose import Chooser
from anotwin.report.curves import histogram_figure, roc_figure
from anotwin.report.figure import counterpart_figure
from anotwin.seeding import derive
from anotwin.updates import Update, Watch, tell

SHOWN = 10  # images in figure.png
SCORE_NAMES = {
    "anomaly": "anomaly score A(x)",
    "residual": "residual score R(x)",
    "discrimination": "discrimination score D(x)",
    "discriminator": "discriminator score P_D(x)",
}


def evaluate_to(
    json_file: Path, detector: Detector, data: Path, out: Path | None, *, layout: str, limit: int | None, watch: Watch
) -> dict[str, Any]:
    """`evaluate`, with the numbers in `json_file`, and the pictures in the folder of that name if `out` is None."""
    if json_file.is_dir():
        raise SettingsError(f"{json_file}: is a folder; --json names the file for the numbers")
    check_writable(json_file.parent)  # before scoring, which may take hours
    beside = json_file.with_suffix("") if json_file.suffix else json_file.with_name(f"{json_file.name}-pictures")
    numbers = evaluate(detector, data, out or beside, layout=layout, limit=limit, watch=watch)
    write_json_atomic(json_file, numbers)
    return numbers


def evaluate(
    detector: Detector, data: Path, out: Path, *, layout: str = "auto", limit: int | None, watch: Watch
) -> dict[str, Any]:
    """Score labelled images and measure; see `anotwin.evaluate.run.Evaluation` for the numbers.

    Writes roc.png, histogram.png, figure.png and the domain's pictures into `out`. `limit` draws that many images at
    random, with a fixed seed. Beside the numbers of the evaluation: `n_leaked`, how many images the model was trained
    on.
    """
    source = detector.open(data, layout)
    tell(watch, notes_of(source))
    indices = _labelled(source, limit)
    position = {item.id: index for index, item in enumerate(source.items)}
    outputs = detector.domain.evaluating(Job(source, out, detector, watch=watch))
    collected = _Collected(detector.trained_on)

    def findings() -> Iterator[Finding]:
        every = zip(indices, detector.findings(source, indices), strict=True)
        for done, (index, finding) in enumerate(every, start=1):
            watch(Update("scoring", done, len(indices)))
            collected.add(finding)
            outputs.take(index, finding)
            yield finding

    def mask(finding: Finding) -> npt.NDArray[np.bool_] | None:
        return source.read_mask(position[finding.id])

    began = time.perf_counter()
    numbers = evaluate_findings(
        findings(),
        mask if any(item.mask for item in source.items) else None,
        seconds=lambda: time.perf_counter() - began,
        threshold=detector.threshold,
        false_alarm_rate_requested=detector.calibration.false_alarm_rate if detector.calibration else None,
    ).as_dict() | {"n_leaked": collected.leaked}
    if collected.leaked:
        note = f"{collected.leaked} of these images were trained on: the numbers are too optimistic"
        watch(Update("note", detail=note))
    _draw(detector, numbers, collected, out)
    outputs.finish(collected.chooser.chosen, None)
    return numbers


@dataclass
class _Collected:
    """What the pictures and `n_leaked` need of the findings; only the chosen ones are kept."""

    trained_on: frozenset[int]
    chooser: Chooser = field(default_factory=lambda: Chooser(SHOWN))
    normal: list[bool] = field(default_factory=list)  # of the labelled findings, like their scores
    scores: list[float] = field(default_factory=list)
    leaked: int = 0

    def add(self, finding: Finding) -> None:
        self.chooser.add(finding)
        self.leaked += finding.fingerprint in self.trained_on
        if finding.normal is not None and not finding.error:
            self.normal.append(finding.normal)
            self.scores.append(finding.score)


def _draw(detector: Detector, numbers: dict[str, Any], collected: _Collected, out: Path) -> None:
    normal, scores = np.array(collected.normal), np.array(collected.scores)
    threshold, interval = numbers["threshold"], (numbers["auroc_low"], numbers["auroc_high"])
    roc_figure(~normal, scores, threshold, numbers["auroc"], interval, out / "roc.png")
    name = SCORE_NAMES[detector.settings.compare.score]
    histogram_figure(scores[normal], scores[~normal], threshold, out / "histogram.png", name)
    counterpart_figure(collected.chooser.chosen, out / "figure.png", window=display_range(detector))


def _labelled(source: ImageSource, limit: int | None) -> list[int]:
    """The images to score; raises, before any is scored, where they are not both normal and abnormal."""
    if not {True, False} <= {item.normal for item in source.items}:
        found = sorted({str(item.label) for item in source.items})[:10]
        raise DataError(
            f"{source.root}: evaluate needs normal and abnormal images, found the labels {', '.join(found)}; put "
            "normal images into good/ (or normal/) beside folders of abnormal ones, or train with --normal LABEL"
        )
    count = len(source.items)
    if limit is None or limit >= count:
        return list(range(count))
    if limit < 2:
        raise SettingsError(f"--limit {limit}: at least 2 images, one normal and one abnormal")
    indices: list[int] = sorted(np.random.default_rng(derive(0, "limit")).permutation(count)[:limit].tolist())
    if not {True, False} <= {source.items[index].normal for index in indices}:
        raise SettingsError(f"--limit {limit}: drew only one kind of image, normal or abnormal; raise it")
    return indices
