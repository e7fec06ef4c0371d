"""Examples are cut where they should be, the same by every number, whatever was asked before."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.data.arrays import from_arrays
from anotwin.records import ImageSpec
from anotwin.translation.examples import Crops, mirrored
from anotwin.translation.protocol import TranslationSpec


def crops(
    a: list, b: list, factor: int = 1, aligned: bool = True, mirror: bool = False, seed: int = 0, turn: bool = False
) -> Crops:
    spec = TranslationSpec(ImageSpec(1, 8), ImageSpec(1, 8 * factor), aligned)
    rows = np.arange(len(a)), np.arange(len(b))
    return Crops(from_arrays(a), from_arrays(b), rows, spec, seed, mirror, turn)


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@given(count=st.integers(1, 9), begin=st.integers(0, 8), length=st.integers(1, 40))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_mirrored_is_what_numpy_pads(count: int, begin: int, length: int) -> None:
    padded = np.pad(np.arange(count), (0, begin + length), mode="symmetric")
    assert mirrored(count, begin, length).tolist() == padded[begin : begin + length].tolist()


@pytest.mark.parametrize(("mirror", "turn"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("factor", [1, 2, 4])
@pytest.mark.parametrize("side", [5, 8, 30])
def test_pairs_show_the_same_place_the_same_way_round(factor: int, side: int, mirror: bool, turn: bool) -> None:
    a = [noise((side, side + 3), seed) for seed in range(3)]
    b = [np.kron(each, np.ones((factor, factor), np.uint8)) for each in a]
    b = [np.pad(each, ((0, 1), (0, factor - 1))) for each in b]  # HR images need not be multiples
    if factor == 1:
        b = [each[:side] for each in b]
    batch = crops(a, b, factor, mirror=mirror, turn=turn).batch(np.arange(40))
    assert batch.a.shape == (40, 1, 8, 8)
    assert batch.b.shape == (40, 1, 8 * factor, 8 * factor)
    assert torch.equal(F.interpolate(batch.a, scale_factor=factor, mode="nearest"), batch.b)


def test_mirroring_happens_by_chance_and_only_where_it_is_asked_for() -> None:
    ramp = np.tile(np.arange(8, dtype=np.uint8) * 30, (8, 1))
    plain = crops([ramp], [ramp]).batch(np.arange(64)).a
    turned = crops([ramp], [ramp], mirror=True).batch(np.arange(64)).a
    rising = (turned[:, 0, 0, -1] > turned[:, 0, 0, 0]).float().mean()
    assert (plain == plain[:1]).all()
    assert 0.3 < rising < 0.7
    assert torch.equal(torch.minimum(turned, turned.flip(3)), torch.minimum(plain, plain.flip(3)))


def test_turned_examples_are_in_all_poses_as_often() -> None:
    image = noise((8, 8), 0)
    plain = crops([image], [image]).batch(np.arange(1)).a[0]
    turned = crops([image], [image], mirror=True, turn=True).batch(np.arange(400)).a
    poses = [torch.rot90(way, quarters, (1, 2)) for way in (plain, plain.flip(2)) for quarters in range(4)]
    counts = [int((turned == pose).all((1, 2, 3)).sum()) for pose in poses]
    assert sum(counts) == 400
    assert min(counts) > 25  # 50 expected


def test_an_example_depends_on_seed_and_number_alone() -> None:
    a, b = [noise((20, 30), seed) for seed in (0, 1)], [noise((25, 15), seed) for seed in (2, 3, 4)]
    examples = crops(a, b, aligned=False, mirror=True)
    numbers = np.array([7, 1_000_003, 7, 0])
    one, again = examples.batch(numbers), examples.batch(numbers[::-1].copy())
    assert torch.equal(one.a, again.a.flip(0))
    assert torch.equal(one.b[0], one.b[2])
    other = crops(a, b, aligned=False, mirror=True, seed=1).batch(numbers)
    assert not torch.equal(one.a, other.a)
    assert len(examples) == 2**20


def test_every_image_is_shown_equally_often_and_domains_are_drawn_apart() -> None:
    a, b = (
        [np.full((8, 8), value, np.uint8) for value in (0, 51)],
        [np.full((9, 9), v, np.uint8) for v in (0, 102, 255)],
    )
    batch = crops(a, b, aligned=False).batch(np.arange(300))
    shown_a, shown_b = batch.a[:, 0, 0, 0], batch.b[:, 0, 0, 0]
    assert int((shown_a == -1).sum()) == 150
    assert all(70 < int((shown_b - value).abs().lt(1e-6).sum()) < 130 for value in (-1, 2 * 102 / 255 - 1, 1))
    both = {(round(float(x), 3), round(float(y), 3)) for x, y in zip(shown_a, shown_b, strict=True)}
    assert len(both) == 6  # every image of A beside every one of B


def test_values_beyond_the_learnt_range_are_clipped() -> None:
    spec = TranslationSpec(ImageSpec(1, 8, "uint16", 0, 1000), ImageSpec(1, 8), aligned=True)
    a, b = np.full((8, 8), 60_000, np.uint16), np.zeros((8, 8), np.uint8)
    rows = np.arange(1), np.arange(1)
    batch = Crops(from_arrays([a]), from_arrays([b]), rows, spec, 0).batch(np.arange(2))
    assert float(batch.a.max()) == 1.0
