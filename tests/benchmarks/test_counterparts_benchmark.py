"""benchmarks/counterparts: controls and the ablation against what they should be, sets without overlap, a smoke run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anotwin import Detector
from anotwin.data.arrays import from_arrays
from anotwin.evaluate.planted import Plan, PlantedSource
from anotwin.records import Batch, Counterpart, ImageSpec
from anotwin.seeding import fingerprint
from benchmarks.counterparts import __main__ as script
from benchmarks.counterparts.ablation import WithoutCounterpart, score_without
from benchmarks.counterparts.cases import Case, find_cases
from benchmarks.counterparts.controls import Control, controls
from quick import normals, queries, settings, write


def cases(*names: str) -> list[Case]:
    return find_cases(script.argparse.Namespace(sets=list(names), quick=True))


# -- what is planted into ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "retina", "textures"])
def test_nothing_is_planted_into_what_is_learnt_from(name: str) -> None:
    (case,) = cases(name)
    learnt = {fingerprint(case.train.read(index)) for index in range(len(case.train.items))}
    assert all(item.normal for item in case.train.items)
    assert all(case.test.items[index].normal for index in case.hosts)
    assert not learnt & {fingerprint(case.test.read(index)) for index in case.hosts}
    groups = {item.group for item in case.train.items} - {None}
    assert not groups & {case.test.items[index].group for index in case.hosts}


def test_retinas_have_lesions_of_the_same_eyes() -> None:
    (case,) = cases("retina")
    untouched = dict.fromkeys(case.hosts)
    pairs = case.pairs(untouched, None, 6)  # type: ignore[arg-type]
    assert len(pairs.items) == len(pairs.plans) == 6
    assert {plan.kind for plan in pairs.plans} == set(case.lesions)
    for number, plan in enumerate(pairs.plans):
        share = (pairs.read(number) != case.test.read(plan.host)).mean()
        assert 0 < share < 0.5


def test_tiles_that_are_not_there_are_skipped_with_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANOTWIN_DATA", raising=False)
    assert script.main(["--data", "tiles"]) == 0
    assert "magnetic_tile is skipped: there is no magnetic_tile" in capsys.readouterr().out


# -- controls ----------------------------------------------------------------------------------------------------------


def test_controls_are_what_they_say() -> None:
    images = normals(30)
    found = controls(from_arrays(images, ["good"] * 30, "good"))
    query = queries(1)[0]
    made = {name: control.restore(query) for name, control in found.items() if isinstance(control, Control)}
    assert (made["copy"] == query).all()
    padded = np.pad(query, 2, mode="symmetric")
    middle = [[np.median(padded[r : r + 5, c : c + 5]) for c in range(16)] for r in range(16)]
    assert np.array_equal(made["median 5x5"], np.array(middle))
    assert np.abs(made["mean"] - images.mean(axis=0)).max() <= 0.5 + 1e-3
    nearest = min(images, key=lambda each: np.square(each.astype(float) - query).sum())
    assert np.array_equal(made["nearest"], nearest)
    assert np.array_equal(found["nearest"].restore(images[3]), images[3])
    vectors = images.reshape(30, -1).astype(float)
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:15]
    expected = vectors.mean(axis=0) + (query.ravel() - vectors.mean(axis=0)) @ axes.T @ axes
    assert np.abs(made["PCA"].ravel() - np.clip(expected, 0, 255)).max() < 1
    (scored,) = found["copy"].findings(from_arrays([query]), [0])
    assert scored.score == 0


@pytest.mark.parametrize("colours", [1, 3])
def test_what_is_told_where_it_is_is_filled_in_from_around_it(colours: int) -> None:
    """A plane, which biharmonic inpainting continues exactly, with holes; images without a defect stay as they are."""
    plane = np.add.outer(2 * np.arange(24), 3 * np.arange(24)).astype(np.uint8)
    plane = plane if colours == 1 else np.stack([plane, plane + 9, 200 - plane], 2)
    source = from_arrays([plane, plane // 2, plane // 3], ["good"] * 3, "good")
    pairs = PlantedSource(source, ImageSpec(colours, 24), (Plan(0, "missing", 6, 3, 0), Plan(0, "dent", 8, 3, 0)))
    control = controls(source)["inpainted, told where"]
    for number, finding in enumerate(control.findings(pairs, [0, 1])):
        assert (pairs.read(number) != plane).any()
        assert finding.counterpart is not None
        assert np.abs(finding.counterpart.astype(int) - plane).max() <= 3
    assert all((each.counterpart == plane // 3).all() for each in control.findings(source, [2]))


def test_controls_of_several_sizes() -> None:
    images = [normals(1)[0][:rows] for rows in (12, 14, 16)] * 3
    source = from_arrays(images, ["good"] * 9, "good")
    plans = tuple(Plan(host, "missing", 4, 3, 0) for host in range(3))
    for control in controls(source).values():
        for finding in control.findings(PlantedSource(source, ImageSpec(1, 16), plans), range(3)):
            assert finding.counterpart is not None
            assert finding.counterpart.shape == finding.query.shape  # type: ignore[union-attr]
            assert finding.counterpart.dtype == np.uint8


# -- the ablation ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["acae", "anogan"])
def detector(request: pytest.FixtureRequest) -> Detector:
    return Detector.train(normals(), method=request.param, settings=settings("training.steps=6"), device="cpu")


def test_without_its_counterpart_an_image_differs_from_nothing(detector: Detector) -> None:
    images = torch.from_numpy(queries()).float()[:, None] / 127.5 - 1
    batch = Batch(images, tuple(range(len(images))))
    method: Any = WithoutCounterpart(detector.method)
    found = method.counterpart(batch)
    assert torch.equal(found.images, images)
    comparison = method.compare(images, found)
    assert (comparison.scores.residual == 0).all()
    assert (comparison.difference == 0).all()
    own = detector.method.counterpart(batch)
    by_hand = detector.method.compare(images, Counterpart(images, own.latents, own.steps, own.status))
    assert comparison.scores.score == pytest.approx(by_hand.scores.score, rel=1e-3, abs=1e-4)


def test_scores_without_go_through_the_same_stream(detector: Detector) -> None:
    source, train = from_arrays(queries()), from_arrays(normals())
    found = list(score_without(detector, train, source, [2, 0]))
    assert [finding.id for finding in found] == ["image-00002", "image-00000"]
    assert all(finding.residual == 0 and not finding.error for finding in found)
    assert all(finding.residual > 0 for finding in detector.findings(source, [2, 0]))


# -- the script --------------------------------------------------------------------------------------------------------


def test_quick_and_its_models_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--quick", "--data", "digits", "--methods", "acae", "--count", "6", "--models", str(tmp_path / "models")]
    assert script.main([*words, "--json", str(tmp_path / "one.json")]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("copy", "median 5x5", "nearest", "acae", "auroc planted without"))
    rows = json.loads((tmp_path / "one.json").read_text())
    values = {(row["method"], row["metric"]): row["value"] for row in rows}
    assert values["copy", "repair"] == values["copy", "no_op"] == 0
    assert values["copy", "auroc_planted"] == 0.5
    gain = values["acae", "auroc_planted"] - values["acae", "auroc_planted_without"]
    assert values["acae", "auroc_planted_gain"] == pytest.approx(gain)
    assert all(row["goal"] is None for row in rows)  # those are of whole trainings
    monkeypatch.setattr(Detector, "train", None)  # a second training would fail
    assert script.main([*words, "--json", str(tmp_path / "two.json")]) == 0
    assert json.loads((tmp_path / "two.json").read_text()) == rows


def test_minutes_become_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    class Trial:
        history = {"seconds": 2.0}  # noqa: RUF012

    monkeypatch.setattr(Detector, "train", lambda *_, **__: Trial())
    (case,) = cases("digits")
    arguments = script.argparse.Namespace(minutes=0.5, device="cpu")
    assert script.affordable(case, "acae", [], arguments, lambda _: None) == 300  # 20 steps took 2 s
    arguments.minutes = 1000
    assert script.affordable(case, "acae", [], arguments, lambda _: None) == 1000  # its own
    arguments.minutes = 0.001
    assert script.affordable(case, "acae", [], arguments, lambda _: None) == script.TRIAL


def test_real_defects_have_their_own_ablation(tmp_path: Path) -> None:
    write(tmp_path / "set" / "train" / "good", normals(24))
    write(tmp_path / "set" / "test" / "good", queries(4, abnormal=False))
    write(tmp_path / "set" / "test" / "bad", queries(4))
    write(tmp_path / "set" / "ground_truth" / "bad", [(image > 128).astype("uint8") * 255 for image in queries(4)])
    words = ["--quick", "--data", str(tmp_path / "set"), "--methods", "acae", "--count", "4"]
    assert script.main([*words, "--json", str(tmp_path / "rows.json")]) == 0
    rows = {(row["method"], row["metric"]): row for row in json.loads((tmp_path / "rows.json").read_text())}
    whole, without, gain = (rows["acae", f"auroc_real{end}"] for end in ("", "_without", "_gain"))
    assert without["value"] == 0.5  # aCAE's score is its residual alone
    assert gain["value"] == pytest.approx(whole["value"] - without["value"])
    assert gain["low"] <= gain["value"] <= gain["high"]
