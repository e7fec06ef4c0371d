"""UCSD, Avenue and plain recordings, from folders made here and, where there is one, from the real set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_clips import number_of, numbered, write_numbered, write_video
from PIL import Image
from scipy.io import savemat

from anotwin.data.masks import read_mask
from anotwin.domains.video.avenue import open_avenue
from anotwin.domains.video.ground_truth import abnormal_frames, clip_masks
from anotwin.domains.video.layouts import LAYOUTS
from anotwin.domains.video.recordings import open_recordings
from anotwin.domains.video.ucsd import open_ucsd
from anotwin.errors import DataError

PED2 = Path(os.environ.get("ANOTWIN_DATA", Path(__file__).parents[4] / "shared/data")) / "UCSDped2"
OFFICIAL = """% the list of Ped1 and Ped2 begins like this
TestVideoFile = {};
TestVideoFile{end+1}.gt_frame = [3:4];
TestVideoFile{end+1}.gt_frame = [1:2, 5];  % two events
"""


def layout_of(root: Path) -> str | None:
    """The first layout of this domain that recognises DATA."""
    return next((layout.name for layout in LAYOUTS if layout.recognises(root)), None)


def write_images(folder: Path, images: Sequence[npt.NDArray[np.uint8]], ending: str = ".tif") -> None:
    folder.mkdir(parents=True)
    for number, pixels in enumerate(images, 1):
        Image.fromarray(pixels).save(folder / f"{number:03d}{ending}")


def write_ucsd(root: Path, ending: str = ".tif", masks: Sequence[int] = (1,)) -> Path:
    """Two clips to train with, two of five frames to test with; `masks` are the test clips that have some."""
    for number in (1, 2):
        write_images(root / f"Train/Train{number:03d}", [numbered(n)[:, :, 0] for n in range(6)], ending)
        write_images(root / f"Test/Test{number:03d}", [numbered(10 * number + n)[:, :, 0] for n in range(5)], ending)
    for number in masks:
        drawn = np.zeros((5, 48, 64), np.uint8)
        drawn[2:4, 8:16, 8:20] = 255
        write_images(root / f"Test/Test{number:03d}_gt", list(drawn), ".bmp" if ending == ".tif" else ending)
    return root


@pytest.mark.parametrize("ending", [".tif", ".png", ".jpg", ".bmp"])
def test_ucsd_in_any_format(tmp_path: Path, ending: str) -> None:
    root = write_ucsd(tmp_path / "UCSDped2", ending, masks=(1, 2))
    assert layout_of(root) == "ucsd"
    train, test = open_ucsd(root, "train"), open_ucsd(root, "test")
    assert [(clip.name, clip.first, clip.count, clip.rate) for clip in train.clips] == [
        ("Train001", 0, 6, 10.0),
        ("Train002", 6, 6, 10.0),
    ]
    assert {(item.label, item.normal, item.mask) for item in train.items} == {("normal", True, None)}
    assert train.items[7].id == f"Train/Train002/002{ending}"
    assert [number_of(test.read(index)) for index in range(10)] == [10, 11, 12, 13, 14, 20, 21, 22, 23, 24]
    assert [item.normal for item in test.items] == [True, True, False, False, True] * 2
    assert [item.label for item in test.items[:3]] == ["normal", "normal", "abnormal"]
    assert {item.group for item in test.items} == {"Test001", "Test002"}
    sums = [int(mask.sum()) for index in range(10) if (mask := test.read_mask(index)) is not None]
    assert sums == [0, 0, 96, 96, 0] * 2
    assert test.time(8) == pytest.approx(0.3)
    assert ("Test/Test001", 2, "abnormal") in test.taken
    assert test.notes == train.notes == ()


def test_ucsd_with_the_official_list(tmp_path: Path) -> None:
    root = write_ucsd(tmp_path / "UCSDped2", masks=())
    (root / "Test/UCSDped2.m").write_text(OFFICIAL)
    test = open_ucsd(root, "test")
    assert [item.normal for item in test.items] == [True, True, False, False, True, False, False, True, True, False]
    assert all(item.mask is None and test.read_mask(index) is None for index, item in enumerate(test.items))
    for data in (root / "Test", root / "Test/Test002"):
        assert [item.normal for item in open_ucsd(data, "test").items[-5:]] == [False, False, True, True, False]


def test_ucsd_masks_count_before_the_list(tmp_path: Path) -> None:
    """Ped1 has masks of some of its clips."""
    root = write_ucsd(tmp_path / "UCSDped1", masks=(1,))
    (root / "Test/UCSDped1.m").write_text("TestVideoFile{1}.gt_frame = [1:5];\nTestVideoFile{2}.gt_frame = [2];")
    test = open_ucsd(root, "test")
    assert [item.normal for item in test.items] == [True, True, False, False, True, True, False, True, True, True]
    assert test.read_mask(5) is None  # normal by the list; nobody drew the pixels of its clip
    mask = test.read_mask(0)
    assert mask is not None
    assert not mask.any()


def test_ucsd_without_truth(tmp_path: Path) -> None:
    test = open_ucsd(write_ucsd(tmp_path / "set", masks=(1,)), "test")
    assert [item.normal for item in test.items[5:]] == [None] * 5
    assert any("Test002 has no masks (Test002_gt) and is in no list" in note for note in test.notes)


def test_ucsd_with_masks_of_other_names_and_too_few(tmp_path: Path) -> None:
    root = write_ucsd(tmp_path / "set", masks=(1, 2))
    for path in sorted((root / "Test/Test001_gt").iterdir()):
        path.rename(path.with_name(f"frame_{path.name}"))
    (root / "Test/Test002_gt/003.bmp").write_bytes(b"no image")
    (root / "Test/Test002_gt/005.bmp").unlink()
    test = open_ucsd(root, "test")
    assert [item.normal for item in test.items] == [True, True, False, False, True, True, True, None, False, None]
    assert any("Test002: 1 of 5 frames have no mask" in note for note in test.notes)
    assert any("Test002: 1 masks cannot be read" in note and "003.bmp" in note for note in test.notes)
    with pytest.raises(DataError, match=r"003\.bmp"):
        test.read_mask(7)
    assert test.read_mask(9) is None


def test_parts_and_clips_of_ucsd_as_data(tmp_path: Path) -> None:
    root = write_ucsd(tmp_path / "set", masks=(1, 2))
    for data, part, clips, first in (
        (root / "Train", "train", 2, "Train001/001.tif"),
        (root / "Train", "test", 2, "Train001/001.tif"),  # to be scored
        (root / "Test", "test", 2, "Test001/001.tif"),
        (root / "Train/Train002", "train", 1, "Train002/001.tif"),
        (root / "Test/Test002", "test", 1, "Test002/001.tif"),
    ):
        assert layout_of(data) == "ucsd"
        source = open_ucsd(data, part)
        assert (len(source.clips), source.items[0].id) == (clips, first)
        assert source.file(0).is_file()
        assert (part == "train") <= all(item.normal for item in source.items)
    test = open_ucsd(root / "Test/Test002", "test")  # its masks lie beside it
    assert [item.normal for item in test.items] == [True, True, False, False, True]
    assert test.read_mask(2) is not None


def test_ucsd_says_what_is_missing(tmp_path: Path) -> None:
    root = write_ucsd(tmp_path / "v1p2/UCSDped1")
    for data, part, said in (
        (root / "Test", "train", "the clips of Test alone"),
        (root / "Test/Test001", "train", "the clips of Test alone"),
        (root / "Train/Train001", "test", None),
        (root.parent, "test", "holds the sets UCSDped1: name one of them"),
        (root / "none", "test", "no such folder"),
    ):
        if said is None:
            assert len(open_ucsd(data, part).items) == 6
            continue
        with pytest.raises(DataError, match=said):
            open_ucsd(data, part)
    with pytest.raises(DataError, match="knows itself what is normal, got 'walk'"):
        open_ucsd(root, "train", "walk")
    assert len(open_ucsd(root, "train", "normal").items) == 12
    (root / "Train/Train003").mkdir()
    with pytest.raises(DataError, match="Train003: no frame in the folder"):
        open_ucsd(root, "train")


@given(
    st.lists(
        st.lists(st.tuples(st.integers(1, 60), st.integers(0, 20)), max_size=4),
        min_size=1,
        max_size=5,
    )
)
def test_lists_of_frames_are_read_as_matlab_does(tmp_path_factory: pytest.TempPathFactory, clips: list) -> None:
    path = tmp_path_factory.mktemp("lists") / "list.m"
    lines = [", ".join(f"{first}:{first + more}" if more else f"{first}" for first, more in clip) for clip in clips]
    path.write_text("".join(f"TestVideoFile{{end+1}}.gt_frame = [{line}];\n" for line in lines))
    expected = {
        number: {frame for first, more in clip for frame in range(first, first + more + 1)}
        for number, clip in enumerate(clips, 1)
    }
    assert abnormal_frames(path) == expected


def test_other_ways_to_write_lists(tmp_path: Path) -> None:
    path = tmp_path / "list.m"
    path.write_text(
        "clip{ 3 } . gt_frame = [ 1 : 2 : 7 , ...\n 20 ] ; % clip{9}.gt_frame=[1]\nclip{end+1}.gt_frame=[];"
    )
    assert abnormal_frames(path) == {3: {1, 3, 5, 7, 20}, 4: set()}
    for text, said in (
        ("x = 3;", "no list of frames"),
        ("c{1}.gt_frame = [a:b];", "'a:b'"),
        ("c{1}.gt_frame=[1:1e9]", "1e9"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            abnormal_frames(path)


def drawn_masks(frames: int) -> npt.NDArray[np.uint8]:
    """(frames, 48, 64) of which every third and the one after it marks something."""
    masks = np.zeros((frames, 48, 64), np.uint8)
    for frame in range(frames):
        if frame % 3:
            masks[frame, frame : frame + 5, 10:20] = 1
    return masks


def write_mat(path: Path, masks: npt.NDArray[np.uint8], cells: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cells:
        savemat(path, {"vol": np.moveaxis(masks, 0, 2)})
        return path
    cell = np.empty((1, len(masks)), object)
    for frame, mask in enumerate(masks):
        cell[0, frame] = mask
    savemat(path, {"volLabel": cell}, do_compression=True)
    return path


@pytest.mark.parametrize("cells", [True, False])
def test_masks_of_a_clip(tmp_path: Path, cells: bool) -> None:
    drawn = drawn_masks(7)
    masks = clip_masks(write_mat(tmp_path / "1_label.mat", drawn * np.uint8(255), cells))
    assert (len(masks), masks.shape) == (7, (48, 64))
    np.testing.assert_array_equal([masks.frame(frame) for frame in range(7)], drawn > 0)
    np.testing.assert_array_equal(masks.marked(), drawn.any(axis=(1, 2)))


def test_masks_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "1_label.mat"
    with pytest.raises(DataError, match="cannot read the file"):
        clip_masks(path)
    path.write_bytes(b"no matrix at all" * 20)
    with pytest.raises(DataError, match="cannot be read as a MATLAB file"):
        clip_masks(path)
    path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF\r\n\x1a\n" + bytes(400))
    with pytest.raises(DataError, match=r"version 7\.3"):
        clip_masks(path)
    savemat(path, {"a": np.zeros((2, 2)), "b": np.zeros(3)})
    with pytest.raises(DataError, match="variables a, b; expected volLabel"):
        clip_masks(path)


def write_avenue(root: Path) -> Path:
    for number in (1, 2):
        write_numbered(root / f"training_videos/{number:02d}.avi", 4, rate=25, codec="mpeg4")
    for number in (1, 2, 10):
        write_numbered(root / f"testing_videos/{number:02d}.avi", 6, rate=25, codec="mpeg4")
    return root


def test_avenue(tmp_path: Path) -> None:
    root = write_avenue(tmp_path / "Avenue")
    for number in (1, 2, 10):
        write_mat(root / f"ground_truth_demo/testing_label_mask/{number}_label.mat", drawn_masks(6))
    assert layout_of(root) == "avenue"
    train, test = open_avenue(root, "train"), open_avenue(root, "test")
    assert [clip.name for clip in test.clips] == [f"testing_videos/{name}.avi" for name in ("01", "02", "10")]
    assert {(item.label, item.normal) for item in train.items} == {("normal", True)}
    assert len(train.items) == 8
    assert (test.clips[0].rate, test.time(5)) == (pytest.approx(25.0), pytest.approx(0.2))
    assert [item.normal for item in test.items] == [True, False, False] * 6
    assert test.items[13].id == "testing_videos/10.avi/000002"
    for index in (13, 3, 1, 17):
        np.testing.assert_array_equal(test.read_mask(index), drawn_masks(6)[index % 6] > 0)
        assert number_of(test.read(index)) == index % 6
    assert test.notes == ()


def test_avenue_where_something_is_missing(tmp_path: Path) -> None:
    root = write_avenue(tmp_path / "data/Avenue Dataset")
    test = open_avenue(root, "test")
    assert {item.normal for item in test.items} == {None}
    assert any("no folder ground_truth_demo/testing_label_mask" in note for note in test.notes)
    truth = root.parent / "ground_truth_demo/testing_label_mask"  # beside the videos: DATA is the folder above
    write_mat(truth / "1_label.mat", drawn_masks(5))
    write_mat(truth / "2_label.mat", drawn_masks(6)[:, :24])
    assert layout_of(root.parent) == "avenue"
    test = open_avenue(root.parent, "test")
    assert [item.normal for item in test.items[:6]] == [True, False, False, True, False, None]
    assert any("5 masks for 6 frames of Avenue Dataset/testing_videos/01.avi" in note for note in test.notes)
    assert any("10_label.mat" in note and "nothing is known" in note for note in test.notes)
    assert [item.normal for item in test.items[12:]] == [None] * 6
    with pytest.raises(DataError, match=r"2_label\.mat: masks of shape \(24, 64\), expected \(48, 64\)"):
        test.read_mask(7)
    with pytest.raises(DataError, match="expected the folders training_videos and testing_videos"):
        open_avenue(root / "training_videos", "train")
    with pytest.raises(DataError, match="knows itself what is normal"):
        open_avenue(root, "train", "good")


def test_recordings_by_the_words_of_folders(tmp_path: Path) -> None:
    for name in ("train/normal/a.mp4", "train/abnormal/b.mp4", "test/normal/c.mp4", "test/abnormal/fight/d.mp4"):
        write_numbered(tmp_path / name, 3)
    assert layout_of(tmp_path) == "video"
    train, test = open_recordings(tmp_path, "train"), open_recordings(tmp_path, "test")
    assert [clip.name for clip in train.clips] == ["train/normal/a.mp4"]
    assert [(item.label, item.normal) for item in test.items] == [("abnormal", False)] * 3 + [("normal", True)] * 3
    with pytest.raises(DataError, match="no label 'quiet'"):
        open_recordings(tmp_path, "train", "quiet")


def test_recordings_of_which_nothing_is_known(tmp_path: Path) -> None:
    for name in ("gate/a.mp4", "yard/b.mp4", "yard/c.mkv"):
        write_numbered(tmp_path / name, 3)
    train, test = open_recordings(tmp_path, "train"), open_recordings(tmp_path, "test")
    assert len(train.items) == len(test.items) == 9
    assert {(item.label, item.normal) for item in (*train.items, *test.items)} == {(None, None)}
    chosen = open_recordings(tmp_path, "train", "yard")
    assert [clip.name for clip in chosen.clips] == ["yard/b.mp4", "yard/c.mkv"]
    test = open_recordings(tmp_path, "test", None, "gate")
    assert [(item.label, item.normal) for item in test.items] == [("gate", False)] * 3 + [("yard", True)] * 6


def test_folders_of_frames_are_clips_when_the_user_says_so(tmp_path: Path) -> None:
    for clip in ("train/frames/01", "train/frames/02", "test/frames/01"):
        write_images(tmp_path / clip, [numbered(number) for number in range(12)], ".png")
    assert layout_of(tmp_path) is None  # a folder of images like any other
    train = open_recordings(tmp_path, "train")
    assert [(clip.name, clip.count) for clip in train.clips] == [("train/frames/01", 12), ("train/frames/02", 12)]
    assert [number_of(train.read(index)) for index in range(12, 24)] == list(range(12))
    alone = open_recordings(tmp_path / "test/frames/01", "test")
    assert [clip.name for clip in alone.clips] == ["01"]


def test_what_is_recognised(tmp_path: Path) -> None:
    write_images(tmp_path / "images/good", [numbered(number) for number in range(5)], ".png")
    assert layout_of(tmp_path / "images") is None
    write_numbered(tmp_path / "images/readme.mp4", 2)
    assert layout_of(tmp_path / "images") is None  # images with a film about them
    write_numbered(tmp_path / "films/a.mp4", 2)
    (tmp_path / "films/cover.png").write_bytes((tmp_path / "images/good/001.png").read_bytes())
    assert layout_of(tmp_path / "films") == layout_of(tmp_path / "films/a.mp4") == "video"
    assert len(open_recordings(tmp_path / "films", "test").items) == 2
    (tmp_path / "program").mkdir()
    (tmp_path / "program/main.ts").write_text("const x: number = 1;")
    (tmp_path / "empty").mkdir()
    for name in ("program", "empty", "none", "images/good/001.png"):
        assert layout_of(tmp_path / name) is None
    write_images(tmp_path / "elsewhere/Test001", [numbered(1)])  # not below Test
    assert layout_of(tmp_path / "elsewhere/Test001") is None


def test_recordings_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("no video")
    for name, said in (
        ("empty", "no video there or below"),
        ("none", "no such file or folder"),
        ("text.txt", "not a video by"),
    ):
        with pytest.raises(DataError, match=said):
            open_recordings(tmp_path / name, "test")


def test_a_film_in_two_resolutions_comes_as_it_is(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [numbered(number) for number in range(3)])
    write_video(tmp_path / "b.mp4", [numbered(number, 96, 128) for number in range(3)])
    source = open_recordings(tmp_path, "test")
    assert [source.read(index).shape for index in (0, 5)] == [(48, 64, 3), (96, 128, 3)]


@pytest.mark.skipif(not PED2.is_dir(), reason="needs UCSD Ped2 (Mahadevan et al. 2010) in ../shared/data/UCSDped2")
def test_the_real_set() -> None:
    train, test = open_ucsd(PED2, "train"), open_ucsd(PED2, "test")
    assert layout_of(PED2) == "ucsd"
    assert (len(train.items), len(train.clips)) == (2550, 16)
    assert [(clip.name, clip.count) for clip in test.clips] == [
        (f"Test{number:03d}", count) for number, count in enumerate((180, 180, 150, 180, 150, 180), 1)
    ]
    assert train.notes == test.notes == ()
    assert train.read(2549).shape == (240, 360)
    # the official list says 61:180, 95:180, 1:146, 31:180, 1:129, 1:159
    for clip, (first, last) in zip(
        test.clips, ((61, 180), (95, 180), (1, 146), (31, 180), (1, 129), (1, 159)), strict=True
    ):
        numbers = [at for at in range(1, clip.count + 1) if test.items[clip.first + at - 1].normal is False]
        assert (numbers[0], numbers[-1], len(numbers)) == (first, last, last - first + 1)
    mask = read_mask(PED2 / "Test/Test001_gt/100.png")
    np.testing.assert_array_equal(test.read_mask(99), mask)


def test_one_long_video_is_cut_into_pieces_for_training_alone(tmp_path: Path) -> None:
    write_numbered(tmp_path / "gate.mp4", 200)
    training, scored = (open_recordings(tmp_path, part) for part in ("train", "test"))
    assert {item.group for item in scored.items} == {"gate.mp4"}
    groups = [item.group for item in training.items]
    assert len(set(groups)) == 5
    assert groups == sorted(groups)  # each a run of frames
    assert min(groups.count(name) for name in set(groups)) >= 40
    assert [clip.count for clip in training.clips] == [200]  # context does not end where a piece does
    assert any("pieces" in note for note in training.notes)


def test_several_clips_stay_whole(tmp_path: Path) -> None:
    for name in "abcd":
        write_numbered(tmp_path / f"{name}.mp4", 90)
    assert {item.group for item in open_recordings(tmp_path, "train").items} == {f"{name}.mp4" for name in "abcd"}
