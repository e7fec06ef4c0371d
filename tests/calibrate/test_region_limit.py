"""The limit of regions: the conformal threshold of the highest heats, in the unit of pictures; stored in the model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anotwin.bundle_json import _Calibration
from anotwin.calibrate.decision import calibrate
from anotwin.calibrate.groups import group_threshold
from anotwin.errors import DataError

HEATS = [3.0, 1.0, 2.0, 5.0, 4.0, 8.0, 7.0, 6.0, 9.0]


def test_the_limit_is_the_threshold_of_the_heats_in_units_of_usual() -> None:
    found = calibrate(HEATS, HEATS, HEATS, 0.5, 0.2, region_heats=HEATS)
    assert found.region_limit == pytest.approx(8.0 / 0.5, rel=2e-3)  # 9 normals: the 8th
    assert found.region_limit > 8.0 / 0.5  # a normal that reaches it exactly shows nothing
    assert (
        np.float16(8.0) / np.float16(0.3) <= calibrate(HEATS, HEATS, HEATS, 0.3, 0.2, region_heats=HEATS).region_limit
    )
    assert calibrate(HEATS, HEATS, HEATS, 0.5, 0.2).region_limit is None


def test_groups_count_as_they_do_for_scores() -> None:
    groups = [0, 0, 1, 1, 2, 2, 3, 3, 3]
    found = calibrate(HEATS, HEATS, HEATS, 1.0, 0.4, groups, region_heats=HEATS)
    order = np.argsort(HEATS)
    expected = group_threshold(sorted(HEATS), [groups[k] for k in order], 0.4)
    assert found.region_limit == pytest.approx(expected, rel=2e-3)


def test_heat_that_is_not_finite_is_said() -> None:
    with pytest.raises(DataError, match="heat of 1 of 9"):
        calibrate(HEATS, HEATS, HEATS, 1.0, 0.2, region_heats=[*HEATS[:8], np.nan])


def test_a_model_keeps_its_limit_and_older_ones_have_none() -> None:
    found = calibrate(HEATS, HEATS, HEATS, 0.5, 0.2, region_heats=HEATS)
    stored = found.stored()
    restored = _Calibration.model_validate({**stored, "scores": list(stored["scores"])}).record()
    assert restored == found
    assert replace(found, region_limit=0.0).stored()["region_limit"] == 0.0  # normals without any heat
    plain = replace(found, region_limit=None).stored()
    assert "region_limit" not in plain
    assert _Calibration.model_validate({**plain, "scores": list(plain["scores"])}).record().region_limit is None
