"""Small data sets on disk, one a domain: what the suite of domains is run on. A new domain adds an entry to CASES."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from strips.domain import STRIPS

from anotwin.data.synthetic import plant_blob, textured_discs
from anotwin.domains.oct.records import Spacing
from anotwin.domains.oct.synthetic.retina import Appearance, Disc, Lesion, retina_scan
from anotwin.domains.protocol import Domain, Prepared
from anotwin.domains.registry import DOMAINS
from anotwin.records import Batch, Finding

DAMAGED = "999x.png"  # the end of the name of the file that cannot be read
Images = Sequence[np.ndarray]
TRAINED = (
    "networks.base_channels=8",
    "networks.latent_dim=16",
    "networks.memory=256",  # as many as are enough here: sixteen thousand patches take half a minute
    "training.batch_size=32",
    "training.learning_rate=0.001",
    "training.ema=0.98",
    "data.holdout=0.2",
    "calibration.false_alarm_rate=0.2",
)


def _all_squares(image: Prepared) -> Batch:
    assert image.squares is not None
    return image.squares.rows(slice(None))


def _own_frame(image: Prepared) -> Batch:
    """Without those of earlier frames, which are scored with it where they were not asked for."""
    rows = [row for row, number in enumerate(image.numbers) if number == image.index]
    return _all_squares(image).rows(slice(rows[0], rows[-1] + 1))


@dataclass(frozen=True)
class Case:
    """How the images of one domain lie on disk."""

    domain: Domain
    normal: str  # the label that is normal
    settings: tuple[str, ...]
    images: Callable[[int, int, bool], Images]  # count, seed, with a defect planted in each -> native images, or clips
    folder: Callable[[Path, Images, Images], None]  # writes normals to train on, and labelled ones to score
    training: int = 40  # images, or clips
    own: Callable[[Prepared], Batch] = _all_squares  # those that show the image itself, in order
    compared: Callable[[list[Finding]], list[Finding]] = list  # those of what `images` made, with a defect or without
    written: frozenset[str] = frozenset({"figure.png", "counterparts/", "heatmaps/"})  # by `score`, for everybody

    @property
    def layout(self) -> str:
        """How the files lie: that of the settings, for domains that have no layout of their own."""
        named = [word.partition("=")[2] for word in self.settings if word.startswith("data.layout=")]
        return named[0] if named else self.domain.own_layout

    def write(self, root: Path, scored: int = 6) -> Path:
        """Normals to train on, as many unseen ones as abnormal ones to score, and one damaged file among these."""
        normals, abnormal = self.images(scored, 7, False), self.images(scored, 7, True)
        self.folder(root, self.images(self.training, 0, False), [*normals, *abnormal])
        return root


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def _labelled(root: Path, training: Images, scored: Images, normal: str) -> None:
    """Class folders in train/ and test/."""
    for number, image in enumerate(training):
        _save(root / "train" / normal / f"{number:03d}x.png", image)
    half = len(scored) // 2
    for number, image in enumerate(scored):
        _save(root / "test" / (normal if number < half else "defect") / f"{number:03d}x.png", image)
    (root / "test/defect" / DAMAGED).write_bytes(b"\x89PNG\r\n\x1a\n and no more")


def _clips(root: Path, training: Images, scored: Images) -> None:
    """As UCSD's: Train/Train001, Test/Test001 with masks; clips of the second half have a defect."""
    for number, clip in enumerate(training, start=1):
        for time, frame in enumerate(clip, start=1):
            _save(root / f"Train/Train{number:03d}/{time:03d}.png", frame)
    half = len(scored) // 2
    for number, clip in enumerate(scored):
        for time, frame in enumerate(clip, start=1):
            found = np.zeros_like(frame)
            if number >= half:
                found[frame != scored[number - half][time - 1]] = 255
            _save(root / f"Test/Test{number + 1:03d}/{time:03d}.png", frame)
            _save(root / f"Test/Test{number + 1:03d}_gt/{time:03d}.png", found)
    _save(root / f"Test/Test{len(scored) + 1:03d}_gt/{DAMAGED}", found)
    (root / f"Test/Test{len(scored) + 1:03d}").mkdir()
    (root / f"Test/Test{len(scored) + 1:03d}/{DAMAGED}").write_bytes(b"\x89PNG\r\n\x1a\n and no more")


def _strips(root: Path, training: Images, scored: Images) -> None:
    half = len(scored) // 2
    lines = [f"t{number:03d}.png normal" for number in range(len(training))]
    lines += [f"{'n' if number < half else 'd'}{number:03d}.png defect" for number in range(len(scored))]
    lines = [line.replace("defect", "normal") if line[0] == "n" else line for line in lines]
    for line, image in zip(lines, [*training, *scored], strict=True):
        _save(root / line.split()[0], image)
    (root / DAMAGED).write_bytes(b"no image")
    (root / "strips.txt").write_text("\n".join([*lines, f"{DAMAGED} defect"]))


def _discs(count: int, seed: int, abnormal: bool) -> Images:
    images = textured_discs(count, 24, seed)[0]  # not the model's size: results come back in the image's own
    return list(plant_blob(images, seed)[0] if abnormal else images)


# What other people's scans have: as registration leaves them, padded with black at the sides too, a disc that the
# left end cuts off, and slanted grey corners on the rows of another device.
LOOKS = (
    {},
    {"appearance": Appearance(margin=0, shift=40, left=6, right=5)},
    {"width": 160, "disc": Disc(0.0, diameter_um=500.0)},
    {"height": 620, "appearance": Appearance(margin=90, shift=10, shear=30), "spacing": Spacing(1920 / 620, 11.5)},
)


def _retinas(count: int, seed: int, abnormal: bool) -> Images:
    lesions = [Lesion("cyst", 300, 250, at=0.5)] if abnormal else []
    looks = [{"height": 400, "width": 80, "lesions": lesions, **LOOKS[number % 4]} for number in range(count)]
    return [retina_scan(1000 * seed + number, **look).pixels for number, look in enumerate(looks)]


def _long_discs(count: int, seed: int, abnormal: bool) -> Images:
    images = textured_discs(3 * count, 16, seed)[0]
    planted = plant_blob(images, seed)[0] if abnormal else images
    return [np.concatenate([images[3 * k], planted[3 * k + 1], images[3 * k + 2]], axis=1) for k in range(count)]


def _large_discs(count: int, seed: int, abnormal: bool) -> Images:
    """Two discs side by side, a defect in one of them: 32 x 60 pixels are more than a tile of 16 along each side."""
    images = textured_discs(2 * count, 32, seed)[0]
    planted = plant_blob(images, seed)[0] if abnormal else images
    return [np.concatenate([planted[2 * k], images[2 * k + 1]], axis=1)[:, :60] for k in range(count)]


FRAMES, PLANTED = 5, 3  # of a clip, and which has the defect; not the last: the past of the first is mirrored


def _walks(count: int, seed: int, abnormal: bool, size: tuple[int, int], body: int) -> Images:
    """Clips of one place: one walks to the right and one to the left; a striped box is there in one frame."""
    random, places, (high, wide) = np.random.default_rng(seed), np.random.default_rng(seed), size
    ground = np.random.default_rng(99).integers(90, 130, size)
    ground = (ground + np.roll(ground, 1, 0) + np.roll(ground, 1, 1)) // 3
    found = np.empty((count, FRAMES, high, wide), np.uint8)
    for clip in found:
        rows = random.integers(0, (high - 2 * body) // 2, 2) + np.array([0, high // 2])
        starts = random.integers(0, wide - body - 2 * FRAMES, 2)
        for time, frame in enumerate(clip):
            frame[:] = np.clip(ground + random.normal(0, 1.5, size), 0, 255)
            for row, left in zip(rows, (starts[0] + 2 * time, starts[1] + 2 * (FRAMES - time)), strict=True):
                frame[row : row + 2 * body, left : left + body] = 40
        if abnormal:
            row, column = int(places.integers(high - 2 * body)), int(places.integers(wide - 2 * body))
            clip[PLANTED, row : row + 2 * body, column : column + 2 * body] = 180
            clip[PLANTED, row : row + 2 * body : 4, column : column + 2 * body] = 255
    return list(found)


CLIPS_SET = "data.layout=ucsd", "calibration.alarms_per_hour=9000"  # two alarms in what is held out
CLIPS: dict[str, Any] = {
    "folder": _clips,
    "training": 20,
    "own": _own_frame,
    "compared": lambda findings: [each for each in findings if each.id.endswith(f"{PLANTED + 1:03d}.png")],
    "written": frozenset({"figure.png", "annotated/", "events.csv", "events.json", "timeline.png", "groups.csv"}),
}
CASES = {
    "plain": Case(
        DOMAINS[0],
        "good",
        ("training.steps=200", "data.image_size=16"),
        _discs,
        lambda r, t, s: _labelled(r, t, s, "good"),
    ),
    "oct": Case(
        next(domain for domain in DOMAINS if domain.name == "oct"),
        "NORMAL",
        ("training.steps=150", "data.image_size=16", "data.layout=oct"),
        _retinas,
        lambda r, t, s: _labelled(r, t, s, "NORMAL"),
    ),
    "surfaces": Case(
        next(domain for domain in DOMAINS if domain.name == "surfaces"),
        "good",
        ("training.steps=200", "data.image_size=16", "data.view=tiles", "data.layout=mvtec"),
        _large_discs,
        lambda r, t, s: _labelled(r, t, s, "good"),
    ),
    "video": Case(
        next(domain for domain in DOMAINS if domain.name == "video"),
        "normal",
        ("training.steps=60", "data.image_size=32", *CLIPS_SET),
        lambda count, seed, abnormal: _walks(count, seed, abnormal, (48, 40), 5),
        **CLIPS,
    ),
    "moving": Case(
        next(domain for domain in DOMAINS if domain.name == "moving"),
        "normal",
        ("training.steps=100", "data.image_size=32", "data.view=moving", *CLIPS_SET),
        lambda count, seed, abnormal: _walks(count, seed, abnormal, (128, 128), 8),
        **CLIPS,
    ),
    "strips": Case(STRIPS, "normal", ("training.steps=200", "data.image_size=16"), _long_discs, _strips),
}
