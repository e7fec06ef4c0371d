"""Small scans and folds for the tests of benchmarks/oct."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from typing import Any

import numpy as np

from anotwin.records import ImageItem
from anotwin.settings import Settings
from anotwin.updates import silent
from benchmarks.common.kept import Keeper
from benchmarks.oct.methods import Study
from benchmarks.oct.patients import FoldScores, Scans, make_folds


def tiny_scans(named: Sequence[tuple[str, str]], copies: bool = False) -> Scans:
    """Scans of 2 x 2 pixels, all different, of these patients and classes."""
    items = tuple(ImageItem(f"{n}", label, label == "NORMAL", patient) for n, (patient, label) in enumerate(named))
    pixels = tuple(np.full((2, 2), n, np.uint8) for n in range(len(named)))
    return Scans(pixels, items, root="tiny", copies=copies)


def folded(scans: Scans, count: int, scores: np.ndarray[Any, Any]) -> FoldScores:
    """These scores (folds, N), where the model of a fold scores a scan."""
    folds = make_folds(scans, np.ones(len(scans.items), bool), count, Settings())
    known = np.full(scores.shape, np.nan)
    for own, all_, fold in zip(known, scores, folds, strict=True):
        own[fold.scored] = all_[fold.scored]
    return FoldScores(scans, folds, known)


def study_of(scans: Scans, **options: Any) -> Study:
    """A study with the options of a quick run."""
    quick: dict[str, Any] = {"quick": True, "count": None, "limit": None, "folds": 2, "paper_steps": 4, "steps": None}
    more = {"set": [], "workers": 0, "device": "cpu", "sheet": None, "width": 96, "methods": [], "goals": False}
    return Study(Namespace(**quick | more | options), scans, Keeper(), silent)
