"""Train one detector of another library and score images with it; run by the Python of .venv-peers (``make peers``).

    .venv-peers/bin/python benchmarks/oneclass/peers/runner.py "PyOD KNN" --data images.npz --out knn.json

images.npz holds `train` (N, H, W) and `test` (M, H, W), uint8, and no labels. The JSON file holds `scores` (M,), higher
being more abnormal, `seconds`, `training_seconds` and `note`; or `error`, if the detector failed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # `benchmarks` is imported from there

from benchmarks.oneclass.peers import ganomaly, pyod_detectors
from benchmarks.oneclass.peers.outcome import Array, Fitted, measure

# (train, seed, minutes) -> the call that trains, everything else being ready
Ready = Callable[[Array, int, float], Callable[[], Fitted]]

DETECTORS: dict[str, Ready] = {
    **{f"PyOD {name}": partial(pyod_detectors.ready, recipe) for name, recipe in pyod_detectors.RECIPES.items()},
    "GANomaly as shipped": ganomaly.shipped,
    "GANomaly in [-1, 1]": ganomaly.reachable,
}
QUICK_MINUTES = 0.02


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # PyOD draws from the global state
    torch.manual_seed(seed)


def result_of(name: str, data: Path, seed: int, minutes: float) -> dict[str, Any]:
    """What is written; whatever a detector raises becomes its error."""
    try:
        with np.load(data) as arrays:
            train, test = arrays["train"], arrays["test"]
        fit = DETECTORS[name](train, seed, minutes)
        _seed(seed)  # after all trials
        return asdict(measure(fit, test))
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, write; 0 also for a detector that failed."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("detector", choices=list(DETECTORS))
    parser.add_argument("--data", type=Path, required=True, metavar="NPZ")
    parser.add_argument("--out", type=Path, required=True, metavar="JSON")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1.0, help="of training, where the detector can be limited")
    parser.add_argument("--quick", action="store_true", help="about one epoch")
    given = parser.parse_args(arguments)
    minutes = QUICK_MINUTES if given.quick else given.minutes
    given.out.write_text(json.dumps(result_of(given.detector, given.data, given.seed, minutes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
