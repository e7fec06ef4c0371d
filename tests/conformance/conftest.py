"""One short real training a method, shared by the whole suite."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from short_training import SIDE, TRAINED

from anotwin import Detector, Settings
from anotwin.data.synthetic import plant_blob, textured_discs
from anotwin.methods.registry import METHODS

SINGLE = sorted(name for name, kind in METHODS.items() if not hasattr(kind, "looks_back"))  # take images one by one


@pytest.fixture(params=SINGLE)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@cache
def trained(name: str) -> Detector:
    """A method trained for seconds on grey discs of 16 pixels; once, however many tests ask for it."""
    normals, _ = textured_discs(400, size=SIDE, seed=0)
    abnormal, _ = plant_blob(textured_discs(400, size=SIDE, seed=3)[0], seed=4)
    return Detector.train(
        normals,
        method=name,
        settings=Settings().with_overrides(TRAINED),
        abnormal_images=abnormal if hasattr(METHODS[name], "fewest_abnormal") else None,
        device="cpu",
    )


@pytest.fixture
def detector(name: str) -> Detector:
    return trained(name)


@pytest.fixture(scope="session")
def unseen() -> np.ndarray:
    """40 normal images that no training saw."""
    return textured_discs(40, size=SIDE, seed=1)[0]


@pytest.fixture(scope="session")
def planted(unseen: np.ndarray) -> np.ndarray:
    """The same with a blob each."""
    return plant_blob(unseen, seed=2)[0]
