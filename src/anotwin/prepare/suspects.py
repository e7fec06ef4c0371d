"""Which normal images are unlike the other normal images: scores by models that were fitted without them.

Images are cut into folds, whole groups in each: a defect that was photographed twice must not explain itself. A
principal component analysis of the other folds describes brightness and local contrast of an image (`prepare.facts`);
what it cannot describe is the score (squared prediction error: Jackson and Mudholkar, Technometrics 21, 1979). An image
is suspicious where the modified z-score of its logarithm is above 3.5 (Iglewicz and Hoaglin 1993). Whole images are
looked at, reduced: a label that is wrong shows, a defect of a few pixels need not.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.model_selection import GroupKFold

Floats = npt.NDArray[np.float64]

FOLDS, FEWEST = 5, 10  # images below which nothing is said
COMPONENTS, LEARNT_FROM = 32, 4000  # images of a fold's complement at most, evenly spaced
SUSPICIOUS = 3.5  # modified z-score


def cross_fitted(looks: npt.NDArray[np.floating], groups: Sequence[Hashable]) -> Floats:
    """Modified z-scores (n,) of n normal images, higher for those unlike the others; zeros for fewer than 10.

    Args:
        looks: (n, d) descriptions.
        groups: (n,) images that must be in one fold have the same.

    >>> looks = np.random.default_rng(0).normal(size=(60, 20)) * ([10] * 3 + [1] * 17)
    >>> looks[7, 12] = 15
    >>> int(cross_fitted(looks, list(range(60))).argmax())
    7
    """
    numbers: dict[Hashable, int] = {}
    codes = np.array([numbers.setdefault(each, len(numbers)) for each in groups], np.int64)
    count = int(codes.max(initial=-1)) + 1
    if len(looks) < FEWEST or count < FOLDS:
        return np.zeros(len(looks))
    values = np.asarray(looks, np.float64)
    left = np.empty(len(values))
    for rest, fold in GroupKFold(FOLDS).split(values, groups=codes):
        some = rest[:: -(-len(rest) // LEARNT_FROM)]
        most = max(min(COMPONENTS, len(some) // 2, values.shape[1] // 2), 1)
        model = PCA(most, svd_solver="full", random_state=0).fit(values[some])
        left[fold] = np.square(values[fold] - model.inverse_transform(model.transform(values[fold]))).sum(1)
    logs = np.log(left + 1e-9)
    middle = np.median(logs)
    spread = np.median(np.abs(logs - middle))
    found: Floats = 0.6745 * (logs - middle) / max(float(spread), 1e-6)
    return found
