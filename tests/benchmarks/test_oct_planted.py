"""Planted lesions of benchmarks/oct: what they change and where, and who scores which copy, by hand-made oracles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oct_cases import folded, tiny_scans
from sklearn.metrics import roc_auc_score

from anotwin.domains.oct.flatten import to_flat
from anotwin.domains.oct.scans import FlatScan, flat_scans
from anotwin.seeding import derive
from benchmarks.oct import __main__ as oct
from benchmarks.oct import patients, planted
from benchmarks.oct.patients import Scans, patient_interval
from benchmarks.oct.planted import KINDS

WIDTH = 400  # columns of the synthetic scans


@pytest.fixture(scope="module")
def normals() -> Scans:
    scans, _ = patients.eyes((3, 4), WIDTH)
    items = [replace(item, id=name, group=name) for item, name in zip(scans.items, ("one", "two"), strict=True)]
    return replace(scans, items=tuple(items))


@pytest.fixture(scope="module")
def found(normals: Scans) -> list[FlatScan]:
    return list(flat_scans(normals, range(2)))


def drawn(scan: FlatScan, kind: str, seed: int) -> np.ndarray[Any, Any]:
    assert scan.flat is not None
    assert scan.retina is not None
    return np.asarray(planted.plant_band(scan.flat, scan.retina, kind, np.random.default_rng(seed)))


def copy_of(normals: Scans, scan: FlatScan, kind: str) -> np.ndarray[Any, Any]:
    """The native pixels of a scan with a lesion."""
    copies = planted.with_planted(normals.take([scan.index]), [scan])
    return np.asarray(copies.images[1 + KINDS.index(kind)])


# -- lesions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_lesion_changes_some_of_the_band_and_nothing_elsewhere(found: list[FlatScan], kind: str) -> None:
    widest = {"cysts": 600, "foci": 400, "drusen": 900}.get(kind, 4200)  # micrometres to each side of the middle
    for scan in found:
        assert scan.flat is not None
        before = scan.flat.pixels.copy()
        for seed in range(4):
            band = drawn(scan, kind, seed)
            assert band.shape == before.shape
            assert np.isfinite(band).all()
            assert -1 <= band.min() <= band.max() <= 1
            changed = np.abs(band - before) > 0
            assert 0.0002 < changed.mean() < 0.5  # of the band's area
            assert np.abs(band - before).max() > 0.1
            columns = np.flatnonzero(changed.any(axis=0))
            assert np.ptp(columns) * 12 <= 2 * widest
            assert np.abs((band - before)[changed]).min() >= 0.01
        assert (scan.flat.pixels == before).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_changes_lies_in_the_retina(found: list[FlatScan], kind: str) -> None:
    """Between RPE and inner surface, but for what lifts the retina: that reaches above where the surface was."""
    lifts: float = {"drusen": 72, "subretinal fluid": 120, "thickening": 0.35 * 400}.get(kind, 0)
    for scan in found:
        assert scan.flat is not None
        assert scan.retina is not None
        band = drawn(scan, kind, 0)
        height, width = band.shape
        columns = ((np.arange(width) + 0.5) * scan.flat.columns).astype(int)
        ilm = to_flat(scan.retina.ilm[columns], columns, scan.flat)[0]
        up = 480 - (np.arange(height) + 0.5)[:, None] * 6
        inner = 480 - (ilm + 0.5) * 6
        clear = np.abs(band - scan.flat.pixels) > 0.15  # the edge of a smooth lesion fades
        assert clear.any()
        assert not (clear & (up < -30)).any()
        assert not (clear & (up > inner + lifts + 30)).any()


def test_kinds_look_as_they_should(found: list[FlatScan]) -> None:
    """Dark where there is fluid, bright at foci; the retina is thicker where it is lifted or swollen."""
    scan = found[0]
    assert scan.flat is not None
    before = scan.flat.pixels
    for kind in ("cysts", "subretinal fluid"):
        change = drawn(scan, kind, 1) - before
        assert change.min() < -0.3
    assert (drawn(scan, "foci", 1) - before).max() > 0.5
    assert (drawn(scan, "lost outer layers", 1) - before).min() < -0.2
    mixed = drawn(scan, "disordered inner layers", 1)
    changed = np.abs(mixed - before)
    columns = changed.sum(axis=0).argmax() + np.arange(-8, 9)
    layers = slice(48, 66)  # rows 84 to 192 micrometres above the RPE: four layers
    profiles = [each[layers, columns].mean(axis=1) for each in (before, mixed)]
    assert profiles[1].std() < 0.6 * profiles[0].std()
    for kind in ("subretinal fluid", "thickening"):
        grown = drawn(scan, kind, 2)
        assert (grown[:45] > -0.4).sum() > (before[:45] > -0.4).sum()  # tissue higher up than before


# -- scans -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_scan_is_the_same_again(normals: Scans, found: list[FlatScan], kind: str) -> None:
    for scan in found:
        assert scan.pixels is not None
        before = scan.pixels.copy()
        copy = copy_of(normals, scan, kind)
        assert copy.dtype == before.dtype
        assert copy.shape == before.shape
        assert (copy == copy_of(normals, scan, kind)).all()
        assert (scan.pixels == before).all()
        assert 0 < (copy != before).mean() < 0.4


def test_every_scan_and_kind_draws_its_own_place(normals: Scans, found: list[FlatScan]) -> None:
    places = []
    for scan in found:
        for kind in KINDS:
            copy = copy_of(normals, scan, kind)
            places.append(np.flatnonzero((copy != scan.pixels).any(axis=0)).mean())
    assert len(set(places)) == len(places)


def test_a_change_comes_back_when_the_copy_is_flattened(normals: Scans, found: list[FlatScan]) -> None:
    """Native pixels, lines found again, band: what was planted is there, and elsewhere the band hardly differs."""
    scans = planted.with_planted(normals, found)
    copies = list(flat_scans(scans, range(2, 2 + len(KINDS))))
    for kind, copy in zip(KINDS, copies, strict=True):
        assert copy.flat is not None, copy.error
        assert found[0].flat is not None
        rng = np.random.default_rng(derive(0, "planted", found[0].fingerprint, kind))
        wanted = planted.plant_band(found[0].flat, found[0].retina, kind, rng) - found[0].flat.pixels
        got = copy.flat.pixels - found[0].flat.pixels
        inside = np.abs(wanted) > 0.1
        assert np.corrcoef(wanted[inside], got[inside])[0, 1] > 0.7
        assert np.median(np.abs(got[wanted == 0])) < 0.08


@pytest.mark.parametrize("kind", ["u1", "u2", "f4", "rgb"])
def test_a_change_is_carried_over_in_the_scans_own_type(found: list[FlatScan], kind: str) -> None:
    scan = found[0]
    assert scan.flat is not None
    assert scan.pixels is not None
    change = np.zeros(scan.flat.pixels.shape, np.float32)
    change[40:50, 100:140] = 1e3  # beyond what the type can hold
    change[60:70, 100:140] = -1e3
    pixels = np.repeat(scan.pixels[..., None], 3, axis=2) if kind == "rgb" else scan.pixels.astype(kind)
    if kind == "u2":
        pixels = pixels * np.uint16(200)
    moved = planted.carried(pixels, change, scan.flat)
    assert moved.dtype == pixels.dtype
    assert moved.shape == pixels.shape
    differs = moved != pixels
    assert 0 < differs.mean() < 0.1
    if kind == "rgb":
        assert (moved[..., 0] == moved[..., 2]).all()
    up = moved.astype(float) - pixels > 0
    if kind != "f4":
        assert (moved[up] == np.iinfo(pixels.dtype).max).mean() > 0.8  # all but the edges
        assert up.any()
    else:
        assert moved[up].max() > 255  # has no end to be clipped at
    assert (planted.carried(pixels, 0 * change, scan.flat) == pixels).all()


def test_white_borders_stay_white(found: list[FlatScan]) -> None:
    scan = found[0]
    assert scan.flat is not None
    assert scan.pixels is not None
    pixels = scan.pixels.copy()
    pixels[:, :60] = 255
    moved = planted.carried(pixels, np.full(scan.flat.pixels.shape, -1, np.float32), scan.flat)
    assert (moved[:, :60] == 255).all()
    assert (moved[:, 80:] != pixels[:, 80:]).any()


def test_copies_are_of_the_same_patient(normals: Scans, found: list[FlatScan]) -> None:
    refused = [found[0], replace(found[1], flat=None, error="two: no retina")]
    scans = planted.with_planted(normals, refused)
    assert scans.labels.tolist() == ["NORMAL", "NORMAL", *KINDS]
    assert scans.patients.tolist() == ["one", "two", *["one"] * 7]
    assert all((scans.read(index) == normals.read(index)).all() for index in range(2))
    assert len({item.id for item in scans.items}) == 9
    assert [item.normal for item in scans.items] == [True, True] + [False] * 7
    assert scans.copies


# -- scores ------------------------------------------------------------------------------------------------------------


# -- scores ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def copies() -> Scans:
    """30 normals of 9 patients, of whom one has 12 scans; two kinds of copies."""
    named = [f"p{n}" for n, count in enumerate((12, 5, 3, 3, 2, 2, 1, 1, 1)) for _ in range(count)]
    labelled = [(patient, "NORMAL") for patient in named]
    return tiny_scans(labelled + [(patient, kind) for patient in named for kind in ("cysts", "foci")], copies=True)


def test_no_model_scores_copies_of_a_patient_it_learnt_from(copies: Scans) -> None:
    found = folded(copies, 3, np.zeros((3, 90)))
    names, labels = copies.patients, copies.labels
    for fold in found.folds:
        others = [index for index in fold.scored if labels[index] != "NORMAL"]
        assert {names[index] for index in others} == {names[index] for index in fold.unseen}
        assert not {names[index] for index in others} & {names[index] for index in fold.known}
        kept = [index for index in fold.scored if labels[index] == "NORMAL"]
        assert kept == sorted([*fold.calibration, *fold.unseen])
    every = [index for fold in found.folds for index in fold.scored if labels[index] != "NORMAL"]
    assert sorted(every) == np.flatnonzero(labels != "NORMAL").tolist()  # each copy once


def test_known_scores_give_known_auroc(copies: Scans) -> None:
    noise = np.random.default_rng(0).normal(size=(3, 90))
    perfect = folded(copies, 3, noise + 99 * (copies.labels != "NORMAL"))
    constant = folded(copies, 3, np.zeros_like(noise))
    halfway = folded(copies, 3, noise + 99 * (copies.labels == "foci"))
    for scores, kinds, expected in (
        (perfect, ["cysts"], 1),
        (perfect, ["cysts", "foci"], 1),
        (constant, ["foci"], 0.5),
        (constant, ["cysts", "foci"], 0.5),
        (halfway, ["foci"], 1),
    ):
        value, (low, high) = scores.auroc("within", kinds)
        assert (value, low, high) == pytest.approx((expected,) * 3)


def test_auroc_is_that_of_the_folds_weighted_by_their_normals(copies: Scans) -> None:
    """Scales of the models differ, so that a pair over two folds would be won by its scale."""
    labels, names = copies.labels, copies.patients
    scores = np.random.default_rng(1).normal(size=(3, 90)) + (labels == "cysts")
    scores = scores * np.array([[1.0], [50.0], [0.1]]) + np.array([[0.0], [900.0], [-50.0]])
    found = folded(copies, 3, scores)
    means = []
    for kind in ("cysts", "foci"):
        each = []
        for number, fold in enumerate(found.folds):
            own = np.isin(names, names[fold.unseen])
            indices = [*fold.unseen, *np.flatnonzero(own & (labels == kind))]
            each.append(roc_auc_score(labels[indices] == kind, scores[number, indices]))
        means.append(np.average(each, weights=[len(fold.unseen) for fold in found.folds]))
        value, (low, high) = found.auroc("within", [kind])
        assert value == pytest.approx(means[-1])
        assert low < value < high
    assert found.auroc("within", ["cysts", "foci"])[0] == pytest.approx(np.mean(means))


def test_a_refused_copy_counts_against_the_method(copies: Scans) -> None:
    scores = np.tile(99.0 * (copies.labels != "NORMAL"), (3, 1))
    scores += 1e-3 * np.arange(scores.shape[1])  # a calibration set has a spread
    fold = folded(copies, 3, scores).folds[1]
    own = np.isin(copies.patients, copies.patients[fold.unseen])
    cysts = np.flatnonzero(own & (copies.labels == "cysts"))
    scores[:, cysts[0]] = np.nan
    value, _ = folded(copies, 3, scores).auroc("within", ["cysts"])
    assert value == pytest.approx(1 - len(fold.unseen) / 30 / len(cysts))


def test_copies_are_drawn_with_their_patient() -> None:
    """A patient whose scans all score high: its normals lose and its copies win, which draws together cancel."""
    rng = np.random.default_rng(0)
    groups = np.array([f"0/{n}" for n in range(200)])
    level = rng.normal(scale=9, size=200)
    # how much copy m is above normal n: linear, so no more matters
    wins = 0.5 + (level[None, :] - level[:, None]) / 100
    together = patient_interval(wins, groups, groups, np.ones(wins.shape))
    apart = patient_interval(wins, groups, np.char.add("x", groups), np.ones(wins.shape))
    assert together == pytest.approx((0.5, 0.5))
    assert apart[1] - apart[0] > 0.02


def test_intervals_are_about_the_auroc() -> None:
    """Scans that lose to their own copies alone: of 12 patients, a twelfth of the pairs."""
    groups = np.array([f"0/{n}" for n in range(12)])
    level = np.random.default_rng(0).normal(scale=0.1, size=12)
    wins = 0.5 + (level[None, :] ** 2 - level[:, None]) + 0.4 * np.eye(12)
    low, high = patient_interval(wins, groups, groups, np.ones(wins.shape))
    assert (low + high) / 2 == pytest.approx(wins.mean(), abs=0.008)  # and not 0.03 above it


def test_a_quick_run_on_normals_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = patients.stand_ins(5, 1, 96)
    monkeypatch.setattr(oct, "stand_ins", lambda *_: scans)
    given = ["--quick", "--part", "planted", "--methods", "PCA", "aCAE", "--steps", "2", "--device", "cpu"]
    rows = []
    for run in ("first", "second"):
        path = tmp_path / f"{run}.json"
        assert oct.main([*given, "--scores", str(tmp_path / "scores"), "--json", str(path)]) == 0
        rows.append(json.loads(path.read_text()))
    assert len(list((tmp_path / "scores").iterdir())) == 2  # a cell a fold, used again
    assert rows[0] == rows[1]
    values = {(row["case"], row["method"]): row["value"] for row in rows[0] if row["metric"] == "auroc_planted"}
    for method in ("PCA", "aCAE"):
        each = [values[kind, method] for kind in KINDS]
        assert values["all planted", method] == pytest.approx(np.mean(each))
    assert values["subretinal fluid", "PCA"] > 0.5
