"""manifest.csv as people and Excel write it: headers, delimiters, encodings, names of files, splits."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anotwin.data.columns import GROUP, PATIENT, SOMETIMES, THING, plain
from anotwin.data.manifest import open_manifest, read_manifest
from anotwin.domains.open import notes_of, open_source
from anotwin.errors import DataError


def make(root, text, names, encoding="utf-8"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / name)
    (root / "manifest.csv").write_bytes(text.encode(encoding) if isinstance(text, str) else text)
    return root


def groups(root):
    return {name: row.group for name, row in read_manifest(root).items()}


@pytest.mark.parametrize(
    "header",
    [
        *[
            "Patient",
            "patient_id",
            "subject",
            "PATIENT ID",
            "Subject-ID",
            "Case No",
            "Part",
            "part-id",
            "Serial Number",
        ],
        *[
            "Serial Number",
            "specimen",
            "Strip",
            "video",
            "clip_id",
            "\ufeffgroup",
            "Group",
            "sample",
            "Wafer",
            "Anon. patient id",
        ],
    ],
)
def test_columns_are_known_under_the_names_people_use(tmp_path, header):
    names = [f"{i}.png" for i in range(4)]
    make(tmp_path, f"file,{header}\n" + "".join(f"{i}.png,P{i // 2}\n" for i in range(4)), names)
    assert groups(tmp_path) == {"0.png": "P0", "1.png": "P0", "2.png": "P1", "3.png": "P1"}
    source = open_source(tmp_path, "train")
    assert [item.group for item in source.items] == ["P0", "P0", "P1", "P1"]


@pytest.mark.parametrize("header", ["Lot", "camera", "batch_id", "Session", "date"])
def test_a_condition_is_a_unit_only_where_there_are_many(tmp_path, header):
    many = make(tmp_path / "many", f"file,{header}\n" + "".join(f"{i}.png,c{i // 2}\n" for i in range(12)),
                [f"{i}.png" for i in range(12)])  # fmt: skip
    assert len(set(groups(many).values())) == 6
    few = make(tmp_path / "few", f"file,{header}\n" + "".join(f"{i}.png,c{i % 2}\n" for i in range(12)),
               [f"{i}.png" for i in range(12)])  # fmt: skip
    assert set(groups(few).values()) == {None}
    assert any("2 values" in note and f"--group {header}" in note for note in notes_of(open_source(few, "test")))


def test_the_unit_of_sampling_comes_before_what_is_within_it(tmp_path):
    make(tmp_path, "file,eye,lot,Patient ID\na.png,OD,1,p1\nb.png,OS,2,p1\n", ["a.png", "b.png"])
    assert groups(tmp_path) == {"a.png": "p1", "b.png": "p1"}
    told = " ".join(notes_of(open_source(tmp_path, "test")))
    assert "by column 'Patient ID'" in told
    assert "not used: 'eye', 'lot'" in told
    assert "lot, eye may name groups too, --group" in told


def test_an_explicit_group_comes_before_patients(tmp_path):
    make(tmp_path, "file,patient,group\na.png,p,g1\nb.png,p,g2\n", ["a.png", "b.png"])
    assert groups(tmp_path) == {"a.png": "g1", "b.png": "g2"}


def test_a_half_empty_column_is_said(tmp_path):
    make(tmp_path, "file,Patient\na.png,p\nb.png,\nc.png,N/A\nd.png,unknown\n", [f"{c}.png" for c in "abcd"])
    source = open_source(tmp_path, "train")
    assert [item.group for item in source.items] == ["p", None, None, None]
    assert any("no Patient is known for 3 of 4 images" in note for note in source.notes)


def test_names_that_differ_in_case_spaces_or_unicode_form_are_one_group(tmp_path):
    composed, apart = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    text = f"file,patient\na.png,{composed}\nb.png,{apart}\nc.png, ZOË \nd.png,Zoe\n"
    source = open_source(make(tmp_path, text, [f"{c}.png" for c in "abcd"]), "train")
    assert len({item.group for item in source.items}) == 2
    assert len({item.group for item in source.items[:3]}) == 1


EXCEL = "Dateiname;Filename;Klasse;Label;Patient\n;x/1.png;;good;Jürg\n;x/2.png;;bad;Ann\n;;;;\n"


@pytest.mark.parametrize(
    "text,encoding",
    [
        (EXCEL, "utf-8-sig"),
        (EXCEL, "utf-16"),
        (EXCEL, "utf-16-le"),
        (EXCEL, "cp1252"),
        (EXCEL.replace(";", "\t"), "utf-16"),
        (EXCEL.replace(";", "|"), "utf-8"),
        ("sep=;\r\n" + EXCEL.replace("\n", "\r\n"), "utf-8-sig"),
        ("sep=,\n" + EXCEL.replace(";", ","), "utf-8"),
    ],
)
def test_what_excel_exports(tmp_path, text, encoding):
    rows = read_manifest(make(tmp_path, text, ["x/1.png", "x/2.png"], encoding))
    assert [(name, row.label, row.group) for name, row in rows.items()] == [
        ("x/1.png", "good", "Jürg"),
        ("x/2.png", "bad", "Ann"),
    ]


def test_windows_encoding_is_said(tmp_path):
    notes = open_manifest(make(tmp_path, EXCEL, ["x/1.png", "x/2.png"], "cp1252")).notes
    assert any("Windows-1252" in note for note in notes)


@pytest.mark.parametrize(
    "text,words",
    [
        (b"PK\x03\x04\x00\x00", ["Excel workbook", "save it as CSV"]),
        (b"file\n\x00\x01\x02.png\n", ["not text"]),
        (b'file,label\n"a.png,good\nb.png,bad\n', ["cannot read"]),
        (b"file,label\na.png,good,nonsense\n", ["line 2", "3 cells for 2 columns"]),
        (b"file,split\na.png,traning\n", ["line 2", "'traning'", "expected train, val or test"]),
        (b"file,label,Label\na.png,x,y\n", ["two columns 'Label'"]),
        (b"path,label\na.png,x\nA.PNG,y\n", ["line 3", "second time"]),
        (b"who,label\na.png,x\n", ["columns ['who', 'label']"]),
    ],
)
def test_what_cannot_be_understood_is_refused_in_a_line(tmp_path, text, words):
    with pytest.raises(DataError) as caught:
        read_manifest(make(tmp_path, text, ["a.png"]))
    assert all(word in str(caught.value) for word in ["manifest.csv", *words])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "written",
    ["x/Öl 1.png", "x\\Öl 1.png", "./x/Öl 1.png", "X/öl 1.PNG", "x/O\u0308l 1.png", "x/Öl 1", ".\\X\\ÖL 1.png"],
)
def test_files_are_found_as_people_write_them(tmp_path, written):
    name = unicodedata.normalize("NFC", "x/Öl 1.png")
    make(tmp_path, f"image,patient\n{written},p\n", [name])
    assert list(read_manifest(tmp_path)) == [name]


def test_a_name_that_may_be_two_files_is_refused(tmp_path):
    make(tmp_path, "file\nx/A.png\n", ["x/a.png", "x/a.PNG"])
    with pytest.raises(DataError, match="may be"):
        read_manifest(tmp_path)
    make(tmp_path, "file\nx/a.png\n", [])
    assert list(read_manifest(tmp_path)) == ["x/a.png"]


def test_a_column_that_is_no_path_gives_way_to_one_that_is(tmp_path):
    make(tmp_path, "image,filepath\n1,a.png\n2,b.png\n", ["a.png", "b.png"])
    assert list(read_manifest(tmp_path)) == ["a.png", "b.png"]


def test_words_of_splits(tmp_path):
    words = ["train", "Training", "TEST", "testing", "val", "Validation", ""]
    text = "file,Set\n" + "".join(f"{i}.png,{word}\n" for i, word in enumerate(words))
    root = make(tmp_path, text, [f"{i}.png" for i in range(7)])
    assert [row.split for row in read_manifest(root).values()] == ["train"] * 2 + ["test"] * 2 + ["val"] * 2 + [None]
    assert {"0.png", "1.png"} <= {item.id for item in open_source(root, "train").items}
    assert not {"2.png", "3.png", "4.png", "5.png"} & {item.id for item in open_source(root, "train").items}
    notes = open_manifest(root).notes
    assert any("2 of 7 files are in a validation split" in note for note in notes)


def test_a_column_named_set_that_is_no_split(tmp_path):
    root = make(tmp_path, "file,set\na.png,screws\n", ["a.png"])
    assert read_manifest(root)["a.png"].split is None


def test_layouts_find_their_columns_under_any_spelling(tmp_path):
    text = 'Image,Patient-ID,Eye,Axial (µm),Slice No\na.png,7,OD,"3,87",4\n'
    more = read_manifest(make(tmp_path, text, ["a.png"]))["a.png"].more
    assert (more["patient"], more["eye"], more["axial_um"], more["slice"]) == ("7", "OD", "3.87", "4")


def test_another_case_of_the_file_name(tmp_path):
    make(tmp_path, "file,group\na.png,g\n", ["a.png"])
    (tmp_path / "manifest.csv").rename(tmp_path / "Manifest.CSV")
    assert groups(tmp_path) == {"a.png": "g"}


NAMES = st.sampled_from([*GROUP, *PATIENT, *THING])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(NAMES, st.lists(st.sampled_from(" _-."), max_size=3), st.booleans())
def test_signs_and_case_never_change_what_a_header_means(name, signs, upper):
    written = name.upper() if upper else name.capitalize()
    for place, sign in enumerate(signs):
        written = written[: place + 1] + sign + written[place + 1 :]
    assert plain(f" {written} ") == name
    assert plain(name) not in SOMETIMES
