"""Pictures of scans: what was drawn is found again in the pixels of the saved file; the map against brute force."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.report.bscan import CONTOUR, LINES, lined, scan_figure
from anotwin.domains.oct.report.en_face import en_face, volume_figure
from anotwin.domains.oct.report.tables import SliceRow
from anotwin.errors import DataError, SettingsError
from anotwin.records import Finding
from anotwin.report.canvas import DPI, box, new_figure
from anotwin.report.figure import counterpart_figure
from anotwin.report.scales import draw_length

SETTINGS = settings(derandomize=True, deadline=None, max_examples=60)
SHAPE = 100, 120
SPACING = Spacing(4.0, 12.0, 120.0)
HEAT = st.floats(0, 5, width=32)


def retina(ilm=30, rpe=70, baseline=80, width=SHAPE[1]):
    lines = {"ilm": ilm, "rpe": rpe, "baseline": baseline}
    return SimpleNamespace(
        **{name: np.full(width, row, np.float32) for name, row in lines.items()},
        valid=np.arange(width) >= width // 2,
        reason="",
    )


def drawn(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def near(picture, colour, reach=12):
    """Where a picture has a colour: (height, width) bool."""
    target = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return np.abs(picture - target).max(axis=2) < reach


def panels(picture):
    """The scan and its heat, side by side: the two broad black blocks of a black scan."""
    black = (picture < 3).all(axis=2)
    rows = np.flatnonzero(black.mean(axis=1) > 0.5)
    columns = np.flatnonzero(black[rows[0] : rows[-1]].mean(axis=0) > 0.5)
    runs = sorted(np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1), key=len)[-2:]
    scan, hot = sorted(runs, key=lambda run: run[0])
    inside = picture[rows[0] : rows[-1] + 1]
    return inside[:, scan[0] : scan[-1] + 1], inside[:, hot[0] : hot[-1] + 1]


def words(path):
    """The texts of an SVG figure, which stand beside their outlines as comments."""
    return path.read_text().replace("&gt;", ">")


def test_lines_lie_on_their_rows_and_only_where_there_is_tissue(tmp_path):
    black, heat = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.float32)
    scan_figure(black, heat, tmp_path / "lines.png", retina=retina())
    scan, hot = panels(drawn(tmp_path / "lines.png"))
    for name, (_, (colour, _)) in LINES.items():
        rows, columns = np.nonzero(near(scan, colour, 60))
        assert rows.size, name
        expected = (getattr(retina(), name)[0] + 0.5) / SHAPE[0]
        assert rows.mean() / scan.shape[0] == pytest.approx(expected, abs=0.01), name
        assert columns.min() / scan.shape[1] > 0.49
        assert not near(hot, colour, 60).any()
    scan_figure(black, heat, tmp_path / "none.png")
    assert (panels(drawn(tmp_path / "none.png"))[0] < 3).all()


def test_contours_enclose_what_exceeds_the_level_up_to_the_border(tmp_path):
    heat = np.zeros(SHAPE, np.float32)
    heat[40:60, 90:] = 3.0  # a block at the right border
    heat[5, 5] = np.nan
    black = np.zeros(SHAPE, np.uint8)
    scan_figure(black, heat, tmp_path / "c.png", level=1.0)
    scan, hot = panels(drawn(tmp_path / "c.png"))
    rows, columns = np.nonzero(near(hot, CONTOUR[0], 60))
    box_found = [rows.min() / hot.shape[0], rows.max() / hot.shape[0], columns.min() / hot.shape[1]]
    assert box_found == pytest.approx([0.40, 0.60, 0.75], abs=0.015)
    assert (scan < 3).all()
    warm = hot[..., 0] - hot[..., 2] > 80
    assert warm.mean() == pytest.approx((heat > 0).mean(), rel=0.15)
    scan_figure(black, heat, tmp_path / "c.svg", level=3.5)
    assert "no heat above 3.5" in words(tmp_path / "c.svg")
    scan_figure(black, heat, tmp_path / "c.svg", level=1.5)
    assert "<!-- heat above 1.5 -->" in words(tmp_path / "c.svg")


@pytest.mark.parametrize("shape,kind", [((49, 60), np.uint8), ((60, 200), np.uint16), ((300, 40), np.float32)])
def test_any_scan_is_drawn_with_all_that_belongs_to_it(tmp_path, shape, kind):
    path = tmp_path / "new" / "scan.svg"
    bands = {"flattened": np.zeros((20, 30), np.float32), "counterpart": np.full((20, 30), np.nan)}
    pixels = (np.random.default_rng(0).random(shape) * 200).astype(kind)
    scan_figure(pixels, np.ones(shape), path, "错/a $x_1$ title", 0.5, retina(width=shape[1]), SPACING, bands)
    text = words(path)
    for name in ("scan", "heat", "ILM", "RPE", "undisturbed RPE", "flattened", "counterpart", "?/a $x_1$ title"):
        assert f"<!-- {name} -->" in text, name
    assert [file.name for file in path.parent.iterdir()] == ["scan.svg"]


def test_the_names_of_lines_have_room_below_a_narrow_scan(tmp_path):
    tall = np.zeros((400, 64), np.uint8)
    scan_figure(tall, np.zeros(tall.shape), tmp_path / "n.png", "t" * 45, retina=retina(width=64))
    picture = drawn(tmp_path / "n.png")
    scan, _ = panels(picture)
    edges = np.flatnonzero(np.diff((picture[len(picture) // 2] < 3).all(axis=1).astype(int)) == 1)
    inches = (edges[-1] - edges[0]) / DPI
    assert inches > 3  # 3 names of up to 15 letters at 0.075 inches each, and their lines
    assert picture.shape[1] > 5 * DPI
    scan_figure(tall, np.zeros(tall.shape), tmp_path / "n.png")
    assert panels(drawn(tmp_path / "n.png"))[0].shape == scan.shape  # the scan itself is as large as without


def test_bands_reach_the_picture_in_grey(tmp_path):
    white = np.full((30, 60), 255, np.uint8)
    scan_figure(white, np.zeros((30, 60)), tmp_path / "b.png", bands={"one": np.full((10, 40), 0.0)})
    assert near(drawn(tmp_path / "b.png"), "#808080", 3).mean() > 0.12


def test_equal_input_gives_equal_files(tmp_path):
    for name in ("1.svg", "2.svg"):
        scan_figure(np.zeros(SHAPE, np.uint8), np.ones(SHAPE), tmp_path / name, retina=retina(), spacing=SPACING)
    assert (tmp_path / "1.svg").read_bytes() == (tmp_path / "2.svg").read_bytes()


def test_what_does_not_fit_the_scan_is_refused_and_leaves_nothing(tmp_path):
    black, path = np.zeros(SHAPE, np.uint8), tmp_path / "a.png"
    with pytest.raises(DataError, match=r"heatmap of \(9, 9\)"):
        scan_figure(black, np.zeros((9, 9)), path)
    with pytest.raises(SettingsError, match=r"\.png, \.pdf, \.svg"):
        scan_figure(black, np.zeros(SHAPE), tmp_path / "a.gif")
    with pytest.raises(DataError, match="none of 2 slices has a result"):
        volume_figure([None, None], path)
    with pytest.raises(DataError, match="none of 0 slices"):
        en_face([])
    assert not list(tmp_path.iterdir())


@SETTINGS
@given(hnp.arrays(np.float32, (3, 6, 4), elements=HEAT), st.integers(1, 9))
def test_the_map_is_the_mean_of_the_rows_with_the_most_heat(heats, depth):
    got = en_face([heats[0], None, heats[1], heats[2]], depth)
    assert np.isnan(got[1]).all()
    for row, heat in zip(got[[0, 2, 3]], heats, strict=True):
        for column in range(4):
            expected = np.mean(sorted(heat[:, column].tolist())[-depth:])
            assert row[column] == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_slices_of_another_width_or_height():
    one = np.ones((50, 4))
    got = en_face([one, np.ones((50, 3)), np.ones((7, 4)), np.full((50, 4), np.nan)])  # the last: not looked at
    assert np.isnan(got).all(axis=1).tolist() == [False, True, False, True]
    assert (got[[0, 2]] == 1).all()


def map_place(picture):
    """The pixels of a map that is orange all over (but for hatching): rows and columns, first and last."""
    rows, columns = np.nonzero(near(picture, "#FAC42A", 40))
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize("between,aspect", [(120.0, 120 * 12 / (12 * 120)), (60.0, 0.5), (None, 0.8)])
def test_the_map_has_the_proportions_of_the_eye(tmp_path, between, aspect):
    heats = [np.full((20, 120), 9.0)] * 12
    volume_figure(heats, tmp_path / "v.svg", spacing=Spacing(4.0, 12.0, between))
    text = words(tmp_path / "v.svg")
    assert ("not to scale" in text) == (between is None)
    assert "mean of the highest-heat 40 µm" in text
    volume_figure(heats, tmp_path / "v.png", spacing=Spacing(4.0, 12.0, between))
    picture = drawn(tmp_path / "v.png")
    top, bottom, left, right = map_place(picture[:, : int(picture.shape[1] * 0.845)])  # without the bar of heat
    assert (bottom - top) / (right - left) == pytest.approx(aspect, rel=0.03)


def test_slices_without_a_result_are_hatched_and_named(tmp_path):
    heats = [np.full((20, 120), 9.0)] * 20
    heats[3:5] = [None, None]
    heats[9], heats[15] = np.zeros((20, 60)), None
    rows = [SliceRow(i, f"{i}.png", score=1.0 + i, anomalous=i > 12) for i in range(20) if i not in (3, 4)]
    rows += [SliceRow(i, f"{i}.png", error="no retina found") for i in (3, 4)]
    for suffix in ("png", "svg"):
        volume_figure(heats, tmp_path / f"v.{suffix}", "volume-1", SPACING, rows, threshold=13.5)
    text = words(tmp_path / "v.svg")
    names = "slices 3 to 4 (no retina found), slice 9 (60 columns, others 120), slice 15 (no result)"
    assert f"Without a result: {names}" in text
    for name in ("volume-1", "score of each slice", "dashed: threshold)"):
        assert f"<!-- {name} -->" in text.replace("score (orange: anomalous,\n", "<!-- ")
    picture = drawn(tmp_path / "v.png")
    across = picture.shape[1]
    top, bottom, left, right = map_place(picture[:, : across // 2])
    middle = picture[top : bottom + 1, (left + right) // 2 - 40 : (left + right) // 2 + 40]
    hatched = (near(middle, "#D9D9D9", 20).mean(axis=1) > 0.2).reshape(-1)
    share = [hatched[int((i + 0.3) / 20 * len(hatched)) : int((i + 0.7) / 20 * len(hatched))].mean() for i in range(20)]
    assert [i for i, value in enumerate(share) if value > 0.5] == [3, 4, 9, 15]
    orange, blue = (
        near(picture[:, across // 2 :], colour).any(axis=1).nonzero()[0] for colour in ("#D55E00", "#0072B2")
    )
    assert (orange.min() - top) / (bottom - top) == pytest.approx(13.1 / 20, abs=0.01)
    assert (blue.max() - top) / (bottom - top) == pytest.approx(12.9 / 20, abs=0.01)


def test_many_slices_without_a_result_do_not_fill_the_page(tmp_path):
    heats = [np.ones((20, 30)) if i % 2 else None for i in range(400)]
    volume_figure(heats, tmp_path / "v.svg")
    assert "slice 0 (no result)" in words(tmp_path / "v.svg")
    assert "... -->" in words(tmp_path / "v.svg")


@SETTINGS
@given(st.floats(0.5, 100), st.integers(10, 2000), st.integers(10, 2000), st.booleans())
def test_bars_of_length_are_round_true_and_inside(spacing, height, width, upright):
    axes = box(new_figure(2, 2), 0, 0, 2, 2)
    draw_length(axes, (height, width), spacing, upright)
    side = height if upright else width
    if not axes.lines:
        assert 0.25 * side * spacing < 10  # even the shortest is too long
        return
    (line,), (label,) = axes.lines, axes.texts
    x, y = line.get_data()
    number, unit = label.get_text().split()
    length = float(number) * {"mm": 1000, "µm": 1}[unit]
    assert abs(np.ptp(y if upright else x)) * spacing == pytest.approx(length)
    assert str(length)[0] in "125"
    assert length <= 0.25 * side * spacing
    assert length == 10_000 or length > 0.09 * side * spacing  # and not much shorter than it may be
    assert min(x) >= -0.5
    assert max(x) <= width - 0.5
    assert min(y) >= -0.5
    assert max(y) <= height - 0.5


def test_the_papers_figure_takes_patches_of_64(tmp_path):
    pixels = np.full((64, 64), 120, np.uint8)
    flat = np.zeros((64, 64), np.float32)
    patch = {"query": pixels, "counterpart": pixels, "difference": flat, "heatmap": flat, "score": 1.0}
    counterpart_figure([Finding(f"{i}", **patch) for i in range(4)], tmp_path / "p.png")
    grey = near(drawn(tmp_path / "p.png"), "#787878", 3)
    side = 1.05 * DPI
    assert grey.sum() == pytest.approx(4 * 3 * side * side, rel=0.05)  # query, counterpart and heatmap of each


def test_lines_in_the_pixels_of_the_scan():
    black = np.zeros(SHAPE, np.uint8)
    steep = retina(ilm=-5)
    steep.rpe[70:] = 20  # a step of fifty rows
    picture = lined(black, steep).astype(int)
    assert picture.shape == (*SHAPE, 3)
    found = {name: near(picture, colour, 3) for name, (_, (colour, _)) in LINES.items()}
    assert not found["ilm"].any()  # above the scan
    rows, columns = np.nonzero(found["rpe"])
    assert set(columns) == set(range(60, 120))
    assert set(rows) == set(range(20, 71))  # without gaps
    assert set(np.nonzero(found["baseline"])[0]) == {80}
    assert found["baseline"].sum() == 30  # dashes over half of 60 columns
    assert (picture[~(found["rpe"] | found["baseline"])] == 0).all()


def test_a_refused_scan_is_drawn_with_its_reason(tmp_path):
    refused = retina()
    for name in LINES:
        getattr(refused, name)[:] = np.nan
    refused.valid[:], refused.reason = False, "no retina: nothing but noise"
    scan_figure(np.zeros(SHAPE, np.uint8), None, tmp_path / "r.svg", retina=refused)
    text = words(tmp_path / "r.svg")
    assert "<!-- scan: no retina: nothing but noise -->" in text
    assert "heat" not in text
    assert (lined(np.zeros(SHAPE, np.uint8), refused) == 0).all()
