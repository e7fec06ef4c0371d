"""`anotwin evaluate`: labelled images, numbers, curves and the paper's figure."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anotwin.calibrate.shift import Shift, compare_scores
from anotwin.commands.planting import evaluate_planted
from anotwin.commands.scoring import display_range
from anotwin.detector import Detector
from anotwin.domains.open import LINES, notes_of, table_of, taken_of
from anotwin.domains.protocol import FindsEvents, Job
from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.clips import clip_numbers
from anotwin.evaluate.frames import PixelLevel
from anotwin.evaluate.masks import MaskReport
from anotwin.evaluate.run import evaluate_findings
from anotwin.evaluate.units import unit_numbers
from anotwin.files import check_apart, check_writable, write_json_atomic
from anotwin.lock import one_writer
from anotwin.occupied import replaced_note, result_notes
from anotwin.records import Calibration, Finding, ImageSource
from anotwin.report.choose import Chooser, shrunk
from anotwin.report.curves import histogram_figure, roc_figure
from anotwin.report.figure import counterpart_figure
from anotwin.run.leaks import ABNORMAL, ABNORMAL_GROUPS, of_trained_groups, prints_of
from anotwin.seeding import derive
from anotwin.updates import Update, Watch, tell

SHOWN = 10  # images in figure.png
SCORE_NAMES = {
    "anomaly": "anomaly score A(x)",
    "residual": "residual score R(x)",
    "discrimination": "discrimination score D(x)",
    "discriminator": "discriminator score P_D(x)",
}


def evaluate_to(
    json_file: Path,
    detector: Detector,
    data: Path,
    out: Path | None,
    *,
    layout: str,
    limit: int | None,
    watch: Watch,
    normal: str | None = None,
    abnormal: str | None = None,
    group: str | None = None,
    planted: int | None = None,
) -> dict[str, Any]:
    """`evaluate`, with the numbers in `json_file`, and the pictures in the folder of that name if `out` is None.

    With `planted`, `evaluate_planted` takes its place: so many defects are planted into normals.
    """
    if json_file.is_dir():
        raise SettingsError(f"{json_file}: is a folder; --json names the file for the numbers")
    if json_file.exists() and not json_file.is_file():  # a pipe, /dev/null: never replaced
        raise SettingsError(f"{json_file}: is not a regular file; --json names the file for the numbers")
    check_writable(json_file.parent)  # before scoring, which may take hours
    beside = json_file.with_suffix("") if json_file.suffix else json_file.with_name(f"{json_file.name}-pictures")
    kinds, place = {"normal": normal, "abnormal": abnormal, "group": group}, out or beside
    check_apart(place, data)
    replaced = replaced_note(json_file)
    tell(watch, [*replaced, *result_notes(place, *(() if replaced else ("roc.png", "counterparts.csv")))])
    with one_writer(json_file.parent, file=json_file.name):

        def forget() -> None:
            json_file.unlink(missing_ok=True)

        if planted is not None:
            numbers = evaluate_planted(
                detector, data, place, count=planted, layout=layout, limit=limit, watch=watch, forget=forget, **kinds
            )
        else:
            numbers = evaluate(detector, data, place, layout=layout, limit=limit, watch=watch, forget=forget, **kinds)
        write_json_atomic(json_file, numbers)
    return numbers


def evaluate(
    detector: Detector,
    data: Path,
    out: Path,
    *,
    layout: str = "auto",
    limit: int | None,
    watch: Watch,
    normal: str | None = None,
    abnormal: str | None = None,
    group: str | None = None,
    forget: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Score labelled images and measure; see `anotwin.evaluate.run.Evaluation` for the numbers.

    Writes roc.png, histogram.png, figure.png and the domain's pictures into `out`. `limit` draws that many images at
    random, with a fixed seed. Beside the numbers of the evaluation: `n_leaked`, how many images the model was trained
    on, `n_leaked_by_group`, how many others are of their groups, `n_left_out`, how many are in no number because they,
    or others of their groups, were learnt from as abnormal images, `shift`, how normal images compare with those
    calibrated on (calibrate/shift.py), and, of all images, `by_unit` (evaluate/units.py).
    `forget` removes the numbers of an earlier evaluation, before its first picture is replaced.
    """
    source = detector.open(data, layout, normal=normal, abnormal=abnormal, group=group)
    tell(watch, table_of(source), most=LINES)
    tell(watch, notes_of(source))
    indices = _labelled(source, limit)
    with one_writer(out, lambda note: tell(watch, [note]), below=["bscans"]):
        return _evaluate(detector, source, indices, out, watch, forget)


def _evaluate(
    detector: Detector,
    source: ImageSource,
    indices: Sequence[int],
    out: Path,
    watch: Watch,
    forget: Callable[[], object],
) -> dict[str, Any]:
    whole = len(indices) == len(source.items)  # of a part of its images no clip or unit has what it is judged by
    learnt, left_out = prints_of(detector.fingerprints, ABNORMAL), _of_abnormal_groups(detector, source, indices)
    indices = [index for index in indices if index not in left_out]
    masks = MaskReport(source, indices)  # checks their sizes before anything is scored
    tell(watch, [masks.counted()])
    position = {item.id: index for index, item in enumerate(source.items)}
    outputs = detector.domain.evaluating(Job(source, out, detector, watch=watch))
    trained = of_trained_groups(source, indices, detector.fingerprints)
    by_name = frozenset(source.items[index].group for index in trained)
    shrink = shrunk if detector.domain.shrinks else lambda finding: finding
    collected = _Collected(detector.trained_on, by_name, Chooser(SHOWN, shrink))
    clips = outputs if isinstance(outputs, FindsEvents) else None  # their frames are too many for pixel metrics
    pixel_level = PixelLevel() if clips and masks.any else None

    def findings() -> Iterator[Finding]:
        every = zip(indices, detector.findings(source, indices), strict=True)
        for done, (index, finding) in enumerate(every, start=1):
            watch(Update("scoring", done, len(indices)))
            if finding.fingerprint in learnt:
                left_out.add(index)
                continue
            collected.add(finding)
            collected.by_index[index] = math.nan if finding.error else finding.score
            outputs.take(index, finding)
            if pixel_level is not None:
                pixel_level.add(finding.group, finding.heatmap, masks.read(index), finding.id)
            yield finding

    def mask(finding: Finding) -> npt.NDArray[np.bool_] | None:
        return masks.read(position[finding.id])

    began = time.perf_counter()
    numbers = evaluate_findings(
        findings(),
        mask if masks.any and not clips else None,
        seconds=lambda: time.perf_counter() - began,
        threshold=detector.threshold,
        false_alarm_rate_requested=detector.calibration.false_alarm_rate if detector.calibration else None,
    ).as_dict() | {"n_leaked": collected.leaked, "n_leaked_by_group": collected.leaked_by_group()}
    numbers |= {"n_left_out": len(left_out)}
    if left_out:
        told = "they, or others of their groups, were learnt from as abnormal images"
        tell(watch, [f"{len(left_out)} of {len(left_out) + len(collected.by_index)} images left out: {told}"])
    if whole:
        units = detector.domain.units(source, collected.by_index)
        numbers |= {"by_unit": unit_numbers(units, source.items, collected.by_index, detector.calibration)}
    shift = collected.shift(detector.calibration)
    numbers |= {"shift": shift.as_dict() if shift else None}
    tell(watch, [shift.note()] if shift and shift.shifted else [])
    numbers |= {"masks": masks.as_dict(), "folders": [each._asdict() for each in taken_of(source)]}
    tell(watch, masks.notes())
    if collected.leaked:
        note = f"{collected.leaked} of these images were trained on: the numbers are too optimistic"
        watch(Update("note", detail=note))
    if collected.leaked_by_group():
        note = f"{collected.leaked_by_group()} more are of groups of which the model was trained on other images"
        watch(Update("note", detail=note))
    forget()
    _draw(detector, numbers, collected, out)
    outputs.finish(collected.chooser.chosen, None)
    if clips and whole and not left_out:
        read = masks.read if masks.any else None
        numbers |= {"clips": clip_numbers(clips.clips(), source.items, collected.by_index, read, pixel_level)}
    return numbers


@dataclass
class _Collected:
    """What the pictures and `n_leaked` need of the findings; only the chosen ones are kept."""

    trained_on: frozenset[int]
    trained_groups: frozenset[str | None] = frozenset()  # by their names
    chooser: Chooser = field(default_factory=lambda: Chooser(SHOWN))
    normal: list[bool] = field(default_factory=list)  # of the labelled findings, like their scores
    scores: list[float] = field(default_factory=list)
    by_index: dict[int, float] = field(default_factory=dict)  # the score of every image; NaN where it failed
    new_normals: list[tuple[float, str | None]] = field(default_factory=list)  # score and group; not trained on
    leaked: int = 0
    leaked_groups: Counter[str | None] = field(default_factory=Counter)  # of images that were trained on
    other_groups: Counter[str | None] = field(default_factory=Counter)  # of the others

    def leaked_by_group(self) -> int:
        """How many images were not trained on themselves, but others of their group were."""
        return sum(self.other_groups[group] for group in (self.leaked_groups.keys() | self.trained_groups) - {None})

    def shift(self, calibration: Calibration | None) -> Shift | None:
        """How the normal images compare with those calibrated on."""
        scores, groups = [score for score, _ in self.new_normals], [group for _, group in self.new_normals]
        return compare_scores(calibration, scores, groups, all_normal=True) if calibration else None

    def add(self, finding: Finding) -> None:
        self.chooser.add(finding)
        leaked = finding.fingerprint in self.trained_on
        self.leaked += leaked
        (self.leaked_groups if leaked else self.other_groups).update([finding.group])
        if finding.normal and not finding.error and not leaked:
            self.new_normals.append((finding.score, finding.group))
        if finding.normal is not None and not finding.error:
            self.normal.append(finding.normal)
            self.scores.append(finding.score)


def _draw(detector: Detector, numbers: dict[str, Any], collected: _Collected, out: Path) -> None:
    normal, scores = np.array(collected.normal), np.array(collected.scores)
    threshold, interval = numbers["threshold"], (numbers["auroc_low"], numbers["auroc_high"])
    roc_figure(~normal, scores, threshold, numbers["auroc"], interval, out / "roc.png")
    name = SCORE_NAMES[detector.settings.compare.score]
    histogram_figure(scores[normal], scores[~normal], threshold, out / "histogram.png", name)
    counterpart_figure(collected.chooser.chosen, out / "figure.png", window=display_range(detector))


def _of_abnormal_groups(detector: Detector, source: ImageSource, indices: Sequence[int]) -> set[int]:
    """Those of `indices` of whose groups the model has learnt abnormal images; raises where one kind alone is left."""
    found = set(of_trained_groups(source, indices, detector.fingerprints, [ABNORMAL_GROUPS]))
    if found and not {True, False} <= {source.items[index].normal for index in indices if index not in found}:
        raise DataError(
            f"{source.root}: {len(found)} images are of groups that the model has learnt abnormal images of, and "
            "without them no normal or no abnormal image is left to evaluate on; name other images"
        )
    return found


def _labelled(source: ImageSource, limit: int | None) -> list[int]:
    """The images to score; raises, before any is scored, where they are not both normal and abnormal."""
    if not {True, False} <= {item.normal for item in source.items}:
        found = sorted({str(item.label) for item in source.items})[:10]
        raise DataError(
            f"{source.root}: evaluate needs normal and abnormal images, found the labels {', '.join(found)}; put "
            "normal images into good/ (or normal/) beside folders of abnormal ones, or say which are with "
            "--normal PATTERN and --abnormal PATTERN"
        )
    count = len(source.items)
    if limit is None or limit >= count:
        return list(range(count))
    if limit < 2:
        raise SettingsError(f"--limit {limit}: at least 2 images, one normal and one abnormal")
    indices: list[int] = sorted(np.random.default_rng(derive(0, "limit")).permutation(count)[:limit].tolist())
    if not {True, False} <= {source.items[index].normal for index in indices}:
        raise SettingsError(f"--limit {limit}: drew only one kind of image, normal or abnormal; raise it")
    return indices
