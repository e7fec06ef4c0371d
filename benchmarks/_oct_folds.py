"""Cross-validation by patient in `oct.py`: who learns from whom, and one AUROC from the scores of all folds.

Every normal is scored once, by the model that saw nobody of its fold; every abnormal scan by the model of each fold.
Scores of different models become comparable by mean and standard deviation of the normals that each model's own
training holds out (never those of the fold). Then

    pooled    each normal against each abnormal scan, as scored by every model: one threshold for all models
    within    each normal against each abnormal scan as its own model scored both: the mean AUROC of the folds, weighted
              by their normals

Both are means of wins (1, a tie 1/2) over pairs of scans. Scans of a patient are alike, so intervals come from a
bootstrap over patients, those of each class apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from _common import Floats, Interval
from _oct_scans import NORMAL, Scans
from anotwin import DataError
from anotwin.data.split import split_holdout
from anotwin.seeding import derive, fingerprint
from anotwin.settings import Settings

DRAWS = 2000
Kind = Literal["pooled", "within"]


@dataclass(frozen=True)
class Fold:
    """Positions in the scans."""

    number: int
    learnt: tuple[int, ...]  # normals that a model learns from
    calibration: tuple[int, ...]  # normals of other patients, held out by its training
    unseen: tuple[int, ...]  # normals of the patients of this fold

    @property
    def known(self) -> tuple[int, ...]:
        """What a detector is given to train on: it holds `calibration` out by itself."""
        return tuple(sorted(self.learnt + self.calibration))


def make_folds(scans: Scans, usable: npt.NDArray[np.bool_], count: int, settings: Settings) -> tuple[Fold, ...]:
    """`count` folds over the patients of the normals, as equal as whole patients allow.

    Args:
        scans: all.
        usable: (N,) False where a scan is refused; no training sees such a normal, but it is still to be scored.
        count: folds.
        settings: of the training, whose hold-out is the calibration set.

    Raises:
        DataError: fewer patients than folds.
    """
    normals = np.flatnonzero(scans.labels == NORMAL)
    patients, sizes = np.unique(scans.patients[normals], return_counts=True)
    if len(patients) <= count:
        raise DataError(f"{scans.root}: normals of {len(patients)} patients, expected more than {count}, one a fold")
    order = sorted(range(len(patients)), key=lambda k: (-sizes[k], derive(0, "fold", str(patients[k]))))
    filled = np.zeros(count, np.int64)
    place: dict[str, int] = {}
    for k in order:  # the largest first, each to the emptiest fold
        place[str(patients[k])] = int(filled.argmin())
        filled[filled.argmin()] += sizes[k]
    of = np.array([place[patient] for patient in scans.patients[normals].tolist()])
    return tuple(
        _fold(scans, number, normals[(of != number) & usable[normals]], normals[of == number], settings)
        for number in range(count)
    )


def _fold(
    scans: Scans, number: int, known: npt.NDArray[np.int64], unseen: npt.NDArray[np.int64], settings: Settings
) -> Fold:
    source, data = scans.take(known.tolist()), settings.data
    prints = [fingerprint(pixels) for pixels in source.pixels]
    learnt, held = split_holdout(source.items, data.holdout, data.holdout_most, settings.training.seed, prints)
    return Fold(number, tuple(known[learnt].tolist()), tuple(known[held].tolist()), tuple(unseen.tolist()))


@dataclass(frozen=True, eq=False)
class Verdict:
    """A method's scores in all folds."""

    scans: Scans
    folds: tuple[Fold, ...]
    scores: Floats  # (folds, N), NaN where refused or learnt from

    def standardised(self) -> Floats:
        """(folds, N) in standard deviations of each fold's calibration normals.

        A refused scan counts against the method, whichever it is: a normal as the most abnormal, an abnormal one as
        the most normal.
        """
        levels = self.scores.copy()
        for fold in self.folds:
            held = self.scores[fold.number, fold.calibration]
            held = held[np.isfinite(held)]
            spread = held.std(ddof=1) if len(held) > 1 else 0.0
            levels[fold.number] = (levels[fold.number] - held.mean()) / max(float(spread), 1e-12)
        refused = np.where(self.scans.labels == NORMAL, np.inf, -np.inf)
        return np.where(np.isnan(levels), refused, levels)

    def wins(self, kind: Kind, abnormals: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], Floats]:
        """Normals (n,), and how often each loses to each abnormal scan, (n, len(abnormals)) in [0, 1]."""
        levels = self.standardised()
        normals = np.array([index for fold in self.folds for index in fold.unseen])
        own = np.array([fold.number for fold in self.folds for _ in fold.unseen])
        mine = levels[own, normals]
        if kind == "within":
            return normals, _beats(levels[np.ix_(own, abnormals)], mine[:, None])
        return normals, np.mean([_beats(level[None, abnormals], mine[:, None]) for level in levels], axis=0)

    def auroc(
        self, kind: Kind, classes: Sequence[str] | None = None, pairs: npt.NDArray[np.bool_] | None = None
    ) -> tuple[float, Interval]:
        """AUROC with its 95 % interval; NaN where there is nothing to compare.

        Args:
            kind: see the head of this file.
            classes: of the abnormal scans; None: all.
            pairs: (N, N) True for the pairs that count; None: all.
        """
        labels = self.scans.labels
        abnormals = np.flatnonzero((labels != NORMAL) if classes is None else np.isin(labels, list(classes)))
        normals, wins = self.wins(kind, abnormals)
        counted = np.ones(wins.shape) if pairs is None else pairs[np.ix_(normals, abnormals)].astype(np.float64)
        if not counted.any():
            return float("nan"), (float("nan"), float("nan"))
        groups = np.char.add(np.char.add(labels, "/"), self.scans.patients)
        value = float((wins * counted).sum() / counted.sum())
        return value, patient_interval(wins, groups[normals], groups[abnormals], counted)

    def answered(self) -> npt.NDArray[np.bool_]:
        """(N,) scans that some model has a score for."""
        return np.asarray(np.isfinite(self.scores).any(axis=0))

    def by_fold(self) -> Floats:
        """(folds,) AUROC of each model, on its own unseen normals and all abnormal scans."""
        normals, wins = self.wins("within", np.flatnonzero(self.scans.labels != NORMAL))
        return np.array([wins[np.isin(normals, fold.unseen)].mean() for fold in self.folds])


def patient_interval(
    wins: Floats, normals: npt.NDArray[np.str_], abnormals: npt.NDArray[np.str_], counted: Floats | None = None
) -> Interval:
    """95 % percentile interval of the mean of `wins` (n, m), resampling patients within their class.

    Args:
        wins: of pairs.
        normals: (n,) class and patient of each normal, as ``NORMAL/12``.
        abnormals: (m,) of each abnormal scan.
        counted: (n, m) weights of the pairs; None: all the same.
    """
    counted = np.ones(wins.shape) if counted is None else counted
    rng = np.random.default_rng(derive(0, "patients"))
    down, across = _weights(normals, rng), _weights(abnormals, rng)  # (D, n), (D, m)
    won, all_ = (((down @ pairs) * across).sum(axis=1) for pairs in (wins * counted, counted))
    return _percentiles(won, all_)


def copies_interval(
    wins: Floats, normals: npt.NDArray[np.str_], copies: npt.NDArray[np.str_], counted: Floats
) -> Interval:
    """As `patient_interval`, where a patient has normals and changed copies of them: both are drawn together.

    A patient drawn k times is k patients, each with pairs of its own: k^2 of them would give a scan's pairs with its
    own copies twice their weight, and the interval would not be about the AUROC.

    Args:
        wins: of pairs.
        normals: (n,) fold and patient of each normal, as ``2/12``; folds are resampled apart.
        copies: (m,) of each copy.
        counted: (n, m) weights of the pairs.
    """
    drawn = _weights(np.concatenate([normals, copies]), np.random.default_rng(derive(0, "patients")))
    down, across = drawn[:, : len(normals)], drawn[:, len(normals) :]
    own = normals[:, None] == copies
    won, all_ = (
        ((down @ np.where(own, 0, pairs)) * across).sum(axis=1) + down @ np.where(own, pairs, 0).sum(axis=1)
        for pairs in (wins * counted, counted)
    )
    return _percentiles(won, all_)


def _percentiles(won: Floats, all_: Floats) -> Interval:
    low, high = np.quantile(won[all_ > 0] / all_[all_ > 0], [0.025, 0.975])
    return float(low), float(high)


def _weights(groups: npt.NDArray[np.str_], rng: np.random.Generator) -> Floats:
    """(D, n): how often each scan is in each resample."""
    names, of = np.unique(groups, return_inverse=True)
    classes = np.array([name.partition("/")[0] for name in names.tolist()])
    drawn = np.zeros((DRAWS, len(names)))
    for each in np.unique(classes):
        members = np.flatnonzero(classes == each)
        drawn[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), DRAWS)
    return drawn[:, of]


def _beats(abnormal: Floats, normal: Floats) -> Floats:
    return np.asarray((abnormal > normal) + 0.5 * (abnormal == normal), dtype=np.float64)
