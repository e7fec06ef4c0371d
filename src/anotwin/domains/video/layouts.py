"""How clips lie on disk: the layouts of this domain, each loaded when it is used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from anotwin.domains.protocol import Layout

if TYPE_CHECKING:
    from anotwin.data.folder import Part
    from anotwin.records import ImageSource


def _is_ucsd(root: Path) -> bool:
    from anotwin.domains.video.ucsd import is_ucsd

    return is_ucsd(root)


def _open_ucsd(root: Path, part: Part, normal: str | None) -> ImageSource:
    from anotwin.domains.video.ucsd import open_ucsd

    return open_ucsd(root, part, normal)


def _is_avenue(root: Path) -> bool:
    from anotwin.domains.video.avenue import is_avenue

    return is_avenue(root)


def _open_avenue(root: Path, part: Part, normal: str | None) -> ImageSource:
    from anotwin.domains.video.avenue import open_avenue

    return open_avenue(root, part, normal)


def _is_recording(root: Path) -> bool:
    from anotwin.domains.video.recordings import is_recording

    return is_recording(root)


def _open_recordings(root: Path, part: Part, normal: str | None, abnormal: str | None = None) -> ImageSource:
    from anotwin.domains.video.recordings import open_recordings

    return open_recordings(root, part, normal, abnormal)


LAYOUTS = (  # the first that recognises DATA is taken: an Avenue set is a folder of videos, too
    Layout("ucsd", _is_ucsd, _open_ucsd),
    Layout("avenue", _is_avenue, _open_avenue),
    Layout("video", _is_recording, _open_recordings, _open_recordings),
)
