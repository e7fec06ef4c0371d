"""Folders as data sets in use have them: what each file must be is written down by hand."""

import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anotwin.domains.open import open_source
from anotwin.errors import DataError

RNG = np.random.default_rng(0)
SIDE = 24


@dataclass(frozen=True)
class Layout:
    """Files of a set: "i" an image, "m" a mask that marks something, "e" an empty one; and what they must become."""

    files: dict[str, str]
    train: set[str]  # ids
    normal: set[str]  # of the test part
    abnormal: dict[str, str]  # of the test part -> its masks, separated by blanks
    text: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    normal_masks: bool = False  # a normal image may have a mask file


def numbered(pattern: str, count: int = 3) -> dict[str, str]:
    return {pattern.format(number): "i" for number in range(count)}


def ids(*patterns: str, count: int = 3) -> set[str]:
    return {pattern.format(number) for pattern in patterns for number in range(count)}


LAYOUTS = {
    "nested lines": Layout(
        numbered("line1/good/{}.png") | numbered("line1/bad/b{}.png") | numbered("line2/good/{}.png"),
        ids("line1/good/{}.png", "line2/good/{}.png"),
        ids("line1/good/{}.png", "line2/good/{}.png"),
        dict.fromkeys(ids("line1/bad/b{}.png"), ""),
    ),
    "nested, defects without a known word": Layout(
        numbered("line1/good/{}.png") | numbered("line1/bent/b{}.png") | numbered("line2/good/{}.png"),
        ids("line1/good/{}.png", "line2/good/{}.png"),
        ids("line1/good/{}.png", "line2/good/{}.png"),
        dict.fromkeys(ids("line1/bent/b{}.png"), ""),
    ),
    "Pass and Fail": Layout(
        numbered("Pass/{}.JPG") | numbered("Fail/{}.JPG"),
        ids("Pass/{}.JPG"),
        ids("Pass/{}.JPG"),
        dict.fromkeys(ids("Fail/{}.JPG"), ""),
    ),
    "words in combination": Layout(
        numbered("Not OK/{}.png") | numbered("non_defective/{}.png"),
        ids("non_defective/{}.png"),
        ids("non_defective/{}.png"),
        dict.fromkeys(ids("Not OK/{}.png"), ""),
    ),
    "BTAD": Layout(
        numbered("train/ok/{}.png")
        | numbered("test/ok/t{}.png")
        | numbered("test/ko/{}.png")
        | {"ground_truth/ko/0.png": "m", "ground_truth/ko/1.bmp": "m"},
        ids("train/ok/{}.png"),
        ids("test/ok/t{}.png"),
        {"test/ko/0.png": "ground_truth/ko/0.png", "test/ko/1.png": "ground_truth/ko/1.bmp", "test/ko/2.png": ""},
    ),
    "VisA, one object": Layout(
        numbered("Data/Images/Normal/000{}.JPG")
        | numbered("Data/Images/Anomaly/00{}.JPG")
        | {"Data/Masks/Anomaly/000.png": "m", "Data/Masks/Anomaly/001.png": "m"},
        ids("Data/Images/Normal/000{}.JPG"),
        ids("Data/Images/Normal/000{}.JPG"),
        {
            "Data/Images/Anomaly/000.JPG": "Data/Masks/Anomaly/000.png",
            "Data/Images/Anomaly/001.JPG": "Data/Masks/Anomaly/001.png",
            "Data/Images/Anomaly/002.JPG": "",
        },
    ),
    "VisA with its split": Layout(
        numbered("candle/Data/Images/Normal/{}.JPG", 4)
        | numbered("candle/Data/Images/Anomaly/{}.JPG", 1)
        | {"candle/Data/Masks/Anomaly/0.png": "m"},
        ids("candle/Data/Images/Normal/{}.JPG"),
        {"candle/Data/Images/Normal/3.JPG"},
        {"candle/Data/Images/Anomaly/0.JPG": "candle/Data/Masks/Anomaly/0.png"},
        {
            "split_csv/1cls.csv": "object,split,label,image,mask\n"
            + "".join(f"candle,train,normal,candle/Data/Images/Normal/{n}.JPG,\n" for n in range(3))
            + "candle,test,normal,candle/Data/Images/Normal/3.JPG,\n"
            "candle,test,anomaly,candle/Data/Images/Anomaly/0.JPG,candle/Data/Masks/Anomaly/0.png\n"
        },
    ),
    "KolektorSDD": Layout(
        {"kos01/Part0.jpg": "i", "kos01/Part0_label.bmp": "e", "kos01/Part1.jpg": "i", "kos01/Part1_label.bmp": "m"}
        | {"kos02/Part0.jpg": "i", "kos02/Part0_label.bmp": "e", "kos02/Part1.jpg": "i", "kos02/Part1_label.bmp": "e"},
        {"kos01/Part0.jpg", "kos02/Part0.jpg", "kos02/Part1.jpg"},
        {"kos01/Part0.jpg", "kos02/Part0.jpg", "kos02/Part1.jpg"},
        {"kos01/Part1.jpg": "kos01/Part1_label.bmp"},
        normal_masks=True,
    ),
    "KolektorSDD2": Layout(
        {"train/10000.png": "i", "train/10000_GT.png": "e", "train/10001.png": "i", "train/10001_GT.png": "m"}
        | {"test/20000.png": "i", "test/20000_GT.png": "e", "test/20001.png": "i", "test/20001_GT.png": "m"},
        {"train/10000.png"},
        {"test/20000.png"},
        {"test/20001.png": "test/20001_GT.png"},
        normal_masks=True,
    ),
    "MVTec": Layout(
        numbered("train/good/00{}.png")
        | numbered("test/good/00{}.png")
        | numbered("test/crack/00{}.png")
        | numbered("test/hole/00{}.png")
        | {"ground_truth/crack/000_mask.png": "m", "ground_truth/hole/001_mask.png": "m"},
        ids("train/good/00{}.png"),
        ids("test/good/00{}.png"),
        dict.fromkeys(ids("test/crack/00{}.png", "test/hole/00{}.png"), "")
        | {"test/crack/000.png": "ground_truth/crack/000_mask.png"}
        | {"test/hole/001.png": "ground_truth/hole/001_mask.png"},
    ),
    "MVTec LOCO": Layout(
        numbered("train/good/00{}.png")
        | numbered("validation/good/00{}.png")
        | numbered("test/good/00{}.png")
        | numbered("test/logical_anomalies/00{}.png", 2)
        | {
            "ground_truth/logical_anomalies/000/000.png": "m",
            "ground_truth/logical_anomalies/000/001.png": "m",
            "ground_truth/logical_anomalies/001/000.png": "m",
        },
        ids("train/good/00{}.png"),
        ids("test/good/00{}.png"),
        {
            "test/logical_anomalies/000.png": "ground_truth/logical_anomalies/000/000.png "
            "ground_truth/logical_anomalies/000/001.png",
            "test/logical_anomalies/001.png": "ground_truth/logical_anomalies/001/000.png",
        },
    ),
    "MVTec 3D": Layout(
        numbered("train/good/rgb/00{}.png")
        | numbered("train/good/xyz/00{}.tiff")
        | numbered("test/good/rgb/00{}.png")
        | numbered("test/good/xyz/00{}.tiff")
        | {"test/cut/rgb/000.png": "i", "test/cut/xyz/000.tiff": "i", "test/cut/gt/000.png": "m"}
        | {"test/good/gt/000.png": "e"},
        ids("train/good/rgb/00{}.png"),
        ids("test/good/rgb/00{}.png"),
        {"test/cut/rgb/000.png": "test/cut/gt/000.png"},
        normal_masks=True,
    ),
    "masks beside the classes": Layout(
        numbered("good/{}.png") | numbered("crack/{}.png") | {"mask/0.png": "m", "mask/1.png": "m"},
        ids("good/{}.png"),
        ids("good/{}.png"),
        {"crack/0.png": "mask/0.png", "crack/1.png": "mask/1.png", "crack/2.png": ""},
    ),
    "a folder of masks for each class": Layout(
        numbered("good/{}.png") | numbered("crack/{}.png") | {"Crack_GT/0.png": "m"},
        ids("good/{}.png"),
        ids("good/{}.png"),
        {"crack/0.png": "Crack_GT/0.png", "crack/1.png": "", "crack/2.png": ""},
    ),
    "one folder an image": Layout(
        {f"img{n:03d}/image.png": "i" for n in range(16)}
        | {f"img{n:03d}/mask.png": "m" if n % 4 == 0 else "e" for n in range(16)},
        {f"img{n:03d}/image.png" for n in range(16) if n % 4},
        {f"img{n:03d}/image.png" for n in range(16) if n % 4},
        {f"img{n:03d}/image.png": f"img{n:03d}/mask.png" for n in range(0, 16, 4)},
        normal_masks=True,
    ),
    "one folder an image, several masks": Layout(
        {
            "a/images/a.png": "i",
            "a/masks/1.png": "m",
            "a/masks/2.png": "m",
            "b/images/b.png": "i",
            "b/masks/1.png": "e",
        },
        {"b/images/b.png"},
        {"b/images/b.png"},
        {"a/images/a.png": "a/masks/1.png a/masks/2.png"},
        normal_masks=True,
    ),
    "training, validation, test": Layout(
        numbered("training/good/{}.png")
        | numbered("val/good/{}.png")
        | numbered("val/bad/{}.png")
        | numbered("testing/good/{}.png")
        | numbered("testing/scratched/{}.png"),
        ids("training/good/{}.png"),
        ids("testing/good/{}.png"),
        dict.fromkeys(ids("testing/scratched/{}.png"), ""),
    ),
    "train and val alone": Layout(
        numbered("train/ok/{}.png")
        | numbered("train/ng/{}.png")
        | numbered("val/ok/{}.png")
        | numbered("val/ng/{}.png"),
        ids("train/ok/{}.png"),
        ids("val/ok/{}.png"),
        dict.fromkeys(ids("val/ng/{}.png"), ""),
    ),
    "parts below the classes": Layout(
        numbered("good/train/{}.png") | numbered("good/test/{}.png") | numbered("bad/test/{}.png"),
        ids("good/train/{}.png"),
        ids("good/test/{}.png"),
        dict.fromkeys(ids("bad/test/{}.png"), ""),
    ),
    "parts and classes in one name": Layout(
        numbered("train_good/{}.png") | numbered("test_good/{}.png") | numbered("test_defect/{}.png"),
        ids("train_good/{}.png"),
        ids("test_good/{}.png"),
        dict.fromkeys(ids("test_defect/{}.png"), ""),
    ),
    "several categories": Layout(
        numbered("nut/train/good/{}.png")
        | numbered("nut/test/bent/{}.png", 1)
        | {"nut/ground_truth/bent/0_mask.png": "m"}
        | numbered("pin/train/good/{}.png")
        | numbered("pin/test/good/{}.png")
        | numbered("pin/test/bent/{}.png", 1)
        | {"pin/ground_truth/bent/0_mask.png": "m"},
        ids("nut/train/good/{}.png", "pin/train/good/{}.png"),
        ids("pin/test/good/{}.png"),
        {f"{name}/test/bent/0.png": f"{name}/ground_truth/bent/0_mask.png" for name in ("nut", "pin")},
    ),
    "DAGM": Layout(
        numbered("Class1/Train/000{}.PNG")
        | {"Class1/Train/Label/0001_label.PNG": "m"}
        | numbered("Class1/Test/100{}.PNG")
        | {"Class1/Test/Label/1002_label.PNG": "m"},
        {"Class1/Train/0000.PNG", "Class1/Train/0002.PNG"},
        {"Class1/Test/1000.PNG", "Class1/Test/1001.PNG"},
        {"Class1/Test/1002.PNG": "Class1/Test/Label/1002_label.PNG"},
        {"Class1/Train/Label/Labels.txt": "1\n"},
    ),
    "magnetic tile as published": Layout(
        {f"MT_Free/Imgs/f{n}.jpg": "i" for n in range(4)}
        | {f"MT_Free/Imgs/f{n}.png": "e" for n in range(4)}
        | {f"MT_Crack/Imgs/c{n}.jpg": "i" for n in range(3)}
        | {f"MT_Crack/Imgs/c{n}.png": "m" for n in range(3)},
        {f"MT_Free/Imgs/f{n}.jpg" for n in range(4)},
        {f"MT_Free/Imgs/f{n}.jpg" for n in range(4)},
        {f"MT_Crack/Imgs/c{n}.jpg": f"MT_Crack/Imgs/c{n}.png" for n in range(3)},
        normal_masks=True,
    ),
    "masks by prefix": Layout(
        numbered("ok/p{}.png") | {"ng/p1.png": "i", "ng/mask_p1.png": "m", "ng/p2.png": "i"},
        ids("ok/p{}.png"),
        ids("ok/p{}.png"),
        {"ng/p1.png": "ng/mask_p1.png", "ng/p2.png": ""},
    ),
    "masks by number and another case": Layout(
        numbered("ok/{}.png") | {"ng/A1.png": "i", "ng/a1_Mask_1.png": "m", "ng/a1_Mask_2.png": "m"},
        ids("ok/{}.png"),
        ids("ok/{}.png"),
        {"ng/A1.png": "ng/a1_Mask_1.png ng/a1_Mask_2.png"},
    ),
    "image_ and mask_": Layout(
        numbered("good/image_{}.png") | numbered("bad/image_{}.png") | {"bad/mask_0.png": "m", "bad/mask_1.png": "m"},
        ids("good/image_{}.png"),
        ids("good/image_{}.png"),
        {"bad/image_0.png": "bad/mask_0.png", "bad/image_1.png": "bad/mask_1.png", "bad/image_2.png": ""},
    ),
    "images, masks": Layout(
        {"images/a.png": "i", "images/b.png": "i", "annotations/a.png": "m"},
        {"images/b.png"},
        {"images/b.png"},
        {"images/a.png": "annotations/a.png"},
    ),
    "names decomposed by macOS": Layout(
        numbered("good/{}.png")
        | {unicodedata.normalize("NFC", "bad/ünter.png"): "i", unicodedata.normalize("NFD", "mask/ünter.png"): "m"},
        ids("good/{}.png"),
        ids("good/{}.png"),
        {unicodedata.normalize("NFC", "bad/ünter.png"): unicodedata.normalize("NFD", "mask/ünter.png")},
    ),
    "a manifest that names train and test": Layout(
        numbered("x/{}.png") | {"x/0_mask.png": "m"},
        {"x/1.png"},
        {"x/2.png"},
        {"x/0.png": "x/0_mask.png"},
        {"manifest.csv": "file,label,split\nx/0.png,NOK,test\nx/1.png,pass,train\nx/2.png,pass,test\n"},
    ),
    "a flat folder": Layout(numbered("{}.png"), ids("{}.png"), set(), {}, unknown=ids("{}.png")),
    "a flat train, labelled test": Layout(
        numbered("train/{}.png") | numbered("test/good/{}.png") | numbered("test/bad/{}.png"),
        ids("train/{}.png"),
        ids("test/good/{}.png"),
        dict.fromkeys(ids("test/bad/{}.png"), ""),
    ),
    "what is not sorted is not counted": Layout(
        numbered("good/{}.png") | numbered("bad/{}.png") | numbered("unlabeled/{}.png") | {"loose.png": "i"},
        ids("good/{}.png"),
        ids("good/{}.png"),
        dict.fromkeys(ids("bad/{}.png"), ""),
        unknown=ids("unlabeled/{}.png") | {"loose.png"},
    ),
    "cameras": Layout(
        numbered("cam1/{}.png") | numbered("cam2/{}.png"),
        ids("cam1/{}.png", "cam2/{}.png"),
        set(),
        {},
        unknown=ids("cam1/{}.png", "cam2/{}.png"),
    ),
}


def build(root: Path, layout: Layout) -> Path:
    for name, kind in layout.files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        values = RNG.integers(40, 220, (SIDE, SIDE)).astype(np.uint8)
        if kind != "i":
            values = np.zeros((SIDE, SIDE), np.uint8)
            values[3:6, 4:9] = 255 if kind == "m" else 0
        Image.fromarray(values).save(path)
    for name, text in layout.text.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def masks_of(source, index) -> str:
    item = source.items[index]
    several = getattr(source, "masks", {}).get(item.id)
    return " ".join(several or ([item.mask] if item.mask else []))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_file_is_what_it_must_be(tmp_path, name):
    layout = LAYOUTS[name]
    root = build(tmp_path / "set", layout)
    train, test = open_source(root, "train"), open_source(root, "test")
    assert {item.id for item in train.items} == layout.train
    assert all(item.normal is not False for item in train.items)
    found = {normal: {item.id for item in test.items if item.normal is normal} for normal in (True, False, None)}
    assert found == {True: layout.normal, False: set(layout.abnormal), None: layout.unknown}
    for index, item in enumerate(test.items):
        if item.id in layout.abnormal:
            assert masks_of(test, index) == layout.abnormal[item.id]
            if item.mask:
                assert test.check_mask(index) == ""
                assert int(test.read_mask(index).sum()) == 15
        elif not layout.normal_masks:
            assert item.mask is None
    assert getattr(test, "unused_masks", ()) == ()


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_table_counts_every_image_once(tmp_path, name):
    layout = LAYOUTS[name]
    root = build(tmp_path / "set", layout)
    depth = sum(kind == "i" and "/xyz/" in name for name, kind in layout.files.items())
    for part, wanted in (("train", layout.train), ("test", layout.normal)):
        taken = open_source(root, part).taken
        assert sum(row.images for row in taken) == len(layout.files) - depth
        assert sum(row.images for row in taken if row.counts_as.startswith("normal")) == len(wanted)
        masks = sum(kind != "i" for kind in layout.files.values())
        assert sum(row.images for row in taken if row.counts_as == "mask") == masks
        assert len(taken) <= 12


REFUSED = {
    "known bad beside an unknown name": (numbered("crack/{}.png") | numbered("surface/{}.png"), "'surface' (3)"),
    "known bad beside loose images": (numbered("defect/{}.png") | numbered("{}.png"), "'defect' (3)"),
    "both in one name": (numbered("good_and_bad/{}.png"), "'good_and_bad' (3)"),
    "yes and no": (numbered("yes/{}.png") | numbered("no/{}.png"), "'yes' (3)"),
    "0 and 1": (numbered("0/{}.png") | numbered("1/{}.png"), "'1' (3)"),
    "lid and no_lid": (numbered("lid/{}.png") | numbered("no_lid/{}.png"), "'no_lid' (3)"),
    "perhaps good": (numbered("normal_light/{}.png") | numbered("dim/{}.png"), "'normal_light' (3)"),
    "names of files": (numbered("OK_{}.png") | numbered("NG_{}.png"), "'NG_0.png'"),
    "bad alone": (numbered("fail/{}.png"), "'fail' (3)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_ambiguous_is_refused_for_training_and_scored(tmp_path, name):
    files, word = REFUSED[name]
    root = build(tmp_path / "set", Layout(files, set(), set(), {}))
    with pytest.raises(DataError) as error:
        open_source(root, "train")
    message = str(error.value)
    assert word in message
    assert "--normal PATTERN" in message
    assert "\n" not in message
    assert {item.id for item in open_source(root, "test").items} == set(files)


@pytest.mark.parametrize(
    "files,normal,abnormal,expected",
    [
        (REFUSED["known bad beside an unknown name"][0], "surface", None, ids("surface/{}.png")),
        (REFUSED["lid and no_lid"][0], None, "no_lid", ids("lid/{}.png")),
        (REFUSED["names of files"][0], "ok_*", None, ids("OK_{}.png")),
        (REFUSED["names of files"][0], None, "NG*", ids("OK_{}.png")),
        (LAYOUTS["nested lines"].files, "line*/good", None, ids("line1/good/{}.png", "line2/good/{}.png")),
        (LAYOUTS["nested lines"].files, "line1/good", None, ids("line1/good/{}.png")),
        (LAYOUTS["nested lines"].files, "line1", None, ids("line1/good/{}.png")),  # never its bad
        (LAYOUTS["nested lines"].files, "line1/good\nline2/good", None, LAYOUTS["nested lines"].train),
        (LAYOUTS["cameras"].files, None, "cam2", ids("cam1/{}.png")),
        (LAYOUTS["cameras"].files, "CAM?", None, ids("cam1/{}.png", "cam2/{}.png")),
    ],
)
def test_patterns(tmp_path, files, normal, abnormal, expected):
    root = build(tmp_path / "set", Layout(files, set(), set(), {}))
    more = {"abnormal": abnormal} if abnormal else {}
    assert {item.id for item in open_source(root, "train", normal=normal, **more).items} == expected


def test_a_pattern_for_both_is_refused(tmp_path):
    root = build(tmp_path / "set", LAYOUTS["cameras"])
    with pytest.raises(DataError, match="fits --normal and --abnormal"):
        open_source(root, "train", normal="cam*", abnormal="cam2")
    with pytest.raises(DataError, match="no label 'dog'"):
        open_source(root, "train", abnormal="dog")
