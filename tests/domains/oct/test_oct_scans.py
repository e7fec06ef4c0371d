"""flat_scans: the lines of whole volumes by hand, in any order, read once, and the errors of what is no scan."""

import numpy as np
import pytest

from anotwin.data.arrays import from_arrays
from anotwin.domains.oct.flatten import flatten
from anotwin.domains.oct.layers.find import find_retinas
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.scans import flat_scans, levels
from anotwin.seeding import fingerprint
from made_scans import BLANK, SPACING, Scans, retina_of, scan, volume


@pytest.fixture
def source():
    return Scans((volume(0), (scan(1),), volume(2, 2)))  # indices 0 1 2, 3, 4 5


def same(one, other):
    assert (one.index, one.error, one.fingerprint, one.spacing) == (
        other.index,
        other.error,
        other.fingerprint,
        other.spacing,
    )
    for name in ("ilm", "rpe", "baseline", "valid"):
        np.testing.assert_array_equal(getattr(one.retina, name), getattr(other.retina, name))
    np.testing.assert_array_equal(one.pixels, other.pixels)
    np.testing.assert_array_equal(one.flat.pixels, other.flat.pixels)


def test_a_volume_by_hand(source):
    for found, retina, pixels in zip(
        flat_scans(source, [0, 1, 2]), find_retinas(volume(0), SPACING), volume(0), strict=True
    ):
        np.testing.assert_array_equal(found.pixels, pixels)
        np.testing.assert_array_equal(found.retina.baseline, retina.baseline)
        np.testing.assert_array_equal(found.flat.pixels, flatten(pixels, retina, spacing=SPACING).pixels)
        assert (found.fingerprint, found.spacing, found.error) == (fingerprint(pixels), SPACING, "")
        assert (found.retina.baseline != retina_of(pixels, SPACING).baseline).any()  # its neighbours count


def test_in_the_order_asked_for_and_each_volume_once(source):
    order = [5, 4, 3, 2, 0]
    assert [found.index for found in flat_scans(source, order)] == order
    assert source.reads == [4, 5, 3, 0, 1, 2]


def test_a_scan_alone_is_the_scan_of_the_whole_run(source):
    together = list(flat_scans(source, range(6)))
    for index in (1, 5):
        source.reads.clear()
        (alone,) = flat_scans(source, [index])
        same(alone, together[index])
        assert source.reads == list(next(slices for slices in source.volumes() if index in slices))


def test_the_spacing_of_the_source_counts():
    wide = Spacing(3.2, 23.0)
    (found,) = flat_scans(Scans(((scan(0),),), spacing=wide), [0])
    assert found.spacing == wide
    np.testing.assert_array_equal(found.retina.ilm, retina_of(scan(0), wide).ilm)
    assert found.flat.pixels.shape[1] == round(64 * 23 / 12)


def test_bad_scans_say_why_and_the_rest_of_the_volume_is_there():
    first, _, last = volume(0)
    source = Scans(((first, "v0#1 is no picture", last), ("no picture",), (first, BLANK, last)))
    found = list(flat_scans(source, range(7)))
    assert [each.index for each in found] == list(range(7))
    assert [bool(each.error) for each in found] == [False, True, False, True, False, True, False]
    assert found[1].error == "v0#1 is no picture"  # the name once
    assert found[3].error == "v1#0: no picture"
    assert found[5].error.startswith("v2#1: one flat colour")
    assert found[1].pixels is found[1].retina is found[1].flat is None
    assert found[5].flat is None
    assert found[5].error.endswith(found[5].retina.reason)
    by_hand = find_retinas([first, last], SPACING)
    for place, retina in ((0, by_hand[0]), (2, by_hand[1])):
        np.testing.assert_array_equal(found[place].retina.baseline, retina.baseline)


def test_a_long_path_does_not_cut_the_reason():
    path = "/".join(["a folder with a long name"] * 12)
    (found,) = flat_scans(Scans(((f"{path}/scan.png: cannot decode the image, is it damaged?",),)), [0])
    assert len(found.error) > 300
    assert found.error.endswith("scan.png: cannot decode the image, is it damaged?")


def test_in_a_source_without_volumes_each_image_stands_alone():
    source = from_arrays(np.stack(volume(0)))
    for found, pixels in zip(flat_scans(source, range(3)), volume(0), strict=True):
        np.testing.assert_array_equal(found.retina.baseline, retina_of(pixels).baseline)
        assert found.spacing is None


def test_workers_change_nothing(source):
    for alone, helped in zip(flat_scans(source, range(6)), flat_scans(source, range(6), workers=2), strict=True):
        same(alone, helped)


def test_nothing_asked_for(source):
    assert list(flat_scans(source, [])) == []


def test_levels_are_256_and_near():
    assert levels(np.array([-3.0, -1.0, 0.0, 1.0, 3.0])).tolist() == [0, 0, 128, 255, 255]
    band = np.random.default_rng(0).uniform(-1, 1, 1000)
    assert np.abs(levels(band) / 127.5 - 1 - band).max() <= 1 / 255
