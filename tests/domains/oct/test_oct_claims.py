"""Counts that headers and names claim: no memory, no time, and no missing slices are made of them."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from oct_writers import write_dicom, write_e2e
from PIL import Image

from anotwin.domains.oct.source import OctSource, most_places, open_oct

RNG = np.random.default_rng(0)
SCAN = RNG.integers(0, 256, (24, 32), dtype=np.uint8)


def png(path: Path, value: int = 0) -> Path:
    """Neighbours resemble each other, as slices do; the first pixel tells them apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = SCAN.copy()
    pixels[0, 0] = value
    Image.fromarray(pixels).save(path)
    return path


def opened(root: Path) -> OctSource:
    began = time.perf_counter()
    source = open_oct(root, "test")
    assert time.perf_counter() - began < 5
    return source


def places(source: OctSource) -> list[tuple[int, int, int]]:
    return [
        (source.info(i).slice, source.info(i).slices, int(source.read(i).flat[0]))
        for volume in source.volumes()
        for i in volume
    ]


@pytest.mark.parametrize(
    "numbers",
    [
        [1699999999123, 1699999999987, 1700028799001],  # milliseconds: 28.8 million of them
        [20240131101112, 20240131101113, 20240131235959],  # dates
        [3, 2_000_000_000, 7],
    ],
)
def test_long_numbers_are_an_order_and_no_gaps(tmp_path: Path, numbers: list[int]) -> None:
    for number in numbers:
        png(tmp_path / f"scan-{number}.png", 10 + sorted(numbers).index(number))
    source = opened(tmp_path)
    assert places(source) == [(0, 3, 10), (1, 3, 11), (2, 3, 12)]
    assert any("taken as an order without gaps" in note for note in source.notes)
    assert not any("missing" in note for note in source.notes)


def test_a_gap_of_slices_is_still_a_gap(tmp_path: Path) -> None:
    for number in (1, 2, 3, 40, 49):
        png(tmp_path / f"scan-{number:03}.png", number)
    source = opened(tmp_path)
    assert [place[0] for place in places(source)] == [0, 1, 2, 39, 48]
    assert any("44 of 49 slices are missing" in note for note in source.notes)
    assert most_places(5) < 1000 < most_places(300)


@pytest.mark.parametrize("frames", [2**31 - 1, 10_000, 4])
def test_dicom_of_more_frames_than_it_holds(tmp_path: Path, frames: int) -> None:
    pytest.importorskip("pydicom")
    write_dicom(tmp_path / "a.dcm", RNG.integers(0, 256, (3, 24, 32), dtype=np.uint8), NumberOfFrames=frames)
    write_dicom(tmp_path / "b.dcm", RNG.integers(0, 256, (3, 24, 32), dtype=np.uint8))
    source = opened(tmp_path)
    assert len(source.items) == (4 if frames > 4 else 7)  # the few that may be there are looked for when they are read
    with pytest.raises(Exception, match=r"a\.dcm") as error:
        source.read(len(source.items) - 4 if frames > 4 else 3)
    assert "\n" not in str(error.value)
    for index in range(len(source.items) - 3, len(source.items)):
        assert source.read(index).shape == (24, 32)


def test_e2e_of_two_thousand_million_slices(tmp_path: Path) -> None:
    pytest.importorskip("eyepy")
    path = write_e2e(tmp_path / "a.e2e", RNG.integers(0, 2**15, (3, 24, 32), dtype=np.uint16))
    for number in range(3):
        data, told = path.read_bytes(), np.array([32, 3, number, 3], "<u4").tobytes()
        assert data.count(told) == 1
        path.write_bytes(data.replace(told, np.array([32, 2**31 - 1, number, 3], "<u4").tobytes()))
    source = opened(tmp_path)
    assert [(source.info(i).slice, source.info(i).slices) for i in range(3)] == [(0, 3), (1, 3), (2, 3)]
    assert any("taken as an order" in note for note in source.notes)


@pytest.mark.parametrize("sides", [{"Rows": 60000}, {"Rows": 60000, "Columns": 60000}])
def test_dicom_of_larger_frames_than_it_holds(tmp_path: Path, sides: dict[str, int]) -> None:
    pytest.importorskip("pydicom")
    write_dicom(tmp_path / "a.dcm", RNG.integers(0, 256, (3, 24, 32), dtype=np.uint8), **sides)
    source = opened(tmp_path)
    (item,) = source.items
    assert item.id == "a.dcm"
    with pytest.raises(Exception, match=r"truncated|tile the image"):
        source.read(0)
