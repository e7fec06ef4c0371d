"""The paper's figure: its marks are found in the pixels of the saved file."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anotwin.errors import DataError, SettingsError
from anotwin.records import Finding
from anotwin.report.canvas import plain, shorten
from anotwin.report.figure import RED, YELLOW, counterpart_figure


def finding(name="a.png", flagged_by="", shape=(28, 28), kind=np.uint8, **values):
    pixels = np.full(shape, 120, kind)
    flat = np.zeros(shape[:2], np.float32)
    given = {"score": 5.0, "query": pixels, "counterpart": pixels, "difference": flat, "heatmap": flat, **values}
    return Finding(name, flagged_by=flagged_by, **given)


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def where(picture, colour):
    """(height, width) of the box round all pixels of a colour above the caption, (0, 0) if none."""
    target = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    rows, columns = np.nonzero((np.abs(picture - target).max(axis=2) < 8)[: picture.shape[0] // 3])
    return (np.ptp(rows) + 1, np.ptp(columns) + 1) if rows.size else (0, 0)


@pytest.mark.parametrize("flagged_by", ["", "residual", "discrimination", "both"])
@pytest.mark.parametrize(("shape", "kind"), [((28, 28), np.uint8), ((496, 512), np.uint16)])
def test_frames_show_which_term_flags(tmp_path, flagged_by, shape, kind):
    path = tmp_path / "f.png"
    counterpart_figure([finding(flagged_by=flagged_by, shape=shape, kind=kind)], path)
    picture = pixels_of(path)
    red, yellow = where(picture, RED), where(picture, YELLOW)
    side = (1.05 if shape[0] <= 64 else 1.5) * 200  # pixels of a cell at 200 dots an inch
    assert (red[1] >= side) == (flagged_by in ("residual", "both"))
    assert (yellow[1] >= side) == (flagged_by in ("discrimination", "both"))
    if flagged_by == "both":  # red lies round yellow
        assert red[0] > yellow[0]
        assert red[1] > yellow[1]


def test_signed_difference_and_heat_reach_the_picture(tmp_path):
    difference = np.zeros((28, 28), np.float32)
    difference[:, :9], difference[:, 19:] = 0.5, -0.5
    counterpart_figure([finding(difference=difference)], tmp_path / "plain.png")
    picture = pixels_of(tmp_path / "plain.png")[:, 190:400]  # the column of images
    reddish = (picture[..., 0] - picture[..., 2] > 60).mean()
    bluish = (picture[..., 2] - picture[..., 0] > 60).mean()
    assert reddish > 0.05
    assert bluish == pytest.approx(reddish, rel=0.2)
    counterpart_figure([finding(heatmap=np.full((28, 28), 2.0))], tmp_path / "hot.png")
    hot = pixels_of(tmp_path / "hot.png")[:, 190:400]
    assert (hot[..., 0] - hot[..., 2] > 100).mean() > 0.15


def test_more_than_ten_images_take_a_second_block_and_sizes_may_differ(tmp_path):
    many = [finding(f"{i}.png", shape=(20 + i, 30, 3)) for i in range(11)]
    counterpart_figure(many[:10], tmp_path / "one.png")
    counterpart_figure(many, tmp_path / "two.png")
    one, two = pixels_of(tmp_path / "one.png"), pixels_of(tmp_path / "two.png")
    assert two.shape[0] > 1.8 * one.shape[0]
    assert two.shape[1] == one.shape[1]


def test_missing_pictures_and_odd_names_are_drawn(tmp_path):
    odd = [
        Finding("错误/$a_{b}$\n\udcff.png", status="error", error="unreadable"),
        finding("only-a-query.png", counterpart=None, difference=None, heatmap=None, anomalous=True, p_value=1e-6),
        finding(
            "float.tif", query=np.full((9, 40), np.nan, np.float32), counterpart=None, difference=None, heatmap=None
        ),
    ]
    for suffix in ("png", "pdf", "svg"):
        counterpart_figure(odd, tmp_path / f"odd.{suffix}")
        assert (tmp_path / f"odd.{suffix}").stat().st_size > 1000


def test_equal_findings_give_equal_files(tmp_path):
    for suffix in ("png", "svg"):
        one, other = tmp_path / f"1.{suffix}", tmp_path / f"2.{suffix}"
        counterpart_figure([finding()], one)
        counterpart_figure([finding()], other)
        assert one.read_bytes() == other.read_bytes()


def test_what_cannot_be_drawn_is_said(tmp_path):
    with pytest.raises(DataError, match="at least one"):
        counterpart_figure([], tmp_path / "f.png")
    with pytest.raises(SettingsError, match=r"\.png, \.pdf, \.svg"):
        counterpart_figure([finding()], tmp_path / "f.gif")
    with pytest.raises(SettingsError, match="up to 400"):
        counterpart_figure([finding()] * 401, tmp_path / "f.png")


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.text(max_size=60), st.integers(3, 40))
def test_shortened_text_fits_and_keeps_what_fits(text, width):
    short = shorten(text, width)
    assert len(short) <= width
    assert (short == text) if len(text) <= width else ("…" in short)


def test_text_without_a_glyph_is_a_question_mark():
    assert plain("a错é\x1b\udcff") == "a?é??"
