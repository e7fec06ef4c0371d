"""Labelled images: numbers, ROC curve, histograms, the paper's figure. The only importer of `anotwin.evaluate`."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
from anotwin.updates import Update, Watch, silent, tell

SHOWN = 10
SCORE_NAMES = {
    "anomaly": "anomaly score A(x)",
    "residual": "residual score R(x)",
    "discrimination": "discrimination score D(x)",
    "discriminator": "discriminator score P_D(x)",
}


def evaluate_to(
    json_file: Path,
    detector: Detector,
    data: Any,
    out: Path | None,
    *,
    layout: str = "auto",
    limit: int | None = None,
    watch: Watch = silent,
) -> dict[str, Any]:
    """`evaluate`, with the numbers in `json_file`, and the pictures in the folder of that name if `out` is None."""
    if json_file.is_dir():
        raise SettingsError(f"{json_file}: is a folder; --json names the file for the numbers")
    check_writable(json_file.parent)  # before an hour of scoring, not after it
    beside = json_file.with_suffix("") if json_file.suffix else json_file.with_name(f"{json_file.name}-pictures")
    numbers = evaluate(detector, data, out or beside, layout=layout, limit=limit, watch=watch)
    write_json_atomic(json_file, numbers)
    return numbers


def evaluate(
    detector: Detector,
    data: Any,
    out: Path | None,
    *,
    layout: str = "auto",
    limit: int | None = None,
    watch: Watch = silent,
) -> dict[str, Any]:
    """Score labelled images and measure; see `anotwin.evaluate.run.Evaluation` for the numbers.

    Writes roc.png, histogram.png, figure.png and what the domain shows into `out` if given. `limit` draws that many
    images at random, with a fixed seed. Beside the numbers of the evaluation: `n_leaked`, how many images the model was
    trained on.
    """
    source = detector.open(data, layout)
    tell(watch, notes_of(source))
    indices = _subset(source, limit)
    labels = {item.normal for item in source.items}
    if not {True, False} <= labels:
        raise DataError(_unlabelled(source))  # before an hour of scoring, not after it
    if not {True, False} <= {source.items[index].normal for index in indices}:
        raise SettingsError(f"--limit {limit}: drew only one kind of image, normal or abnormal; raise it")
    position = {item.id: index for index, item in enumerate(source.items)}
    masked = any(item.mask for item in source.items)
    trained_on = frozenset(detector.fingerprints["train"].tolist()) if "train" in detector.fingerprints else frozenset()
    seen: list[tuple[str, bool, float]] = []
    leaked = [0]
    chooser = Chooser(SHOWN)
    outputs = None if out is None else detector.domain.evaluating(Job(source, out, detector, watch=watch))

    def watched() -> Iterator[Finding]:
        pictures = masked or out is not None
        findings = detector.findings(source, indices, pictures=pictures)
        for done, (index, finding) in enumerate(zip(indices, findings, strict=True), start=1):
            watch(Update("scoring", done, len(indices)))
            leaked[0] += finding.fingerprint in trained_on
            if finding.normal is not None and not finding.error:
                seen.append((finding.id, finding.normal, finding.score))
            chooser.add(finding)
            if outputs is not None:
                outputs.take(index, finding)
            yield finding

    def mask(finding: Finding) -> npt.NDArray[np.bool_] | None:
        return source.read_mask(position[finding.id])

    began = time.perf_counter()
    calibration = detector.calibration
    numbers = evaluate_findings(
        watched(),
        mask if masked else None,
        seconds=lambda: time.perf_counter() - began,
        threshold=calibration.threshold if calibration else None,
        false_alarm_rate_requested=calibration.false_alarm_rate if calibration else None,
    ).as_dict() | {"n_leaked": leaked[0]}
    if leaked[0]:
        watch(Update("note", detail=f"{leaked[0]} of these images were trained on: the numbers flatter the model"))
    if out is not None and outputs is not None:
        _draw(detector, numbers, seen, chooser, out)
        outputs.finish(chooser.chosen, None)
    return numbers


def _draw(
    detector: Detector,
    numbers: dict[str, Any],
    seen: list[tuple[str, bool, float]],
    chooser: Chooser,
    out: Path,
) -> None:
    normal = np.array([normal for _, normal, _ in seen])
    scores = np.array([score for _, _, score in seen])
    threshold, interval = numbers["threshold"], (numbers["auroc_low"], numbers["auroc_high"])
    roc_figure(~normal, scores, threshold, numbers["auroc"], interval, out / "roc.png")
    name = SCORE_NAMES[detector.method.settings.compare.score]
    histogram_figure(scores[normal], scores[~normal], threshold, out / "histogram.png", name)
    counterpart_figure(chooser.chosen, out / "figure.png", window=display_range(detector))


def _subset(source: ImageSource, limit: int | None) -> list[int]:
    everything = range(len(source.items))
    if limit is None or limit >= len(everything):
        return list(everything)
    if limit < 2:
        raise SettingsError(f"--limit {limit}: at least 2 images, one normal and one abnormal")
    order = np.random.default_rng(derive(0, "limit")).permutation(len(everything))
    return sorted(order[:limit].tolist())


def _unlabelled(source: ImageSource) -> str:
    found = sorted({str(item.label) for item in source.items})[:10]
    return (
        f"{source.root}: evaluate needs normal and abnormal images, found the labels {', '.join(found)}; put normal "
        "images into good/ (or normal/) beside folders of abnormal ones, or train with --normal LABEL"
    )
