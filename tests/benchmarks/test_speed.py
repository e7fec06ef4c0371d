"""benchmarks/speed: plain loops are the same mathematics as ours, FLOPs by hand, and a smoke run of every part."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from anotwin.errors import DataError
from anotwin.methods.registry import create
from anotwin.records import ImageSpec
from anotwin.seeding import generator
from anotwin.settings import Settings
from benchmarks.common.images import bundled
from benchmarks.speed import __main__ as speed
from benchmarks.speed import limit, memory, neighbour, plain, search

SPEC = ImageSpec(1, 32)
SMALL = Settings().with_overrides(["networks.base_channels=4", "networks.latent_dim=6"])


def _networks() -> tuple[Any, Any, Any]:
    """Our untrained networks, with statistics that are not 0 and 1, and the plain ones with their weights."""
    method = create("anogan", SPEC, SMALL)
    generate, judge = method.networks["generator"].train(), method.networks["discriminator"].train()
    for step in range(20):  # statistics of what really flows through, or a fresh generator draws one grey
        judge(generate(torch.randn(16, 6, generator=generator(0, "statistics", step))))
    method.networks.eval()
    g = plain.with_weights(plain.plain_generator(SPEC, SMALL.networks), method.networks["generator"])
    d = plain.with_weights(plain.PlainDiscriminator(SPEC, SMALL.networks), method.networks["discriminator"])
    return method, g, d


def test_plain_networks_compute_what_ours_compute() -> None:
    method, g, d = _networks()
    latents = torch.randn(5, 6, generator=generator(0))
    images = g(latents[:, :, None, None])
    torch.testing.assert_close(images, method.networks["generator"](latents))
    assert float(images.std()) > 1e-4  # not one grey: fresh weights are small, and so is what they draw
    logits, features = d(images)
    torch.testing.assert_close(logits, method.critique(images).logits)
    torch.testing.assert_close(features, method.critique(images).features)


def test_plain_search_is_the_papers() -> None:
    """A(x) after one step is L(z) at the start; after many it is lower."""
    method, g, d = _networks()
    image, start = torch.rand(1, 1, 32, 32, generator=generator(1)) * 2 - 1, torch.randn(1, 6, 1, 1)
    counterpart = method.networks["generator"](start.flatten(1))
    features, others = method.critique(image).features, method.critique(counterpart).features
    by_hand = 0.9 * (image - counterpart).abs().sum() + 0.1 * (features - others).abs().sum()
    first = plain.plain_search(g, d, image, 1, start)
    assert first == pytest.approx(float(by_hand), rel=1e-5)
    assert plain.plain_search(g, d, image, 60, start) < first


def test_plain_training_moves_both_networks() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
    training = plain.PlainTraining(pixels, SPEC, SMALL.networks, 8, "cpu")
    before = [weight.detach().clone() for net in (training.g, training.d) for weight in net.parameters()]
    losses = [training.step() for _ in range(7)]  # into the second epoch
    after = [weight for net in (training.g, training.d) for weight in net.parameters()]
    assert all(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert np.isfinite(losses).all()


def test_plain_images_are_prepared_like_ours() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(4).reshape(1, 32, 32)
    image = plain.PlainImages(pixels, SPEC)[0]
    torch.testing.assert_close(image, torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1))


def test_flops_by_hand() -> None:
    flops = limit.flops
    a, b = torch.randn(7, 5), torch.randn(5, 3)
    assert flops(lambda: a @ b) == 2 * 7 * 5 * 3
    images, kernels = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(4, 3, 4, 4, requires_grad=True)
    forward = 2 * (2 * 4 * 4 * 4) * (3 * 4 * 4)  # outputs (2, 4, 4, 4), each a sum of 48 products
    assert flops(lambda: F.conv2d(images, kernels, stride=2, padding=1)) == forward
    whole = flops(lambda: F.conv2d(images, kernels, stride=2, padding=1).sum().backward())
    assert whole == 3 * forward  # and the gradients by images and by kernels

    def by_leaf() -> None:
        torch.autograd.grad(F.conv2d(images, kernels, stride=2, padding=1).sum(), images)

    assert flops(by_leaf) == 2 * forward


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def contender(name: str) -> Any:
        return lambda: order.append(name) or float(len(order))

    found = limit.in_turns({name: contender(name) for name in "abc"}, rounds=2)
    assert "".join(order) == "abc" * 3  # the first turn of each is not counted
    assert found == {"a": [4, 7], "b": [5, 8], "c": [6, 9]}
    assert limit.middle(found) == {"a": 5.5, "b": 6.5, "c": 7.5}


def test_growth_of_memory_and_cost() -> None:
    costs = [memory.Cost(*values) for values in ((100, 7.0, 500.0), (1100, 8.0, 520.0), (11100, 20.0, 560.0))]
    rows = {(row.case, row.metric): row for row in memory.rows("speed", "fanogan", costs, goals=True)}
    overall = "scoring 100 to 11,100 images"
    assert rows[overall, "memory_growth"].value == pytest.approx(0.12)
    assert rows[overall, "memory_growth"].reached() is False
    assert rows[overall, "seconds_per_image"].value == pytest.approx((0.001 + 0.0012) / 2)
    assert rows[overall, "cost_growth"].value == pytest.approx(1.2)
    assert rows["scoring 1,100 images", "peak_memory"].value == 520
    assert rows["scoring 1,100 images", "peak_memory"].reached() is True


def test_half_of_the_searched_images_are_normal() -> None:
    source = bundled().test("3")
    chosen = search.half_and_half(source, 20)
    assert len(set(chosen)) == 20
    assert sum(bool(source.items[index].normal) for index in chosen) == 10


def test_speed_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.json"
    small = ["--set", "training.steps=20", "--set", "networks.base_channels=4", "--counts", "6", "12"]
    small += ["--part", "training", "search", "memory"]
    assert speed.main(["--quick", "--device", "cpu", "--json", str(path), *small]) == 0
    assert "MISSED" not in capsys.readouterr().out  # a smoke run has no goals
    rows = json.loads(path.read_text())
    assert all(row["value"] is not None and np.isfinite(row["value"]) for row in rows)
    value = {(row["case"].split(",")[0], row["method"], row["metric"]): row["value"] for row in rows}
    for name in ("plain training", "float32", "bf16"):
        assert value["training", name, "images_per_second"] > 0
    # as many FLOPs for the three passes of a layer, but D is asked twice instead of three times
    ratio = value["training", "float32", "work"] / value["training", "plain training", "work"]
    assert 0.75 < ratio < 0.9
    for name in ("plain search", "engine", "encoder"):
        assert value["search", name, "images_per_second"] > 0
    peaks = [row["value"] for row in rows if row["metric"] == "peak_memory"]
    assert len(peaks) == 2
    assert all(50 < peak < 4000 for peak in peaks)
    assert all(now != then for now, then in pairwise(peaks))  # measured, each by itself


def test_the_price_of_a_neighbour_is_a_ratio_of_two_runs_of_the_same_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    seen: list[tuple[str | None, int]] = []

    def measured(environment: Mapping[str, str], neighbours: int, channels: int, seconds: float) -> float:
        assert (channels, seconds) == (8, 3.0)
        assert "OMP_NUM_THREADS" not in environment  # all cores, whatever this process was told
        seen.append((environment.get("OMP_WAIT_POLICY"), neighbours))
        return (100.0 if "OMP_WAIT_POLICY" in environment else 200.0) / (1 + 4 * neighbours)

    monkeypatch.setattr(neighbour, "_measure", measured)
    rows = neighbour.neighbour_rows("speed", 8, 2, 3.0, True, lambda _: None)
    assert seen == [("PASSIVE", 0), ("PASSIVE", 1), (None, 0), (None, 1)] * 2
    found = {(row.method, row.metric): row for row in rows}
    assert found["asleep", "images_per_second_beside"].value == pytest.approx(20)
    assert found["spinning", "images_per_second_alone"].value == pytest.approx(200)
    assert found["asleep", "times_slower"].value == pytest.approx(5)
    assert found["asleep", "times_slower"].goal == "<= 2.5"
    assert found["spinning", "times_slower"].goal is None


def test_a_training_of_its_own_says_how_fast_it_was() -> None:
    assert neighbour._measure(neighbour._environment(True), 0, 4, 0.1) > 0


def test_a_neighbour_that_ends_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbour, "CHILD", "raise SystemExit(3)")
    with pytest.raises(DataError, match="ended with code 3"):
        neighbour._measure(neighbour._environment(True), 0, 4, 0.1)
