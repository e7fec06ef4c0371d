"""benchmarks/translation, part `detector`: who is learnt from and who is tested on, and a run of seconds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anotwin import DataError, Detector
from benchmarks.translation import __main__ as translation
from benchmarks.translation import detector


def test_no_group_is_both_learnt_from_and_tested_on() -> None:
    normals = detector.discs(4, 0, "n")
    rest = detector.joined(detector.discs(6, 1, "same"), detector.discs(10, 2, "same", abnormal=True))
    case = detector.split("made up", (), normals, rest)
    assert case.normals is normals
    groups = [{item.group for item in part.items} for part in (case.learnt, case.test)]
    assert groups == [{"same-0", "same-2", "same-4"}, {"same-1", "same-3"}]
    assert not any(item.normal for item in case.learnt.items)
    assert sum(bool(item.normal) for item in case.test.items) == 2  # those of group 1 alone, of 0, 1 and 2
    assert [item.normal for item in case.test.items].count(False) == 4
    shown = {item.id: image for image, item in zip(rest.images, rest.items, strict=True) if not item.normal}
    assert all(image is shown[item.id] for image, item in zip(case.learnt.images, case.learnt.items, strict=True))


def test_one_abnormal_group_cannot_be_split() -> None:
    with pytest.raises(DataError, match="abnormal images of 1 groups; expected 2"):
        detector.split("made up", (), detector.discs(4, 0, "n"), detector.discs(2, 1, "a", abnormal=True))


def test_it_runs_and_its_models_are_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detector, "NORMALS_ALONE", ())  # other suites train these
    given = ["--quick", "--set", "training.steps=2", "--set", "networks.base_channels=2", "--device", "cpu"]
    given += ["--part", "detector", "--models", str(tmp_path / "models"), "--json"]
    assert translation.main([*given, str(tmp_path / "first.json")]) == 0
    first = json.loads((tmp_path / "first.json").read_text())
    found = {(row["case"], row["method"], row["metric"]): row for row in first}
    assert found["oct", "images", "learnt"]["value"] == 4
    assert found["oct", "images", "test"]["value"] == 12
    for case in ("magnetic_tile", "oct"):
        row = found[case, "cyclegan", "auroc"]
        assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    monkeypatch.setattr(Detector, "train", None)  # a second training would fail
    assert translation.main([*given, str(tmp_path / "again.json")]) == 0
    assert json.loads((tmp_path / "again.json").read_text()) == first


def test_without_data_a_line_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ANOTWIN_DATA", raising=False)
    assert translation.main(["--part", "detector"]) == 0
    out = capsys.readouterr().out
    assert all(f"detector on {name} is skipped: " in out for name in ("magnetic_tile", "oct"))
