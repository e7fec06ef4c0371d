"""Normals that come in groups - patients, parts, clips - : a threshold and p-values that count groups, not images.

Lee, Barber, Willett, "Distribution-free inference with hierarchical data", arXiv 2306.06342, 2023: hierarchical
conformal prediction (HCP). Images of one patient resemble each other, so that 100 of 4 patients promise no more than 4.

    code        paper     meaning
    K           K         groups of held-out normals
    sizes[k]    N_k       scores of group k
    score       s         conformity score of an image of a new group: higher is more abnormal
    rate        alpha     false-alarm rate

    share_k(s)  #{i: s_ki >= s} / N_k                      every group counts the same, however many images it has
    p(s)        (1 + sum_k share_k(s)) / (K + 1)           `p_values`: the paper's weights 1 / ((K + 1) N_k) above s
    threshold   the smallest s_ki with p <= rate above it  `group_threshold`: HCP's (1 - alpha) quantile

so that p(s) <= rate <=> s > threshold, and for an image of a new group P(s > threshold) <= rate. Groups of one image
each give split conformal prediction (`threshold.py`), to the bit. A unit - a patient, a part, a volume - with one
pooled score a group is the same formula: (1 + #{k: M_k >= M}) / (K + 1).

Assumed: groups are exchangeable, a new one is drawn like those held out, *its number of images included*; within a
group images are exchangeable; the model was trained on no image of either. The image of the promise is one drawn from a
new group: where large groups score higher than small ones, the share of all images together may be higher.

Deviation from the paper: none in the test; p-values in place of prediction sets, and `group_rate_bound` is ours.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

from scipy import stats

from anotwin.calibrate.threshold import checked_rate, too_few
from anotwin.errors import DataError, SettingsError


def p_values(groups: Sequence[int]) -> list[float]:
    """The p-value of a new score, in [1 / (K + 1), 1], by how many of the n held-out scores lie below it.

    Exact: shares are whole numbers over a common denominator, and one division rounds. Rounding keeps the order, so
    that what is compared with a rate falls from score to score, and 1 / 100 is the same double as ``0.01``.

    Args:
        groups: (n,) the group of each held-out score, scores ascending.

    Returns:
        (n + 1,) falling from 1; that of a score s is number ``bisect_left(scores, s)``.

    >>> p_values([0, 0, 1])  # above no score, above one, two, all three
    [1.0, 0.8333333333333334, 0.6666666666666666, 0.3333333333333333]
    """
    sizes = Counter(groups)
    one = math.lcm(*sizes.values())  # a group's share of 1, or the new image's
    shares = {group: one // size for group, size in sizes.items()}  # of one of its images
    total, whole = one, one * (len(sizes) + 1)
    falling = [total / whole]
    for group in reversed(groups):
        total += shares[group]
        falling.append(total / whole)  # of whole numbers of any length: Python rounds it correctly
    return falling[::-1]


def group_threshold(scores: Sequence[float], groups: Sequence[int], rate: float) -> float:
    """The threshold above which an image of a new group lies with probability at most `rate`.

    Args:
        scores: (n,) finite scores of held-out normals, ascending; higher is more abnormal.
        groups: (n,) the group of each.
        rate: allowed false-alarm rate, in (0, 1).

    Raises:
        DataError: fewer groups than `threshold.normals_needed(rate)`.
        SettingsError: `rate` outside (0, 1).

    >>> group_threshold([1.0, 2.0, 3.0, 4.0], [0, 1, 0, 1], rate=0.5)  # 2 groups: half a share may lie above
    3.0
    """
    check_reachable(len(set(groups)), rate)
    falling = p_values(groups)
    first = bisect_left(falling, -rate, key=lambda p: -p)  # how many scores below make p <= rate: at least one
    return float(scores[first - 1])


def group_rate_bound(count: int, rate: float, confidence: float = 0.95) -> float:
    """With probability `confidence` over draws of `count` groups the threshold's true false-alarm rate is at most this.

    The true rate is above b only where the mean of K independent shares, each in [0, 1] with mean b at least, is
    small. Shares of 0 and 1 alone, whole groups above the threshold, vary most: then the true rate is
    Beta(a, K + 1 - a), and its quantile is returned. For the lowest rate, 1 / (K + 1), no share may be above 0 and that
    is the worst case; above it that was checked by simulation (``benchmarks/reliability/groups.py``). a is the smallest
    integer with a / (K + 1) >= rate, because a share of 0.9 fits where (K + 1) rate = 1.95, and two do not: with the
    largest a / (K + 1) <= rate, as for single images, the bound fails there in 17 % of the draws instead of 5 %.

    >>> round(group_rate_bound(16, 1 / 17), 4)
    0.1707
    """
    if not 0 < confidence < 1:
        raise SettingsError(f"calibration: confidence must be between 0 and 1, got {confidence}")
    check_reachable(count, rate)
    above = math.ceil((count + 1) * rate)
    above += above / (count + 1) < rate
    above -= (above - 1) / (count + 1) >= rate
    return float(stats.beta.ppf(confidence, above, count + 1 - above)) if above <= count else 1.0


def check_reachable(count: int, rate: float) -> None:
    """Raise DataError where `count` groups cannot promise `rate`, saying what would be needed."""
    if 1 / (count + 1) > checked_rate(rate):
        raise DataError(too_few(count, rate, "groups of normal images"))
