"""What preparation makes of OCT scans, as pictures and a table for a person to check, before anything is trained."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from anotwin.domains.oct.evidence import evidence_of
from anotwin.domains.oct.layers.find import default_spacing
from anotwin.domains.oct.records import ScanInfo, ScanSource
from anotwin.domains.oct.report.bscan import scan_figure
from anotwin.domains.oct.report.sheets import Sheets
from anotwin.domains.oct.report.tables import Outcome, ScanRow, count_reasons, reason_listing, write_scans
from anotwin.domains.oct.scale import doubts, thickness
from anotwin.domains.oct.scans import FlatScan, flat_scans
from anotwin.domains.oct.view import PATCH
from anotwin.domains.protocol import Checked, Written
from anotwin.errors import DataError, SettingsError
from anotwin.prepare.patch_index import PatchIndex
from anotwin.records import ImageSource
from anotwin.report.files import disk_errors, picture_names
from anotwin.seeding import derive
from anotwin.updates import Update, Watch, silent, tell

PATCHES = 8  # shown of each scan
_GAP = 4  # pixels between them


def check_scans(source: ImageSource, out: Path, limit: int | None, pictures: bool, watch: Watch = silent) -> Checked:
    """Find and flatten the retina of every scan as training and scoring do, and draw each step.

    Writes ``prepared.csv``, ``sheets/scans-01.png`` ... with the lines of many scans, ``sheets/bands-01.png`` ... with
    the flattened scans and, if `pictures`, ``steps/<image>.png``: a scan with its lines, flattened, and some patches.

    With a `limit` at most that many scans: whole volumes, drawn at random with a fixed seed, the last cut short. Raises
    DataError after writing if no scan could be segmented, SettingsError for no OCT scans or a limit below 1.
    """
    if not isinstance(source, ScanSource):
        raise SettingsError(f"{source.root}: is of the layout {source.layout}; are these OCT scans? Use --layout oct")
    volumes = _volumes(source, limit)
    rows, sheets = _prepare(source, [index for volume in volumes for index in volume], out, pictures, watch)
    table = out / "prepared.csv"
    write_scans(rows, table)
    quality = [row.quality for row in rows if row.status == "segmented" and row.quality is not None]
    if not quality:
        first = next(f"{row.image}: {row.reason}" for row in rows if row.reason)
        raise DataError(f"{table}: none of {len(rows)} scans could be segmented; the first: {first}")
    notes = doubts([row.thickness_um for row in rows if row.thickness_um is not None])
    tell(watch, notes)
    counts = Counter(row.status for row in rows)
    reasons = count_reasons(rows)
    parts = [
        f"{len(rows)} scans of {len(volumes)} volumes",
        f"{counts['segmented']} segmented (quality {median(quality):.2f})",
    ]
    parts += [f"{counts[status]} {status}" for status in ("refused", "unreadable") if counts[status]]
    numbers = {
        "table": str(table),
        "sheets": [str(path) for path in sheets],
        "scans": len(rows),
        "volumes": len(volumes),
        **{status: counts[status] for status in ("segmented", "refused", "unreadable")},
        "quality": median(quality),
        "reasons": [asdict(reason) for reason in reasons],
        # what is missing or odd about the data
        "notes": [*getattr(source, "notes", ()), *notes],
    }
    written = [Written(table, "every scan, and why it was refused", reason_listing(reasons) if reasons else None)]
    written += [Written(path, "contact sheet") for path in sheets]
    return Checked(tuple(written), ", ".join(parts), numbers)


def _volumes(source: ScanSource, limit: int | None) -> list[tuple[int, ...]]:
    """The volumes to prepare in the order of the source, of at most `limit` scans together."""
    volumes = list(source.volumes())
    if limit is None:
        return volumes
    if limit < 1:
        raise SettingsError(f"--limit {limit}: at least 1 scan")
    order = np.random.default_rng(derive(0, "limit")).permutation(len(volumes))
    taken: dict[int, tuple[int, ...]] = {}
    for place in order.tolist():
        if limit > 0:
            taken[place] = volumes[place][:limit]
            limit -= len(taken[place])
    return [taken[place] for place in sorted(taken)]


def _prepare(
    source: ScanSource, indices: list[int], out: Path, pictures: bool, watch: Watch
) -> tuple[list[ScanRow], list[Path]]:
    """The rows, and the sheets that were written."""
    names = picture_names([item.id for item in source.items])
    scans, bands = Sheets(out / "sheets", "scans"), Sheets(out / "sheets", "bands")
    rows = []
    for scan in flat_scans(source, indices):
        name = source.items[scan.index].id
        row = _row(scan, name, source.info(scan.index))
        rows.append(row)
        quality = "" if row.quality is None else f"  {row.quality:.2f}"
        scans.add_scan(scan.pixels, scan.retina, "\n".join(filter(None, (f"{name}{quality}", row.reason))))
        if scan.flat is not None:
            bands.add_band(scan.flat, name)
        if pictures:
            _draw_steps(scan, row, out / "steps" / names[name])
        watch(Update("preparing", len(rows), len(indices)))
    return rows, [*scans.finish(), *bands.finish()]


def _row(scan: FlatScan, name: str, info: ScanInfo) -> ScanRow:
    status: Outcome = "unreadable" if scan.pixels is None else "refused" if scan.flat is None else "segmented"
    row = ScanRow(
        image=name,
        patient=info.patient,
        eye=info.eye,
        volume=info.volume,
        slice=info.slice,
        status=status,
        reason=_nameless(scan.error, name),
    )
    if scan.pixels is None or scan.retina is None:
        return row
    height, width = scan.pixels.shape[:2]
    spacing, retina = scan.spacing or default_spacing(height, width), scan.retina
    thick = thickness(retina, spacing.axial) if not retina.reason and retina.valid.any() else None
    found = evidence_of(retina, scan.flat, scan.flat.deciding, ()) if scan.flat is not None else None
    return replace(
        row,
        width=width,
        height=height,
        axial_um=spacing.axial,
        lateral_um=spacing.lateral,
        spacing="assumed" if scan.spacing is None else "file",
        quality=retina.quality,
        thickness_um=thick,
        valid=float(np.mean(retina.valid)),
        left_out=found.words() if found else "",
        reason=retina.reason or row.reason,
    )


def _draw_steps(scan: FlatScan, row: ScanRow, path: Path) -> None:
    if scan.pixels is None:
        with disk_errors(path):
            path.unlink(missing_ok=True)  # from an earlier run, when it could be read
        return
    bands = {}
    if scan.flat is not None:
        bands["flattened along the undisturbed RPE"] = scan.flat.pixels
        patches = _patches(scan.flat.pixels, scan.flat.valid)
        if patches is not None:
            bands[f"patches of {PATCH} x {PATCH} pixels, as training draws them"] = patches
    title = row.image if row.quality is None else f"{row.image}   quality {row.quality:.2f}"
    scan_figure(scan.pixels, None, path, title=title, retina=scan.retina, spacing=scan.spacing, bands=bands)


def _patches(band: npt.NDArray[np.float32], valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32] | None:
    """Patches side by side, white between them; None where there is no room for one."""
    try:
        found = PatchIndex([valid], PATCH, PATCHES, seed=0).patches([band], range(PATCHES))
    except DataError:
        return None
    spaced = np.pad(found, ((0, 0), (0, 0), (0, _GAP)), constant_values=1)
    return np.concatenate(list(spaced), axis=1)[:, :-_GAP]


def _nameless(error: str, name: str) -> str:
    """An error without the name or the path of its scan, which has a column of its own."""
    for said in (name, name.partition("#")[0]):
        before, found, after = error.partition(f"{said}: ")
        if found and (not before or before.endswith("/")):
            return after
    return error
