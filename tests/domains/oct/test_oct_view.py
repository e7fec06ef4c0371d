"""Scores and pictures of scans by a method whose counterpart is half of the query: every number is computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anotwin.calibrate.decision import calibrate
from anotwin.domains.oct.flatten import to_flat, unflatten
from anotwin.domains.oct.scans import flat_scans, levels
from anotwin.domains.oct.synthetic.retina import retina_scan
from anotwin.domains.oct.view import TOP, RetinaView
from anotwin.errors import DataError
from anotwin.prepare.patches import cut, grid_positions, valid_share
from anotwin.records import Comparison, Counterpart, ImageSpec, Scores, Status
from anotwin.run.local import UNCALIBRATED_HEAT, normal_scores, score_stream
from anotwin.run.stream import scored_images
from anotwin.seeding import fingerprint
from anotwin.settings import Settings
from made_scans import BLANK, HEIGHT, WIDTH, Scans, scan, volume

SIZE = 16


class Half:
    """The counterpart of x is x / 2; the score of a patch is its mean, its heat what is left."""

    name = "half"

    def __init__(self, batch_size=64, worst=Status.CONVERGED, score=lambda means: means):
        self.spec = ImageSpec(1, SIZE, view="retina", parts=True)
        self.settings = Settings().with_overrides([f"search.batch_size={batch_size}"])
        self.networks = torch.nn.ModuleDict()
        self.worst, self.score = worst, score
        self.fingerprints = []

    def counterpart(self, batch):
        count = len(batch.images)
        assert batch.images.shape == (count, 1, self.spec.size, self.spec.size)
        self.fingerprints += batch.fingerprints
        status = (self.worst, *[Status.CONVERGED] * (count - 1))
        return Counterpart(batch.images / 2, None, torch.zeros(count, dtype=torch.int64), status)

    def compare(self, queries, counterpart):
        means = queries.mean(dim=(1, 2, 3))
        difference = queries - counterpart.images
        mean_residual = difference.abs().mean(dim=(1, 2, 3)) / 2
        scores = Scores(self.score(means), means + 1, means + 2, means + 3, means + 4, mean_residual)
        return Comparison(scores, difference=difference, heatmap=difference.abs()[:, 0] / 2)


def flat_of(pixels):
    (found,) = flat_scans(Scans(((pixels,),)), [0])
    return found


def places_by_hand(flat):
    """Where the patches of a band lie that decide: a grid over the columns that do, of known pixels to nine tenths."""
    first, last = np.flatnonzero(flat.decides)[[0, -1]]
    assert flat.decides[first : last + 1].all()
    positions = grid_positions((len(flat.pixels), last - first + 1), SIZE, SIZE // 2) + np.array([0, first])
    shown = valid_share(flat.valid, SIZE)
    return np.array([place for place in positions if shown[tuple(place)] >= 0.9])


def by_hand(pixels):
    """The patches of a scan that decide, (P, S, S) as the model sees them."""
    flat = flat_of(pixels).flat
    return cut(levels(flat.pixels) / np.float32(127.5) - 1, places_by_hand(flat), SIZE)


def covered(flat):
    """(h, w) True where a patch that decides lies and the scan shows something."""
    found = np.zeros(flat.valid.shape, bool)
    for row, column in places_by_hand(flat):
        found[row : row + SIZE, column : column + SIZE] = True
    return found & flat.valid


def mean_of_top(values):
    """The mean of the highest 15 %, with a fraction of the last."""
    ranked, taken = sorted(values, reverse=True), TOP * len(values)
    whole = int(taken)
    return (sum(ranked[:whole]) + (taken - whole) * ranked[whole]) / taken


def findings(*pictures, method=None):
    source = Scans(tuple((picture,) for picture in pictures))
    return list(score_stream(method or Half(), source, None))


def test_the_score_of_a_scan_is_the_pool_of_its_patches():
    (found,) = findings(scan(0))
    patches = by_hand(scan(0))
    means = patches.mean(axis=(1, 2), dtype=np.float64)
    assert found.score == pytest.approx(mean_of_top(means), abs=1e-6)
    for number, term in enumerate(("anomaly", "residual", "discrimination", "discriminator"), start=1):
        assert getattr(found, term) == pytest.approx(found.score + number, abs=1e-6)
    assert found.mean_residual == pytest.approx(np.abs(patches).mean() / 4, abs=1e-6)
    assert (found.id, found.status, found.error, found.anomalous) == ("v0#0", "converged", "", None)
    assert found.fingerprint == fingerprint(scan(0))
    assert found.evidence.reason == ""


def native(kind):
    grey = scan(0)
    return {
        "uint8": grey,
        "uint16": grey.astype(np.uint16) * 200,
        "float32": grey.astype(np.float32) / 7,
        "colour": np.stack([grey] * 3, axis=2),
    }[kind]


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32", "colour"])
def test_pictures_are_in_the_pixels_of_the_scan(kind):
    pixels = native(kind)
    (found,) = findings(pixels)
    flat = flat_of(pixels).flat
    shown = levels(flat.pixels).astype(np.float32) / 127.5 - 1
    rows, _ = to_flat(np.arange(HEIGHT)[:, None], np.arange(WIDTH), flat)
    tissue = (np.arange(HEIGHT)[:, None] > found.evidence.ilm + 25) & (rows < len(flat.pixels) - 10)
    difference = np.where(flat.valid, flat.pixels - shown / 2, 0)  # patches of one map are stitched to that map
    expected = pixels.astype(np.float64) - (unflatten(difference, flat) * flat.grey).reshape(
        HEIGHT, WIDTH, *[1] * (pixels.ndim - 2)
    )
    assert found.query is not None
    np.testing.assert_array_equal(found.query, pixels)
    assert (found.counterpart.shape, found.counterpart.dtype) == (pixels.shape, pixels.dtype)
    step = {"uint8": 0.51, "uint16": 1.0, "float32": 1e-3, "colour": 0.51}[kind]
    expected = expected if kind == "float32" else np.clip(expected, 0, None)
    np.testing.assert_allclose(found.counterpart[tissue].astype(np.float64), expected[tissue], atol=step)
    np.testing.assert_allclose(found.difference[tissue], unflatten(difference / 2, flat)[tissue], atol=1e-4)
    heat = np.where(covered(flat), np.abs(shown) / 4, 0) / UNCALIBRATED_HEAT
    np.testing.assert_allclose(found.heatmap, unflatten(heat, flat), atol=1e-5)
    assert found.heatmap.dtype == np.float32
    assert found.heatmap.max() > 0.5


def test_outside_the_band_the_counterpart_is_the_scan_and_there_is_no_heat():
    (found,) = findings(scan(0))
    flat = flat_of(scan(0)).flat
    rows, _ = to_flat(np.arange(HEIGHT)[:, None], np.arange(WIDTH), flat)
    outside = (rows < -1) | (rows > flat.pixels.shape[0])
    assert 0.2 < outside.mean() < 0.8
    assert not found.heatmap[outside].any()
    np.testing.assert_array_equal(found.counterpart[outside], scan(0)[outside])
    assert not found.difference[outside].any()
    assert (found.counterpart[~outside] != scan(0)[~outside]).mean() > 0.5


def test_calibration_sets_heat_p_values_and_the_decision():
    (bare,) = findings(scan(0))
    normals = np.linspace(bare.score - 1, bare.score - 0.1, 19)
    calibration = calibrate(normals, normals + 2, normals + 3, 0.125, 0.1)
    source = Scans(((scan(0),),))
    (found,) = score_stream(Half(), source, calibration)
    np.testing.assert_allclose(found.heatmap, bare.heatmap * UNCALIBRATED_HEAT / 0.125, rtol=1e-5)
    np.testing.assert_array_equal(found.counterpart, bare.counterpart)
    assert (found.p_value, found.anomalous, found.flagged_by) == (1 / 20, True, "both")
    (plain,) = score_stream(Half(), source, calibration, pictures=False)
    assert plain.query is plain.counterpart is plain.heatmap is None
    assert (plain.score, plain.anomalous, plain.evidence.quality) == (found.score, True, found.evidence.quality)


def test_results_do_not_depend_on_the_batch_size():
    methods = [Half(batch_size) for batch_size in (1024, 7)]
    one, other = (findings(scan(0), method=method)[0] for method in methods)
    assert one.score == pytest.approx(other.score, abs=1e-7)
    np.testing.assert_array_equal(one.counterpart, other.counterpart)
    assert len(set(methods[0].fingerprints)) > len(by_hand(scan(0)))  # each patch has latents of its own
    assert dict.fromkeys(methods[1].fingerprints) == dict.fromkeys(methods[0].fingerprints)


def test_a_scan_in_its_volume_scores_the_same_alone():
    source = Scans((volume(0), (scan(1),)))
    together = list(score_stream(Half(), source, None))
    (alone,) = score_stream(Half(), source, None, [1])
    assert (alone.id, alone.score) == (together[1].id, together[1].score)
    np.testing.assert_array_equal(alone.heatmap, together[1].heatmap)


def test_the_status_of_a_scan_is_that_of_its_worst_patch():
    assert findings(scan(0), method=Half(worst=Status.BUDGET_SPENT))[0].status == "budget_spent"
    (found,) = findings(scan(0), method=Half(worst=Status.NOT_FOUND))
    assert found.status == "no_counterpart"
    assert found.error.startswith("v0#0: no counterpart found")
    assert np.isnan(found.score)


def test_nan_in_one_patch_is_an_error_of_the_scan():
    def corrupted(means):
        return torch.where(means == means.min(), torch.nan, means)

    found = findings(scan(0), method=Half(score=corrupted))[0]
    assert found.error.startswith("v0#0: no counterpart found")
    assert found.heatmap is None
    assert found.evidence is not None


def test_bad_scans_are_rows_and_refused_ones_keep_their_reason():
    found = findings("no picture", scan(0), BLANK)
    assert [bool(each.error) for each in found] == [True, False, True]
    assert found[0].error == "v0#0: no picture"
    assert found[0].evidence is None
    assert found[2].error == f"v2#0: {found[2].evidence.reason}"
    assert {each.status for each in found} == {"error", "converged"}


def test_scans_of_the_training_set_are_left_out():
    source = Scans(((scan(0),), (scan(1),)))
    images = RetinaView().prepare(source, [0, 1], Half().spec, Half().settings, pixels=False)
    first, second = scored_images(Half(), images, str, frozenset({fingerprint(scan(0))}))
    assert (first.excluded, first.scores) == (True, None)
    assert not second.excluded
    normals = normal_scores(Half(), source, [0, 1], frozenset({fingerprint(scan(0))}))
    assert normals.excluded == 1
    assert normals.scores.tolist() == [second.scores.score]
    with pytest.raises(DataError, match="all of them were trained on"):
        normal_scores(Half(), source, [0], frozenset({fingerprint(scan(0))}))


def test_the_scale_of_heat_is_a_high_quantile_of_the_normals():
    normals = normal_scores(Half(), Scans(((scan(0),),)), [0])
    flat = flat_of(scan(0)).flat
    heat = (np.abs(levels(flat.pixels) / 127.5 - 1) / 4)[covered(flat)]
    assert normals.heatmap_scale == pytest.approx(np.quantile(heat, 0.995), rel=0.02)  # of every so many pixels


def test_a_scan_narrower_than_a_patch_is_a_row_and_ends_nothing():
    method = Half()
    method.spec = replace(method.spec, size=64)
    narrow, wide = scan(0), retina_scan(1, HEIGHT, 80).pixels
    found = findings(narrow, wide, method=method)
    assert [bool(each.error) for each in found] == [True, False]
    assert found[0].error == "v0#0: its flattened retina, 100 x 61 pixels, has no patch of 64 x 64 that shows tissue"
