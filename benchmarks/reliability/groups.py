"""The false-alarm promise where normals come in groups, by simulation: images and units of new groups.

Scores are drawn, no model is trained: a group's centre and each image's own part are normal, with variances icc and
1 - icc, so that an image of a new group scores N(0, 1) and its true rate above a threshold is known, not sampled. Two
more kinds are made to break a promise: `rare`, one group in seven with nine of ten images high, and `size`, where
large groups score higher. A cell is what `anotwin calibrate` does, so many times over: `calibrate` on K groups, then
the true rate of its threshold, the decision on new units, and whether its 95 % bound held. `whole groups` is the bound
that counts whole groups alone (`threshold.rate_bound` of K); `as images` is the same without groups.

    python -c "from benchmarks.reliability import groups; groups.show(groups.run(2000))"
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table
from scipy import stats

from anotwin.calibrate.decision import by_score, calibrate, unit_decider
from anotwin.calibrate.threshold import conformal_threshold, rate_bound, smallest_rate
from anotwin.prepare.patches import pool
from anotwin.records import UnitScores
from benchmarks.common.rows import console

GROUPS = (4, 16, 99)
IMAGES = ((1, 1), (5, 5), (25, 25), (1, 25))  # of a group, least and most: any number between is as likely
ICC = (0.0, 0.5, 0.8, 1.0)
BETWEEN = {4: 0.3, 16: 0.1, 99: 0.1}  # a rate above the lowest; (K + 1) rate = 1.5, 1.7 and 10
NEW = 8  # groups judged after each calibration
RARE = 0.14  # share of high images of the kind `rare`: just above the bound that would be one of single images
CONFIDENCE = 0.95
ERRORS = 3.5  # Monte Carlo standard errors: of some 200 comparisons none goes beyond by chance

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Kind:
    """How scores are drawn, and the true rate above a threshold."""

    name: str
    draw: Callable[[np.random.Generator, Integers], list[Floats]]  # sizes of groups -> their scores
    rate: Callable[[float], float]  # of an image of a new group, every group counting the same


def _normal(icc: float) -> Kind:
    def draw(rng: np.random.Generator, sizes: Integers) -> list[Floats]:
        centres = math.sqrt(icc) * rng.normal(size=sizes.size)
        own = math.sqrt(1 - icc)
        return [centre + own * rng.normal(size=size) for centre, size in zip(centres, sizes, strict=True)]

    return Kind(f"icc {icc:g}", draw, lambda threshold: float(stats.norm.sf(threshold)))


def _rare() -> Kind:
    def draw(rng: np.random.Generator, sizes: Integers) -> list[Floats]:
        high = rng.random(sizes.size) < RARE / 0.9
        return [np.r_[0.0, np.full(size - 1, float(kind))] for kind, size in zip(high, sizes, strict=True)]

    return Kind("rare", draw, lambda threshold: RARE if threshold < 1 else 0.0)


def _by_size(least: int, most: int) -> Kind:
    shifts = 0.1 * np.arange(least, most + 1)

    def draw(rng: np.random.Generator, sizes: Integers) -> list[Floats]:
        return [group + 0.1 * size for group, size in zip(_normal(0.5).draw(rng, sizes), sizes, strict=True)]

    return Kind("size", draw, lambda threshold: float(stats.norm.sf(threshold - shifts).mean()))


def run(draws: int) -> list[dict[str, Any]]:
    """A row a cell: K, images, kind, rate; what came out of `draws` calibrations, and whether each promise was kept."""
    return [_cell(draws, *cell) for cell in _cells()]


def _cells() -> Iterator[tuple[int, tuple[int, int], Kind, float]]:
    for count, images, icc in product(GROUPS, IMAGES, ICC):
        if images != (1, 1) or icc == 0:  # alone in its group an image is like any other
            for rate in (smallest_rate(count), BETWEEN[count]):
                yield count, images, _normal(icc), rate
    yield 20, (10, 10), _rare(), 1.95 / 21
    yield 20, (10, 10), _rare(), 2 / 21
    for rate in (smallest_rate(16), 0.1):
        yield 16, (1, 25), _by_size(1, 25), rate


def _cell(draws: int, count: int, images: tuple[int, int], kind: Kind, rate: float) -> dict[str, Any]:
    rng = np.random.default_rng([count, *images, *kind.name.encode(), round(1e6 * rate)])
    image, unit, above, whole_above, alone, alone_above = (np.zeros(draws) for _ in range(6))
    whole = rate_bound(count, rate, CONFIDENCE)
    bounds: dict[int, float] = {}
    for number in range(draws):
        sizes = rng.integers(images[0], images[1] + 1, count + NEW)
        groups = kind.draw(rng, sizes)
        scores, owners = np.concatenate(groups[:count]), np.repeat(np.arange(count), sizes[:count]).tolist()
        pooled = [pool(group) for group in groups]
        units = UnitScores("group", *by_score(pooled[:count], range(count)))
        found = calibrate(scores, scores, scores, 0.5, rate, owners, [units])
        judge = unit_decider(found, "group")
        image[number] = kind.rate(found.threshold)
        above[number], whole_above[number] = image[number] > found.rate_bound, image[number] > whole
        unit[number] = np.mean(
            [judge(score, int(size))[1] for score, size in zip(pooled[count:], sizes[count:], strict=True)]
        )
        if smallest_rate(scores.size) <= rate:
            alone[number] = kind.rate(conformal_threshold(scores, rate))
            bounds[scores.size] = bounds.get(scores.size) or rate_bound(scores.size, rate, CONFIDENCE)
            alone_above[number] = alone[number] > bounds[scores.size]
    least, most = images
    row: dict[str, Any] = {
        "groups": count,
        "images": f"{least}" if least == most else f"{least} to {most}",
        "scores": kind.name,
        "rate": rate,
        "draws": draws,
    }
    promises = {"image_rate": (image, rate), "unit_rate": (unit, rate), "above_bound": (above, 1 - CONFIDENCE)}
    for name, (values, promised) in promises.items():
        error = float(values.std(ddof=1)) / math.sqrt(draws)
        if name == "above_bound":
            error = math.sqrt(promised * (1 - promised) / draws)
        row |= {name: float(values.mean()), f"{name}_error": error}
        row[f"{name}_kept"] = bool(values.mean() <= promised + ERRORS * error + 1e-12)
    others = {"above_whole_bound": whole_above, "as_images_rate": alone, "as_images_above_bound": alone_above}
    return row | {name: float(values.mean()) for name, values in others.items()}


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rows as a table, and how many promises were kept."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = (
        "groups",
        "images",
        "scores",
        "promised",
        "image rate",
        "unit rate",
        "above bound",
        "whole groups",
        "as images",
        "above bound",
    )
    for name in names:
        table.add_column(name, justify="left" if name in ("images", "scores") else "right", no_wrap=True)
    for row in rows:
        cells = [str(row["groups"]), row["images"], row["scores"], f"{row['rate']:.2%}"]
        for name in ("image_rate", "unit_rate", "above_bound"):
            cells.append(f"{row[name]:.2%}" + ("" if row[f"{name}_kept"] else " BROKEN"))
        others = (row[name] for name in ("above_whole_bound", "as_images_rate", "as_images_above_bound"))
        table.add_row(*cells, *(f"{value:.2%}" for value in others))
    console.print(table)
    for name in ("image_rate", "unit_rate", "above_bound"):
        kept = sum(row[f"{name}_kept"] for row in rows)
        console.print(f"{name}: kept in {kept} of {len(rows)} cells of {rows[0]['draws']} draws", markup=False)
