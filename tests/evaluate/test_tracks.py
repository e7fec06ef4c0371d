"""Regions and tracks: the sequential procedure of published code, every threshold tried, sets of pixels as twins."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import measure

from anotwin.errors import DataError, SettingsError
from anotwin.evaluate.tracks import Box, PredictedRegion, TruthRegion, evaluate_regions, matches, tracks_from_masks

quick = settings(derandomize=True, deadline=None, max_examples=40)
PED2 = Path(__file__).parents[2].parent / "shared" / "data" / "UCSDped2" / "Test"


def pixel_iou(one: Box, other: Box) -> float:
    """By the pixels of boxes with whole numbers."""
    sets = [{(r, c) for r in range(int(t), int(b)) for c in range(int(le), int(ri))} for t, le, b, ri in (one, other)]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def scene(seed: int, levels: int) -> tuple[list[PredictedRegion], list[TruthRegion], int]:
    """Boxes on a small grid in two clips of a few frames: some alike, some apart, several in a frame."""
    rng = np.random.default_rng(seed)

    def box() -> Box:
        top, left = rng.integers(0, 8, 2)
        height, width = rng.integers(1, 6, 2)
        return float(top), float(left), float(top + height), float(left + width)

    n_frames = int(rng.integers(1, 6))
    places = [(clip, frame) for clip in "ab" for frame in range(n_frames)]
    truth = [
        TruthRegion(clip, frame, box(), track)
        for clip, frame in places
        for track in range(3)
        if rng.random() < 0.5 or (clip, frame, track) == ("a", 0, 0)
    ]
    predicted = [
        PredictedRegion(clip, frame, box(), float(score))
        for clip, frame in places
        for score in rng.integers(levels, size=rng.integers(0, 5))
    ]
    return [predicted[place] for place in rng.permutation(len(predicted))], truth, 2 * n_frames


def one_by_one(predicted: list[PredictedRegion], truth: list[TruthRegion], n_frames: int) -> tuple[float, float]:
    """As published code goes: from the highest score on, what a region adds; the curve is level up to 1 at its end."""
    sizes = Counter((each.clip, each.track) for each in truth)
    found: set[int] = set()
    false, areas, rates = 0, [0.0, 0.0], (0.0, 0.0)
    for region in sorted(predicted, key=lambda each: -each.score):
        own = [k for k, each in enumerate(truth) if (each.clip, each.frame) == (region.clip, region.frame)]
        hit = [k for k in own if pixel_iou(region.box, truth[k].box) >= 0.1]
        if not hit:
            false += 1
            if false <= n_frames:
                areas = [area + rate / n_frames for area, rate in zip(areas, rates, strict=True)]
        found |= set(hit)
        of = Counter((truth[k].clip, truth[k].track) for k in found)
        rates = len(found) / len(truth), sum(10 * of[track] >= sizes[track] for track in sizes) / len(sizes)
    level = max(1 - false / n_frames, 0.0)
    return areas[0] + rates[0] * level, areas[1] + rates[1] * level


def every_threshold(
    predicted: list[PredictedRegion], truth: list[TruthRegion], n_frames: int, overlap: float, share: float
) -> tuple[float, float]:
    """The definition at each threshold, a straight line between two of them, from 0 to 1 false regions a frame."""
    sizes = Counter((each.clip, each.track) for each in truth)
    curve = [(0.0, 0.0, 0.0)]
    for threshold in sorted({each.score for each in predicted}, reverse=True):
        left = [each for each in predicted if each.score >= threshold]
        pairs = {
            (i, k)
            for i, region in enumerate(left)
            for k, each in enumerate(truth)
            if (each.clip, each.frame) == (region.clip, region.frame) and pixel_iou(region.box, each.box) >= overlap
        }
        found = {k for _, k in pairs}
        of = Counter((truth[k].clip, truth[k].track) for k in found)
        tracks = sum(of[track] >= share * sizes[track] for track in sizes)
        false = len(left) - len({i for i, _ in pairs})
        curve.append((false / n_frames, len(found) / len(truth), tracks / len(sizes)))
    curve.append((max(1.0, curve[-1][0]), *curve[-1][1:]))
    areas = []
    for which in (1, 2):
        x, y = np.array([point[0] for point in curve]), np.array([point[which] for point in curve])
        area = 0.0
        for k in range(len(x) - 1):
            if x[k] < 1 and x[k + 1] > x[k]:
                end = min(x[k + 1], 1.0)
                at_end = y[k] + (y[k + 1] - y[k]) * (end - x[k]) / (x[k + 1] - x[k])
                area += (end - x[k]) * (y[k] + at_end) / 2
        areas.append(area)
    return areas[0], areas[1]


@quick
@given(seed=st.integers(0, 10**6))
def test_distinct_scores_give_the_areas_of_published_code(seed: int) -> None:
    predicted, truth, n_frames = scene(seed, levels=10**9)
    found = evaluate_regions(predicted, truth, n_frames)
    assert (found.rbdc, found.tbdc) == pytest.approx(one_by_one(predicted, truth, n_frames), abs=1e-9)


@quick
@given(
    seed=st.integers(0, 10**6),
    levels=st.sampled_from([1, 3, 10**9]),
    overlap=st.sampled_from([0.1, 0.5]),
    share=st.sampled_from([0.1, 0.5, 1.0]),
)
def test_areas_are_those_of_every_threshold(seed: int, levels: int, overlap: float, share: float) -> None:
    predicted, truth, n_frames = scene(seed, levels)
    found = evaluate_regions(predicted, truth, n_frames, overlap=overlap, share=share)
    expected = every_threshold(predicted, truth, n_frames, overlap, share)
    assert (found.rbdc, found.tbdc) == pytest.approx(expected, abs=1e-9)
    again = evaluate_regions(predicted[::-1], truth[::-1], n_frames, overlap=overlap, share=share)
    assert again.as_dict() == pytest.approx(found.as_dict())
    assert found.rbdc <= found.region_rate + 1e-12
    assert found.tbdc <= found.track_rate + 1e-12


@quick
@given(seed=st.integers(0, 10**6), overlap=st.sampled_from([0.0, 0.1, 0.4]))
def test_matches_are_all_pairs_by_their_pixels(seed: int, overlap: float) -> None:
    predicted, truth, _ = scene(seed, levels=5)
    expected = {
        (i, k)
        for i, region in enumerate(predicted)
        for k, each in enumerate(truth)
        if (region.clip, region.frame) == (each.clip, each.frame)
        and pixel_iou(region.box, each.box) > 0
        and pixel_iou(region.box, each.box) >= overlap
    }
    of_predicted, of_truth = matches(predicted, truth, overlap)
    assert sorted(zip(of_predicted.tolist(), of_truth.tolist(), strict=True)) == sorted(expected)


def track(clip: str, frames: range, box: Box = (0, 0, 10, 10), number: int = 0) -> list[TruthRegion]:
    return [TruthRegion(clip, frame, box, number) for frame in frames]


def test_conventions_of_the_curve() -> None:
    truth = track("a", range(20))
    perfect = [PredictedRegion("a", frame, (0, 0, 10, 10), 1.0) for frame in range(20)]
    twice = [*perfect, *[PredictedRegion("a", frame, (0, 0, 9, 10), 0.5) for frame in range(20)]]
    for predicted in (perfect, twice):  # the curve is level to 1; a second region on the same is not false
        found = evaluate_regions(predicted, truth, n_frames=100)
        assert (found.rbdc, found.tbdc, found.false_per_frame) == (1, 1, 0)
    none = evaluate_regions([], truth, 100)
    assert (none.rbdc, none.tbdc, none.region_rate, none.track_rate) == (0, 0, 0, 0)
    far = [PredictedRegion("a", frame % 20, (50, 50, 60, 60), 5.0 + frame) for frame in range(30)]
    found = evaluate_regions([*far, *perfect], truth, n_frames=20)  # detected from 1.5 false ones a frame on
    assert (found.rbdc, found.tbdc, found.region_rate, found.false_per_frame) == (0, 0, 1, 1.5)
    other = [PredictedRegion("b", frame, (0, 0, 10, 10), 1.0) for frame in range(20)]  # the same place, another clip
    assert evaluate_regions(other, truth, 100).false_per_frame == 0.2


def test_a_tenth_of_a_track_detects_it_and_one_region_may_detect_two() -> None:
    truth = track("a", range(30))
    for count, expected in ((2, 0.0), (3, 1.0)):
        predicted = [PredictedRegion("a", frame, (0, 0, 10, 10), float(frame)) for frame in range(count)]
        found = evaluate_regions(predicted, truth, 30)
        assert (found.tbdc, found.rbdc) == (expected, pytest.approx(count / 30))
    pair = [TruthRegion("a", 0, (0, 0, 4, 4), 0), TruthRegion("a", 0, (0, 4, 4, 8), 1)]
    found = evaluate_regions([PredictedRegion("a", 0, (0, 0, 4, 8), 1.0)], pair, 1)
    assert (found.rbdc, found.tbdc, found.n_tracks, found.false_per_frame) == (1, 1, 2, 0)
    same = [*track("a", range(1), number=1), *track("b", range(1), number=1)]  # numbers are of a clip
    assert evaluate_regions([], same, 2).n_tracks == 2


def test_regions_without_truth_are_undefined_and_as_dict_is_strict() -> None:
    found = evaluate_regions([PredictedRegion("a", 0, (0, 0, 1, 1), 1.0)], [], 4)
    assert math.isnan(found.rbdc)
    text = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (text["rbdc"], text["tbdc"], text["region_rate"], text["false_per_frame"]) == (None, None, None, 0.25)


def test_a_hundred_thousand_regions() -> None:
    rng = np.random.default_rng(0)
    truth = [TruthRegion("a", frame, (0, 0, 10, 10), frame // 100) for frame in range(20_000)]
    scores, places = rng.permutation(100_000).tolist(), (np.arange(100_000) // 5).tolist()
    boxes: list[Box] = [(0, 0, 10, 10), (20, 20, 30, 30)]
    predicted = [PredictedRegion("a", f, boxes[k % 5 > 0], float(scores[k])) for k, f in enumerate(places)]
    hits, false = np.array(scores)[::5], np.sort(np.delete(scores, slice(None, None, 5)))
    before = (false.size - np.searchsorted(false, hits)) / 20_000
    found = evaluate_regions(predicted, truth, 20_000)
    assert found.rbdc == pytest.approx(np.maximum(1 - before, 0).sum() / 20_000)
    assert (found.n_predicted, found.n_tracks, found.false_per_frame) == (100_000, 200, 4.0)


def test_bad_regions_are_named() -> None:
    truth, good = track("a", range(1)), PredictedRegion("a", 0, (0, 0, 1, 1), 1.0)
    for values in ((0, 0.1, 0.1), (1, 0.0, 0.1), (1, 0.1, 1.1)):
        with pytest.raises(SettingsError, match="regions: frames must be"):
            evaluate_regions([good], truth, values[0], overlap=values[1], share=values[2])
    with pytest.raises(DataError, match="b: frame 7: score nan"):
        evaluate_regions([good, PredictedRegion("b", 7, (0, 0, 1, 1), math.nan)], truth, 1)
    with pytest.raises(DataError, match=r"b: frame 7: box \(3, 0, 3, 1\) is empty"):
        evaluate_regions([good, PredictedRegion("b", 7, (3, 0, 3, 1), 1.0)], truth, 1)


def pixels_of(mask: np.ndarray) -> list[frozenset[tuple[int, int]]]:
    found = measure.regionprops(measure.label(mask, connectivity=2))
    return [frozenset(map(tuple, each.coords.tolist())) for each in found]


def box_of(pixels: frozenset[tuple[int, int]]) -> Box:
    rows, columns = zip(*pixels, strict=True)
    return min(rows), min(columns), max(rows) + 1, max(columns) + 1


def slow_tracks(masks: list[np.ndarray]) -> tuple[list[dict[frozenset[tuple[int, int]], int]], bool]:
    """The rules by sets of pixels: the best pair that is left, again and again; and whether any two were as good."""
    history: list[dict[frozenset[tuple[int, int]], int]] = []
    begun, tied = 0, False
    for mask in masks:
        now, of = pixels_of(mask), {}
        latest: dict[int, tuple[int, frozenset[tuple[int, int]]]] = {}
        for ago in range(min(3, len(history)), 0, -1):
            latest |= {track: (ago, pixels) for pixels, track in history[-ago].items()}
        for by_masks in (True, False):
            while True:
                best = (0.0, 0, -1)
                for number, pixels in enumerate(now):
                    for track_number, (ago, earlier) in latest.items():
                        if pixels in of or track_number in of.values() or (ago == 1) is not by_masks:
                            continue
                        iou = (
                            len(pixels & earlier) / len(pixels | earlier)
                            if by_masks
                            else pixel_iou(box_of(pixels), box_of(earlier))
                        )
                        tied |= iou == best[0] > 0
                        if iou > best[0]:
                            best = iou, number, track_number
                if best[2] < 0:
                    break
                of[now[best[1]]] = best[2]
        for pixels in now:
            if pixels not in of:
                of[pixels], begun = begun, begun + 1
        history.append(of)
    return history, tied


@quick
@given(seed=st.integers(0, 10**6))
def test_tracks_are_those_of_sets_of_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    things = [(rng.uniform(0, 18, 2), rng.uniform(-2, 2, 2), rng.integers(2, 6, 2)) for _ in range(4)]
    masks = []
    for frame in range(8):
        mask = np.zeros((20, 24), np.uint8)
        for place, speed, size in things:
            if rng.random() < 0.75:  # not every thing in every frame
                top, left = np.maximum(place + frame * speed, 0).astype(int)
                mask[top : top + size[0], left : left + size[1]] = 255
        masks.append(mask)
    found = tracks_from_masks(masks, "a")
    expected, tied = slow_tracks(masks)
    assume(not tied)  # which of two equal pairs comes first is not promised
    named = sorted((frame, *box_of(pixels)) for frame, of in enumerate(expected) for pixels in of)
    assert sorted((each.frame, *each.box) for each in found) == named
    ours = {(each.frame, *each.box): each.track for each in found}
    theirs = {(frame, *box_of(pixels)): number for frame, of in enumerate(expected) for pixels, number in of.items()}
    pairs = {(ours[region], theirs[region]) for region in ours}
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
    assert max(Counter((each.frame, each.track) for each in found).values(), default=0) <= 1


def blob(left: int, top: int = 4, size: int = 5) -> np.ndarray:
    mask = np.zeros((20, 60), bool)
    mask[top : top + size, left : left + size] = True
    return mask


@pytest.mark.parametrize(("gap", "tracks"), [(0, 1), (1, 1), (2, 1), (3, 2)])
def test_a_gap_of_two_frames_is_bridged(gap: int, tracks: int) -> None:
    for empty in (None, np.zeros((20, 60), bool)):
        masks = [blob(0), blob(2), *[empty] * gap, blob(4), blob(6)]
        found = tracks_from_masks(masks, "a")
        assert len({each.track for each in found}) == tracks
        assert [each.frame for each in found] == [0, 1, gap + 2, gap + 3]
    apart = tracks_from_masks([blob(0), *[None] * gap, blob(5)], "a")  # side by side: no overlap
    assert len({each.track for each in apart}) == 2


def test_two_that_meet_and_part() -> None:
    masks = [blob(2 * k, 4) | blob(40 - 2 * k, 9, 4) for k in range(21)]  # one below the other: they touch as they pass
    found = tracks_from_masks(masks, "a")
    first = [each for each in found if each.frame == 0]
    assert [each.track for each in first] == [0, 1]
    merged = Counter(each.frame for each in found)
    assert set(merged.values()) == {1, 2}
    for before, after in pairwise(k for k in range(21) if merged[k] == 1):
        assert after == before + 1  # met once
    alone = [each.track for each in found if merged[each.frame] == 1]
    assert set(alone) == {0}  # the larger one has more in common with the two together
    assert max(each.track for each in found) <= 2
    corner = np.zeros((4, 4), bool)
    corner[0, 0] = corner[1, 1] = True
    assert len(tracks_from_masks([corner], "a")) == 1


def test_masks_of_another_size_are_named() -> None:
    with pytest.raises(SettingsError, match=r"a: mask of frame 2 is \(20, 61\), expected \(20, 60\)"):
        tracks_from_masks([blob(0), None, np.zeros((20, 61), bool)], "a")
    with pytest.raises(SettingsError, match="frame 0"):
        tracks_from_masks([np.zeros((2, 3, 4), bool)], "a")
    assert tracks_from_masks([], "a") == tracks_from_masks([None, None], "a") == []


@pytest.mark.skipif(not PED2.is_dir(), reason="needs shared/data/UCSDped2 beside the project (UCSD Anomaly Dataset)")
def test_tracks_of_ped2_are_the_bicycles_and_carts_seen_in_it() -> None:
    counts = {}
    for folder in sorted(PED2.glob("Test*_gt")):
        found = tracks_from_masks((np.array(Image.open(path)) for path in sorted(folder.glob("*.png"))), folder.name)
        counts[folder.name] = len({each.track for each in found})
        for number in range(counts[folder.name]):
            frames = [each.frame for each in found if each.track == number]
            assert frames == list(range(frames[0], frames[-1] + 1))
    assert counts == dict(zip([f"Test00{k}_gt" for k in range(1, 7)], [1, 1, 2, 2, 1, 2], strict=True))
