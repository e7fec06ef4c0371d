"""Every method in every fold, and parts `auroc` and `confounds`: what their scores say together.

PCA and kNN learn from patches of flattened bands, averaged to 12 x 48 micrometres a pixel (speckle is no lesion), each
row of the grid of patches for itself; that form was chosen without a label, by planted lesions. A score of `confounds`
is how far a scan lies off the normals of a fold, in standard deviations: an AUROC whose interval holds 0.5 is chance.
The vitreous is measured by itself, for it shows nothing of the retina, but for haze.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from anotwin import DataError, Detector, Settings
from anotwin.domains.oct.flatten import Flat, to_flat
from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.layers.mask import as_scan, known_pixels
from anotwin.domains.oct.scans import FlatScan, flat_scans
from anotwin.prepare.patches import MIN_VALID, cut, grid_positions, pool, valid_share
from anotwin.records import Array
from anotwin.seeding import derive, fingerprint
from anotwin.updates import Update, Watch
from benchmarks.common.classical import nearest, reconstruction
from benchmarks.common.images import column, score, watched
from benchmarks.common.kept import Keeper, Outcome
from benchmarks.common.rows import Bools, Floats, Row
from benchmarks.common.script import PAPER, asked
from benchmarks.oct.patients import ALL, NORMAL, Fold, FoldScores, Scans, cell, fold_settings, make_folds

OWN = {"aCAE": "acae", "anogan": "anogan", "twin": "twin"}  # as printed: as registered
METHODS = ("PCA", "kNN", *OWN)  # in the order in which they run
CLAIMED, FOLDS = "twin", 5  # the goals are about this method and so many folds of all real scans
ALL_GOAL, CLASS_GOAL, AHEAD_GOAL = ">= 0.97", ">= 0.95", ">= 0"  # AUROC, of a class, and above each other method's
TERMS = {"score": "auroc", "residual": "auroc_R", "discrimination": "auroc_D"}
BEFORE = ("white share", "width", "brightness", "contrast", "noise floor")
AFTER = ("valid share", "brightness", "contrast", "vitreous brightness", "vitreous noise")


def cut_band(flat: Flat) -> tuple[Array, Array]:
    """The patches (P, 256) of a band that show enough of what decides, or all; and the row of the band of each (P,)."""
    down, across = flat.pixels.shape[0] // 2, flat.pixels.shape[1] // 4
    pixels, valid = (
        values[: 2 * down, : 4 * across].reshape(down, 2, across, 4).mean(axis=(1, 3))
        for values in (flat.pixels, (flat.valid & flat.deciding).astype(np.float32))
    )
    size = min(16, down, across)
    positions = grid_positions((down, across), size, min(4, size))
    enough = valid_share(valid >= 0.5, size)[positions[:, 0], positions[:, 1]] >= MIN_VALID
    positions = positions[enough | ~enough.any()]
    return cut(pixels, positions, size).reshape(len(positions), -1), positions[:, 0]


def scan_scores(method: str, training: Sequence[tuple[Array, Array]], queries: Sequence[tuple[Array, Array]]) -> Floats:
    """Learn from patches of scans, score others (N,): root mean squares of PCA's error or the nearest's distance."""
    scores = [np.empty(len(patches)) for patches, _ in queries]
    for depth in np.unique(np.concatenate([depths for _, depths in queries])):
        learnt = np.concatenate([patches[depths == depth] for patches, depths in training]).astype(np.float64)
        model, size = reconstruction(learnt, 40) if method == "PCA" else nearest(learnt, 1, "brute"), learnt.shape[1]
        for own, (patches, depths) in zip(scores, queries, strict=True):
            if (depths == depth).any():
                found = model(patches[depths == depth].astype(np.float64))
                own[depths == depth] = np.sqrt(found / size) if method == "PCA" else found / np.sqrt(size)
    return np.array([pool(own) for own in scores])


@dataclass(eq=False)
class Study:
    """What the parts share: options, scans, what preparation makes of them, who learns from whom."""

    arguments: argparse.Namespace
    scans: Scans
    keeper: Keeper
    watch: Watch
    detector: Detector | None = None  # of synthetic scans, once it is trained

    @cached_property
    def found(self) -> list[FlatScan]:
        """(N,) lines and bands."""
        found = flat_scans(self.scans, range(len(self.scans.items)), self.arguments.workers)
        return list(watched(found, "preparing", len(self.scans.items), self.watch))

    @cached_property
    def folds(self) -> list[Fold]:
        """Of the patients of the normals."""
        usable = np.array([scan.flat is not None for scan in self.found])
        return make_folds(self.scans, usable, self.arguments.folds, self.settings())

    def count(self, usual: int, small: int) -> int:
        """How many synthetic scans: --count, or else the usual number of a part."""
        return small if self.arguments.quick else self.arguments.count or usual

    def settings(self, method: str = CLAIMED) -> Settings:
        """The paper's protocol for anogan, the defaults for the others, and what the options change."""
        paper = [*PAPER, f"search.steps={self.arguments.paper_steps}"] if method == "anogan" else []
        return Settings().with_overrides(asked(self.arguments, ["data.layout=oct", *paper]))

    def scores(self, method: str) -> tuple[dict[str, FoldScores], Floats]:
        """A method's scores by column, at least "score"; seconds of training and a scan (folds, 2)."""
        tables: dict[str, Floats] = defaultdict(lambda: np.full((len(self.folds), len(self.found)), np.nan))
        seconds = []
        for number, fold in enumerate(self.folds):
            self.watch(Update("note", detail=f"{method}, fold {number + 1} of {len(self.folds)}"))
            outcome = self._own(method, number, fold) if method in OWN else self._classical(method, fold)
            for name, values in outcome.columns.items():
                tables[name][number, fold.scored] = values
            seconds.append((outcome.training, outcome.seconds / len(fold.scored)))
        return {name: FoldScores(self.scans, self.folds, each) for name, each in tables.items()}, np.array(seconds)

    def _classical(self, method: str, fold: Fold) -> Outcome:
        """From bands that are there already; NaN where there is none."""
        cuts = {k: cut_band(flat) for k in (*fold.learnt, *fold.scored) if (flat := self.found[k].flat) is not None}
        usable = [index for index in fold.scored if index in cuts]
        values = np.full(len(self.found), np.nan)
        values[usable] = scan_scores(method, [cuts[k] for k in fold.learnt], [cuts[k] for k in usable])
        return Outcome({"score": values[fold.scored]}, np.nan, np.nan)

    def _own(self, method: str, number: int, fold: Fold) -> Outcome:
        """Kept under all that scores depend on, but for code and machine."""
        settings, device = fold_settings(self.settings(method), number), self.arguments.device
        contents = [fingerprint(pixels) for pixels in self.scans.images]
        learnt, scored = (f"{derive(0, *[contents[k] for k in each]):016x}" for each in (fold.known, fold.scored))
        key = {"method": method, "normal": f"-fold{number}", "seed": settings.training.seed, "learnt": learnt}
        key |= {"scored": scored, "settings": settings.model_dump(mode="json"), "device": device}

        def outcome() -> Outcome:
            began, source = time.perf_counter(), self.scans.take(fold.known)
            detector = Detector.train(source, method=OWN[method], settings=settings, device=device, watch=self.watch)
            training = time.perf_counter() - began
            if set(detector.fingerprints["train"].tolist()) != {contents[index] for index in fold.learnt}:
                raise DataError(f"fold {number}: the detector learnt from other scans than the fold says")
            findings, seconds = score(detector, self.scans, fold.scored, self.watch, refused=True)
            return Outcome({name: column(findings, name) for name in (*TERMS, "anomalous")}, seconds, training)

        return self.keeper.once(key, [self.scans.items[index].id for index in fold.scored], self.watch, outcome)


def auroc_rows(study: Study) -> Iterator[Row]:
    """All numbers of every method, and by how much the pooled AUROC of the one claimed is above each other's."""
    labels, everyone, goals, compared = study.scans.labels, np.arange(len(study.found)), study.arguments.goals, {}
    for method in study.arguments.methods:
        found, seconds = study.scores(method)
        compared[method] = own = found["score"]
        rows = cell(ALL, method, goals=goals and method == CLAIMED)
        for name in [each for each in TERMS if each in found]:
            yield rows.row(TERMS[name], *found[name].auroc("pooled"), goal=ALL_GOAL if name == "score" else None)
        yield rows.row("auroc_within_folds", *own.auroc("within"))
        by_fold = [own.auroc("within", pairs=np.isin(everyone, fold.unseen)[:, None])[0] for fold in own.folds]
        yield rows.row("auroc_lowest_fold", min(by_fold))
        yield rows.row("auroc_highest_fold", max(by_fold))
        for label in dict.fromkeys(labels[labels != NORMAL].tolist()):
            yield replace(rows, case=label).row("auroc", *own.auroc("pooled", [label]), goal=CLASS_GOAL)
        answered = np.asarray(np.isfinite(own.scores).any(axis=0))
        chosen = {f"without {np.sum(~answered)} refused": answered[:, None] & answered} if not answered.all() else {}
        for case, pairs in (chosen | {"pairs taken alike": alike(study.scans)}).items():
            value, interval = own.auroc("pooled", pairs=pairs)
            if np.isfinite(value):
                yield cell(case, method).row("auroc", value, interval)
        if method in OWN:  # at each model's own threshold: normals as decided once, abnormal scans by every model
            flags = found["anomalous"].scores
            alarms = [flags[number, fold.unseen] for number, fold in enumerate(own.folds)]
            yield rows.row("detection_rate", float(np.nanmean(flags[:, labels != NORMAL])))
            yield rows.row("false_alarm_rate", float(np.nanmean(np.concatenate(alarms))))
            yield rows.row("training_seconds", float(seconds[:, 0].mean()), unit="s")
            yield rows.row("ms_per_scan", 1000 * float(seconds[:, 1].mean()), unit="ms")
    for method in [each for each in compared if CLAIMED in compared and each != CLAIMED]:
        value, interval = compared[CLAIMED].auroc("pooled", minus=compared[method])
        yield cell(ALL, CLAIMED, goals=goals).row(f"auroc_ahead_of_{method}", value, interval, goal=AHEAD_GOAL)


def alike(scans: Scans) -> Bools:
    """(N, N) True for pairs of one width within a standard deviation of the normals in all else of `BEFORE`."""
    table = np.array([before(pixels) for pixels in scans.images])
    spread = np.maximum(table[scans.labels == NORMAL].std(axis=0), 1e-6)
    spread[BEFORE.index("width")] = 0
    return np.asarray((np.abs(table[:, None] - table[None]) <= spread).all(axis=2))


def confound_rows(study: Study) -> Iterator[Row]:
    """AUROC of each quantity and of all together, with intervals over patients."""
    tables = [before(pixels) for pixels in study.scans.images], [after(scan) for scan in study.found]
    for stage, names, measured in zip(("before", "after"), (BEFORE, AFTER), tables, strict=True):
        table: Floats = np.array(measured)
        off = np.full((len(study.folds), *table.shape), np.nan)  # (folds, N, K)
        for own, fold in zip(off, study.folds, strict=True):
            known = table[fold.learnt]
            spread = np.maximum(known.std(axis=0, ddof=1), 1e-9 * np.abs(known).max(axis=0) + 1e-12)
            own[fold.scored] = (np.abs(table - known.mean(axis=0)) / spread)[fold.scored]
        every = (*np.moveaxis(off, 2, 0), np.sqrt(np.square(off).mean(axis=2)))
        for quantity, scores in zip((*names, "all together"), every, strict=True):
            # within folds: all scans of one protocol have no spread to pool by
            value, interval = FoldScores(study.scans, study.folds, scores).auroc("within")
            yield cell(f"{stage} preparation", quantity).row("auroc", value, interval)


def before(pixels: Array) -> Sequence[Any]:
    """`BEFORE` of a scan, white excepted: grey levels as shares of the type's largest; log2 of the width."""
    values, _ = as_scan(pixels)
    if values is None:
        return [np.nan] * len(BEFORE)
    known = known_pixels(values, pixels.dtype == np.uint8)
    shown = values[known] / (float(np.iinfo(pixels.dtype).max) if pixels.dtype.kind == "u" else 1.0)
    return 1 - known.mean(), np.log2(values.shape[1]), shown.mean(), shown.std(), np.percentile(shown, 5)


def after(scan: FlatScan) -> Sequence[Any]:
    """`AFTER` of the band that a method sees."""
    if scan.flat is None or scan.retina is None:
        return [np.nan] * len(AFTER)
    pixels, valid, inner = scan.flat.pixels, scan.flat.valid, inner_surface(scan.flat, scan.retina)
    above = pixels[valid & (np.arange(len(pixels))[:, None] < inner - 4)]  # the surface is blurred over some rows
    vitreous = (above.mean(), above.std()) if above.size else (np.nan, np.nan)
    return valid.mean(), pixels[valid].mean(), pixels[valid].std(), *vitreous


def inner_surface(flat: Flat, retina: Retina) -> Floats:
    """(w,) rows of a band."""
    middles = (np.arange(flat.pixels.shape[1]) + 0.5) * flat.columns
    columns = np.clip(middles.astype(np.int64), 0, len(retina.ilm) - 1)
    return to_flat(retina.ilm[columns], columns, flat)[0].astype(np.float64)
