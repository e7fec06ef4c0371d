"""What a model looks at where there is little footage: patches of what moves, each as an image of its own.

Any method learns from them what may walk by: `anogan`, `fanogan`, `pix2pix`, `twin`. What moves is what differs from
the median of the frames before, the simplest background there is, around the highest places of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import gaussian_filter
from skimage.feature import peak_local_max

from anotwin.domains.video.camera import restored, scene_of, stored
from anotwin.domains.video.clips import Clip
from anotwin.domains.video.context import clips_of
from anotwin.domains.video.frame import FrameImage, Parts, seen_frames
from anotwin.domains.video.reader import FrameReader
from anotwin.domains.video.training_frames import TrainingFrames, rows_before
from anotwin.prepare.cache import PreparedImages, prepare_images
from anotwin.prepare.image_spec import infer_spec
from anotwin.prepare.patches import cut
from anotwin.records import Array, Batch, ImageSource, ImageSpec
from anotwin.seeding import derive
from anotwin.settings import Settings
from anotwin.training.protocol import Rows, TrainingImages
from anotwin.updates import Update, Watch

if TYPE_CHECKING:
    from anotwin.domains.protocol import Seen

SIDE = 256  # pixels that a frame is resized to; no patch is larger: `data.image_size` ends there
PATCH = 64  # pixels of it: a walker and a step around him
MOST = 8  # patches of a frame: more people than that are a crowd, of which some are looked at
BODY = 16  # pixels: about a body; what moves is counted over so much, and patches lie as far apart
STILL = 0.1  # of the highest of a frame's places: less is noise


@dataclass(frozen=True)
class MovingView:
    """See `anotwin.domains.protocol.View`, and there `Refers`."""

    reference: Mapping[str, Any] = field(default_factory=dict)  # of the training; none: nothing is compared with it
    refer_to: int = 64

    def spec(
        self, source: ImageSource, indices: Sequence[int], settings: Settings
    ) -> tuple[ImageSpec, tuple[str, ...]]:
        """Patches of `data.image_size` out of frames of 256 x 256."""
        size = settings.data.image_size or PATCH
        data = settings.data.model_copy(update={"image_size": SIDE})
        spec, notes = infer_spec(source, indices, data, settings.training.seed)
        what = f"frames resized to {SIDE} x {SIDE}, looked at in up to {MOST} patches of {size} x {size} that move"
        return replace(spec, size=size, fit="stretch", view="moving", parts=True), (what, *notes)

    def training(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, out: Path, watch: Watch
    ) -> TrainingImages:
        """All frames, read and resized once, and where something moves in them."""
        memory, workers = settings.data.memory_mb, settings.data.workers
        images = prepare_images(
            source, indices, _of_frames(spec), memory, out, workers,
            lambda done, total: watch(Update("preparing", done, total)),
        )  # fmt: skip
        before = rows_before(images.indices, clips_of(source))
        corners = [
            moving_places(frame, images.array[rows], spec.size)
            for frame, rows in zip(images.array, before, strict=True)
        ]

        def part(rows: Rows) -> MovingSubset:
            places = [(row, *corner) for row in rows.tolist() for corner in corners[row].tolist()]
            return MovingSubset(images, np.array(places, np.int64).reshape(-1, 3), spec.size)

        return TrainingFrames(images, part)

    def prepare(
        self, source: ImageSource, indices: Sequence[int], spec: ImageSpec, settings: Settings, pixels: bool
    ) -> Iterator[FrameImage]:
        """The frames in this order, and what moves in them."""
        del settings

        def parts(reader: FrameReader, clip: Clip, number: int) -> Parts:
            seen = reader.squares(clip, (number,))
            assert seen.context is not None
            frame = seen.images[0].numpy()
            corners = moving_places(frame, seen.context[0].numpy(), spec.size)
            patches = cut(np.moveaxis(frame, 0, -1), corners, spec.size)  # (p, S, S, C)
            names = tuple(derive(seen.fingerprints[0], "moving", place) for place in range(len(corners)))
            return Parts(Batch(torch.from_numpy(np.ascontiguousarray(np.moveaxis(patches, -1, 1))), names), corners)

        return seen_frames(source, indices, _of_frames(spec), pixels, parts, restored(self.reference))

    def refer(self, heldout: Seen, training: Seen = ()) -> dict[str, Any]:
        """The scene that held-out frames show."""
        del training
        return stored(scene_of(image.square for image, _, _ in heldout))

    def against(self, reference: Mapping[str, Any]) -> MovingView:
        """The same view, which says where a frame is not of the scene; raises DataError for another view's."""
        restored(reference)
        return MovingView(reference)

    def window(self, spec: ImageSpec) -> tuple[float, float] | None:
        """The range that the model was trained with."""
        return spec.black, spec.white


def moving_places(frame: Array, before: Array, size: int) -> npt.NDArray[np.int64]:
    """The corners (p, 2) of patches around what moves in a frame (C, F, F), by those before it (K, C, F, F); p >= 1.

    The highest places of the difference from their median, counted over a body, no two nearer than that.

    >>> frame, before = np.zeros((1, 64, 64)), np.zeros((3, 1, 64, 64))
    >>> frame[0, 30:40, 40:50] = 1
    >>> moving_places(frame, before, 16).tolist()
    [[26, 36]]
    """
    half = len(before) // 2
    usual = np.partition(before, half, axis=0)[half]  # their median, in less than half of the time
    apart = np.abs(frame.astype(np.float32) - usual.astype(np.float32)).mean(0)
    energy = gaussian_filter(apart, BODY / 4, mode="constant")  # a mean would be level over all of a body: no place
    found = peak_local_max(energy, min_distance=BODY, threshold_rel=STILL, num_peaks=MOST, exclude_border=False)  # type: ignore[no-untyped-call]
    places = found if len(found) else np.array([np.unravel_index(int(energy.argmax()), energy.shape)])
    corners: npt.NDArray[np.int64] = np.clip(places - size // 2, 0, np.array(energy.shape) - size).astype(np.int64)
    return corners


@dataclass(frozen=True, eq=False)
class MovingSubset:
    """Some of the training patches, by number."""

    images: PreparedImages
    places: Rows  # (n, 3) row of the frame, row and column of the corner
    size: int

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, numbers: Rows) -> Batch:
        """The patches of these numbers (B,): (B, C, S, S)."""
        array, values, size = self.images.array, self.images.values, self.size
        found = [array[row, :, top : top + size, left : left + size] for row, top, left in self.places[numbers]]
        return Batch(torch.from_numpy(values[np.stack(found)]))


def _of_frames(spec: ImageSpec) -> ImageSpec:
    return replace(spec, size=SIDE)
