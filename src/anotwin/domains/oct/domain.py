"""Retinal OCT: B-scans and volumes as scanners write them, scored as patches of the flattened retina."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anotwin.domains.protocol import Checked, Domain, Job, Layout, Outputs, ScoreOutputs, Unit, View

if TYPE_CHECKING:
    from anotwin.data.folder import Part
    from anotwin.records import ImageSource
    from anotwin.updates import Watch

# of manifest.csv, see `anotwin.data.columns`
COLUMNS = ("patient", "eye", "volume", "slice", "mask", "axial_um", "lateral_um", "between_um")


def _recognises(root: Path) -> bool:
    from anotwin.domains.oct.source import is_oct

    return is_oct(root)


def _open(root: Path, part: Part, normal: str | None, abnormal: str | None = None) -> ImageSource:
    from anotwin.domains.oct.source import open_oct

    return open_oct(root, part, normal, abnormal)


def _view() -> View:
    from anotwin.domains.oct.view import RetinaView

    return RetinaView()


def _scoring(job: Job) -> ScoreOutputs:
    from anotwin.domains.oct.outputs import ScanOutputs

    return ScanOutputs(job)


def _evaluating(job: Job) -> Outputs:
    from anotwin.domains.oct.outputs import EvaluatedScans

    return EvaluatedScans(job)


def _check(source: ImageSource, out: Path, limit: int | None, pictures: bool, watch: Watch) -> Checked:
    from anotwin.domains.oct.check import check_scans

    return check_scans(source, out, limit, pictures, watch)


def _units(source: ImageSource, scores: Mapping[int, float]) -> Mapping[str, Sequence[Unit]]:
    from anotwin.domains.oct.units import scan_units

    return scan_units(source, scores)


OCT = Domain(
    name="oct",
    layouts=(Layout("oct", _recognises, _open, _open, columns=COLUMNS),),
    view_name="retina",
    parts=True,
    view=_view,
    scoring=_scoring,
    evaluating=_evaluating,
    check=_check,
    own_layout="oct",
    options={"lines": "draw the layer lines into bscans/"},
    shrinks=False,
    units=_units,
    files=("groups.csv", "patches.png", "volumes.csv", "patients.csv"),
)
