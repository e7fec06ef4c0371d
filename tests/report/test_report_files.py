"""Names of pictures stay below their folder and are never shared; errors of the disk are one line."""

import unicodedata
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


def on_disk(name):
    """What a disk that ignores case and the encoding of accents makes of a name."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).upper().lower().casefold())


@pytest.mark.parametrize(
    "names",
    [
        ["a.png", "A.png"],
        ["good/a.png", "Good/a.png", "GOOD/A.JPG"],
        ["caf\u00e9.png", "cafe\u0301.png"],
        ["x.PNG/a.png", "X.png"],
        ["stra\u00dfe.png", "STRASSE.png"],
        ["a.jpg", "A.jpg", "a.png", "A.PNG"],
    ],
)
def test_no_disk_holds_two_pictures_for_one(names):
    pictures = picture_names(names)
    assert len(set(map(on_disk, pictures.values()))) == len(names)
    folders = {on_disk(str(folder)) for name in pictures.values() for folder in PurePosixPath(name).parents}
    assert not folders & set(map(on_disk, pictures.values()))


@pytest.mark.parametrize(
    "name", ["con.png", "CON", "aux.jpg", "nul.tar.png", "com1.png", "LPT9.tif", "prn .png", "com\u00b9.png"]
)
def test_names_that_windows_keeps_for_devices(name):
    for image_id in (name, f"{name}/a.png"):
        for picture in (picture_name(image_id), picture_names([image_id])[image_id]):
            for part in picture.split("/"):
                assert part.split(".")[0].rstrip().upper() not in {
                    "CON",
                    "AUX",
                    "NUL",
                    "COM1",
                    "LPT9",
                    "PRN",
                    "COM\u00b9",
                }
    assert picture_name("console.png") == "console.png"
    assert picture_name("com10.png") == "com10.png"


@pytest.mark.parametrize("folder", ["d" * 250, "\u56fe" * 80, "\udcff" * 120])
def test_pictures_of_deep_files_have_short_paths(folder):
    names = ["/".join([folder] * 15 + [name]) for name in ("a.png", "b.png", "a.jpg")]
    pictures = set(picture_names(names).values())
    assert len(pictures) == 3
    assert max(len(name.encode()) for name in pictures) <= 1300
    assert all(len(part.encode()) <= 255 for name in pictures for part in name.split("/"))


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
