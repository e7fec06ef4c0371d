"""Groups of images and their decisions: by hand, and in the tables that `score` writes."""

import csv
import math

import numpy as np
import pytest

from anotwin.calibrate.decision import by_score, calibrate
from anotwin.domains.groups import GroupRow, group_listing, group_units, write_groups
from anotwin.domains.oct.units import PATIENT, VOLUME, scan_units
from anotwin.domains.oct.volumes import pool_table, write_pooled
from anotwin.domains.protocol import Unit
from anotwin.prepare.patches import pool
from anotwin.records import Finding, ImageItem, UnitScores
from anotwin.report.table import ScoresWriter
from made_scans import BLANK, Scans

NAN = float("nan")


class Named:
    """A source in memory whose items have groups."""

    layout, root = "folder", "memory"

    def __init__(self, *groups):
        self.items = tuple(ImageItem(f"{k}.png", group=group) for k, group in enumerate(groups))

    def read(self, index):
        raise NotImplementedError

    read_mask = read


def table_of(folder, source, scores):
    folder.mkdir(parents=True, exist_ok=True)
    with ScoresWriter(folder / "scores.csv", "key") as writer:
        for item, score in zip(source.items, scores, strict=True):
            writer.write([Finding(item.id, score=score, error="broken" if math.isnan(score) else "")])
        return writer.finish()


def calibrated(kind, count=9):
    """`count` groups of two images that score k and k + 0.5, their unit k + 0.5; a rate of 20 %."""
    scores, groups = [k + half for k in range(count) for half in (0.0, 0.5)], [k for k in range(count) for _ in "ab"]
    units = [UnitScores(kind, *by_score([k + 0.5 for k in range(count)], range(count)))]
    return calibrate(scores, scores, scores, 0.5, 0.2, groups, units)


def test_groups_are_pooled_in_the_order_of_the_source():
    source = Named("b", "a", None, "b", "a", "b")
    units = group_units(source, dict(enumerate([1.0, 5.0, 99.0, 3.0, NAN, 2.0])))
    assert units == {"group": [Unit("b", (0, 3, 5), 3.0), Unit("a", (1, 4), 5.0)]}
    assert group_units(source, {3: 3.0, 0: 1.0}) == {"group": [Unit("b", (0, 3), 3.0)]}  # of the images asked for
    assert group_units(Named(None, None), {0: 1.0, 1: 2.0}) == {}
    (long,) = group_units(Named(*["clip"] * 100), {k: float(k) for k in range(100)})["group"]
    assert long.score == pool(np.arange(100)) == 97  # the mean of the highest 5 %: 95 .. 99


def test_a_table_of_groups_with_decisions(tmp_path):
    source = Named("b", "a", None, "b", "a", "dead")
    scores = [9.0, 7.0, 99.0, 3.0, NAN, NAN]
    (written,) = write_groups(table_of(tmp_path, source, scores), source, tmp_path, calibrated("group"))
    with written.path.open() as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["group", "images", "failed", "score", "p_value", "anomalous", "worst"],
        ["b", "2", "0", "9.0", "0.1", "true", "0.png"],
        ["a", "2", "1", "7.0", "0.3", "false", "1.png"],
        ["dead", "1", "1", "nan", "", "", ""],
    ]
    assert written.listing.columns[:4] == ("group", "score", "p", "verdict")
    assert written.listing.rows[0] == ("b", "9", "0.1000", "ANOMALOUS", "2", "0", "0.png")
    assert [row[0] for row in written.listing.rows] == ["b", "a", "dead"]


def test_no_groups_no_table_and_no_decision_without_groups_to_compare_with(tmp_path):
    source = Named("a", "a")
    table = table_of(tmp_path, source, [1.0, 2.0])
    singles = calibrate(range(9), range(9), range(9), 0.5, 0.2)
    (written,) = write_groups(table, source, tmp_path, singles)
    assert "a,2,0,2.0,,," in written.path.read_text()
    assert "calibrated on single images" in written.caption
    assert "verdict" not in written.listing.columns
    (written,) = write_groups(table, source, tmp_path, None)
    assert written.caption == "a row per group"
    (written,) = write_groups(table, source, tmp_path, calibrated("volume"))
    assert "calibrated on too few groups" in written.caption
    alone = Named(None, None)
    assert write_groups(table_of(tmp_path / "x", alone, [1.0, 2.0]), alone, tmp_path, singles) == []
    assert not (tmp_path / "groups.csv").exists()  # of the run before


def test_groups_of_one_image_have_no_listing(tmp_path):
    source = Named("a", "b")
    singles = calibrate(range(9), range(9), range(9), 0.5, 0.2)
    (written,) = write_groups(table_of(tmp_path, source, [8.5, 2.0]), source, tmp_path, singles)
    assert written.listing is None
    assert written.path.read_text().splitlines()[1] == "a,1,0,8.5,0.1,true,0.png"


def test_listed_groups_are_bounded():
    rows = [GroupRow(f"g{k}", 2, 0, float(k), None, None, f"{k}.png") for k in range(9)]
    listing = group_listing(rows)
    assert ([row[0] for row in listing.rows], listing.total) == (["g8", "g7", "g6", "g5", "g4", "g3"], 9)


def scans(*counts, patients):
    return Scans(tuple((BLANK,) * count for count in counts), patients=patients)


def test_volumes_and_patients_are_units():
    source = scans(40, 1, 2, patients=("Anna", "Bert", "Anna"))
    scores = dict(enumerate([*np.linspace(0, 1, 40), 7.0, 3.0, 2.0]))
    units = scan_units(source, scores)
    slices = tuple(range(40))
    first = pool(np.linspace(0, 1, 40))
    assert units[VOLUME] == [Unit("v0", slices, first), Unit("v1", (40,), 7.0), Unit("v2", (41, 42), 3.0)]
    assert units[PATIENT] == [Unit("Anna", (*slices, 41, 42), pool([first, 3.0])), Unit("Bert", (40,), 7.0)]
    assert set(units) == {VOLUME, PATIENT}
    assert scan_units(source, {41: 2.0}) == {VOLUME: [Unit("v2", (41,), 2.0)], PATIENT: [Unit("Anna", (41,), 2.0)]}
    assert set(scan_units(scans(2, patients=(None,)), {0: 1.0, 1: 2.0})) == {VOLUME}
    assert set(scan_units(Named("site 1", "site 1"), {0: 1.0, 1: 2.0})) == {"group"}  # images of no scanner


def test_volumes_and_patients_have_decisions(tmp_path):
    source = scans(2, 2, 1, patients=("Anna", "Bert", None))
    table = table_of(tmp_path, source, [9.0, 1.0, 7.0, NAN, NAN])
    volumes, patients = pool_table(table, source, calibrated("volume"))
    assert [(row.p_value, row.anomalous) for row in volumes] == [(0.1, True), (0.3, False), (None, None)]
    assert [(row.p_value, row.anomalous) for row in patients] == [(None, None), (None, None)]
    assert [row.anomalous for row in pool_table(table, source, calibrated("patient"))[1]] == [True, False]
    files = write_pooled(table, source, tmp_path, calibrated("patient"), listed=True)
    assert "calibrated on too few volumes" in files[0].caption
    assert files[1].caption == "a row per patient"
    assert files[1].listing.rows[0] == ("Anna", "9", "0.1000", "ANOMALOUS", "1", "2")
    assert "Anna,1,2,9.0,0.1,true" in files[1].path.read_text()


@pytest.mark.parametrize("single", [True, False])
def test_a_volume_of_one_scan_is_judged_as_a_scan(tmp_path, single):
    source = scans(1, 2, patients=(None, None))
    known = calibrate(range(9), range(9), range(9), 0.5, 0.2) if single else None
    volumes, _ = pool_table(table_of(tmp_path, source, [8.5, 8.5, 1.0]), source, known)
    assert volumes[0].anomalous is (True if single else None)
    assert volumes[1].anomalous is None
