"""Names of pictures stay below their folder and are never shared; errors of the disk are one line."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.errors import DataError
from anotwin.report.files import disk_errors, picture_name, picture_names

PIECES = st.sampled_from(
    ["a", "A1", ".", "..", "/", "//", "~", "%", "png", ".png", ".jpg", "test-00042", "\\", "é", ""]
)
IDS = st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(max_size=30))
QUICK = settings(derandomize=True, deadline=None, max_examples=300)


@QUICK
@given(IDS)
def test_picture_stays_below_its_folder(image_id):
    name = picture_name(image_id)
    parts = name.split("/")
    assert not PurePosixPath(name).is_absolute()
    assert all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
    assert not set(name) & set('\\:*?"<>|\0\n')
    assert name.endswith(".png")


@QUICK
@given(IDS, IDS)
def test_two_ids_never_share_a_name_nor_a_folder_with_a_file(one, other):
    if one != other:
        assert picture_name(one) != picture_name(other)
        assert not picture_name(one).startswith(picture_name(other) + "/")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.png", "a.jpg"),
        ("a.png", "a"),
        ("a", "a."),
        ("a.jpg", "a~jpg.png"),
        ("test-00042", "test-00042.png"),
        ("a%2F.png", "a/.png"),
        ("x" * 300 + "1.png", "x" * 300 + "2.png"),
        ("x" * 300 + "1.png", "x" * 300 + "1.jpg"),
        ("é" * 300 + "1/a.png", "é" * 300 + "2/a.png"),
    ],
)
def test_near_names_are_told_apart(one, other):
    assert picture_name(one) != picture_name(other)


def test_plain_names_stay_readable():
    assert picture_name("bottle/test/broken large/000.png") == "bottle/test/broken large/000.png"
    assert picture_name("scan.0001.tif") == "scan.0001~tif.png"
    assert picture_name("/etc/passwd").startswith("%/etc/")
    assert picture_name("bad\udcff.png") == "bad%ED%B3%BF.png"  # a name that is not UTF-8 on disk


@QUICK
@given(st.lists(IDS, max_size=6, unique=True))
def test_the_pictures_of_a_source_have_names_of_their_own(ids):
    names = picture_names(ids)
    assert list(names) == ids
    assert len(set(names.values())) == len(ids)


def test_an_error_of_the_disk_is_one_line_that_names_the_file(tmp_path):
    message = r"a\.png: cannot write \(No space left on device\)"
    with pytest.raises(DataError, match=message) as caught, disk_errors(tmp_path / "a.png"):
        raise OSError(28, "No space left on device")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"none: cannot read \(No such file"), disk_errors(Path("none"), doing="read"):
        Path("none").read_text()
