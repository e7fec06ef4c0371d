"""Train one detector of another library and score images with it; run by the Python of .venv-peers (``make peers``).

    .venv-peers/bin/python benchmarks/surfaces/peers/runner.py patchcore --data images.npz --out scores.npz

images.npz holds normal images ``train000000`` ... and images to score, ``test000000`` ..., each (H, W) or (H, W, 3)
uint8, and no labels. scores.npz holds `scores` (M,), higher being more abnormal, maps ``map000000`` ... (H, W) in the
pixels of the images (of a detector that has them), `training_seconds`, `seconds` and `note`.
"""

from __future__ import annotations

import argparse
import random
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))  # `benchmarks` is imported from there

from benchmarks.surfaces.peers.outcome import load_task, save

DETECTORS = ("patchcore", "ganomaly", "draem")  # modules beside this one, with `run`


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("detector", choices=DETECTORS)
    parser.add_argument("--data", type=Path, required=True, metavar="NPZ")
    parser.add_argument("--out", type=Path, required=True, metavar="NPZ")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1.0, help="of training, where the detector can be limited")
    given = parser.parse_args(arguments)
    random.seed(given.seed)
    np.random.seed(given.seed)  # noqa: NPY002  # other libraries draw from the global state
    torch.manual_seed(given.seed)
    module = import_module(f"benchmarks.surfaces.peers.{given.detector}")
    save(given.out, module.run(load_task(given.data, given.seed, given.minutes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
