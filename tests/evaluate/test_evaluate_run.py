"""A stream of findings against scikit-learn on the same numbers."""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.metrics import auroc, bootstrap, proportion_interval
from anotwin.evaluate.pixels import aupro, pixel_auroc, pixel_heat
from anotwin.evaluate.run import evaluate_findings
from anotwin.records import Finding

KEYS = {
    *(
        f"{name}{end}"
        for name in ("auroc", "average_precision", "f1", "detection_rate")
        for end in ("", "_low", "_high")
    ),
    *(f"false_alarm_rate{end}" for end in ("", "_low", "_high", "_requested")),
    *("n_normal", "n_abnormal", "n_failed", "n_groups", "intervals_by"),
    *("mean_residual_normal", "mean_residual_abnormal"),
    *("seconds_per_image", "threshold", "by_label", "auroc_by_term"),
}
SHIFT = {"good": 0.0, "scratch": 1.0, "hole": 3.0}


def some_findings(count: int = 60) -> list[Finding]:
    rng = np.random.default_rng(0)
    findings = []
    for index in range(count):
        label = ("good", "good", "scratch", "hole")[index % 4]
        score, residual, discrimination, discriminator = rng.normal(size=4) + SHIFT[label]
        findings.append(
            Finding(
                id=f"{label}/{index}.png",
                label=label,
                normal=label == "good",
                score=score,
                anomaly=score,
                residual=residual,
                discrimination=discrimination,
                discriminator=discriminator,
                mean_residual=residual / 100,
                anomalous=bool(score > 1.5),
                status="converged",
                heatmap=rng.random((5, 6 + index % 2)).astype(np.float32)
                + (label == "hole") * np.eye(5, 6 + index % 2),
            )
        )
    return findings


def true_mask(finding: Finding) -> np.ndarray | None:
    if finding.label == "scratch":
        return None
    return np.eye(5, 6 + int(finding.id.split("/")[1][:-4]) % 2) * (finding.label == "hole") > 0


def test_everything_is_as_scikit_learn_says() -> None:
    findings = some_findings()
    found = evaluate_findings(
        findings, seconds=30.0, threshold=1.5, false_alarm_rate_requested=0.05, draws=200
    ).as_dict()
    labels = np.array([not f.normal for f in findings])
    scores = np.array([f.score for f in findings])
    flagged = scores > 1.5
    residuals = np.array([f.mean_residual for f in findings])
    assert set(found) == KEYS
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(labels, scores))
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(labels, scores))
    assert found["f1"] == pytest.approx(sk.f1_score(labels, flagged))
    assert found["detection_rate"] == pytest.approx(flagged[labels].mean())
    assert found["false_alarm_rate"] == pytest.approx(flagged[~labels].mean())
    assert (found["auroc_low"], found["auroc_high"]) == bootstrap(auroc, labels, scores, draws=200)
    assert (found["false_alarm_rate_low"], found["false_alarm_rate_high"]) == proportion_interval(
        int(flagged[~labels].sum()), 30
    )
    for name in ("auroc", "average_precision", "f1", "detection_rate", "false_alarm_rate"):
        assert found[f"{name}_low"] <= found[name] <= found[f"{name}_high"]
    assert (found["n_normal"], found["n_abnormal"], found["n_failed"]) == (30, 30, 0)
    assert found["mean_residual_normal"] == pytest.approx(residuals[~labels].mean())
    assert found["mean_residual_abnormal"] == pytest.approx(residuals[labels].mean())
    assert (found["seconds_per_image"], found["threshold"], found["false_alarm_rate_requested"]) == (0.5, 1.5, 0.05)
    assert (found["intervals_by"], found["n_groups"]) == ("image", 60)
    for term in ("anomaly", "residual", "discrimination", "discriminator"):
        expected = sk.roc_auc_score(labels, [getattr(f, term) for f in findings])
        assert found["auroc_by_term"][term] == pytest.approx(expected)


def test_each_label_against_all_normals() -> None:
    findings = some_findings()
    table = evaluate_findings(findings, draws=1).as_dict()["by_label"]
    assert list(table) == ["good", "hole", "scratch"]
    for label in ("hole", "scratch"):
        chosen = [f for f in findings if f.normal or f.label == label]
        members = [f for f in findings if f.label == label]
        assert table[label] == {
            "n": 15,
            "normal": False,
            "auroc": pytest.approx(sk.roc_auc_score([f.label == label for f in chosen], [f.score for f in chosen])),
            "mean_residual": pytest.approx(np.mean([f.mean_residual for f in members])),
            "detection_rate": pytest.approx(np.mean([bool(f.anomalous) for f in members])),
        }
    assert (table["good"]["normal"], table["good"]["auroc"]) == (True, None)


def test_masks_add_the_pixel_metrics() -> None:
    findings = some_findings()
    found = evaluate_findings(findings, true_mask, draws=1).as_dict()
    assert set(found) == KEYS | {"pixel_auroc", "aupro"}
    masked = [f for f in findings if f.label != "scratch"]
    heat = [pixel_heat(true_mask(f), f.heatmap) for f in masked]  # type: ignore[arg-type]
    assert (found["pixel_auroc"], found["aupro"]) == (pixel_auroc(heat), aupro(heat))
    assert 0.8 < found["pixel_auroc"] <= 1
    assert set(evaluate_findings(findings, lambda _: None, draws=1).as_dict()) == KEYS
    no_defect = evaluate_findings(findings, lambda f: np.zeros(np.shape(f.heatmap), dtype=bool), draws=1).as_dict()
    assert (no_defect["pixel_auroc"], no_defect["aupro"]) == (None, None)
    with pytest.raises(SettingsError, match=r"good/0\.png: pixel metrics need a heatmap"):
        evaluate_findings([replace(f, heatmap=None) for f in findings], true_mask)


def test_without_calibration_there_are_no_decisions() -> None:
    found = evaluate_findings([replace(f, anomalous=None) for f in some_findings()], draws=1).as_dict()
    assert set(found) == KEYS
    assert all(found[key] is None for key in KEYS if key.startswith(("f1", "detection_rate", "false_alarm")))
    assert found["by_label"]["hole"]["detection_rate"] is None
    assert found["auroc"] is not None
    assert found["seconds_per_image"] is None


def test_failed_and_unlabelled_images_change_nothing_else() -> None:
    findings = some_findings()
    failed = [
        Finding(id="bad.png", label="good", normal=True, error="bad.png: truncated"),
        Finding(id="n", normal=False),
    ]
    failed.append(replace(findings[0], score=1e9, error="heatmap could not be written"))
    unlabelled = replace(findings[0], label=None, normal=None, score=1e9)
    clean, mixed = (evaluate_findings(each, draws=20) for each in (findings, [*failed, unlabelled, *findings]))
    timed = evaluate_findings([unlabelled, *findings], seconds=122.0, draws=1)
    assert timed.seconds_per_image == 2.0  # the unlabelled one was scored too
    assert mixed.as_dict() == clean.as_dict() | {"n_failed": 3}


def test_json_is_strict() -> None:
    findings = [replace(f, discriminator=math.nan, mean_residual=math.inf) for f in some_findings()]
    text = json.dumps(evaluate_findings(findings, draws=1).as_dict(), allow_nan=False)
    back = json.loads(text)
    assert back["auroc_by_term"]["discriminator"] is None
    assert back["mean_residual_normal"] is None
    assert back["by_label"]["good"]["mean_residual"] is None


def test_the_stream_is_read_once_and_its_pictures_are_let_go() -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def stream() -> Iterator[Finding]:
        nonlocal most
        for finding in some_findings():
            pictures = [np.zeros(np.shape(finding.heatmap)) for _ in range(4)]
            alive.extend(map(weakref.ref, pictures))
            query, counterpart, difference, heatmap = pictures
            yield replace(finding, query=query, counterpart=counterpart, difference=difference, heatmap=heatmap)
            del pictures, query, counterpart, difference, heatmap
            most = max(most, sum(reference() is not None for reference in alive))

    evaluate_findings(stream(), true_mask, seconds=lambda: float(len(alive)), draws=1)
    assert len(alive) == 4 * 60
    assert most <= 2 * 4  # of the finding at hand and the one before


def test_seconds_are_asked_for_when_the_stream_has_ended() -> None:
    left = some_findings()
    stream = (left.pop() for _ in range(60))
    assert evaluate_findings(stream, seconds=lambda: 6.0 if not left else 0.0, draws=1).seconds_per_image == 0.1


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (lambda f: f.normal, r"no abnormal images among the 30 scored.*good \(30\)"),
        (lambda f: not f.normal, r"no normal images among the 30 scored.*scratch \(15\), hole \(15\)"),
        (lambda _: False, "neither normal nor abnormal images among the 0 scored.*found: none"),
    ],
)
def test_one_class_says_what_was_found_and_what_is_expected(keep: object, expected: str) -> None:
    with pytest.raises(DataError, match=expected) as error:
        evaluate_findings([f for f in some_findings() if keep(f)])  # type: ignore[operator]
    assert "good/ or normal/" in str(error.value)
    assert "--normal LABEL" in str(error.value)
    assert "\n" not in str(error.value)


def test_many_labels_are_not_all_listed() -> None:
    findings = [Finding(id=str(i), label=f"part{i}", score=1.0) for i in range(14)] + [Finding(id="x", error="broken")]
    with pytest.raises(DataError, match=r"14 scored, 1 more could not be scored; .* and 4 more"):
        evaluate_findings(findings)
