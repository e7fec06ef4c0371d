"""Whether the generator is good, measured on normals that it was not trained on.

Three numbers, each by nearest neighbours among pixels of equally many samples S, held-out normals H and training
normals T, and each divided by what real images would get, so that 1 is as good as real:

    diversity   mean distance between two samples / the same between two held-out normals        collapse: near 0
    coverage    share of H that has a sample inside its 5-nearest-neighbour ball (Naeem et al. 2020, "Reliable
                fidelity and diversity metrics", eq. 11) / the same share for T in place of S      gaps: low
    copying     median distance of a sample to T / median distance of a held-out normal to T     memorised: near 0
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from sklearn.neighbors import NearestNeighbors

from anotwin.methods.protocol import Method, Samples
from anotwin.training.protocol import TrainingSet

NEIGHBOURS = 5
MOST = 1000  # images of each kind: enough for an estimate, and fast
FEWEST = 20  # held-out normals below which neighbours mean nothing
ADVICE = {
    "collapsed": "the generator has collapsed: its samples differ from each other only {diversity:.0%} as much as "
    "normal images do, so many normals will find no counterpart; train again with another training.seed or a larger "
    "training.r1_gamma",
    "gaps": "the generator covers only {coverage:.0%} of what real images cover of the held-out normals: rarer kinds "
    "of normal will look anomalous; train longer (training.steps) or wider (networks.base_channels), or add images",
    "copies": "the generator repeats training images (a sample is {copying:.0%} as far from them as an unseen normal "
    "is): add images or train for fewer steps",
    "good": "the generator is healthy: diversity {diversity:.0%} and coverage {coverage:.0%} of what real images reach",
}

Matrix = npt.NDArray[np.float32]
Verdict = Literal["good", "collapsed", "gaps", "copies", "unknown"]


@dataclass(frozen=True)
class Health:
    """A verdict and the numbers that it follows from."""

    verdict: Verdict
    diversity: float | None
    coverage: float | None
    copying: float | None
    advice: str


def examine(samples: Matrix, heldout: Matrix, training: Matrix) -> Health:
    """The health of samples, given held-out and training normals: flattened images (n, P) each, on any one scale.

    As many rows as the shortest has are used. Fewer than 20 rows: the verdict is "unknown".
    """
    count = min(len(samples), len(heldout), len(training))
    if count < FEWEST:
        why = f"only {count} held-out normals: too few to assess the generator (20 are needed); see the sample grids"
        return Health("unknown", None, None, None, why)
    samples, heldout, training = samples[:count], heldout[:count], training[:count]
    diversity = _spread(samples) / max(_spread(heldout), 1e-12)
    coverage = min(1.0, _covered(heldout, samples) / max(_covered(heldout, training), 1e-12))
    copying = _nearest(samples, training) / max(_nearest(heldout, training), 1e-12)
    verdict: Verdict
    verdict = "collapsed" if diversity < 0.5 else "gaps" if coverage < 0.6 else "copies" if copying < 0.5 else "good"
    advice = ADVICE[verdict].format(diversity=diversity, coverage=coverage, copying=copying)
    return Health(verdict, diversity, coverage, copying, advice)


def examine_method(method: Method, heldout: TrainingSet, training: TrainingSet) -> Health:
    """`examine` for a method's samples beside up to 1,000 images of each kind."""
    if not isinstance(method, Samples):
        return Health("unknown", None, None, None, f"method {method.name} draws no samples: nothing to examine")
    count = min(len(training), len(heldout), MOST)
    samples = method.sample(count, seed=0)
    real = [images.batch(np.arange(count)).images.flatten(1).numpy() for images in (heldout, training)]
    return examine(samples.float().cpu().flatten(1).numpy(), *real)


def _spread(images: Matrix) -> float:
    """Mean distance between two of them, estimated from ten shifts: cheap and unbiased."""
    shifts = range(1, min(len(images), 11))
    return float(np.mean([np.linalg.norm(images - np.roll(images, shift, axis=0), axis=1).mean() for shift in shifts]))


def _covered(real: Matrix, generated: Matrix) -> float:
    radii = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(real).kneighbors(real)[0][:, -1]  # the first is itself
    nearest = NearestNeighbors(n_neighbors=1).fit(generated).kneighbors(real)[0][:, 0]
    return float((nearest <= radii).mean())


def _nearest(images: Matrix, others: Matrix) -> float:
    return float(np.median(NearestNeighbors(n_neighbors=1).fit(others).kneighbors(images)[0][:, 0]))
