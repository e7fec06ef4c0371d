"""What is left out and said of the images of two domains, who is held out, and what a model takes."""

from dataclasses import replace

import numpy as np
import pytest

from anotwin.data.arrays import ArraySource, from_arrays
from anotwin.errors import DataError, SettingsError
from anotwin.settings import Settings
from anotwin.translation.gather import Gathered, gather, infer_spec
from anotwin.translation.layouts import Domains
from anotwin.translation.reduce import Reduced


def noise(count: int, side: int = 10, seed: int = 0, channels: int = 1) -> list[np.ndarray]:
    shape = (side, side) if channels == 1 else (side, side, channels)
    return list(np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8))


def gathered(a: object, b: object, aligned: bool = True, *sets: str, factor: int = 1) -> Gathered:
    one, other = (each if isinstance(each, ArraySource | Reduced) else from_arrays(each) for each in (a, b))
    domains = Domains(one, other, "data", aligned, factor)
    return gather(domains, Settings().with_overrides(sets), lambda _done, _total: None)


def grouped(images: list[np.ndarray], groups: str) -> ArraySource:
    source = from_arrays(images)
    items = tuple(replace(item, group=group) for item, group in zip(source.items, groups, strict=True))
    return replace(source, items=items)


def test_pairs_are_held_out_together() -> None:
    found = gathered(noise(20), noise(20, seed=1))
    for part in (found.train, found.heldout):
        assert part[0].tolist() == part[1].tolist()
    assert sorted([*found.train[0], *found.heldout[0]]) == list(range(20))
    assert len(found.heldout[0]) == 4


def test_domains_are_held_out_each_by_itself() -> None:
    found = gathered(noise(20), noise(10, seed=1), False)
    assert [len(rows) for rows in (*found.train, *found.heldout)] == [16, 8, 4, 2]


def test_a_group_is_on_one_side_of_the_split_in_both_domains() -> None:
    a, b = grouped(noise(24), "abcdefgh" * 3), grouped(noise(16, seed=1), "abcdefgh" * 2)
    found = gathered(a, b, False)
    sides = [
        [{source.items[row].group for row in rows} for rows in part]
        for part, source in (((found.train[0], found.heldout[0]), a), ((found.train[1], found.heldout[1]), b))
    ]
    assert not (sides[0][0] | sides[1][0]) & (sides[0][1] | sides[1][1])
    assert all(group for side in sides for group in side)
    assert any("8 groups" in note for note in found.notes)


def test_pairs_of_a_subject_are_held_out_as_one() -> None:
    a = grouped(noise(20), "aabbccddee" * 2)
    found = gathered(a, noise(20, seed=1))
    train, held = ({a.items[row].group for row in rows[0]} for rows in (found.train, found.heldout))
    assert not train & held
    assert any("5 groups: 4 to train on, 1 held out" in note for note in found.notes)


def test_partners_of_different_sizes_are_named_and_left_out() -> None:
    b = noise(10, seed=1)
    b[3] = noise(1, side=12)[0]
    found = gathered(noise(10), b)
    assert 3 not in [*found.train[0], *found.heldout[0]]
    (note,) = [note for note in found.notes if "left out" in note]
    named = "the first: image-00003 and image-00003: 10 x 10 and 12 x 12 pixels"
    assert note == f"data: 1 pairs left out, expected equal sizes; {named}"
    with pytest.raises(DataError, match="no pair has equal sizes"):
        gathered(noise(4), noise(4, side=12, seed=1))


def test_given_low_resolution_must_be_smaller_by_the_factor() -> None:
    found = gathered(noise(6, side=5), noise(6, side=11, seed=1), factor=2)
    assert len(found.train[0]) + len(found.heldout[0]) == 6
    with pytest.raises(DataError, match="no pair has B 4 times as large as A"):
        gathered(noise(6, side=5), noise(6, side=11, seed=1), factor=4)


@pytest.mark.parametrize("aligned", [True, False])
def test_the_same_images_in_both_domains(aligned: bool) -> None:
    images = noise(8)
    with pytest.raises(DataError, match="A and B hold the same images"):
        gathered(images, images, aligned)
    found = gathered(images, [*images[:2], *noise(6, seed=1)], aligned)
    assert any("2 images are the same in A and B" in note for note in found.notes)


def test_images_that_cannot_be_read_are_named() -> None:
    bad = np.full((10, 10), np.nan, np.float32)
    a = [each.astype(np.float32) / 255 for each in noise(8)]
    a[2] = bad
    found = gathered(a, noise(8, seed=1))
    assert 2 not in [*found.train[0], *found.heldout[0]]
    assert any("A: 1 image left out, the first: image-00002" in note for note in found.notes)
    with pytest.raises(DataError, match="A: 5 of 8 images cannot be used"):
        gathered([*[bad] * 5, *a[5:]], noise(8, seed=1))


def test_too_few_images() -> None:
    with pytest.raises(DataError, match="1 image of a domain can be used"):
        gathered(noise(1), noise(5, seed=1), False)


def test_pixels_are_kept_in_memory_as_far_as_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    read = ArraySource.read

    def counted(self: ArraySource, index: int) -> np.ndarray:
        reads.append(index)
        return read(self, index)

    monkeypatch.setattr(ArraySource, "read", counted)
    found = gathered(noise(6, side=600), noise(6, side=600, seed=1), True, "data.memory_mb=1")  # 360 kB each
    assert len(reads) == 12
    for index in range(6):
        assert found.b.read(index).shape == (600, 600)
    assert len(reads) == 12 + 6 - 2
    assert sum(each.nbytes for each in (*found.a.pixels.values(), *found.b.pixels.values())) <= 2**20


def test_what_a_model_takes_is_measured_of_each_domain() -> None:
    a = [each.astype(np.uint16) * 16 for each in noise(10)]
    found = gathered(a, noise(10, seed=1, channels=3), False)
    spec, notes = infer_spec(found, 1, Settings())
    assert (spec.a.pixel_type, spec.a.white, spec.a.channels, spec.a.size) == ("uint16", 4095, 1, 16)
    assert (spec.b.pixel_type, spec.b.channels, spec.b.size) == ("uint8", 3, 16)
    assert "B is in colour and A is grey: translations are so too" in notes
    assert not spec.aligned


def test_squares_are_those_of_the_larger_domain() -> None:
    b = from_arrays(noise(6, side=100))
    found = gathered(Reduced(b, 4), b, factor=4)
    spec, _ = infer_spec(found, 4, Settings())
    assert (spec.a.size, spec.b.size, spec.factor) == (16, 64, 4)
    assert infer_spec(found, 4, Settings().with_overrides(["data.image_size=128"]))[0].a.size == 32
    with pytest.raises(SettingsError, match="set it to 64 or more"):
        infer_spec(found, 4, Settings().with_overrides(["data.image_size=32"]))


def test_the_grey_values_of_label_maps_are_classes() -> None:
    maps = [np.where(each > 128, 70, 30).astype(np.uint8) for each in noise(10, seed=1)]
    labels = Settings().with_overrides(["translation.target=labels"])
    spec, notes = infer_spec(gathered(noise(10), maps), 1, labels)
    assert spec.b.classes == (30, 70)
    assert spec.a.classes == ()
    assert "B: 2 classes, its grey values 30, 70" in notes
    with pytest.raises(DataError, match="more than 64 grey values"):
        infer_spec(gathered(noise(10), noise(10, seed=1)), 1, labels)
    with pytest.raises(DataError, match="needs 8-bit grey images"):
        infer_spec(gathered(noise(10), noise(10, seed=1, channels=3)), 1, labels)
