"""Part `speed` of `oct.py`: preparation by all cores together and stage by stage, and scoring of a volume."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from _common import Cell, Row
from _oct_scans import NORMAL, Scans, as_source, volume_of
from anotwin import Detector
from anotwin.domains.oct.flatten import flatten
from anotwin.domains.oct.layers.find import find_retina
from anotwin.domains.oct.scans import flat_scans
from anotwin.domains.oct.synthetic.retina import retina_scan
from anotwin.updates import Update, Watch

PREPARATION_GOAL, VOLUME_GOAL = ">= 20", "<= 30"  # B-scans a second on two cores at 512 x 496; seconds a volume
SLICES = 49


def speed_rows(
    name: str, count: int, slices: int, width: int, detector: Detector, goals: bool, watch: Watch
) -> Iterator[Row]:
    """`count` synthetic B-scans prepared, and a volume of `slices` scored by a trained detector."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    made = [retina_scan(seed, width=width) for seed in range(count)]
    source = as_source(made, [f"eye-{seed}" for seed in range(count)], [NORMAL] * count)
    cell = Cell(name, f"496 x {width}", "preparation")
    seconds = _seconds_a_scan(source, cores, watch)
    yield cell.row(f"b_scans_per_second_{cores}_processes", 1 / seconds, goal=PREPARATION_GOAL if goals else None)
    yield from _stages(cell, source)
    volume = volume_of(slices, width=width)
    began = time.perf_counter()
    for number, finding in enumerate(detector.findings(volume), start=1):
        watch(Update("scoring", number, slices, finding.error))
    cell = Cell(name, f"volume of {slices} slices", detector.method.name)
    yield cell.row("scoring_seconds", time.perf_counter() - began, unit="s", goal=VOLUME_GOAL if goals else None)


def _seconds_a_scan(source: Scans, cores: int, watch: Watch) -> float:
    """From the first scan of each process to the last of all: starting the processes is no part of it."""
    times = []
    for number, _ in enumerate(flat_scans(source, range(len(source.items)), cores), start=1):
        times.append(time.perf_counter())
        watch(Update("preparing", number, len(source.items)))
    started = min(cores, len(times) - 1)
    return (times[-1] - times[started - 1]) / (len(times) - started)


def _stages(cell: Cell, source: Scans) -> Iterator[Row]:
    """Milliseconds of each stage in one process, medians over scans."""
    spent: dict[str, list[float]] = {"find_retina": [], "flatten": []}
    for index in range(min(len(source.items), 20)):
        pixels, spacing = source.read(index), source.info(index).spacing
        retina = _timed(spent["find_retina"], find_retina, pixels, spacing)
        if not retina.reason:
            _timed(spent["flatten"], flatten, pixels, retina, None, spacing)
    for stage, seconds in spent.items():
        yield cell.row(f"{stage}_ms", 1000 * float(np.median(seconds)), unit="ms")


def _timed(spent: list[float], function: Callable[..., Any], *arguments: Any) -> Any:
    began = time.perf_counter()
    value = function(*arguments)
    spent.append(time.perf_counter() - began)
    return value
