"""Files of regions against what COCO, a CSV reader and Pillow make of them; rows kept from a stopped run."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import label
from skimage.draw import polygon2mask

from anotwin.calibrate.decision import calibrate
from anotwin.data.arrays import ArraySource, from_arrays
from anotwin.domains.protocol import Job
from anotwin.domains.surfaces.outputs import EvaluatedSurfaces, SurfaceOutputs
from anotwin.domains.surfaces.tables import Found
from anotwin.records import Calibration, Finding, ImageSpec
from anotwin.report.table import ScoresWriter
from anotwin.report.text import read_cell
from anotwin.settings import Settings

SHAPE = (40, 60)


def calibration(limit: float | None) -> Calibration:
    found = calibrate([1.0, 2.0, 3.0], [1.0] * 3, [1.0] * 3, 1.0, 0.3)
    return replace(found, region_limit=limit)


@dataclass
class Model:
    """What outputs ask of a detector; scores again what a test put there."""

    known: dict[str, Finding]
    calibration: Calibration | None
    spec: ImageSpec = field(default_factory=lambda: ImageSpec(1, 16, view="tiles", parts=True))
    settings: Settings = field(default_factory=Settings)
    again: list[str] = field(default_factory=list)

    def findings(self, data: ArraySource, indices: Sequence[int] | None = None) -> Iterator[Finding]:
        for index in indices or ():
            self.again.append(data.items[index].id)
            yield self.known[data.items[index].id]


def heat(*spots: tuple[int, int, int, int, float]) -> np.ndarray:
    """Heat of rectangles: top, left, height, width, value."""
    made = np.full(SHAPE, 0.1, np.float32)
    for top, left, height, width, value in spots:
        made[top : top + height, left : left + width] = value
    return made


def finding(name: str, heatmap: np.ndarray, anomalous: bool | None = True, score: float = 5.0) -> Finding:
    query = np.full(SHAPE, 90, np.uint8)
    return Finding(
        name, score=score, residual=1.0, discrimination=1.0, anomalous=anomalous, p_value=0.25, status="converged",
        query=query, counterpart=query, difference=np.zeros(SHAPE, np.float32), heatmap=heatmap, fingerprint=1,
    )  # fmt: skip


HEATS = {
    "image-00000": heat((3, 4, 5, 6, 2.0), (20, 30, 2, 2, 9.0), (30, 50, 1, 3, 8.0)),  # the last: 3 pixels alone
    "image-00001": heat((3, 4, 5, 6, 2.0)),  # not anomalous
    "image-00002": heat((8, 40, 2, 4, 0.7)),  # below the limit everywhere
}


def all_of() -> dict[str, Finding]:
    return {
        name: finding(name, heat, anomalous=name != "image-00001", score=5.0 + k)
        for k, (name, heat) in enumerate(HEATS.items())
    }


def job(out: Path, limit: float | None = 1.0, pictures: bool = True, **more: Any) -> Job:
    source = from_arrays(np.zeros((3, *SHAPE), np.uint8))
    return Job(source, out, Model(all_of(), calibration(limit)), pictures, **more)


def scored(job: Job, taken: Sequence[int] = (0, 1, 2)) -> list[Any]:
    """Outputs of a run in which these were scored, the others kept from a run before."""
    outputs, model = SurfaceOutputs(job), job.model
    with ScoresWriter(job.out / "scores.csv", "key") as writer:
        for index, item in enumerate(job.source.items):
            each = model.known[item.id]
            if index in taken:
                outputs.take(index, each)
            writer.write([each])
        return list(outputs.finish([], writer.complete()))


def table(out: Path) -> list[dict[str, str]]:
    with (out / "regions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_a_region_of_anomalous_images(tmp_path: Path) -> None:
    written = scored(job(tmp_path))
    rows = table(tmp_path)
    assert [(read_cell(r["image"]), r["region"], r["exceeds"]) for r in rows] == [
        ("image-00000", "1", "true"),
        ("image-00000", "2", "true"),
        ("image-00002", "1", "false"),
    ]
    first = {key: float(rows[0][key]) for key in rows[0] if key not in ("image", "exceeds")}
    assert first == {
        "region": 1, "x": 30, "y": 20, "width": 2, "height": 2, "area": 4, "centroid_x": 30.5, "centroid_y": 20.5,
        "peak": 9.0, "peak_x": 30, "peak_y": 20, "mean": 9.0,
    }  # fmt: skip
    names = [each.path.name for each in written]
    assert names == ["regions.csv", "regions.json", "masks", "regions"]
    assert written[0].listing.rows[0][:2] == ("image-00000", "1")
    assert "3 regions of 2 anomalous images" in written[0].caption


def test_coco_holds_what_its_format_demands(tmp_path: Path) -> None:
    scored(job(tmp_path))
    coco = json.loads((tmp_path / "regions.json").read_text())
    assert coco["info"]["heat_limit"] == 1.0
    assert [c["id"] for c in coco["categories"]] == [1]
    images = {image["id"]: image for image in coco["images"]}
    assert len(images) == len(coco["images"]) == 2
    assert {image["file_name"] for image in images.values()} == {"image-00000", "image-00002"}
    assert [a["id"] for a in coco["annotations"]] == [1, 2, 3]
    for each in coco["annotations"]:
        image = images[each["image_id"]]
        assert (image["height"], image["width"]) == SHAPE
        (polygon,) = each["segmentation"]
        assert len(polygon) >= 6
        assert len(polygon) % 2 == 0
        corners = np.array(polygon).reshape(-1, 2)  # x, y
        x, y, width, height = each["bbox"]
        assert corners.min(0).tolist() == [x, y]  # tight
        assert corners.max(0).tolist() == [x + width, y + height]
        drawn = polygon2mask(SHAPE, corners[:, ::-1] - 0.5)
        assert drawn.sum() == each["area"]  # the number of pixels
        assert each["iscrowd"] == 0
        mask = np.asarray(Image.open(tmp_path / "masks" / f"{image['file_name']}.png"))
        assert (mask[drawn] == 255).all()
        assert (mask[y : y + height, x : x + width] > 0).sum() == each["area"]


def test_masks_are_of_the_size_of_their_image_and_0_or_255(tmp_path: Path) -> None:
    scored(job(tmp_path))
    mask = np.asarray(Image.open(tmp_path / "masks/image-00000.png"))
    assert (mask.shape, mask.dtype) == (SHAPE, np.uint8)
    assert np.unique(mask).tolist() == [0, 255]
    assert label(mask)[1] == 2
    assert (mask > 0).sum() == 34
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["image-00000.png", "image-00002.png"]
    picture = np.asarray(Image.open(tmp_path / "regions/image-00000.png"))
    assert (picture == (0, 255, 255)).all(-1).any()


def test_rows_kept_from_a_stopped_run_end_in_the_files(tmp_path: Path) -> None:
    scored(job(tmp_path / "whole"))
    again = job(tmp_path / "again")
    scored(again, taken=[1, 2])
    assert again.model.again == ["image-00000"]
    for name in ("regions.csv", "regions.json", "masks/image-00000.png", "regions/image-00002.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_files_of_an_earlier_run_are_removed_and_nothing_else(tmp_path: Path) -> None:
    scored(job(tmp_path))
    (tmp_path / "masks/mine.png").write_bytes(b"mine")
    (tmp_path / "masks/old.png").write_bytes(b"of an earlier run")
    later = job(tmp_path, earlier=frozenset(["old.png"]))
    later.model.known["image-00002"] = finding("image-00002", HEATS["image-00002"], anomalous=False)
    scored(later)
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["image-00000.png", "mine.png"]
    assert [path.name for path in (tmp_path / "regions").iterdir()] == ["image-00000.png"]


def test_without_pictures_there_are_masks_of_what_is_anomalous(tmp_path: Path) -> None:
    silent = job(tmp_path, pictures=False)
    outputs = SurfaceOutputs(silent)
    assert [outputs.wants(each) for each in silent.model.known.values()] == [True, False, True]
    written = scored(silent)
    assert [each.path.name for each in written] == ["regions.csv", "regions.json", "masks"]
    assert not (tmp_path / "regions").exists()


@pytest.mark.parametrize("known", [calibration(None), None])
def test_without_a_limit_there_are_no_regions(tmp_path: Path, known: Calibration | None) -> None:
    bare = job(tmp_path)
    bare.model.calibration = known
    assert scored(bare) == []
    assert not (tmp_path / "masks").exists()


def test_what_is_kept_on_disk_comes_back() -> None:
    from anotwin.domains.regions import find_regions
    from anotwin.domains.surfaces.tables import found_in

    found = found_in("a.png", SHAPE, find_regions(HEATS["image-00000"], 1.0), True)
    assert Found.restored(found.stored()) == found


def test_a_name_that_a_spreadsheet_would_compute_is_text(tmp_path: Path) -> None:
    from anotwin.domains.regions import find_regions
    from anotwin.domains.surfaces.tables import found_in, write_table

    found = found_in("=1+1.png", SHAPE, find_regions(HEATS["image-00001"], 1.0), True)
    write_table([found], tmp_path / "regions.csv")
    assert table(tmp_path)[0]["image"] == "'=1+1.png"


@pytest.mark.parametrize(
    ("shape", "small"),
    [((15, 15), True), ((1, 1), True), ((3, 60), True), ((60, 3), True), ((4, 60), False), ((15, 16), False)],
)
def test_images_smaller_than_a_tile_are_told(tmp_path: Path, shape: tuple[int, int], small: bool) -> None:
    notes: list[str] = []
    source = from_arrays([np.zeros(SHAPE, np.uint8), np.zeros(shape, np.uint8)])
    model = Model(all_of(), None)
    for outputs in (SurfaceOutputs, EvaluatedSurfaces):
        notes.clear()
        made = outputs(Job(source, tmp_path, model, False, watch=lambda update: notes.append(update.detail)))
        for index, item in enumerate(source.items):
            made.take(index, model.known[item.id])
        made.take(1, Finding("image-00001", error="it could not be read"))
        with ScoresWriter(tmp_path / "scores.csv", "key") as writer:
            writer.write([model.known[item.id] for item in source.items])
            made.finish([], writer.complete())
        assert [note[:43] for note in notes] == small * ["1 images are smaller than a tile of 16 x 16"]
        assert all("image-00001" in note for note in notes)
