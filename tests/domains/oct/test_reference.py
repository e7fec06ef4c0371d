"""What a model keeps of its training scans: through training, bundle and scoring; older models keep nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from anotwin import Detector
from anotwin.domains.oct.flatten import BAND
from made_scans import Scans, scan
from quick import settings


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    source = Scans(tuple((scan(seed),) for seed in range(6)))
    small = settings("training.steps=4", "data.image_size=16", "data.holdout=0.4", "calibration.false_alarm_rate=0.4")
    folder = tmp_path_factory.mktemp("model")
    return Detector.train(source, folder, settings=small), folder


def test_the_reference_is_kept_with_the_model(trained):
    detector, folder = trained
    reference = detector.history["reference"]
    assert reference["scale"]["rows"] == [400, 400]
    assert len(reference["heat"]) == BAND.height
    assert min(reference["heat"]) > 0
    again = Detector.load(folder, device="cpu")
    assert again.history["reference"] == reference
    source = Scans(((scan(9),),))
    (one,), (other,) = detector.score(source), again.score(source)
    np.testing.assert_array_equal(one.heatmap, other.heatmap)
    assert one.score == other.score


def test_the_reference_changes_heat_and_no_score(trained):
    detector, folder = trained
    source = Scans(((scan(9),), (scan(8, lesion=True),)))
    with_reference = detector.score(source)
    old = Detector.load(folder, device="cpu")
    old.history = {key: value for key, value in old.history.items() if key != "reference"}
    without = old.score(source)
    assert [one.score for one in with_reference] == [one.score for one in without]
    assert all((a.heatmap != b.heatmap).any() for a, b in zip(with_reference, without, strict=True))
    assert all(not one.evidence.unlike for one in without)


def test_half_a_per_cent_of_held_out_pixels_are_hot(trained):
    detector, _ = trained
    held = set(detector.fingerprints["holdout"].tolist())
    findings = [one for one in detector.score(Scans(tuple((scan(k),) for k in range(6)))) if one.fingerprint in held]
    looked = [one.heatmap[:, one.evidence.decides] for one in findings]
    shares = [(heat[heat > 0] > 1).mean() for heat in looked]
    assert 0 < np.mean(shares) < 0.015


def test_there_is_no_heat_in_the_outer_columns(trained):
    (found,) = trained[0].score(Scans(((scan(9),),)))
    outer = int(0.06 * 64) - 1
    assert not found.heatmap[:, :outer].any()
    assert not found.heatmap[:, -outer:].any()
    assert found.heatmap[:, 32].any()


def test_a_resized_scan_is_no_lesion(trained):
    small = np.asarray(Image.fromarray(scan(9)).resize((64, 200), Image.Resampling.BILINEAR))
    (found,) = trained[0].score(Scans(((small,),), spacing=None))
    assert np.isnan(found.score)
    assert "was the picture of 200 x 64 pixels resized?" in found.error
    (whole,) = trained[0].score(Scans(((scan(9),),)))
    assert whole.error == ""
