"""Measures against scikit-image and brute force; what is chosen by prefers the truth, and the sharper of two."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import wasserstein_distance
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from anotwin.records import ImageSpec
from anotwin.settings import Settings
from anotwin.translation.health import correlation, examine
from anotwin.translation.protocol import Examples, TranslationSpec
from anotwin.translation.quality import Judged, judge, spread, statistics_distance


class Fixed:
    """Translates by a function."""

    directions = ("AtoB", "BtoA")

    settings = Settings()

    def __init__(self, there: Any, back: Any = None, aligned: bool = True, classes: tuple[int, ...] = ()) -> None:
        self.spec = TranslationSpec(ImageSpec(1, 16), ImageSpec(1, 16, classes=classes), aligned)
        self.ways = {"AtoB": there, "BtoA": back}

    def translate(
        self, images: torch.Tensor, direction: str, _seed: int = 0, _at: tuple[int, int] = (0, 0)
    ) -> torch.Tensor:
        return self.ways[direction](images)


def texture(count: int, seed: int, side: int = 32) -> torch.Tensor:
    rough = torch.randn(count, 1, side, side, generator=torch.Generator().manual_seed(seed))
    return F.avg_pool2d(rough, 3, 1, 1).clamp(-1, 1)


def judged(made: torch.Tensor, b: torch.Tensor, a: torch.Tensor | None = None, **more: Any) -> Judged:
    return judge(Fixed(lambda part: made[: len(part)], **more), Examples(b if a is None else a, b))  # type: ignore[arg-type]


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    b, made = texture(5, 0), texture(5, 1)
    values = judged(made, b).values
    pairs = list(zip(b[:, 0].numpy(), made[:, 0].numpy(), strict=True))
    assert values["psnr"] == pytest.approx(np.mean([peak_signal_noise_ratio(x, y, data_range=2) for x, y in pairs]))
    assert values["ssim"] == pytest.approx(np.mean([structural_similarity(x, y, data_range=2) for x, y in pairs]))
    assert values["l1"] == pytest.approx(float((b - made).abs().mean()) / 2)
    assert values["error"] == pytest.approx(values["l1"] + 0.1 * values["statistics"])


def test_the_truth_is_without_error() -> None:
    b = texture(5, 0)
    values = judged(b, b).values
    assert values["error"] == values["statistics"] == values["l1"] == 0
    assert values["ssim"] == pytest.approx(1)
    assert values["spread"] == pytest.approx(1)


def test_of_two_as_near_to_the_truth_the_sharper_has_less_error() -> None:
    b = texture(8, 0)
    blurred = F.avg_pool2d(b, 5, 1, 2)
    away = (blurred - b).abs().mean()
    other = texture(8, 5) - b
    sharp = b + other * (away / other.abs().mean())  # as far from the truth, but with all its detail
    soft, crisp = judged(blurred, b).values, judged(sharp, b).values
    assert soft["l1"] == pytest.approx(crisp["l1"], rel=1e-4)
    assert crisp["error"] < soft["error"]


def test_without_a_discriminator_nearness_alone_chooses() -> None:
    b = texture(8, 0)
    method = Fixed(lambda x: F.avg_pool2d(x, 5, 1, 2))
    method.settings = Settings().with_overrides(["translation.adversarial=false"])
    values = judge(method, Examples(b, b)).values  # type: ignore[arg-type]
    assert values["error"] == values["l1"] > 0


def test_the_distance_of_grey_values_is_wasserstein_over_the_spread() -> None:
    random = np.random.default_rng(0)
    x, y = (
        torch.from_numpy(each.reshape(-1, 1, 1, 1).astype(np.float32))
        for each in (random.random(999), random.beta(2, 5, 999))
    )
    found = statistics_distance(x, y)  # a single pixel has no detail
    values = (x.flatten().numpy() / 2, y.flatten().numpy() / 2)
    unit = np.abs(values[1] - values[1].mean()).mean()
    assert found == pytest.approx(wasserstein_distance(*values) / unit, rel=0.02)  # by 128 quantiles


def test_label_maps_by_brute_force() -> None:
    random = np.random.default_rng(0)
    b, made = (random.choice([0, 30, 70], (6, 1, 16, 16)) for _ in range(2))
    b_values, made_values = (torch.from_numpy(2 * each / 255 - 1).float() for each in (b, made))
    values = judged(made_values, b_values, classes=(0, 30, 70, 99)).values  # 99 occurs in neither
    dice = [2 * ((made == k) & (b == k)).sum() / ((made == k).sum() + (b == k).sum()) for k in (0, 30, 70)]
    assert values["dice"] == pytest.approx(np.mean(dice))
    assert values["accuracy"] == pytest.approx((made == b).mean())
    assert values["error"] == pytest.approx(1 - np.mean(dice))


def test_without_pairs_the_way_there_and_back_counts() -> None:
    a, b = texture(6, 0), -texture(6, 1).abs()
    perfect = judge(Fixed(lambda x: x, lambda x: x + 0.2, aligned=False), Examples(a, a))  # type: ignore[arg-type]
    assert perfect.values["cycle"] == pytest.approx(0.1, abs=1e-5)
    copying = judge(Fixed(lambda x: x, lambda x: x, aligned=False), Examples(a, b))  # type: ignore[arg-type]
    assert copying.values["cycle"] == 0
    assert copying.values["error"] == copying.values["statistics"] > 0.3  # nothing is translated
    assert copying.columns == 6


def test_pictures_are_rows_of_input_translation_and_target() -> None:
    b, a = texture(9, 0), texture(9, 1, side=16)
    found = judged(texture(9, 2), b, a)
    assert found.columns == 3
    assert found.pictures.shape == (18, 1, 32, 32)
    assert torch.equal(found.pictures[2], b[0])
    assert torch.equal(found.pictures[3], a[1].repeat_interleave(2, 1).repeat_interleave(2, 2))


def test_spread_is_the_mean_difference_of_two_images() -> None:
    images = texture(4, 0)
    pairs = [(images[i] - images[j]).abs().mean() / 2 for i in range(4) for j in range(4) if i != j]
    assert spread(images) == pytest.approx(float(torch.stack(pairs).mean()))
    assert spread(images[:1]) == 0


def test_health_says_collapsed_inverted_or_good() -> None:
    a = texture(8, 0)
    b = (a + 0.3 * texture(8, 1)).clamp(-1, 1)
    examples = Examples(a, b)
    same = judged(b[:1].expand(8, -1, -1, -1), b, a)
    assert examine(examples, same, aligned=True).verdict == "collapsed"
    inverted = examine(examples, judged(-b, b, a), aligned=True)
    assert inverted.verdict == "inverted"
    assert "colours look inverted" in inverted.advice
    assert examine(examples, judged(b, b, a), aligned=True).verdict == "good"
    meant = Examples(a, -a)
    assert examine(meant, judged(-a, -a, a), aligned=True).verdict == "good"  # B is dark where A is bright
    unpaired = judge(Fixed(lambda x: -x, lambda x: -x, aligned=False), meant)  # type: ignore[arg-type]
    assert examine(meant, unpaired, aligned=False).verdict == "inverted"  # nobody knows: said
    few = Examples(a[:3], b[:3])
    assert examine(few, judged(b, b[:3], a[:3]), aligned=True).verdict == "unknown"


def test_correlation_is_that_of_each_pair_of_images() -> None:
    a, b = texture(5, 0), texture(5, 1)
    pairs = [np.corrcoef(x.flatten(), y.flatten())[0, 1] for x, y in zip(a.numpy(), b.numpy(), strict=True)]
    assert correlation(a, b) == pytest.approx(np.mean(pairs), abs=1e-5)
    assert correlation(a, torch.zeros_like(a)) == 0
