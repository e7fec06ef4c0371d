"""What labels say about scores and decisions, with intervals.

Labels are true (or 1) for abnormal images; scores and decisions are higher (or true) for abnormal. Each metric is a
small kernel on counts: how many normal and abnormal images have each of the sorted distinct scores. A bootstrap
resample only changes the counts, so that 1,000 resamples of 10,000 images are a few cumulative sums.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from anotwin.errors import DataError, SettingsError

Vector = Sequence[Any] | npt.NDArray[Any]
Metric = Callable[[Any, Any], float]
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]  # (D, U): D resamples, U distinct scores in ascending order
Kernel = Callable[[Floats, Counts, Counts], Floats]  # distinct scores (U,), normals, abnormals -> (D,)


def auroc(labels: Vector, scores: Vector) -> float:
    """Area under the ROC curve: P(abnormal scores higher than normal), ties counted half; NaN without both classes.

    Args:
        labels: (N,) true or 1 where abnormal.
        scores: (N,) higher is more abnormal; infinite is allowed, NaN is not.

    Raises:
        SettingsError: not two lists of one length, or labels other than 0 and 1.
        DataError: NaN scores.

    >>> auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
    0.75
    """
    return _point(_auroc, labels, scores)


def average_precision(labels: Vector, scores: Vector) -> float:
    """Average precision, sum over thresholds of (recall gained x precision); NaN unless both classes are there.

    The step-wise sum of scikit-learn's `average_precision_score`, no interpolation. Arguments as in `auroc`.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
    0.8333
    """
    return _point(_average_precision, labels, scores)


def f1_at(labels: Vector, decisions: Vector) -> float:
    """F1 = 2 TP / (2 TP + FP + FN) of decisions; 0 if nothing is found; NaN unless both classes are there.

    Args:
        labels: (N,) true or 1 where abnormal.
        decisions: (N,) true or 1 where flagged.

    >>> f1_at([0, 0, 1, 1], [False, True, True, True])
    0.8
    """
    return _point(_f1, labels, decisions)


def detection_rate(labels: Vector, decisions: Vector) -> float:
    """Share of the abnormal images that are flagged (recall, sensitivity); NaN without an abnormal image.

    >>> detection_rate([0, 1, 1], [True, True, False])
    0.5
    """
    return _point(_detection_rate, labels, decisions)


def false_alarm_rate(labels: Vector, decisions: Vector) -> float:
    """Share of the normal images that are flagged (1 - specificity); NaN without a normal image.

    >>> false_alarm_rate([0, 1, 1], [True, True, False])
    1.0
    """
    return _point(_false_alarm_rate, labels, decisions)


def proportion_interval(successes: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact (Clopper and Pearson 1934) interval of a proportion; (NaN, NaN) for a count of 0.

    Better for rates than a bootstrap, which has no width where none or all are flagged.

    >>> proportion_interval(0, 100)[0]
    0.0
    """
    _check_confidence(confidence)
    if count == 0:
        return float("nan"), float("nan")
    interval = stats.binomtest(successes, count).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def group_proportion_interval(
    flags: Vector, groups: Sequence[Hashable], confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the share of `flags` that are true where images come in groups; (NaN, NaN) for none.

    Korn and Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated
    from survey data", Survey Methodology 24, 1998: the exact interval of as many independent images as have the
    variance that is found between groups, less for few groups. Where all or no images are flagged there is no variance
    to find: then a group counts as one image, as if its images were equal. Groups of one image give
    `proportion_interval`.

    >>> group_proportion_interval([True] * 5 + [False] * 45, [k // 5 for k in range(50)])[1] > 0.44  # 1 group of 10
    True
    """
    _check_confidence(confidence)
    found, of = np.asarray(flags, dtype=bool), number_groups(groups)
    sizes = np.bincount(of)
    if sizes.size == found.size:
        return proportion_interval(int(found.sum()), found.size, confidence)
    share, tail = float(found.mean()), (1 - confidence) / 2
    alike = float(sizes.sum() ** 2 / np.square(sizes).sum())  # independent images, if those of a group are equal
    spread = float(np.square(np.bincount(of, found - share)).sum()) / found.size**2
    if sizes.size < 2 or not 0 < share < 1:
        effective = alike
    else:
        spread *= sizes.size / (sizes.size - 1)
        few = stats.t.ppf(tail, found.size - 1) / stats.t.ppf(tail, sizes.size - 1)
        effective = min(share * (1 - share) / spread * few**2, found.size) if spread else float(found.size)
    hits = share * effective
    low = float(stats.beta.ppf(tail, hits, effective - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, effective - hits)) if share < 1 else 1.0
    return low, high


def number_groups(groups: Sequence[Hashable]) -> Counts:
    """(N,) names of groups -> their numbers, from 0 in the order in which they come."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.int64)


def bootstrap(
    function: Metric, labels: Vector, scores: Vector, *, draws: int = 1000, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a metric from a stratified bootstrap: normals and abnormals are resampled separately.

    Efron and Tibshirani 1993, Sec. 13.3. The metrics of this module run on counts (10,000 images x 1,000 draws take
    about a second); any other function is called once per draw. The same seed gives every metric the same resamples.
    Where the scores separate the classes without an error, those of each resample do too: the interval has no width.

    Args:
        function: of (labels, scores), such as `auroc`.
        labels: (N,) true or 1 where abnormal.
        scores: (N,) scores, or decisions for the metrics that take those.
        draws: number of resamples, >= 1.
        confidence: in (0, 1).

    Returns:
        (low, high); NaN where the metric is.

    >>> low, high = bootstrap(auroc, [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8])
    >>> low <= auroc([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8]) <= high
    True
    """
    _check_confidence(confidence)
    if draws < 1 or seed < 0:
        raise SettingsError(f"bootstrap: draws must be >= 1 and seed >= 0, got {draws} and {seed}")
    abnormal, values = _checked(labels, scores)
    kernel = _KERNELS.get(function)
    if kernel is None:
        resampled = _resample(np.flatnonzero(~abnormal), np.flatnonzero(abnormal), draws, seed, chunk=1)
        picks = (np.concatenate([normal[0], defect[0]]) for normal, defect in resampled)
        estimates = np.array([function(abnormal[pick], values[pick]) for pick in picks])
    else:
        distinct, codes = np.unique(values, return_inverse=True)
        chunk = max(1, 2_000_000 // max(1, values.size))  # some 16 MB an array
        resampled = _resample(codes[~abnormal], codes[abnormal], draws, seed, chunk)
        counts = ((_count(normal, distinct.size), _count(defect, distinct.size)) for normal, defect in resampled)
        estimates = np.concatenate([kernel(distinct, *each) for each in counts])
    return _percentiles(estimates, confidence)


def group_bootstrap(
    function: Metric,
    labels: Vector,
    scores: Vector,
    groups: Sequence[Hashable],
    *,
    draws: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Percentile interval of a metric of this module where whole groups of images are resampled.

    Davison and Hinkley 1997, Sec. 3.8. Groups of normal images alone, of abnormal ones alone and of both are resampled
    separately, so that every resample has both classes. With less than some ten groups in a class such an interval is
    too narrow.

    Args:
        function: a metric of this module.
        labels, scores: (N,) as in `bootstrap`.
        groups: (N,) the group of each image.

    >>> low, high = group_bootstrap(auroc, [0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8], "aabccd")
    >>> low <= auroc([0, 0, 0, 1, 1, 1], [0.1, 0.2, 0.6, 0.5, 0.7, 0.8]) <= high
    True
    """
    _check_confidence(confidence)
    abnormal, values = _checked(labels, scores)
    distinct, codes = np.unique(values, return_inverse=True)
    of = number_groups(groups)
    count = int(of.max(initial=-1)) + 1
    normals, abnormals = (  # (G, U) images of a group with a score
        sparse.coo_array((np.ones(of[which].size, np.int64), (of[which], codes[which])), (count, distinct.size)).tocsr()
        for which in (~abnormal, abnormal)
    )
    kind = 2 * (abnormals.sum(axis=1) > 0) + (normals.sum(axis=1) > 0)
    strata = [(np.flatnonzero(kind == each), np.random.default_rng([seed, 2, each])) for each in range(1, 4)]
    chunk, estimates = max(1, 2_000_000 // max(1, count, distinct.size)), []
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        times = np.zeros((rows, count), np.int64)  # how often each group is drawn
        for members, rng in strata:
            if members.size:
                drawn = rng.integers(members.size, size=(rows, members.size))
                times[:, members] = _count(drawn, members.size)
        estimates.append(_KERNELS[function](distinct, times @ normals, times @ abnormals))
    return _percentiles(np.concatenate(estimates), confidence)


def _percentiles(estimates: Floats, confidence: float) -> tuple[float, float]:
    low, high = np.quantile(estimates, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _resample(normals: Counts, abnormals: Counts, draws: int, seed: int, chunk: int) -> Iterator[tuple[Counts, Counts]]:
    """Resamples (D, n) and (D, m), D <= chunk at a time; each class has a generator, so results do not depend on it."""
    generators = [np.random.default_rng([seed, which]) for which in range(2)]
    for start in range(0, draws, chunk):
        rows = min(chunk, draws - start)
        normal, abnormal = (  # `integers` refuses an empty class
            members[rng.integers(members.size, size=(rows, members.size))] if members.size else np.empty((rows, 0), int)
            for members, rng in zip((normals, abnormals), generators, strict=True)
        )
        yield normal, abnormal


def _count(codes: Counts, size: int) -> Counts:
    """(D, n) indices of distinct scores -> (D, U) how often each occurs in each row."""
    rows = codes.shape[0]
    shifted = codes + size * np.arange(rows)[:, None]
    return np.bincount(shifted.ravel(), minlength=rows * size).reshape(rows, size)


def _point(kernel: Kernel, labels: Vector, scores: Vector) -> float:
    abnormal, values = _checked(labels, scores)
    distinct, codes = np.unique(values, return_inverse=True)
    normals, abnormals = (_count(codes[which][None], distinct.size) for which in (~abnormal, abnormal))
    return float(kernel(distinct, normals, abnormals)[0])


def _auroc(_: Floats, normals: Counts, abnormals: Counts) -> Floats:
    pairs = normals.sum(axis=1) * abnormals.sum(axis=1)
    lower = np.cumsum(normals, axis=1) - normals
    twice_wins = np.sum(abnormals * (2 * lower + normals), axis=1)  # integers: exact
    return _ratio(twice_wins, 2 * pairs)


def _average_precision(_: Floats, normals: Counts, abnormals: Counts) -> Floats:
    found = np.cumsum(abnormals[:, ::-1], axis=1)[:, ::-1]  # at or above each distinct score
    flagged = found + np.cumsum(normals[:, ::-1], axis=1)[:, ::-1]
    precision = found / np.maximum(flagged, 1)  # none flagged: no recall is gained there either
    both = normals.sum(axis=1) > 0
    return _ratio(np.sum(abnormals * precision, axis=1), abnormals.sum(axis=1) * both)


def _f1(decisions: Floats, normals: Counts, abnormals: Counts) -> Floats:
    hits, alarms = _flagged(decisions, abnormals), _flagged(decisions, normals)
    total = abnormals.sum(axis=1)
    both = (total > 0) & (normals.sum(axis=1) > 0)
    return _ratio(2 * hits, (hits + alarms + total) * both)  # 2 TP + FP + FN = TP + FP + all abnormal


def _detection_rate(decisions: Floats, _: Counts, abnormals: Counts) -> Floats:
    return _ratio(_flagged(decisions, abnormals), abnormals.sum(axis=1))


def _false_alarm_rate(decisions: Floats, normals: Counts, _: Counts) -> Floats:
    return _ratio(_flagged(decisions, normals), normals.sum(axis=1))


def _flagged(decisions: Floats, counts: Counts) -> Floats:
    if not np.isin(decisions, (0, 1)).all():
        raise SettingsError(
            f"decisions must be true or false (1 or 0), got {decisions[:5].tolist()}; threshold the scores"
        )
    return np.asarray(counts @ decisions, dtype=np.float64)


def _ratio(above: npt.NDArray[Any], below: npt.NDArray[Any]) -> Floats:
    """above / below, NaN where below is 0: the metric needs a class that is not there."""
    ratio: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return ratio


_KERNELS: dict[Metric, Kernel] = {
    auroc: _auroc,
    average_precision: _average_precision,
    f1_at: _f1,
    detection_rate: _detection_rate,
    false_alarm_rate: _false_alarm_rate,
}


def _checked(labels: Vector, scores: Vector) -> tuple[npt.NDArray[np.bool_], Floats]:
    abnormal, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if abnormal.ndim != 1 or abnormal.shape != values.shape:
        raise SettingsError(
            f"metrics: labels {abnormal.shape} and scores {values.shape} must be one number per image each"
        )
    if not np.isin(abnormal, (0, 1)).all():
        raise SettingsError("metrics: labels must be true or false (1 abnormal, 0 normal); got other values")
    bad = int(np.count_nonzero(np.isnan(values)))
    if bad:
        raise DataError(
            f"metrics: {bad} of {values.size} scores are NaN; leave out the images that could not be scored"
        )
    return abnormal.astype(bool), values


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise SettingsError(f"metrics: confidence must be between 0 and 1, got {confidence}")
