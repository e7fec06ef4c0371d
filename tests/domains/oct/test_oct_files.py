"""OCT files of every format that can be read: written by their published headers, checked against other readers."""

import sys

import numpy as np
import pytest
import tifffile
from oct_writers import VOL_OUTSIDE, cirrus_name, write_dicom, write_e2e, write_img, write_topcon, write_vol

from anotwin.domains.oct.formats.files import file_volumes, is_oct_only, read_slice
from anotwin.domains.oct.formats.volume import OtherPictureError, eye_name, patient_name, spacing_of
from anotwin.domains.oct.records import Spacing
from anotwin.errors import DataError, MissingExtra


def reflectance(rng, *shape):
    values = rng.random(shape, np.float32) ** 4
    values[:, :2, :3] = VOL_OUTSIDE
    return values


def one(path):
    (volume,) = file_volumes(path)
    return volume


def all_slices(path, volume=0):
    return np.stack([read_slice(path, volume, number) for number in file_volumes(path)[volume].numbers])


def fails(path, *words, error=DataError, read=file_volumes):
    with pytest.raises(error) as raised:
        read(path)
    assert "\n" not in str(raised.value)
    for word in (str(path), *words):
        assert word in str(raised.value)


# Heidelberg .vol


def test_vol_header(tmp_path, rng):
    volume = one(write_vol(tmp_path / "a.vol", reflectance(rng, 5, 6, 8)))
    assert (volume.numbers, volume.slices, volume.shape, volume.notes) == ((0, 1, 2, 3, 4), 5, (6, 8), ())
    assert (volume.patient, volume.eye) == ("P-17", "OD")
    assert volume.spacing == Spacing(3.9, 11.4, 240.0)


def test_vol_pixels_are_the_logarithm_that_the_viewer_shows(tmp_path):
    values = np.array([[[0, 1e-3, 0.1, 1.0], [1.5, VOL_OUTSIDE, np.nan, -1.0]]], np.float32)
    shown = read_slice(write_vol(tmp_path / "a.vol", values), 0, 0)
    expected = [[255 * (np.log(v + 2.44e-4) + 8.3) / 8.285 for v in (1e-3, 0.1)]]
    assert shown.dtype == np.uint8
    np.testing.assert_array_equal(shown, [[0, *np.rint(expected[0]), 255], [255, 255, 255, 0]])  # white: not known


def test_vol_pixels_are_those_of_eyepy(tmp_path, rng):
    eyepy = pytest.importorskip("eyepy")
    values = reflectance(rng, 4, 40, 30)
    path = write_vol(tmp_path / "a.vol", values)
    theirs = np.where(values == VOL_OUTSIDE, 255, eyepy.import_heyex_vol(path).data)  # eyepy: 0, as the vitreous
    np.testing.assert_array_equal(all_slices(path), theirs)


@pytest.mark.parametrize("pattern", [1, 5])  # line, star
def test_vol_slices_that_are_not_parallel_have_no_distance(tmp_path, rng, pattern):
    volume = one(write_vol(tmp_path / "a.vol", reflectance(rng, 2, 4, 4), pattern=pattern))
    assert volume.spacing == Spacing(3.9, 11.4)
    assert not volume.parallel


def test_vol_circle_around_the_optic_disc_is_no_scan_of_the_macula(tmp_path, rng):
    path = write_vol(tmp_path / "a.vol", reflectance(rng, 2, 4, 4), pattern=2)
    fails(path, "a circle scan around the optic disc", error=OtherPictureError)


def test_vol_truncated_gives_the_whole_slices(tmp_path, rng):
    whole = write_vol(tmp_path / "a.vol", reflectance(rng, 5, 6, 8))
    part = tmp_path / "b.vol"
    part.write_bytes(whole.read_bytes()[:-1])
    volume = one(part)
    assert (volume.numbers, volume.slices) == ((0, 1, 2, 3), 5)
    assert "truncated, has 4 of 5 slices" in volume.notes[0]
    np.testing.assert_array_equal(all_slices(part), all_slices(whole)[:4])
    fails(part, "truncated", "slice 4", read=lambda path: read_slice(path, 0, 4))
    part.write_bytes(whole.read_bytes()[:2200])
    fails(part, "truncated", "no whole slice of 5")


def test_vol_damaged(tmp_path, rng):
    path = write_vol(tmp_path / "a.vol", reflectance(rng, 1, 2, 2))
    fails(tmp_path / "none.vol", "cannot read the file")
    good = path.read_bytes()
    path.write_bytes(b"PNG" + good[3:])
    fails(path, "not a Heidelberg .vol export", "expected b'HSF-OCT-'")
    path.write_bytes(good[:12] + b"\xff" * 12 + good[24:])
    fails(path, "damaged header", "4294967295")


# Zeiss .img


def test_img_is_turned_upright(tmp_path, rng):
    cube = rng.integers(0, 256, (4, 16, 6), np.uint8)
    path = write_img(tmp_path, cube)
    volume = one(path)
    assert (volume.slices, volume.shape, volume.patient, volume.eye) == (4, (16, 6), "P1", "OS")
    assert volume.spacing == Spacing(round(2000 / 15, 6), 1200.0, 2000.0)  # 2 x 6 x 6 mm from first to last voxel
    np.testing.assert_array_equal(all_slices(path), cube)


def test_img_pixels_are_those_of_oct_converter(tmp_path, rng):
    readers = pytest.importorskip("oct_converter.readers")
    path = write_img(tmp_path, rng.integers(0, 256, (3, 16, 6), np.uint8))
    theirs = readers.IMG(path).read_oct_volume(rows=6, cols=16).volume  # columns first, as stored
    np.testing.assert_array_equal(all_slices(path), [scan.T[::-1, ::-1] for scan in reversed(theirs)])


@pytest.mark.parametrize(
    "name, size, words",
    [
        ("scan.img", 96, "by its name only"),
        (cirrus_name(1024, 2, kind="hidef_z"), 4096, "by its name only"),
        (cirrus_name(6, 4), 97, "97 bytes, expected a multiple of 6 x 4, as its name says"),
        (cirrus_name(6, 4), 0, "0 bytes"),
    ],
)
def test_img_that_does_not_fit_its_name(tmp_path, name, size, words):
    (tmp_path / name).write_bytes(bytes(size))
    fails(tmp_path / name, words)


# images and TIFF


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_pages_are_slices(tmp_path, rng, dtype):
    pages = rng.integers(0, np.iinfo(dtype).max, (5, 7, 9), dtype, endpoint=True)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    assert one(tmp_path / "a.tif").numbers == (0, 1, 2, 3, 4)
    got = all_slices(tmp_path / "a.tif")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, pages)
    fails(tmp_path / "a.tif", "page 5 (from 0) of 5", read=lambda path: read_slice(path, 0, 5))


def test_tiff_pages_of_another_size_are_named_and_read(tmp_path, rng):
    shapes = [(7, 9), (6, 9), (7, 9)]
    pages = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for page in pages:
            file.write(page, photometric="minisblack")
    assert one(tmp_path / "a.tif").notes == ("slice 1 is 6 x 9 pixels; most are 7 x 9",)
    for number, page in enumerate(pages):
        np.testing.assert_array_equal(read_slice(tmp_path / "a.tif", 0, number), page)


def test_damaged_tiff_and_unsupported_makers(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(3))
    fails(tmp_path / "a.tif", "damaged")
    (tmp_path / "a.oct").write_bytes(b"x")
    fails(tmp_path / "a.oct", "Optovue or Bioptigen files (.oct) cannot be read", "DICOM or TIFF")


# DICOM


def test_dicom_frames_are_slices(tmp_path, rng):
    pytest.importorskip("pydicom")
    frames = rng.integers(0, 256, (4, 7, 10), np.uint8)
    path = write_dicom(tmp_path / "a.dcm", frames)
    volume = one(path)
    assert (volume.numbers, volume.shape, volume.series) == ((0, 1, 2, 3), (7, 10), None)
    assert (volume.patient, volume.eye) == ("P-17", "OS")
    assert volume.spacing == Spacing(3.9, 11.4, 250.0)  # where the frames lie, not how thick they are (300)
    np.testing.assert_array_equal(all_slices(path), frames)


def test_dicom_single_frame_of_twelve_bits_with_black_as_white(tmp_path, rng):
    pytest.importorskip("pydicom")
    frame = rng.integers(0, 4096, (7, 10), np.uint16)
    path = write_dicom(
        tmp_path / "a.dcm", frame, BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1", InstanceNumber=7
    )
    volume = one(path)
    assert (volume.numbers, volume.series, volume.spacing) == ((7,), "1.2.3", Spacing(3.9, 11.4, 300.0))
    got = read_slice(path, 0, 7)
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got, 4095 - frame)


def test_dicom_compressed_and_coloured(tmp_path, rng):
    pydicom = pytest.importorskip("pydicom")
    frames = rng.integers(0, 4, (3, 8, 8), np.uint8)
    path = write_dicom(tmp_path / "a.dcm", frames)
    file = pydicom.dcmread(path)
    file.compress(pydicom.uid.RLELossless)
    file.save_as(path)
    np.testing.assert_array_equal(all_slices(path), frames)
    colours = rng.integers(0, 256, (6, 5, 3), np.uint8)
    as_colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB"}
    path = write_dicom(tmp_path / "c.dcm", colours[:, :, 0], PixelData=colours.tobytes(), **as_colour)
    np.testing.assert_array_equal(read_slice(path, 0, 1), colours)


def test_dicom_without_identity_or_spacing(tmp_path, rng):
    pytest.importorskip("pydicom")
    frames = rng.integers(0, 256, (2, 4, 4), np.uint8)
    volume = one(write_dicom(tmp_path / "a.dcm", frames, spacing=None, PatientID="Anonymous", ImageLaterality=""))
    assert (volume.patient, volume.eye, volume.spacing) == (None, None, None)


def test_dicom_of_something_else_and_damaged(tmp_path, rng):
    pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    path = write_dicom(tmp_path / "fundus.dcm", rng.integers(0, 256, (4, 4), np.uint8), Modality="OP")
    fails(path, "modality OP, expected OPT", error=OtherPictureError)
    ct = get_testdata_file("CT_small.dcm", download=False)
    with pytest.raises(OtherPictureError, match="modality CT"):
        file_volumes(type(path)(ct))
    whole = write_dicom(tmp_path / "a.dcm", rng.integers(0, 256, (3, 40, 40), np.uint8)).read_bytes()
    (tmp_path / "b.dcm").write_bytes(whole[:-2000])
    fails(tmp_path / "b.dcm", "truncated", "3 frames of 40 x 40 pixels of its header")
    (tmp_path / "c.dcm").write_bytes(b"no DICOM at all")
    fails(tmp_path / "c.dcm", "cannot read the DICOM file")


# Heidelberg .e2e, Topcon .fda and .fds


def test_e2e(tmp_path, rng):
    pytest.importorskip("eyepy")
    exponents = rng.integers(50, 64, (4, 6, 8))
    codes = (exponents << 10).astype(np.uint16)
    codes[:, :2, :3] = 0xFFFF  # outside of the scan
    path = write_e2e(tmp_path / "a.e2e", codes, skip=(2,))
    volume = one(path)
    assert (volume.numbers, volume.slices, volume.shape) == ((0, 1, 3), 4, (6, 8))
    assert (volume.patient, volume.eye) == ("P-17", "OD")
    degree = 289.6  # micrometres in an eye of medium length; 6 degrees on 8 columns, slices half a degree apart
    assert volume.spacing == Spacing(3.9, pytest.approx(6 / 8 * degree), pytest.approx(0.5 * degree))
    shown = np.clip((np.log(2.0 ** (exponents - 63) + 2.44e-4) + 8.3) / 8.285, 0, 1)
    shown[:, :2, :3] = 1  # white: not known
    np.testing.assert_array_equal(all_slices(path), np.rint(255 * shown)[[0, 1, 3]])


def test_e2e_of_a_circle_and_of_a_star(tmp_path):
    codes = np.zeros((2, 4, 6), np.uint16)
    fails(write_e2e(tmp_path / "a.e2e", codes, pattern=2), "a circle scan", error=OtherPictureError)
    assert not one(write_e2e(tmp_path / "b.e2e", codes, pattern=5)).parallel
    assert one(write_e2e(tmp_path / "c.e2e", codes, pattern=3)).parallel


def test_e2e_of_one_line_and_damaged(tmp_path):
    pytest.importorskip("eyepy")
    codes = np.full((2, 3, 4), 60 << 10, np.uint16)
    volume = one(write_e2e(tmp_path / "a.e2e", codes, skip=(0,), pattern=1, eye=b"L", patient=b""))
    assert (volume.numbers, volume.patient, volume.eye) == ((0,), None, "OS")
    assert volume.spacing is not None
    assert volume.spacing.between is None
    (tmp_path / "b.e2e").write_bytes(b"CMDb")
    fails(tmp_path / "b.e2e", "eyepy cannot read the file", "export it as DICOM")


@pytest.mark.parametrize("suffix", [".fda", ".fds"])
def test_topcon(tmp_path, rng, suffix):
    pytest.importorskip("oct_converter.readers")
    cube = rng.integers(0, 65536, (3, 7, 10), np.uint16)
    path = write_topcon(tmp_path / f"a{suffix}", cube)
    volume = one(path)
    assert (volume.numbers, volume.shape, volume.patient, volume.eye) == ((0, 1, 2), (7, 10), "T-9", "OS")
    assert volume.spacing == Spacing(2.6, 600.0, 1000.0)  # 6 mm across, 3 mm along
    np.testing.assert_array_equal(all_slices(path), cube)
    path.write_bytes(path.read_bytes()[:40])
    fails(path, "oct-converter cannot read the file")


def test_topcon_without_a_volume(tmp_path):
    pytest.importorskip("oct_converter.readers")
    (tmp_path / "a.fda").write_bytes(b"FOCTFDA" + bytes(9))
    fails(tmp_path / "a.fda", "oct-converter cannot read the file")


# what holds for all


@pytest.mark.parametrize(
    "name, module, package",
    [
        ("a.dcm", "pydicom", "pydicom"),
        ("a.e2e", "eyepy.io.he", "eyepy"),
        ("a.fda", "oct_converter.readers.fda", "oct-converter"),
        ("a.fds", "oct_converter.readers.fds", "oct-converter"),
    ],
)
def test_a_missing_reader_is_named(tmp_path, monkeypatch, name, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / name).write_bytes(bytes(10))
    fails(tmp_path / name, f"needs the package {package}", "pip install 'anotwin[oct]'", error=MissingExtra)


def test_what_can_be_nothing_but_oct_is_told_without_a_package(tmp_path):
    head = bytes(128) + b"DICM" + b"\x02\0\x02\0UI\x1e\0"
    for name, content, expected in [
        ("a.vol", b"", True),
        ("a.FDS", b"", True),
        ("a.img", b"", False),
        ("a.png", b"", False),
        ("opt.dcm", head + b"1.2.840.10008.5.1.4.1.1.77.1.5.4\x02\0", True),
        ("enface.dcm", head + b"1.2.840.10008.5.1.4.1.1.77.1.5.47", False),
        ("fundus.dcm", head + b"1.2.840.10008.5.1.4.1.1.77.1.5.1\x02\0", False),
        ("text.dcm", b"1.2.840.10008.5.1.4.1.1.77.1.5.4", False),
    ]:
        (tmp_path / name).write_bytes(content)
        assert is_oct_only(tmp_path / name) is expected, name
    assert not is_oct_only(tmp_path / "none.dcm")


def test_words_of_headers():
    assert [eye_name(word) for word in ("R", "OD\0\0", " os", "Left")] == ["OD", "OD", "OS", "OS"]
    assert {eye_name(word) for word in ("", None, "B", "OU")} == {None}
    assert [patient_name(word) for word in ("P-1\0\0junk", " 007 ")] == ["P-1", "007"]
    assert {patient_name(word) for word in ("", None, "UNKNOWN ", "\0")} == {None}
    assert spacing_of(3.87, 11.5, 0) == Spacing(3.87, 11.5, None)
    for wrong in (0, -1, float("nan"), float("inf"), "x", None):
        assert spacing_of(wrong, 11.5) is None
        assert spacing_of(3.87, wrong) is None
