"""`anotwin evaluate` of a translation: every image beside the true one, of pairs or of LR and HR folders."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.similarity import dice, enlarged_quality, mean_of, psnr, ssim
from anotwin.files import write_json_atomic
from anotwin.lock import one_writer
from anotwin.prepare.stream import UNUSABLE, named
from anotwin.records import Array
from anotwin.seeding import derive
from anotwin.translation.layouts import Domains, open_domains
from anotwin.translator import Translator
from anotwin.updates import Update, Watch, tell

PAIRED = "pairs"


def evaluate_model(
    model: Path,
    data: Path,
    json_file: Path,
    layout: str,
    limit: int | None,
    group: str | None,
    device: str,
    watch: Watch,
) -> dict[str, Any]:
    """Translate the A of every pair in `data` and compare it with its B; writes and returns the numbers as JSON values.

    Of images: l1 (in [0, 1]), psnr and ssim; where images are enlarged also psnr_y and ssim_y, as published; of label
    maps: accuracy and dice. Means come with 95 % intervals, over groups where there are any.

    Raises:
        SettingsError: a layout without pairs. DataError: no pair, or none that could be compared.
    """
    translator = Translator.load(model, device)
    domains = _opened(translator, data, layout, group)
    tell(watch, domains.notes)
    order: list[int] = list(range(len(domains.a.items)))
    if limit is not None:
        drawn = np.random.default_rng(derive(0, "evaluate")).permutation(len(order))[:limit]
        order = sorted(drawn.tolist())
    images: list[dict[str, Any]] = []
    for done, index in enumerate(order, start=1):
        name = domains.a.items[index].id
        try:
            images.append({"file": name} | _compared(translator, domains, index))
        except UNUSABLE as error:
            images.append({"file": name, "error": named(name, error)})
        watch(Update("translating", done, len(order)))
    good = [row for row in images if "error" not in row]
    if not good:
        raise DataError(f"{data}: none of {len(images)} pairs could be compared; one of them: {images[0]['error']}")
    numbers = _numbers(translator, domains, images, order)
    with one_writer(json_file.parent, lambda note: tell(watch, [note]), file=json_file.name):
        write_json_atomic(json_file, numbers)
    return numbers


def _opened(translator: Translator, data: Path, layout: str, group: str | None) -> Domains:
    settings, own = translator.settings, str(translator.layout.get("name"))
    if group is not None:
        settings = settings.with_overrides([f"data.group={json.dumps(group)}"])
    domains = open_domains(data, "test", own if layout == "auto" else layout, settings)
    if not domains.aligned:
        raise SettingsError(
            f"{data}: without pairs there is no truth to compare with; give some, with --layout {PAIRED}"
        )
    return domains


def _compared(translator: Translator, domains: Domains, index: int) -> dict[str, float]:
    found, truth = translator.translate(domains.a.read(index)), domains.b.read(index)
    height, width = found.shape[:2]
    truth = truth[:height, :width]  # rows beyond a multiple of the factor have no pixel in A
    if truth.shape != found.shape or truth.dtype != found.dtype:
        told = f"{truth.dtype} of {truth.shape}, its translation {found.dtype} of {found.shape}"
        raise DataError(f"{domains.b.items[index].id}: {told}: cannot be compared")
    spec = translator.spec.b
    if spec.classes:
        overlap = dice(truth, found, spec.classes)
        return {"accuracy": float((truth == found).mean()), "dice": float(np.nanmean(overlap))}
    span = 255.0 if truth.dtype == np.uint8 else spec.white - spec.black
    l1 = float(np.abs(found.astype(np.float64) - truth).mean()) / span
    values = {"l1": l1, "psnr": psnr(truth, found, span), "ssim": ssim(truth, found, span)}
    return values | (_published(truth, found, domains.factor) if domains.factor > 1 else {})


def _published(truth: Array, found: Array, factor: int) -> dict[str, float]:
    if truth.dtype != np.uint8:
        return {}
    return dict(zip(("psnr_y", "ssim_y"), enlarged_quality(truth, found, factor), strict=True))


def _numbers(
    translator: Translator, domains: Domains, images: list[dict[str, Any]], order: list[int]
) -> dict[str, Any]:
    good = [(row, index) for row, index in zip(images, order, strict=True) if "error" not in row]
    groups = [domains.a.items[index].group or domains.b.items[index].group or index for _, index in good]
    means: dict[str, Any] = {}
    for name in [name for name in good[0][0] if name != "file"]:
        values = [row.get(name, math.nan) for row, _ in good]
        estimate = mean_of([value if math.isfinite(value) else math.nan for value in values], groups)
        means[name] = {"mean": _plain(estimate.value), "low": _plain(estimate.low), "high": _plain(estimate.high)}
    return {
        "method": translator.method.name,
        "n": len(good),
        "n_failed": len(images) - len(good),
        "n_groups": len(set(groups)),
        "means": means,
        "images": [{name: _plain(value) for name, value in row.items()} for row in images],
    }


def _plain(value: Any) -> Any:
    """As JSON has it: None for what is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
