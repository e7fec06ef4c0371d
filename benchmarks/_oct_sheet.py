"""Contact sheets of B-scans with the lines that were found, for a person to judge; never part of the repository."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from anotwin.domains.oct.flatten import Flat
from anotwin.domains.oct.layers.find import Retina

TILE = (512, 384)  # columns, rows of a scan on the sheet
ACROSS, DOWN = 3, 4  # scans on a sheet
BANDS = 12  # bands on a sheet, one below the other
ILM, RPE, BASELINE = (80, 255, 80), (255, 80, 40), (60, 190, 255)


def draw_sheets(
    scans: Sequence[npt.NDArray[Any]], retinas: Sequence[Retina], names: Sequence[str], folder: str | Path
) -> list[Path]:
    """Sheets of 12 scans: ILM green and RPE red where columns are valid, the baseline blue; reasons in words."""
    tiles = [_scan_tile(scan, retina, name) for scan, retina, name in zip(scans, retinas, names, strict=True)]
    return _write(tiles, ACROSS, ACROSS * DOWN, Path(folder), "scans")


def draw_bands(flats: Sequence[Flat], names: Sequence[str], folder: str | Path) -> list[Path]:
    """Sheets of 12 flattened bands; what is not valid is tinted blue."""
    width = max(flat.pixels.shape[1] for flat in flats)
    tiles = [_band_tile(flat, name, width) for flat, name in zip(flats, names, strict=True)]
    return _write(tiles, 1, BANDS, Path(folder), "bands")


def _scan_tile(scan: npt.NDArray[Any], retina: Retina, name: str) -> npt.NDArray[np.uint8]:
    image = Image.fromarray(_grey(scan)).resize(TILE).convert("RGB")
    pixels = np.array(image)
    height, width = scan.shape[:2]
    columns = np.arange(TILE[0])
    places = (columns + 0.5) * width / TILE[0] - 0.5
    valid = retina.valid[np.clip(np.rint(places).astype(int), 0, width - 1)]
    for line, colour, shown in (
        (retina.baseline, BASELINE, np.ones_like(valid)),
        (retina.ilm, ILM, valid),
        (retina.rpe, RPE, valid),
    ):
        rows = (np.interp(places, np.arange(width), line) + 0.5) * TILE[1] / height - 0.5
        shown = shown & np.isfinite(rows) & (rows > -0.5) & (rows < TILE[1] - 0.5)
        pixels[np.rint(rows[shown]).astype(int), columns[shown]] = colour
    return _labelled(pixels, f"{name}  {retina.quality:.2f}  {retina.reason}")


def _band_tile(flat: Flat, name: str, width: int) -> npt.NDArray[np.uint8]:
    grey = np.rint((flat.pixels + 1) * 127.5).astype(np.uint8)
    pixels = np.stack([grey] * 3, axis=2)
    pixels[~flat.valid] = (pixels[~flat.valid] * np.array([0.5, 0.5, 1.0])).astype(np.uint8)
    padded = np.pad(pixels, ((0, 4), (0, width - pixels.shape[1]), (0, 0)))
    return _labelled(padded, name)


def _grey(scan: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    values = np.asarray(scan, dtype=np.float64)
    values = values.mean(axis=2) if values.ndim == 3 else values
    values = np.nan_to_num(values)
    high = 255.0 if np.asarray(scan).dtype == np.uint8 else max(float(values.max()), 1e-9)
    return np.clip(values / high * 255, 0, 255).astype(np.uint8)


def _labelled(pixels: npt.NDArray[np.uint8], text: str) -> npt.NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text((4, 3), text, fill=(255, 255, 0))
    return np.asarray(image)


def _write(tiles: list[npt.NDArray[np.uint8]], across: int, each: int, folder: Path, kind: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for first in range(0, len(tiles), each):
        some = tiles[first : first + each]
        some += [np.zeros_like(tiles[0])] * (-len(some) % across)
        rows = [np.concatenate(some[k : k + across], axis=1) for k in range(0, len(some), across)]
        paths.append(folder / f"{kind}_{first // each + 1:02d}.png")
        Image.fromarray(np.concatenate(rows)).save(paths[-1])
    return paths
