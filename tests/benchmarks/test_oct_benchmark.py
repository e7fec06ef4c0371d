"""benchmarks/oct: folds, pooling and intervals by hand, errors of known lines, and a run of seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from oct_cases import folded, study_of, tiny_scans
from PIL import Image
from sklearn.metrics import roc_auc_score

from anotwin import DataError
from anotwin.domains.oct.flatten import flatten
from anotwin.domains.oct.layers.find import find_retinas
from anotwin.domains.oct.synthetic.retina import Lesion, retina_scan
from anotwin.settings import Settings
from benchmarks.oct import __main__ as oct
from benchmarks.oct import methods, patients
from benchmarks.oct.patients import Scans, make_folds, patient_interval

NORMALS = {f"p{n}": count for n, count in enumerate((15, 6, 4, 3, 3, 2, 2, 1, 1, 1, 1, 1))}
EVERYONE = np.ones(49, bool)


@pytest.fixture
def scans() -> Scans:
    """40 normals of 12 patients, one of whom has 15, and 9 abnormal scans of 4 patients."""
    named = [(patient, "NORMAL") for patient, count in NORMALS.items() for _ in range(count)]
    abnormals = {"a": ("CNV", 3), "b": ("CNV", 1), "c": ("DME", 3), "d": ("DRUSEN", 2)}
    return tiny_scans(named + [(patient, label) for patient, (label, count) in abnormals.items() for _ in range(count)])


# -- folds -------------------------------------------------------------------------------------------------------------


def test_no_patient_is_in_two_folds_and_every_normal_is_scored_once(scans: Scans) -> None:
    folds = make_folds(scans, EVERYONE, 5, Settings())
    normals, abnormals = (np.flatnonzero((scans.labels == "NORMAL") == kind).tolist() for kind in (True, False))
    assert sorted(index for fold in folds for index in fold.unseen) == normals
    unseen = [set(scans.patients[fold.unseen]) for fold in folds]
    assert sum(map(len, unseen)) == len(set.union(*unseen)) == 12
    for fold in folds:
        parts = [set(fold.learnt), set(fold.calibration), set(fold.unseen)]
        assert sorted(index for part in parts for index in part) == normals
        seen = [set(scans.patients[list(part)]) for part in parts]
        assert all(not seen[a] & seen[b] for a, b in ((0, 1), (0, 2), (1, 2)))
        assert all(parts)
        assert fold.known == sorted([*fold.learnt, *fold.calibration])
        assert fold.scored == sorted([*fold.calibration, *fold.unseen, *abnormals])


def test_folds_are_as_equal_as_patients_allow_and_do_not_depend_on_the_order_of_files(scans: Scans) -> None:
    folds = make_folds(scans, EVERYONE, 5, Settings())
    assert sorted(len(fold.unseen) for fold in folds) == [6, 6, 6, 7, 15]
    order = np.random.default_rng(0).permutation(49).tolist()
    again = make_folds(scans.take(order), EVERYONE, 5, Settings())
    for one, other in zip(folds, again, strict=True):
        assert [sorted(order[index] for index in part) for part in other] == [sorted(part) for part in one]


def test_nobody_learns_from_a_refused_normal_but_it_is_scored(scans: Scans) -> None:
    folds = make_folds(scans, np.arange(49) != 3, 5, Settings())
    assert [3 in fold.unseen for fold in folds].count(True) == 1
    assert not any(3 in fold.known for fold in folds)


def test_fewer_patients_than_folds_are_refused() -> None:
    named = [(patient, "NORMAL") for patient, count in {"p": 9, "q": 3, "r": 1}.items() for _ in range(count)]
    with pytest.raises(DataError, match="3 patients, expected more than 5"):
        make_folds(tiny_scans(named), np.ones(13, bool), 5, Settings())


# -- pooling -----------------------------------------------------------------------------------------------------------


def drawn(scans: Scans, seed: int = 0, shift: float = 1.0) -> np.ndarray[Any, Any]:
    """Scores (5, N), higher for abnormal scans."""
    rng = np.random.default_rng(seed)
    return np.asarray(rng.normal(size=(5, len(scans.items))) + shift * (scans.labels != "NORMAL"))


def test_within_is_the_mean_of_the_folds_weighted_by_their_normals(scans: Scans) -> None:
    scores = drawn(scans)
    found = folded(scans, 5, scores)
    each = []
    for number, fold in enumerate(found.folds):
        indices = [*fold.unseen, *np.flatnonzero(scans.labels != "NORMAL")]
        each.append(roc_auc_score(scans.labels[indices] != "NORMAL", scores[number, indices]))
        unseen = np.isin(np.arange(49), fold.unseen)
        assert found.auroc("within", pairs=unseen[:, None])[0] == pytest.approx(each[-1])
    expected = np.average(each, weights=[len(fold.unseen) for fold in found.folds])
    assert found.auroc("within")[0] == pytest.approx(expected)


def test_pooled_is_one_auroc_of_all_standardised_scores(scans: Scans) -> None:
    scores = drawn(scans)
    found = folded(scans, 5, scores)
    labels, pooled = [], []
    for number, fold in enumerate(found.folds):
        names = scans.patients[fold.calibration]
        each = np.array([1 / (names == name).sum() for name in names]) / len(set(names))  # a patient counts once
        held = scores[number, fold.calibration]
        mean = (each * held).sum()
        spread = (each * (held - mean) ** 2).sum() * len(held) / (len(held) - 1)
        levels = (scores[number] - mean) / np.sqrt(spread)
        for index in [*fold.unseen, *np.flatnonzero(np.isin(scans.labels, ["CNV", "DME"]))]:
            labels.append(scans.labels[index] != "NORMAL")
            pooled.append(levels[index])
    value, (low, high) = found.auroc("pooled", ["CNV", "DME"])
    assert value == pytest.approx(roc_auc_score(labels, pooled))
    assert low < value < high


def test_scales_of_models_do_not_matter(scans: Scans) -> None:
    scores = drawn(scans)
    other = scores * np.array([[1.0], [10.0], [0.1], [3.0], [7.0]]) + np.array([[0.0], [5.0], [-2.0], [9.0], [1.0]])
    one, two = folded(scans, 5, scores), folded(scans, 5, other)
    for kind in ("pooled", "within"):
        assert one.auroc(kind)[0] == pytest.approx(two.auroc(kind)[0])


def test_refused_scans_count_against_the_method(scans: Scans) -> None:
    scores = drawn(scans, shift=100.0)
    perfect = folded(scans, 5, scores).auroc("pooled")[0]
    scores[:, -1] = np.nan  # of 9 abnormal scans
    missed = folded(scans, 5, scores).auroc("pooled")[0]
    scores[:, folded(scans, 5, scores).folds[0].unseen[0]] = np.nan  # of 40 normals
    alarmed = folded(scans, 5, scores).auroc("pooled")[0]
    assert (perfect, missed, alarmed) == pytest.approx((1.0, 8 / 9, 39 / 40 * 8 / 9))


def test_only_some_pairs_can_be_counted(scans: Scans) -> None:
    scores = drawn(scans)
    found = folded(scans, 5, scores)
    pairs = np.zeros((49, 49), bool)
    assert np.isnan(found.auroc("pooled", pairs=pairs)[0])
    one, two = found.folds[1].unseen[0], found.folds[2].unseen[0]
    pairs[one, 48] = pairs[two, [46, 47]] = True
    expected = scores[1, 48] > scores[1, one], scores[2, 46] > scores[2, two], scores[2, 47] > scores[2, two]
    assert found.auroc("within", pairs=pairs)[0] == pytest.approx(np.mean(expected))


def test_the_difference_of_two_methods_is_paired(scans: Scans) -> None:
    """A method against itself: exactly none, with no width."""
    one, other = folded(scans, 5, drawn(scans)), folded(scans, 5, drawn(scans, seed=1))
    value, (low, high) = one.auroc("pooled", minus=other)
    assert value == pytest.approx(one.auroc("pooled")[0] - other.auroc("pooled")[0])
    assert low < value < high
    assert one.auroc("pooled", minus=one) == (0.0, (0.0, 0.0))


def test_pairs_are_taken_alike() -> None:
    rng = np.random.default_rng(0)
    named = [("p", "NORMAL")] * 3 + [("q", "NORMAL")] * 2 + [("a", "CNV")] * 2
    grain = rng.integers(0, 9, (70, 80))
    pixels = [grain + level for level in (40, 44, 48, 52, 56, 41, 99)]  # a standard deviation of 5.7 without the last
    pixels[1] = np.hstack([pixels[1], pixels[1]])  # another width, which the next one shares with nobody
    scans = replace(tiny_scans(named), images=tuple(each.astype(np.uint8) for each in pixels))
    found = methods.alike(scans)
    assert found[0].tolist() == [True, False, False, False, False, True, False]
    assert found[3].tolist() == [False, False, True, True, True, False, False]
    assert (found == found.T).all()


def test_intervals_resample_patients_not_scans() -> None:
    """One patient with all scans: nothing can vary. Independent scans: as wide as the variance of a mean."""
    rng = np.random.default_rng(0)
    wins = np.repeat(rng.random(400)[:, None], 3, axis=1)  # depends on the normal alone
    everything = np.ones(wins.shape)
    alone = np.array([f"/{n}" for n in range(400)])
    abnormal = np.array(["CNV/a", "CNV/b", "DME/a"])
    low, high = patient_interval(wins, alone, abnormal, everything)
    assert (high - low) / 2 == pytest.approx(1.96 * wins[:, 0].std() / 20, rel=0.1)
    low, high = patient_interval(wins, np.array(["/1"] * 400), abnormal, everything)
    assert (low, high) == pytest.approx((wins.mean(), wins.mean()))
    pairs = np.array([f"/{n // 4}" for n in range(400)])
    of_patients = wins[:, 0].reshape(100, 4).mean(axis=1)
    low, high = patient_interval(wins, pairs, abnormal, everything)
    assert (high - low) / 2 == pytest.approx(1.96 * of_patients.std() / 10, rel=0.15)


# -- lines -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def truth() -> Any:
    return retina_scan(3, width=160, lesions=[Lesion("druse", 300, 90)])


def errors(truth: Any, ilm: Any = 0.0, baseline: Any = 0.0) -> list[float]:
    """Of the true lines, moved by so many rows."""
    lines = {"ilm": truth.ilm + ilm, "rpe": truth.rpe, "baseline": truth.baseline + baseline}
    lines = {name: line.astype(np.float32) for name, line in lines.items()}
    (found,) = find_retinas([truth.pixels], truth.spacing)
    retina = replace(found, reason="", **lines)
    flat = flatten(truth.pixels, retina, spacing=truth.spacing)
    return oct.errors_of(truth, SimpleNamespace(retina=retina, flat=flat))


def test_errors_of_lines_are_those_that_were_made(truth: Any) -> None:
    assert errors(truth)[:3] == pytest.approx([0, 0, 0], abs=1e-3)
    assert errors(truth, ilm=3)[:2] == pytest.approx([3, 0], abs=1e-3)
    white = np.zeros(truth.white.shape, bool)
    white[:, :40] = True
    moved = errors(replace(truth, white=white), ilm=np.where(np.arange(160) < 40, 50, 1))
    assert moved[0] == pytest.approx(1, abs=1e-3)
    assert oct.errors_of(truth, SimpleNamespace(retina=None, flat=None)) == [np.inf] * 4


def test_a_bent_baseline_is_not_straight(truth: Any) -> None:
    assert errors(truth, baseline=np.where(np.arange(160) < 80, 4.0, 0.0))[2] == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("jump", "least", "most"), [(0.0, 0.0, 1e-3), (0.1, 0.01, 0.3), (20.0, 2.0, 30.0)])
def test_the_inverse_errs_where_a_baseline_jumps(truth: Any, jump: float, least: float, most: float) -> None:
    """Back in the scan, a pixel is a mean of its neighbours: a level baseline is exact, and one that jumps is not."""
    jumping = 300 + jump * (np.arange(160) // 8 % 2)
    assert least <= errors(truth, baseline=jumping - truth.baseline)[3] <= most


# -- what a scan gives away --------------------------------------------------------------------------------------------


def test_confounds_by_hand() -> None:
    pixels = np.random.default_rng(0).integers(40, 120, (100, 128)).astype(np.uint8)  # flat areas would be margins
    pixels[:20] = 255
    values = dict(zip(methods.BEFORE, methods.before(pixels), strict=True))
    assert values["white share"] == pytest.approx(0.24)  # and the rows that JPEG may have changed
    assert values["width"] == 7
    shown = pixels[24:] / 255
    assert values["brightness"] == pytest.approx(shown.mean(), rel=1e-5)
    assert values["contrast"] == pytest.approx(shown.std(), rel=1e-5)
    assert values["noise floor"] == pytest.approx(np.percentile(shown, 5))
    assert np.isnan(methods.before(np.zeros((2, 2), np.uint8))).all()
    assert np.isnan(methods.after(SimpleNamespace(flat=None))).all()


def test_a_confound_is_found_whichever_way_it_lies(scans: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(0).normal(size=(49, 5))
    table[40:, 1] = [30, -30, 30, -30, 30, -30, 30, -30, 30]
    monkeypatch.setattr(methods, "before", lambda pixels: table[pixels[0, 0]])
    monkeypatch.setattr(methods, "after", lambda _scan: [0.0] * 5)
    study = study_of(scans)
    study.found = [SimpleNamespace(flat=True)] * 49
    rows = {(row.case, row.method): row.value for row in methods.confound_rows(study)}
    assert rows["before preparation", "width"] == 1
    assert rows["before preparation", "all together"] == 1
    assert 0.25 < rows["before preparation", "white share"] < 0.75
    assert rows["after preparation", "brightness"] == 0.5


# -- classical methods -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PCA", "kNN"])
def test_classical_methods_know_what_they_have_seen(method: str) -> None:
    rng = np.random.default_rng(0)
    basis = rng.normal(size=(3, 40, 80)).astype(np.float32)

    def band(odd: bool) -> Any:
        pixels = np.tensordot(rng.normal(size=3), basis, 1).astype(np.float32)
        pixels[10:30, 30:50] += 9.0 * odd
        return methods.cut_band(
            SimpleNamespace(pixels=pixels, valid=np.ones((40, 80), bool), deciding=np.ones(80, bool))
        )

    training, queries = [band(False) for _ in range(60)], [band(odd) for odd in (False,) * 5 + (True,) * 5]
    scores = methods.scan_scores(method, training, queries)
    assert scores[:5].max() < scores[5:].min()
    assert methods.scan_scores("kNN", training, training[:1]) == pytest.approx(0, abs=1e-5)


def test_patches_are_means_of_the_band_and_those_without_tissue_are_left_out() -> None:
    """A band of 32 x 96: 16 x 24 means of 2 x 4 pixels, of which 3 patches of 16 x 16 are cut at steps of 4."""
    pixels = np.random.default_rng(0).normal(size=(32, 96)).astype(np.float32)
    means = pixels.reshape(16, 2, 24, 4).mean(axis=(1, 3))
    flat: Any = SimpleNamespace(pixels=pixels, valid=np.ones((32, 96), bool), deciding=np.ones(96, bool))
    patches, depths = methods.cut_band(flat)
    assert depths.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(patches[1], means[:, 4:20].ravel())
    flat.valid[:, :16] = False
    np.testing.assert_array_equal(methods.cut_band(flat)[0], patches[1:])
    flat.valid[:] = False
    np.testing.assert_array_equal(methods.cut_band(flat)[0], patches)  # rather than none


# -- data and runs -----------------------------------------------------------------------------------------------------


def test_real_scans_are_found_with_patients_from_their_names(tmp_path: Path) -> None:
    for name in ("train/NORMAL/NORMAL-12-1", "train/NORMAL/NORMAL-12-2", "test/NORMAL/NORMAL-7-1", "test/CNV/CNV-9-1"):
        path = tmp_path / "oct" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((70, 80), len(name), np.uint8)).save(path)
    scans = patients.find_scans(SimpleNamespace(quick=False, data=tmp_path, limit=None))
    assert scans is not None
    assert scans.patients.tolist() == ["12", "12", "9", "7"]
    assert scans.labels.tolist() == ["NORMAL", "NORMAL", "CNV", "NORMAL"]
    assert [item.normal for item in scans.items] == [True, True, False, True]
    limited = patients.find_scans(SimpleNamespace(quick=False, data=tmp_path, limit=1))
    assert limited is not None
    assert sorted(limited.labels.tolist()) == ["CNV", "NORMAL"]


def test_a_folder_without_scans_is_refused_and_missing_data_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="no train/NORMAL"):
        patients.find_scans(SimpleNamespace(quick=False, data=tmp_path, limit=None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANOTWIN_DATA", str(tmp_path))
    assert patients.find_scans(SimpleNamespace(quick=False, data=None, limit=None)) is None
    assert "Kermany" in capsys.readouterr().out


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer and narrower stand-ins than those of --quick."""
    scans = patients.stand_ins(6, 1, 96)
    monkeypatch.setattr(oct, "stand_ins", lambda *_: scans)


@pytest.mark.usefixtures("narrow")
def test_a_quick_run_of_preparation(tmp_path: Path) -> None:
    path, sheets = tmp_path / "oct.json", tmp_path / "sheets"
    parts = ["--part", "real", "confounds", "auroc", "--methods", "PCA"]
    assert oct.main(["--quick", *parts, "--sheet", str(sheets), "--json", str(path)]) == 0
    rows = json.loads(path.read_text())
    values = {(row["case"], row["method"], row["metric"]): row["value"] for row in rows}
    assert values["all", "find_retina", "segmented_or_refused_with_a_reason"] == 1
    for stage, names in (("before", methods.BEFORE), ("after", methods.AFTER)):
        assert all(0 <= values[f"{stage} preparation", name, "auroc"] <= 1 for name in names)
    cases = {case for case, method, _ in values if method == "PCA"}
    assert cases - {"pairs taken alike"} == {"all", "CNV", "DME", "DRUSEN"}
    assert {path.name for path in sheets.iterdir()} == {"scans-01.png", "bands-01.png"}


@pytest.mark.usefixtures("narrow")
def test_scores_are_used_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for run in ("first", "second"):
        path = tmp_path / f"{run}.json"
        given = ["--quick", "--part", "auroc", "--methods", "aCAE", "--steps", "2", "--device", "cpu"]
        assert oct.main([*given, "--scores", str(tmp_path / "scores"), "--json", str(path)]) == 0
        found.append(json.loads(path.read_text()))
    assert "2 scores of earlier runs" in capsys.readouterr().out
    assert found[0] == found[1]


def test_lesions_of_a_detector_that_sees_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heat that is the mask has an AUROC of 1; a cyst is found from the size on at which it is flagged."""
    drawn: list[Any] = []
    eyes = patients.eyes

    def remembered(*given: Any) -> Any:
        source, truths = eyes(*given)
        drawn[:] = truths
        return source, truths

    class Oracle:
        method = SimpleNamespace(name="oracle")

        def findings(self, source: Any) -> Iterator[Any]:
            for item, truth in zip(source.items, drawn, strict=True):
                pixels, heat = truth.pixels, truth.mask.astype(np.float32)
                shown = {"query": pixels, "counterpart": pixels, "evidence": find_retinas([pixels])[0], "id": item.id}
                flagged = bool(truth.mask.sum() > 60)
                yield SimpleNamespace(error="", heatmap=heat, anomalous=flagged, score=1.0, **shown)

    monkeypatch.setattr(oct, "eyes", remembered)
    monkeypatch.setattr(oct, "train", lambda *_: Oracle())
    study = study_of(tiny_scans([("p", "NORMAL")]), quick=False, count=1, width=200, sheet=tmp_path / "sheet")
    rows = list(oct.lesion_rows(study))
    names = {f"lesions-{lesion.kind}.png" for lesion in oct.LESIONS}
    assert {path.name for path in (tmp_path / "sheet").iterdir()} == names
    values = {(row.case, row.metric): row for row in rows}
    assert values["all lesions", "pixel_auroc"].value == 1
    assert values["all lesions", "pixel_auroc"].reached() is True
    assert values["all lesions", "pixel_auroc_in_retina"].value == 1
    flagged = {row.case: row.value for row in rows if row.metric == "flagged"}
    assert flagged["no cyst"] == 0
    sizes = [size for size in oct.CYSTS if flagged[f"cyst of {size} um"] == 1]
    assert sizes == list(oct.CYSTS[-len(sizes) :])
    assert values["flagged: 0% without a cyst", "smallest_cyst_found_in_9_of_10"].value == sizes[0]


def test_speed_is_measured_of_every_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A detector that takes its time: of a volume it must have been given every slice."""
    seen: list[int] = []

    class Counting:
        method = SimpleNamespace(name="counting")

        def findings(self, source: Any) -> Iterator[Any]:
            for index in range(len(source.items)):
                seen.append(source.read(index).shape[1])
                yield SimpleNamespace(error="")

    monkeypatch.setattr(oct, "cores", lambda: 1)
    study = study_of(tiny_scans([("p", "NORMAL")]))
    study.detector = Counting()  # type: ignore[assignment]
    values = {(row.method, row.metric): row for row in oct.speed_rows(study)}
    names = ("b_scans_per_second_1_processes", "find_retina_ms", "flatten_ms")
    assert all(values["preparation", name].value > 0 for name in names)
    assert values["counting", "scoring_seconds"].case == "volume of 3 slices"
    assert seen == [96] * 3
    assert all(row.goal is None for row in values.values())  # a smoke run has none
