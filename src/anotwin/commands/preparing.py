"""`anotwin prepare`: what preparation makes of images, to be checked before training; see `Domain.check`."""

from __future__ import annotations

from pathlib import Path

from anotwin.data.folder import Part
from anotwin.domains.open import guess_layout, notes_of, open_source
from anotwin.domains.protocol import Checked, Domain
from anotwin.domains.registry import DOMAINS, domain_for, domain_of_view, layout_of
from anotwin.errors import SettingsError
from anotwin.files import check_apart, check_writable
from anotwin.lock import one_writer
from anotwin.occupied import result_notes
from anotwin.updates import Watch, silent, tell


def prepare_folder(
    data: Path,
    out: Path,
    layout: str | None = None,
    view: str = "auto",
    part: str | None = None,
    limit: int | None = None,
    pictures: bool = True,
    watch: Watch = silent,
) -> Checked:
    """Show what training and scoring make of DATA; the domain says what is written.

    Args:
        data: a folder, or one file.
        out: a folder that is not within `data`.
        layout: of `data`; "auto": the one recognised; None: likewise or, if that has no check, the first that has one.
        view: what a model is to see in the images; "auto": that of the layout.
        part: "train" (normal images alone) or "test"; None: train, or test where `data` is one file.
        limit: at most this many images, drawn at random with a fixed seed.
        pictures: the steps of every image; they take most of the time.

    Raises:
        DataError: nothing usable there.
        SettingsError: a view with nothing to check, another part, a limit below 1, or `out` within `data`.
    """
    if part not in (None, "train", "test"):
        raise SettingsError(f"--part {part}: expected train or test")
    domain, name = _domain(data, layout, view)
    if domain.check is None:
        others = [f"--layout {o.own_layout} or --view {o.view_name}" for o in DOMAINS if o.check is not None]
        raise SettingsError(
            f"{data}: nothing to prepare in the layout {name} for the view {domain.view_name}; use "
            f"{', or '.join(others)} if that is what these files are"
        )
    chosen: Part = "test" if part == "test" or (part is None and data.is_file()) else "train"
    source = open_source(data, chosen, name)
    check_apart(out, data)
    tell(watch, [*result_notes(out, "prepared.csv"), *notes_of(source)])
    with one_writer(out, lambda note: tell(watch, [note]), below=["sheets", "steps"]):
        check_writable(out)
        return domain.check(source, out, limit, pictures, watch)


def _domain(data: Path, layout: str | None, view: str) -> tuple[Domain, str]:
    """The domain whose check is wanted, and the layout to open."""
    if layout is None and view != "auto":
        layout = domain_of_view(view).own_layout
    name = guess_layout(data) if layout in (None, "auto") else layout_of(str(layout)).name
    domain = domain_for(view, name)
    if layout is None and domain.check is None:
        domain = next(other for other in DOMAINS if other.check is not None)
        name = domain.own_layout
    return domain, name
