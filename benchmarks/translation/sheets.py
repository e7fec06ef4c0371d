"""Contact sheets: a row an example, a column each of input, outputs and truth, with the names of the columns above."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anotwin.report.overlay import save_png

Pixels = npt.NDArray[np.uint8]
GAP, HEAD, PAPER = 4, 14, 255  # pixels, and the grey between images


def contact_sheet(titles: Sequence[str], rows: Sequence[Sequence[Pixels]], side: int) -> Pixels:
    """(H, W, 3): every image enlarged or reduced to fit into squares of `side`, by nearest pixels where enlarged."""
    size = (len(titles) * (side + GAP) + GAP, HEAD + len(rows) * (side + GAP) + GAP)
    sheet = Image.new("RGB", size, (PAPER,) * 3)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(titles):
        draw.text((GAP + column * (side + GAP), 2), title, fill=(0, 0, 0))
    for number, row in enumerate(rows):
        for column, image in enumerate(row):
            sheet.paste(_fitted(image, side), (GAP + column * (side + GAP), HEAD + number * (side + GAP)))
    return np.asarray(sheet)


def save_sheet(path: Path | None, titles: Sequence[str], rows: Sequence[Sequence[Pixels]], side: int = 160) -> None:
    """As a PNG; without a path nothing happens."""
    if path is not None and rows:
        save_png(contact_sheet(titles, rows, side), path)


def _fitted(image: Pixels, side: int) -> Image.Image:
    picture = Image.fromarray(image).convert("RGB")
    ratio = side / max(picture.size)
    sizes = [max(1, round(length * ratio)) for length in picture.size]
    how = Image.Resampling.NEAREST if ratio >= 1 else Image.Resampling.LANCZOS
    return picture.resize((sizes[0], sizes[1]), how)
