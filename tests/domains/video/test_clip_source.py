"""Frames of folders and files as one source: order, times, masks, and what cannot be read."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_clips import number_of, numbered, write_numbered, write_video
from PIL import Image

from anotwin.data.groups import with_groups
from anotwin.domains.video.clips import ASSUMED_RATE, Clip, ClipSource, clip_at
from anotwin.domains.video.recordings import open_recordings
from anotwin.domains.video.source import MOST_OPEN, FrameClips, clip_of_images, natural, source_of_clips
from anotwin.errors import DataError
from anotwin.records import ImageItem

SIZE = (48, 64)


def write_frames(
    folder: Path, numbers: Sequence[int], pattern: str = "{:03d}.png", size: tuple[int, int] = SIZE
) -> Path:
    """Images that say their numbers, under names of these."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(numbered(number, *size)).save(folder / pattern.format(number))
    return folder


def of_folder(folder: Path, rate: float | None = None) -> FrameClips:
    """The images of one folder as a source of one clip."""
    items = [ImageItem(path.name) for path in folder.iterdir()]
    return source_of_clips(folder, "video", [clip_of_images(folder, "clip", items, rate)])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mixed")
    write_numbered(root / "walk2.mp4", 12, key_every=5)
    write_numbered(root / "walk10.avi", 9, rate=5, codec="mjpeg", pix_fmt="yuvj420p")
    write_numbered(root / "deeper/late.mkv", 4, times=[0.0, 0.1, 0.7, 3.0])
    return root


def test_frames_of_all_files_in_the_order_of_time(mixed: Path) -> None:
    source = open_recordings(mixed, "test")
    assert isinstance(source, ClipSource)
    assert source.clips == (
        Clip("deeper/late.mkv", 0, 4, pytest.approx(1.0)),
        Clip("walk2.mp4", 4, 12, pytest.approx(10.0)),
        Clip("walk10.avi", 16, 9, pytest.approx(5.0)),
    )
    for index, item in enumerate(source.items):
        clip = clip_at(source.clips, index)
        assert item == ImageItem(f"{clip.name}/{index - clip.first + 1:06d}", group=clip.name)
        assert source.file(index) == mixed / clip.name
    assert len(source.items) == 25 == len({item.id for item in source.items})
    assert [source.time(index) for index in range(4)] == pytest.approx([0.0, 0.1, 0.7, 3.0], abs=2e-3)
    assert source.time(4 + 7) == pytest.approx(0.7)
    assert source.time(16 + 7) == pytest.approx(1.4)
    assert (source.layout, source.root, source.notes) == ("video", str(mixed), ())


@settings(max_examples=30, deadline=None)
@given(order=st.lists(st.integers(0, 24), max_size=12))
def test_frames_are_read_in_any_order_with_few_open_files(mixed: Path, order: list[int]) -> None:
    source = open_recordings(mixed, "test")
    for index in order:
        assert number_of(source.read(index)) == index - clip_at(source.clips, index).first
    opened = [name for name, video in source.videos.items() if vars(video)["_decoder"] is not None]
    assert len(opened) <= MOST_OPEN


def test_a_source_goes_to_another_process(mixed: Path) -> None:
    source = open_recordings(mixed, "test")
    source.read(7)
    copy = pickle.loads(pickle.dumps(source))
    assert number_of(copy.read(7)) == 3
    assert copy.contexts() == source.contexts()


def test_a_stopped_run_knows_a_frame_by_what_its_clip_is(tmp_path: Path) -> None:
    """A score depends on the frames before: their names and times count."""
    folder = write_frames(tmp_path / "clip", range(1, 7))
    whole = of_folder(folder).contexts()
    assert of_folder(folder).contexts() == whole
    assert len(set(whole)) == 1
    (folder / "003.png").unlink()
    assert set(of_folder(folder).contexts()).isdisjoint(whole)


def test_numbers_of_names_are_the_order(tmp_path: Path) -> None:
    source = of_folder(write_frames(tmp_path / "clip", range(1, 13), "frame{}.png"))
    assert [number_of(source.read(index)) for index in range(12)] == list(range(1, 13))
    assert [source.time(index) for index in (0, 1, 11)] == pytest.approx([0, 1 / ASSUMED_RATE, 11 / ASSUMED_RATE])
    assert source.clips[0].rate is None
    assert len(source.notes) == 1
    assert "10 frames a second are assumed" in source.notes[0]


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True))
def test_natural_order_is_that_of_numbers(numbers: list[int]) -> None:
    assert sorted((f"a{number}-1.png" for number in numbers), key=natural) == [f"a{n}-1.png" for n in sorted(numbers)]


@pytest.mark.parametrize(
    ("numbers", "seconds", "said"),
    [
        ([1, 2, 3, 7, 8], [0, 0.1, 0.2, 0.6, 0.7], "3 of 8 frames are missing, the first after 003"),
        ([5, 10, 15, 20], [0, 0.1, 0.2, 0.3], ""),  # every fifth frame was kept
        ([0, 2, 4, 8], [0, 0.1, 0.2, 0.4], "1 of 5 frames are missing, the first after 004"),
        ([17], [0], ""),
        ([1, 100000, 100007], [0, 0.1, 0.2], "reach from 1 to 100007: taken without gaps"),
    ],
    ids=["gap", "steps", "gap in steps", "one", "no numbers of frames"],
)
def test_missing_numbers_take_their_time(tmp_path: Path, numbers: list[int], seconds: list[float], said: str) -> None:
    folder = write_frames(tmp_path / "clip", [])
    for number in numbers:
        Image.fromarray(numbered(0)).save(folder / f"{number:03d}.png")
    source = of_folder(folder, rate=10.0)
    assert [source.time(index) for index in range(len(numbers))] == pytest.approx(seconds)
    assert (said in source.notes[0]) if said else (source.notes == ())
    assert all("clip clip" in note for note in source.notes)


def test_names_without_a_common_number(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", [1, 2])
    Image.fromarray(numbered(3)).save(folder / "end.png")
    source = of_folder(folder, rate=10.0)
    assert [item.id for item in source.items] == ["001.png", "002.png", "end.png"]
    assert [source.time(index) for index in range(3)] == pytest.approx([0, 0.1, 0.2])
    assert "not numbered alike" in source.notes[0]


def test_frames_of_different_sizes(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", range(3))
    write_frames(folder, [3, 4], size=(96, 128))
    source = of_folder(folder, rate=10.0)
    assert [source.read(index).shape[:2] for index in (2, 3)] == [(48, 64), (96, 128)]
    assert "different sizes (48 x 64, 96 x 128)" in source.notes[0]


def test_a_damaged_image_is_an_error_of_its_frame(tmp_path: Path) -> None:
    folder = write_frames(tmp_path / "clip", range(4))
    (folder / "002.png").write_bytes(b"no image")
    source = of_folder(folder, rate=10.0)
    with pytest.raises(DataError, match=r"002\.png"):
        source.read(2)
    assert number_of(source.read(3)) == 3


def test_a_file_that_cannot_be_read_is_one_row_among_others(tmp_path: Path) -> None:
    write_numbered(tmp_path / "a.mp4", 3)
    (tmp_path / "b.mp4").write_text("no video" * 100)
    write_numbered(tmp_path / "c.mp4", 2)
    source = open_recordings(tmp_path, "test")
    assert [(clip.name, clip.count) for clip in source.clips] == [("a.mp4", 3), ("b.mp4", 1), ("c.mp4", 2)]
    with pytest.raises(DataError, match=r"b\.mp4: cannot be read as a video"):
        source.read(3)
    assert source.read_mask(3) is None
    assert [number_of(source.read(index)) for index in (2, 4, 5)] == [2, 0, 1]
    assert sum("b.mp4: cannot be read" in note for note in source.notes) == 1
    assert not any("assumed" in note for note in source.notes)
    for name in ("a.mp4", "c.mp4"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"b\.mp4: cannot be read as a video"):  # nothing is left
        open_recordings(tmp_path, "test")


def test_a_clip_of_one_frame(tmp_path: Path) -> None:
    write_numbered(tmp_path / "one.mp4", 1)
    source = open_recordings(tmp_path / "one.mp4", "train")
    assert [item.id for item in source.items] == ["one.mp4/000001"]
    assert (source.root, source.time(0), number_of(source.read(0))) == (str(tmp_path), 0.0, 0)


def test_a_cut_file_is_said(tmp_path: Path) -> None:
    path = write_numbered(tmp_path / "cut.avi", 30, codec="mjpeg", pix_fmt="yuvj420p")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = open_recordings(tmp_path, "test")
    assert any("cut.avi: it is cut off" in note for note in source.notes)
    assert number_of(source.read(5)) == 5


def test_masks_have_the_size_of_their_frames(tmp_path: Path) -> None:
    write_frames(tmp_path / "clip", range(1, 4))
    (tmp_path / "truth").mkdir()
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 30:40] = 255
    soft = mask.copy()
    soft[20:22, 30:40], soft[22:24, 30:40] = 100, 150  # an edge that was smoothed
    soft += np.arange(64, dtype=np.uint8)[None] // 8 * (soft == 0)
    for number, pixels in enumerate((mask, soft, mask[:, :32]), 1):
        Image.fromarray(pixels).save(tmp_path / f"truth/{number:03d}.png")
    items = [ImageItem(f"clip/{n:03d}.png", "abnormal", False, mask=f"truth/{n:03d}.png") for n in (1, 2, 3)]
    items.append(ImageItem("clip/001.png", "normal", True))
    clip = clip_of_images(tmp_path, "clip", items[:3], 10.0)
    clip = replace(
        clip, items=tuple(items), files=(*clip.files, "clip/001.png"), seconds=np.arange(4) / 10, masked=True
    )
    source = source_of_clips(tmp_path, "video", [clip])
    found = [source.read_mask(index) for index in (0, 1, 3)]
    np.testing.assert_array_equal(found[0], mask > 0)
    np.testing.assert_array_equal(found[1], soft > 127)
    np.testing.assert_array_equal(found[2], np.zeros((48, 64), bool))  # normal, in a clip with ground truth
    with pytest.raises(DataError, match=r"003\.png: mask of shape \(48, 32\), expected \(48, 64\)"):
        source.read_mask(2)
    assert source.check_mask(0) == ""
    assert "mask of shape (48, 32)" in source.check_mask(2)


def test_groups_are_clips_unless_the_user_names_others(mixed: Path) -> None:
    opened = open_recordings(mixed, "test")
    source = with_groups(opened, "walk{}.*", mixed)
    assert [item.group for item in source.items] == ["deeper/late.mkv"] * 4 + ["2"] * 12 + ["10"] * 9
    assert source.positional == frozenset()
    plain = with_groups(opened, None, mixed)
    assert {item.group for item in plain.items} == {clip.name for clip in source.clips} == set(plain.positional)
    assert any("3 groups" in note for note in plain.notes)
    assert number_of(plain.read(11)) == 7


def test_a_manifest_names_cameras(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        write_video(tmp_path / name, [numbered(number) for number in range(3)])
    (tmp_path / "manifest.csv").write_text("file,label,split,group\na.mp4,normal,train,gate\nb.mp4,fight,test,yard\n")
    train, test = open_recordings(tmp_path, "train"), open_recordings(tmp_path, "test")
    assert [(item.id, item.normal, item.group) for item in train.items[:1]] == [("a.mp4/000001", True, "gate")]
    assert len(train.items) == len(test.items) == 3
    assert {(item.label, item.normal, item.group) for item in test.items} == {("fight", False, "yard")}
    assert test.positional == frozenset()
