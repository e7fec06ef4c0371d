"""benchmarks/oct.py: folds, pooling and intervals by hand, errors of known lines, and a run of seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from benchmark_modules import oct_modules
from PIL import Image
from sklearn.metrics import roc_auc_score

from anotwin import DataError
from anotwin.domains.oct.flatten import flatten
from anotwin.domains.oct.layers.find import find_retina
from anotwin.domains.oct.records import ScanInfo
from anotwin.domains.oct.synthetic.retina import Lesion, retina_scan
from anotwin.records import ImageItem
from anotwin.settings import Settings
from anotwin.updates import silent

SETTINGS = Settings()


@pytest.fixture(scope="module")
def oct() -> Iterator[Any]:
    with oct_modules("auroc", "classical", "confounds", "folds", "lesions", "lines", "scans") as found:
        yield found


def tiny(oct: Any, normals: dict[str, int], abnormals: dict[str, tuple[str, int]]) -> Any:
    """Scans of 2 x 2 pixels, all different: how many of each normal patient; of each other patient, with its class."""
    named = [(patient, "NORMAL") for patient, count in normals.items() for _ in range(count)]
    named += [(patient, label) for patient, (label, count) in abnormals.items() for _ in range(count)]
    items = tuple(ImageItem(f"{n}", label, label == "NORMAL", patient) for n, (patient, label) in enumerate(named))
    pixels = tuple(np.full((2, 2), n, np.uint8) for n in range(len(named)))
    infos = tuple(ScanInfo(item.group, None, item.id, 0, 1, None) for item in items)
    return oct.scans.Scans("tiny", pixels, items, infos, (None,) * len(items))


@pytest.fixture
def study(oct: Any) -> Any:
    """40 normals of 12 patients, one of whom has 15, and 9 abnormal scans of 4 patients."""
    normals = {f"p{n}": count for n, count in enumerate((15, 6, 4, 3, 3, 2, 2, 1, 1, 1, 1, 1))}
    scans = tiny(oct, normals, {"a": ("CNV", 3), "b": ("CNV", 1), "c": ("DME", 3), "d": ("DRUSEN", 2)})
    return scans, oct.folds.make_folds(scans, np.ones(49, bool), 5, SETTINGS)


# -- folds -------------------------------------------------------------------------------------------------------------


def test_no_patient_is_in_two_folds_and_every_normal_is_scored_once(study: Any) -> None:
    scans, folds = study
    normals = np.flatnonzero(scans.labels == "NORMAL").tolist()
    assert sorted(index for fold in folds for index in fold.unseen) == normals
    patients = [set(scans.patients[list(fold.unseen)]) for fold in folds]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 12
    for fold in folds:
        parts = [set(fold.learnt), set(fold.calibration), set(fold.unseen)]
        assert sorted(index for part in parts for index in part) == normals
        seen = [set(scans.patients[list(part)]) for part in parts]
        assert all(not seen[a] & seen[b] for a, b in ((0, 1), (0, 2), (1, 2)))
        assert all(parts)


def test_folds_are_as_equal_as_patients_allow_and_do_not_hang_on_the_order_of_files(oct: Any, study: Any) -> None:
    scans, folds = study
    assert sorted(len(fold.unseen) for fold in folds) == [6, 6, 6, 7, 15]
    order = np.random.default_rng(0).permutation(49).tolist()
    again = oct.folds.make_folds(scans.take(order), np.ones(49, bool), 5, SETTINGS)
    for one, other in zip(folds, again, strict=True):
        for part in ("learnt", "calibration", "unseen"):
            assert sorted(order[index] for index in getattr(other, part)) == sorted(getattr(one, part))


def test_nobody_learns_from_a_refused_normal_but_it_is_scored(oct: Any, study: Any) -> None:
    scans, _ = study
    usable = np.ones(49, bool)
    usable[3] = False
    folds = oct.folds.make_folds(scans, usable, 5, SETTINGS)
    assert [3 in fold.unseen for fold in folds].count(True) == 1
    assert not any(3 in fold.known for fold in folds)


def test_fewer_patients_than_folds_are_refused(oct: Any) -> None:
    scans = tiny(oct, {"p": 9, "q": 3, "r": 1}, {})
    with pytest.raises(DataError, match="3 patients, expected more than 5"):
        oct.folds.make_folds(scans, np.ones(13, bool), 5, SETTINGS)


# -- pooling -----------------------------------------------------------------------------------------------------------


def _scores(scans: Any, folds: Any, seed: int = 0, shift: float = 1.0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(len(folds), len(scans.items))) + shift * (scans.labels != "NORMAL")
    for fold in folds:
        scores[fold.number, list(fold.learnt)] = np.nan
    return np.asarray(scores)


def test_within_is_the_mean_of_the_folds_weighted_by_their_normals(oct: Any, study: Any) -> None:
    scans, folds = study
    scores = _scores(scans, folds)
    abnormal = np.flatnonzero(scans.labels != "NORMAL").tolist()
    each = []
    for fold in folds:
        indices = [*fold.unseen, *abnormal]
        each.append(roc_auc_score(scans.labels[indices] != "NORMAL", scores[fold.number, indices]))
    verdict = oct.folds.Verdict(scans, folds, scores)
    assert verdict.by_fold() == pytest.approx(each)
    expected = np.average(each, weights=[len(fold.unseen) for fold in folds])
    assert verdict.auroc("within")[0] == pytest.approx(expected)


def test_pooled_is_one_auroc_of_all_standardised_scores(oct: Any, study: Any) -> None:
    scans, folds = study
    scores = _scores(scans, folds)
    labels, pooled = [], []
    for fold in folds:
        held = scores[fold.number, list(fold.calibration)]
        levels = (scores[fold.number] - held.mean()) / held.std(ddof=1)
        for index in [*fold.unseen, *np.flatnonzero(np.isin(scans.labels, ["CNV", "DME"]))]:
            labels.append(scans.labels[index] != "NORMAL")
            pooled.append(levels[index])
    value, (low, high) = oct.folds.Verdict(scans, folds, scores).auroc("pooled", ["CNV", "DME"])
    assert value == pytest.approx(roc_auc_score(labels, pooled))
    assert low < value < high


def test_scales_of_models_do_not_matter(oct: Any, study: Any) -> None:
    scans, folds = study
    scores = _scores(scans, folds)
    other = scores * np.array([[1.0], [10.0], [0.1], [3.0], [7.0]]) + np.array([[0.0], [5.0], [-2.0], [9.0], [1.0]])
    for kind in ("pooled", "within"):
        one, two = (oct.folds.Verdict(scans, folds, each).auroc(kind) for each in (scores, other))
        assert one[0] == pytest.approx(two[0])


def test_refused_scans_count_against_the_method(oct: Any, study: Any) -> None:
    scans, folds = study
    scores = _scores(scans, folds, shift=100.0)
    perfect = oct.folds.Verdict(scans, folds, scores).auroc("pooled")[0]
    scores[:, -1] = np.nan  # of 9 abnormal scans
    missed = oct.folds.Verdict(scans, folds, scores).auroc("pooled")[0]
    scores[:, folds[0].unseen[0]] = np.nan  # of 40 normals
    alarmed = oct.folds.Verdict(scans, folds, scores).auroc("pooled")[0]
    assert (perfect, missed, alarmed) == pytest.approx((1.0, 8 / 9, 39 / 40 * 8 / 9))
    answered = oct.folds.Verdict(scans, folds, scores).answered()
    assert np.flatnonzero(~answered).tolist() == [folds[0].unseen[0], 48]


def test_only_some_pairs_can_be_counted(oct: Any, study: Any) -> None:
    scans, folds = study
    scores = _scores(scans, folds)
    verdict = oct.folds.Verdict(scans, folds, scores)
    pairs = np.zeros((49, 49), bool)
    assert np.isnan(verdict.auroc("pooled", pairs=pairs)[0])
    one, two = folds[1].unseen[0], folds[2].unseen[0]
    pairs[one, 48] = pairs[two, [46, 47]] = True
    expected = scores[1, 48] > scores[1, one], scores[2, 46] > scores[2, two], scores[2, 47] > scores[2, two]
    assert verdict.auroc("within", pairs=pairs)[0] == pytest.approx(np.mean(expected))


def test_pairs_are_taken_alike(oct: Any) -> None:
    rng = np.random.default_rng(0)
    scans = tiny(oct, {"p": 3, "q": 2}, {"a": ("CNV", 2)})
    grain = rng.integers(0, 9, (70, 80))
    pixels = [grain + level for level in (40, 44, 48, 52, 56, 41, 99)]  # a standard deviation of 5.7 without the last
    pixels[1] = np.hstack([pixels[1], pixels[1]])  # another width, which the next one shares with nobody
    scans = replace(scans, pixels=tuple(each.astype(np.uint8) for each in pixels))
    found = oct.confounds.alike(scans)
    assert found[0].tolist() == [True, False, False, False, False, True, False]
    assert found[3].tolist() == [False, False, True, True, True, False, False]
    assert (found == found.T).all()


def test_intervals_resample_patients_not_scans(oct: Any) -> None:
    """One patient with all scans: nothing can vary. Independent scans: as wide as the variance of a mean."""
    rng = np.random.default_rng(0)
    wins = np.repeat(rng.random(400)[:, None], 3, axis=1)  # depends on the normal alone
    alone = np.array([f"NORMAL/{n}" for n in range(400)])
    abnormal = np.array(["CNV/a", "CNV/b", "DME/a"])
    low, high = oct.folds.patient_interval(wins, alone, abnormal)
    assert (high - low) / 2 == pytest.approx(1.96 * wins[:, 0].std() / 20, rel=0.1)
    together = np.array(["NORMAL/1"] * 400)
    low, high = oct.folds.patient_interval(wins, together, abnormal)
    assert (low, high) == pytest.approx((wins.mean(), wins.mean()))
    pairs = np.array([f"NORMAL/{n // 4}" for n in range(400)])
    of_patients = wins[:, 0].reshape(100, 4).mean(axis=1)
    low, high = oct.folds.patient_interval(wins, pairs, abnormal)
    assert (high - low) / 2 == pytest.approx(1.96 * of_patients.std() / 10, rel=0.15)


# -- lines -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drawn() -> Any:
    truth = retina_scan(3, width=160, lesions=[Lesion("druse", 300, 90)])
    retina = replace(
        find_retina(truth.pixels, truth.spacing),
        ilm=truth.ilm.astype(np.float32),
        rpe=truth.rpe.astype(np.float32),
        baseline=truth.baseline.astype(np.float32),
        reason="",
    )
    return truth, retina


def test_errors_of_lines_are_those_that_were_made(oct: Any, drawn: Any) -> None:
    truth, retina = drawn
    assert oct.lines.line_error(retina.ilm, truth.ilm, truth.white) == pytest.approx(0, abs=1e-4)
    assert oct.lines.line_error(retina.ilm + 3, truth.ilm, truth.white) == pytest.approx(3, abs=1e-4)
    white = np.zeros(truth.white.shape, bool)
    white[:, :40] = True
    moved = retina.ilm + np.where(np.arange(160) < 40, 50, 1)
    assert oct.lines.line_error(moved, truth.ilm, white) == pytest.approx(1, abs=1e-4)


def test_a_true_baseline_is_straight_and_a_bent_one_is_not(oct: Any, drawn: Any) -> None:
    truth, retina = drawn
    flat = flatten(truth.pixels, retina, None, truth.spacing)
    assert oct.lines.crookedness(truth.baseline, flat) < 1e-3
    bent = retina.baseline + np.where(np.arange(160) < 80, 4.0, 0.0)
    flat = flatten(truth.pixels, replace(retina, baseline=bent.astype(np.float32)), None, truth.spacing)
    assert oct.lines.crookedness(truth.baseline, flat) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("jump", "least", "most"), [(0.0, 0.0, 1e-3), (0.1, 0.01, 0.3), (20.0, 2.0, 30.0)])
def test_the_inverse_errs_where_a_baseline_jumps(oct: Any, drawn: Any, jump: float, least: float, most: float) -> None:
    """Laid back, a pixel is blended from its neighbours: a level baseline is exact, and one that jumps is not."""
    truth, retina = drawn
    jumping = (300 + jump * (np.arange(160) // 8 % 2)).astype(np.float32)
    flat = flatten(truth.pixels, replace(retina, baseline=jumping), None, truth.spacing)
    assert least <= oct.lines.inverse_error(flat) <= most


# -- what a scan gives away --------------------------------------------------------------------------------------------


def test_confounds_by_hand(oct: Any) -> None:
    pixels = np.full((100, 128), 51, np.uint8)
    pixels[50:] = 102
    pixels[:20] = 255
    values = oct.confounds.before(pixels)
    assert values["white share"] == pytest.approx(0.24)  # and the rows that JPEG may have spoilt
    assert values["width"] == 7
    shown = np.where(np.arange(24, 100) < 50, 0.2, 0.4)
    assert values["brightness"] == pytest.approx(shown.mean(), rel=1e-5)
    assert values["contrast"] == pytest.approx(shown.std(), rel=1e-5)
    assert values["noise floor"] == pytest.approx(0.2)
    assert all(np.isnan(value) for value in oct.confounds.before(None).values())
    assert all(np.isnan(value) for value in oct.confounds.after(None, None).values())


def test_a_confound_is_found_whichever_way_it_lies(oct: Any, study: Any) -> None:
    scans, folds = study
    rng = np.random.default_rng(0)
    table = rng.normal(size=(49, 2))
    table[40:, 1] = [30, -30, 30, -30, 30, -30, 30, -30, 30]
    verdicts = {name: each for each, name in oct.confounds.verdicts(scans, folds, table, ("nothing", "told"))}
    assert verdicts["told"].auroc("within")[0] == 1
    assert verdicts[oct.confounds.TOGETHER].auroc("within")[0] == 1
    assert 0.25 < verdicts["nothing"].auroc("within")[0] < 0.75


# -- classical methods -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PCA", "kNN"])
@pytest.mark.parametrize("by_depth", [True, False])
def test_classical_methods_know_what_they_have_seen(oct: Any, method: str, by_depth: bool) -> None:
    rng = np.random.default_rng(0)
    form = oct.classical.Form(rows=1, columns=1, size=4, stride=2, components=3, by_depth=by_depth)
    basis = rng.normal(size=(3, 8, 20)).astype(np.float32)

    def band(odd: bool) -> Any:
        pixels = np.tensordot(rng.normal(size=3), basis, 1).astype(np.float32)
        pixels[2:6, 8:12] += 9.0 * odd
        return SimpleNamespace(pixels=pixels, valid=np.ones((8, 20), bool))

    training = [oct.classical.cut_band(band(False), form) for _ in range(60)]
    queries = [oct.classical.cut_band(band(odd), form) for odd in (False,) * 5 + (True,) * 5]
    scores = oct.classical.scan_scores(method, training, queries, form)
    assert scores[:5].max() < scores[5:].min()
    again = oct.classical.scan_scores("kNN", training, training[:1], form)
    assert again == pytest.approx(0, abs=1e-5)


def test_patches_without_tissue_are_left_out(oct: Any) -> None:
    form = oct.classical.Form(rows=1, columns=1, size=4, stride=4)
    valid = np.ones((4, 12), bool)
    valid[:, :4] = False
    flat = SimpleNamespace(pixels=np.arange(48, dtype=np.float32).reshape(4, 12), valid=valid)
    assert oct.classical.cut_band(flat, form).patches[:, 0].tolist() == [4, 8]
    flat.valid = np.zeros((4, 12), bool)
    assert len(oct.classical.cut_band(flat, form).patches) == 3  # rather than none


# -- data and runs -----------------------------------------------------------------------------------------------------


def test_real_scans_are_found_with_patients_from_their_names(oct: Any, tmp_path: Path) -> None:
    for name in ("train/NORMAL/NORMAL-12-1", "train/NORMAL/NORMAL-12-2", "test/NORMAL/NORMAL-7-1", "test/CNV/CNV-9-1"):
        path = tmp_path / "oct" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((70, 80), len(name), np.uint8)).save(path)
    arguments = SimpleNamespace(quick=False, data=tmp_path, limit=None)
    scans = oct.scans.find_scans(arguments)
    assert scans.patients.tolist() == ["12", "12", "9", "7"]
    assert scans.labels.tolist() == ["NORMAL", "NORMAL", "CNV", "NORMAL"]
    assert [item.normal for item in scans.items] == [True, True, False, True]
    limited = oct.scans.find_scans(SimpleNamespace(quick=False, data=tmp_path, limit=1))
    assert sorted(limited.labels.tolist()) == ["CNV", "NORMAL"]


def test_a_folder_without_scans_is_refused_and_missing_data_explained(
    oct: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match="no train/NORMAL"):
        oct.scans.find_scans(SimpleNamespace(quick=False, data=tmp_path, limit=None))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANOTWIN_DATA", str(tmp_path))
    assert oct.scans.find_scans(SimpleNamespace(quick=False, data=None, limit=None)) is None
    assert "Kermany" in capsys.readouterr().out


@pytest.fixture
def narrow(oct: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer and narrower stand-ins than those of --quick."""
    scans = oct.scans.stand_ins(6, 1, 96)
    monkeypatch.setattr(oct.script, "stand_ins", lambda *_: scans)


@pytest.mark.usefixtures("narrow")
def test_a_quick_run_of_preparation(oct: Any, tmp_path: Path) -> None:
    path, sheets = tmp_path / "oct.json", tmp_path / "sheets"
    parts = ["--part", "real", "confounds", "auroc", "--methods", "PCA"]
    assert oct.main(["--quick", *parts, "--sheet", str(sheets), "--json", str(path)]) == 0
    rows = json.loads(path.read_text())
    values = {(row["case"], row["method"], row["metric"]): row["value"] for row in rows}
    assert values["all", "find_retina", "segmented_or_refused_with_a_reason"] == 1
    for stage, names in (("before", oct.confounds.BEFORE), ("after", oct.confounds.AFTER)):
        assert all(0 <= values[f"{stage} preparation", name, "auroc"] <= 1 for name in names)
    cases = {case for case, method, _ in values if method == "PCA"}
    assert cases - {oct.auroc.TAKEN_ALIKE} == {"all", "CNV", "DME", "DRUSEN"}
    assert {path.name for path in sheets.iterdir()} == {"scans_01.png", "bands_01.png"}


@pytest.mark.usefixtures("narrow")
def test_scores_are_used_again(oct: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = []
    for run in ("first", "second"):
        path = tmp_path / f"{run}.json"
        given = ["--quick", "--part", "auroc", "--methods", "aCAE", "--steps", "2", "--device", "cpu"]
        assert oct.main([*given, "--scores", str(tmp_path / "scores"), "--json", str(path)]) == 0
        found.append(json.loads(path.read_text()))
    assert "2 scores of earlier runs" in capsys.readouterr().out
    keys = ("case", "method", "metric", "value")
    assert [[row[key] for key in keys] for row in found[0]] == [[row[key] for key in keys] for row in found[1]]


def test_lesions_of_a_detector_that_sees_everything(oct: Any, tmp_path: Path) -> None:
    """Heat that is the mask has an AUROC of 1; a cyst is found from the size on at which it is flagged."""

    class Oracle:
        method = SimpleNamespace(name="oracle")

        def findings(self, source: Any) -> Iterator[Any]:
            for index in range(len(source.items)):
                mask = source.read_mask(index)
                heat, pixels = mask.astype(np.float32), source.read(index)
                drawn = {"query": pixels, "counterpart": pixels, "retina": find_retina(pixels), "score": 1.0, "id": "c"}
                yield SimpleNamespace(error="", heatmap=heat, anomalous=bool(mask.sum() > 60), **drawn)

    rows = list(oct.lesions.lesion_rows("oct", Oracle(), 1, 200, True, silent, tmp_path / "sheet"))
    assert {path.name for path in (tmp_path / "sheet").iterdir()} == {
        f"lesions-{kind}.png" for kind in oct.lesions.KINDS
    }
    values = {(row.case, row.metric): row for row in rows}
    assert values["all lesions", "pixel_auroc"].value == 1
    assert values["all lesions", "pixel_auroc"].reached() is True
    assert values["all lesions", "pixel_auroc_in_retina"].value == 1
    flagged = {row.case: row.value for row in rows if row.metric == "flagged"}
    assert flagged["no cyst"] == 0
    sizes = [size for size in oct.lesions.CYSTS if flagged[f"cyst of {size} um"] == 1]
    assert sizes == list(oct.lesions.CYSTS[-len(sizes) :])
    assert values["flagged: 0% without a cyst", "smallest_cyst_found_in_9_of_10"].value == sizes[0]
