"""What all benchmarks share: options, data, rows with intervals and goals, the printed table, the JSON file.

A benchmark is a script: ``python benchmarks/NAME.py [--quick] [--json FILE]``, from the repository root. `Report` saves
after every addition, so that a run that is stopped keeps what it has measured.
"""

from __future__ import annotations

import argparse
import math
import os
import platform
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
import torch
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

from anotwin import AnoTwinError, DataError, Detector, Finding, SettingsError, __version__
from anotwin.commands.demo import find_mnist
from anotwin.data.arrays import from_arrays
from anotwin.data.idx import find_idx, open_idx
from anotwin.detector import Update, Watch
from anotwin.evaluate import metrics
from anotwin.files import write_json_atomic
from anotwin.records import ImageSource
from anotwin.seeding import derive, fingerprint

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]

GET_MNIST = (
    "MNIST not found: put train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and "
    "t10k-labels-idx1-ubyte.gz (published by LeCun, Cortes and Burges, mirrored by torchvision and Hugging Face) into "
    "one folder and name it with --data or ANOTWIN_DATA"
)
QUICK = (  # a smoke run: everything happens, nothing is learnt well
    "training.steps=60",
    "training.batch_size=32",
    "networks.base_channels=8",
    "search.steps=20",
    "calibration.false_alarm_rate=0.05",
)
PAPER = (  # the protocol of docs/results.md for method anogan, whatever the defaults of train are
    "search.preset=paper",
    "training.steps=4000",
    "training.precision=32-true",
)
DIGITS_TRAINED = 0.8  # share of the normal digits of scikit-learn that is training data

console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 150)


# -- rows and goals ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One number. `low` and `high` are its 95 % interval; `goal`: ">= x", "<= x", "x in interval" or None."""

    benchmark: str
    case: str  # what was measured on, for example "normal=0"
    method: str
    metric: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    goal: str | None = None

    def reached(self) -> bool | None:
        """Whether the goal is; None where there is none. A value that is NaN reaches nothing."""
        if self.goal is None:
            return None
        relation, bound = _parse_goal(self.goal)
        if relation == "in interval":
            return self.low is not None and self.high is not None and self.low <= bound <= self.high
        return self.value >= bound if relation == ">=" else self.value <= bound

    def as_dict(self) -> dict[str, Any]:
        """Strict JSON: what is not finite becomes null."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


def _parse_goal(goal: str) -> tuple[str, float]:
    match = re.fullmatch(r"(?:(>=|<=) (\S+)|(\S+) (in interval))", goal)
    if match is None:
        raise ValueError(f"goal {goal!r}: expected '>= x', '<= x' or 'x in interval'")
    return match[1] or match[4], float(match[2] or match[3])


@dataclass(frozen=True)
class Cell:
    """Where rows belong: benchmark, case and method."""

    benchmark: str
    case: str
    method: str

    def row(
        self, metric: str, value: float, interval: Interval | None = None, unit: str = "", goal: str | None = None
    ) -> Row:
        low, high = interval or (None, None)
        return Row(self.benchmark, self.case, self.method, metric, value, low, high, unit, goal)

    def auroc(self, metric: str, abnormal: npt.NDArray[np.bool_], scores: Floats, goal: str | None = None) -> Row:
        """AUROC, higher scores being more abnormal, under the name `metric`."""
        interval = metrics.bootstrap(metrics.auroc, abnormal, scores)
        return self.row(metric, metrics.auroc(abnormal, scores), interval, goal=goal)

    def average_precision(self, abnormal: npt.NDArray[np.bool_], scores: Floats) -> Row:
        """Average precision, abnormal images being those to find."""
        interval = metrics.bootstrap(metrics.average_precision, abnormal, scores)
        return self.row("average_precision", metrics.average_precision(abnormal, scores), interval)

    def share(self, metric: str, flags: npt.NDArray[np.bool_], goal: str | None = None) -> Row:
        """The share of True, with its exact interval: a bootstrap has no width where none or all are."""
        interval = metrics.proportion_interval(int(flags.sum()), len(flags))
        return self.row(metric, float(flags.mean()), interval, goal=goal)

    def mean(self, metric: str, values: Floats, unit: str = "", goal: str | None = None) -> Row:
        """The mean of values that belong to one kind of image."""
        one_class = np.zeros(len(values), dtype=bool)
        interval = metrics.bootstrap(lambda _labels, drawn: float(np.mean(drawn)), one_class, values)
        return self.row(metric, float(values.mean()), interval, unit, goal)


def over_seeds(runs: Sequence[Sequence[Row]], case: str) -> list[Row]:
    """Mean, least and greatest of each number over runs with different seeds: three rows each, without intervals."""
    values: dict[tuple[str, str], list[Row]] = {}
    for row in (row for run in runs for row in run):
        values.setdefault((row.method, row.metric), []).append(row)
    summary = []
    for rows in values.values():
        numbers = [row.value for row in rows]
        for name, value in (("mean", float(np.mean(numbers))), ("min", min(numbers)), ("max", max(numbers))):
            where = f"{case}, {name} of {len(numbers)} seeds"
            summary.append(replace(rows[0], case=where, value=value, low=None, high=None, goal=None))
    return summary


@dataclass
class Report:
    """All rows so far; every `add` saves them."""

    path: Path | None
    rows: list[Row] = field(default_factory=list)

    def add(self, rows: Sequence[Row]) -> None:
        """Keep and save `rows`."""
        self.rows += rows
        if self.path is not None:
            write_json_atomic(self.path, [row.as_dict() for row in self.rows])

    def show(self, rows: Sequence[Row]) -> None:
        """Print some rows as a table."""
        console.print(_table(rows))

    def close(self) -> None:
        """The last lines: which goals were reached, where the rows are."""
        outcomes = [(row, row.reached()) for row in self.rows]
        missed = [row for row, reached in outcomes if reached is False]
        count = sum(1 for _, reached in outcomes if reached is not None)
        if count:
            console.print(f"goals: {count - len(missed)} of {count} reached", markup=False)
        for row in missed:
            console.print(
                f"missed: {row.case}, {row.method}, {row.metric} {row.value:.4g}, goal {row.goal}", markup=False
            )
        if self.path is not None:
            console.print(f"{len(self.rows)} rows -> {self.path}", markup=False)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("case", "method", "metric", "value", "95 % interval", "unit", "goal"):
        table.add_column(name, justify="right" if name in ("value", "95 % interval") else "left", no_wrap=True)
    for row in rows:
        interval = "" if row.low is None or row.high is None else f"{row.low:.4f} .. {row.high:.4f}"
        outcome = {None: "", True: " reached", False: " [bold red]MISSED[/]"}[row.reached()]
        table.add_row(
            row.case, row.method, row.metric, f"{row.value:.4f}", interval, row.unit, (row.goal or "") + outcome
        )
    return table


# -- options, head, errors ---------------------------------------------------------------------------------------------


def options(
    description: str, data: str = "MNIST as idx files", small: str = "scikit-learn's 8 x 8 digits"
) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; `data` and `small` say what it runs on."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"smoke run on {small}, under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="file for the rows, saved as they come")
    parser.add_argument("--data", type=Path, metavar="DIR", help=f"{data}; else ANOTWIN_DATA, ../shared/data")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    return parser


def run(benchmark: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run a benchmark; foreseeable trouble is one line on stderr. The exit code: goals missed are no failure."""
    try:
        benchmark(arguments)
    except AnoTwinError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as stop:
        print(f"{stop or 'stopped'}; what was measured before is kept in --json", file=sys.stderr)
        return 130
    return 0


def print_head(title: str, facts: Mapping[str, str]) -> None:
    """Everything that a reader needs to judge or repeat the numbers; `facts` are the benchmark's own lines."""
    console.print(f"[bold]{title}[/]")
    versions = f"anotwin {__version__}, torch {torch.__version__}, scikit-learn {sklearn.__version__}"
    lines = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine(),
        "software": f"{versions}, python {platform.python_version()}",
        **facts,
    }
    for name, text in lines.items():
        console.print(f"  {name:<9} {text}", markup=False)


def machine() -> str:
    """Cores that this process may use, processor, threads, and the GPU if there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{cores} cores of {_processor()}, {torch.get_num_threads()} threads{gpu}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        text = ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else platform.processor() or platform.machine()


# -- data --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Images:
    """A data set with ten classes, any of which can be the normal one."""

    name: str
    root: Path | None  # of idx files; None: the digits

    @property
    def is_mnist(self) -> bool:
        return self.root is not None

    def training(self, normal: str) -> ImageSource:
        """Normal images alone; what is held out of training is still among them."""
        return open_idx(self.root, "train", normal) if self.root else _digits(normal, training=True)

    def test(self, normal: str) -> ImageSource:
        """Images of all classes that no training saw."""
        return open_idx(self.root, "test", normal) if self.root else _digits(normal, training=False)


def find_images(arguments: argparse.Namespace) -> Images | None:
    """The digits with --quick, else MNIST; None where that is not at hand: a printed line then says how to get it."""
    if arguments.quick:
        return bundled()
    root = _mnist(arguments.data)
    if root is None:
        console.print(GET_MNIST, markup=False)
        return None
    return Images("MNIST", root)


def find_or_bundled(arguments: argparse.Namespace) -> Images:
    """`find_images`, and the digits where there is no MNIST."""
    found = find_images(arguments)
    if found is None:
        console.print("going on with scikit-learn's digits, which come with it")
    return found or bundled()


def _mnist(data: Path | None) -> Path | None:
    if data is None:
        return find_mnist()
    for root in (data, data / "MNIST"):
        if root.is_dir() and find_idx(root, "train"):
            return root
    raise DataError(
        f"--data {data}: no train-images-idx3-ubyte(.gz) in it or in MNIST/; {GET_MNIST.partition(': ')[2]}"
    )


def bundled() -> Images:
    """scikit-learn's digits."""
    return Images("handwritten digits of scikit-learn (8 x 8)", None)


def _digits(normal: str, *, training: bool) -> ImageSource:
    """The first four fifths of the normal class are training data; the rest and all other classes are the test."""
    digits = load_digits()
    labels = digits.target.astype(str)
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    members = np.flatnonzero(labels == normal)
    if len(members) == 0:
        raise DataError(f"--normal {normal}: no such digit; expected 0 to 9")
    chosen = members[: int(DIGITS_TRAINED * len(members))]
    if not training:
        chosen = np.setdiff1d(np.arange(len(labels)), chosen)
    prefix = "train" if training else "test"
    return from_arrays(pixels[chosen], labels[chosen].tolist(), normal, prefix)


def draw(source: ImageSource, limit: int | None) -> list[int]:
    """`limit` positions in a source, the same for everyone: those that ``anotwin evaluate --limit`` takes."""
    everything = list(range(len(source.items)))
    if limit is None or limit >= len(everything):
        return everything
    order = np.random.default_rng(derive(0, "limit")).permutation(len(everything))
    chosen = sorted(order[: max(limit, 0)].tolist())
    if {source.items[index].normal for index in chosen} != {True, False}:
        raise SettingsError(f"--limit {limit}: not both normal and abnormal images among those drawn; raise it")
    return chosen


def members(detector: Detector, source: ImageSource, part: str) -> list[int]:
    """Positions of the images that a detector had in `part`, "train" or "holdout", recognised by their content."""
    prints = set(detector.fingerprints[part].tolist())
    return [index for index in range(len(source.items)) if fingerprint(source.read(index)) in prints]


def pixels(source: ImageSource, indices: Sequence[int]) -> Floats:
    """Images as vectors (N, P) in [0, 1]: what a method without a network sees."""
    return np.stack([source.read(index).ravel() for index in indices]).astype(np.float64) / 255


# -- scoring -----------------------------------------------------------------------------------------------------------


def score(detector: Detector, source: ImageSource, indices: Sequence[int], watch: Watch) -> tuple[list[Finding], float]:
    """Findings without pictures, in the order of `indices`, and the seconds they took; a failure is a DataError."""
    findings: list[Finding] = []
    began = time.perf_counter()
    for finding in detector.findings(source, indices, pictures=False):
        if finding.error:
            raise DataError(finding.error)
        findings.append(finding)
        watch(Update("scoring", len(findings), len(indices)))
    return findings, time.perf_counter() - began


def column(findings: Sequence[Finding], name: str) -> Floats:
    """One number of each finding: (N,)."""
    return np.array([getattr(finding, name) for finding in findings], dtype=np.float64)


def abnormal(findings: Sequence[Finding]) -> npt.NDArray[np.bool_]:
    """(N,) True where the label says so."""
    return np.array([finding.normal is False for finding in findings], dtype=bool)
