"""What a file is and whose volume it belongs to: by headers and by pixels, never by a name alone."""

import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile
from oct_writers import write_img, write_vol
from PIL import Image
from skimage.data import retina as fundus

from anotwin.domains.oct.flatten import flatten
from anotwin.domains.oct.layers.find import find_retinas
from anotwin.domains.oct.neighbours import volume_runs
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.scans import flat_scans
from anotwin.domains.oct.source import open_oct
from anotwin.domains.oct.synthetic.retina import retina_scan, retina_volume
from anotwin.errors import DataError

CASES = Path(os.environ.get("ANOTWIN_DATA", Path(__file__).parents[4] / "shared/data")).parent / "cases/oct"


def png(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def eyes(folder, seeds, first=1):
    """Numbered pictures of different eyes."""
    return [png(folder / f"image{k}.png", retina_scan(seed, 400, 128).pixels) for k, seed in enumerate(seeds, first)]


def volume(folder, seed, slices, first=1):
    scans = retina_volume(seed, slices, 400, 128)
    return [png(folder / f"image{number}.png", scan.pixels) for number, scan in enumerate(scans, first)]


def members(source):
    return [[source.items[index].id for index in each] for each in source.volumes()]


# -- numbered pictures ------------------------------------------------------------------------------------------------


def test_numbered_pictures_of_different_eyes_are_single_scans(tmp_path):
    eyes(tmp_path, [0, 1, 2])
    source = open_oct(tmp_path, "test")
    assert members(source) == [["image1.png"], ["image2.png"], ["image3.png"]]
    (note,) = [note for note in source.notes if "resemble" in note]
    assert "3 numbered pictures" in note
    assert "manifest.csv" in note


def test_their_lines_do_not_depend_on_each_other(tmp_path):
    eyes(tmp_path, [0, 1, 2])
    source = open_oct(tmp_path, "test")
    for index, found in enumerate(flat_scans(source, range(3))):
        (alone,) = find_retinas([source.read(index)], None)
        np.testing.assert_array_equal(found.retina.rpe, alone.rpe)
        np.testing.assert_array_equal(found.retina.baseline, alone.baseline)


def test_slices_of_one_eye_are_a_volume_in_the_order_of_their_numbers(tmp_path):
    volume(tmp_path / "eye", 3, 11)
    source = open_oct(tmp_path, "test")
    assert members(source) == [[f"eye/image{number}.png" for number in range(1, 12)]]
    assert not [note for note in source.notes if "resemble" in note]


def test_two_volumes_in_one_folder_are_parted_where_they_meet(tmp_path):
    volume(tmp_path / "eyes", 3, 5)
    volume(tmp_path / "eyes", 8, 4, first=6)
    source = open_oct(tmp_path, "test")
    assert [len(each) for each in source.volumes()] == [5, 4]
    assert {source.info(index).volume for index in range(9)} == {"eyes (image1 to image5)", "eyes (image6 to image9)"}
    assert {item.group for item in source.items} == {"eyes"}  # one folder: never on both sides of a split


def test_a_blink_and_a_damaged_picture_part_no_volume(tmp_path):
    paths = volume(tmp_path / "eye", 3, 7)
    png(paths[2], np.random.default_rng(0).integers(0, 30, (400, 128)).astype(np.uint8))
    paths[4].write_bytes(b"\x89PNG no picture")
    assert volume_runs(paths) == [[0, 1, 2, 3, 4, 5, 6]]


def test_a_fundus_picture_among_them_stands_alone(tmp_path):
    volume(tmp_path / "eye", 3, 5)
    eye = np.asarray(Image.fromarray(fundus()).convert("L").resize((400, 400)))
    png(tmp_path / "eye/image0.png", eye)  # numbered like the slices
    png(tmp_path / "eye/slo.png", eye)  # named by itself: breaks no volume apart
    source = open_oct(tmp_path, "test")
    assert sorted(map(len, source.volumes())) == [1, 1, 5]
    found = {source.items[scan.index].id: scan for scan in flat_scans(source, range(7))}
    assert found["eye/image0.png"].error
    assert found["eye/slo.png"].error
    assert not found["eye/image3.png"].error


def test_a_manifest_can_say_that_pictures_are_a_volume(tmp_path):
    eyes(tmp_path, [0, 1, 2])
    rows = [f"image{number}.png,V,{number}" for number in (1, 2, 3)]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,volume,slice", *rows]))
    assert members(open_oct(tmp_path, "test")) == [["image1.png", "image2.png", "image3.png"]]


# -- .vol headers -----------------------------------------------------------------------------------------------------


def reflectance(slices, height=8, width=6):
    return np.random.default_rng(0).random((slices, height, width)).astype(np.float32)


@pytest.mark.parametrize("said", [61_440, 300, 0])
def test_each_slice_is_found_by_its_own_header(tmp_path, said):
    """Exporters name another size in the header of the file than they write."""
    right = write_vol(tmp_path / "right.vol", reflectance(4))
    data = bytearray(right.read_bytes())
    struct.pack_into("<I", data, 100, said)  # of the file's header: the size of those of the slices
    (tmp_path / "other.vol").write_bytes(data)
    one, other = open_oct(right, "test"), open_oct(tmp_path / "other.vol", "test")
    assert len(other.items) == 4
    for index in range(4):
        np.testing.assert_array_equal(other.read(index), one.read(index))


def test_headers_of_different_sizes_in_one_file(tmp_path):
    values = reflectance(2)
    short, long = (write_vol(tmp_path / f"{k}.vol", values[k : k + 1]).read_bytes() for k in (0, 1))
    begin, area = 2048 + 48, values[0].nbytes
    header = bytearray(long[begin : len(long) - area] + bytes(100))  # the second slice's is 100 bytes longer
    struct.pack_into("<I", header, 12, len(header))
    file = bytearray(short + bytes(header) + long[len(long) - area :])
    struct.pack_into("<I", file, 16, 2)
    (tmp_path / "both.vol").write_bytes(file)
    both = open_oct(tmp_path / "both.vol", "test")
    for k in (0, 1):
        np.testing.assert_array_equal(both.read(k), open_oct(tmp_path / f"{k}.vol", "test").read(0))


def test_a_slice_without_a_header_is_refused(tmp_path):
    path = write_vol(tmp_path / "a.vol", reflectance(3))
    data = bytearray(path.read_bytes())
    second = data.index(b"HSF-BS", data.index(b"HSF-BS") + 1)
    data[second : second + 6] = b"\0\0\0\0\0\0"
    path.write_bytes(data)
    source = open_oct(path, "test")
    with pytest.raises(DataError, match=r"slice 1 begins with .* expected b'HSF-BS-'"):
        source.read(0)


def test_slices_of_a_star_are_one_volume_and_no_neighbours(tmp_path):
    """The values of such a file are stored as light, which a viewer shows as its fourth root: here they are grey."""
    scans = np.stack([scan.pixels for scan in retina_volume(3, 3, 400, 128)]).astype(np.float32)
    light = np.exp(scans / 255 * 8.285 - 8.3) - 2.44e-4
    source = open_oct(write_vol(tmp_path / "star.vol", light.astype(np.float32), pattern=5), "test")
    assert members(source) == [["star.vol#000", "star.vol#001", "star.vol#002"]]
    for index, found in enumerate(flat_scans(source, range(3))):
        spacing = source.info(index).spacing
        (alone,) = find_retinas([source.read(index)], spacing)
        np.testing.assert_array_equal(found.flat.pixels, flatten(source.read(index), alone, spacing=spacing).pixels)


def test_a_circle_around_the_disc_is_left_out_and_said(tmp_path):
    write_vol(tmp_path / "circle.vol", reflectance(1), pattern=2)
    write_vol(tmp_path / "lines.vol", reflectance(1), pattern=1)
    source = open_oct(tmp_path, "test")
    assert [item.id for item in source.items] == ["lines.vol"]
    assert any("circle.vol: a circle scan around the optic disc" in note for note in source.notes)


# -- exports ----------------------------------------------------------------------------------------------------------

IMAGE = """<Image><ImageNumber>{number}</ImageNumber><ImageType><Type>{kind}</Type></ImageType>
<OphthalmicAcquisitionContext><ScaleX>0.0115</ScaleX><ScaleY>0.0039</ScaleY>
<Start><Coord><X>1.0</X><Y>{y}</Y></Coord></Start><End><Coord><X>7.0</X><Y>{y}</Y></Coord></End>
</OphthalmicAcquisitionContext><ImageData><ExamURL>file:///\\\\server\\share\\{file}</ExamURL></ImageData></Image>"""


def export(folder, slices=3, kind="Volume", there=None):
    """A Heidelberg XML export: B-scans not named in the order of the slices, an infrared picture, metadata."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"A{9 - number}F.TIF" for number in range(slices)]
    scans = retina_volume(5, slices, 400, 128)
    for name, scan in list(zip(names, scans, strict=True))[:there]:
        tifffile.imwrite(folder / name.replace("TIF", "tif"), np.dstack([scan.pixels] * 3), photometric="rgb")
    tifffile.imwrite(folder / "A0.tif", np.full((64, 64), 90, np.uint8))
    images = [IMAGE.format(number=0, kind="LOCALIZER", y=0, file="A0.TIF")]
    images += [IMAGE.format(number=k + 1, kind="OCT", y=6 - 0.25 * k, file=name) for k, name in enumerate(names)]
    body = "".join(reversed(images))
    (folder / "export.xml").write_text(
        f"<HEDX><BODY><Patient><PatientID>P-4</PatientID><Study><Series><ID>77</ID><Type>{kind}</Type>"
        f"<Laterality>L</Laterality>{body}</Series></Study></Patient></BODY></HEDX>"
    )
    return names


def test_an_xml_export_is_one_volume_with_spacing_eye_and_patient(tmp_path):
    names = export(tmp_path / "visit")
    source = open_oct(tmp_path, "test")
    assert members(source) == [[f"visit/{name.replace('TIF', 'tif')}" for name in names]]
    info = source.info(source.volumes()[0][1])
    assert (info.patient, info.eye, info.slice, info.slices) == ("P-4", "OS", 1, 3)
    assert info.spacing == Spacing(3.9, 11.5, 250.0)
    assert {item.group for item in source.items} == {"P-4"}
    assert any("A0.tif: an infrared or fundus picture, as its XML export says; left out" in n for n in source.notes)
    for index, found in enumerate(flat_scans(source, range(3))):
        assert not found.error
        assert found.spacing == source.info(index).spacing


def test_an_export_that_lacks_some_of_its_pictures_says_so(tmp_path):
    export(tmp_path / "visit", slices=5, there=3)
    source = open_oct(tmp_path, "test")
    assert [len(each) for each in source.volumes()] == [3]
    assert any("names 5 B-scans, 2 are not there" in note for note in source.notes)


def test_a_circle_in_an_export_is_left_out(tmp_path):
    export(tmp_path / "visit", kind="Circle")
    png(tmp_path / "own.png", retina_scan(0, 400, 128).pixels)
    assert [item.id for item in open_oct(tmp_path, "test").items] == ["own.png"]


def test_a_damaged_export_is_said_and_its_pictures_are_read_by_name(tmp_path):
    export(tmp_path / "visit")
    path = tmp_path / "visit/export.xml"
    path.write_text(path.read_text()[:-40])
    source = open_oct(tmp_path, "test")
    assert len(source.items) == 4
    assert any("damaged XML" in note for note in source.notes)


def test_the_manifest_counts_more_than_an_export(tmp_path):
    export(tmp_path / "visit", slices=2)
    rows = ["file,patient,axial_um,lateral_um", "visit/A9F.tif,X,1.9,6.0", "visit/A8F.tif,X,1.9,6.0"]
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    source = open_oct(tmp_path, "test")
    assert {item.group for item in source.items} == {"X"}
    assert source.info(0).spacing == Spacing(1.9, 6.0)


def test_a_cirrus_cube_in_two_forms_is_one_volume(tmp_path):
    cube = np.random.default_rng(0).integers(0, 255, (3, 8, 4)).astype(np.uint8)
    write_img(tmp_path, cube, kind="cube_z")
    write_img(tmp_path, cube, kind="cube_raw")
    write_img(tmp_path, cube, kind="cube_raw", patient="P2")  # no second form: it is read
    source = open_oct(tmp_path, "test")
    assert [len(each) for each in source.volumes()] == [3, 3]
    assert not any("P1" in item.id and "raw" in item.id for item in source.items)
    assert any("1 raw Cirrus cube" in note for note in source.notes)


# -- the files that failed --------------------------------------------------------------------------------------------


@pytest.fixture(params=["numbered_eyes", "xml_export", "cirrus_names", "vol_variants", "slo"])
def case(request, tmp_path):
    if not (CASES / request.param).is_dir():
        pytest.skip("the case files are not part of the project")
    shutil.copytree(CASES / request.param, tmp_path / request.param)
    return request.param, tmp_path / request.param


def test_the_case_files(case):
    name, folder = case
    source = open_oct(folder, "test")
    sizes = [len(each) for each in source.volumes()]
    expected = {"numbered_eyes": [1, 1, 1], "xml_export": [4], "cirrus_names": [4], "vol_variants": [4, 10], "slo": [1]}
    assert sizes == expected[name]
    if name == "xml_export":
        info = source.info(0)
        assert (info.eye, info.spacing.axial, info.spacing.lateral) == ("OD", 3.872, 11.819)
    if name == "slo":
        assert next(flat_scans(source, [0])).error
