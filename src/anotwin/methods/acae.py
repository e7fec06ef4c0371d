"""aCAE: an adversarial convolutional autoencoder, the AnoGAN paper's learnt comparison.

Paper: Pathak et al., "Context encoders: feature learning by inpainting", 2016 (1604.07379), whose loss the AnoGAN paper
takes over for whole images: reconstruct, and fool a discriminator while doing so.

    encoder E, decoder Dec     counterpart = Dec(E(x)), one pass;  discriminator D, its logit
    objective                  min  l_rec |x - Dec(E(x))|^2 + l_adv softplus(-D(Dec(E(x)))),  l_rec 0.999, l_adv 0.001

Deviations: no mask and no channel-wise fully-connected layer (there is nothing to inpaint); R1 as in `anogan`; the
score is AnoGAN's, with lambda = 0.1.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from anotwin.errors import SettingsError
from anotwin.methods.adversary import adam, optimise, train_discriminator
from anotwin.methods.networks import Critique, Discriminator, Encoder, Generator, critique_of
from anotwin.methods.protocol import Method, device_of, folded, freeze
from anotwin.methods.scoring import anogan_comparison, one_pass
from anotwin.records import Batch, Comparison, Counterpart, ImageSpec
from anotwin.settings import Settings
from anotwin.training.protocol import Backward

RECONSTRUCTION, ADVERSARIAL = 0.999, 0.001  # Pathak et al. section 3.2


class ACAE:
    """See the module. `networks` holds "encoder", "decoder" and "discriminator"."""

    name: ClassVar[str] = "acae"

    def __init__(self, spec: ImageSpec, settings: Settings) -> None:
        if settings.training.adversarial != "gan":
            raise SettingsError(
                f"training.adversarial={settings.training.adversarial}: method acae has its own loss, expected gan"
            )
        self.spec = spec
        self.settings = settings
        self.networks = nn.ModuleDict(
            {
                "discriminator": Discriminator(spec, settings.networks),
                "encoder": Encoder(spec, settings.networks),
                "decoder": Generator(spec, settings.networks),
            }
        )
        freeze(self.networks)

    def trainer(self) -> ACAETrainer:
        return ACAETrainer(self)

    def for_inference(self) -> Method:
        return folded(self)

    def counterpart(self, batch: Batch) -> Counterpart:
        return one_pass(batch.images.to(device_of(self.networks)), self.networks["encoder"], self.networks["decoder"])

    def compare(self, queries: torch.Tensor, counterpart: Counterpart) -> Comparison:
        return anogan_comparison(self.networks, queries, counterpart.images, self.settings)

    def critique(self, images: torch.Tensor) -> Critique:
        return critique_of(self.networks, images)


class ACAETrainer:
    """D on logits as in `anogan`; E and Dec together by reconstruction and D's logits."""

    def __init__(self, method: ACAE) -> None:
        self.settings = settings = method.settings.training
        self.networks = method.networks.train().requires_grad_(True)
        coder = nn.ModuleDict({name: self.networks[name] for name in ("encoder", "decoder")})
        self.optimizers = {
            "coder": adam(coder, settings),
            "discriminator": adam(self.networks["discriminator"], settings),
        }

    def _reconstruct(self, images: torch.Tensor) -> torch.Tensor:
        return self.networks["decoder"](self.networks["encoder"](images))  # type: ignore[no-any-return]

    def step(self, batch: Batch, step: int, rng: torch.Generator, backward: Backward) -> dict[str, torch.Tensor]:
        del rng  # nothing random inside a step
        images, settings, d = batch.images, self.settings, self.networks["discriminator"]

        # D: min softplus(-D(x)) + softplus(D(Dec(E(x)))), lazily + gamma/2 |grad_x D(x)|^2
        fakes, adam_d = self._reconstruct(images), self.optimizers["discriminator"]
        logged, loss_adv = train_discriminator(d, adam_d, images, fakes, step, settings, backward)

        # E, Dec: min l_rec |x - Dec(E(x))|^2 + l_adv softplus(-D(Dec(E(x)))), D as it was before its step
        loss_rec = (images - fakes).square().mean()
        optimise(self.optimizers["coder"], RECONSTRUCTION * loss_rec + ADVERSARIAL * loss_adv, backward)
        return logged | {"loss_rec": loss_rec.detach(), "loss_g": loss_adv.detach()}

    def preview(self, batch: Batch) -> torch.Tensor:
        self.networks.eval()
        with torch.no_grad():
            reconstructions = self._reconstruct(batch.images)
        self.networks.train()
        return reconstructions
