"""Where there is a GPU: every method and every domain train and score there, and the model is one for a CPU too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from domain_cases import CASES
from domain_cases import TRAINED as DOMAIN_TRAINED
from scipy.stats import spearmanr
from short_training import SIDE, TRAINED
from test_translators import METHODS as TRANSLATORS
from test_translators import data
from test_translators import settings as translation_settings

from anotwin import Detector, Settings, Translator
from anotwin.data.synthetic import plant_blob, textured_discs
from anotwin.domains import registry
from anotwin.methods.registry import METHODS

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", sorted(name for name, kind in METHODS.items() if not hasattr(kind, "looks_back")))
def test_methods_train_and_score_on_a_gpu(name: str, tmp_path: Path) -> None:
    normals, _ = textured_discs(400, size=SIDE, seed=0)
    unseen, _ = textured_discs(40, size=SIDE, seed=1)
    planted, _ = plant_blob(unseen, seed=2)
    abnormal = plant_blob(textured_discs(400, size=SIDE, seed=3)[0], seed=4)[0]
    given = abnormal if hasattr(METHODS[name], "fewest_abnormal") else None
    settings = Settings().with_overrides(TRAINED)
    trained = Detector.train(
        normals, tmp_path / "model", method=name, settings=settings, abnormal_images=given, device="cuda"
    )
    assert {value.device.type for value in trained.method.networks.state_dict().values()} == {"cuda"}
    queries = np.concatenate([unseen, planted])
    found = trained.score(queries)
    loaded = Detector.load(tmp_path / "model", "cuda")
    for again in (trained.score(queries), loaded.score(queries), [loaded.score(each[None])[0] for each in queries]):
        assert [each.score for each in again] == [each.score for each in found]
        assert all(np.array_equal(one.heatmap, other.heatmap) for one, other in zip(again, found, strict=True))
    elsewhere = Detector.load(tmp_path / "model", "cpu").score(queries)
    for one, other in zip(found, elsewhere, strict=True):
        assert one.counterpart.shape == other.counterpart.shape
        assert np.isfinite(one.heatmap).all()
    rank = spearmanr([each.score for each in found], [each.score for each in elsewhere]).statistic
    assert rank > 0.9, f"scores on a GPU and on a CPU: {rank:.3f}"
    scores = np.array([each.score for each in found])
    assert scores[40:].mean() > scores[:40].mean()
    if hasattr(trained.method, "sample"):
        assert trained.sample(3).shape[0] == 3


@pytest.mark.parametrize("name", sorted(name for name in CASES if name != "strips"))
def test_domains_train_and_score_on_a_gpu(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    assert case.domain in registry.DOMAINS
    root, folder = case.write(tmp_path / "data"), tmp_path / "model"
    settings = Settings().with_overrides([*DOMAIN_TRAINED, *case.settings, f"data.normal={case.normal}"])
    on_gpu = Detector.train(root, folder, settings=settings, device="cuda").score(root)
    on_cpu = Detector.load(folder, "cpu").score(root)
    assert [each.id for each in on_gpu] == [each.id for each in on_cpu]
    both = np.array([[one.score, other.score] for one, other in zip(on_gpu, on_cpu, strict=True)])
    known = np.isfinite(both).all(1)
    assert known.sum() > 10
    assert spearmanr(*both[known].T).statistic > 0.9


@pytest.mark.parametrize("name", sorted(TRANSLATORS))
def test_translators_train_and_translate_on_a_gpu(name: str, tmp_path: Path) -> None:
    trained = Translator.train(data(name), tmp_path / "m", method=name, settings=translation_settings(), device="cuda")
    elsewhere = Translator.load(tmp_path / "m", "cpu")
    image = textured_discs(2, size=40, seed=9)[0][0]
    for direction in trained.method.directions:
        one, other = (each.translate(image, direction).astype(float) for each in (trained, elsewhere))
        assert np.abs(one - other).mean() < 2  # of 255
    parts = Translator.train(  # a run that is finished is taken up again
        data(name), tmp_path / "m", method=name, settings=translation_settings(), device="cuda", resume=True
    )
    for key, value in parts.method.networks.state_dict().items():
        assert torch.equal(value, trained.method.networks.state_dict()[key])
