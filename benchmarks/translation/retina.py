"""Part `retina`: CNV to normal by cyclegan, patients apart: does the retina of the counterpart have a normal shape?

A has the CNV scans of half of the patients, B the normal training scans; the CNV scans of the other patients are the
test, and normal scans of the test show what is done to an eye that needs no repair. Lines are those that
`anotwin.domains.oct` finds, in the scan and in its counterpart alike; beside it are twin's counterparts, learnt from
the same normals. CycleGAN sees scans at a quarter of their size: a lesion is larger than what its discriminator sees
of whole ones, and is left where it is. Its counterparts are enlarged again. Without lesions marked by a person this is
all that can be measured; the sheet is for the eye.

    thickness_off     |mean depth from inner surface to baseline - its mean over training normals|, micrometres
    rpe_elevation     mean |RPE - where it would lie undisturbed|, micrometres
    ..._repaired      how much less than in the scan itself; intervals resample patients
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from anotwin import DataError, Detector
from anotwin.domains.oct.layers.find import default_spacing, find_retinas
from anotwin.evaluate.similarity import mean_of
from anotwin.updates import Update
from benchmarks.common.rows import Row
from benchmarks.oct.patients import GET_OCT, NORMAL, Scans, real_scans, stand_ins
from benchmarks.translation.judges import Pixels
from benchmarks.translation.study import Study, find_folder, interval, skipped, training_row, write_images

CNV = "CNV"
REDUCED = 4
TRANSLATE = ("data.image_size=64", "training.steps=3000", "translation.mirror=true", "translation.cycle_weight=5")
TWIN, SMALL_TWIN = "twin", ("data.image_size=32", "networks.memory=64", "calibration.false_alarm_rate=0.2")
MEASURES = ("thickness_off", "rpe_elevation")
SHOWN = 6


@dataclass(frozen=True, eq=False)
class Eyes:
    """Scans to learn from and to test on."""

    learnt_cnv: Scans
    learnt_normal: Scans
    cnv: Scans
    normal: Scans


def find_eyes(study: Study) -> Eyes | None:
    """Kermany's; made-up ones with --quick."""
    if study.quick:
        every = stand_ins(8, 4)
        return apart(every, normals=[k for k, label in enumerate(every.labels) if label == NORMAL][:5])
    root = find_folder(study.arguments.data, "oct")
    if root is None:
        return None
    every = real_scans(root)
    return apart(every, [k for k, item in enumerate(every.items) if item.id.startswith("train")])


def apart(every: Scans, normals: Sequence[int]) -> Eyes:
    """`normals` are learnt from, the others tested on; every second patient with CNV is learnt from."""
    labels, patients = every.labels, every.patients
    names = sorted(set(patients[labels == CNV].tolist()))
    if len(names) < 2:
        raise DataError(f"retina: {len(names)} patients with {CNV}; expected at least 2, to learn from and to test on")
    known = np.isin(patients, names[::2])
    rest = np.setdiff1d(np.flatnonzero(labels == NORMAL), normals)
    parts = (np.flatnonzero((labels == CNV) & known), normals, np.flatnonzero((labels == CNV) & ~known), rest)
    return Eyes(*[every.take([int(k) for k in part]) for part in parts])


def retina_rows(study: Study) -> Iterator[Row]:
    """Before, cyclegan and twin."""
    eyes = find_eyes(study)
    if eyes is None:
        yield from skipped("retina", GET_OCT)
        return
    data = study.scratch / "retina"
    write_images(data / "A", [resized(image, 1 / REDUCED) for image in eyes.learnt_cnv.images], "cnv-")
    write_images(data / "B", [resized(image, 1 / REDUCED) for image in eyes.learnt_normal.images], "normal-")
    translator = study.translator("retina cyclegan", "cyclegan", data, TRANSLATE)
    usual = float(np.nanmean([depths(image)[0] for image in eyes.learnt_normal.images]))
    detector = twin(study, eyes.learnt_normal)
    for case, scans in ((CNV, eyes.cnv), (NORMAL, eyes.normal)):
        images = list(scans.images)
        reduced = [resized(image, 1 / REDUCED) for image in images]
        outputs = {
            "the scan itself": images,
            "the scan, reduced": [resized(small, REDUCED) for small in reduced],
            "cyclegan": [resized(made, REDUCED) for made in study.translated(translator, reduced, "AtoB")],
            TWIN: counterparts(detector, scans),
        }
        yield from shape_rows(study, case, outputs, usual, scans.patients.tolist())
        columns = list(zip(*outputs.values(), strict=True))
        study.sheet(f"retina-{case}", tuple(outputs), columns[:: len(columns) // SHOWN or 1][:SHOWN], side=240)
    yield from training_row(study.cell(CNV, "cyclegan"), translator)


def shape_rows(
    study: Study, case: str, outputs: Mapping[str, Sequence[Pixels]], usual: float, patients: Sequence[str]
) -> Iterator[Row]:
    """Both measures of each row, and how far it brings them down; NaN where no retina is found."""
    before: npt.NDArray[np.float64] | None = None
    for method, images in outputs.items():
        found = np.array([depths(image) for image in images])
        found[:, 0] = np.abs(found[:, 0] - usual)
        before = found if before is None else before
        rows = study.cell(case, method)
        for number, name in enumerate(MEASURES):
            value = mean_of(found[:, number].tolist(), patients)
            yield rows.row(name, value.value, interval(value), unit="um")
            if found is not before:
                less = mean_of((before[:, number] - found[:, number]).tolist(), patients)
                yield rows.row(f"{name}_repaired", less.value, interval(less), unit="um")
        yield rows.row("scans_without_retina", float(np.isnan(found[:, 0]).sum()))


def resized(image: Pixels, factor: float) -> Pixels:
    """Means of pixels, or bilinear between them."""
    height, width = (round(side * factor) for side in image.shape[:2])
    how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def depths(image: Pixels) -> tuple[float, float]:
    """Mean depth of the undisturbed baseline below the inner surface, and mean |RPE - baseline|, in micrometres."""
    (retina,) = find_retinas([image])
    if retina.reason or not retina.valid.any():
        return float("nan"), float("nan")
    axial, shown = default_spacing(*image.shape[:2]).axial, retina.valid
    depth = (retina.baseline - retina.ilm)[shown].mean()
    return float(depth) * axial, float(np.abs(retina.rpe - retina.baseline)[shown].mean()) * axial


def twin(study: Study, normals: Scans) -> Detector:
    """The default of anotwin train for such scans, trained on the same normals."""
    small = SMALL_TWIN if study.quick else ()
    study.watch(Update("note", detail=f"training {TWIN}"))
    return Detector.train(
        normals, method=TWIN, settings=study.settings(["data.layout=oct", *small]),
        device=study.arguments.device, watch=study.watch,
    )  # fmt: skip


def counterparts(detector: Detector, scans: Scans) -> list[Pixels]:
    """Twin's, in the pixels of each scan; the scan itself where there is none."""
    found = []
    for finding, image in zip(detector.findings(scans), scans.images, strict=True):
        found.append(image if finding.counterpart is None else np.asarray(finding.counterpart, np.uint8))
    return found
