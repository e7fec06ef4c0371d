"""The oct layout: identity, volumes, groups and spacing; what is missing or unreadable is said and the rest read."""

import pickle

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from oct_writers import write_dicom, write_e2e, write_vol
from PIL import Image

from anotwin.data.folder import open_folder
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.source import is_oct, open_oct
from anotwin.domains.open import open_source
from anotwin.errors import DataError


def png(path, value=0, shape=(4, 6)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)
    return path


def manifest(root, *lines):
    (root / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def values(source):
    """The grey value of each item: the images of these tests are flat."""
    return [int(source.read(index).flat[0]) for index in range(len(source.items))]


def slices(source):
    """(slice, slices, grey value) volume by volume."""
    return [
        [(source.info(i).slice, source.info(i).slices, int(source.read(i).flat[0])) for i in volume]
        for volume in source.volumes()
    ]


@pytest.fixture
def kermany(tmp_path):
    """Single B-scans below their labels, patients in a manifest, as in ../shared/data/oct."""
    rows = ["file,label,patient,width,height,split"]
    for part, label, patient, count in [("train", "NORMAL", 7, 2), ("test", "NORMAL", 8, 1), ("test", "CNV", 9, 3)]:
        for number in range(1, count + 1):
            name = f"{part}/{label}/{label}-{patient}-{number}.png"
            png(tmp_path / name, 10 * patient + number)
            rows.append(f"{name},{label},{patient},6,4,{part}")
    manifest(tmp_path, *rows)
    return tmp_path


@pytest.mark.parametrize("part", ["train", "test"])
def test_single_scans_are_the_images_of_the_folder_layout(kermany, part):
    source, folder = open_oct(kermany, part), open_folder(kermany, part)
    assert source.layout == "oct"
    assert source.items == folder.items
    assert {item.group for item in source.items} == ({"7"} if part == "train" else {"8", "9"})
    for index, item in enumerate(source.items):
        np.testing.assert_array_equal(source.read(index), folder.read(index))
        info = source.info(index)
        assert (info.patient, info.volume, info.slice, info.slices, info.spacing) == (item.group, item.id, 0, 1, None)
        assert source.read_mask(index) is None
    assert source.volumes() == tuple((index,) for index in range(len(source.items)))
    assert len(source.notes) == 1
    assert f"{len(source.items)} of {len(source.items)} scans have no spacing" in source.notes[0]


def test_numbered_scans_of_a_label_are_no_volume(tmp_path):
    for number in range(3):
        png(tmp_path / f"normal/{number}.png", number)
        png(tmp_path / f"drusen/{number}.png", number)
    assert open_oct(tmp_path, "test").volumes() == tuple((index,) for index in range(6))


def test_a_folder_of_numbered_images_is_a_volume(tmp_path):
    for number in (1, 2, 10, 11):
        png(tmp_path / f"normal/P3_OS/scan-{number}.png", number)
        png(tmp_path / f"normal/other/scan{number}.png", 100 + number)
    source = open_oct(tmp_path, "train")
    assert [item.group for item in source.items] == ["normal/P3_OS"] * 4 + ["normal/other"] * 4
    assert [source.info(index).eye for index in (0, 4)] == ["OS", None]
    found = slices(source)
    assert found[0] == [(0, 11, 1), (1, 11, 2), (9, 11, 10), (10, 11, 11)]
    assert [value for _, _, value in found[1]] == [101, 102, 110, 111]
    assert f"{tmp_path}: volume normal/P3_OS: 7 of 11 slices are missing (3, 4, 5, 6, 7 ...)" in source.notes[0]


def test_a_flat_folder_is_a_volume_to_score_and_single_scans_to_train_on(tmp_path):
    for number in (4, 6, 8):  # every second: a step, no gap
        png(tmp_path / f"{number:03d}.png", number)
    assert slices(open_oct(tmp_path, "test")) == [[(0, 3, 4), (1, 3, 6), (2, 3, 8)]]
    assert len(open_oct(tmp_path, "train").volumes()) == 3


@pytest.mark.parametrize("names", [("a1", "b2"), ("a1", "a"), ("a1b", "a2c")])
def test_images_whose_names_differ_in_more_than_a_number_are_no_volume(tmp_path, names):
    for name in names:
        png(tmp_path / f"{name}.png")
    assert len(open_oct(tmp_path, "test").volumes()) == 2


def test_a_slice_of_another_size_is_named_and_read(tmp_path):
    for number in range(3):
        png(tmp_path / f"v/{number}.png", number, shape=(4, 6) if number != 1 else (5, 6))
    source = open_oct(tmp_path, "test")
    assert [source.read(index).shape for index in range(3)] == [(4, 6), (5, 6), (4, 6)]
    assert "v/1.png has 5 x 6 pixels, most have 4 x 6" in source.notes[0]


def test_a_manifest_says_it_all(tmp_path):
    rows = ["file,label,patient,eye,volume,slice,axial_um,lateral_um,between_um,mask"]
    for patient in ("A", "B"):  # both count their volumes from 1
        for number in (2, 0, 1):
            name = f"{patient}{'xyz'[number]}.png"
            png(tmp_path / name, number)
            rows.append(f"{name},normal,{patient},R,1,{number},3.87,11.5,120,{'m.png' if name == 'Ax.png' else ''}")
    Image.fromarray(np.eye(4, 6, dtype=np.uint8)).save(tmp_path / "m.png")
    manifest(tmp_path, *rows)
    source = open_oct(tmp_path, "test")
    assert source.notes == ()
    assert [item.group for item in source.items] == ["A"] * 3 + ["B"] * 3
    assert slices(source) == [[(0, 3, 0), (1, 3, 1), (2, 3, 2)]] * 2
    info = source.info(0)
    assert (info.patient, info.eye, info.volume, info.spacing) == ("A", "OD", "A/OD/1", Spacing(3.87, 11.5, 120.0))
    np.testing.assert_array_equal(source.read_mask(0), np.eye(4, 6, dtype=bool))
    assert source.read_mask(1) is None


def test_a_mask_of_another_size_and_a_slice_that_is_no_number(tmp_path):
    png(tmp_path / "a.png")
    png(tmp_path / "m.png", shape=(3, 3))
    manifest(tmp_path, "file,mask", "a.png,m.png")
    with pytest.raises(DataError, match=r"m.png: mask of shape \(3, 3\), expected \(4, 6\)"):
        open_oct(tmp_path, "test").read_mask(0)
    manifest(tmp_path, "file,volume,slice", "a.png,1,two")
    with pytest.raises(DataError, match=r"a.png: slice 'two' in manifest.csv, expected a whole number"):
        open_oct(tmp_path, "test")


def test_what_the_manifest_says_goes_before_the_header(tmp_path, rng):
    write_vol(tmp_path / "a.vol", rng.random((3, 4, 6), np.float32))
    plain = open_oct(tmp_path, "test")
    assert [item.id for item in plain.items] == ["a.vol#000", "a.vol#001", "a.vol#002"]
    assert {item.group for item in plain.items} == {"P-17"}
    assert plain.volumes() == ((0, 1, 2),)
    info = plain.info(2)
    assert (info.patient, info.eye, info.volume, info.slice, info.slices) == ("P-17", "OD", "a.vol", 2, 3)
    assert info.spacing == Spacing(3.9, 11.4, 240.0)
    manifest(tmp_path, "file,label,patient,group,eye,axial_um,lateral_um", "a.vol,normal,Q,family,OS,4,12")
    told = open_oct(tmp_path, "test")
    assert {(item.label, item.normal, item.group) for item in told.items} == {("normal", True, "family")}
    assert (told.info(0).patient, told.info(0).eye, told.info(0).spacing) == ("Q", "OS", Spacing(4.0, 12.0))
    np.testing.assert_array_equal(told.read(1), plain.read(1))


def test_without_a_patient_the_volume_is_the_group(tmp_path, rng):
    for name in ("a", "b"):
        write_vol(tmp_path / f"{name}.vol", rng.random((2, 4, 6), np.float32), patient=b"")
    source = open_oct(tmp_path, "train")
    assert [item.group for item in source.items] == ["a.vol", "a.vol", "b.vol", "b.vol"]
    assert {source.info(index).patient for index in range(4)} == {None}


def test_a_truncated_volume_says_so_and_gives_the_rest(tmp_path, rng):
    path = write_vol(tmp_path / "a.vol", rng.random((3, 4, 6), np.float32))
    path.write_bytes(path.read_bytes()[:-5])
    source = open_oct(tmp_path, "test")
    assert [(source.info(i).slice, source.info(i).slices) for i in range(2)] == [(0, 3), (1, 3)]
    assert "truncated, has 2 of 3 slices" in source.notes[0]
    assert "1 of 3 slices are missing (3)" in source.notes[1]


def test_an_unreadable_file_is_an_item_that_raises_beside_the_rest(tmp_path, rng):
    png(tmp_path / "normal/a.png", 5)
    (tmp_path / "normal/b.vol").write_bytes(b"no header")
    (tmp_path / "normal/c.oct").write_bytes(b"x")
    write_vol(tmp_path / "normal/d.vol", rng.random((2, 4, 6), np.float32))
    source = open_oct(tmp_path, "test")
    assert [item.id for item in source.items] == [
        *("normal/a.png", "normal/b.vol", "normal/c.oct"),
        *("normal/d.vol#000", "normal/d.vol#001"),
    ]
    for index, words in [(1, r"b.vol: not a Heidelberg .vol export"), (2, r"c.oct: Optovue or Bioptigen files")]:
        with pytest.raises(DataError, match=words):
            source.read(index)
    assert [source.read(index).shape for index in (0, 3, 4)] == [(4, 6)] * 3
    assert "1 of 5 scans have no spacing" in source.notes[-1]


def test_dicom_slices_of_a_series_are_one_volume_and_the_fundus_is_left_out(tmp_path, rng):
    pytest.importorskip("pydicom")
    frames = rng.integers(0, 256, (4, 5, 6), np.uint8)
    for name, number in [("zz", 11), ("aa", 13), ("mm", 12), ("bb", 15)]:
        write_dicom(tmp_path / f"{name}.dcm", frames[(number - 11) % 4], InstanceNumber=number)
    write_dicom(tmp_path / "fundus.dcm", frames[0], Modality="OP")
    assert is_oct(tmp_path)
    source = open_source(tmp_path, "test")
    assert source.layout == "oct"
    assert [[source.items[i].id for i in volume] for volume in source.volumes()] == [
        ["zz.dcm", "mm.dcm", "aa.dcm", "bb.dcm"]
    ]
    assert [(source.info(i).slice, source.info(i).slices) for i in range(4)] == [(0, 5), (1, 5), (2, 5), (4, 5)]
    assert {source.info(i).volume for i in range(4)} == {"1.2.3"}
    np.testing.assert_array_equal(source.read(1), frames[1])
    assert "fundus.dcm: DICOM of modality OP, expected OPT; left out" in source.notes[0]
    assert "1 of 5 slices are missing (4)" in source.notes[1]


def test_nothing_but_fundus_pictures(tmp_path, rng):
    pytest.importorskip("pydicom")
    write_dicom(tmp_path / "fundus.dcm", rng.integers(0, 256, (5, 6), np.uint8), Modality="OP")
    with pytest.raises(DataError, match="modality OP, expected OPT"):
        open_oct(tmp_path, "test")


def test_slices_with_the_same_number_are_taken_by_name(tmp_path):
    for name in "cab":
        png(tmp_path / f"{name}.png", ord(name))
    manifest(tmp_path, "file,volume,slice", "c.png,v,1", "a.png,v,1", "b.png,v,2")
    source = open_oct(tmp_path, "test")
    assert slices(source) == [[(0, 3, 97), (1, 3, 98), (2, 3, 99)]]
    assert "volume v: number 1 twice" in source.notes[0]


def test_e2e_with_a_missing_slice(tmp_path):
    pytest.importorskip("eyepy")
    write_e2e(tmp_path / "a.e2e", np.full((4, 3, 5), 60 << 10, np.uint16), skip=(1,))
    source = open_source(tmp_path, "test")
    assert source.layout == "oct"
    assert [(source.info(i).slice, source.info(i).slices) for i in range(3)] == [(0, 4), (2, 4), (3, 4)]
    assert "1 of 4 slices are missing (2)" in source.notes[0]
    assert [source.read(i).shape for i in range(3)] == [(3, 5)] * 3


def test_colour_is_read_as_it_is(tmp_path, rng):
    colours = rng.integers(0, 256, (4, 6, 3), np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_oct(tmp_path, "test").read(0), colours)


def test_one_file(tmp_path, rng):
    pages = rng.integers(0, 65536, (3, 4, 6), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    source = open_oct(tmp_path / "a.tif", "test")
    assert [item.id for item in source.items] == ["a.tif#000", "a.tif#001", "a.tif#002"]
    np.testing.assert_array_equal([source.read(index) for index in range(3)], pages)
    with pytest.raises(DataError, match="one file, expected a folder for training"):
        open_oct(tmp_path / "a.tif", "train")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match=r"a.txt: one file, expected a folder or .png"):
        open_oct(tmp_path / "a.txt", "test")
    with pytest.raises(DataError, match="no such folder"):
        open_oct(tmp_path / "none", "test")


def test_the_layout_is_guessed_from_files_that_can_be_nothing_else(tmp_path, rng):
    png(tmp_path / "images/a.png")
    tifffile.imwrite(tmp_path / "images/b.tif", np.zeros((4, 6), np.uint8))
    (tmp_path / "images/notes.dcm").write_bytes(b"text")
    assert open_source(tmp_path / "images", "test").layout == "folder"
    (tmp_path / "images/notes.dcm").unlink()  # the oct layout needs pydicom to read it
    vol = write_vol(tmp_path / "images/deep.vol", rng.random((1, 4, 6), np.float32))
    assert open_source(tmp_path / "images", "test").layout == "oct"
    assert open_source(vol, "test").layout == "oct"
    assert open_source(tmp_path / "images", "test", layout="folder").layout == "folder"


def test_a_source_goes_to_worker_processes(tmp_path, rng):
    write_vol(tmp_path / "a.vol", rng.random((3, 4, 6), np.float32))
    (tmp_path / "b.vol").write_bytes(b"x")
    source = open_oct(tmp_path, "test")
    copy = pickle.loads(pickle.dumps(source))
    assert copy == source
    np.testing.assert_array_equal(copy.read(2), source.read(2))
    with pytest.raises(DataError, match=r"b.vol: not a Heidelberg"):
        copy.read(3)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), unique=True, min_size=1, max_size=12), st.randoms())
def test_volumes_part_the_slices_and_order_them(tmp_path_factory, rows, random):
    """Whatever volumes, numbers and names: each slice is in one volume, at its place, beside its true neighbours."""
    root = tmp_path_factory.mktemp("volumes")
    names = [f"{letter}.png" for letter in random.sample("abcdefghijkl", len(rows))]
    for name, (_, number) in zip(names, rows, strict=True):
        png(root / name, number)
    manifest(root, "file,volume,slice", *(f"{name},{v},{n}" for name, (v, n) in zip(names, rows, strict=True)))
    source = open_oct(root, "test")
    assert sorted(index for volume in source.volumes() for index in volume) == list(range(len(rows)))
    expected: dict[str, list[int]] = {}
    for volume, number in rows:
        expected.setdefault(str(volume), []).append(number)
    for volume in source.volumes():
        numbers = [int(source.read(index).flat[0]) for index in volume]
        places = [source.info(index).slice for index in volume]
        (name,) = {source.info(index).volume for index in volume}
        assert numbers == sorted(expected[name])
        assert places[0] == 0
        assert places[-1] == source.info(volume[0]).slices - 1
        steps = {(b - a) / (q - p) for a, b, p, q in zip(numbers, numbers[1:], places, places[1:], strict=False)}
        in_order = places == list(range(len(places)))  # numbers that reach too far are an order alone
        assert len(steps) <= 1 or (in_order and numbers[-1] - numbers[0] >= 64 * len(places))
