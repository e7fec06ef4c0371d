"""benchmarks/surfaces: sets, classical methods and rows by hand, and a run of seconds."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anotwin import DataError, Detector, Settings
from anotwin.data.arrays import ArraySource
from anotwin.defects.kinds import HELD_OUT
from anotwin.domains.surfaces.places import ALIKE
from anotwin.methods.registry import METHODS
from anotwin.prepare.pyramid import pyramid
from anotwin.prepare.registration import small_picture, template_of
from anotwin.updates import silent
from benchmarks.common.kept import Keeper, Outcome
from benchmarks.surfaces import __main__ as surfaces
from benchmarks.surfaces import alone, classical, costs, measures, methods, screws
from benchmarks.surfaces.sets import Surfaces, find_sets, parts, textures, turned_screws

OPTIONS = {"quick": True, "device": "cpu", "minutes": 0.001, "steps": None, "set": [], "models": None, "without": None}


@pytest.fixture(scope="module")
def small() -> Surfaces:
    return textures(64, 64)


def study_of(sets: Surfaces, **options: Any) -> methods.Study:
    return methods.Study(Namespace(**OPTIONS | options), [sets], Keeper(), silent)


# -- sets --------------------------------------------------------------------------------------------------------------


def test_textures_have_exact_masks_and_share_nothing_with_training(small: Surfaces) -> None:
    good = {i.id.rpartition("-")[0]: image for i, image in zip(small.test.items, small.images, strict=True) if i.normal}
    for item, image, mask in zip(small.test.items, small.images, small.masks, strict=True):
        changed = image != good[item.id.rpartition("-")[0]]
        np.testing.assert_array_equal(changed & mask, changed)  # rounding to 8 bits may undo a change
        assert changed.any() == mask.any() == small.abnormal[small.test.items.index(item)] == (not item.normal)
    learnt = {image.tobytes() for image in small.training}
    assert not learnt & {each.tobytes() for image in small.images for each in (image, image[:, ::-1])}
    assert not {item.group for item in small.train.items} & set(small.groups)
    assert len(small.groups) == len(small.images) == 240
    again = textures(64, 64)
    assert all((a == b).all() for a, b in zip(small.images, again.images, strict=True))


def test_parts_lie_alike_and_have_exact_masks() -> None:
    found = parts(count=6, tested=2)
    assert len(found.training) == 6
    assert len(found.images) == 2 * (1 + len(HELD_OUT))
    for row, item in enumerate(found.test.items):
        good = found.images[row - row % (1 + len(HELD_OUT))]
        changed = found.images[row] != good
        assert changed.any() == (item.normal is False)
        assert (changed & found.masks[row]).sum() >= 0.3 * found.masks[row].sum()
        assert found.masks[row].any() == (item.normal is False)
    pictures = [small_picture(pyramid(image, 128, 1)) for image in found.training]
    _, alike = template_of(pictures, turn=False)
    assert alike > ALIKE
    assert not {item.group for item in found.train.items} & set(found.groups)


def test_screws_lie_alike_when_they_are_turned_and_have_exact_masks() -> None:
    found = turned_screws(count=8, tested=2, damaged=1)
    assert len(found.training) == 8
    assert [str(item.label) for item in found.test.items] == ["good", "good", *screws.KINDS]
    _, alike = template_of([small_picture(pyramid(image, 128, 1)) for image in found.training], turn=True)
    assert alike > ALIKE
    assert [bool(mask.any()) for mask in found.masks] == [item.normal is False for item in found.test.items]
    again = turned_screws(count=8, tested=2, damaged=1)
    assert all((a == b).all() for a, b in zip(found.images, again.images, strict=True))


@pytest.mark.parametrize("kind", screws.KINDS)
def test_a_mask_of_a_screw_is_where_its_defect_changes_the_picture(kind: str) -> None:
    """The same random numbers draw the same screw, grain and light, with the defect and without it."""
    whole = screws.Screw(0.7, 384.0, 380.0, 0.3)
    side = "thread side"
    defect = screws.Defect(
        kind, 40.0, 60.0 if "head" in kind else 170.0 if "neck" in kind else 400.0, 3.0, 0.4, 60.0, 1.0
    )
    if kind == side:
        defect = replace(defect, strength=0.1)
    pictures = [screws._picture(each, np.random.default_rng(1)) for each in (whole, replace(whole, defect=defect))]
    change = abs(pictures[0][0].astype(float) - pictures[1][0])
    assert not pictures[0][1].any()
    mask = pictures[1][1]
    assert screws.LEAST <= mask.sum() < 4000
    assert (change > 3)[mask].mean() > 0.9
    rows, columns = np.nonzero(change > 20)
    away = np.ones_like(mask)
    away[max(rows.min() - 60, 0) : rows.max() + 60, max(columns.min() - 60, 0) : columns.max() + 60] = False
    assert change[away].max() == 0


def mvtec(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((20, 30), 40 + number, np.uint8)
        Image.fromarray(
            np.where(np.arange(30) < 9, 255, 0).astype(np.uint8) * (pixels > 0) if "truth" in name else pixels
        ).save(path)
    return root


NAMES = ("train/good/a_1.png", "train/good/d_2.png", "test/good/b_1.png", "test/bad/c_1.png")


def test_a_folder_in_the_layout_is_a_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = mvtec(tmp_path / "crackforest", *NAMES, "ground_truth/bad/c_1_mask.png")
    (found,) = find_sets([str(root)])
    assert found.groups == ["test/bad/c_1.png", "test/good/b_1.png"]
    assert [int(mask.sum()) for mask in found.masks] == [9 * 20, 0]
    monkeypatch.setenv("ANOTWIN_DATA", str(tmp_path))
    (found,) = find_sets(["crackforest"])
    assert found.groups == ["c", "b"]  # by the names of files
    assert found.overrides == ['data.group="{}_*"']
    assert "2 normal images of 2 groups" in found.about()


def test_what_is_not_there_is_skipped_and_what_is_no_set_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANOTWIN_DATA", str(tmp_path))
    assert find_sets(["aitex"]) == []
    assert "aitex is skipped: there is no aitex" in capsys.readouterr().out
    with pytest.raises(DataError, match="--data nothing: expected magnetic_tile"):
        find_sets(["nothing"])
    (bare,) = find_sets([str(mvtec(tmp_path / "bare", *NAMES))])
    with pytest.raises(DataError, match="bare: 1 test images with a defect have no mask, the first is test/bad/c_1"):
        _ = bare.masks
    assert surfaces.main(["--data", "aitex", "--methods", "PCA"]) == 0


# -- classical methods -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PCA", "kNN"])
@pytest.mark.parametrize("shape", [(70, 90), (41, 60, 3), (12, 70)])
def test_patches_find_what_was_not_there_in_training(method: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(90, 130, (9, *shape)).astype(np.uint8)
    odd = images[8].copy()
    odd[3:11, 20:34] = 250
    found = classical.patches(method, images[:6], [*images[6:8], odd], 0, silent)
    scores, heat = found.columns["score"], found.columns["heat"].reshape(3, *shape[:2])
    assert scores[:2].max() < scores[2] == pytest.approx(heat[2].max())
    row, column = np.unravel_index(heat[2].argmax(), heat[2].shape)
    assert row < 20
    assert 12 <= column < 42


def test_large_images_are_halved_and_maps_come_back_in_their_size() -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 1030)).astype(np.uint8)
    reduced = classical._reduced(image)
    assert reduced.shape == (10, 257, 1)
    np.testing.assert_allclose(reduced[0, 0, 0], image[:4, :4].mean() / 255)
    found = classical.patches("PCA", [image], [image, image[:30]], 0, silent)
    assert found.columns["heat"].size == 40 * 1030 + 30 * 1030


def test_light_is_how_far_mean_and_spread_are_from_those_of_training() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(low, low + 40, (30, 50)).astype(np.uint8) for low in (80, 90, 100, 110)]
    found = classical.light(images, [images[1], np.full((30, 50), 95, np.uint8), images[0] + 100], silent)
    scores = found.columns["score"]
    assert scores[0] == pytest.approx(0, abs=1e-6)
    known = np.array([[image.mean(), image.std()] for image in images])
    units = np.linalg.norm((known - [95, 0]) / known.std(0), axis=1).min()
    assert scores[1] == pytest.approx(units)
    assert scores[2] > 3
    assert np.ptp(found.columns["heat"].reshape(3, -1)[1]) == 0
    large = [rng.integers(0, 255, (20, 900 + 4 * k)).astype(np.uint8) for k in range(3)]  # halved before it is measured
    assert classical.light(large, large, silent).columns["score"].max() == pytest.approx(0, abs=1e-6)


def test_an_autoencoder_learns_the_same_from_the_same_seed_and_ends(small: Surfaces) -> None:
    found = [classical.autoencoder(small.training[:4], small.images[:3], 1, 0.0, "cpu", silent) for _ in range(2)]
    np.testing.assert_array_equal(found[0].columns["heat"], found[1].columns["heat"])
    assert found[0].columns["heat"].size == 3 * 64 * 64
    assert found[0].note.startswith("2 batches of 64")
    assert np.isfinite(found[0].columns["score"]).all()


# -- rows --------------------------------------------------------------------------------------------------------------


def outcome(small: Surfaces, noise: float, **columns: Any) -> Outcome:
    """Maps that are the masks, hidden in noise; scores likewise."""
    rng = np.random.default_rng(3)
    heat = np.concatenate([(mask + noise * rng.normal(size=mask.shape)).ravel() for mask in small.masks])
    score = small.abnormal + noise * rng.normal(size=len(small.abnormal))
    return Outcome({"score": score, "heat": heat.astype(np.float32), **columns}, 2.4, 7.0)


def test_rows_by_hand(small: Surfaces, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = np.zeros(240)
    flags[np.flatnonzero(small.abnormal)[:96]] = 1
    flags[np.flatnonzero(~small.abnormal)[:3]] = 1
    terms = {name: np.full(240, np.nan) for name in methods.TERMS} | {"residual": np.arange(240.0)}
    found = {
        "twin": outcome(small, 0.0, anomalous=flags, promised=np.array([0.05]), **terms),
        "kNN": outcome(small, 1.0),
        "PatchCore-pretrained": outcome(small, 0.5),
        "DRAEM": Outcome({}, np.nan, np.nan, error="no"),
    }
    monkeypatch.setattr(
        methods.Study, "outcome", lambda _self, method, _set, changed=(): found["kNN" if changed else method]
    )
    study = study_of(small, methods=list(found), quick=False)
    rows = {(row.case, row.method, row.metric): row for row in measures.auroc_rows(study)}
    own = {metric: row for (case, method, metric), row in rows.items() if (case, method) == ("textures", "twin")}
    assert own["image_auroc"].value == own["pixel_auroc"].value == own["aupro"].value == 1
    assert own["detection_rate"].value == 0.5
    assert own["false_alarm_rate"].value == pytest.approx(3 / 48)
    assert own["false_alarm_rate"].goal == "<= 0.1"
    assert own["ms_per_image"].value == pytest.approx(10)
    assert {row.method for row in rows.values() if row.metric == "false_alarm_rate"} == {"twin"}
    kinds = {case for case, _, metric in rows if case.startswith("textures: ") and metric == "image_auroc"}
    assert kinds == {f"textures: {kind}" for kind in ("missing", "bent", "dent", "drop")}
    knn = rows["textures", "kNN", "image_auroc"]
    lead = own["image_auroc_ahead_of_kNN"]
    assert lead.value == pytest.approx(1 - knn.value)
    assert (lead.low, lead.high) == pytest.approx((1 - knn.high, 1 - knn.low))
    assert own["lower_end_of_lead_over_scratch"].value == pytest.approx(lead.low)  # of rows from scratch alone
    assert own["lower_end_of_lead_over_scratch"].reached()
    assert not any(method == "DRAEM" for _, method, _ in rows)

    rows = {
        (row.method, row.metric): row
        for row in measures.ablation_rows(study_of(small, methods=["twin"], without=["x.y=1"]))
    }
    assert {method for method, _ in rows} == {"twin", "twin, residual alone", "twin, x.y=1"}
    assert rows["twin, x.y=1", "image_auroc_lost"].value == pytest.approx(lead.value)


def test_only_rows_that_exist_are_chosen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(methods, "installed", lambda: True)
    given = Namespace(methods=["twin", "no-such", "kNN"], peers=True)
    assert methods.chosen(given) == ["twin", "kNN", "PatchCore-pretrained", "GANomaly", "DRAEM"]
    assert "no-such is skipped" in capsys.readouterr().out
    monkeypatch.setattr(methods, "installed", lambda: False)
    assert methods.chosen(given) == ["twin", "kNN"]
    assert methods.chosen(Namespace(methods=None, peers=False)) == list(methods.ROWS)
    assert measures.ours(["PCA", "twin", "default"]) == "default"
    assert measures.ours(["PCA", "DRAEM"]) is None


# -- without counterparts ----------------------------------------------------------------------------------------------


def test_the_method_without_counterparts_is_there_while_it_is_needed_and_learns() -> None:
    normals = textures(64, 128).training[:12]
    small = ["data.view=tiles", "data.image_size=32", "networks.base_channels=4", "training.batch_size=4"]
    settings = Settings().with_overrides([*small, "training.steps=2", "calibration.false_alarm_rate=0.4"])
    with alone.registered():
        assert METHODS[alone.ALONE] is alone.Alone
        detector = Detector.train(normals, method=alone.ALONE, settings=settings, device="cpu")
    assert alone.ALONE not in METHODS
    findings = detector.score(normals[:3])
    assert all(np.isfinite(finding.score) for finding in findings)
    assert all((finding.counterpart == finding.query).all() for finding in findings)
    assert len({finding.score for finding in findings}) == 3
    assert all(np.ptp(finding.heatmap) > 0 for finding in findings)


# -- runs --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer images than those of --quick, and a smaller large one."""
    whole = textures(64, 128, kinds=["missing"])
    tests = ArraySource(whole.test.images[:16], whole.test.items[:16])
    train = ArraySource(whole.train.images[::2], whole.train.items[::2])
    made = Surfaces("textures", train, tests, whole.planted[:16])
    monkeypatch.setattr(surfaces, "textures", lambda *_: made)
    monkeypatch.setattr(costs, "QUICK_SHAPE", (70, 90))


@pytest.mark.usefixtures("few")
def test_a_quick_run_and_its_scores_and_models_used_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def rows_of(name: str, *options: str) -> list[dict[str, Any]]:
        given = ["--quick", "--methods", "acae", "PCA", "--steps", "2", "--device", "cpu", *options]
        given += ["--scores", str(tmp_path / "scores"), "--models", str(tmp_path / "models")]
        assert surfaces.main([*given, "--json", str(tmp_path / name)]) == 0
        rows: list[dict[str, Any]] = json.loads((tmp_path / name).read_text())
        return rows

    rows = rows_of("0.json")
    assert {row["method"] for row in rows} == {"acae", "PCA", *(f"acae, {name} alone" for name in methods.TERMS)}
    assert {"peak_memory", "scoring_seconds", "image_auroc", "aupro", "image_auroc_lost"} <= {r["metric"] for r in rows}
    assert all(row["value"] is not None for row in rows)
    assert "acae-normal-textures" in capsys.readouterr().err  # the ablation needs no second training
    again = rows_of("1.json", "--part", "auroc")
    assert again == rows[: len(again)]
    (path,) = (tmp_path / "scores").glob("acae*")
    path.unlink()
    again = rows_of("2.json", "--part", "auroc")
    assert "models/textures-acae-" in capsys.readouterr().err
    old, new = ([row for row in found if row["metric"] == "aupro"] for found in (rows, again))
    assert new == old[: len(new)]
