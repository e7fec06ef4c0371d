"""Regions as files: rows of regions.csv, COCO's regions.json, a mask, and a picture with outlines.

Rows and columns become y and x. Boxes and outlines are in the coordinates of corners, pixel (x, y) being from x to
x + 1, as in COCO; centroids and peaks name pixels: the middle of the first is 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anotwin.domains.regions import Region
from anotwin.files import atomic_path
from anotwin.records import Finding
from anotwin.report.choose import shrunk
from anotwin.report.listing import Listing
from anotwin.report.overlay import Window, overlay, save_png
from anotwin.report.rows import columns
from anotwin.report.text import encode, short

OUTLINE = (0, 255, 255)  # cyan: no colour of heat


@dataclass(frozen=True)
class RegionRow:
    """One region in the table; heat is in units of usual: 1 is what 0.5 % of normal pixels exceed."""

    image: str
    region: int  # of its image, from 1: the hottest
    x: int  # of its box: the left column
    y: int  # the upper row
    width: int
    height: int
    area: int  # pixels
    centroid_x: float
    centroid_y: float
    peak: float  # the highest heat
    peak_x: int
    peak_y: int
    mean: float  # heat
    exceeds: bool  # the limit of heat; if not, the image is anomalous by its score, and this is where it is hottest


@dataclass(frozen=True)
class Found:
    """What is kept of the regions of one image; plain values, so that it can wait on disk."""

    height: int
    width: int
    rows: tuple[RegionRow, ...]
    outlines: tuple[tuple[float, ...], ...]  # of each: x, y, x, y ...

    def stored(self) -> bytes:
        """As JSON."""
        rows = [astuple(row) for row in self.rows]
        return json.dumps([self.height, self.width, rows, self.outlines]).encode()

    @classmethod
    def restored(cls, data: bytes) -> Found:
        """From `stored`."""
        height, width, rows, outlines = json.loads(data)
        return cls(height, width, tuple(RegionRow(*row) for row in rows), tuple(map(tuple, outlines)))


def found_in(image: str, shape: tuple[int, ...], regions: Sequence[Region], exceed: bool) -> Found:
    """The regions of an image of this shape."""
    rows = tuple(
        RegionRow(
            image=image,
            region=number,
            x=each.left,
            y=each.top,
            width=each.width,
            height=each.height,
            area=each.area,
            centroid_x=round(each.centroid[1], 2),
            centroid_y=round(each.centroid[0], 2),
            peak=round(each.peak, 4),
            peak_x=each.peak_at[1],
            peak_y=each.peak_at[0],
            mean=round(each.mean, 4),
            exceeds=exceed,
        )
        for number, each in enumerate(regions, start=1)
    )
    outlines = tuple(tuple(each.contour[:-1, ::-1].ravel().tolist()) for each in regions)  # COCO closes them itself
    return Found(shape[0], shape[1], rows, outlines)


def write_table(found: Iterable[Found], path: Path) -> None:
    """``regions.csv``, a row a region, as they come; whole or not at all. Raises DataError."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(encode([columns(RegionRow)]))
        for each in found:
            file.write(encode(map(astuple, each.rows)))


def write_coco(found: Iterable[Found], path: Path, info: Mapping[str, Any]) -> None:
    """``regions.json`` in COCO's format, of the images that have regions; raises DataError.

    `bbox` is [x, y, width, height], `area` the number of pixels, `segmentation` the outline as one polygon (holes of a
    region are in its mask alone), `score` the highest heat. `info` holds the limits.
    """
    category = {"id": 1, "name": "anomaly", "supercategory": "anomaly"}
    images: list[dict[str, Any]] = []
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", errors="backslashreplace") as file:
        head = {"info": dict(info), "licenses": [], "categories": [category]}
        file.write(json.dumps(head, ensure_ascii=False, allow_nan=False)[:-1] + ',\n"annotations": [')
        for number, annotation in enumerate(_annotations(found, images)):
            file.write((",\n" if number else "\n") + json.dumps(annotation, allow_nan=False))
        file.write('\n],\n"images": ' + json.dumps(images, ensure_ascii=False) + "}\n")


def _annotations(found: Iterable[Found], images: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The regions as COCO has them, numbered from 1; `images` takes the image of each."""
    number = 0
    for each in found:
        name = each.rows[0].image
        images.append({"id": len(images) + 1, "file_name": name, "width": each.width, "height": each.height})
        for row, outline in zip(each.rows, each.outlines, strict=True):
            number += 1
            yield {
                "id": number,
                "image_id": len(images),
                "category_id": 1,
                "bbox": [row.x, row.y, row.width, row.height],
                "area": row.area,
                "segmentation": [list(outline)],
                "iscrowd": 0,
                "score": row.peak,
                "mean": row.mean,
                "exceeds": row.exceeds,
            }


def mask_of(shape: tuple[int, ...], regions: Iterable[Region]) -> npt.NDArray[np.uint8]:
    """(H, W) 255 where a region is, 0 elsewhere."""
    mask = np.zeros(shape[:2], np.uint8)
    for each in regions:
        box = slice(each.top, each.top + each.height), slice(each.left, each.left + each.width)
        mask[box][each.mask] = 255
    return mask


def draw_regions(finding: Finding, found: Found, path: Path, window: Window | None) -> None:
    """The image with its heat and the outlines of its regions, numbered, as a PNG of at most a million pixels."""
    small = shrunk(finding)
    assert small.query is not None
    assert small.heatmap is not None
    picture = Image.fromarray(overlay(small.query, small.heatmap, window))
    if max(picture.size) < 256:  # an outline beside a pit of three pixels
        factor = -(-256 // max(picture.size))
        picture = picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
    across, down = picture.width / found.width, picture.height / found.height
    pen = ImageDraw.Draw(picture)
    for row, outline in zip(found.rows, found.outlines, strict=True):
        points = [(x * across, y * down) for x, y in zip(outline[::2], outline[1::2], strict=True)]
        pen.line([*points, points[0]], fill=OUTLINE, width=max(1, round(max(picture.size) / 600)))
        place = (row.x + row.width) * across + 2, max(row.y * down - 10, 0)
        pen.text((min(place[0], picture.width - 14), place[1]), str(row.region), fill=OUTLINE)
    save_png(np.asarray(picture), path)


def region_listing(rows: Sequence[RegionRow], total: int) -> Listing:
    """Regions for the terminal, the hottest first; `total`: of how many."""
    names = ("image", "region", "x", "y", "width", "height", "area", "peak heat")
    cells = [
        (row.image, *map(str, (row.region, row.x, row.y, row.width, row.height, row.area)), short(row.peak))
        for row in rows
    ]
    return Listing(names, tuple(cells), total, frozenset({"image"}))
