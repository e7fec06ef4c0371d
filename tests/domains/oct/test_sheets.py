"""Contact sheets: what was drawn is found again in the pages."""

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from anotwin.domains.oct.layers.find import Retina
from anotwin.domains.oct.report.bscan import LINES
from anotwin.domains.oct.report.sheets import ACROSS, BANDS, DOWN, TILE, Sheets
from anotwin.errors import DataError

HEIGHT, WIDTH = 192, 256  # half of a tile: each pixel becomes 2 x 2


def retina(ilm=50.0, rpe=100.0, baseline=120.0):
    ilm, rpe, baseline = (np.full(WIDTH, row, np.float32) for row in (ilm, rpe, baseline))
    return Retina(ilm, rpe, baseline, np.arange(WIDTH) >= WIDTH // 2, 0.5)


def page(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def rows_of(line, picture):
    colour = np.rint(np.array(to_rgb(LINES[line][1][0])) * 255)
    here = (picture == colour).all(axis=2)
    here[:21] = False  # the key above
    rows, columns = np.nonzero(here)
    return set(rows.tolist()), columns


def test_lines_lie_where_the_stretched_scan_has_them(tmp_path):
    sheets = Sheets(tmp_path, "scans")
    sheets.add_scan(np.full((HEIGHT, WIDTH), 90, np.uint8), retina(), "a.png  0.50")
    (path,) = sheets.finish()
    assert path == tmp_path / "scans-01.png"
    picture = page(path)
    # 20 of the key, 3 of the gap, 17 of the name; (row + 0.5) * 2 - 0.5 of the tile: rows 100.5, 200.5, 240.5
    top = 40
    grey = (picture == 90).all(axis=2)
    assert grey[top : top + TILE[0], 3 : 3 + TILE[1]].mean() > 0.99
    for line, row in (("ilm", 50.0), ("rpe", 100.0), ("baseline", 120.0)):
        rows, columns = rows_of(line, picture)
        assert len(rows) == 1
        assert abs(rows.pop() - top - (2 * row + 0.5)) <= 0.5
        assert columns.min() == pytest.approx(3 + TILE[1] // 2, abs=6)  # no line where no tissue is
    assert (picture[23:38, 3:80] < 128).any()  # the name


def test_pages_are_written_when_full_and_later_ones_of_a_longer_run_removed(tmp_path):
    scan = np.zeros((HEIGHT, WIDTH), np.uint8)
    for count, pages in ((ACROSS * DOWN * 2 + 1, 3), (1, 1)):
        sheets = Sheets(tmp_path, "scans")
        for number in range(count):
            sheets.add_scan(scan, None, f"{number}.png\nno retina found: nothing there")
            assert len(list(tmp_path.iterdir())) == max(3 if pages == 1 else 0, (number + 1) // (ACROSS * DOWN))
        assert [path.name for path in sheets.finish()] == [f"scans-{k + 1:02d}.png" for k in range(pages)]
        assert len(list(tmp_path.iterdir())) == pages


def test_a_band_is_shown_pixel_for_pixel_and_tinted_where_it_is_not_valid(tmp_path):
    band, valid = np.full((30, 200), 0.0, np.float32), np.ones((30, 200), bool)
    band[:, :100], valid[:, 150:] = 1.0, False
    sheets = Sheets(tmp_path, "bands")
    for _ in range(BANDS):
        sheets.add_band(SimpleNamespace(pixels=band, valid=valid), "a.png")
    assert (tmp_path / "bands-01.png").exists()  # before `finish`
    (path,) = sheets.finish()
    shown = page(path)[40:70, 3:203]  # key 20, gap 3, name 17
    assert (shown[:, :100] == 255).all()
    assert (shown[:, 100:150] == 128).all()
    assert (shown[:, 150:, 0] < shown[:, 150:, 2]).all()


def test_no_scan_no_page(tmp_path):
    assert Sheets(tmp_path, "bands").finish() == []
    assert list(tmp_path.iterdir()) == []


def test_an_unreadable_scan_has_a_black_tile_and_any_name_can_be_drawn(tmp_path):
    sheets = Sheets(tmp_path, "scans")
    sheets.add_scan(None, None, "\udcff\x1b[31m 😀 $x^2$.png\n" + "cannot decode " * 30)
    (path,) = sheets.finish()
    picture = page(path)
    assert (picture[-TILE[0] - 3 : -3, 3 : 3 + TILE[1]] == 0).all()
    assert picture.shape[1] == TILE[1] + 6  # one scan, one column


def test_a_disk_that_refuses_is_one_line(tmp_path):
    (tmp_path / "sheets").write_bytes(b"a file")
    sheets = Sheets(tmp_path / "sheets", "scans")
    sheets.add_scan(None, None, "a.png")
    with pytest.raises(DataError, match="sheets"):
        sheets.finish()
