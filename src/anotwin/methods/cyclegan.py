"""cyclegan: abnormal images are translated into normal ones, from a folder of each and no annotation.

Paper: Zhu et al., "Unpaired image-to-image translation using cycle-consistent adversarial networks", 2017 (1703.10593).
Training is that of translation/cyclegan.py, which names its deviations, with A = abnormal and B = normal squares.

    counterpart            c = G(x),  G: A -> B; a normal x stays as it is by the identity loss |G(b) - b|
    discriminator          D = D_B, of normal squares, its features f from `networks.feature_layer`'s block
    score of a square      heat = |x - c| / 2, smoothed; R = mean of its 100 hottest pixels; D = mean |f(x) - f(c)|
                           A = (1 - lambda) R + lambda D, AnoGAN's (1703.05921, eq. 6), lambda = 0.1

Deviations: the paper scores nothing. R is of the hottest pixels instead of all, because G draws every pixel anew and
what it adds everywhere would hide a small defect; D is a mean, so that lambda means the same for squares of any size.
"""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import nn

from anotwin.compare.heatmap import heatmap
from anotwin.compare.score import comparison
from anotwin.compare.side_by_side import hottest
from anotwin.compare.terms import anomaly_score
from anotwin.errors import SettingsError
from anotwin.methods.networks import Critique, feature_block
from anotwin.methods.protocol import NO_ABNORMAL, Method, device_of, freeze
from anotwin.methods.restoring import in_eights
from anotwin.methods.scoring import one_pass
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.search.inference import FoldedNetwork
from anotwin.seeding import drawing_weights
from anotwin.settings import Settings
from anotwin.training.protocol import Backward
from anotwin.translation import cyclegan
from anotwin.translation.networks import Judgement, PatchGAN, ResNet
from anotwin.translation.protocol import Examples, TranslationSpec


class CycleGAN:
    """See the module. `networks` holds "generator" (G) and "discriminator" (D)."""

    name: ClassVar[str] = "cyclegan"
    fewest_abnormal: ClassVar[int] = 2

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        self.spec, self.settings = spec, settings
        base, channels, own = settings.networks.width_for(spec.parts), spec.channels, settings.translation
        d = PatchGAN(channels, base, own.patch, spec.size)
        self.feature_block = feature_block(len(d.blocks), settings.networks.feature_layer)
        self.networks = nn.ModuleDict({"generator": ResNet(channels, channels, base), "discriminator": d})
        freeze(self.networks)

    def trainer(self) -> CycleGANTrainer:
        return CycleGANTrainer(self)

    def for_inference(self) -> Method:
        """Folded in float32: G draws every pixel, and f is a difference of two that are alike."""
        fast = copy.copy(self)
        fast.networks = nn.ModuleDict(
            {name: FoldedNetwork(each, torch.float32) for name, each in self.networks.items()}
        )
        freeze(fast.networks)
        return fast

    def counterpart(self, batch: Batch) -> Counterpart:
        images = batch.images.to(device_of(self.networks))
        return one_pass(images, lambda x: in_eights(self.networks["generator"], x), lambda c: c)

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        counterparts = counterpart.images
        queries, settings = queries.to(counterparts.device), self.settings
        (logits, features), of_counterparts = self.critique(queries), self.critique(counterparts).features
        heat = heatmap(queries - counterparts, settings.compare.heatmap_sigma)
        residual, discrimination = hottest(heat), (features - of_counterparts).abs().mean(1)
        return comparison(
            queries,
            counterparts,
            residual=residual,
            discrimination=discrimination,
            total=anomaly_score(residual, discrimination, settings.search.discrimination_weight),
            query_logits=logits,
            settings=settings.compare,
            heat=heat,
        )

    def critique(self, images: torch.Tensor) -> Critique:
        """Mean logits of patches, and the maps of a block, flattened."""
        images = images.to(device_of(self.networks))
        return in_eights(lambda part: self._critique(self.networks["discriminator"](part)), images)  # type: ignore[no-any-return]

    def _critique(self, found: Judgement) -> Critique:
        return Critique(found.logits.mean((1, 2, 3)), found.maps[self.feature_block].float().flatten(1))


class CycleGANTrainer:
    """The translation's trainer, whose moving average of G and whose D_B are the method's."""

    def __init__(self, method: CycleGAN) -> None:
        spec, settings = method.spec, method.settings
        with drawing_weights(settings.training.seed, "weights of training"):
            both_ways = cyclegan.CycleGAN(TranslationSpec(spec, spec, aligned=False), settings)
            both_ways.networks["AtoB"] = method.networks["generator"]
            self.trainer = cyclegan.CycleGANTrainer(both_ways)
        method.networks["discriminator"] = self.trainer.discriminators["B"]
        self.networks, self.optimizers = self.trainer.networks, self.trainer.optimizers

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        return self.trainer.step(Examples(abnormal_of(batch), batch.images), step, rng, backward)

    def preview(self, batch: Batch) -> torch.Tensor:
        """Abnormal squares, as many as half of the batch, and below the counterparts of the same."""
        abnormal = abnormal_of(batch)[: (len(batch) + 1) // 2]
        with torch.no_grad():  # the average is always in evaluation mode
            return torch.cat([abnormal, self.trainer.averages["AtoB"](abnormal)])[: len(batch)]


def abnormal_of(batch: Batch) -> torch.Tensor:
    """The abnormal squares of a training batch; raises SettingsError where it has none."""
    if batch.abnormal is None:
        raise SettingsError(NO_ABNORMAL.format(method=CycleGAN.name))
    return batch.abnormal
