"""Frames with those before them: scores against the same written out by hand, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clip_arrays import ArrayClips, Blend, noise
from hypothesis import given, settings
from hypothesis import strategies as st

from anotwin.domains.video import frame as frame_module
from anotwin.domains.video.context import OFFSETS, STEADY, frames_before, frames_steadying
from anotwin.domains.video.frame import FADE
from anotwin.domains.video.reader import FrameReader
from anotwin.domains.video.view import FramesView
from anotwin.errors import DataError
from anotwin.records import Array, Finding, ImageSpec
from anotwin.run.local import score_stream
from anotwin.settings import Settings
from anotwin.updates import silent

QUICK = settings(derandomize=True, deadline=None, max_examples=25)
SPEC = ImageSpec(1, 16, view="frames")
WEIGHTS = tuple((0.5 + n) / len(OFFSETS) ** 2 * 2 for n in range(len(OFFSETS)))  # of the frames before; sum 1
LAST = (0.0,) * (len(OFFSETS) - 1) + (1.0,)
FORGOTTEN = max(OFFSETS) + STEADY - 1  # frames from the beginning of a clip that a later one may change


def scored(source: ArrayClips, indices: Sequence[int] | None = None, *overrides: str) -> list[Finding]:
    return list(score_stream(Blend(SPEC, WEIGHTS, *overrides), source, None, indices, pictures=False))


def scores(source: ArrayClips, indices: Sequence[int] | None = None, *overrides: str) -> list[float]:
    return [finding.score for finding in scored(source, indices, *overrides)]


def by_hand(source: ArrayClips, unseen: frozenset[int] = frozenset()) -> list[float]:
    """The score of each frame, NaN of those that cannot be judged, written out."""
    values = np.concatenate([np.asarray(film) for film in source.films]).astype(np.float64) / 127.5 - 1
    errors: dict[int, float] = {}
    found = []
    for clip in source.clips:
        for index in range(clip.first, clip.first + clip.count):
            before = [index if each in unseen else each for each in frames_before(clip, index)]
            blend = sum(weight * values[each] for weight, each in zip(WEIGHTS, before, strict=True))
            errors[index] = float(np.abs(values[index] - blend).max())
            steadying = [errors[each] for each in frames_steadying(clip, index) if each not in unseen]
            weights = [FADE**age for age in range(len(steadying))][::-1]
            mean = float(np.average(steadying, weights=weights)) if steadying else float("nan")
            found.append(float("nan") if index in unseen else mean)
    return found


@pytest.fixture(scope="module")
def source() -> ArrayClips:
    """Two clips long enough to forget their beginning, and one that never does."""
    return ArrayClips([noise(60, 0), noise(45, 1), noise(5, 2)])


@pytest.fixture(scope="module")
def every(source: ArrayClips) -> list[float]:
    """The scores of all frames, in their order."""
    return scores(source)


def test_scores_are_those_worked_out_by_hand(source: ArrayClips, every: list[float]) -> None:
    np.testing.assert_allclose(every, by_hand(source), rtol=1e-5)


@pytest.mark.parametrize("pictures", [True, False])
def test_each_frame_is_read_once_and_in_order(source: ArrayClips, pictures: bool) -> None:
    fresh = replace(source, reads=[])
    found = list(score_stream(Blend(SPEC, WEIGHTS), fresh, None, pictures=pictures))
    assert fresh.reads == list(range(len(fresh.items)))
    assert all((each.query is not None) == pictures for each in found)


def test_a_clip_alone_scores_as_among_others(source: ArrayClips, every: list[float]) -> None:
    begin = 0
    for film in source.films:
        assert scores(ArrayClips([film])) == every[begin : begin + len(film)]
        begin += len(film)


@QUICK
@given(st.data())
def test_scores_do_not_depend_on_which_frames_were_asked_for_nor_in_which_order(
    source: ArrayClips, every: list[float], data: st.DataObject
) -> None:
    step = data.draw(st.sampled_from([1, 2, 3, 11]))
    some = data.draw(st.lists(st.integers(0, len(every) // step - 1).map(lambda each: each * step), max_size=12))
    size = data.draw(st.sampled_from([1, 2, 5, 64]))
    assert scores(source, some, f"search.batch_size={size}") == [every[index] for index in some]


@pytest.mark.parametrize("size", [1, 3, 8, 64])
def test_scores_do_not_depend_on_the_size_of_batches(source: ArrayClips, every: list[float], size: int) -> None:
    assert scores(source, None, f"search.batch_size={size}") == every


@QUICK
@given(st.integers(0, 59), st.integers(0, 2**32))
def test_a_later_frame_changes_no_earlier_score(changed: int, seed: int) -> None:
    """But of the first frames of a clip, whose past is mirrored; and a frame changes its own score."""
    film = noise(60, 3)
    other = film.copy()
    other[changed] = noise(1, seed)[0]
    if np.array_equal(film, other):
        return
    before, after = scores(ArrayClips([film])), scores(ArrayClips([other]))
    assert before[FORGOTTEN:changed] == after[FORGOTTEN:changed]
    assert before[changed] != after[changed]
    reach = max(OFFSETS) + STEADY - 1  # and its influence ends
    assert before[changed + reach + 1 :] == after[changed + reach + 1 :]


def test_no_frame_of_another_clip_changes_a_score() -> None:
    films = [noise(30, 0), noise(30, 1), noise(30, 2)]
    changed = [noise(30, 7), films[1], noise(30, 8)]
    assert scores(ArrayClips(films))[30:60] == scores(ArrayClips(changed))[30:60]


# -- frames that cannot be judged -----------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [{0}, {33}, {10, 11, 12, 40}, {59}, set(range(30, 50)), {60, 61, 105}])
def test_an_unreadable_frame_is_an_error_and_its_neighbours_are_judged(source: ArrayClips, broken: set[int]) -> None:
    damaged = replace(source, broken=frozenset(broken))
    findings = scored(damaged)
    assert {index for index, finding in enumerate(findings) if finding.error} == broken
    for index in broken:
        assert findings[index].error.startswith(source.items[index].id)
        assert "\n" not in findings[index].error
    expected = by_hand(source, frozenset(broken))
    np.testing.assert_allclose([finding.score for finding in findings], expected, rtol=1e-5)
    some = [5, 34, 35, 41, 62, 108]
    assert scores(damaged, some) == [findings[index].score for index in some]


def test_frames_after_a_black_one_are_not_predicted_from_it(source: ArrayClips) -> None:
    """A camera that goes black for a while would otherwise raise alarms when it comes back."""
    black = frozenset({30, 31, 32, 70})
    dark = [film.copy() for film in source.films]
    for index in black:
        dark[index // 60][index % 60] = 0
    findings = scored(ArrayClips(dark))
    assert {index for index, each in enumerate(findings) if each.error} == black
    assert "the camera shows nothing: the frame is black" in findings[30].error
    np.testing.assert_allclose([each.score for each in findings], by_hand(source, black), rtol=1e-5)


def test_a_clip_of_which_nothing_can_be_read_does_not_end_the_run(source: ArrayClips) -> None:
    findings = scored(replace(source, broken=frozenset(range(60, 105))))
    assert [bool(each.error) for each in findings] == [False] * 60 + [True] * 45 + [False] * 5


def test_frames_of_another_size_are_judged_too() -> None:
    film: list[Array] = list(noise(12))
    film[6:] = [np.repeat(np.repeat(each, 2, 0), 2, 1) for each in film[6:]]  # the camera's resolution changes
    findings = list(score_stream(Blend(SPEC, LAST), ArrayClips([film]), None))
    assert not any(each.error for each in findings)
    assert [each.heatmap.shape for each in findings] == [(16, 16)] * 6 + [(32, 32)] * 6


# -- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(16, 16), (12, 30)])
def test_the_counterpart_comes_back_in_the_pixels_of_the_file(shape: tuple[int, int]) -> None:
    """Of a method that takes the frame before for the counterpart."""
    film = noise(10, 4, shape)
    for number, finding in enumerate(score_stream(Blend(SPEC, LAST), ArrayClips([film]), None)):
        assert finding.counterpart.shape == finding.heatmap.shape == finding.difference.shape == shape
        np.testing.assert_array_equal(finding.query, film[number])
        if number and shape == (16, 16):
            np.testing.assert_array_equal(finding.counterpart, film[number - 1])
            change = (film[number].astype(float) - film[number - 1]) / 255
            np.testing.assert_allclose(finding.difference, change, atol=1e-6)
            np.testing.assert_allclose(finding.heatmap, np.abs(change) * 2 / 0.25, atol=1e-5)


def test_pictures_are_of_the_frame_itself_also_where_others_were_scored_with_it() -> None:
    film = noise(20, 5)
    source = ArrayClips([film])
    together = list(score_stream(Blend(SPEC, WEIGHTS), source, None))
    asked = [3, 11, 19, 18, 0]
    for index, alone in zip(asked, score_stream(Blend(SPEC, WEIGHTS), source, None, asked), strict=True):
        for picture in ("query", "counterpart", "difference", "heatmap"):
            np.testing.assert_array_equal(getattr(alone, picture), getattr(together[index], picture))


# -- training -------------------------------------------------------------------------------------------------------


def coded(*lengths: int) -> ArrayClips:
    """Frames of one level each, their number in the source."""
    numbers = iter(range(256))
    return ArrayClips([np.stack([np.full((16, 16), next(numbers), np.uint8) for _ in range(n)]) for n in lengths])


def levels(images: torch.Tensor) -> Array:
    """The number that each of (..., C, S, S) shows."""
    assert torch.equal(images.amax((-3, -2, -1)), images.amin((-3, -2, -1)))
    return np.rint((images[..., 0, 0, 0].numpy() + 1) * 127.5).astype(int)


@pytest.fixture
def training(tmp_path: Path) -> Iterator[tuple[ArrayClips, Any]]:
    source = coded(60, 40, 3)
    images = FramesView().training(
        source, range(len(source.items)), SPEC, Settings(), tmp_path, silent
    )  # fmt: skip
    yield source, images
    images.close()


def test_batches_hold_the_frames_before_each(training: tuple[ArrayClips, Any]) -> None:
    source, images = training
    subset = images.subset(np.arange(len(source.items)))
    batch = subset.batch(np.arange(len(subset)))
    assert batch.context.shape == (103, len(OFFSETS), 1, 16, 16)
    assert levels(batch.images).tolist() == list(range(103))
    expected = [
        frames_before(clip, index) for clip in source.clips for index in range(clip.first, clip.first + clip.count)
    ]
    assert levels(batch.context).tolist() == [list(each) for each in expected]


def test_batches_of_some_rows_reach_over_their_clip_alone(training: tuple[ArrayClips, Any]) -> None:
    source, images = training
    rows = np.array([2, 59, 60, 77, 102])
    subset = images.subset(rows)
    assert len(subset) == 5
    batch = subset.batch(np.array([4, 0, 2]))
    assert levels(batch.images).tolist() == [102, 2, 60]
    for number, before in zip([102, 2, 60], levels(batch.context), strict=True):
        (own,) = [clip for clip in source.clips if clip.first <= number < clip.first + clip.count]
        assert all(own.first <= each < own.first + own.count for each in before)


def test_what_cannot_be_read_is_not_learnt_from(tmp_path: Path) -> None:
    source = replace(coded(40), broken=frozenset({10, 30}))
    images = FramesView().training(source, range(40), SPEC, Settings(), tmp_path, silent)
    assert [index for index, _ in images.failures] == [10, 30]
    subset = images.subset(np.arange(38))
    batch = subset.batch(np.arange(38))
    numbers, before = levels(batch.images), levels(batch.context)
    assert numbers.tolist() == [each for each in range(40) if each not in (10, 30)]
    for number, found in zip(numbers.tolist(), before.tolist(), strict=True):
        (clip,) = source.clips
        assert found == [number if each in (10, 30) else each for each in frames_before(clip, number)]
    images.close()


def test_frames_left_out_of_training_are_nobodys_past(tmp_path: Path) -> None:
    """Held-out clips, and clips of which something is abnormal, are not among the indices."""
    source = coded(30, 30)
    images = FramesView().training(source, range(0, 60, 2), SPEC, Settings(), tmp_path, silent)
    batch = images.subset(np.arange(30)).batch(np.arange(30))
    assert (levels(batch.context) % 2 == 0).all()
    images.close()


# -- memory ---------------------------------------------------------------------------------------------------------


def test_frames_that_nobody_needs_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one long clip, which is unreadable for a while, as of several."""
    readers: list[FrameReader] = []
    method = Blend(SPEC, WEIGHTS)

    class Seen(FrameReader):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            readers.append(self)

    monkeypatch.setattr(frame_module, "FrameReader", Seen)
    films = [noise(500), noise(30), noise(30)]
    source = ArrayClips(films, broken=frozenset(range(300, 420)))
    sizes, kept, pixels = [], [], []
    images = FramesView().prepare(source, range(560), SPEC, Settings(), True)
    for image in images:
        sizes.append(len(readers[0]._seen))
        pixels.append(sum(seen.pixels is not None for seen in readers[0]._seen.values()))
        if image.squares is not None:
            image.pool(method.compare(image.squares.images, method.counterpart(image.squares)).scores.map(np.asarray))
            kept.append(len(image.scores))
    assert len(sizes) == 560
    assert max(sizes) <= 2 * max(OFFSETS) + STEADY
    assert max(sizes[2 * max(OFFSETS) : 500]) <= max(OFFSETS) + STEADY  # when the beginning is over
    assert max(kept) <= STEADY
    assert max(pixels) <= max(OFFSETS)  # at the beginning of a clip
    assert max(pixels[2 * max(OFFSETS) : 500]) == 0  # those of the frame itself are on their way


def test_pixels_are_kept_only_where_pictures_are_asked_for() -> None:
    source = ArrayClips([noise(6)])
    for pixels in (True, False):
        images = FramesView().prepare(source, range(6), SPEC, Settings(), pixels)
        assert all((image.pixels is not None) == pixels for image in images)


# -- what a model takes ---------------------------------------------------------------------------------------------


def test_the_spec_is_of_whole_frames_of_256_pixels_unless_told_otherwise() -> None:
    source = ArrayClips([noise(30), noise(5)])
    spec, notes = FramesView().spec(source, range(35), Settings())
    assert (spec.view, spec.parts, spec.size, spec.channels) == ("frames", False, 256, 1)
    assert notes[0].startswith("2 clips, 35 frames")
    one = Settings().with_overrides(["data.image_size=64"])
    spec, notes = FramesView().spec(source, range(30), one)
    assert spec.size == 64
    assert notes[0].startswith("1 clip, 30 frames")


def test_the_reference_of_another_view_is_refused() -> None:
    with pytest.raises(DataError, match="reference of training clips"):
        FramesView().against({"edges": [1.0, 2.0], "least": 0.5, "spread": 0.1})
    assert FramesView().against({"thickness": 3}).reference == {"thickness": 3}
