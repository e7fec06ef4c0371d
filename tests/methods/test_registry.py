"""Methods by name, and settings that a method cannot have."""

from __future__ import annotations

import pytest

from anotwin.errors import SettingsError
from anotwin.methods.registry import METHODS, create
from anotwin.records import ImageSpec
from anotwin.settings import Settings

SPEC = ImageSpec(1, 16)
SMALL = "translation.patch=16"  # the largest that fits squares of 16 pixels


@pytest.mark.parametrize("name", METHODS)
def test_a_method_comes_by_its_own_name(name: str) -> None:
    settings = Settings().with_overrides(["networks.base_channels=2", SMALL])
    method = create(name, SPEC, settings)
    assert method.name == name
    assert method.spec is SPEC
    assert method.settings is settings
    assert not any(parameter.requires_grad for parameter in method.networks.parameters())
    assert not any(module.training for module in method.networks.modules())


@pytest.mark.parametrize(
    "name, hint",
    [("anogam", "did you mean 'anogan'?"), ("ACAE", "there are acae, anogan"), ("zzz", "no method 'zzz'")],
)
def test_an_unknown_name_says_what_there_is(name: str, hint: str) -> None:
    with pytest.raises(SettingsError) as caught:
        create(name, SPEC, Settings())
    message = str(caught.value)
    assert hint in message
    assert "\n" not in message
    assert "zzz" not in message or "did you mean" not in message


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("beyond", ["below", "above"])
def test_a_feature_layer_out_of_range_is_a_settings_error(name: str, beyond: str) -> None:
    networks = create(name, SPEC, Settings().with_overrides([SMALL])).networks
    if "discriminator" not in networks:
        pytest.skip(f"{name} has no discriminator, whose layer could be named")
    blocks = len(networks["discriminator"].blocks)
    layer = -blocks - 1 if beyond == "below" else blocks
    settings = Settings().with_overrides([f"networks.feature_layer={layer}", SMALL])
    with pytest.raises(SettingsError, match=rf"networks.feature_layer={layer}: .*-{blocks}\.\.{blocks - 1}"):
        create(name, SPEC, settings)
