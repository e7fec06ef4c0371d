"""Arrays and tensors as sources."""

import pickle

import numpy as np
import pytest
import torch

from anotwin.data.arrays import from_arrays
from anotwin.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (4, 5, 6), dtype=np.uint8)
RGB = RNG.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)

RTOL = {torch.bfloat16: 2**-7}  # 8 bits of mantissa


@pytest.mark.parametrize(
    "given,expected",
    [
        (GREY, GREY),
        (GREY[..., None], GREY),
        (RGB, RGB),
        (torch.from_numpy(GREY), GREY),
        (torch.from_numpy(GREY)[:, None], GREY),
        (torch.from_numpy(RGB).permute(0, 3, 1, 2), RGB),
        (torch.from_numpy(RGB), RGB),
        (list(RGB), RGB),
        ([torch.from_numpy(image).permute(2, 0, 1) for image in RGB], RGB),
        ([torch.from_numpy(image) for image in GREY], GREY),
        (torch.from_numpy(GREY / 255).float().requires_grad_(), (GREY / 255).astype(np.float32)),
        (torch.from_numpy(GREY).bfloat16(), GREY.astype(np.float32)),
        (torch.from_numpy(GREY).long(), GREY.astype(np.uint16)),
        (GREY > 9, np.where(GREY > 9, 255, 0).astype(np.uint8)),
        (GREY / 255, (GREY / 255).astype(np.float32)),
    ],
)
def test_shapes_and_types(given, expected):
    source = from_arrays(given)
    assert len(source.items) == 4
    for i in range(4):
        got = source.read(i)
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected[i], rtol=RTOL.get(getattr(given, "dtype", None), 0))
        assert source.read_mask(i) is None


def test_sizes_may_differ_in_a_list():
    source = from_arrays([np.zeros((3, 4)), np.zeros((5, 6, 3))])
    assert [source.read(i).shape for i in (0, 1)] == [(3, 4), (5, 6, 3)]


def test_labels_and_ids():
    source = from_arrays(GREY, labels=[0, 1, 0, 2], normal="0", prefix="scan")
    assert [(i.id, i.label, i.normal) for i in source.items][:2] == [
        ("scan-00000", "0", True),
        ("scan-00001", "1", False),
    ]
    assert {item.normal for item in from_arrays(GREY, labels="abcd").items} == {None}
    assert pickle.loads(pickle.dumps(source)).items == source.items


def test_a_bad_image_is_found_on_reading():
    values = np.zeros((3, 4, 4))
    values[1, 0, 0] = np.nan
    source = from_arrays(values)
    source.read(0)
    with pytest.raises(DataError, match="image-00001: 1 of 16 pixels"):
        source.read(1)


@pytest.mark.parametrize(
    "given,word",
    [
        (np.zeros((4, 4)), "(4, 4)"),
        (np.zeros((2, 3, 4, 4)), "(3, 4, 4)"),
        (np.zeros((0, 4, 4)), "no images"),
        (np.zeros((2, 0, 4)), "(0, 4)"),
        (np.zeros((2, 4, 4), complex), "complex128"),
        (np.full((2, 4, 4), "x"), "<U1"),
        ([], "no images"),
        (7, "int"),
        (None, "NoneType"),
        (torch.zeros(4, 4), "(4, 4)"),
        (torch.zeros(2, 5, 4, 4), "(5, 4, 4)"),
        ([np.zeros(3)], "(3,)"),
    ],
)
def test_refused(given, word):
    with pytest.raises(DataError) as error:
        from_arrays(given)
    assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_labels_that_do_not_fit():
    with pytest.raises(DataError, match="3 labels for 4 images"):
        from_arrays(GREY, labels=[1, 2, 3])
    with pytest.raises(DataError, match=r"no label 'x'; found 'a' \(3\), 'b' \(1\)"):
        from_arrays(GREY, labels=list("aaab"), normal="x")
    with pytest.raises(DataError, match="no labels"):
        from_arrays(GREY, normal="x")
