"""benchmarks/leftout: the folds, and a run of seconds on the bundled digits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anotwin.defects.whole import KINDS
from benchmarks.leftout import __main__ as leftout


def test_every_kind_is_left_out_once() -> None:
    assert sorted(kind for fold in leftout.FOLDS for kind in fold) == sorted(KINDS)


def test_letters_are_prepared_as_digits_are() -> None:
    drawn = leftout.letters(60, seed=3)
    assert drawn.shape == (60, 28, 28)
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn[:5], leftout.letters(5, seed=3))
    assert not np.array_equal(drawn[:5], leftout.letters(5, seed=4))
    assert len(np.unique(drawn, axis=0)) == 60
    for letter in drawn:
        rows, columns = np.nonzero(letter)
        assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 20  # its box
        mass = np.array([(np.arange(28) * letter.sum(axis)).sum() / letter.sum() for axis in (1, 0)])
        assert np.abs(mass - 13.5).max() <= 0.51  # whole pixels
    assert 0.08 < (drawn > 127).mean() < 0.2  # MNIST: 0.13


def test_a_quick_run_measures_what_was_left_out(tmp_path: Path) -> None:
    path = tmp_path / "leftout.json"
    assert leftout.main(["--quick", "--steps", "8", "--device", "cpu", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())
    values = {(row["method"], row["metric"]): row["value"] for row in rows}
    kinds = leftout.FOLDS[0]
    assert {metric for _, metric in values} == {"auroc_mean", "auroc_letters", *(f"auroc_{kind}" for kind in kinds)}
    for term in leftout.TERMS.values():
        each = [values[f"twin {term}", f"auroc_{kind}"] for kind in kinds]
        assert values[f"twin {term}", "auroc_mean"] == pytest.approx(np.mean(each))
    assert values["twin A", "auroc_mean"] != values["twin R", "auroc_mean"]
