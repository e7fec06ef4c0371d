"""Synthetic walkway: the masks, tracks and speeds are what they say, and nothing but the intruder changes."""

import json
import tracemalloc
from dataclasses import replace
from functools import cache
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import binary_dilation, find_objects

from anotwin.domains.video.synthetic import intruders, walkers, walkway
from anotwin.domains.video.synthetic.drawing import Polygon, Stroke, rasterise
from anotwin.domains.video.synthetic.folders import write_clips
from anotwin.domains.video.synthetic.walkers import WALKING, Footage, walkers_at
from anotwin.errors import DataError, SettingsError

SMALL = {"size": (96, 144), "density": 4.0}
MOVING = [kind for kind in walkway.KINDS if kind != "bag"]
FRAMES = 200


def clip(seed, intruder=None, frames=FRAMES, **more):
    return walkway.walkway(seed, frames, intruder, **(SMALL | more))


def shots(seed, intruder=None, frames=FRAMES, **more):
    return list(walkway.stream(seed, intruder, frames, every=frames, **(SMALL | more)))


def box_of(mask):
    found = find_objects(mask.astype(int))
    return tuple(part.start for part in found[0]) + tuple(part.stop for part in found[0]) if found else None


@cache
def without(seed, density=4.0):
    return [shot.frame for shot in shots(seed, density=density)]


@pytest.mark.parametrize("kind", walkway.KINDS)
def test_an_intruder_changes_its_mask_and_its_shadow_and_nothing_else(kind):
    """The same seed without it has the same bits but there, and a shadow only takes light away."""
    found = changes = stray = seen = marked = 0
    for shot, other in zip(shots(3, kind), without(3), strict=True):
        changed = shot.frame != other
        if shot.kind is None:
            assert not changed.any()
            continue
        beyond = changed & ~binary_dilation(shot.mask, np.ones((3, 3)), iterations=2)
        stray += (shot.frame[beyond] > other[beyond]).sum()  # seen faintly, through leaves
        changes, seen = changes + changed.sum(), seen + (changed & shot.mask).sum()
        found, marked = found + 1, marked + shot.mask.sum()
    assert 20 < found < FRAMES - 20
    assert stray < 0.02 * changes
    assert seen > 0.85 * marked


@pytest.mark.parametrize("kind", walkway.KINDS)
def test_the_mask_is_where_a_quarter_of_the_light_is_the_intruders(kind, monkeypatch):
    """Painted twice, the second time by 100 grey levels brighter: the difference is what it takes of each pixel."""
    canvases, hidden, size = [], 0, (96, 144)
    monkeypatch.setattr(walkway, "exposed", lambda canvas, *_: canvases.append(canvas.copy()) or canvas)
    footage = Footage(8, 1, size, 10.0, 12.0)
    dark = replace(footage.scene, sunlight=0.0)  # so that there are no shadows
    monkeypatch.setattr(walkers, "scene", lambda *_: dark)
    visit = intruders.visit(footage, kind, 0, FRAMES)
    for frame in range(visit.first, visit.end, 5):
        row, sprite = visit.body(footage, frame)
        brighter = walkers.Body(row, sprite._replace(light=sprite.light + 100 * sprite.alpha))
        _, share = walkway._drawn(footage, frame, walkers.Body(row, sprite))
        walkway._drawn(footage, frame, brighter)
        walkway._drawn(footage, frame, None)
        usual, bright, empty = canvases[-3:]
        measured = (bright - usual) / 100
        mask, box = walkway._seen(share, size)
        clear = np.abs(measured - walkway.SEEN) > 1e-3
        np.testing.assert_array_equal(mask[clear], measured[clear] >= walkway.SEEN)
        assert box == box_of(mask)
        assert not (usual != empty)[measured < 1e-6].any()
        hidden += mask.sum() < 0.9 * (sprite.alpha >= walkway.SEEN).sum()
    assert hidden  # in some frames a part is hidden or out of view


@pytest.mark.parametrize("kind", MOVING)
def test_whoever_comes_comes_from_outside_and_goes_there(kind):
    """In its first and in its last frame neither it nor its shadow is in the picture."""
    for seed in (1, 2):
        with_it, normal = shots(seed, kind, density=0.0), without(seed, 0.0)
        there = [index for index, shot in enumerate(with_it) if shot.kind]
        for index in (there[0], there[-1]):
            assert (with_it[index].frame != normal[index]).mean() < 0.002
        assert there == list(range(there[0], there[-1] + 1))


@pytest.mark.parametrize("kind,rate", [*((kind, 10.0) for kind in MOVING), ("runner", 25.0)])
def test_speeds_are_what_they_should_be(kind, rate):
    """Of the boxes, in metres a second, beside the mean of walkers."""
    frames, size = round(20.5 * rate), (64, 96)
    for seed in range(2):
        track = clip(seed, kind, frames, size=size, density=0.0, rate=rate).tracks[0]
        inside = [
            (index, box)
            for index, box in enumerate(track.boxes)
            if box and box[1] > 2 and box[3] < size[1] - 2 and box[2] < size[0] - 1
        ]
        (start, a), (end, b) = inside[0], inside[-1]
        place = walkers.scene(0, size)
        across = (b[1] + b[3] - a[1] - a[3]) / 2
        along = (b[2] - a[2]) / 0.5  # on the ground, seen from 30 degrees above
        metres = np.hypot(across, along) / place.scale((a[2] + b[2]) / 2)
        speed = metres / (end - start) * rate / WALKING
        low, high = intruders.SPEEDS[kind]
        assert 0.88 * low < speed < 1.12 * high


def test_walkers_walk_and_keep_to_their_side():
    footage = Footage(5, 2, (240, 360), 10.0, 10.0)
    place, speeds, directions, inside = footage.scene, [], set(), []
    for frame in range(0, 20_000, 50):
        found = walkers_at(footage, frame)
        inside.append(sum(0 <= walker.at(frame)[0] < 360 for walker in found))
        for walker in found:
            (x, row), (later, _) = walker.at(frame), walker.at(frame + 1)
            lane = place.near if later > x else place.far
            assert lane[0] - 3 < row < lane[1] + 3
            speeds.append(abs(later - x) / place.scale(walker.row) * 10)
            directions.add(walker.direction)
            assert 20 < 1.7 * 0.866 * place.scale(row) < 40  # pixels from head to foot
    assert np.mean(speeds) == pytest.approx(WALKING, rel=0.05)
    assert 1.0 < min(speeds) < max(speeds) < 1.7
    assert directions == {-1, 1}
    assert np.mean(inside) == pytest.approx(10, rel=0.15)


def test_the_wrong_way_is_against_the_others_or_across_the_lawn():
    size, found = (96, 144), set()
    for seed in range(40):
        footage = Footage(seed, seed % 3, size, 10.0, 10.0)
        visit, place = intruders.visit(footage, "wrong way", 0, FRAMES), walkers.scene(seed % 3, size)
        rows = visit.start[1] + np.arange(visit.end - visit.first) * visit.step[1]
        if visit.step[1] == 0:
            lane = place.far if visit.step[0] > 0 else place.near
            assert lane[0] <= visit.start[1] <= lane[1]
            found.add("against")
        else:
            assert (rows < place.lawn[1]).any()
            assert (rows > place.near[1]).any()
            found.add("across")
        for kind in ("bicycle", "cart", "runner", "skater"):
            right = intruders.visit(footage, kind, 0, FRAMES)
            lane = place.near if right.step[0] > 0 else place.far
            assert lane[0] <= right.start[1] <= lane[1]
    assert found == {"against", "across"}


def test_a_bag_is_put_down_where_somebody_walks_and_stays():
    for seed in range(2):
        found = shots(seed, "bag")
        boxes = [shot.box for shot in found if shot.whole]
        assert len(boxes) > 0.3 * FRAMES
        assert len(set(boxes)) <= 6  # one place: what hides an edge of it makes others
    for seed in range(20):
        footage = Footage(seed, 0, (240, 360), 10.0, 10.0)
        visit = intruders.visit(footage, "bag", 0, FRAMES)
        passing = [walker.at(visit.first) for walker in walkers_at(footage, visit.first)]
        assert min(abs(x - visit.start[0]) for x, _ in passing) < 1
        assert any(0 < row - visit.start[1] < 3 for _, row in passing)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(-(2**70), 2**70), kind=st.sampled_from(walkway.KINDS), place=st.integers(-3, 2**40))
def test_tracks_are_the_boxes_of_the_masks(seed, kind, place):
    found = walkway.walkway(seed, FRAMES, kind, size=(64, 96), density=1.0, place=place)
    assert [track.kind for track in found.tracks] == [kind]
    track = found.tracks[0]
    boxes = [box_of(mask) for mask in found.masks]
    assert boxes == [None] * track.first + list(track.boxes) + [None] * (FRAMES - track.first - len(track.boxes))
    assert track.boxes[0] is not None
    assert track.boxes[-1] is not None
    assert not found.masks[:10].any()
    assert not found.masks[-10:].any()
    assert track.fully_visible_from is None or track.first <= track.fully_visible_from < FRAMES - 10


def test_seeds_reproduce_and_differ():
    one = clip(11, "bag", 60)
    walkers._arrivals.cache_clear()
    walkers.scene.cache_clear()
    again = clip(11, "bag", 60)
    np.testing.assert_array_equal(one.frames, again.frames)
    np.testing.assert_array_equal(one.masks, again.masks)
    assert one.tracks == again.tracks
    assert len({clip(seed, frames=3).frames.tobytes() for seed in range(6)}) == 6
    noise = [np.diff(clip(seed, frames=2, density=0.0).frames.astype(float), axis=0).ravel() for seed in (0, 1)]
    assert abs(np.corrcoef(*noise)[0, 1]) < 0.1
    assert 1.2 < noise[0].std() / 2**0.5 < 2.0  # grey levels


def test_a_place_looks_the_same_whatever_happens_there():
    def background(seed, place):
        frames = [
            shot.frame for shot in islice(walkway.stream(seed, size=(64, 96), density=3.0, place=place), 0, 330, 15)
        ]
        median = np.median(frames, 0)
        return median / median.mean()  # light differs from day to day

    one, other, elsewhere = background(1, 4), background(2, 4), background(1, 5)
    assert np.percentile(np.abs(one - other), 90) < 0.03
    assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.99
    assert np.percentile(np.abs(one - elsewhere), 90) > 0.1


def test_light_changes_slowly_and_clouds_pass():
    means = [shot.frame.mean() for shot in walkway.stream(2, None, 600, size=(64, 64), density=0.0)]
    assert np.ptp(means) > 5
    assert np.abs(np.diff(means)).max() < 2


def test_a_stream_is_the_clip_and_goes_on():
    found = clip(4, "bag", 60)
    streamed = list(islice(walkway.stream(4, ["bag"], every=60, **SMALL), 130))
    np.testing.assert_array_equal(found.frames, [shot.frame for shot in streamed[:60]])
    np.testing.assert_array_equal(found.masks, [shot.mask for shot in streamed[:60]])
    assert {shot.visit for shot in streamed[:60]} == {None, 0}
    assert {shot.visit for shot in streamed[60:120]} == {None, 1}
    several = walkway.stream(4, ["bag", "runner"], 200, every=100, **SMALL)
    assert [kind for kind, before in _pairs(shot.kind for shot in several) if kind and not before] == ["bag", "runner"]


def _pairs(values):
    before = None
    for value in values:
        yield value, before
        before = value


def test_long_footage_takes_no_more_memory():
    footage = walkway.stream(6, walkway.KINDS, size=(64, 64), density=3.0, every=FRAMES)
    for _ in islice(footage, 60):
        pass
    tracemalloc.start()
    try:
        for _ in islice(footage, 30):
            pass
        before = tracemalloc.get_traced_memory()[0]
        for _ in islice(footage, 220):
            pass
        assert tracemalloc.get_traced_memory()[0] - before < 300_000
    finally:
        tracemalloc.stop()
    for frame in range(0, 36_000, 100):  # an hour
        walkers_at(Footage(6, 0, (240, 360), 10.0, 10.0), frame)
    assert walkers._arrivals.cache_info().currsize <= 64


def test_strokes_and_polygons_cover_what_they_should():
    disc = rasterise([Stroke(30, 30, 30, 30, 12, 12, 0, 1.0, 50)])
    assert disc.alpha.sum() == pytest.approx(np.pi * 144, rel=0.02)
    ring = rasterise([Stroke(30, 30, 30, 30, 2, 2, 15, 1.0, 50)])
    assert ring.alpha.sum() == pytest.approx(np.pi * (17**2 - 13**2), rel=0.02)
    bar = rasterise([Stroke(5.3, 9.1, 40.3, 30.1, 3, 3, 0, 0.5, 50)])
    assert bar.alpha.sum() == pytest.approx((6 * np.hypot(35, 21) + np.pi * 9) / 2, rel=0.02)
    for corners in (((3, 4), (30, 9), (22, 31)), ((22, 31), (30, 9), (3, 4))):
        triangle = rasterise([Polygon(corners, 80)])
        assert triangle.alpha.sum() == pytest.approx(317, rel=0.03)
    both = rasterise([Polygon(((0, 0), (40, 0), (40, 40), (0, 40)), 80), Stroke(20, 20, 20, 20, 8, 8, 0, 0.25, 200)])
    middle = both.light[20 - both.top, 20 - both.left]
    assert middle == pytest.approx(0.75 * 80 + 0.25 * 200)
    edge_on = rasterise([Polygon(((5, 5), (5, 25), (5, 25), (5, 5)), 80)])
    assert edge_on.alpha.sum() < 40


def test_clips_are_written_as_ucsd_lays_them_out(tmp_path):
    folder = tmp_path / "made"
    write_clips(folder, 2, 2, 40, seed=3, place=1, kinds=["bag"], size=(64, 96), density=3.0)
    found = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/*"))
    assert found == [
        *("Test/Test001", "Test/Test001_gt", "Test/Test002", "Test/Test002_gt"),
        *("Train/Train001", "Train/Train002"),
    ]
    names = [f"{index:03d}.png" for index in range(1, 41)]
    for name in found:
        assert sorted(path.name for path in (folder / name).iterdir()) == names
    tracks = json.loads((folder / "tracks.json").read_text())
    assert list(tracks["clips"]) == ["Test001", "Test002"]
    for name, (track,) in tracks["clips"].items():
        assert track["kind"] == "bag"
        masks = np.stack([np.asarray(Image.open(folder / "Test" / f"{name}_gt" / each)) for each in names])
        assert set(np.unique(masks)) == {0, 255}
        boxes = [list(box) if box else None for box in map(box_of, masks > 0)]
        end = track["first"] + len(track["boxes"])
        assert boxes == [None] * track["first"] + track["boxes"] + [None] * (40 - end)
    frames = [Image.open(folder / name / "001.png") for name in found if not name.endswith("_gt")]
    assert {(frame.mode, frame.size) for frame in frames} == {("L", (96, 64))}
    assert len({frame.tobytes() for frame in frames}) == 4


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="not an empty folder"):
        write_clips(tmp_path, frames=40, kinds=["bag"], size=(64, 96))
    with pytest.raises(DataError, match="not an empty folder"):
        write_clips(tmp_path / "mine.txt", frames=40, kinds=["bag"], size=(64, 96))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(SettingsError, match="-1 clips"):
        write_clips(tmp_path / "new", train=-1)
    with pytest.raises(SettingsError, match="100 frames for a visit of kind 'cart', expected at least"):
        write_clips(tmp_path / "new", frames=100)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("arguments,match", [
    ({"intruder": "bicicle"}, r"'bicicle', expected one of .*; did you mean 'bicycle'\?"),
    ({"frames": 0}, "0 frames, expected at least 1"),
    ({"frames": -3}, "-3 frames"),
    ({"frames": 30, "intruder": "bag"}, "30 frames for a visit of kind 'bag', expected at least 40"),
    ({"frames": 200, "intruder": "cart", "rate": 60.0}, "kind 'cart', expected at least .* at 60 frames a second"),
    ({"size": (20, 360)}, "size .* 64 to 4096"),
    ({"size": (240, 5000)}, "size .* 64 to 4096"),
    ({"rate": 0.0}, "0.0 frames a second"),
    ({"rate": float("nan")}, "nan frames a second"),
    ({"density": -1.0}, "-1.0 people"),
    ({"density": float("inf")}, "inf people"),
])  # fmt: skip
def test_bad_arguments(arguments, match):
    with pytest.raises(SettingsError, match=match) as caught:
        walkway.walkway(0, **({"frames": 10} | arguments))
    assert "\n" not in str(caught.value)
    with pytest.raises(SettingsError, match="0 frames for one intruder"):
        walkway.stream(0, every=0)


def test_every_place_has_room_for_every_kind_in_a_clip_of_the_usual_length():
    for place in range(8):
        footage = Footage(0, place, (64, 96), 10.0, 10.0)
        assert max(intruders.least_frames(footage, kind) for kind in walkway.KINDS) <= FRAMES
    assert intruders.least_frames(Footage(0, 0, (240, 360), 10.0, 10.0), "wrong way") <= FRAMES
