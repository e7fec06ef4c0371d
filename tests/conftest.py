"""What many tests share: one thread, so that numbers are exact; images on disk; two small trained models."""

from pathlib import Path

import numpy as np
import pytest
import torch

from quick import good, normals, queries, sets, write

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def normal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 normal images in a flat folder; not to be written to."""
    return write(tmp_path_factory.mktemp("data") / "normals", normals())


@pytest.fixture(scope="session")
def query_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """4 unseen normals in good/ and 4 abnormal images in bad/; not to be written to."""
    folder = tmp_path_factory.mktemp("data") / "queries"
    write(folder / "good", queries(abnormal=False))
    write(folder / "bad", queries())
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, normal_folder: Path) -> Path:
    """A calibrated model of `normal_folder`, of the default method; not to be written to."""
    folder = tmp_path_factory.mktemp("models") / "model"
    good("train", normal_folder, "--out", folder, *sets())
    return folder


@pytest.fixture(scope="session")
def searching_model(tmp_path_factory: pytest.TempPathFactory, normal_folder: Path) -> Path:
    """A calibrated AnoGAN of `normal_folder`, for tests about the search; not to be written to."""
    folder = tmp_path_factory.mktemp("models") / "searching"
    good("train", normal_folder, "--out", folder, "--method", "anogan", *sets())
    return folder


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
