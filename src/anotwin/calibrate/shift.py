"""Whether images that are scored are like those calibrated on: what the false-alarm rate assumes and nobody promises.

Of images that are normal the scores are compared with those of the held-out normals (Kolmogorov-Smirnov). Of images
that may be abnormal, which raises scores, it is only asked whether fewer than half of what is normal may be among them:
whether less than a quarter lies below the median of the held-out normals, or less than half above it. One image of each
group is compared, drawn with a fixed seed: images of a patient are no independent evidence.

Significance is 0.1 %, and a difference must be large enough to matter: a million images would prove that no two sets
are alike.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from anotwin.calibrate.decision import p_value_of
from anotwin.records import Calibration

SIGNIFICANT = 1e-3
DIFFERENCE = 0.2  # of the two distributions of scores, at the score where they differ most
MOST_ABNORMAL = 0.5  # share of abnormal images that is thought normal in a set that is scored
FEW = 0.3  # share of images above the median below which they lie too low, of 0.5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Shift:
    """How images compare with those calibrated on."""

    images: int  # compared, one a group
    all_normal: bool  # known to be normal; else abnormal ones may be among them
    median_p_value: float  # near 0.5 of images like those calibrated on
    p_value: float  # of the test that they are like them
    shifted: str  # "", "higher", "lower" or "otherwise": where their scores lie, if they are not

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def note(self) -> str:
        """A sentence for the user; "" where there is nothing to say."""
        if not self.shifted:
            return ""
        lie = {"higher": "score higher than", "lower": "score lower than", "otherwise": "score otherwise than"}
        which = f"{self.images} {'normal images' if self.all_normal else 'images'}"
        told = f"median p-value {self.median_p_value:.2g} instead of 0.5, test p = {self.p_value:.1g}"
        verdict = f"these images are not like those calibrated on: the {which} {lie[self.shifted]} they should ({told})"
        if not self.all_normal and self.shifted == "higher":
            return f"{verdict}, unless most of them are abnormal; if not, the false-alarm rate does not hold for them"
        return f"{verdict}; the false-alarm rate does not hold for them: calibrate on normal images like these"


def compare_scores(
    calibration: Calibration, scores: Sequence[float], groups: Sequence[Hashable], *, all_normal: bool
) -> Shift | None:
    """Compare scores with those of the calibration; None where there are none.

    Args:
        calibration: with the scores of held-out normals.
        scores: (n,) finite, of images that the model was not trained on.
        groups: (n,) the group of each, None for one of its own.
        all_normal: whether the images are known to be normal.

    >>> from anotwin.calibrate.decision import calibrate
    >>> normals = [k / 100 for k in range(100)]
    >>> known = calibrate(normals, normals, normals, 1.0, 0.1)
    >>> compare_scores(known, [k / 30 for k in range(30)], [None] * 30, all_normal=True).shifted
    ''
    >>> compare_scores(known, [k / 30 + 0.9 for k in range(30)], [None] * 30, all_normal=True).shifted
    'higher'
    """
    reference, values = _one_a_group(calibration.scores, calibration.groups), _one_a_group(scores, groups)
    if not len(values) or not len(reference):
        return None
    median_p = float(np.median([*map(p_value_of(calibration.scores, calibration.groups), values.tolist())]))
    test, shifted = _of_normals(reference, values, median_p) if all_normal else _of_any(reference, values)
    return Shift(len(values), all_normal, median_p, test, shifted)


def _of_normals(reference: Floats, values: Floats, median_p: float) -> tuple[float, str]:
    method = "auto" if len(reference) * len(values) < 10**6 else "asymp"
    found = stats.ks_2samp(values, reference, method=method)
    if found.pvalue >= SIGNIFICANT or found.statistic < DIFFERENCE:
        return float(found.pvalue), ""
    away = abs(median_p - 0.5) > 0.1
    return float(found.pvalue), ("higher" if median_p < 0.5 else "lower") if away else "otherwise"


def _of_any(reference: Floats, values: Floats) -> tuple[float, str]:
    """The p-value counts that the median of `reference` is itself uncertain: its level is Beta distributed."""
    count, middle = len(values), float(np.median(reference))
    below, above = int(np.sum(values <= middle)), int(np.sum(values >= middle))
    half = (len(reference) + 1) / 2
    levels = stats.beta.ppf((np.arange(200) + 0.5) / 200, half, half)
    higher = float(np.mean(stats.binom.cdf(below, count, (1 - MOST_ABNORMAL) * levels)))
    lower = float(np.mean(stats.binom.cdf(above, count, 1 - levels)))
    test = min(1.0, 2 * min(higher, lower))
    if test >= SIGNIFICANT:
        return test, ""
    if higher < lower:
        return test, "higher"
    return test, "lower" if above < FEW * count else ""


def _one_a_group(scores: Sequence[float], groups: Sequence[Hashable]) -> Floats:
    """One score of each group, and all of images that have none; which one does not depend on the score."""
    values = np.asarray(scores, np.float64)
    if not len(groups):
        return values
    chosen: dict[Hashable, int] = {}
    for place in np.random.default_rng(0).permutation(len(values)).tolist():
        group = groups[place]
        chosen.setdefault(("image", place) if group is None else ("group", group), place)
    return values[sorted(chosen.values())]
