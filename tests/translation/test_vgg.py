"""VGG's features beside the same layers one by one; the loss of SRGAN on them; what is said of wrong files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from anotwin import SettingsError, Translator
from anotwin.records import ImageSpec
from anotwin.seeding import generator
from anotwin.settings import Settings
from anotwin.translation.protocol import Examples, TranslationSpec
from anotwin.translation.srgan import SRGAN, SRGANTrainer
from anotwin.translation.vgg import VGG, load_vgg, vgg_loss


def narrow_vgg() -> nn.Sequential:
    """Laid out as torchvision's: convolution, ReLU, convolution, ReLU, pooling, and so on."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, width, last in ((3, 4, False), (4, 4, True), (4, 6, True), (6, 5, False), (5, 5, False)):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
        layers += [nn.MaxPool2d(2, 2)] if last else []
    return nn.Sequential(*layers)


def tensors(network: nn.Sequential) -> dict[str, torch.Tensor]:
    named = {f"features.{name}": tensor.clone() for name, tensor in network.state_dict().items()}
    return named | {"classifier.0.weight": torch.zeros(2, 2)}


def images(channels: int, side: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.rand(2, channels, side, side, generator=generator(seed, "images", channels)) * 2 - 1


@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_the_layers_one_by_one(channels: int, tmp_path: Path) -> None:
    network = narrow_vgg()
    save_file(tensors(network), tmp_path / "vgg.safetensors")
    x = images(channels)
    pixels = (x.expand(-1, 3, -1, -1) + 1) / 2
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = network((pixels - mean) / std) / 12.75
    found = load_vgg(tmp_path / "vgg.safetensors")(x)
    assert found.shape == (2, 5, 8, 8)
    torch.testing.assert_close(found, expected)


def trainer_with(path: Path) -> tuple[SRGANTrainer, Examples]:
    save_file(tensors(narrow_vgg()), path)
    spec = TranslationSpec(ImageSpec(3, 16), ImageSpec(3, 32), aligned=True)
    small = ["networks.base_channels=4", "training.steps=4", "translation.patch=16", "translation.factor=2"]
    method = SRGAN(spec, Settings().with_overrides([*small, f"translation.vgg={path}"]))
    return SRGANTrainer(method), Examples(images(3, 16), images(3, 32))


def test_srgan_minimises_the_distance_of_vgg_features(tmp_path: Path) -> None:
    trainer, batch = trainer_with(tmp_path / "vgg.safetensors")
    assert trainer.vgg is not None
    made = trainer.networks["generator"](batch.a)
    expected = F.mse_loss(trainer.vgg(made), trainer.vgg(batch.b))
    logged = trainer.step(batch, 2, generator(0, "step"), lambda loss: loss.backward())
    torch.testing.assert_close(logged["loss_phi"], expected.detach())
    assert all(each.grad is None for each in trainer.vgg.parameters())
    assert not any("vgg" in name for name in trainer.networks.state_dict()), "no part of snapshots"


def test_the_gradient_of_vgg_features_reaches_the_generator(tmp_path: Path) -> None:
    trainer, batch = trainer_with(tmp_path / "vgg.safetensors")
    assert trainer.vgg is not None
    vgg_loss(trainer.vgg, trainer.networks["generator"](batch.a), batch.b).backward()
    assert any(
        bool(each.grad.abs().sum() > 0) for each in trainer.networks["generator"].parameters() if each.grad is not None
    )


def test_a_model_trained_with_vgg_translates_where_its_file_is_gone(tmp_path: Path) -> None:
    weights = tmp_path / "vgg.safetensors"
    save_file(tensors(narrow_vgg()), weights)
    pictures = [(images(3, 64, seed)[0].permute(1, 2, 0).numpy() * 127 + 128).astype("uint8") for seed in range(4)]
    small = ["networks.base_channels=4", "training.steps=2", "training.batch_size=2", "data.image_size=32"]
    settings = Settings().with_overrides([*small, f"translation.vgg={weights}", "translation.factor=2"])
    model = tmp_path / "model"
    Translator.train(pictures, model, method="srgan", layout="folder", settings=settings).save(model)
    weights.unlink()
    assert Translator.load(model).translate(pictures[0]).shape == (128, 128, 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda named: {"classifier.0.weight": named["classifier.0.weight"]}, "expected the convolutions of a VGG"),
        (lambda named: {**named, "features.2.weight": torch.zeros(4, 5, 3, 3)}, "features.2 is"),
        (lambda named: {name: each for name, each in named.items() if name != "features.0.bias"}, "and a bias"),
        (lambda named: {name.replace("features.", "blocks."): each for name, each in named.items()}, "VGG-11"),
    ],
)
def test_other_networks_are_refused_by_name(change: object, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        VGG(change(tensors(narrow_vgg())), "file")  # type: ignore[operator]


def test_pickles_missing_files_and_broken_ones_are_refused_with_what_to_do(tmp_path: Path) -> None:
    torch.save(tensors(narrow_vgg()), tmp_path / "vgg.pth")
    (tmp_path / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    for name, said in (("vgg.pth", "never unpickles"), ("absent", "cannot read"), ("cut.safetensors", "safetensors")):
        with pytest.raises(SettingsError, match=said) as caught:
            load_vgg(tmp_path / name)
        assert "translation.vgg" in str(caught.value)


def test_where_the_discriminator_begins_the_moments_of_the_l2_phase_are_forgotten(tmp_path: Path) -> None:
    trainer, batch = trainer_with(tmp_path / "vgg.safetensors")
    counts = []
    for step in range(4):
        trainer.step(batch, step, generator(0, "step", step), lambda loss: loss.backward())
        counts.append(max(int(state["step"]) for state in trainer.optimizers["generator"].state.values()))
    assert counts == [1, 2, 1, 2]
