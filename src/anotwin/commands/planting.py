"""`anotwin evaluate --planted N`: what counterparts repair of defects planted into normals, and which are detected."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from anotwin.commands.scoring import display_range
from anotwin.defects.kinds import HELD_OUT
from anotwin.detector import Detector
from anotwin.domains.open import LINES, notes_of, table_of
from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.counterparts import NAMES
from anotwin.evaluate.planted import PlantedSource
from anotwin.evaluate.planted_pairs import (
    Outcome,
    Shown,
    Untouched,
    drawn_plans,
    measure_pairs,
    planted_numbers,
    score_untouched,
)
from anotwin.evaluate.run import strict
from anotwin.files import write_bytes_atomic
from anotwin.lock import one_writer
from anotwin.records import ImageSource
from anotwin.report.planted_figure import planted_figure
from anotwin.report.text import encode, short
from anotwin.seeding import derive
from anotwin.updates import Update, Watch, tell

EXAMPLES = 3  # of each kind in counterparts.png
MOST = 1_000_000
COLUMNS = ("image", "kind", "diameter", "area", "score", "score_untouched", "anomalous", *NAMES, "reasons", "error")


def evaluate_planted(
    detector: Detector,
    data: Path,
    out: Path,
    *,
    count: int,
    layout: str = "auto",
    limit: int | None = None,
    watch: Watch,
    normal: str | None = None,
    abnormal: str | None = None,
    group: str | None = None,
    forget: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Plant `count` defects of kinds that nothing was trained on into the normals of DATA, and measure.

    Writes counterparts.csv and counterparts.png into `out`. The numbers are those of `planted_numbers`, with `kinds`,
    `n_leaked` (normals that the model was trained on) and `seconds_per_image`. `limit` is how many normals are used at
    most, `forget` as in `evaluate`. Raises DataError where there is no normal, or none that can be scored.
    """
    if not 1 <= count <= MOST:
        raise SettingsError(f"--planted {count}: expected 1 to {MOST} defects")
    if limit is not None and limit < 1:
        raise SettingsError(f"--limit {limit}: at least 1 normal image to plant defects into")
    source = detector.open(data, layout, normal=normal, abnormal=abnormal, group=group)
    tell(watch, table_of(source), most=LINES)
    tell(watch, notes_of(source))
    normals = _normals(source, watch)
    order = np.random.default_rng(derive(0, "hosts")).permutation(normals).tolist()
    with one_writer(out, lambda note: tell(watch, [note])):
        return _evaluate(detector, source, order[: min(count, limit or count)], count, out, watch, forget)


def _evaluate(
    detector: Detector,
    source: ImageSource,
    hosts: Sequence[int],
    count: int,
    out: Path,
    watch: Watch,
    forget: Callable[[], object],
) -> dict[str, Any]:
    def progress(stage: str, total: int) -> Callable[[int], None]:
        return lambda done: watch(Update(stage, done, total))

    began = time.perf_counter()
    findings = partial(_findings, detector)
    untouched, errors = score_untouched(findings, source, hosts, detector.spec, progress("untouched", len(hosts)))
    tell(watch, [f"left out: {error}" for error in errors[:3]])
    if not untouched:
        raise DataError(f"{source.root}: none of {len(hosts)} normal images can be scored; the first: {errors[0]}")
    plans = drawn_plans(untouched, HELD_OUT, count)
    pairs = PlantedSource(source, detector.spec, plans)
    outcomes: list[Outcome] = []
    examples: dict[str, list[Shown]] = defaultdict(list)
    for outcome, shown in measure_pairs(findings, pairs, untouched, detector.spec, progress("planted", count)):
        outcomes.append(outcome)
        if shown is not None and len(examples[outcome.kind]) < EXAMPLES:
            examples[outcome.kind].append(shown)
    if not any(examples.values()):
        raise DataError(f"{source.root}: no image with a planted defect can be scored; the first: {outcomes[0].error}")
    tell(watch, [each.error for each in outcomes if each.error][:3])
    seconds = (time.perf_counter() - began) / (len(hosts) + 2 * count)  # each counterpart is a query again
    numbers = planted_numbers(outcomes, untouched, len(errors)) | {
        "kinds": list(HELD_OUT),
        "n_leaked": _leaked(detector, untouched, watch),
        "seconds_per_image": seconds,
    }
    forget()
    write_bytes_atomic(out / "counterparts.csv", encode([COLUMNS, *map(_row, outcomes)]))
    chosen = [(kind, _words(each), each) for kind in sorted(examples) for each in examples[kind]]
    planted_figure(chosen, out / "counterparts.png", display_range(detector))
    return {"planted": strict(numbers)}


def _findings(detector: Detector, source: ImageSource, indices: Sequence[int]) -> Iterator[Any]:
    return detector.findings(source, indices)


def _normals(source: ImageSource, watch: Watch) -> list[int]:
    """Images known to be normal; where nothing is known of any, all of them."""
    known = [index for index, item in enumerate(source.items) if item.normal]
    if known:
        return known
    if any(item.normal is not None or item.label is not None for item in source.items):
        found = sorted({str(item.label) for item in source.items})[:10]
        raise DataError(
            f"{source.root}: no normal image to plant defects into, found the labels {', '.join(found)}; say which are "
            "normal with --normal PATTERN"
        )
    tell(watch, [f"no labels: all {len(source.items)} images are taken as normal"])
    return list(range(len(source.items)))


def _leaked(detector: Detector, untouched: dict[int, Untouched], watch: Watch) -> int:
    leaked = sum(each.fingerprint in detector.trained_on for each in untouched.values())
    note = f"{leaked} of the {len(untouched)} normal images were trained on: the numbers are too optimistic"
    tell(watch, [note] if leaked else [])
    return leaked


def _row(outcome: Outcome) -> list[object]:
    measures = outcome.measures
    own = {name: getattr(measures, name) for name in NAMES} | vars(outcome)
    own |= {"reasons": "; ".join(f"{name}: {why}" for name, why in measures.reasons.items())}
    return ["" if isinstance(own[name], float) and math.isnan(own[name]) else own[name] for name in COLUMNS]


def _words(shown: Shown) -> str:
    outcome = shown.outcome
    parts = [f"{outcome.diameter:.0f} px", f"repair {short(outcome.measures.repair)}", f"score {short(outcome.score)}"]
    return "\n".join([*parts, f"untouched {short(outcome.score_untouched)}"])
