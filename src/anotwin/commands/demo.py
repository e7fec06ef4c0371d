"""`anotwin demo`: train, calibrate, score and evaluate on scikit-learn's digits, or on MNIST where it is found.

Normal is the digit 0, and the model is trained on zeros alone. Sizes are chosen for three minutes on two cores.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits

from anotwin.commands.evaluating import evaluate
from anotwin.commands.scoring import score_folder
from anotwin.data.idx import find_idx
from anotwin.detector import Detector
from anotwin.domains.open import open_source
from anotwin.lock import one_writer
from anotwin.report.overlay import save_png
from anotwin.seeding import derive
from anotwin.settings import Settings
from anotwin.updates import Update, Watch, tell

SCORED = 24  # images that get a row in scores.csv, half of them zeros
EVALUATED = {"digits": None, "mnist": 1000}
SMALL = {  # settings for three minutes
    "digits": ["training.steps=1500", "networks.base_channels=16", "calibration.false_alarm_rate=0.05"],
    "mnist": ["training.steps=1000", "networks.base_channels=16"],
}


def run_demo(data: Path | None, out: Path, watch: Watch) -> dict[str, Any]:
    """Train, calibrate, score and evaluate below `out`; {"what", "numbers"} for the closing table.

    `data` is a folder with MNIST's idx files, or "digits" for scikit-learn's digits even where MNIST is found.
    """
    with one_writer(out, lambda note: tell(watch, [note]), below=["data", "queries"]):
        return _run(data, out, watch)


def _run(data: Path | None, out: Path, watch: Watch) -> dict[str, Any]:
    mnist = None if data == Path("digits") else data or find_mnist()
    kind = "mnist" if mnist else "digits"
    what = "MNIST, normal = 0" if mnist else "handwritten digits of scikit-learn (8 x 8), normal = 0"
    watch(Update("note", detail=f"{what}: {mnist or 'bundled, no download'}"))
    root = Path(mnist) if mnist else write_digits(out / "data")
    settings = Settings().with_overrides([*SMALL[kind], 'data.normal="0"'])
    detector = Detector.train(root, out / "model", settings=settings, watch=watch)
    source = open_source(root, "test", "auto", "0")
    few = out / "queries"
    shutil.rmtree(few, ignore_errors=True)
    for index in _pick(source, SCORED):
        save_png(source.read(index), few / f"{source.items[index].label}" / f"{Path(source.items[index].id).stem}.png")
    score_folder(detector, few, out / "scores", layout="folder", pictures=True, watch=watch)
    shutil.copyfile(out / "scores" / "figure.png", out / "figure.png")
    numbers = evaluate(detector, root, out / "evaluation", limit=EVALUATED[kind], watch=watch)
    return {"what": what, "numbers": numbers}


def find_mnist() -> Path | None:
    """MNIST's idx files in ANOTWIN_DATA or ../shared/data, if they are there."""
    for place in (os.environ.get("ANOTWIN_DATA"), "../shared/data"):
        for root in (Path(place), Path(place, "MNIST")) if place else ():
            if root.is_dir() and find_idx(root, "train"):
                return root
    return None


def write_digits(folder: Path) -> Path:
    """scikit-learn's digits as PNG files: train/0 (143 zeros), test/0 (every fifth, 35), test/1 to test/9 (50 each).

    Every fifth, because they are in the order of their writers: the last zeros are not like the first, and no threshold
    would hold for them.
    """
    digits = load_digits()
    seen: Counter[int] = Counter()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        seen[label] += 1
        if label != 0 and seen[label] > 50:
            continue  # enough for a demo of three minutes
        part = "train" if label == 0 and seen[label] % 5 else "test"
        image = np.round(pixels * (255 / 16)).astype(np.uint8)
        save_png(image, folder / part / str(label) / f"{number:04d}.png")
    return folder


def _pick(source: Any, count: int) -> list[int]:
    order = np.random.default_rng(derive(0, "demo")).permutation(len(source.items)).tolist()
    normal = [index for index in order if source.items[index].normal][: count // 2]
    return normal + [index for index in order if not source.items[index].normal][: count - len(normal)]
