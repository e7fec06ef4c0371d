"""The sheet of planted defects: its rows and columns, odd sizes, and that it is the same each time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from anotwin.errors import DataError
from anotwin.report.planted_figure import planted_figure

Pixels = np.ndarray[Any, Any]


@dataclass
class Example:
    truth: Pixels
    planted: Pixels
    counterpart: Pixels
    heat: Pixels
    mask: Pixels


def example(shape: tuple[int, ...] = (64, 64), kind: type = np.uint8, white: float = 255, mask: bool = True) -> Example:
    truth = np.full(shape, white / 2).astype(kind)
    inside = np.zeros(shape[:2], bool)
    inside[10:20, 10:20] = mask
    planted = truth.copy()
    planted[inside] = white
    return Example(truth, planted, truth, np.where(inside, 3.0, 0.0).astype(np.float32), inside)


def drawn(path: Path) -> Pixels:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_a_row_an_example_and_room_between_kinds(tmp_path: Path) -> None:
    heights = []
    for kinds in (["bent"], ["bent", "bent"], ["bent", "dent"]):
        planted_figure([(kind, "3 px", example()) for kind in kinds], tmp_path / "sheet.png")
        heights.append(drawn(tmp_path / "sheet.png").shape[0])
    assert heights[0] < heights[1] < heights[2]


def test_what_differs_is_dark_and_hot_where_the_mask_is(tmp_path: Path) -> None:
    planted_figure([("bent", "3 px", example())], tmp_path / "sheet.png")
    picture = drawn(tmp_path / "sheet.png")
    side, gap, left, top = (round(inches * 200) for inches in (1.25, 0.08, 0.95, 0.3))
    cells = [picture[top : top + side, left + k * (side + gap) : left + k * (side + gap) + side] for k in range(5)]
    defect = (slice(round(side * 0.2), round(side * 0.28)),) * 2
    assert np.ptp(cells[0][20:-20, 20:-20]) == 0  # the normal image is one grey
    assert (cells[1][defect] == 255).all()
    assert (cells[2][20:-20, 20:-20] == cells[0][20:-20, 20:-20]).all()
    assert cells[3][defect].max() < 30  # half the range or more is black
    assert cells[3][-60:-20, -60:-20].min() > 240
    assert cells[4][defect][..., 0].min() > 150  # inferno's end
    assert cells[4][-60:-20, -60:-20].max() < 20


@pytest.mark.parametrize(
    "one",
    [
        example((64, 20)),
        example((30, 90, 3)),
        example((40, 40), np.uint16, 4095),
        example((40, 40), np.float32, 1.0),
        example((40, 40), mask=False),
    ],
    ids=["narrow", "colour", "16 bits", "float", "no mask"],
)
def test_images_of_any_kind(one: Example, tmp_path: Path) -> None:
    planted_figure([("bent", "3 px\nrepair 0.5", one)], tmp_path / "sheet.png")
    first = (tmp_path / "sheet.png").read_bytes()
    planted_figure([("bent", "3 px\nrepair 0.5", one)], tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes() == first


def test_no_example(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no planted image to draw"):
        planted_figure([], tmp_path / "sheet.png")
