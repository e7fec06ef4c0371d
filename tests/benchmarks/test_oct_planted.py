"""Planted lesions of benchmarks/oct.py: what they change and where, and who scores which copy, by hand-made oracles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmark_modules import oct_modules
from sklearn.metrics import roc_auc_score

from anotwin.domains.oct.flatten import to_flat
from anotwin.domains.oct.records import ScanInfo
from anotwin.domains.oct.scans import FlatScan, flat_scans
from anotwin.domains.oct.synthetic.retina import retina_scan
from anotwin.records import ImageItem
from anotwin.settings import Settings
from anotwin.updates import silent

KINDS = (
    "cysts",
    "drusen",
    "subretinal fluid",
    "thickening",
    "foci",
    "lost outer layers",
    "disordered inner layers",
)
WIDTH = 400  # columns of the synthetic scans


@pytest.fixture(scope="module")
def oct() -> Iterator[Any]:
    with oct_modules("auroc", "classical", "folds", "planted", "scans") as found:
        found.kept = import_module("_oneclass_kept")
        yield found


@pytest.fixture(scope="module")
def normals(oct: Any) -> Any:
    return oct.scans.as_source([retina_scan(seed, width=WIDTH) for seed in (3, 4)], ["one", "two"], ["NORMAL"] * 2)


@pytest.fixture(scope="module")
def found(normals: Any) -> list[FlatScan]:
    return list(flat_scans(normals, range(2)))


def drawn(oct: Any, scan: FlatScan, kind: str, seed: int) -> np.ndarray[Any, Any]:
    band = oct.planted.plant_band(scan.flat, scan.retina, kind, np.random.default_rng(seed))
    return np.asarray(band)


# -- lesions -----------------------------------------------------------------------------------------------------------


def test_every_kind_says_what_it_stands_for(oct: Any) -> None:
    assert tuple(oct.planted.KINDS) == KINDS
    assert all(function.__doc__ for function in oct.planted.KINDS.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_lesion_changes_some_of_the_band_and_nothing_elsewhere(oct: Any, found: list[FlatScan], kind: str) -> None:
    widest = {"cysts": 600, "foci": 400, "drusen": 900}.get(kind, 4200)  # micrometres to each side of the middle
    for scan in found:
        assert scan.flat is not None
        before = scan.flat.pixels.copy()
        for seed in range(4):
            band = drawn(oct, scan, kind, seed)
            assert band.shape == before.shape
            assert np.isfinite(band).all()
            assert -1 <= band.min() <= band.max() <= 1
            changed = np.abs(band - before) > 0
            assert 0.0002 < changed.mean() < 0.5  # of the band's area
            assert np.abs(band - before).max() > 0.1
            columns = np.flatnonzero(changed.any(axis=0))
            assert np.ptp(columns) * 12 <= 2 * widest
            assert np.abs((band - before)[changed]).min() >= oct.planted.LEAST
        assert (scan.flat.pixels == before).all()


@pytest.mark.parametrize("kind", KINDS)
def test_what_changes_lies_in_the_retina(oct: Any, found: list[FlatScan], kind: str) -> None:
    """Between RPE and inner surface, but for what lifts the retina: that reaches above where the surface was."""
    lifts: float = {"drusen": 72, "subretinal fluid": 120, "thickening": 0.35 * 400}.get(kind, 0)
    for scan in found:
        assert scan.flat is not None
        assert scan.retina is not None
        band = drawn(oct, scan, kind, 0)
        height, width = band.shape
        columns = ((np.arange(width) + 0.5) * scan.flat.columns).astype(int)
        ilm = to_flat(scan.retina.ilm[columns], columns, scan.flat)[0]
        up = 480 - (np.arange(height) + 0.5)[:, None] * 6
        inner = 480 - (ilm + 0.5) * 6
        clear = np.abs(band - scan.flat.pixels) > 0.15  # the edge of a smooth lesion fades
        assert clear.any()
        assert not (clear & (up < -30)).any()
        assert not (clear & (up > inner + lifts + 30)).any()


def test_kinds_look_as_they_should(oct: Any, found: list[FlatScan]) -> None:
    """Dark where there is fluid, bright at foci; the retina is thicker where it is lifted or swollen."""
    scan = found[0]
    assert scan.flat is not None
    before = scan.flat.pixels
    for kind in ("cysts", "subretinal fluid"):
        change = drawn(oct, scan, kind, 1) - before
        assert change.min() < -0.3
    assert (drawn(oct, scan, "foci", 1) - before).max() > 0.5
    assert (drawn(oct, scan, "lost outer layers", 1) - before).min() < -0.2
    mixed = drawn(oct, scan, "disordered inner layers", 1)
    changed = np.abs(mixed - before)
    columns = changed.sum(axis=0).argmax() + np.arange(-8, 9)
    layers = slice(48, 66)  # rows 84 to 192 micrometres above the RPE: four layers
    profiles = [each[layers, columns].mean(axis=1) for each in (before, mixed)]
    assert profiles[1].std() < 0.6 * profiles[0].std()
    for kind in ("subretinal fluid", "thickening"):
        grown = drawn(oct, scan, kind, 2)
        assert (grown[:45] > -0.4).sum() > (before[:45] > -0.4).sum()  # tissue higher up than before


# -- scans -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_planted_scan_is_the_same_again_and_its_original_stays(oct: Any, found: list[FlatScan], kind: str) -> None:
    for scan in found:
        assert scan.pixels is not None
        before = scan.pixels.copy()
        copy = oct.planted.plant(scan, kind)
        assert copy.dtype == before.dtype
        assert copy.shape == before.shape
        assert (copy == oct.planted.plant(scan, kind)).all()
        assert (scan.pixels == before).all()
        assert 0 < (copy != before).mean() < 0.4


def test_every_scan_and_kind_draws_its_own_place(oct: Any, found: list[FlatScan]) -> None:
    places = []
    for scan in found:
        for kind in KINDS:
            copy = oct.planted.plant(scan, kind)
            places.append(np.flatnonzero((copy != scan.pixels).any(axis=0)).mean())
    assert len(set(places)) == len(places)


def test_a_change_comes_back_when_the_copy_is_laid_flat(oct: Any, normals: Any, found: list[FlatScan]) -> None:
    """Native pixels, lines found again, band: what was planted is there, and elsewhere the band hardly differs."""
    scans = oct.planted.with_planted(normals, found)
    copies = list(flat_scans(scans, range(2, 2 + len(KINDS))))
    for kind, copy in zip(KINDS, copies, strict=True):
        assert copy.flat is not None, copy.error
        assert found[0].flat is not None
        rng = np.random.default_rng(oct.planted.derive(0, "planted", found[0].fingerprint, kind))
        wanted = oct.planted.plant_band(found[0].flat, found[0].retina, kind, rng) - found[0].flat.pixels
        got = copy.flat.pixels - found[0].flat.pixels
        inside = np.abs(wanted) > 0.1
        assert np.corrcoef(wanted[inside], got[inside])[0, 1] > 0.7
        assert np.median(np.abs(got[wanted == 0])) < 0.08


@pytest.mark.parametrize("kind", ["u1", "u2", "f4", "rgb"])
def test_a_change_is_carried_over_in_the_scans_own_type(oct: Any, found: list[FlatScan], kind: str) -> None:
    scan = found[0]
    assert scan.flat is not None
    assert scan.pixels is not None
    change = np.zeros(scan.flat.pixels.shape, np.float32)
    change[40:50, 100:140] = 1e3  # beyond what the type can hold
    change[60:70, 100:140] = -1e3
    pixels = np.repeat(scan.pixels[..., None], 3, axis=2) if kind == "rgb" else scan.pixels.astype(kind)
    if kind == "u2":
        pixels = pixels * np.uint16(200)
    moved = oct.planted.carried(pixels, change, scan.flat)
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
    assert (oct.planted.carried(pixels, 0 * change, scan.flat) == pixels).all()


def test_white_borders_stay_white(oct: Any, found: list[FlatScan]) -> None:
    scan = found[0]
    assert scan.flat is not None
    assert scan.pixels is not None
    pixels = scan.pixels.copy()
    pixels[:, :60] = 255
    moved = oct.planted.carried(pixels, np.full(scan.flat.pixels.shape, -1, np.float32), scan.flat)
    assert (moved[:, :60] == 255).all()
    assert (moved[:, 80:] != pixels[:, 80:]).any()


def test_copies_are_of_the_same_patient_and_stand_alone(oct: Any, normals: Any, found: list[FlatScan]) -> None:
    refused = [found[0], replace(found[1], flat=None, error="two: no retina")]
    scans = oct.planted.with_planted(normals, refused)
    assert scans.labels.tolist() == ["NORMAL", "NORMAL", *KINDS]
    assert scans.patients.tolist() == ["one", "two", *["one"] * 7]
    assert all((scans.read(index) == normals.read(index)).all() for index in range(2))
    assert len({item.id for item in scans.items}) == 9
    assert [item.normal for item in scans.items] == [True, True] + [False] * 7
    assert all(len(volume) == 1 for volume in scans.volumes())
    assert scans.info(5).spacing == normals.info(0).spacing


# -- scores ------------------------------------------------------------------------------------------------------------


def planted_study(oct: Any) -> Any:
    """30 normals of 9 patients, of whom one has 12 scans; two kinds of copies; pixels tell who is who."""
    patients = [f"p{n}" for n, count in enumerate((12, 5, 3, 3, 2, 2, 1, 1, 1)) for _ in range(count)]
    named = [(patient, "NORMAL") for patient in patients]
    named += [(patient, kind) for patient in patients for kind in ("cysts", "foci")]
    items = tuple(ImageItem(f"{n}", label, label == "NORMAL", patient) for n, (patient, label) in enumerate(named))
    pixels = tuple(np.full((2, 2), n, np.uint8) for n in range(len(named)))
    infos = tuple(ScanInfo(item.group, None, item.id, 0, 1, None) for item in items)
    scans = oct.scans.Scans("tiny", pixels, items, infos, (None,) * len(items))
    folds = oct.folds.make_folds(scans, np.ones(len(items), bool), 3, Settings())
    return oct.planted.PlantedStudy(scans, [None] * len(items), folds, Settings(), [], 4, "cpu", oct.classical.Form())


def test_no_model_scores_copies_of_a_patient_it_learnt_from(oct: Any) -> None:
    study = planted_study(oct)
    patients, labels = study.scans.patients, study.scans.labels
    scored = [study.scored(fold) for fold in study.folds]
    for fold, indices in zip(study.folds, scored, strict=True):
        copies = [index for index in indices if labels[index] != "NORMAL"]
        assert {patients[index] for index in copies} == {patients[index] for index in fold.unseen}
        assert not {patients[index] for index in copies} & {patients[index] for index in fold.known}
        kept = [index for index in indices if labels[index] == "NORMAL"]
        assert kept == sorted([*fold.calibration, *fold.unseen])
    every = [index for indices in scored for index in indices if labels[index] != "NORMAL"]
    assert sorted(every) == np.flatnonzero(labels != "NORMAL").tolist()  # each copy once


def fake(oct: Any, monkeypatch: pytest.MonkeyPatch, study: Any, table: np.ndarray[Any, Any]) -> Any:
    """The result of a method that gives each fold's scans the scores of `table` (folds, N)."""

    def outcome(study: Any, _: str, fold: Any) -> Any:
        return oct.kept.Outcome({"score": table[fold.number, study.scored(fold)]}, 1.0, 1.0)

    monkeypatch.setattr(oct.auroc, "_classical", outcome)
    return oct.auroc.result_of(study, "PCA", oct.kept.Keeper(), silent)


def test_known_scores_give_known_auroc(oct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study = planted_study(oct)
    scans, folds = study.scans, study.folds
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(len(folds), len(scans.items)))
    perfect = fake(oct, monkeypatch, study, noise + 99 * (scans.labels != "NORMAL"))
    constant = fake(oct, monkeypatch, study, np.zeros_like(noise))
    halfway = fake(oct, monkeypatch, study, noise + 99 * (scans.labels == "foci"))
    for result, kinds, expected in (
        (perfect, ["cysts"], 1),
        (perfect, ["cysts", "foci"], 1),
        (constant, ["foci"], 0.5),
        (constant, ["cysts", "foci"], 0.5),
        (halfway, ["foci"], 1),
    ):
        value, (low, high) = oct.planted.planted_auroc(result.verdicts["score"], kinds)
        assert (value, low, high) == pytest.approx((expected,) * 3)


def test_auroc_is_that_of_the_folds_weighted_by_their_normals(oct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scales of the models differ, so that a pair over two folds would be won by its scale."""
    study = planted_study(oct)
    scans, folds = study.scans, study.folds
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(len(folds), len(scans.items))) + (scans.labels == "cysts")
    scores = scores * np.array([[1.0], [50.0], [0.1]]) + np.array([[0.0], [900.0], [-50.0]])
    verdict = fake(oct, monkeypatch, study, scores).verdicts["score"]
    means = []
    for kind in ("cysts", "foci"):
        each = []
        for fold in folds:
            own = np.isin(scans.patients, scans.patients[list(fold.unseen)])
            indices = [*fold.unseen, *np.flatnonzero(own & (scans.labels == kind))]
            each.append(roc_auc_score(scans.labels[indices] == kind, scores[fold.number, indices]))
        means.append(np.average(each, weights=[len(fold.unseen) for fold in folds]))
        value, (low, high) = oct.planted.planted_auroc(verdict, [kind])
        assert value == pytest.approx(means[-1])
        assert low < value < high
    assert oct.planted.planted_auroc(verdict, ["cysts", "foci"])[0] == pytest.approx(np.mean(means))


def test_a_refused_copy_counts_against_the_method(oct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study = planted_study(oct)
    scores = np.tile(99.0 * (study.scans.labels != "NORMAL"), (3, 1))
    scores += 1e-3 * np.arange(scores.shape[1])  # a calibration set has a spread
    fold = study.folds[1]
    own = np.isin(study.scans.patients, study.scans.patients[list(fold.unseen)])
    cysts = np.flatnonzero(own & (study.scans.labels == "cysts"))
    scores[:, cysts[0]] = np.nan
    value, _ = oct.planted.planted_auroc(fake(oct, monkeypatch, study, scores).verdicts["score"], ["cysts"])
    share = len(fold.unseen) / 30
    assert value == pytest.approx(1 - share / len(cysts))


def test_copies_are_drawn_with_their_patient(oct: Any) -> None:
    """A patient whose scans all score high: its normals lose and its copies win, which draws together cancel."""
    rng = np.random.default_rng(0)
    groups = np.array([f"0/{n}" for n in range(200)])
    level = rng.normal(scale=9, size=200)
    wins = (
        0.5 + (level[None, :] - level[:, None]) / 100
    )  # how much copy m is above normal n: linear, so no more matters
    together = oct.folds.copies_interval(wins, groups, groups, np.ones(wins.shape))
    apart = oct.folds.patient_interval(wins, groups, np.char.add("x", groups))
    assert together == pytest.approx((0.5, 0.5))
    assert apart[1] - apart[0] > 0.02


def test_intervals_are_about_the_auroc(oct: Any) -> None:
    """Scans that lose to their own copies alone: of 12 patients, a twelfth of the pairs."""
    groups = np.array([f"0/{n}" for n in range(12)])
    level = np.random.default_rng(0).normal(scale=0.1, size=12)
    wins = 0.5 + (level[None, :] ** 2 - level[:, None]) + 0.4 * np.eye(12)
    low, high = oct.folds.copies_interval(wins, groups, groups, np.ones(wins.shape))
    assert (low + high) / 2 == pytest.approx(wins.mean(), abs=0.008)  # and not 0.03 above it


def test_a_quick_run_on_normals_alone(oct: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = oct.scans.stand_ins(5, 1, 96)
    monkeypatch.setattr(oct.script, "stand_ins", lambda *_: scans)
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
