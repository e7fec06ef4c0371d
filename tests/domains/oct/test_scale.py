"""Scale and domain: what is measured of training scans, what is said of others, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.scale import FAR, Scale, doubts, implausible, ranges, refused, unlike
from anotwin.domains.oct.scans import flat_scans
from anotwin.domains.oct.synthetic.retina import retina_scan
from anotwin.domains.oct.view import RetinaView
from anotwin.errors import DataError
from anotwin.records import ImageSpec
from anotwin.settings import Settings
from anotwin.updates import silent
from made_scans import Scans

SPEC = ImageSpec(1, 16, view="retina", parts=True)
NORMAL = Scale(496, 512, 3.87, 11.5, 5.9, 300.0, 0.03)
WIDE = Scale(496, 1536, 3.87, 5.75, 8.8, 340.0, 0.05)
USUAL = ranges([NORMAL, WIDE])


def eye(seed, height=496, width=128):
    return retina_scan(seed, height, width).pixels


def resized(pixels, height, width):
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def errors(pictures, spacing, view=None):
    source = Scans(tuple((each,) for each in pictures), spacing)
    view = view or RetinaView()
    return [one.error for one in view.prepare(source, range(len(pictures)), SPEC, Settings(), False)]


@pytest.fixture(scope="module")
def trained():
    """A view that compares with four training scans without a spacing."""
    source = Scans(tuple((eye(seed),) for seed in range(4)), None)
    images = RetinaView().training(source, range(4), SPEC, Settings(), Path("not used"), silent)
    return RetinaView().against(dict(images.reference))


def test_ranges_are_the_lowest_and_the_highest():
    assert USUAL["columns"] == [512, 1536]
    assert USUAL["lateral_um"] == [5.75, 11.5]
    assert USUAL["thickness_um"] == [300, 340]
    assert set(USUAL) == set(FAR)
    assert unlike(NORMAL, USUAL) == unlike(WIDE, USUAL) == ()
    assert unlike(replace(NORMAL, rows=224), {}) == ()  # older models have no reference


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rows", 224, "224 rows (in training 496)"),
        ("width_mm", 1.0, "1.0 mm wide (in training 5.9 to 8.8)"),
        ("speckle", 0.01, "a grain of 0.010 (in training 0.030 to 0.050)"),
        ("thickness_um", 200.0, "a retina 200 micrometres thick (in training 300 to 340)"),
    ],
)
def test_what_lies_far_from_training_is_said(name, value, words):
    assert unlike(replace(NORMAL, **{name: value}), USUAL) == ((name, words),)


def test_a_thick_retina_is_a_finding_and_no_wrong_scale():
    assert refused(replace(NORMAL, thickness_um=600.0), None, USUAL) == ""
    assert refused(replace(NORMAL, thickness_um=220.0), None, USUAL) == ""  # atrophy, at the size of the training
    assert "cannot be right" in refused(replace(NORMAL, thickness_um=220.0, width_mm=1.0), Spacing(2, 2), USUAL)


@pytest.mark.parametrize("side", [224, 256, 320])
def test_a_resized_scan_without_a_spacing_is_refused(trained, side):
    pictures = [resized(eye(seed), side, side) for seed in (11, 12)]
    for error in errors(pictures, None, trained):
        assert "resized? Give its spacing" in error or "no retina found" in error
    told = Spacing(3.87 * 496 / side, 11.5 * 128 / side)
    assert errors(pictures, told, trained) == ["", ""]  # resampled to the scale of the band
    assert errors([eye(11)], None, trained) == [""]


def test_a_placeholder_for_the_spacing_is_refused(trained):
    found = errors([eye(seed) for seed in range(11, 15)], Spacing(2, 2), trained)
    assert all(found)
    assert any("its spacing cannot be right" in error for error in found)


def test_no_retina_is_so_thin_or_thick_whatever_the_training():
    found = list(flat_scans(Scans(tuple((eye(seed),) for seed in (3, 4)), Spacing(1.6, 11.5)), [0, 1]))
    assert all(one.flat is None and one.error for one in found)
    retina = next(flat_scans(Scans(((eye(3),),)), [0])).retina
    for axial in (1.6, 18.0):
        assert f"micrometres thick at {axial:.2f}" in implausible(retina, (496, 128), Spacing(axial, 11.5))
    assert implausible(retina, (496, 128), Spacing(3.87, 11.5)) == implausible(retina, (496, 128), None) == ""


def test_together_thin_scans_are_doubted_before_training():
    assert doubts([280.0, 300.0, 320.0]) == []
    (said,) = doubts([180.0, 190.0, 320.0])
    assert said.startswith("half of the retinas are less than 190 micrometres thick")


def test_a_reference_that_is_not_of_this_view_is_refused():
    for reference in (
        {"heat": [1.0, 2.0]},
        {"heat": [0.0] * 100},
        {"scale": {"rows": [1.0]}},
        {"scale": {"else": [1, 2]}},
    ):
        with pytest.raises(DataError, match="reference of training scans"):
            RetinaView().against(reference)
