"""Part `auroc` of `oct.py`: every method in every fold, and what their scores say together."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from _common import PAPER, Cell, Floats, Row, column
from _oct_classical import CLASSICAL, Form, cut_band, scan_scores
from _oct_folds import Fold, Verdict, patient_interval
from _oct_scans import NORMAL, Scans
from _oneclass_kept import Keeper, Key, Outcome
from anotwin import DataError, Detector, Settings
from anotwin.domains.oct.scans import FlatScan
from anotwin.seeding import derive, fingerprint
from anotwin.updates import Update, Watch

OWN = {"aCAE": "acae", "anogan": "anogan", "twin": "twin"}  # as printed: as registered
METHODS = (*CLASSICAL, *OWN)  # in the order in which they run
COLUMNS = ("score", "residual", "discrimination", "anomalous")  # of our methods' findings
TERMS = {"residual": "R", "discrimination": "D"}
ALL, TAKEN_ALIKE = "all", "pairs taken alike"
ALL_GOAL, CLASS_GOAL, AHEAD_GOAL = ">= 0.97", ">= 0.95", ">= 0"  # AUROC of the method claimed, on the real scans


@dataclass(frozen=True, eq=False)
class Study:
    """What all methods share."""

    scans: Scans
    found: Sequence[FlatScan]  # (N,) prepared
    folds: tuple[Fold, ...]
    settings: Settings
    asked: Sequence[str]  # what the user changes of them, for every method
    paper_steps: int  # of anogan's search
    device: str
    form: Form

    def settings_of(self, method: str) -> Settings:
        """The paper's protocol for anogan, the defaults for the others, and what the user asks for."""
        paper = [*PAPER, f"search.steps={self.paper_steps}"]
        return self.settings.with_overrides([*(paper if method == "anogan" else ()), *self.asked])

    def scored(self, fold: Fold) -> list[int]:
        """Positions of what a fold's model scores: all but what it learns from, and the normals of no fold."""
        abnormal = np.flatnonzero(self.scans.labels != NORMAL).tolist()
        return sorted({*fold.calibration, *fold.unseen, *abnormal})

    def key(self, method: str, fold: Fold) -> Key:
        """What a method's scores depend on, but for code and machine."""
        images = {"learnt": self._images(fold.known), "scored": self._images(self.scored(fold))}
        settings = self.settings_of(method)
        by = {"settings": settings.model_dump(mode="json"), "device": self.device}
        return {"method": method, "normal": f"-fold{fold.number}", "seed": settings.training.seed, **images, **by}

    def _images(self, indices: Sequence[int]) -> str:
        return f"{derive(0, *[fingerprint(self.scans.read(index)) for index in indices]):016x}"


@dataclass(frozen=True, eq=False)
class Result:
    """A method in all folds."""

    method: str
    verdicts: Mapping[str, Verdict]  # by column, at least "score"
    training: Floats  # (folds,) seconds
    seconds: Floats  # (folds,) a scan


def result_of(study: Study, method: str, keeper: Keeper, watch: Watch) -> Result:
    """A method's scores: each fold's kept as soon as they are there."""
    tables: dict[str, Floats] = {}
    training, seconds = [], []
    for fold in study.folds:
        watch(Update("note", detail=f"{method}, fold {fold.number + 1} of {len(study.folds)}"))
        outcome = _classical(study, method, fold) if method in CLASSICAL else _own(study, method, fold, keeper, watch)
        indices = study.scored(fold)
        for name, values in outcome.columns.items():
            table = tables.setdefault(name, np.full((len(study.folds), len(study.found)), np.nan))
            table[fold.number, indices] = values
        training.append(outcome.training)
        seconds.append(outcome.seconds / len(indices))
    verdicts = {name: Verdict(study.scans, study.folds, table) for name, table in tables.items()}
    return Result(method, verdicts, np.array(training), np.array(seconds))


def _classical(study: Study, method: str, fold: Fold) -> Outcome:
    """From bands that are there already, so that the times are without preparation."""
    began = time.perf_counter()
    learnt = [cut_band(flat, study.form) for index in fold.learnt if (flat := study.found[index].flat) is not None]
    indices = study.scored(fold)
    usable = [index for index in indices if study.found[index].flat is not None]
    queries = [cut_band(flat, study.form) for index in usable if (flat := study.found[index].flat) is not None]
    scores = np.full(len(indices), np.nan)
    scores[np.isin(indices, usable)] = scan_scores(method, learnt, queries, study.form)
    return Outcome({"score": scores}, time.perf_counter() - began, float("nan"))


def _own(study: Study, method: str, fold: Fold, keeper: Keeper, watch: Watch) -> Outcome:
    key = study.key(method, fold)
    kept = keeper.load(key, watch)
    if kept is not None:
        return kept
    source, indices = study.scans.take(fold.known), study.scored(fold)
    began = time.perf_counter()
    settings = study.settings_of(method)
    detector = Detector.train(source, method=OWN[method], settings=settings, device=study.device, watch=watch)
    training = time.perf_counter() - began
    _check(detector, study.scans, fold)
    began = time.perf_counter()
    findings = []
    for finding in detector.findings(study.scans, indices, pictures=False):  # one that is refused has no score
        findings.append(finding)
        watch(Update("scoring", len(findings), len(indices)))
    columns = {name: column(findings, name) for name in COLUMNS}
    outcome = Outcome(columns, time.perf_counter() - began, training)
    keeper.save(key, outcome, [study.scans.items[index].id for index in indices])
    return outcome


def _check(detector: Detector, scans: Scans, fold: Fold) -> None:
    """The detector held out what the fold says, and no more of the fold's patients is in it than there should be."""
    trained = set(detector.fingerprints["train"].tolist())
    if trained != {fingerprint(scans.read(index)) for index in fold.learnt}:
        raise DataError(f"fold {fold.number}: the detector learnt from other scans than the fold says")


# -- rows --------------------------------------------------------------------------------------------------------------


def method_rows(name: str, result: Result, scans: Scans, pairs: npt.NDArray[np.bool_], goals: bool) -> Iterator[Row]:
    """All numbers of one method; `pairs` (N, N) were taken alike; `goals`: the method claimed, on real scans."""
    verdict, cell = result.verdicts["score"], Cell(name, ALL, result.method)
    value, interval = verdict.auroc("pooled")
    yield cell.row("auroc", value, interval, goal=ALL_GOAL if goals else None)
    value, interval = verdict.auroc("within")
    yield cell.row("auroc_within_folds", value, interval)
    folds = verdict.by_fold()
    yield cell.row("auroc_lowest_fold", float(folds.min()))
    yield cell.row("auroc_highest_fold", float(folds.max()))
    for each, term in TERMS.items():
        if each in result.verdicts:
            value, interval = result.verdicts[each].auroc("pooled")
            yield cell.row(f"auroc_{term}", value, interval)
    for label in [each for each in dict.fromkeys(scans.labels.tolist()) if each != NORMAL]:
        value, interval = verdict.auroc("pooled", [label])
        yield Cell(name, label, result.method).row("auroc", value, interval, goal=CLASS_GOAL if goals else None)
    answered = verdict.answered()
    if not answered.all():
        value, interval = verdict.auroc("pooled", pairs=answered[:, None] & answered)
        yield Cell(name, f"without {np.sum(~answered)} refused", result.method).row("auroc", value, interval)
    value, interval = verdict.auroc("pooled", pairs=pairs)
    if np.isfinite(value):
        yield Cell(name, TAKEN_ALIKE, result.method).row("auroc", value, interval)
    if "anomalous" in result.verdicts:
        yield from _decisions(cell, result.verdicts["anomalous"])
        yield cell.row("training_seconds", float(result.training.mean()), unit="s")
        yield cell.row("ms_per_scan", 1000 * float(result.seconds.mean()), unit="ms")


def _decisions(cell: Cell, verdict: Verdict) -> Iterator[Row]:
    """At each model's own threshold: normals as decided once, abnormal scans by every model."""
    alarms = [verdict.scores[fold.number, index] for fold in verdict.folds for index in fold.unseen]
    found = verdict.scores[:, verdict.scans.labels != NORMAL]
    yield cell.row("detection_rate", float(np.nanmean(found)))
    yield cell.row("false_alarm_rate", float(np.nanmean(alarms)))


def ahead_rows(name: str, results: Sequence[Result], claimed: str, goals: bool) -> Iterator[Row]:
    """By how much the pooled AUROC of the method claimed is above each other's, with the interval of the difference."""
    by_name = {result.method: result.verdicts["score"] for result in results}
    own = by_name.pop(claimed, None)
    if own is None:
        return
    labels = own.scans.labels
    abnormals = np.flatnonzero(labels != NORMAL)
    groups = np.char.add(np.char.add(labels, "/"), own.scans.patients)
    normals, wins = own.wins("pooled", abnormals)
    for method, other in by_name.items():
        ahead = wins - other.wins("pooled", abnormals)[1]
        interval = patient_interval(ahead, groups[normals], groups[abnormals])
        cell = Cell(name, ALL, claimed)
        yield cell.row(f"auroc_ahead_of_{method}", float(ahead.mean()), interval, goal=AHEAD_GOAL if goals else None)
