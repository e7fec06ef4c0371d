"""What does not decide: outer columns, an optic disc, what a scan does not show; in scores, heat, maps and words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from anotwin.domains.oct import scans as scans_module
from anotwin.domains.oct.evidence import Remarks
from anotwin.domains.oct.flatten import to_flat
from anotwin.domains.oct.report.en_face import en_face
from anotwin.domains.oct.scans import flat_scans
from anotwin.domains.oct.synthetic.retina import retina_scan
from anotwin.domains.oct.view import RetinaView
from anotwin.records import Finding, ImageSpec, Scores
from anotwin.settings import Settings
from made_scans import Scans, retina_of

SIZE, WIDTH = 16, 160
SPEC = ImageSpec(1, SIZE, view="retina", parts=True)


def eye(seed=0):
    return retina_scan(seed, 400, WIDTH).pixels


def prepared(*pictures, view=None):
    view = view or RetinaView()
    return list(view.prepare(Scans(tuple((each,) for each in pictures)), range(len(pictures)), SPEC, Settings(), True))


def hot_everywhere(one):
    """The pictures of a scan whose patches are all equally hot, and an empty counterpart."""
    count = len(one.squares)
    zeros = torch.zeros(count, 1, SIZE, SIZE)
    return one.native(zeros, zeros, torch.ones(count, SIZE, SIZE), 1.0)


def test_the_outer_columns_have_no_heat_and_are_in_no_score():
    (one,) = prepared(eye())
    hot = hot_everywhere(one).heatmap
    outer = int(0.06 * WIDTH) - 1
    assert not hot[:, :outer].any()
    assert not hot[:, -outer:].any()
    assert hot[:, WIDTH // 2].max() == pytest.approx(1)
    # patches at the sides are there, for the counterpart, and count for nothing
    outside = ~one.deciding
    assert outside.any()
    values = np.where(outside, 1000.0, 1.0)
    assert one.pool(Scores(*[values] * 6)).score == 1.0
    assert one.pool(Scores(*[values] * 6)).mean_residual == 1.0
    assert one.heat(np.where(outside[:, None, None], 9.0, 1.0) * np.ones((1, SIZE, SIZE))).max() == 1.0


def with_disc(monkeypatch, columns):
    """As if an optic disc had been found in these columns."""
    found = scans_module.find_retinas

    def hidden(pictures, spacing=None):
        retinas = []
        for retina in found(pictures, spacing):
            valid = retina.valid.copy()
            valid[columns] = False
            retinas.append(replace(retina, valid=valid, decides=retina.decides & valid))
        return retinas

    monkeypatch.setattr(scans_module, "find_retinas", hidden)


def test_no_patch_that_decides_touches_a_disc(monkeypatch):
    with_disc(monkeypatch, slice(70, 90))
    (one,) = prepared(eye())
    assert not one.error
    hot = hot_everywhere(one).heatmap
    assert not hot[:, 71:89].any()
    assert hot[:, 40].any()
    assert hot[:, 120].any()
    assert one.evidence.left_columns[70:90].all()


def test_a_scan_of_which_too_little_is_left_is_refused_with_the_reason(monkeypatch):
    with_disc(monkeypatch, slice(40, 160))
    (one,) = prepared(eye())
    assert one.squares is None
    assert "of its columns can be looked at, expected at least 25%" in one.error


def test_what_the_scan_does_not_show_is_in_no_score():
    pixels = eye().copy()
    retina = retina_of(pixels)
    top = int(retina.ilm.min()) - 12
    pixels[: max(top, 1)] = 0  # a black margin down to a little above the retina
    (one,) = prepared(pixels)
    assert not one.error
    unknown = ~one.flat.valid
    assert unknown.mean() > 0.05
    for (row, column), own in zip(one.positions.tolist(), one.deciding.tolist(), strict=True):
        if own:
            assert unknown[row : row + SIZE, column : column + SIZE].mean() <= 0.1
    hot = hot_everywhere(one).heatmap
    assert not hot[: top - 4].any()


def test_the_retina_above_the_band_is_said_and_marked():
    (flat,) = flat_scans(Scans(((eye(),),)), [0])
    (one,) = prepared(eye())
    retina, evidence = flat.retina, one.evidence
    assert evidence.above == 0
    assert evidence.words() == ""
    high = replace(evidence, ilm=np.where(np.arange(WIDTH) < 100, evidence.top - 20, evidence.ilm).astype(np.float32))
    share = evidence.decides[:100].sum() / evidence.decides.sum()
    assert high.above == pytest.approx(share)
    assert high.words() == f"the retina above the band in {share:.0%} of the columns"
    unseen = high.unseen(400)
    band = to_flat(np.arange(400)[:, None], np.arange(WIDTH), flat.flat)[0]
    inside = evidence.decides & (np.arange(WIDTH) < 100)
    assert unseen[:, inside].sum(axis=0) == pytest.approx(20, abs=1)
    assert (band[unseen & inside] < 0).all()
    assert not unseen[:, evidence.decides & (np.arange(WIDTH) >= 100)].any()
    assert retina.reason == ""


def test_maps_show_columns_that_were_not_looked_at_as_unknown():
    heat = np.full((30, 6), 2.0, np.float32)
    heat[:, :2] = np.nan
    assert np.isnan(en_face([heat])).tolist() == [[True, True, False, False, False, False]]


def test_remarks_count_each_kind_and_name_the_first():
    (one,) = prepared(eye())
    odd = replace(one.evidence, unlike=(("rows", "400 rows (in training 496)"),))
    remarks = Remarks()
    for name, evidence in (("a", one.evidence), ("b", odd), ("c", odd), ("d", None)):
        remarks.add(Finding(name, evidence=evidence))
    (note,) = remarks.notes()
    assert note.startswith("unlike all training scans in their height in pixels")
    assert note.endswith("in 2 of 4 scans; the first is b: 400 rows (in training 496)")
