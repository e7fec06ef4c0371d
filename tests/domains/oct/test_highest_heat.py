"""The patch of a scan with the most heat: against the flattened scan, and where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from anotwin.domains.oct.flatten import flatten, unflatten
from anotwin.domains.oct.report.highest_heat import highest_heat_patch
from anotwin.domains.oct.scans import levels
from anotwin.domains.oct.synthetic.retina import Lesion, retina_scan
from anotwin.records import Finding
from made_scans import retina_of

SIZE = 32


@pytest.fixture(scope="module")
def finding() -> Finding:
    """A cyst whose heat is its own mask, and a counterpart that is brighter there."""
    scan = retina_scan(4, width=192, lesions=[Lesion("cyst", 300, 200)])
    retina = retina_of(scan.pixels)
    assert not retina.reason
    heat = scan.mask.astype(np.float32)
    pictures = {"query": scan.pixels, "counterpart": scan.pixels, "difference": -heat / 4, "heatmap": heat}
    return Finding("eye", score=3.0, **pictures, evidence=retina)


def test_the_patch_lies_where_the_heat_is(finding: Finding) -> None:
    patch = highest_heat_patch(finding, SIZE)
    assert patch is not None
    assert (patch.id, patch.score) == ("eye", 3.0)
    assert patch.query is not None
    assert patch.counterpart is not None
    assert patch.heatmap is not None
    assert patch.difference is not None
    assert patch.query.shape == patch.counterpart.shape == patch.heatmap.shape == (SIZE, SIZE)
    assert patch.query.dtype == patch.counterpart.dtype == np.uint8
    assert float(patch.heatmap.max()) == pytest.approx(1)
    assert float(patch.heatmap.mean()) > 0.1
    inside, outside = patch.heatmap > 0.99, patch.heatmap < 0.01
    gap = patch.counterpart.astype(float) - patch.query
    assert np.allclose(gap[inside], 0.5 * 127.5, atol=1.5)  # -2 x difference, in levels
    assert np.allclose(gap[outside], 0, atol=1.5)


def test_its_pixels_are_those_of_the_band(finding: Finding) -> None:
    assert finding.query is not None
    assert finding.evidence is not None
    flat = flatten(finding.query, finding.evidence)
    band = levels(flat.pixels)
    hot = np.zeros(band.shape, np.float32)
    hot[40:72, 64:96] = 1
    patch = highest_heat_patch(replace(finding, heatmap=unflatten(hot, flat)), SIZE)
    assert patch is not None
    assert np.array_equal(patch.query, band[40:72, 64:96])


def test_without_pictures_or_a_place_there_is_none(finding: Finding) -> None:
    assert highest_heat_patch(Finding("eye", error="not read"), SIZE) is None
    assert highest_heat_patch(replace(finding, heatmap=None), SIZE) is None
    assert highest_heat_patch(replace(finding, evidence=None), SIZE) is None
    assert highest_heat_patch(finding, 128) is None  # higher than the band
