"""Long strips: the files that strips.txt names, a line each with its label; a model looks at squares of them."""

from __future__ import annotations

from pathlib import Path

from anotwin.domains.protocol import Checked, Domain, Job, Layout, ScoreOutputs, View
from anotwin.errors import DataError


def _open(root: Path, part: str, normal: str | None):
    from strips.source import open_strips

    if normal not in (None, "normal"):
        raise DataError(f"{root}: the normal label of strips is 'normal', got {normal!r}")
    return open_strips(root, part)


def _view() -> View:
    from strips.view import SquaresView

    return SquaresView()


def _outputs(job: Job) -> ScoreOutputs:
    from strips.outputs import HottestSquares

    return HottestSquares(job)


def _check(source, out, limit, pictures, watch) -> Checked:
    from strips.outputs import check

    return check(source, out, limit, watch)


STRIPS = Domain(
    name="strips",
    layouts=(Layout("strips", lambda root: (root / "strips.txt").is_file(), _open),),
    view_name="squares",
    parts=True,
    view=_view,
    scoring=_outputs,
    evaluating=_outputs,
    check=_check,
    own_layout="strips",
    options={"upside-down": "write the table from the last strip to the first"},
)
