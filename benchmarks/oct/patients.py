"""The scans by patient: real or synthetic ones, folds over the patients, and one AUROC from the scores of all folds.

Every normal is scored once, by the model that saw nobody of its fold; every abnormal scan by the model of each fold, a
planted copy by that of its patient's fold. Scores of different models become comparable by mean and standard deviation
of the normals that each model's own training holds out (never those of the fold), each patient counting the same.
AUROC is a mean of wins (1, a tie 1/2) over pairs of a normal and an abnormal scan: pooled, as scored by every model,
one threshold for all; or within folds, each pair as the normal's own model scored both. Intervals come from a
bootstrap over patients.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anotwin import DataError, Settings
from anotwin.data.arrays import ArraySource
from anotwin.data.split import split_holdout
from anotwin.domains.oct.source import open_oct
from anotwin.domains.oct.synthetic.retina import Lesion, RetinaScan, retina_scan
from anotwin.records import ImageItem
from anotwin.seeding import derive, fingerprint
from benchmarks.common.rows import Bools, Cell, Floats, Interval, console

cell = partial(Cell, "oct")  # of rows: case, method
NORMAL, ALL = "NORMAL", "all"
GET_OCT = (
    "OCT scans not found: get the set of Kermany et al. 2018 (Mendeley Data, doi 10.17632/rscbjbr9sj) and give its "
    "folder, with NORMAL, CNV, DME and DRUSEN in train and test, to --data or ANOTWIN_DATA (there also as oct); "
    "patients are the numbers in names such as CNV-154835-1.jpeg, unless manifest.csv has a column patient"
)
STAND_INS = {  # for the classes where there are no real scans; micrometres
    "CNV": [Lesion("detachment", 1800, 200), Lesion("fluid", 1500, 150)],
    "DME": [Lesion("cyst", 400, 250, at=0.4), Lesion("cyst", 300, 200, at=0.55), Lesion("focus", 60)],
    "DRUSEN": [Lesion("druse", 350, 90, at=0.35), Lesion("druse", 250, 70, at=0.6)],
}

Names = npt.NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Scans(ArraySource):
    """B-scans in memory; the group of an item is its patient. Labels measure, and tell the normals apart."""

    copies: bool = False  # abnormal scans are changed copies of the normals

    def take(self, indices: Sequence[int]) -> Scans:
        """Some of them, in this order."""
        images, items = tuple(self.images[k] for k in indices), tuple(self.items[k] for k in indices)
        return replace(self, images=images, items=items)

    @property
    def labels(self) -> Names:
        return np.array([str(item.label) for item in self.items])

    @property
    def patients(self) -> Names:
        return np.array([str(item.group) for item in self.items])


def find_scans(arguments: argparse.Namespace) -> Scans | None:
    """The real scans; None where there are none: a printed line then says how to get them."""
    places = [arguments.data] if arguments.data else [os.environ.get("ANOTWIN_DATA"), "../shared/data"]
    for root in (Path(place) / folder for place in places if place for folder in ("oct", "")):
        if all((root / part / NORMAL).is_dir() for part in ("train", "test")):
            return real_scans(root, arguments.limit)
    if arguments.data is not None:
        raise DataError(f"--data {arguments.data}: no train/{NORMAL} and test/{NORMAL} in it or in oct/; {GET_OCT}")
    console.print(f"{GET_OCT}\nsynthetic retinas are used in place of real scans", markup=False)
    return None


def real_scans(root: Path, limit: int | None = None) -> Scans:
    """All normals, and the abnormal scans of the test part; at most `limit` of a class, drawn with a fixed seed."""
    images, items = [], []
    for source in (open_oct(root, "train", NORMAL), open_oct(root, "test", NORMAL)):
        for index in _some(source.items, limit):
            item, patient = source.items[index], source.info(index).patient
            named = re.fullmatch(r"[A-Z]+-(\d+)-\d+", Path(item.id).stem)
            images.append(source.read(index))
            items.append(replace(item, group=patient or (named[1] if named else str(item.group))))
    return Scans(tuple(images), tuple(items), root="OCT B-scans of Kermany et al. 2018").take(_some(items, limit))


def _some(items: Sequence[ImageItem], limit: int | None) -> list[int]:
    chosen: dict[str | None, list[int]] = {}
    for index in np.random.default_rng(derive(0, "limit")).permutation(len(items)).tolist():
        chosen.setdefault(items[index].label, []).append(index)
    return sorted(index for each in chosen.values() for index in each[:limit])


def eyes(seeds: Iterable[int], width: int, lesions: Sequence[Lesion] = ()) -> tuple[Scans, list[RetinaScan]]:
    """Synthetic scans, each of another eye, the same whatever the lesions; and their truth."""
    names, truths = [f"eye-{seed}" for seed in seeds], [retina_scan(k, width=width, lesions=lesions) for k in seeds]
    items = tuple(ImageItem(name, NORMAL, not lesions, name) for name in names)
    return Scans(tuple(truth.pixels for truth in truths), items, root="synthetic retinas"), truths


def stand_ins(normals: int, abnormals: int, width: int = 256) -> Scans:
    """Synthetic retinas in place of the real scans, `abnormals` of each class."""
    images, labels = list(eyes(range(normals), width)[0].images), [NORMAL] * normals
    for number, (label, lesions) in enumerate(STAND_INS.items(), start=1):
        images += eyes(range(10_000 * number, 10_000 * number + abnormals), width, lesions)[0].images
        labels += [label] * abnormals
    items = [ImageItem(f"{each}-{k}", each, each == NORMAL, f"{each}-{k}") for k, each in enumerate(labels)]
    return Scans(tuple(images), tuple(items), root="synthetic retinas")


class Fold(NamedTuple):
    """Positions in the scans."""

    known: list[int]  # normals that a detector is given to train on: it holds `calibration` out by itself
    learnt: list[int]  # of these, those that a model learns from
    calibration: list[int]  # and those of other patients
    unseen: list[int]  # normals of the patients of this fold
    scored: list[int]  # all that its model scores: calibration, unseen, and abnormal scans


def fold_settings(settings: Settings, number: int) -> Settings:
    """The settings of a fold's training; with one seed for all, most folds would hold out the same patients."""
    return settings.with_overrides([f"training.seed={settings.training.seed + number}"])


def make_folds(scans: Scans, usable: Bools, count: int, settings: Settings) -> list[Fold]:
    """`count` folds over the patients of the normals, as equal as whole patients allow.

    Normals are learnt from where `usable` (N,) is True, and all scored. Training with `settings` holds calibration out.
    """
    normal, patients, data = scans.labels == NORMAL, scans.patients, settings.data
    names, sizes = np.unique(patients[normal], return_counts=True)
    if len(names) <= count:
        raise DataError(f"{scans.root}: normals of {len(names)} patients, expected more than {count}, one a fold")
    filled, fold_of, folds = np.zeros(count, np.int64), np.full(len(patients), -1), []
    for k in sorted(range(len(names)), key=lambda k: (-sizes[k], derive(0, "fold", str(names[k])))):
        fold_of[patients == names[k]] = filled.argmin()  # the largest first, each to the emptiest fold
        filled[filled.argmin()] += sizes[k]
    for number in range(count):
        own, seed = fold_of == number, fold_settings(settings, number).training.seed
        known, unseen = np.flatnonzero(normal & ~own & usable), np.flatnonzero(normal & own).tolist()
        source = scans.take(known.tolist())
        contents = [fingerprint(pixels) for pixels in source.images]
        split = split_holdout(source.items, data.holdout, data.holdout_most, seed, contents)
        learnt, held = (known[rows].tolist() for rows in split)
        scored = np.flatnonzero(own | (~normal & (not scans.copies))).tolist()
        folds.append(Fold(known.tolist(), learnt, held, unseen, sorted({*held, *scored})))
    return folds


@dataclass(frozen=True, eq=False)
class FoldScores:
    """A method's scores in all folds."""

    scans: Scans
    folds: Sequence[Fold]
    scores: Floats  # (folds, N), NaN where refused or not scored

    def auroc(
        self, kind: str, classes: Sequence[str] = (), pairs: Any = True, minus: FoldScores | None = None
    ) -> tuple[float, Interval]:
        """AUROC, "pooled" or "within" folds, with its 95 % interval; NaN where there is nothing to compare.

        Of abnormal scans of `classes` (none: all) and of `pairs`, True in (N, N); that of the scores `minus` taken off.
        """
        labels, patients = self.scans.labels, self.scans.patients
        abnormals = np.flatnonzero(np.isin(labels, classes) if classes else labels != NORMAL)
        own, normals = np.array([(number, k) for number, fold in enumerate(self.folds) for k in fold.unseen]).T
        wins = self._wins(kind, own, normals, abnormals)
        wins -= minus._wins(kind, own, normals, abnormals) if minus else 0
        weights = np.array([np.isin(abnormals, fold.scored) for fold in self.folds], np.float64)[own]  # of pairs
        if not weights.all():  # each normal once, however many copies its model scores
            weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1)
        weights = weights * np.broadcast_to(pairs, (len(labels), len(labels)))[np.ix_(normals, abnormals)]
        if not weights.any():
            return float("nan"), (float("nan"), float("nan"))
        strata = np.where(labels == NORMAL, "", labels)  # "" is drawn first
        for number, fold in enumerate(self.folds if self.scans.copies else ()):
            strata[np.isin(patients, patients[fold.unseen])] = str(number)
        groups = np.char.add(np.char.add(strata, "/"), patients)
        value = float((wins * weights).sum() / weights.sum())
        return value, patient_interval(wins, groups[normals], groups[abnormals], weights)

    def _wins(self, kind: str, own: Any, normals: Any, abnormals: Any) -> Floats:
        """How often each normal, of the fold `own`, loses to each abnormal scan, (n, m) in [0, 1].

        A refused scan counts against the method: a normal as the most abnormal, an abnormal one as the most normal.
        """
        levels = np.empty_like(self.scores)  # in standard deviations of each fold's calibration normals
        for level, scores, fold in zip(levels, self.scores, self.folds, strict=True):
            held = [k for k in fold.calibration if np.isfinite(scores[k])]
            level[:] = _levels(scores, held, self.scans.patients)
        levels = np.where(np.isnan(levels), np.where(self.scans.labels == NORMAL, np.inf, -np.inf), levels)
        mine = levels[own, normals][:, None]
        others = [levels[np.ix_(own, abnormals)]] if kind == "within" else [level[None, abnormals] for level in levels]
        return np.asarray(np.mean([(other > mine) + 0.5 * (other == mine) for other in others], axis=0))


def _levels(scores: Floats, held: Sequence[int], patients: Names) -> Floats:
    """Scores in standard deviations of the normals `held`, each patient counting the same, however often scanned."""
    _, of, counts = np.unique(patients[held], return_inverse=True, return_counts=True)
    weights = 1 / (counts[of] * len(counts))
    mean = float((weights * scores[held]).sum())
    variance = float((weights * np.square(scores[held] - mean)).sum()) * len(held) / max(len(held) - 1, 1)
    return np.asarray((scores - mean) / max(variance**0.5, 1e-12))


def patient_interval(wins: Floats, normals: Names, abnormals: Names, weights: Floats) -> Interval:
    """95 % percentile interval of the mean of `wins` (n, m), resampling patients within their stratum.

    The groups `normals` (n,) and `abnormals` (m,) are stratum and patient, as ``CNV/12``. One in both, with copies of
    normals, is k patients when drawn k times, each with pairs of its own: k^2 pairs would give them twice their weight.
    """
    names, of = np.unique(np.concatenate([normals, abnormals]), return_inverse=True)
    strata = np.array([name.partition("/")[0] for name in names.tolist()])
    rng = np.random.default_rng(derive(0, "patients"))
    drawn = np.zeros((2000, len(names)))  # how often each patient is in each resample
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        drawn[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), len(drawn))
    down, across = drawn[:, of[: len(normals)]], drawn[:, of[len(normals) :]]
    own = normals[:, None] == abnormals
    won, all_ = (
        ((down @ np.where(own, 0, each)) * across).sum(axis=1) + down @ np.where(own, each, 0).sum(axis=1)
        for each in (wins * weights, weights)
    )
    low, high = np.quantile(won[all_ > 0] / all_[all_ > 0], [0.025, 0.975])
    return float(low), float(high)
