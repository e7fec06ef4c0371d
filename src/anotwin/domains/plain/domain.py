"""Whole images: any folder of them, MVTec AD, idx files. The default domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anotwin.domains.protocol import Domain, Job, Layout, Outputs, ScoreOutputs, Unit, View
from anotwin.errors import DataError

if TYPE_CHECKING:
    from anotwin.data.folder import Part
    from anotwin.records import ImageSource


def _open_folder(root: Path, part: Part, normal: str | None, abnormal: str | None = None) -> ImageSource:
    from anotwin.data.folder import open_folder

    return open_folder(root, part, normal, abnormal)


def _is_mvtec(root: Path) -> bool:
    from anotwin.data.mvtec import is_mvtec

    return is_mvtec(root)


def _open_mvtec(root: Path, part: Part, normal: str | None) -> ImageSource:
    from anotwin.data.mvtec import GOOD, open_mvtec

    if normal not in (None, GOOD):
        raise DataError(f"{root}: the mvtec layout's normal label is 'good', got {normal!r}; or use --layout folder")
    return open_mvtec(root, part)


def _is_idx(root: Path) -> bool:
    from anotwin.data.idx import find_idx

    return root.is_dir() and bool(find_idx(root, "train") or find_idx(root, "test"))


def _open_idx(root: Path, part: Part, normal: str | None) -> ImageSource:
    from anotwin.data.idx import open_idx

    return open_idx(root, part, normal)


def _view() -> View:
    from anotwin.domains.plain.view import WholeView

    return WholeView()


def _scoring(job: Job) -> ScoreOutputs:
    from anotwin.domains.plain.outputs import WholeOutputs, by_verdict

    return WholeOutputs(job, by_verdict, {"pca": "features.png"}, traced=3)


def _evaluating(job: Job) -> Outputs:
    from anotwin.domains.plain.outputs import WholeOutputs, by_label

    return WholeOutputs(job, by_label, {"pca": "features.png", "tsne": "features-tsne.png"})


def _units(source: ImageSource, scores: Mapping[int, float]) -> Mapping[str, Sequence[Unit]]:
    from anotwin.domains.groups import group_units

    return group_units(source, scores)


PLAIN = Domain(
    name="plain",
    layouts=(
        Layout("folder", lambda _root: False, _open_folder, _open_folder),  # what is no other layout
        Layout("mvtec", _is_mvtec, _open_mvtec),
        Layout("idx", _is_idx, _open_idx, named=False),
    ),
    view_name="whole",
    parts=False,
    view=_view,
    scoring=_scoring,
    evaluating=_evaluating,
    units=_units,
    files=("groups.csv", "features.png", "search.png"),
)
