"""What every translation method is held to. A new one is measured by its entry in the registry: nothing names one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from anotwin import Settings, Translator
from anotwin.data.synthetic import textured_discs
from anotwin.errors import DataError, SettingsError
from anotwin.records import ImageSpec
from anotwin.training.run_folder import RunFolder
from anotwin.translation import session, tiles
from anotwin.translation.kinds import LAYOUT_OF
from anotwin.translation.protocol import DIRECTIONS, TranslationMethod, TranslationSpec
from anotwin.translation.registry import METHODS, create, expected_tensors
from anotwin.translation.session import Best

SMALL = (
    "networks.base_channels=4",
    "training.steps=8",
    "training.batch_size=2",
    "training.snapshot_every=3",
    "training.sample_every=2",
    "training.precision=32-true",
    "translation.factor=2",
    "translation.pool=3",
)
FACTORS = {"folder": 2}  # of layouts whose B is larger than A
each_size = pytest.mark.parametrize("size", [(16, 16), (32, 48), (64, 16)])


@pytest.fixture(scope="module", autouse=True)
def few_held_out() -> Iterator[None]:
    """Snapshots judged by a few examples: quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "MOST", 8)
        yield


@pytest.fixture(params=sorted(METHODS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings(*more: str) -> Settings:
    return Settings().with_overrides([*SMALL, *more])


def data(name: str) -> Any:
    """What a method learns from, in memory."""
    b, _ = textured_discs(16, size=32, seed=0)
    a = 255 - textured_discs(16, size=32, seed=0 if METHODS[name].aligned else 1)[0]
    return b if LAYOUT_OF[name] in FACTORS else (a, b)


def untrained(
    name: str, channels: tuple[int, int] = (1, 1), kind: str = "uint8", white: float = 255
) -> TranslationMethod:
    a, b = (ImageSpec(count, 16, kind, 0.0, white) for count in channels)  # type: ignore[arg-type]
    factor = FACTORS.get(LAYOUT_OF[name], 1)
    b = ImageSpec(channels[1], 16 * factor, kind, 0.0, white)  # type: ignore[arg-type]
    return create(name, TranslationSpec(a, b, METHODS[name].aligned), settings())


def noise(count: int, channels: int, size: tuple[int, int], seed: int = 0) -> torch.Tensor:
    return 2 * torch.rand(count, channels, *size, generator=torch.Generator().manual_seed(seed)) - 1


@pytest.fixture(scope="module")
def translators() -> dict[str, Translator]:
    """Every method, trained for a moment."""
    return {name: Translator.train(data(name), method=name, settings=settings(), device="cpu") for name in METHODS}


def same_tensors(one: Any, other: Any) -> bool:
    """Whether two states are equal to the last bit: of networks, optimisers and image pools."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_tensors(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_tensors, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


@each_size
@pytest.mark.parametrize("channels", [(1, 1), (3, 3), (1, 3)])
def test_translations_have_their_shape_and_range(name: str, channels: tuple[int, int], size: tuple[int, int]) -> None:
    if LAYOUT_OF[name] in FACTORS and channels[0] != channels[1]:
        pytest.skip("one quantity in both domains")
    method = untrained(name, channels)
    for direction in method.directions:
        first, last = channels if direction == "AtoB" else channels[::-1]
        factor = method.spec.factor if direction == "AtoB" else 1
        found = method.translate(noise(3, first, size), direction)
        assert found.shape == (3, last, factor * size[0], factor * size[1])
        assert found.dtype == torch.float32
        assert not found.requires_grad
        assert float(found.abs().max()) <= 1


def test_batch_alone_and_shuffled_are_the_same_bits(name: str) -> None:
    method = untrained(name)
    images = noise(9, 1, (32, 32))
    for direction in method.directions:
        together = method.translate(images, direction, seed=5)
        order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
        assert torch.equal(method.translate(images[order], direction, seed=5), together[order])
        for number in (0, 8):
            alone = method.translate(images[number : number + 1], direction, seed=5)
            assert torch.equal(alone, together[number : number + 1])


def test_different_images_are_translated_differently_and_weights_stay(name: str) -> None:
    method = untrained(name)
    before = {key: value.clone() for key, value in method.networks.state_dict().items()}
    found = method.translate(noise(2, 1, (16, 16)), "AtoB")
    assert not torch.equal(found[0], found[1])
    assert all(torch.equal(value, before[key]) for key, value in method.networks.state_dict().items())
    assert all(not parameter.requires_grad for parameter in method.networks.parameters())


def test_tiles_are_one_pass_over_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the reach that a method names is true; with half of it they are not, so that this can fail."""
    monkeypatch.setattr(tiles, "INNER", 32)
    method = untrained(name, kind="float32", white=1.0)
    height, width = 5 * method.reach, 2 * 16 + 4 * method.reach
    height, width = (side // 16 * 16 + 16 for side in (height, width))
    pixels = np.random.default_rng(0).random((height, width)).astype(np.float32)
    found = tiles.translate_native(method, pixels, "AtoB", seed=3)
    whole = method.translate(torch.from_numpy(pixels)[None, None] * 2 - 1, "AtoB", 3, tiles.place_of(pixels))
    whole = whole[0, 0].numpy() / 2 + 0.5
    assert len(list(tiles.spans(height, 16, method.reach, method.stride))) > 1
    assert np.abs(found - whole).max() < 1e-5
    monkeypatch.setattr(type(method), "reach", 0)
    assert np.abs(tiles.translate_native(method, pixels, "AtoB", seed=3) - whole).max() > 1e-5


@pytest.mark.parametrize("shape", [(1, 1), (3, 50), (37, 21), (20, 20, 3)])
def test_any_size_black_and_constant_images_are_translated(
    translators: dict[str, Translator], name: str, shape: tuple[int, ...]
) -> None:
    translator = translators[name]
    for value in (0, 255):
        for direction in translator.method.directions:
            factor = translator.spec.factor if direction == "AtoB" else 1
            found = translator.translate(np.full(shape, value, np.uint8), direction)
            assert found.shape == (factor * shape[0], factor * shape[1])  # a model of grey images
            assert found.dtype == np.uint8


def test_what_is_no_number_is_refused(translators: dict[str, Translator], name: str) -> None:
    for bad in (np.nan, np.inf):
        with pytest.raises(DataError, match="NaN or infinite"):
            translators[name].translate(np.full((20, 20), bad, np.float32))
    with pytest.raises(SettingsError, match="direction 'sideways'"):
        translators[name].translate(np.zeros((20, 20), np.uint8), "sideways")  # type: ignore[arg-type]


def test_saved_and_loaded_is_the_same(translators: dict[str, Translator], name: str, tmp_path: Path) -> None:
    translator = translators[name]
    translator.save(tmp_path / "model")
    loaded = Translator.load(tmp_path / "model", "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30), np.uint8)
    for direction in translator.method.directions:
        assert np.array_equal(loaded.translate(pixels, direction, 2), translator.translate(pixels, direction, 2))
    assert loaded.settings == translator.settings
    assert loaded.spec == translator.spec
    assert loaded.history == translator.history
    assert loaded.describe() == translator.describe()


def test_folded_networks_compute_the_same(translators: dict[str, Translator], name: str) -> None:
    method = translators[name].method
    images = noise(2, 1, (32, 32))
    fast = method.for_inference()
    for direction in method.directions:
        assert float((fast.translate(images, direction) - method.translate(images, direction)).abs().max()) < 0.05
    assert method.networks is not fast.networks


def test_tensors_are_known_before_any_is_made(name: str) -> None:
    method = untrained(name)
    state = method.networks.state_dict()
    expected = expected_tensors(name, method.spec, method.settings)
    assert expected == {key: (tuple(value.shape), value.dtype) for key, value in state.items()}
    assert set(method.directions) <= set(DIRECTIONS)
    assert "AtoB" in method.directions


def test_stopped_and_resumed_ends_as_if_never_stopped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at step 6, after the snapshot of step 3: with the image pool, the chosen step and its quality."""
    whole = Translator.train(data(name), tmp_path / "whole", method=name, settings=settings(), device="cpu")
    take = Best.take

    def killed(self: Best, pictures: torch.Tensor, step: int) -> None:
        take(self, pictures, step)
        if step == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Best, "take", killed)
        with pytest.raises(KeyboardInterrupt):
            Translator.train(data(name), tmp_path / "parts", method=name, settings=settings(), device="cpu")
    parts = Translator.train(data(name), tmp_path / "parts", resume=True, device="cpu")
    states = [each.method.networks.state_dict() for each in (whole, parts)]
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    rows = [(tmp_path / each / "runs" / f"00000-{name}" / "quality.jsonl").read_text() for each in ("whole", "parts")]
    assert rows[0] == rows[1]
    assert len(rows[0].splitlines()) == 4
    last = [RunFolder(tmp_path / each / "runs" / f"00000-{name}").load_snapshot() for each in ("whole", "parts")]
    assert same_tensors(last[0], last[1])
    assert whole.history["chosen"] == parts.history["chosen"]
