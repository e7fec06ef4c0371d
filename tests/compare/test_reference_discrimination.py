"""GAN_R: the score is the loss that was searched with, A(x) = L(z*), for both discrimination losses."""

from __future__ import annotations

import pytest
import torch

from anotwin.compare.features import reference_score
from anotwin.methods.registry import create
from anotwin.records import Batch, ImageSpec
from anotwin.run.batch import score_batch
from anotwin.settings import Settings


@pytest.mark.parametrize("discrimination", ["feature_matching", "sigmoid"])
def test_the_score_is_the_loss_of_the_search(discrimination: str) -> None:
    torch.manual_seed(0)
    settings = Settings().with_overrides(
        [f"search.discrimination={discrimination}", "search.steps=3", "networks.base_channels=4"]
    )
    method = create("anogan", ImageSpec(channels=1, size=16), settings)
    batch = Batch(torch.rand(3, 1, 16, 16) * 2 - 1, (1, 2, 3))
    counterpart, comparison = score_batch(method, batch)
    torch.testing.assert_close(comparison.anomaly, counterpart.losses["total"])
    torch.testing.assert_close(comparison.discrimination, counterpart.losses["discrimination"])


def test_the_reference_score_is_the_cross_entropy_with_real() -> None:
    logits = torch.tensor([-30.0, -1.0, 0.0, 2.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, torch.ones(4), reduction="none")
    torch.testing.assert_close(reference_score(logits), expected)
