"""A test set that lies elsewhere is said, and one that does not is not: rates by simulation."""

import numpy as np
import pytest
from scipy import stats

from anotwin.calibrate.decision import calibrate
from anotwin.calibrate.shift import DIFFERENCE, SIGNIFICANT, compare_scores

DRAWS = 150


def calibrated(scores, groups=None):
    return calibrate(scores, scores, scores, 1.0, 0.5, groups)


def share(draw, seed=0, **more):
    """How often a shift is said, and which."""
    rng = np.random.default_rng(seed)
    said = []
    for _ in range(DRAWS):
        calibration, scores, groups = draw(rng)
        found = compare_scores(calibration, scores, groups, **more)
        said.append(found.shifted)
    return {word: said.count(word) / DRAWS for word in set(said)}


@pytest.mark.parametrize("held", [5, 20, 100, 500])
@pytest.mark.parametrize("count", [3, 20, 1000])
@pytest.mark.parametrize("all_normal", [True, False])
def test_nothing_is_said_of_images_like_those_calibrated_on(held, count, all_normal):
    said = share(
        lambda rng: (calibrated(rng.gamma(3, size=held)), rng.gamma(3, size=count), [None] * count),
        all_normal=all_normal,
    )
    assert said.get("", 0) >= 1 - 2 / DRAWS  # at 0.1 % one in a thousand


@pytest.mark.parametrize("abnormal", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("count", [20, 200, 1000])
def test_nothing_is_said_of_a_set_up_to_half_of_which_is_abnormal(abnormal, count):
    def draw(rng):
        scores = rng.normal(size=count) + np.where(np.arange(count) < abnormal * count, 6, 0)
        return calibrated(rng.normal(size=100)), scores, [None] * count

    assert share(draw, all_normal=False).get("", 0) >= 1 - 2 / DRAWS


@pytest.mark.parametrize("all_normal", [True, False])
@pytest.mark.parametrize("sign,word", [(1, "higher"), (-1, "lower")])
def test_a_set_that_lies_elsewhere_is_said(all_normal, sign, word):
    said = share(
        lambda rng: (calibrated(rng.normal(size=100)), rng.normal(size=60) + 2 * sign, [None] * 60),
        all_normal=all_normal,
    )
    assert said.get(word, 0) > (0.97 if all_normal else 0.85)


def test_wider_scores_are_said_of_normals():
    said = share(
        lambda rng: (calibrated(rng.normal(size=300)), rng.normal(size=300) * 5, [None] * 300), all_normal=True
    )
    assert sum(share for word, share in said.items() if word) > 0.99


@pytest.mark.parametrize("all_normal", [True, False])
def test_images_of_few_patients_prove_nothing(all_normal):
    """Four patients of 50 images, all alike within a patient: their images differ from others', new ones as well."""

    def draw(rng):
        def patients(count):
            return np.repeat(rng.normal(size=count), 50) + rng.normal(0, 0.1, count * 50)

        groups = [f"p{i // 50}" for i in range(200)]
        return calibrated(patients(10), [i // 50 for i in range(500)]), patients(4), groups

    assert share(draw, all_normal=all_normal).get("", 0) >= 1 - 2 / DRAWS


def test_the_same_number_as_scipy_and_a_difference_that_matters():
    rng = np.random.default_rng(0)
    held, new = rng.normal(size=900), rng.normal(0.3, size=3000)
    found = compare_scores(calibrated(held), new, [None] * 3000, all_normal=True)
    reference = stats.ks_2samp(new, held)
    assert found.p_value == pytest.approx(reference.pvalue, rel=0.2)
    assert reference.pvalue < SIGNIFICANT  # proven
    assert reference.statistic < DIFFERENCE  # and small
    assert found.shifted == ""
    assert found.median_p_value == pytest.approx(np.median([np.mean(held >= score) for score in new]), abs=0.01)


def test_the_note_says_what_it_rests_on():
    known = calibrated(np.arange(100.0))
    note = compare_scores(known, np.full(50, 200.0), [None] * 50, all_normal=True).note()
    assert note.startswith("these images are not like those calibrated on: the 50 normal images score higher")
    assert "median p-value 0.0099 instead of 0.5" in note
    assert note.endswith("calibrate on normal images like these")
    mixed = compare_scores(known, np.full(50, 200.0), [None] * 50, all_normal=False).note()
    assert "unless most of them are abnormal" in mixed
    assert compare_scores(known, np.arange(50.0) * 2, [None] * 50, all_normal=True).note() == ""
    assert compare_scores(known, [], [], all_normal=True) is None
